//! Settings of a proxy, complete and valid. The command line makes them of its options.

use std::net::SocketAddr;
use std::path::PathBuf;

use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::proxy::NoBackend;

use crate::net::cidr::AddressRange;
use crate::net::listener::ListenSpec;
use crate::net::tls::TlsFiles;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendAddress {
    /// Name as the operator wrote it.
    pub name: String,
    /// Its address, unless that has to be resolved.
    pub address: Option<SocketAddr>,
}

/// The options, complete and valid.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Listeners for miners.
    pub listen: Vec<ListenSpec>,
    /// The servers.
    pub backends: Vec<BackendAddress>,
    /// Secret shared with the servers.
    pub secret: Option<ProxySecret>,
    /// The first byte of session ids.
    pub prefix: u8,
    /// Treatment of miners that no server accepts.
    pub no_backend: NoBackend,
    /// Milliseconds for a server's answer.
    pub probe_timeout_ms: u64,
    /// Servers are told the miners' addresses, in PROXY headers.
    pub send_proxy: bool,
    /// Peers that must send a PROXY header.
    pub proxy_protocol: Vec<AddressRange>,
    /// Greatest number of miners at a time.
    pub max_inbound: usize,
    /// Greatest number of miners from one address; 0 is any number.
    pub max_per_address: u32,
    /// `Some` if a listener speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Host that HTTP clients are redirected to.
    pub public_host: Option<String>,
    /// Port that HTTP clients are redirected to.
    pub public_port: Option<u16>,
    /// Address of the proxy's HTTP, if it has any.
    pub http: Option<SocketAddr>,
    /// Further names that HTTP requests may use for this proxy, besides `public_host`.
    pub http_host_names: Vec<String>,
    /// The control socket.
    pub control: Option<PathBuf>,
    /// Control socket of a proxy to take over from.
    pub take_over: Option<PathBuf>,
}
