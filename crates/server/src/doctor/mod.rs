//! `hstratum doctor`: finds what keeps miners from working, and says what to do about it.
//!
//! It only reads, except for a share that is mined if asked for, which is credited and may be a block. Flags
//! of a node cannot be seen from outside: a running node tells the options in force; of a stopped one only
//! files and the environment are known, and the report says so.

mod conf;
mod dashboard;
mod files;
mod machine;
mod miner_dialect;
mod miner_trial;
mod node;
mod port;
mod solo;

use std::env;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use hstratum_core::accounts::Auth;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;

use crate::config::Config;
use crate::config::hsd_address::HsdPart;
use crate::config::options_in_force::{OptionsInForce, plain};
use crate::config::settings::Settings;
use crate::net::cidr::AddressRange;
use crate::payout::hsd::Url;
use crate::secret::Secret;

use conf::NodeSettings;
pub use conf::options_of;
use node::NodeState;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingSeverity {
    /// As it should be.
    Ok,
    /// Works, but may not for long or not as meant.
    Warning,
    /// Miners do not work, or soon will not.
    Problem,
}

impl FindingSeverity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Subject of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckedPart {
    /// Options, in files and the environment.
    Configuration,
    /// Files on the disk.
    Files,
    /// Limits and the clock.
    Machine,
    /// The hsd node.
    Node,
    /// The port of the dashboard, the API and the metrics.
    Dashboard,
    /// The port, as miners see it.
    Miners,
}

impl CheckedPart {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self::Configuration,
        Self::Files,
        Self::Machine,
        Self::Node,
        Self::Dashboard,
        Self::Miners,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Files => "files",
            Self::Machine => "machine",
            Self::Node => "node",
            Self::Dashboard => "dashboard",
            Self::Miners => "miners",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its subject.
    pub part: CheckedPart,
    /// Its severity.
    pub severity: FindingSeverity,
    /// Description, in one line.
    pub text: String,
    /// Advice; `None` if nothing is wrong.
    pub advice: Option<String>,
}

/// Subjects of an examination.
pub struct Setup {
    /// The network.
    pub network: Network,
    /// The node's directory, `<prefix>/<network>`; `None` if only a server is tried.
    pub dir: Option<PathBuf>,
    /// HOST:PORT of the server to try, if it is not the configured one, and whether it speaks TLS there.
    pub server: Option<(String, bool)>,
    /// Other networks with a directory there, if the given network has no chain there.
    pub others: Vec<Network>,
    /// Mine a share, for `user`.
    pub mines: bool,
    /// Address of the node's API, if it is not as in its configuration.
    pub node_url: Option<Url>,
    /// The node's API key, if it is not in its configuration.
    pub node_key: Option<Secret>,
    /// The variables `HSD_…` of the environment.
    pub environment: Vec<(String, String)>,
    /// Account to mine with; without one a made-up name is tried.
    pub user: Option<String>,
    /// Its password.
    pub password: String,
    /// The server that examines itself, if it is one.
    pub running: Option<RunningServer>,
}

/// A server that examines itself.
pub struct RunningServer {
    config: Config,
    in_force: OptionsInForce,
}

impl Setup {
    /// The setup of a server that examines itself, in the node's process. Its ledger is left out: a file of SQLite that
    /// is opened and closed by other means takes away the locks that the process has on it.
    pub(crate) fn of_running(settings: &Settings, in_force: OptionsInForce) -> Self {
        let node = settings.hsd.of(HsdPart::Node, settings.network);
        let dir = settings.dir.as_deref().and_then(|dir| dir.parent());
        Self {
            network: settings.network,
            dir: dir.map(PathBuf::from),
            server: None,
            others: Vec::new(),
            mines: false,
            node_url: Some(node.url),
            node_key: node.key,
            environment: environment(),
            user: None,
            password: "x".to_owned(),
            running: Some(RunningServer {
                config: settings.config.clone(),
                in_force,
            }),
        }
    }
}

/// Variables that are hsd's. What is not UTF-8 cannot be an option's value either.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("HSD_"))
        .collect()
}

/// Makes all checks. The findings are in the order of their parts.
#[must_use]
pub fn examine(setup: &Setup) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(dir) = &setup.dir else {
        let known = KnownServer::running(setup);
        examine_port(setup, &known, NodeState::NotAsked, &mut findings);
        return findings.0;
    };
    if let Some(other) = setup.others.first() {
        findings.warn(
            CheckedPart::Files,
            format!(
                "{} has no chain of {}, and there is one of {}",
                dir.display(),
                setup.network.name(),
                other.name()
            ),
            format!("did you mean --network {}?", other.name()),
        );
    }
    let mut settings = NodeSettings::read(dir, &setup.environment, &mut findings);
    if let Some(running) = &setup.running {
        settings.config = Some(running.config.clone());
    }
    files::examine(dir, setup, &settings, &mut findings);
    if let Some(config) = &settings.config {
        machine::examine(config, &mut findings);
    }
    let (state, in_force) = match (
        node::examine(setup, &settings, &mut findings),
        &setup.running,
    ) {
        (_, Some(running)) => (NodeState::Serving, Some(running.in_force.clone())),
        (told, None) => told,
    };
    settings.tell(in_force.as_ref(), &mut findings);
    let known = (state, in_force.as_ref());
    solo::examine(setup.network, &settings, known, &mut findings);
    if state == NodeState::Serving {
        files::examine_running(dir, &mut findings);
    }
    let known = KnownServer {
        config: settings.config.as_ref(),
        in_force: in_force.as_ref(),
    };
    dashboard::examine(&known, state, &mut findings);
    examine_port(setup, &known, state, &mut findings);
    findings.0
}

