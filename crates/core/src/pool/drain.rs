//! Draining: the port refuses new connections, and the open ones are closed one after the other over the
//! ordered time, so that other servers do not get all miners at once.
//!
//! They are reset, which every miner notices and answers by reconnecting, here or elsewhere.
//! `client.reconnect` is not sent: a Goldshell takes it for a broken server, a HandyMiner ignores it, and
//! no known miner does more with it than after a reset. A connection whose shares wait for the ledger is
//! left open until they are answered, except at the end of the drain.

use crate::event::{Action, Actions, CloseHow, Level, Listening};
use crate::pool::state::{Drain, Pool};
use crate::units::Now;

impl Pool {
    /// True while no connections are taken, as ordered.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(crate) fn drain(&mut self, now: Now, over_s: u64, out: &mut Actions) {
        let count = self.sessions.iter_mut().count();
        self.drain = Some(Drain {
            until_ms: now.ms + over_s * 1000,
            done_ms: now.ms,
            is_over: false,
        });
        self.shared.is_leaving = true;
        self.keep_port(out);
        let text = format!(
            "draining, as ordered: new connections are refused; connections closed within {over_s} s: {count}"
        );
        out.log(Level::Info, text);
    }

    pub(crate) fn undrain(&mut self, out: &mut Actions) {
        if self.drain.take().is_some() {
            self.shared.is_leaving = false;
            self.keep_port(out);
            out.log(Level::Info, "the drain has ended, as ordered".to_owned());
        }
    }

    /// Closes as many connections as are due by now.
    pub(crate) fn move_away(&mut self, now: Now, out: &mut Actions) {
        let Some(drain) = &mut self.drain else { return };
        let open = self
            .sessions
            .iter_mut()
            .filter(|session| !session.is_closing());
        let open = open.count() as u64;
        let left_ms = drain.until_ms.saturating_sub(drain.done_ms);
        let past_ms = now.ms - drain.done_ms;
        let is_last = past_ms >= left_ms;
        let due = match is_last {
            true => open,
            false => open * past_ms / left_ms,
        };
        if due > 0 {
            drain.done_ms = now.ms;
        }
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        let sessions = self.sessions.iter_mut();
        let ready = sessions
            .filter(|session| !session.is_closing() && (is_last || session.waits_for_nothing()));
        for session in ready.take(due) {
            self.shared.conns.close(session.conn.id, CloseHow::Reset);
        }
        if is_last && open == 0 && !drain.is_over {
            drain.is_over = true;
            out.log(Level::Info, "drained: no miner is connected".to_owned());
        }
    }

    /// Opens or closes the port: it takes connections while there is a job and no drain.
    pub(crate) fn keep_port(&mut self, out: &mut Actions) {
        let listening = match self.shared.is_listening && self.drain.is_none() {
            true => Listening::On,
            false => Listening::Off,
        };
        if listening != self.port {
            self.port = listening;
            out.push(Action::Listen(listening));
        }
    }
}
