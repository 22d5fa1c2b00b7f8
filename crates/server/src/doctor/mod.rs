//! `hstratum doctor`: what keeps miners from working, and what to do about it.
//!
//! Everything is only read, but for a share that is mined where that is asked for: it is credited, and
//! may be a block. What a node was
//! given as flags cannot be seen from outside. A node that runs tells the options in force; of one that
//! does not, files and the environment are all that is known, and that is said.

mod conf;
mod dashboard;
mod dialect;
mod files;
mod machine;
mod node;
mod port;
mod trial;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use hstratum_core::accounts::Auth;
use hstratum_core::chain::address::Network;

use crate::config::Config;
use crate::config::in_force::{InForce, plain};
use crate::net::cidr::AddressRange;
use crate::payout::hsd::{Secret, Url};

use conf::Settings;
use node::NodeState;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, but may not for long or not as meant.
    Warning,
    /// Miners do not work, or soon will not.
    Problem,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Options, in files and the environment.
    Configuration,
    /// What is on the disk.
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

impl Part {
    /// All of them, in the order in which they are told.
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

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub part: Part,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one line.
    pub text: String,
    /// What to do about it; none where all is well.
    pub advice: Option<String>,
}

/// What to look at.
pub struct Setup {
    /// The network.
    pub network: Network,
    /// The node's directory, `<prefix>/<network>`; none where only a server is tried.
    pub dir: Option<PathBuf>,
    /// HOST:PORT of the server to try, where it is not the one that is configured, and whether TLS is
    /// spoken there.
    pub server: Option<(String, bool)>,
    /// Other networks that have a directory there, where the network's own has no chain.
    pub others: Vec<Network>,
    /// Whether a share is mined, for `user`.
    pub mines: bool,
    /// Where the node answers, if it is not where its configuration says.
    pub node_url: Option<Url>,
    /// The node's API key, if it is not in its configuration.
    pub node_key: Option<Secret>,
    /// The variables `HSD_…` of the environment.
    pub environment: Vec<(String, String)>,
    /// The account to mine with; without one a made-up name is tried.
    pub user: Option<String>,
    /// Its password.
    pub password: String,
}

/// Looks at everything. The findings are in the order of their parts.
#[must_use]
pub fn examine(setup: &Setup) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(dir) = &setup.dir else {
        let server = setup.server.as_ref();
        let server = server.map_or(("", false), |(place, tls)| (place, *tls));
        let known = Known::default();
        port::examine(setup, &known, server, NodeState::NotAsked, &mut findings);
        return findings.0;
    };
    if let Some(other) = setup.others.first() {
        findings.warn(
            Part::Files,
            format!(
                "{} has no chain of {}, and there is one of {}",
                dir.display(),
                setup.network.name(),
                other.name()
            ),
            format!("did you mean --network {}?", other.name()),
        );
    }
    let settings = Settings::read(dir, &setup.environment, &mut findings);
    files::examine(dir, setup.network, &settings, &mut findings);
    if let Some(config) = &settings.config {
        machine::examine(config, &mut findings);
    }
    let (state, in_force) = node::examine(setup, &settings, &mut findings);
    settings.tell(in_force.as_ref(), &mut findings);
    if state == NodeState::Serving {
        files::examine_running(dir, &mut findings);
    }
    let known = Known {
        config: settings.config.as_ref(),
        in_force: in_force.as_ref(),
    };
    dashboard::examine(&known, state, &mut findings);
    let own = known.listeners();
    match &setup.server {
        // Of a server elsewhere nothing of this is known.
        Some((server, tls)) if !is_of(server, &own) => {
            let (known, state) = (Known::default(), NodeState::NotAsked);
            port::examine(setup, &known, (server, *tls), state, &mut findings);
        }
        Some((server, tls)) => {
            port::examine(setup, &known, (server, *tls), state, &mut findings);
        }
        // The plain ones come first. Without any, what is wrong with the options has been said.
        None => {
            if let Some((first, tls)) = own.first() {
                let server = near(*first).to_string();
                port::examine(setup, &known, (&server, *tls), state, &mut findings);
            }
        }
    }
    findings.0
}

/// What is known of the server on this machine.
#[derive(Default)]
struct Known<'a> {
    /// As files and the environment have it.
    config: Option<&'a Config>,
    /// As it runs.
    in_force: Option<&'a InForce>,
}

impl Known<'_> {
    /// Where miners connect, and whether only with TLS: those without first.
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

    /// Whether names have to be addresses.
    fn wants_addresses(&self) -> bool {
        match (self.in_force, self.config) {
            (Some(options), _) => options.auth == "address",
            (None, config) => config.is_some_and(|config| config.auth == Auth::Address),
        }
    }

    /// Whether it takes a peer for a proxy.
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

/// Whether HOST:PORT is one of these listeners, on this machine.
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

/// Where a listener is reached from its own machine.
fn near(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port()),
        _ => listener,
    }
}

/// What has been found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, part: Part, text: impl fmt::Display) {
        self.push(part, Severity::Ok, text.to_string(), None);
    }

    fn warn(&mut self, part: Part, text: impl fmt::Display, advice: impl fmt::Display) {
        let advice = Some(advice.to_string());
        self.push(part, Severity::Warning, text.to_string(), advice);
    }

    fn problem(&mut self, part: Part, text: impl fmt::Display, advice: impl fmt::Display) {
        let advice = Some(advice.to_string());
        self.push(part, Severity::Problem, text.to_string(), advice);
    }

    fn push(&mut self, part: Part, severity: Severity, text: String, advice: Option<String>) {
        self.0.push(Finding {
            part,
            severity,
            text,
            advice,
        });
    }
}
