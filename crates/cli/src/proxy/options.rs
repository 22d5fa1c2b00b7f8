//! The proxy's options: flags, then the environment, then a TOML file; and what they mean.
//!
//! One that is unknown or malformed stops the start and is named.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Error, anyhow, bail, ensure};
use clap::Args;
use hstratum::config::{HOST_NAMES_MAX, INBOUND_MAX, PROXIES_MAX, parse_host, tls_files};
use hstratum::limits::LISTENERS_MAX;
use hstratum::net::cidr::AddressRange;
use hstratum::net::listener::{self, ListenSpec};
use hstratum::proxy::settings::{BackendAddress, ProxySettings};
use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::limits::BACKENDS_MAX;
use hstratum_core::proxy::NoBackend;
use serde::Deserialize;

use super::texts::one_or_more;

const INBOUND: u32 = 10_000;
const PROBE_TIMEOUT_MS: u64 = 500;
const WAIT_MS: u64 = 15_000;
const WAIT_S_MAX: u64 = 3_600;

/// The options as they are given: each may be missing.
#[derive(Args, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ProxyOptions {
    /// A TOML file with these options, named as here; flags and the environment go before it
    #[arg(
        long,
        display_order = 2,
        value_name = "FILE",
        env = "HSTRATUM_PROXY_CONFIG"
    )]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,

    /// Where miners connect: tcp://IP:PORT, tls://IP:PORT or auto://IP:PORT (TLS or not, as the
    /// first byte tells); :: takes IPv4 too. Up to 16
    #[arg(
        long,
        display_order = 0,
        value_name = "URL",
        env = "HSTRATUM_PROXY_LISTEN",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_more")]
    pub(super) listen: Vec<String>,

    /// A server, HOST:PORT, plain TCP; a name is looked up again and again. Up to 64
    #[arg(
        long,
        display_order = 1,
        value_name = "HOST:PORT",
        env = "HSTRATUM_PROXY_BACKEND",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_more")]
    pub(super) backend: Vec<String>,

    /// What is shared with the servers (their proxy-secret), 16 to 64 bytes: lets miners move
    /// without their passwords. Better in the environment or the file: others can see arguments
    #[arg(
        long,
        value_name = "SECRET",
        env = "HSTRATUM_PROXY_PROXY_SECRET",
        hide_env_values = true
    )]
    pub(super) proxy_secret: Option<String>,

    /// The first byte of the session ids that this proxy deals, another for each proxy: 01 to ff
    /// [default: 01]
    #[arg(long, value_name = "HEX", env = "HSTRATUM_PROXY_PREFIX")]
    pub(super) prefix: Option<String>,

    /// When no server is there: `close` resets miners at once, `wait:SECONDSs` after that time; then
    /// whoever comes is refused until there is one
    /// [default: wait:15s]
    #[arg(long, value_name = "close|wait:15s", env = "HSTRATUM_PROXY_NO_BACKEND")]
    pub(super) no_backend: Option<String>,

    /// Milliseconds without an answer after which a server is taken to hang [default: 500]
    #[arg(long, value_name = "MS", env = "HSTRATUM_PROXY_PROBE_TIMEOUT", value_parser = number::<u64>)]
    pub(super) probe_timeout: Option<u64>,

    /// Tell servers the miners' addresses, in PROXY headers of version 2; the servers must have
    /// this proxy in their proxy-protocol
    #[arg(long, env = "HSTRATUM_PROXY_SEND_PROXY", num_args = 0..=1, default_missing_value = "true")]
    pub(super) send_proxy: Option<bool>,

    /// Peers that must send a PROXY header: IP addresses or ranges like 10.0.0.0/8
    #[arg(
        long,
        value_name = "RANGE",
        env = "HSTRATUM_PROXY_PROXY_PROTOCOL",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_more")]
    pub(super) proxy_protocol: Vec<String>,

    /// Miners at a time; beyond it one without an accepted share gives way, or the next is refused
    /// [default: 10000]
    #[arg(long, value_name = "N", env = "HSTRATUM_PROXY_MAX_INBOUND", value_parser = number::<u32>)]
    pub(super) max_inbound: Option<u32>,

    /// Miners from one address (IPv6: one /64); 0 is any number [default: 0]
    #[arg(long, value_name = "N", env = "HSTRATUM_PROXY_MAX_PER_ADDRESS", value_parser = number::<u32>)]
    pub(super) max_per_address: Option<u32>,

    /// PEM file with the certificate chain for tls:// and auto://; SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = "HSTRATUM_PROXY_TLS_CERT")]
    pub(super) tls_cert: Option<PathBuf>,

    /// PEM file with its private key
    #[arg(long, value_name = "FILE", env = "HSTRATUM_PROXY_TLS_KEY")]
    pub(super) tls_key: Option<PathBuf>,

    /// Host that HTTP miners are redirected to [default: the one they asked for]
    #[arg(long, value_name = "HOST", env = "HSTRATUM_PROXY_PUBLIC_HOST")]
    pub(super) public_host: Option<String>,

    /// Port that HTTP miners are redirected to [default: that of the first --listen]
    #[arg(long, value_name = "PORT", env = "HSTRATUM_PROXY_PUBLIC_PORT", value_parser = number::<u16>)]
    pub(super) public_port: Option<u16>,

    /// Names, separated by commas, by which --http may be asked beside --public-host
    #[arg(
        long,
        value_name = "HOSTS",
        value_delimiter = ',',
        env = "HSTRATUM_PROXY_HTTP_HOST_NAMES"
    )]
    #[serde(deserialize_with = "one_or_more")]
    pub(super) http_host_names: Vec<String>,

    /// A socket in the file system for `hstratum proxy status` and `drain`
    #[arg(long, value_name = "FILE", env = "HSTRATUM_PROXY_CONTROL")]
    pub(super) control: Option<PathBuf>,

    /// Where status, events and metrics are shown: IP:PORT, or a port of 127.0.0.1 [default: nowhere]
    #[arg(long, value_name = "IP:PORT", env = "HSTRATUM_PROXY_HTTP")]
    pub(super) http: Option<String>,

    /// Go on with the listening sockets and the miners of the proxy that runs at --control, which
    /// then ends; where none runs, just start
    #[arg(long)]
    #[serde(skip)]
    pub(super) take_over: bool,
}

