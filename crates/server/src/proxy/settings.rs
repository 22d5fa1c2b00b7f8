//! What a proxy is told at its start, complete and valid. The command line makes it of its options.

use std::net::SocketAddr;
use std::path::PathBuf;

use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::proxy::NoBackend;

use crate::net::cidr::AddressRange;
use crate::net::listener::ListenSpec;
use crate::net::tls::TlsFiles;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// As the operator wrote it.
    pub name: String,
    /// Its address, unless that is a name's.
    pub address: Option<SocketAddr>,
}

/// The options, complete and valid.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where miners connect.
    pub listen: Vec<ListenSpec>,
    /// The servers.
    pub backends: Vec<Backend>,
    /// What is shared with them.
    pub secret: Option<ProxySecret>,
    /// The first byte of session ids.
    pub prefix: u8,
    /// What becomes of miners that no server takes.
    pub no_backend: NoBackend,
    /// How long a server may take to answer.
    pub probe_timeout_ms: u64,
    /// Whether servers are told addresses.
    pub send_proxy: bool,
    /// Peers that must send a PROXY header.
    pub proxy_protocol: Vec<AddressRange>,
    /// Miners at a time.
    pub max_inbound: usize,
    /// Miners from one address; 0 is any number.
    pub max_per_address: u32,
    /// There when a listener speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Where HTTP miners are sent.
    pub public_host: Option<String>,
    /// The port they are sent to.
    pub public_port: Option<u16>,
    /// Where HTTP is spoken, if anywhere.
    pub http: Option<SocketAddr>,
    /// Names by which that may be asked, beside `public_host`.
    pub http_host_names: Vec<String>,
    /// The control socket.
    pub control: Option<PathBuf>,
    /// That of a proxy whose miners are to be taken over.
    pub take_over: Option<PathBuf>,
}
