//! The options, judged: `options.rs` has the table of their names, defaults, help texts and parsers.
//!
//! The plugin collects options from flags, the environment and `stratum.conf`; everything about their meaning
//! is here. An unknown or malformed option stops the start, even if another origin overrides it, so that a
//! typing error shows at once.

pub mod alert_ways;
pub mod deployment_signal;
mod error_texts;
pub mod hsd_address;
pub(crate) mod option_value;
mod options;
pub mod options_in_force;
mod payout_terms;
pub mod peer_address;
pub(crate) mod raw_option;
pub mod settings;
pub mod webhook;

use crate::secret::Secret;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hstratum_core::accounting::terms::{PayoutTerms, Scheme};
use hstratum_core::accounts::Auth;
use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::Difficulty;
use thiserror::Error;

use crate::config::alert_ways::AlertWays;
use crate::config::deployment_signal::DeploymentSignal;
pub use crate::config::option_value::parse_host;
use crate::config::option_value::parse_server_id;
pub(crate) use crate::config::option_value::parse_wallet_name;
use crate::config::options::Draft;
pub use crate::config::options::{
    Fallback, HOST_NAMES_MAX, INBOUND_MAX, OPTIONS, OptionSpec, PROXIES_MAX,
};
use crate::config::payout_terms::payout_terms;
use crate::config::peer_address::PeerAddress;
pub use crate::config::raw_option::{OptionOrigin, RawOption};
use crate::config::webhook::Webhook;
use crate::net::cidr::AddressRange;
use crate::net::listener::{self, Encryption, ListenSpec};
use crate::net::tls;
pub use crate::net::tls::{TlsFiles, files as tls_files};
use crate::sql::url::PostgresUrl;
use error_texts::{empty, malformed, unknown};

/// Characters of a value that an error shows.
const FOUND_CHARS_MAX: usize = 60;

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
    /// Time at which templates are verified by the node's own rules.
    pub verify: Verify,
    /// Deployments that blocks signal for.
    pub signal: DeploymentSignal,
    /// Nodes that the node stays connected to.
    pub extra_nodes: Vec<PeerAddress>,
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
    /// Peers whose HTTP requests may use any name.
    pub http_proxies: Vec<AddressRange>,
    /// Token of the operator's HTTP calls; without it there are none.
    pub http_token: Option<Secret>,
    /// Whether the operator and miners may sign in to the dashboard.
    pub http_login: bool,
    /// Time after which an address holds that an account sets for itself.
    pub address_delay: Duration,
    /// What the dashboard and the API show to whoever is not the operator.
    pub dashboard: Dashboard,
    /// URL that the dashboard links blocks to: `%h` is the height, `%s` the hash.
    pub explorer: Option<String>,
    /// Secret shared with our proxies.
    pub proxy_secret: Option<ProxySecret>,
    /// Destination of alarms.
    pub webhook: Option<Webhook>,
    /// Ways by which accounts may be told of themselves.
    pub alert_ways: AlertWays,
    /// Percent of the hashrate whose loss raises an alarm; 0 turns that off.
    pub hashrate_alarm: u8,
    /// Address of the ledger that several servers share.
    pub database: Option<PostgresUrl>,
    /// This server's name there.
    pub server_id: String,
    /// Recipient of blocks, where a listener has none of its own.
    pub block_payout: Payout,
    /// Address that the fee on a solo block is paid to, as text; its network is not known yet.
    pub fee_address: Option<String>,
    /// Smallest output of a split block, in base units.
    pub output_min: u64,
    /// Most outputs of one, beside those that the node's coinbase has.
    pub outputs_max: u32,
    /// Terms between the pool and its miners.
    pub terms: PayoutTerms,
    /// Payments to miners.
    pub payout: PayoutConfig,
}

/// Payments to miners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutConfig {
    /// The wallet that pays.
    pub wallet: Option<String>,
    /// The account of it that pays.
    pub account: String,
    /// The most that a transaction may pay to the network, in base units.
    pub fee_max: u64,
    /// Interval at which the server itself pays; `None`: never.
    pub every: Option<Duration>,
}

