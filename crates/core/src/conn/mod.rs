//! Miners' connections as pool and proxy treat them alike: lines, the answer to HTTP, pauses of reading,
//! misbehaviour, and their end. The meaning of a request is not in here.

pub(crate) mod conn_map;
pub(crate) mod delayed_close;

use std::net::IpAddr;

use crate::accounts::ban::{Bans, network_of};
use crate::accounts::refused_logins::{RefusalReason, RefusedLogins};
use crate::conn::delayed_close::DelayedCloses;
use crate::event::{Actions, AnyAction, Arrival, ArrivalKind, CloseHow, Level};
use crate::limits::SCORE_DECAY_PER_S;
use crate::log_limit::LogLimit;
use crate::units::{ConnId, Now};
use crate::wire::line::{Flow, LineBuffer};
use crate::wire::message::Reject;
use crate::wire::protocol::{Heard, ProtocolPhase};

/// The connection of one miner.
pub(crate) struct MinerConn {
    pub id: ConnId,
    pub address: IpAddr,
    pub kind: ArrivalKind,
    pub connected_at_ms: u64,
    pub phase: ProtocolPhase,
    pub lines: LineBuffer,
    /// True while nothing is read from it.
    pub is_paused: bool,
    /// True once it has an accepted share.
    pub has_credit: bool,
    /// True once the socket layer was told that it has logged in.
    pub is_admitted: bool,
    /// True once the peer has closed its sending side.
    pub is_finished: bool,
    score: u32,
    scored_at_ms: u64,
}

impl MinerConn {
    pub(crate) fn new(id: ConnId, arrival: Arrival, now: Now) -> Self {
        Self {
            id,
            address: arrival.address,
            kind: arrival.kind,
            connected_at_ms: now.ms,
            phase: ProtocolPhase::New,
            lines: LineBuffer::default(),
            is_paused: false,
            has_credit: false,
            is_admitted: false,
            is_finished: false,
            score: 0,
            scored_at_ms: now.ms,
        }
    }

    /// Adds to the misbehaviour score, which decays by [`SCORE_DECAY_PER_S`]; gives what it is then.
    fn blame(&mut self, points: u32, now: Now) -> u32 {
        let seconds = now.ms.saturating_sub(self.scored_at_ms) / 1000;
        self.scored_at_ms += seconds * 1000;
        let forgiven = seconds.saturating_mul(u64::from(SCORE_DECAY_PER_S));
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.score = self.score.saturating_sub(forgiven).saturating_add(points);
        self.score
    }
}

/// The state that all connections of a pool or proxy share.
pub(crate) struct Connections {
    /// Connections to close at the end of the event.
    pub closing: Vec<(ConnId, CloseHow)>,
    pub delayed_closes: DelayedCloses,
    /// Addresses of connections that were dropped for misbehaviour in this event.
    pub dropped: Vec<IpAddr>,
    /// Rate limit of log lines that strangers cause.
    pub log_limit: LogLimit,
    pub refusals: RefusedLogins,
    /// Host and port that HTTP clients are redirected to.
    public: (Option<String>, u16),
}

impl Connections {
    pub(crate) fn new(public_host: Option<String>, public_port: u16) -> Self {
        Self {
            closing: Vec::new(),
            delayed_closes: DelayedCloses::default(),
            dropped: Vec::new(),
            log_limit: LogLimit::default(),
            refusals: RefusedLogins::default(),
            public: (public_host, public_port),
        }
    }

    /// Closes a connection at the end of the event.
    pub(crate) fn close(&mut self, conn: ConnId, how: CloseHow) {
        self.closing.push((conn, how));
    }

    /// Resets a connection after [`CLOSE_DELAY_MS`](crate::limits::CLOSE_DELAY_MS), because some miners
    /// reconnect at once.
    pub(crate) fn close_later(&mut self, conn: ConnId, now: Now) {
        if let Some(oldest) = self.delayed_closes.add(conn, now.ms) {
            self.close(oldest, CloseHow::Reset);
        }
    }

    /// Counts a refused login, and logs it unless its address was logged just before.
    pub(crate) fn note_refused<A: AnyAction>(
        &mut self,
        now: Now,
        address: IpAddr,
        name: &str,
        why: RefusalReason,
        out: &mut Actions<A>,
    ) {
        if let Some(line) = self.refusals.note(now, address, name, why) {
            self.log_limit.tell(now, Level::Info, || line, out);
        }
    }

    /// Counts a dropped connection against its address, unless a miner with accepted shares is connected
    /// from there: it must not be shut out with a bad neighbour.
    pub(crate) fn count_drop<A: AnyAction>(
        &mut self,
        now: Now,
        address: IpAddr,
        bans: &mut Bans,
        mut earning: impl Iterator<Item = IpAddr>,
        out: &mut Actions<A>,
    ) {
        let network = network_of(address);
        if !earning.any(|address| network_of(address) == network) && bans.drop_from(address, now.ms)
        {
            let text = || format!("refusing {network} for ten minutes: it keeps misbehaving");
            self.log_limit.tell(now, Level::Warning, text, out);
        }
    }

