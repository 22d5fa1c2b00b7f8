//! The stratum proxy: miners stay connected to it while it moves them between the servers behind it.
//!
//! A function from events to actions like the pool; [`Proxy::handle`] is the only way in. Each miner has
//! a connection of its own to one server, chosen by the id of its session. When that server dies, hangs,
//! falls behind or is drained, the miner is moved to another. Invariants: a share for a job of an earlier
//! server is sent to no other, and every request is answered once and in order, by a server, or with a
//! reject if none can.

mod backend;
mod event;
mod fitness;
mod hash_ring;
mod health;
mod link;
mod login;
mod memory_usage;
mod miner;
mod miner_lines;
mod miner_moves;
mod miner_snapshot;
mod outage;
mod server_lines;
mod session_ids;
mod state;

pub use event::{
    BackendDrain, BackendIndex, BackendStatus, NoBackend, ProxyAction, ProxyActions, ProxyConfig,
    ProxyCounts, ProxyEvent, Purpose,
};
pub use miner_snapshot::MinerState;
pub use state::Proxy;

use std::collections::BTreeSet;

use crate::accounts::refused_logins::RefusedLogins;
use crate::conn::LineServer;
use crate::event::{Arrival, ArrivalKind, CloseHow};
use crate::proxy::backend::{Backend, BackendChange, BackendState};
use crate::proxy::miner::ProxiedMiner;
use crate::proxy::miner_lines::MinerContext;
use crate::proxy::miner_moves::LOSES_ALL;
use crate::proxy::server_lines::{LinkFault, LinkSlot, link_mut, slot_of_link};
use crate::proxy::state::Role;
use crate::units::{ConnId, Now};

impl Proxy {
    /// Handles one event and appends the resulting actions to `out`. `now.ms` must not be less than in
    /// the call before.
    pub fn handle(&mut self, now: Now, event: ProxyEvent<'_>, out: &mut ProxyActions) {
        match event {
            ProxyEvent::Connected(conn, arrival) => self.handle_connected(now, conn, arrival, out),
            ProxyEvent::Dialed(Purpose::Probe(place), dialed) => {
                self.shared.probe_dialed(place, dialed, now, out);
            }
            ProxyEvent::Dialed(Purpose::Miner(conn, place), dialed) => {
                let is_there = self.with(now, conn, out, |context, miner| {
                    context.dialed(miner, place, dialed);
                });
                if let (false, Some(dialed)) = (is_there, dialed) {
                    out.push(ProxyAction::Close(dialed, CloseHow::Reset));
                }
            }
            ProxyEvent::Redialed(old, new) => self.handle_redialed(now, old, new, out),
            ProxyEvent::NoAddress(place) => self.shared.has_no_address(place, now, out),
            ProxyEvent::Opened(conn) => self.handle_opened(now, conn, out),
            ProxyEvent::Received(conn, bytes) => self.handle_received(now, conn, bytes, out),
            ProxyEvent::Finished(conn) => {
                self.with(now, conn, out, |_, miner| miner.conn.is_finished = true);
            }
            ProxyEvent::Closed(conn) => self.handle_closed(now, conn, out),
            ProxyEvent::Drain(place, drain) => self.shared.set_drain(place, drain, out),
            ProxyEvent::Tick => self.handle_tick(now, out),
            ProxyEvent::Stop => {
                self.shared.is_stopping = true;
                for conn in self.all_miners() {
                    self.with(now, conn, out, |context, miner| {
                        context.update_backpressure(miner);
                    });
                }
            }
        }
        self.follow_up(now, out);
    }

    /// Logins that servers or the proxy have refused.
    pub fn refusals(&self) -> &RefusedLogins {
        &self.shared.conns.refusals
    }

    /// Counters since the start.
    pub fn counts(&self) -> ProxyCounts {
        self.shared.counts
    }

    /// The status of each server.
    pub fn status(&self) -> Vec<BackendStatus> {
        self.shared.backends.iter().map(Backend::status).collect()
    }

    /// Count of connected miners.
    pub fn miners(&self) -> usize {
        self.miners.len()
    }

    /// True if a server still owes an answer to a miner.
    pub fn is_owed(&self) -> bool {
        self.miners.iter().any(|miner| miner.is_owed())
    }