impl ProxyOptions {
    /// Takes options that are missing here from the file, if one is named; an error names the line of it.
    pub(super) fn with_file(self) -> anyhow::Result<Self> {
        match &self.config {
            None => Ok(self),
            Some(path) => {
                let file = read(path)?;
                Ok(self.or(file))
            }
        }
    }

    fn or(self, file: Self) -> Self {
        let list = |own: Vec<String>, file| if own.is_empty() { file } else { own };
        Self {
            config: self.config,
            listen: list(self.listen, file.listen),
            backend: list(self.backend, file.backend),
            proxy_secret: self.proxy_secret.or(file.proxy_secret),
            prefix: self.prefix.or(file.prefix),
            no_backend: self.no_backend.or(file.no_backend),
            probe_timeout: self.probe_timeout.or(file.probe_timeout),
            send_proxy: self.send_proxy.or(file.send_proxy),
            proxy_protocol: list(self.proxy_protocol, file.proxy_protocol),
            max_inbound: self.max_inbound.or(file.max_inbound),
            max_per_address: self.max_per_address.or(file.max_per_address),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            public_host: self.public_host.or(file.public_host),
            public_port: self.public_port.or(file.public_port),
            http: self.http.or(file.http),
            http_host_names: list(self.http_host_names, file.http_host_names),
            control: self.control.or(file.control),
            take_over: self.take_over,
        }
    }
}

