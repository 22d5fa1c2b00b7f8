//! The options in force in a running server, for tools outside it, which cannot see the flags' part in them.
//! Contains no secrets.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::net::cidr::AddressRange;
use crate::net::listener::ListenSpec;

/// The options in force. Another version may report more of them, or fewer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OptionsInForce {
    /// Listeners as `tcp://`, `tls://` or `auto://`, and ADDRESS:PORT.
    pub listeners: Vec<String>,
    /// Those of them whose blocks pay their finder.
    #[serde(rename = "sololisteners")]
    pub solo_listeners: Vec<String>,
    /// The operator's part of solo blocks in percent; `None` if it is 0.
    pub fee: Option<String>,
    /// Address of that part, if it is not the node's.
    #[serde(rename = "feeaddress")]
    pub fee_address: Option<String>,
    /// Address of the dashboard, the API and the metrics; `None` if they are off.
    pub dashboard: Option<SocketAddr>,
    /// `users`, `open` or `address`.
    pub auth: String,
    /// An admin's password is set, which allows adding accounts on the wire.
    #[serde(rename = "haspassword")]
    pub has_password: bool,
    /// Peers that must send a PROXY header.
    #[serde(rename = "proxyprotocol")]
    pub proxy_protocol: Vec<String>,
}

impl OptionsInForce {
    pub(crate) fn of(
        config: &Config,
        listeners: &[ListenSpec],
        dashboard: Option<SocketAddr>,
    ) -> Self {
        let proxies = config.proxy_protocol.iter();
        let solo = listeners.iter().filter(|spec| spec.is_solo());
        let fee = config.terms.fee;
        Self {
            listeners: listeners.iter().map(ListenSpec::to_string).collect(),
            solo_listeners: solo.map(ListenSpec::to_string).collect(),
            fee: (fee.get() > 0).then(|| fee.to_string()),
            fee_address: config.fee_address.clone(),
            dashboard,
            auth: config.auth.name().to_owned(),
            has_password: config.password.is_some(),
            proxy_protocol: proxies.map(AddressRange::to_string).collect(),
        }
    }
}

/// Address of a listener as listed, if it accepts plain connections.
#[must_use]
pub fn plain(listener: &str) -> Option<SocketAddr> {
    let address = listener
        .strip_prefix("tcp://")
        .or_else(|| listener.strip_prefix("auto://"))?;
    address.parse().ok()
}