    fn handle_connected(
        &mut self,
        now: Now,
        conn: ConnId,
        arrival: Arrival,
        out: &mut ProxyActions,
    ) {
        if self.shared.is_refusing {
            out.push(ProxyAction::Close(conn, CloseHow::Reset));
            return;
        }
        if arrival.kind == ArrivalKind::Miner && self.bans.is_banned(arrival.address, now) {
            out.push(ProxyAction::Close(conn, CloseHow::Reset));
            return;
        }
        self.insert(ProxiedMiner::new(conn, arrival, now));
    }

    fn insert(&mut self, miner: ProxiedMiner) {
        let conn = miner.conn.id;
        self.shared.roles.insert(conn, Role::Miner);
        self.shared.unsettled.insert(conn);
        self.miners.insert(conn, Box::new(miner));
    }

    fn handle_redialed(&mut self, now: Now, old: ConnId, new: ConnId, out: &mut ProxyActions) {
        let role = self.shared.roles.remove(old);
        let mut is_wanted = false;
        match role {
            Some(Role::Link(miner)) => {
                self.with(now, miner, out, |_, miner| {
                    if let Some(link) = miner.next.as_mut().filter(|link| link.conn == Some(old)) {
                        link.conn = Some(new);
                        is_wanted = true;
                    }
                });
            }
            Some(Role::Probe(place)) => is_wanted = self.shared.probe_redialed(place, old, new),
            Some(Role::Miner) | None => {}
        }
        match role.filter(|_| is_wanted) {
            Some(role) => {
                self.shared.roles.insert(new, role);
            }
            None => out.push(ProxyAction::Close(new, CloseHow::Reset)),
        }
    }

    fn handle_opened(&mut self, now: Now, conn: ConnId, out: &mut ProxyActions) {
        match self.shared.roles.get(conn).copied() {
            Some(Role::Link(miner)) => {
                self.with(now, miner, out, |context, miner| {
                    if slot_of_link(miner, Some(conn)).is_some() {
                        context.opened(miner);
                    }
                });
            }
            Some(Role::Probe(place)) => self.shared.probe_opened(place, conn, now, out),
            Some(Role::Miner) | None => {}
        }
    }

    fn handle_received(&mut self, now: Now, conn: ConnId, bytes: &[u8], out: &mut ProxyActions) {
        match self.shared.roles.get(conn).copied() {
            Some(Role::Miner) => {
                self.with(now, conn, out, |context, miner| {
                    context.receive(miner, bytes);
                });
            }
            Some(Role::Link(miner)) => {
                self.with(now, miner, out, |context, miner| {
                    context.hear_link(miner, conn, bytes);
                });
            }
            Some(Role::Probe(place)) => self.shared.probe_received(place, bytes, now, out),
            None => {}
        }
    }

    fn handle_closed(&mut self, now: Now, conn: ConnId, out: &mut ProxyActions) {
        let role = self.shared.roles.remove(conn);
        match role {
            Some(Role::Miner) => self.forget(now, conn, out),
            Some(Role::Link(miner)) => {
                self.with(now, miner, out, |context, miner| {
                    context.link_closed(miner, conn);
                });
            }
            Some(Role::Probe(place)) => self.shared.probe_closed(place, now, out),
            None => {}
        }
    }

    fn handle_tick(&mut self, now: Now, out: &mut ProxyActions) {
        self.shared.run_probes(now, out);
        self.shared.conns.tick(now, out);
        let unsettled: BTreeSet<ConnId> = self.shared.unsettled.iter().copied().collect();
        for conn in unsettled {
            self.with(now, conn, out, |context, miner| {
                context.check_timeouts(miner);
            });
        }
        while let Some(&(at_ms, conn)) = self.shared.misplaced.front()
            && at_ms <= now.ms
        {
            self.shared.misplaced.pop_front();
            self.moves.push_back(conn);
            self.with(now, conn, out, |_, miner| miner.is_misplaced = false);
        }
        for _ in 0..self.moves_per_tick {
            let Some(conn) = self.moves.pop_front() else {
                break;
            };
            self.with(now, conn, out, |context, miner| context.move_home(miner));
        }
    }