impl PayoutConfig {
    fn check(&self) -> Result<(), ConfigError> {
        match (self.every, &self.wallet) {
            (Some(_), None) => Err(ConfigError(
                "payout-every needs the wallet that pays: set payout-wallet".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Time at which templates are verified by the node's own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// In the node's idle time, after their jobs are out.
    Idle,
    /// Never.
    Off,
}

impl Verify {
    /// Parses the option's value.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "idle" => Some(Self::Idle),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// What the dashboard and the API show to whoever is not the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dashboard {
    /// Everything.
    Public,
    /// Everything, with the names and addresses of accounts cut.
    NamesHidden,
    /// Sums and blocks.
    Private,
}

impl Dashboard {
    const ALL: [Self; 3] = [Self::Public, Self::NamesHidden, Self::Private];

    /// Parses the option's value.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shown| shown.name() == name)
    }

    /// The option's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::NamesHidden => "names-hidden",
            Self::Private => "private",
        }
    }
}

/// Default port of the dashboard.
pub const HTTP_PORT: u16 = 3080;

/// Why options were refused, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConfigError(String);

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

impl Draft {
    fn finish(self) -> Result<Config, ConfigError> {
        const GIVEN: &str = "the table gives a default";
        let terms = payout_terms(
            self.scheme.expect(GIVEN),
            self.window,
            self.fee.expect(GIVEN),
            (self.threshold.expect(GIVEN), self.threshold_min),
        );
        let payout = PayoutConfig {
            wallet: self.payout_wallet,
            account: self.payout_account.expect(GIVEN),
            fee_max: self.payout_max_fee.expect(GIVEN),
            every: self.payout_every.expect(GIVEN),
        };
        payout.check()?;
        let listen = self.listen.unwrap_or_default();
        let tls = tls::files(&listen, self.tls_cert, self.tls_key).map_err(ConfigError)?;
        let (host, port) = (self.host.expect(GIVEN), self.port.expect(GIVEN));
        check_listeners(SocketAddr::new(host, port), &listen)?;
        let mail = (self.smtp, self.smtp_from);
        let auth = match self.password {
            Some(_) => Auth::Users,
            None => Auth::Open,
        };
        let config = Config {
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
            verify: self.verify.expect(GIVEN),
            signal: self.signal.expect(GIVEN),
            extra_nodes: self.extra_nodes.unwrap_or_default(),
            listen,
            tls,
            proxy_protocol: self.proxy_protocol.unwrap_or_default(),
            http_host: self.http_host.expect(GIVEN),
            http_port: self.http_port,
            http_host_names: self.http_host_names.unwrap_or_default(),
            http_proxies: self.http_proxies.unwrap_or_default(),
            http_token: self.http_token,
            http_login: self.http_login.expect(GIVEN),
            address_delay: self.address_delay.expect(GIVEN).unwrap_or_default(),
            dashboard: self.dashboard.expect(GIVEN),
            explorer: self.explorer,
            proxy_secret: self.proxy_secret,
            webhook: webhook::from_options(self.webhook, self.webhook_secret)
                .map_err(ConfigError)?,
            alert_ways: AlertWays::from_options(mail, self.telegram, self.ntfy)
                .map_err(ConfigError)?,
            hashrate_alarm: self.hashrate_alarm.expect(GIVEN),
            database: self.database.map(|url| database(&url)).transpose()?,
            server_id: self.server_id.unwrap_or_else(host_name),
            block_payout: self.block_payout.expect(GIVEN),
            fee_address: self.fee_address,
            output_min: self.output_min.expect(GIVEN),
            outputs_max: self.outputs_max.expect(GIVEN),
            terms: terms.map_err(ConfigError)?,
            payout,
        };
        config.check_split()?;
        Ok(config)
    }
}

impl Config {
    /// Checks what blocks that pay accounts need.
    fn check_split(&self) -> Result<(), ConfigError> {
        if !self.has_listener(Payout::Split) {
            return Ok(());
        }
        let scheme = self.terms.scheme;
        if !matches!(scheme, Scheme::Pplns { .. }) {
            return Err(ConfigError(format!(
                "payout: split needs scheme: pplns, found scheme: {scheme}: with it each block would pay the \
                 work since the last one, which the next job does not know yet"
            )));
        }
        if self.has_listener(Payout::Operator) {
            return Err(ConfigError(
                "payout: split and payout: operator do not go together, found both: shares of all listeners \
                 are credit of the same window"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn check_listeners(address: SocketAddr, listen: &[ListenSpec]) -> Result<(), ConfigError> {
    let first = ListenSpec {
        encryption: Encryption::Never,
        address,
        difficulty: None,
        payout: None,
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
