//! The options: one table gives their names, defaults, help texts and parsers; docs/options.md shows it.
//!
//! The plugin collects options from flags, the environment and `stratum.conf`; everything about their meaning
//! is here. An unknown or malformed option stops the start, even if another origin overrides it, so that a
//! typing error shows at once.

pub mod in_force;
pub(crate) mod option_value;
pub(crate) mod raw_option;
pub mod settings;
mod wrong;

use crate::secret::Secret;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hstratum_core::accounts::Auth;
use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::units::Difficulty;
use thiserror::Error;

use crate::alerts::webhook::{self, Webhook};
pub use crate::config::option_value::parse_host;
use crate::config::option_value::{
    parse_bool, parse_database, parse_difficulty, parse_explorer, parse_integer, parse_list,
    parse_password, parse_path, parse_server_id, parse_token, store,
};
pub use crate::config::raw_option::{OptionOrigin, RawOption};
use crate::limits::LISTENERS_MAX;
use crate::net::cidr::AddressRange;
use crate::net::listener::{self, Encryption, ListenSpec};
use crate::net::tls;
pub use crate::net::tls::{TlsFiles, files as tls_files};
use crate::sql::url::PostgresUrl;
use wrong::{empty, malformed, unknown};

/// Characters of a value that an error shows.
const FOUND_CHARS_MAX: usize = 60;
/// The largest number of connections that may be asked for.
pub const INBOUND_MAX: u32 = 1_000_000;
const REFRESH_S_MAX: u32 = 3600;
/// Addresses and ranges that must send a PROXY header.
pub const PROXIES_MAX: usize = 256;
/// Names by which HTTP may be asked.
pub const HOST_NAMES_MAX: usize = 64;

/// The options, complete and valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Address that miners connect to; `::` accepts IPv4 as well.
    pub host: IpAddr,
    /// Port that miners connect to; 0 is any free one.
    pub port: u16,
    /// Host that HTTP clients are redirected to, if it is not the one they asked for.
    pub public_host: Option<String>,
    /// Port that HTTP clients are redirected to.
    pub public_port: u16,
    /// Greatest number of connections at a time.
    pub max_inbound: u32,
    /// Greatest number of connections from one address, or one /64 of IPv6; 0 is any number.
    pub max_per_address: u32,
    /// Difficulty that a session starts with.
    pub difficulty: Difficulty,
    /// Lowest difficulty of any miner.
    pub difficulty_min: Difficulty,
    /// Difficulty follows each miner's speed.
    pub dynamic: bool,
    /// The admin's password.
    pub password: Option<Secret>,
    /// Rule for who may mine.
    pub auth: Auth,
    /// Seconds between jobs for mempool changes.
    pub refresh_s: u32,
    /// Further listeners.
    pub listen: Vec<ListenSpec>,
    /// The certificate chain and its key, PEM files; `Some` if a listener speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Peers that must send a PROXY header.
    pub proxy_protocol: Vec<AddressRange>,
    /// Address of the dashboard, the API and the metrics.
    pub http_host: IpAddr,
    /// Their port; 0 turns them off, and `None` means [`HTTP_PORT`] if that is free.
    pub http_port: Option<u16>,
    /// Further names that HTTP requests may use for this server, besides `public_host`.
    pub http_host_names: Vec<String>,
    /// Token of the operator's HTTP calls; without it there are none.
    pub http_token: Option<Secret>,
    /// URL that the dashboard links blocks to: `%h` is the height, `%s` the hash.
    pub explorer: Option<String>,
    /// Secret shared with our proxies.
    pub proxy_secret: Option<ProxySecret>,
    /// Destination of alarms.
    pub webhook: Option<Webhook>,
    /// Percent of the hashrate whose loss raises an alarm; 0 turns that off.
    pub hashrate_alarm: u8,
    /// Address of the ledger that several servers share.
    pub database: Option<PostgresUrl>,
    /// This server's name there.
    pub server_id: String,
}

/// Default port of the dashboard.
pub const HTTP_PORT: u16 = 3080;

/// Why options were refused, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// What an option is when it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Value(&'static str),
    /// No value.
    None,
    /// Taken from elsewhere, as the text says.
    Derived(&'static str),
}

/// A row of the table of options.
#[derive(Clone, Copy)]
pub struct OptionSpec {
    /// The name, with hyphens and without prefix.
    pub name: &'static str,
    /// The value when it is not given.
    pub fallback: Fallback,
    /// One line of Markdown: purpose and unit.
    pub help: &'static str,
    /// Description of valid values, for errors.
    pub expected: &'static str,
    /// Parses and stores a value; `None` if it is malformed.
    set: fn(&mut Draft, &str) -> Option<()>,
}