    /// Handles effects of the event on other miners and servers.
    fn follow_up(&mut self, now: Now, out: &mut ProxyActions) {
        if !self.shared.is_started {
            let mut states = self.shared.backends.iter().map(|backend| backend.state);
            self.shared.is_started = !states.any(|state| state == BackendState::Starting);
            if self.shared.is_started {
                self.shared.changes.push(BackendChange::Replan);
            }
        }
        while let Some(change) = self.shared.changes.pop() {
            match change {
                BackendChange::Lost(place, since_ms) => self.handle_lost(now, place, since_ms, out),
                BackendChange::Replan => self.plan(now, out),
            }
        }
        while let Some((conn, place)) = self.shared.turned_away.pop() {
            self.with(now, conn, out, |context, miner| {
                context.turn_away(miner, place);
            });
        }
        for place in 0..self.shared.backends.len() {
            while self.shared.backends[place].has_room()
                && let Some(conn) = self.shared.backends[place].queue.pop_front()
            {
                self.with(now, conn, out, |context, miner| {
                    if miner.queued == Some(place) {
                        context.go_to(miner, place);
                    }
                });
            }
        }
        for address in std::mem::take(&mut self.shared.conns.dropped) {
            let earning = self.miners.iter().filter(|one| one.conn.has_credit);
            let earning = earning.map(|one| one.conn.address);
            let conns = &mut self.shared.conns;
            conns.count_drop(now, address, &mut self.bans, earning, out);
        }
        self.check_backends(now, out);
        while !self.shared.conns.closing.is_empty() {
            for (conn, how) in std::mem::take(&mut self.shared.conns.closing) {
                if self.shared.roles.remove(conn).is_some() {
                    self.forget(now, conn, out);
                    out.push(ProxyAction::Close(conn, how));
                }
            }
        }
    }

    fn forget(&mut self, now: Now, conn: ConnId, out: &mut ProxyActions) {
        let Some(mut miner) = self.miners.remove(conn) else {
            return;
        };
        let mut context = MinerContext {
            shared: &mut self.shared,
            now,
            out,
        };
        context.drop_links(&mut miner);
        if let Some(session) = miner.session {
            self.shared.ids.free(session);
        }
    }

    fn all_miners(&self) -> Vec<ConnId> {
        let miners = self.miners.iter();
        miners.map(|miner| miner.conn.id).collect()
    }

    /// Calls `act` with a miner, then reports what that has changed for the sockets; false if the miner
    /// is gone.
    fn with(
        &mut self,
        now: Now,
        conn: ConnId,
        out: &mut ProxyActions,
        act: impl FnOnce(&mut MinerContext<'_>, &mut ProxiedMiner),
    ) -> bool {
        let Some(miner) = self.miners.get_mut(conn) else {
            return false;
        };
        let mut context = MinerContext {
            shared: &mut self.shared,
            now,
            out,
        };
        act(&mut context, miner);
        if miner.is_mining() && !miner.conn.is_admitted {
            miner.conn.is_admitted = true;
            out.push(ProxyAction::Admitted(conn));
        }
        if miner.conn.is_finished && !miner.has_share_in_flight() {
            miner.conn.is_finished = false;
            self.shared.conns.close(conn, CloseHow::Flushed);
        }
        if miner.conn.has_credit && !miner.is_proven {
            miner.is_proven = true;
            out.push(ProxyAction::Proven(conn));
        }
        true
    }
}

impl MinerContext<'_> {
    /// Handles bytes of a server for a miner. The miner leaves a server that violates the protocol.
    fn hear_link(&mut self, miner: &mut ProxiedMiner, conn: ConnId, bytes: &[u8]) {
        let Some(slot) = slot_of_link(miner, Some(conn)) else {
            return;
        };
        if let Err(wrong) = self.hear(miner, slot, bytes) {
            self.leave(miner, conn, wrong);
        }
        self.check_answers_done(miner);
        if miner.conn.is_paused {
            self.receive(miner, &[]);
        } else {
            self.update_backpressure(miner);
        }
    }

    fn leave(&mut self, miner: &mut ProxiedMiner, conn: ConnId, wrong: LinkFault) {
        let Some(slot) = slot_of_link(miner, Some(conn)) else {
            return;
        };
        if wrong == LinkFault::Nonsense
            && let Some(link) = link_mut(miner, slot)
        {
            self.shared.count_nonsense(link.place, self.now, self.out);
        }
        match slot {
            LinkSlot::Current if miner.count_loss(self.now) => self.reset(miner, LOSES_ALL),
            LinkSlot::Current => self.lose_current(miner, self.now.ms),
            LinkSlot::Next => self.fail_next(miner),
        }
    }
}
