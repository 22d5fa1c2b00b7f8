//! Events into the proxy and actions out of it, its configuration, and its status.

use std::net::IpAddr;
use std::ops::Range;

use crate::accounts::proxy_secret::ProxySecret;
use crate::event::{AnyAction, Arrival, CloseHow, Level, Listening};
use crate::units::ConnId;

/// A server, as its index in [`ProxyConfig::backends`].
pub type BackendIndex = usize;

/// The configuration of a proxy, fixed for its lifetime.
#[derive(Clone)]
pub struct ProxyConfig {
    /// The servers' names, as the operator gave them.
    pub backends: Vec<String>,
    /// The first byte of the session ids that it assigns.
    pub prefix: u8,
    /// Random key that makes ids unguessable.
    pub key: [u8; 32],
    /// The secret shared with the servers.
    pub secret: Option<ProxySecret>,
    /// The treatment of miners that no server takes.
    pub no_backend: NoBackend,
    /// Time without an answer after which a server is taken to hang, in milliseconds.
    pub probe_timeout_ms: u64,
    /// The host that HTTP miners are directed to; without it, the host in their request.
    pub public_host: Option<String>,
    /// The port that HTTP miners are directed to.
    pub public_port: u16,
}

/// The treatment of miners that no server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBackend {
    /// They are reset at once, so that they fail over.
    Close,
    /// They keep their connection until there has been no server for this many milliseconds; then they
    /// are reset, and new ones are refused until there is one.
    Wait(u64),
}

/// The purpose of a connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For the miner with this connection, to this server.
    Miner(ConnId, BackendIndex),
    /// For probing this server.
    Probe(BackendIndex),
}

/// Everything that can happen to a proxy.
pub enum ProxyEvent<'a> {
    /// A miner has connected and sent its first bytes.
    Connected(ConnId, Arrival),
    /// The answer to [`ProxyAction::Dial`]: the connection that is being made, if one is. It comes before any
    /// event of that connection.
    Dialed(Purpose, Option<ConnId>),
    /// A connection could not be made, and the second one is made in its place, to another address of the
    /// server.
    Redialed(ConnId, ConnId),
    /// The name of a server has no address; [`ProxyEvent::Dialed`] follows.
    NoAddress(BackendIndex),
    /// A connection to a server is established.
    Opened(ConnId),
    /// Bytes from a miner or a server.
    Received(ConnId, &'a [u8]),
    /// A miner has closed its sending side: its shares are still answered, then its connection is closed.
    Finished(ConnId),
    /// A connection has ended, or could not be made.
    Closed(ConnId),
    /// The operator drains a server, or ends its drain.
    Drain(BackendIndex, BackendDrain),
    /// Time has passed.
    Tick,
    /// The proxy stops: nothing more is read, but requests already read are still answered.
    Stop,
}

/// State of a drain of one server ordered by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendDrain {
    /// Drained: its miners move to other servers, as long as there are any.
    Out,
    /// Not drained: the server takes miners.
    In,
}

/// Everything a proxy can order.
#[derive(Debug, PartialEq, Eq)]
pub enum ProxyAction {
    /// Send this range of [`crate::event::Actions::bytes`]: whole lines.
    Send(ConnId, Range<usize>),
    /// Connect to a server, for a miner at this address, or for the proxy itself. Answered by
    /// [`ProxyEvent::Dialed`].
    Dial(Purpose, Option<IpAddr>),
    /// Read no more from a connection.
    Pause(ConnId),
    /// Read again from a connection.
    Resume(ConnId),
    /// A miner has logged in.
    Admitted(ConnId),
    /// A miner has its first accepted share: its connection is not displaced by new ones any more.
    Proven(ConnId),
    /// Close a connection; no [`ProxyEvent::Closed`] follows.
    Close(ConnId, CloseHow),
    /// Accept miners' connections, or refuse them while the ports stay bound.
    Listen(Listening),
    /// A miner has a job from another server. The number is the time since its last server was lost, in
    /// milliseconds, or 0 if it was not lost.
    Moved(u64),
    /// Write a log line for the operator.
    Log(Level, String),
}

impl AnyAction for ProxyAction {
    fn send(conn: ConnId, range: Range<usize>) -> Self {
        Self::Send(conn, range)
    }

    fn sent(&mut self) -> Option<(ConnId, &mut Range<usize>)> {
        match self {
            Self::Send(conn, range) => Some((*conn, range)),
            _ => None,
        }
    }

    fn log(level: Level, text: String) -> Self {
        Self::Log(level, text)
    }

    fn pause(conn: ConnId) -> Self {
        Self::Pause(conn)
    }

    fn resume(conn: ConnId) -> Self {
        Self::Resume(conn)
    }
}

/// The actions of an event.
pub type ProxyActions = crate::event::Actions<ProxyAction>;

/// Counters since the start of the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Shares that a server accepted.
    pub accepted: u64,
    /// Shares that a server refused.
    pub refused: u64,
    /// Shares refused by the proxy, because their job was another server's.
    pub refused_stale: u64,
    /// Shares on their way to a server that was lost: the proxy refused them.
    pub refused_in_flight: u64,
    /// Moves of miners after their server was lost.
    pub moved_lost: u64,
    /// Moves of miners whose server was still up at the end of the move.
    pub moved_alive: u64,
    /// Times that a miner was given another extranonce1.
    pub extra_nonces_changed: u64,
    /// Miners reset, because no server took them with their extranonce1, users and settings.
    pub reset: u64,
}

/// The status of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// The state in one word.
    pub state: &'static str,
    /// The reason why it is not up.
    pub reason: Option<&'static str>,
    /// The drain ordered by the operator.
    pub drain: BackendDrain,
    /// The height that it mines at, by its last answer.
    pub height: Option<u32>,
    /// Count of miners on it.
    pub miners: usize,
    /// Count of miners that lost it in the current or the last outage.
    pub lost: usize,
}