/// All options, in the order of the documentation.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "host",
        fallback: Fallback::Value("::"),
        help: "address that miners connect to; `::` takes IPv4 and IPv6",
        expected: "an IP address",
        set: |draft, text| store(&mut draft.host, text.parse().ok()),
    },
    OptionSpec {
        name: "port",
        fallback: Fallback::Value("3008"),
        help: "port that miners connect to; 0 is any free port",
        expected: "a port from 0 to 65535",
        set: |draft, text| store(&mut draft.port, parse_integer(text, 0, 65_535)),
    },
    OptionSpec {
        name: "public-host",
        fallback: Fallback::Derived("the one they asked for"),
        help: "host that HTTP miners are redirected to",
        expected: "a host name or IP address without a port",
        set: |draft, text| store(&mut draft.public_host, parse_host(text)),
    },
    OptionSpec {
        name: "public-port",
        fallback: Fallback::Derived("`port`"),
        help: "port that HTTP miners are redirected to",
        expected: "a port from 1 to 65535",
        set: |draft, text| store(&mut draft.public_port, parse_integer(text, 1, 65_535)),
    },
    OptionSpec {
        name: "max-inbound",
        fallback: Fallback::Value("10000"),
        help: "connections at a time; beyond it one without an accepted share gives way, of the \
               address that holds most, or the next one is refused",
        expected: "a whole number from 1 to 1000000",
        set: |draft, text| store(&mut draft.max_inbound, parse_integer(text, 1, INBOUND_MAX)),
    },
    OptionSpec {
        name: "max-per-address",
        fallback: Fallback::Value("0"),
        help: "connections from one address (IPv6: one /64); 0 is any number",
        expected: "a whole number from 0 to 1000000",
        set: |draft, text| {
            store(
                &mut draft.max_per_address,
                parse_integer(text, 0, INBOUND_MAX),
            )
        },
    },
    OptionSpec {
        name: "difficulty",
        fallback: Fallback::Value("8"),
        help: "difficulty a miner starts with; may be a fraction",
        expected: "a number above 0",
        set: |draft, text| store(&mut draft.difficulty, parse_difficulty(text)),
    },
    OptionSpec {
        name: "difficulty-min",
        fallback: Fallback::Value("1"),
        help: "difficulty that no miner's is below, whatever it asks for; the network's may be",
        expected: "a number above 0",
        set: |draft, text| store(&mut draft.difficulty_min, parse_difficulty(text)),
    },
    OptionSpec {
        name: "dynamic",
        fallback: Fallback::Value("true"),
        help: "difficulty follows each miner's speed: eight shares a minute a worker",
        expected: "true, false, 1 or 0",
        set: |draft, text| store(&mut draft.dynamic, parse_bool(text)),
    },
    OptionSpec {
        name: "password",
        fallback: Fallback::None,
        help: "the admin's password; without it, there is no admin",
        expected: "a password of 1 to 256 bytes, not \"true\"",
        set: |draft, text| store(&mut draft.password, parse_password(text)),
    },
    OptionSpec {
        name: "auth",
        fallback: Fallback::Derived("`users` with a password, else `open`"),
        help: "who may mine: `users` (known accounts only), `open` (any name, but a known account \
               needs its password) or `address` (the name is a Handshake address)",
        expected: "users, open or address",
        set: |draft, text| store(&mut draft.auth, Auth::from_name(text)),
    },
    OptionSpec {
        name: "refresh",
        fallback: Fallback::Value("60"),
        help: "seconds between jobs while the mempool changes",
        expected: "a whole number of seconds from 1 to 3600",
        set: |draft, text| store(&mut draft.refresh_s, parse_integer(text, 1, REFRESH_S_MAX)),
    },
    OptionSpec {
        name: "listen",
        fallback: Fallback::None,
        help: "more listeners, separated by commas: `tcp://`, `tls://` or `auto://` (TLS or not, as \
               the first byte tells); `difficulty` is the one that their miners start with",
        expected: "up to 15 of tcp://IP:PORT, tls://IP:PORT or auto://IP:PORT, each with or \
                   without ?difficulty=NUMBER",
        set: |draft, text| {
            let listen = parse_list(text, LISTENERS_MAX - 1, ListenSpec::parse);
            store(&mut draft.listen, listen)
        },
    },
    OptionSpec {
        name: "tls-cert",
        fallback: Fallback::None,
        help: "PEM file with the certificate chain for `tls://` and `auto://`; SIGHUP reads it again",
        expected: "a path",
        set: |draft, text| store(&mut draft.tls_cert, parse_path(text)),
    },
    OptionSpec {
        name: "tls-key",
        fallback: Fallback::None,
        help: "PEM file with the private key of `tls-cert`; SIGHUP reads it again",
        expected: "a path",
        set: |draft, text| store(&mut draft.tls_key, parse_path(text)),
    },
    OptionSpec {
        name: "proxy-protocol",
        fallback: Fallback::None,
        help: "proxies, separated by commas, that must send a PROXY header",
        expected: "up to 256 IP addresses or ranges like 10.0.0.0/8",
        set: |draft, text| {
            let proxies = parse_list(text, PROXIES_MAX, AddressRange::parse);
            store(&mut draft.proxy_protocol, proxies)
        },
    },
    OptionSpec {
        name: "http-host",
        fallback: Fallback::Value("127.0.0.1"),
        help: "address of the dashboard, the API and metrics",
        expected: "an IP address",
        set: |draft, text| store(&mut draft.http_host, text.parse().ok()),
    },
    OptionSpec {
        name: "http-port",
        fallback: Fallback::Derived("`3080`, or none where that is taken"),
        help: "port of the dashboard, the API and metrics; 0 is none",
        expected: "a port from 0 to 65535",
        set: |draft, text| store(&mut draft.http_port, parse_integer(text, 0, 65_535)),
    },
    OptionSpec {
        name: "http-host-names",
        fallback: Fallback::None,
        help: "names, separated by commas, by which the dashboard, the API and metrics may be asked \
               beside `public-host`: that of a service, for one",
        expected: "up to 64 host names or IP addresses without a port",
        set: |draft, text| {
            let names = parse_list(text, HOST_NAMES_MAX, parse_host);
            store(&mut draft.http_host_names, names)
        },
    },
    OptionSpec {
        name: "http-token",
        fallback: Fallback::None,
        help: "what admin calls over HTTP must bear: see \
               [HTTP](operating.md#dashboard-api-and-metrics); without it there are none",
        expected: "16 to 256 visible characters without spaces",
        set: |draft, text| store(&mut draft.http_token, parse_token(text)),
    },
    OptionSpec {
        name: "explorer",
        fallback: Fallback::None,
        help: "web address that the dashboard links blocks to: `%h` is the height, `%s` the hash",
        expected: "http:// or https:// with %h or %s in it",
        set: |draft, text| store(&mut draft.explorer, parse_explorer(text)),
    },
    OptionSpec {
        name: "proxy-secret",
        fallback: Fallback::None,
        help: "what is shared with `hstratum proxy`: it may move miners without their passwords",
        expected: "a secret of 16 to 64 bytes",
        set: |draft, text| store(&mut draft.proxy_secret, ProxySecret::new(text)),
    },
    OptionSpec {
        name: "webhook",
        fallback: Fallback::None,
        help: "URL that gets a POST with JSON for each alarm: see [alarms](operating.md#alarms)",
        expected: "an http:// or https:// URL",
        set: |draft, text| store(&mut draft.webhook, webhook::parse_url(text)),
    },
    OptionSpec {
        name: "webhook-secret",
        fallback: Fallback::None,
        help: "key of the signature that each POST carries",
        expected: "1 to 256 bytes, not \"true\"",
        set: |draft, text| store(&mut draft.webhook_secret, parse_password(text)),
    },
    OptionSpec {
        name: "hashrate-alarm",
        fallback: Fallback::Value("50"),
        help: "percent of the hashrate lost within ten minutes that raises an alarm; 0: never",
        expected: "a whole number from 0 to 99",
        set: |draft, text| store(&mut draft.hashrate_alarm, parse_integer(text, 0, 99)),
    },
    OptionSpec {
        name: "database",
        fallback: Fallback::None,
        help: "the ledger that several servers share, see [several \
               servers](operating.md#several-servers-one-pool)",
        expected: "postgres://USER:PASSWORD@HOST:PORT/DATABASE, at most 2048 bytes",
        set: |draft, text| store(&mut draft.database, parse_database(text)),
    },
    OptionSpec {
        name: "server-id",
        fallback: Fallback::Derived("the host's name"),
        help: "this server's name in that ledger",
        expected: "1 to 64 visible characters without spaces",
        set: |draft, text| store(&mut draft.server_id, parse_server_id(text)),
    },
];