    /// Logs counts of lines left out, and closes the connections that are due.
    pub(crate) fn tick<A: AnyAction>(&mut self, now: Now, out: &mut Actions<A>) {
        for text in self.refusals.tick(now.ms) {
            self.log_limit.tell(now, Level::Info, || text, out);
        }
        for (level, text) in self.log_limit.tick(now.ms) {
            out.log(level, text);
        }
        while let Some(conn) = self.delayed_closes.next(now.ms) {
            self.close(conn, CloseHow::Reset);
        }
    }
}

/// A server of miners' lines: the pool, or the proxy.
pub(crate) trait LineServer {
    /// A miner, with its connection.
    type Miner;
    type Action: AnyAction;
    /// The score at which a connection is dropped.
    const SCORE_MAX: u32;

    fn conn(miner: &mut Self::Miner) -> &mut MinerConn;

    fn parts(&mut self) -> (&mut Connections, Now, &mut Actions<Self::Action>);

    /// True if nothing more is read from it.
    fn is_closing(miner: &Self::Miner) -> bool;

    /// True if its next line has to wait.
    fn is_blocked(&self, miner: &Self::Miner) -> bool;

    fn handle_request(&mut self, miner: &mut Self::Miner, line: &[u8]);

    /// Rejects a request, if it wants an answer.
    fn reject(&mut self, miner: &mut Self::Miner, id: Option<&str>, reject: Reject);

    /// Handles received bytes, or with none the lines that were held back.
    fn receive(&mut self, miner: &mut Self::Miner, bytes: &[u8]) {
        if Self::is_closing(miner) {
            return;
        }
        if self.is_blocked(miner) {
            Self::conn(miner).lines.hold(bytes);
            return self.update_backpressure(miner);
        }
        let mut lines = std::mem::take(&mut Self::conn(miner).lines);
        let read = lines.read(bytes, |line| self.handle_line(miner, line));
        let conn = Self::conn(miner);
        conn.lines = lines;
        let is_http = matches!(conn.phase, ProtocolPhase::Http(_));
        match read {
            Ok(()) => {}
            Err(_) if is_http => self.answer_http(miner),
            Err(_) => {
                self.reject(miner, Some("null"), Reject::LineTooLong);
                self.close(miner);
            }
        }
        self.update_backpressure(miner);
    }

    fn handle_line(&mut self, miner: &mut Self::Miner, line: &[u8]) -> Flow {
        match Self::conn(miner).phase.hear(line) {
            Heard::Request => self.handle_request(miner, line),
            Heard::HttpEnd => self.answer_http(miner),
            Heard::Nothing => {}
        }
        if Self::is_closing(miner) || self.is_blocked(miner) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }

    /// Stops or resumes reading, as the miner can take more lines or not. Bytes that still come from a
    /// connection about to be reset may stay in the kernel.
    fn update_backpressure(&mut self, miner: &mut Self::Miner) {
        let is_paused = self.is_blocked(miner) || Self::is_closing(miner);
        let conn = Self::conn(miner);
        if std::mem::replace(&mut conn.is_paused, is_paused) != is_paused {
            let (_, _, out) = self.parts();
            out.push(match is_paused {
                true => Self::Action::pause(conn.id),
                false => Self::Action::resume(conn.id),
            });
        }
    }

    fn answer_http(&mut self, miner: &mut Self::Miner) {
        let (conns, _, out) = self.parts();
        let conn = Self::conn(miner);
        let (host, port) = &conns.public;
        if let Some(response) = conn.phase.end_http(host.as_deref(), *port) {
            out.send(conn.id, |out| out.extend_from_slice(&response));
        }
        conns.close(conn.id, CloseHow::Flushed);
    }

    /// Adds to the misbehaviour score of a connection, and drops it at [`LineServer::SCORE_MAX`].
    fn blame(&mut self, miner: &mut Self::Miner, points: u32) {
        let is_closing = Self::is_closing(miner);
        let (conns, now, out) = self.parts();
        let conn = Self::conn(miner);
        if conn.blame(points, now) < Self::SCORE_MAX || is_closing {
            return;
        }
        let address = conn.address;
        let text = || format!("dropping a connection that misbehaves: {address}");
        conns.log_limit.tell(now, Level::Warning, text, out);
        if conn.kind == ArrivalKind::Miner && !conn.has_credit {
            conns.dropped.push(address);
        }
        self.close(miner);
    }

    /// Stops reading from a connection and resets it after a delay.
    fn close(&mut self, miner: &mut Self::Miner) {
        if Self::is_closing(miner) {
            return;
        }
        let (conns, now, _) = self.parts();
        let conn = Self::conn(miner);
        conn.phase = ProtocolPhase::Closing;
        conns.close_later(conn.id, now);
        self.end(miner);
    }

    /// Ends what else there is for a connection that is closed.
    fn end(&mut self, _: &mut Self::Miner) {}
}
