//! A server behind the proxy: its state, its probe and its counters. Probing is in `health`, judging in
//! `fitness`.

use std::collections::VecDeque;

use crate::limits::{DOWN_MS, LOGINS_PER_BACKEND, OUTAGE_MS};
use crate::proxy::event::{BackendDrain, BackendIndex, BackendStatus};
use crate::units::{ConnId, Now};
use crate::wire::line::LineBuffer;

/// The state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackendState {
    /// Nothing is known yet.
    Starting,
    Up,
    /// It answers, but miners are better off on another server.
    Unfit(&'static str),
    Down(&'static str),
}

/// A consequence of a server's change for the miners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackendChange {
    /// All its miners have lost it, at this time.
    Lost(BackendIndex, u64),
    /// Some miners may be better off on another server.
    Replan,
}

/// The state of a probe.
pub(crate) enum Probe {
    /// No connection until this time.
    Waiting(u64),
    /// The connection is being made, since this time.
    Dialing(Option<ConnId>, u64),
    Open(OpenProbe),
}

impl Probe {
    /// Time since which something is awaited, and the reason to give if it does not come.
    pub(crate) fn awaits(&self) -> Option<(u64, &'static str)> {
        match self {
            Self::Waiting(_) => None,
            Self::Dialing(_, since_ms) => Some((*since_ms, "it cannot be reached")),
            Self::Open(asking) => asking.asked_ms.map(|ms| (ms, "it does not answer")),
        }
    }
}

pub(crate) struct OpenProbe {
    pub conn: ConnId,
    pub opened_ms: u64,
    pub lines: LineBuffer,
    /// Time of the question that is not answered yet.
    pub asked_ms: Option<u64>,
    /// Time of the next question.
    pub next_ms: u64,
    /// True once the subscribe was answered, whose answer comes before all others.
    pub is_subscribed: bool,
}

/// A server with its state and counters.
pub(crate) struct Backend {
    pub name: String,
    pub state: BackendState,
    pub drain: BackendDrain,
    /// Count of miners on it.
    pub miners: usize,
    /// Count of miners that have lost it in the current or the last outage, the time of the last such
    /// loss, and the count of those that have no other server yet.
    pub lost: usize,
    pub lost_ms: u64,
    pub unassigned: usize,
    /// Time before which no connection is tried, because one could not even be started; 0 for any time.
    pub dial_from_ms: u64,
    /// Count of logins in progress.
    pub logins: usize,
    /// Miners that wait for a login.
    pub queue: VecDeque<ConnId>,
    pub probe: Probe,
    /// Time since which the probe's connection is broken or silent; set until the next one is answered.
    pub doubted_since_ms: Option<u64>,
    /// True if it broke: no miner is sent there until the next connection is answered.
    pub is_broken: bool,
    pub height: Option<u32>,
    /// True once it has asked proxies to move its miners elsewhere.
    pub is_leaving: bool,
    /// True if it answers `hstratum.hello`.
    pub knows_hello: bool,
    pub unfit_since_ms: Option<u64>,
    /// Time of the oldest request, of the probe or of a miner, since which it has sent nothing.
    pub silent_since_ms: Option<u64>,
    pub last_alive_ms: u64,
    pub good_probes: u32,
    pub down_until_ms: u64,
    pub down_for_ms: u64,
    pub nonsense: u32,
    pub nonsense_since_ms: u64,
}

impl Backend {
    pub(crate) fn new(name: &str, now: Now) -> Self {
        Self {
            name: name.to_owned(),
            state: BackendState::Starting,
            drain: BackendDrain::In,
            miners: 0,
            lost: 0,
            lost_ms: 0,
            unassigned: 0,
            dial_from_ms: 0,
            logins: 0,
            queue: VecDeque::new(),
            probe: Probe::Waiting(now.ms),
            doubted_since_ms: None,
            is_broken: false,
            height: None,
            is_leaving: false,
            knows_hello: true,
            unfit_since_ms: None,
            silent_since_ms: None,
            last_alive_ms: now.ms,
            good_probes: 0,
            down_until_ms: 0,
            down_for_ms: DOWN_MS,
            nonsense: 0,
            nonsense_since_ms: now.ms,
        }
    }

    /// True if miners may be sent there.
    pub(crate) fn is_open(&self) -> bool {
        self.is_fit() && self.drain == BackendDrain::In
    }

    /// True if it is good for miners, even if the operator has drained it.
    pub(crate) fn is_fit(&self) -> bool {
        self.state == BackendState::Up && !self.is_broken
    }

    /// True if it can be used if there is nothing better.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_there() && !self.is_broken
    }

    /// True if another login may start. After a connection could not even be started, one is tried at a
    /// time.
    pub(crate) fn has_room(&self) -> bool {
        let most = match self.dial_from_ms {
            0 => LOGINS_PER_BACKEND,
            _ => 1,
        };
        self.logins < most
    }

    /// True if the miners on it can stay.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self.state, BackendState::Up | BackendState::Unfit(_))
    }

    /// Notes that a request was sent to it.
    pub(crate) fn asked(&mut self, now: Now) {
        self.silent_since_ms.get_or_insert(now.ms);
    }

    /// Notes that it has sent something.
    pub(crate) fn heard(&mut self, now: Now) {
        self.silent_since_ms = None;
        self.last_alive_ms = now.ms;
    }

    /// Resets the count of lost miners if the last loss is long ago and all have found another server: a
    /// new loss is then a new outage.
    pub(crate) fn forget_lost(&mut self, now: Now) {
        if self.unassigned == 0 && now.ms - self.lost_ms >= OUTAGE_MS {
            self.lost = 0;
        }
    }

    pub(crate) fn status(&self) -> BackendStatus {
        let (state, reason) = match self.state {
            BackendState::Starting => ("starting", None),
            BackendState::Up => ("up", None),
            BackendState::Unfit(reason) => ("unfit", Some(reason)),
            BackendState::Down(reason) => ("down", Some(reason)),
        };
        BackendStatus {
            name: self.name.clone(),
            state,
            reason,
            drain: self.drain,
            height: self.height,
            miners: self.miners,
            lost: self.lost,
        }
    }
}