impl Config {
    /// Checks all options given and fills in the defaults. Of two from the same origin the later one counts.
    ///
    /// # Errors
    ///
    /// For the first option that is unknown, empty or malformed; flags are checked last.
    pub fn parse(raw: &[RawOption]) -> Result<Self, ConfigError> {
        let mut draft = Draft::default();
        for spec in OPTIONS {
            if let Fallback::Value(text) = spec.fallback {
                (spec.set)(&mut draft, text).expect("the table's defaults are valid");
            }
        }
        let given = raw.iter().filter(|option| !option.is_service_link());
        let mut given: Vec<&RawOption> = given.collect();
        given.sort_by_key(|option| option.origin);
        for option in given {
            let spec = OPTIONS
                .iter()
                .find(|spec| spec.key() == option.bare_key())
                .ok_or_else(|| unknown(option))?;
            if option.value.is_empty() {
                return Err(empty(spec, option));
            }
            (spec.set)(&mut draft, &option.value).ok_or_else(|| malformed(spec, option))?;
        }
        draft.finish()
    }
}

impl OptionSpec {
    fn key(&self) -> String {
        self.name.replace('-', "")
    }
}

#[derive(Default)]
struct Draft {
    host: Option<IpAddr>,
    port: Option<u16>,
    public_host: Option<String>,
    public_port: Option<u16>,
    max_inbound: Option<u32>,
    max_per_address: Option<u32>,
    difficulty: Option<Difficulty>,
    difficulty_min: Option<Difficulty>,
    dynamic: Option<bool>,
    password: Option<Secret>,
    auth: Option<Auth>,
    refresh_s: Option<u32>,
    listen: Option<Vec<ListenSpec>>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    proxy_protocol: Option<Vec<AddressRange>>,
    http_host: Option<IpAddr>,
    http_port: Option<u16>,
    http_host_names: Option<Vec<String>>,
    http_token: Option<Secret>,
    explorer: Option<String>,
    proxy_secret: Option<ProxySecret>,
    webhook: Option<Secret>,
    webhook_secret: Option<Secret>,
    hashrate_alarm: Option<u8>,
    database: Option<Secret>,
    server_id: Option<String>,
}