fn read(path: &Path) -> anyhow::Result<ProxyOptions> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {shown}"))?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or("", |span| &text[..span.start]);
        let line = before.matches('\n').count() + 1;
        // A text without quotes is taken for the beginning of anything.
        let is_unquoted = [
            "invalid boolean",
            "unexpected key",
            "string values must be quoted",
        ];
        let hint = match is_unquoted
            .iter()
            .any(|one| error.message().starts_with(one))
        {
            true => "; texts are quoted, as in listen = \"tcp://[::]:3008\"",
            false => "",
        };
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        anyhow!("failed to read {shown}: line {line}: {message}{hint}")
    })
}

impl ProxyOptions {
    /// Judges them; the error is of the first that is missing or malformed.
    pub(super) fn settings(self) -> anyhow::Result<ProxySettings> {
        let listen = each("listen", &self.listen, LISTENERS_MAX, |text| {
            ListenSpec::parse(text)
                .filter(|spec| spec.difficulty.is_none() && spec.payout.is_none())
                .context("expected tcp://IP:PORT, tls://IP:PORT or auto://IP:PORT")
        })?;
        let backends = each("backend", &self.backend, BACKENDS_MAX, backend)?;
        check_backends(&listen, &backends)?;
        let proxy_protocol = each(
            "proxy-protocol",
            &self.proxy_protocol,
            PROXIES_MAX,
            |text| {
                AddressRange::parse(text)
                    .context("expected an IP address or a range like 10.0.0.0/8")
            },
        )?;
        let names = &self.http_host_names;
        let http_host_names = each("http-host-names", names, HOST_NAMES_MAX, |text| {
            host_name(text)
        })?;
        ensure!(
            self.control.is_some() || !self.take_over,
            "--take-over needs --control"
        );
        let secret = self.proxy_secret.map(|text| {
            let found = text.len();
            ProxySecret::new(&text)
                .with_context(|| format!("proxy-secret: expected 16 to 64 bytes, found {found}"))
        });
        let probe_timeout_ms = self.probe_timeout.unwrap_or(PROBE_TIMEOUT_MS);
        ensure!(
            (100..=60_000).contains(&probe_timeout_ms),
            "probe-timeout: expected 100 to 60000 milliseconds, found {probe_timeout_ms}"
        );
        let max_inbound = self.max_inbound.unwrap_or(INBOUND);
        ensure!(
            (1..=INBOUND_MAX).contains(&max_inbound),
            "max-inbound: expected 1 to {INBOUND_MAX}, found {max_inbound}"
        );
        Ok(ProxySettings {
            tls: tls_files(&listen, self.tls_cert, self.tls_key).map_err(Error::msg)?,
            listen,
            backends,
            secret: secret.transpose()?,
            prefix: prefix(self.prefix.as_deref().unwrap_or("01"))?,
            no_backend: no_backend(self.no_backend.as_deref())?,
            probe_timeout_ms,
            send_proxy: self.send_proxy.unwrap_or(false),
            proxy_protocol,
            max_inbound: max_inbound as usize,
            max_per_address: self.max_per_address.unwrap_or(0),
            public_host: self
                .public_host
                .map(|text| {
                    host_name(&text)
                        .map_err(|error| anyhow!("public-host: {error}, found {text:?}"))
                })
                .transpose()?,
            public_port: self.public_port,
            http: self.http.map(|text| http(&text)).transpose()?,
            http_host_names,
            take_over: self.control.clone().filter(|_| self.take_over),
            control: self.control,
        })
    }
}

/// Reads a whole number. The standard library's own errors are hard to understand.
fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "expected a whole number")
}

fn each<T>(
    name: &str,
    texts: &[String],
    max: usize,
    parse: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    ensure!(
        texts.len() <= max,
        "{name}: expected at most {max}, found {}",
        texts.len()
    );
    let parsed = texts.iter().map(|text| {
        parse(text.trim()).map_err(|error| anyhow!("{name}: {error:#}, found {text:?}"))
    });
    parsed.collect()
}

