//! `hstratum doctor`: what keeps miners from working, and what to do about it.
//!
//! Everything is only read, but for a share that is mined where that is asked for. What a node was
//! given as flags cannot be seen from outside: files, the environment and the node's own answers
//! are all that is known of it.

mod conf;
mod dashboard;
mod dialect;
mod files;
mod machine;
mod node;
mod port;
mod trial;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hstratum_core::address::Network;

use crate::config::Config;
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
    /// HOST:PORT of the server to try, where it is not the one that is configured.
    pub server: Option<String>,
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
        let server = setup.server.as_deref().unwrap_or_default();
        port::examine(setup, None, server, NodeState::NotAsked, &mut findings);
        return findings.0;
    };
    let settings = Settings::read(dir, &setup.environment, &mut findings);
    files::examine(dir, setup.network, &settings, &mut findings);
    if let Some(config) = &settings.config {
        machine::examine(config, &mut findings);
    }
    let state = node::examine(setup, &settings, &mut findings);
    if state == NodeState::Serving {
        files::examine_running(dir, &mut findings);
    }
    let server = match (&setup.server, &settings.config) {
        (Some(server), _) => server.clone(),
        (None, Some(config)) => near(config).to_string(),
        // What is wrong with the options has been said.
        (None, None) => return findings.0,
    };
    let config = settings.config.as_ref();
    if let Some(config) = config {
        dashboard::examine(config, state, &mut findings);
    }
    port::examine(setup, config, &server, state, &mut findings);
    findings.0
}

/// Where a server with these options is reached from its own machine.
fn near(config: &Config) -> SocketAddr {
    let host = match config.host {
        host if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, config.port)
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