impl Draft {
    fn finish(self) -> Result<Config, ConfigError> {
        const GIVEN: &str = "the table gives a default";
        let listen = self.listen.unwrap_or_default();
        let tls = tls::files(&listen, self.tls_cert, self.tls_key).map_err(ConfigError)?;
        let (host, port) = (self.host.expect(GIVEN), self.port.expect(GIVEN));
        check_listeners(SocketAddr::new(host, port), &listen)?;
        let auth = match self.password {
            Some(_) => Auth::Users,
            None => Auth::Open,
        };
        Ok(Config {
            host,
            port,
            public_host: self.public_host,
            public_port: self.public_port.unwrap_or(port),
            max_inbound: self.max_inbound.expect(GIVEN),
            max_per_address: self.max_per_address.expect(GIVEN),
            difficulty: self.difficulty.expect(GIVEN),
            difficulty_min: self.difficulty_min.expect(GIVEN),
            dynamic: self.dynamic.expect(GIVEN),
            password: self.password,
            auth: self.auth.unwrap_or(auth),
            refresh_s: self.refresh_s.expect(GIVEN),
            listen,
            tls,
            proxy_protocol: self.proxy_protocol.unwrap_or_default(),
            http_host: self.http_host.expect(GIVEN),
            http_port: self.http_port,
            http_host_names: self.http_host_names.unwrap_or_default(),
            http_token: self.http_token,
            explorer: self.explorer,
            proxy_secret: self.proxy_secret,
            webhook: webhook::config(self.webhook, self.webhook_secret).map_err(ConfigError)?,
            hashrate_alarm: self.hashrate_alarm.expect(GIVEN),
            database: self.database.map(|url| database(&url)).transpose()?,
            server_id: self.server_id.unwrap_or_else(host_name),
        })
    }
}

fn check_listeners(address: SocketAddr, listen: &[ListenSpec]) -> Result<(), ConfigError> {
    let first = ListenSpec {
        encryption: Encryption::Never,
        address,
        difficulty: None,
    };
    let all = [&[first], listen].concat();
    let Some((spec, before)) = listener::twice(&all) else {
        return Ok(());
    };
    Err(ConfigError(match *before == first {
        true => format!("listen: {spec} is named twice: host and port are {address} already"),
        false => format!("listen: {spec} is named twice: {before} is there already"),
    }))
}

/// Parses the database's URL; an error does not contain its password.
fn database(url: &Secret) -> Result<PostgresUrl, ConfigError> {
    url.0.parse().map_err(|error: anyhow::Error| {
        ConfigError(format!(
            "{}: {error:#}",
            OptionOrigin::Flag.spell("database")
        ))
    })
}

fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok();
    let name = name.and_then(parse_server_id);
    name.unwrap_or_else(|| "unnamed".to_owned())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