/// Checks that there are listeners and servers, each server once and none the proxy itself.
fn check_backends(listen: &[ListenSpec], backends: &[BackendAddress]) -> anyhow::Result<()> {
    ensure!(
        !listen.is_empty(),
        "--listen is required, e.g. --listen tcp://[::]:3008"
    );
    if let Some((spec, before)) = listener::twice(listen) {
        bail!("listen: {spec} is named twice: {before} is there already");
    }
    ensure!(
        !backends.is_empty(),
        "--backend is required, e.g. --backend 10.0.0.1:3008"
    );
    for (at, backend) in backends.iter().enumerate() {
        let is_twice = backends[..at]
            .iter()
            .any(|other| other.name == backend.name);
        ensure!(!is_twice, "backend: {:?} is there twice", backend.name);
    }
    for backend in backends {
        let own = listen.iter().find(|spec| is_own(spec.address, backend));
        if let Some(spec) = own {
            bail!(
                "backend: {:?} is this proxy's own --listen {spec}",
                backend.name
            );
        }
    }
    Ok(())
}

/// Tells if a server's address is one of our own listeners: the proxy would connect to itself. Of all
/// addresses of this machine those are known that lead nowhere else.
fn is_own(own: SocketAddr, backend: &BackendAddress) -> bool {
    let is_local = |host: &str| host.eq_ignore_ascii_case("localhost");
    let host = backend.name.rsplit_once(':').map_or("", |(host, _)| host);
    let port = backend.name.rsplit_once(':').map_or("", |(_, port)| port);
    if port.parse() != Ok(own.port()) || own.port() == 0 {
        return false;
    }
    let reaches_all = own.ip().is_unspecified();
    match backend.address.map(|address| address.ip()) {
        Some(ip) if ip == own.ip() => true,
        Some(ip) => reaches_all && (ip.is_loopback() || ip.is_unspecified()),
        None => is_local(host) && (reaches_all || own.ip().is_loopback()),
    }
}

fn backend(text: &str) -> anyhow::Result<BackendAddress> {
    let expected = "expected HOST:PORT";
    let (host, port) = text.rsplit_once(':').context(expected)?;
    ensure!(
        !host.is_empty()
            && !host.contains(['/', ' ', ','])
            && port.parse::<u16>().is_ok_and(|p| p > 0),
        expected
    );
    Ok(BackendAddress {
        name: text.to_owned(),
        address: text.parse().ok(),
    })
}

fn prefix(text: &str) -> anyhow::Result<u8> {
    let parsed = u8::from_str_radix(text, 16).ok();
    let parsed = parsed.filter(|&prefix| prefix > 0 && text.len() == 2 && !text.starts_with('+'));
    parsed.with_context(|| format!("prefix: expected two hex digits from 01 to ff, found {text:?}"))
}

fn no_backend(text: Option<&str>) -> anyhow::Result<NoBackend> {
    let wait_s = |text: &str| -> Option<u64> {
        let digits = text.strip_prefix("wait:")?.strip_suffix('s')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = plain.then(|| digits.parse().ok())??;
        (1..=WAIT_S_MAX).contains(&seconds).then_some(seconds)
    };
    match text {
        None => Ok(NoBackend::Wait(WAIT_MS)),
        Some("close") => Ok(NoBackend::Close),
        Some(text) => match wait_s(text) {
            Some(seconds) => Ok(NoBackend::Wait(seconds * 1000)),
            None => bail!("no-backend: expected close, or wait:1s to wait:3600s, found {text:?}"),
        },
    }
}

fn http(text: &str) -> anyhow::Result<SocketAddr> {
    let whole = text.parse().ok();
    let port = text.parse().ok();
    let address = whole.or(port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    let address = address.filter(|address| address.port() > 0);
    address.with_context(|| format!("http: expected IP:PORT or a port, found {text:?}"))
}

fn host_name(text: &str) -> anyhow::Result<String> {
    parse_host(text).context("expected a host name or IP address without a port")
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
