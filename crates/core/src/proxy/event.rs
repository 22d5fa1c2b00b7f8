//! What goes into the proxy and what comes out of it.

use std::net::IpAddr;
use std::ops::Range;

use crate::accounts::proxy_secret::ProxySecret;
use crate::event::{Arrival, CloseHow, Level, Listening, Wanted};
use crate::units::ConnId;

/// A server, by its place in [`ProxyConfig::backends`].
pub type Place = usize;

/// What a proxy is told at its start.
#[derive(Clone)]
pub struct ProxyConfig {
    /// The servers' names, as the operator gave them.
    pub backends: Vec<String>,
    /// The first byte of the ids that it deals.
    pub prefix: u8,
    /// Random, for ids that nobody can guess.
    pub key: [u8; 32],
    /// What it shares with the servers.
    pub secret: Option<ProxySecret>,
    /// What becomes of miners that no server takes.
    pub no_backend: NoBackend,
    /// A server that leaves a question unanswered for so long is taken to hang.
    pub probe_timeout_ms: u64,
    /// Where HTTP miners are sent; without one, to the host they asked for.
    pub public_host: Option<String>,
    /// The port they are sent to.
    pub public_port: u16,
}

/// What becomes of miners that no server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBackend {
    /// They are reset at once, so that they fail over.
    Close,
    /// They keep their connection until no server has been there for so many milliseconds; then they
    /// are reset, and whoever comes is refused until there is one.
    Wait(u64),
}

/// For what a connection to a server is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For the miner with this connection, to the server of this place.
    Miner(ConnId, Place),
    /// To see how the server of this place is.
    Probe(Place),
}

/// Everything that can happen to a proxy.
pub enum Event<'a> {
    /// A miner has connected.
    Connected(ConnId, Arrival),
    /// The answer to [`Action::Dial`]: the connection that is being made, if one is. It comes before
    /// any other event.
    Dialed(Purpose, Option<ConnId>),
    /// A connection that was being made is not to be had; another is made in its place, to another
    /// address of the server.
    Redialed(ConnId, ConnId),
    /// The name of a server has no address; [`Event::Dialed`] follows.
    NoAddress(Place),
    /// A connection to a server is there.
    Opened(ConnId),
    /// Bytes from a miner or a server.
    Received(ConnId, &'a [u8]),
    /// A miner sends no more: its shares are still answered, then its connection ends.
    Finished(ConnId),
    /// A connection is gone, or could not be made.
    Closed(ConnId),
    /// The operator takes a server out, or back in.
    Drain(Place, Drain),
    /// Time has passed.
    Tick,
    /// The proxy stops: nothing more is read, what was asked is still answered.
    Stop,
}

/// Whether the operator wants miners on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Its miners go elsewhere, as long as there is an elsewhere.
    Out,
    /// It takes miners.
    In,
}

/// Everything a proxy can want.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these of [`crate::event::Actions::bytes`]: whole lines.
    Send(ConnId, Range<usize>),
    /// Connect to a server, for somebody at this address, or for the proxy itself. Answered by
    /// [`Event::Dialed`].
    Dial(Purpose, Option<IpAddr>),
    /// Read no more from a connection.
    Pause(ConnId),
    /// Read again.
    Resume(ConnId),
    /// A miner has logged in.
    Admitted(ConnId),
    /// A miner has its first accepted share: it gives way to nobody.
    Proven(ConnId),
    /// End a connection; no [`Event::Closed`] follows.
    Close(ConnId, CloseHow),
    /// Take miners' connections, or refuse them while the ports stay ours.
    Listen(Listening),
    /// A miner has a job from another server, so many milliseconds after the last one was lost, or
    /// 0 where it was not.
    Moved(u64),
    /// Say something to the operator.
    Log(Level, String),
}

impl Wanted for Action {
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
}

/// The actions of an event.
pub type Actions = crate::event::Actions<Action>;

/// What the proxy has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Shares that a server acknowledged.
    pub accepted: u64,
    /// Shares that a server refused.
    pub refused: u64,
    /// Shares refused here, since their job was another server's.
    pub refused_stale: u64,
    /// Shares in flight to a server that was lost: answered here, and refused.
    pub refused_in_flight: u64,
    /// Moves of miners to another server after theirs was lost.
    pub moved_lost: u64,
    /// Moves of miners whose server was there until the end of the move.
    pub moved_alive: u64,
    /// Miners that were told another extranonce1.
    pub extra_nonces_changed: u64,
    /// Miners that had to be reset because no server took them with what they had.
    pub reset: u64,
}

/// How a server is, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// In a word.
    pub state: &'static str,
    /// Why it is not up.
    pub reason: Option<&'static str>,
    /// Whether the operator took it out.
    pub drain: Drain,
    /// The height that it mines at, as it last said.
    pub height: Option<u32>,
    /// Miners on it.
    pub miners: usize,
    /// Miners that have lost it in this outage, or in the last.
    pub lost: usize,
}