/// Tries the server that was given, or the first listener of the known one.
fn examine_port(setup: &Setup, known: &KnownServer<'_>, state: NodeState, findings: &mut Findings) {
    let own = known.listeners();
    match &setup.server {
        // Nothing of this is known of a server elsewhere.
        Some((server, tls)) if !is_of(server, &own) => {
            let (known, state) = (KnownServer::default(), NodeState::NotAsked);
            port::examine(setup, &known, (server, *tls), state, findings);
        }
        Some((server, tls)) => port::examine(setup, known, (server, *tls), state, findings),
        // Plain listeners come first. Without any, the faults of the options were reported already.
        None => {
            if let Some((first, tls)) = own.first() {
                let server = near(*first).to_string();
                port::examine(setup, known, (&server, *tls), state, findings);
            }
        }
    }
}

/// Known facts of the server on this machine.
#[derive(Default)]
struct KnownServer<'a> {
    /// Its options in files and the environment.
    config: Option<&'a Config>,
    /// Its options in force.
    in_force: Option<&'a OptionsInForce>,
}

impl<'a> KnownServer<'a> {
    /// What a server that examines itself knows.
    fn running(setup: &'a Setup) -> Self {
        let running = setup.running.as_ref();
        Self {
            config: running.map(|running| &running.config),
            in_force: running.map(|running| &running.in_force),
        }
    }

    /// Its listeners, and whether each accepts only TLS; those with plain TCP first.
    fn listeners(&self) -> Vec<(SocketAddr, bool)> {
        match (self.in_force, self.config) {
            (Some(options), _) => {
                let plain = options.listeners.iter().filter_map(|one| plain(one));
                let tls = options.listeners.iter().filter_map(|one| {
                    let address = one.strip_prefix("tls://")?;
                    address.parse().ok()
                });
                let plain = plain.map(|address| (address, false));
                plain.chain(tls.map(|address| (address, true))).collect()
            }
            (None, Some(config)) => vec![(SocketAddr::new(config.host, config.port), false)],
            (None, None) => Vec::new(),
        }
    }

    /// True if user names have to be addresses, at least on one listener.
    fn wants_addresses(&self) -> bool {
        match (self.in_force, self.config) {
            (Some(options), _) => options.auth == "address" || !options.solo_listeners.is_empty(),
            (None, config) => config.is_some_and(|config| {
                config.auth == Auth::Address || config.has_listener(Payout::Solo)
            }),
        }
    }

    /// True if it treats a peer as a proxy.
    fn is_proxy(&self, peer: IpAddr) -> bool {
        let among = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(peer));
        match (self.in_force, self.config) {
            (Some(options), _) => {
                let ranges = options.proxy_protocol.iter();
                let ranges: Vec<_> = ranges
                    .filter_map(|text| AddressRange::parse(text))
                    .collect();
                among(&ranges)
            }
            (None, config) => config.is_some_and(|config| among(&config.proxy_protocol)),
        }
    }
}

/// True if HOST:PORT is one of these listeners, on this machine.
fn is_of(server: &str, listeners: &[(SocketAddr, bool)]) -> bool {
    let Ok(mut addresses) = server.to_socket_addrs() else {
        return false;
    };
    addresses.any(|address| {
        let near = |(one, _): &(SocketAddr, bool)| {
            one.port() == address.port() && (one.ip() == address.ip() || address.ip().is_loopback())
        };
        listeners.iter().any(near)
    })
}

/// Address of a listener as reached from its own machine.
fn near(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port()),
        _ => listener,
    }
}

/// The findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, part: CheckedPart, text: impl fmt::Display) {
        self.push(part, FindingSeverity::Ok, text.to_string(), None);
    }

    fn warn(&mut self, part: CheckedPart, text: impl fmt::Display, advice: impl fmt::Display) {
        let advice = Some(advice.to_string());
        self.push(part, FindingSeverity::Warning, text.to_string(), advice);
    }

    fn problem(&mut self, part: CheckedPart, text: impl fmt::Display, advice: impl fmt::Display) {
        let advice = Some(advice.to_string());
        self.push(part, FindingSeverity::Problem, text.to_string(), advice);
    }

    fn push(
        &mut self,
        part: CheckedPart,
        severity: FindingSeverity,
        text: String,
        advice: Option<String>,
    ) {
        self.0.push(Finding {
            part,
            severity,
            text,
            advice,
        });
    }
}
