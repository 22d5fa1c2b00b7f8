//! The options that a server runs with, for whoever looks at it from outside: what flags have made of
//! files and defaults cannot be seen there. No secrets.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::net::cidr::AddressRange;
use crate::net::listener::ListenSpec;

/// See the module. A program of another version may say more, or less.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InForce {
    /// Where miners connect: `tcp://`, `tls://` or `auto://`, and ADDRESS:PORT.
    pub listeners: Vec<String>,
    /// Where the dashboard, the API and the metrics are; none: nowhere.
    pub dashboard: Option<SocketAddr>,
    /// `users`, `open` or `address`.
    pub auth: String,
    /// Whether there is a password, with which an admin adds accounts on the wire.
    #[serde(rename = "haspassword")]
    pub has_password: bool,
    /// Peers that must send a PROXY header.
    #[serde(rename = "proxyprotocol")]
    pub proxy_protocol: Vec<String>,
}

impl InForce {
    pub(crate) fn of(
        config: &Config,
        listeners: impl Iterator<Item = ListenSpec>,
        dashboard: Option<SocketAddr>,
    ) -> Self {
        let proxies = config.proxy_protocol.iter();
        Self {
            listeners: listeners.map(|spec| spec.to_string()).collect(),
            dashboard,
            auth: config.auth.name().to_owned(),
            has_password: config.password.is_some(),
            proxy_protocol: proxies.map(AddressRange::to_string).collect(),
        }
    }
}

/// The address of a listener as it is told, if whoever connects may speak plain.
#[must_use]
pub fn plain(listener: &str) -> Option<SocketAddr> {
    let address = listener
        .strip_prefix("tcp://")
        .or_else(|| listener.strip_prefix("auto://"))?;
    address.parse().ok()
}
