//! Moves miners to a server, and from one server to another; the miner sees no more of it than a new job.
//!
//! A miner that has lost its server takes the next one that admits it. A miner that is better off
//! elsewhere keeps its server until the other one is ready and the last answers have come.

use crate::conn::LineServer;
use crate::event::{CloseHow, Level};
use crate::limits::{LINK_LOGIN_MS, MISPLACED_MS, PROXY_LOGIN_MS, RETRY_MS};
use crate::proxy::backend::{Backend, BackendState};
use crate::proxy::event::{BackendIndex, NoBackend, ProxyAction, Purpose};
use crate::proxy::link::{BackendLink, LinkStage};
use crate::proxy::miner::{MinerRequest, ProxiedMiner};
use crate::proxy::miner_lines::MinerContext;
use crate::proxy::server_lines::{LinkSlot, slot_of_link};
use crate::proxy::state::Role;
use crate::units::ConnId;

/// The reason for resetting a miner whose connections are ended by all servers.
pub(crate) const LOSES_ALL: &str = "it loses every server";
impl MinerContext<'_> {
    /// Looks for a server for a miner that has none and is not on its way to one.
    pub(crate) fn find_backend(&mut self, miner: &mut ProxiedMiner) {
        if miner.next.is_some() || miner.queued.is_some() || miner.is_closing() {
            return;
        }
        self.shared.unsettled.insert(miner.conn.id);
        miner.retry_at_ms = None;
        let session = miner.session.expect("it was dealt with the first line");
        let (ring, backends) = (&self.shared.ring, &self.shared.backends);
        let now_ms = self.now.ms;
        let untried = |place: BackendIndex| {
            miner.tried & 1 << place == 0 && backends[place].dial_from_ms <= now_ms
        };
        let best = |is_good: fn(&Backend) -> bool| {
            ring.home(session, |place| is_good(&backends[place]) && untried(place))
        };
        let best = best(Backend::is_open)
            .or_else(|| best(Backend::is_fit))
            .or_else(|| best(Backend::is_alive));
        match best {
            Some(place) => self.go_to(miner, place),
            None if self.is_hopeless() => self.close_at_once(miner),
            None if self.is_refused_everywhere(miner) => {
                self.reset(miner, "no server lets its user in any more");
            }
            None => {
                // The time is spread by session, so that not all miners come back in the same moment.
                miner.tried = 0;
                miner.retry_at_ms =
                    Some(self.now.ms + RETRY_MS / 2 + u64::from(session) % RETRY_MS);
            }
        }
    }

    fn is_hopeless(&self) -> bool {
        self.shared.config.no_backend == NoBackend::Close
            && self.shared.is_started
            && !self
                .shared
                .backends
                .iter()
                .any(|backend| backend.is_alive())
    }

    /// Starts a login at a server, or joins its queue.
    pub(crate) fn go_to(&mut self, miner: &mut ProxiedMiner, place: BackendIndex) {
        self.shared.unsettled.insert(miner.conn.id);
        let backend = &mut self.shared.backends[place];
        if !backend.has_room() {
            backend.queue.push_back(miner.conn.id);
            miner.queued = Some(place);
            return;
        }
        backend.logins += 1;
        miner.queued = None;
        miner.next = Some(BackendLink::new(place, self.now.ms));
        let purpose = Purpose::Miner(miner.conn.id, place);
        self.out
            .push(ProxyAction::Dial(purpose, Some(miner.conn.address)));
    }

    /// Handles the answer to [`ProxyAction::Dial`].
    pub(crate) fn dialed(
        &mut self,
        miner: &mut ProxiedMiner,
        place: BackendIndex,
        dialed: Option<ConnId>,
    ) {
        let waits = |link: &&mut BackendLink| link.place == place && link.conn.is_none();
        match (miner.next.as_mut().filter(waits), dialed) {
            (Some(link), Some(conn)) => {
                link.conn = Some(conn);
                self.shared.backends[place].dial_from_ms = 0;
                self.shared.roles.insert(conn, Role::Link(miner.conn.id));
            }
            (Some(_), None) => {
                self.shared.cannot_dial(place, self.now);
                self.fail_next(miner);
            }
            (None, Some(conn)) => self.out.push(ProxyAction::Close(conn, CloseHow::Reset)),
            (None, None) => {}
        }
    }

    pub(super) fn send_line(&mut self, conn: ConnId, line: &str) {
        self.out.send(conn, |out| {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        });
    }

    /// Completes a move if the answers that the miner waited for have come.
    pub(crate) fn check_answers_done(&mut self, miner: &mut ProxiedMiner) {
        if miner.leaving_until_ms.is_some() && !miner.is_owed() {
            self.adopt(miner);
        }
    }

    /// Makes the server that is ready the miner's server.
    pub(super) fn adopt(&mut self, miner: &mut ProxiedMiner) {
        let Some(link) = miner.next.take() else {
            return;
        };
        let is_first = miner.current.is_none() && !miner.has_job;
        match miner.current.take() {
            Some(old) => {
                self.end_link(&old);
                self.shared.backends[old.place].miners -= 1;
                self.shared.counts.moved_alive += 1;
                self.out.push(ProxyAction::Moved(0));
            }
            None if !is_first => {
                let since_ms = miner.unassigned_since_ms.unwrap_or(self.now.ms);
                self.shared.counts.moved_lost += 1;
                self.out.push(ProxyAction::Moved(self.now.ms - since_ms));
            }
            None => {}
        }
        self.shared.backends[link.place].miners += 1;
        miner.tried = 0;
        miner.refused = 0;
        miner.mismatches = 0;
        miner.unassigned_since_ms = None;
        self.count_as_placed(miner);
        miner.leaving_until_ms = None;
        miner.settled_at_ms = self.now.ms;
        self.tell_what_was_kept(miner, link);
        self.ask_again(miner);
        if miner.is_mining() {
            self.shared.unsettled.remove(&miner.conn.id);
        }
        if self.home(miner).is_some() {
            // The server that it belongs to has changed during the move.
            self.recheck_later(miner);
        }
        self.receive(miner, &[]);
    }

    pub(crate) fn tell_extra_nonce(&mut self, miner: &mut ProxiedMiner, given: u32) {
        let line =
            format!(r#"{{"id":null,"method":"mining.set_extranonce","params":["{given:08x}",4]}}"#);
        self.send_line(miner.conn.id, &line);
        self.shared.counts.extra_nonces_changed += 1;
        self.take_extra_nonce(miner, given);
    }

    fn tell_what_was_kept(&mut self, miner: &mut ProxiedMiner, mut link: BackendLink) {
        if let (Some(told), Some(given)) = (miner.told, link.extra_nonce1)
            && told != given
        {
            self.tell_extra_nonce(miner, given);
        }
        // A difficulty is never announced without a job.
        if let Some(job) = link.staged_job.take() {
            if let Some(line) = link.staged_difficulty.take() {
                self.out
                    .send(miner.conn.id, |out| out.extend_from_slice(&line));
            }
            self.out
                .send(miner.conn.id, |out| out.extend_from_slice(&job));
            miner.has_job = true;
        }
        miner.current = Some(link);
    }

    /// Sends the requests that no server has answered to the new server.
    fn ask_again(&mut self, miner: &mut ProxiedMiner) {
        let conn = miner.current.as_ref().and_then(|link| link.conn);
        let conn = conn.expect("it has logged in");
        for request in &mut miner.requests {
            if let MinerRequest::Asked { kind, line, .. } = request
                && let Some(asked) = line
            {
                self.out.send(conn, |out| {
                    out.extend_from_slice(asked);
                    out.push(b'\n');
                });
                if !kind.may_be_repeated() {
                    *line = None;
                }
            }
        }
    }

    /// Records the miner's extranonce1, which becomes its session id.
    pub(crate) fn take_extra_nonce(&mut self, miner: &mut ProxiedMiner, extra_nonce1: u32) {
        miner.told = Some(extra_nonce1);
        if let Some(session) = miner.session
            && session != extra_nonce1
        {
            self.shared.ids.free(session);
            self.shared.ids.take(extra_nonce1);
            miner.session = Some(extra_nonce1);
        }
    }

    /// Handles the end of a connection to a server.
    pub(crate) fn link_closed(&mut self, miner: &mut ProxiedMiner, conn: ConnId) {
        match slot_of_link(miner, Some(conn)) {
            Some(LinkSlot::Current) => {
                if miner.count_loss(self.now) {
                    self.reset(miner, LOSES_ALL);
                } else {
                    self.lose_current(miner, self.now.ms);
                }
            }
            Some(LinkSlot::Next) => {
                let place = miner.next.as_ref().map(|link| (link.place, link.stage));
                self.fail_next(miner);
                if let Some((place, LinkStage::Dialing)) = place {
                    self.shared.probe_again(place, self.now, self.out);
                }
            }
            None => {}
        }
    }

    /// Handles the loss of the miner's server at `since_ms`: requests that cannot be repeated are
    /// answered, and another server is looked for.
    pub(crate) fn lose_current(&mut self, miner: &mut ProxiedMiner, since_ms: u64) {
        let Some(link) = miner.current.take() else {
            return;
        };
        self.end_link(&link);
        let backend = &mut self.shared.backends[link.place];
        backend.miners -= 1;
        backend.forget_lost(self.now);
        backend.lost += 1;
        backend.lost_ms = self.now.ms;
        backend.unassigned += 1;
        self.count_as_placed(miner);
        miner.lost_from = Some(link.place);
        self.shared.counts.refused_in_flight += miner.give_up_requests();
        miner.release(self.out);
        miner.unassigned_since_ms = Some(since_ms.min(self.now.ms));
        miner.leaving_until_ms = None;
        miner.tried |= 1 << link.place;
        self.shared.unsettled.insert(miner.conn.id);
        if miner
            .next
            .as_ref()
            .is_some_and(|next| next.stage == LinkStage::Ready)
        {
            self.adopt(miner);
        } else {
            self.find_backend(miner);
            self.receive(miner, &[]);
        }
    }

    /// Handles the failure of a move to a server.
    pub(crate) fn fail_next(&mut self, miner: &mut ProxiedMiner) {
        let Some(link) = miner.next.take() else {
            return;
        };
        self.end_link(&link);
        if link.stage != LinkStage::Ready {
            self.shared.backends[link.place].logins -= 1;
        }
        miner.tried |= 1 << link.place;
        miner.leaving_until_ms = None;
        if miner.current.is_none() {
            self.find_backend(miner);
        } else if self.is_unfit(miner)
            && let Some(other) = self.better_backend(miner)
        {
            self.go_to(miner, other);
        } else {
            self.settle(miner);
        }
    }

    /// Handles that the server in whose queue the miner waited cannot be dialed now.
    pub(crate) fn turn_away(&mut self, miner: &mut ProxiedMiner, place: BackendIndex) {
        if miner.queued != Some(place) {
            return;
        }
        miner.queued = None;
        if miner.current.is_none() {
            self.find_backend(miner);
        } else {
            self.settle(miner);
        }
    }

    /// Gives up the move that a miner is making.
    pub(crate) fn stay(&mut self, miner: &mut ProxiedMiner) {
        miner.queued = None;
        miner.leaving_until_ms = None;
        if let Some(link) = miner.next.take() {
            self.end_link(&link);
            if link.stage != LinkStage::Ready {
                self.shared.backends[link.place].logins -= 1;
            }
        }
    }

    /// Continues with a miner handed over by another process.
    pub(crate) fn resume(&mut self, miner: &mut ProxiedMiner, link: Option<ConnId>) {
        if miner.current.is_some() {
            return self.receive(miner, &[]);
        }
        if let Some(link) = link {
            // Its server is not configured here.
            self.out.push(ProxyAction::Close(link, CloseHow::Reset));
        }
        self.shared.counts.refused_in_flight += miner.give_up_requests();
        miner.release(self.out);
        if miner.session.is_some() {
            miner.unassigned_since_ms = Some(self.now.ms);
            self.find_backend(miner);
        }
    }

    /// Ends a failed move of a miner that keeps its server.
    pub(super) fn settle(&mut self, miner: &mut ProxiedMiner) {
        miner.tried = 0;
        self.recheck_later(miner);
        if miner.is_mining() {
            self.shared.unsettled.remove(&miner.conn.id);
        }
        self.receive(miner, &[]);
    }

    /// Closes a link without further events.
    fn end_link(&mut self, link: &BackendLink) {
        if let Some(conn) = link.conn
            && self.shared.roles.remove(conn).is_some()
        {
            self.out.push(ProxyAction::Close(conn, CloseHow::Reset));
        }
    }

    /// Closes all links of a miner.
    pub(crate) fn drop_links(&mut self, miner: &mut ProxiedMiner) {
        if let Some(link) = miner.current.take() {
            self.end_link(&link);
            self.shared.backends[link.place].miners -= 1;
        }
        self.stay(miner);
        self.count_as_placed(miner);
        self.shared.unsettled.remove(&miner.conn.id);
    }

    /// Counts a miner that had lost its server as found: it has another, or is gone.
    fn count_as_placed(&mut self, miner: &mut ProxiedMiner) {
        if let Some(place) = miner.lost_from.take() {
            self.shared.backends[place].unassigned -= 1;
        }
    }

    /// Moves a miner to the server it belongs to, if it is not there and not on its way.
    pub(crate) fn move_home(&mut self, miner: &mut ProxiedMiner) {
        if miner.next.is_some() || miner.queued.is_some() || miner.is_closing() {
            return;
        }
        if let Some(home) = self.home(miner) {
            self.go_to(miner, home);
        }
    }

    /// The server that a miner belongs to, if it is on another one.
    fn home(&self, miner: &ProxiedMiner) -> Option<BackendIndex> {
        let (session, current) = (miner.session?, miner.current.as_ref()?);
        let (ring, backends) = (&self.shared.ring, &self.shared.backends);
        let home = ring.home(session, |place| backends[place].is_open());
        // A drained server is better than one where the work may be worth nothing.
        let home = match self.is_unfit(miner) {
            true => home.or_else(|| ring.home(session, |place| backends[place].is_fit())),
            false => home,
        };
        home.filter(|&home| home != current.place)
    }

    /// True if the miner is on an unfit server, where its work may be worth nothing.
    pub(super) fn is_unfit(&self, miner: &ProxiedMiner) -> bool {
        let current = miner.current.as_ref();
        current.is_some_and(|link| {
            matches!(
                self.shared.backends[link.place].state,
                BackendState::Unfit(_)
            )
        })
    }

    /// A server that is better than an unfit one and has not failed to take the miner.
    pub(super) fn better_backend(&self, miner: &ProxiedMiner) -> Option<BackendIndex> {
        let session = miner.session?;
        let (ring, backends) = (&self.shared.ring, &self.shared.backends);
        let best = |is_good: fn(&Backend) -> bool| {
            ring.home(session, |place| {
                is_good(&backends[place]) && miner.tried & 1 << place == 0
            })
        };
        best(Backend::is_open).or_else(|| best(Backend::is_fit))
    }

    fn recheck_later(&mut self, miner: &mut ProxiedMiner) {
        if !miner.is_misplaced {
            miner.is_misplaced = true;
            let at_ms = self.now.ms + MISPLACED_MS;
            self.shared.misplaced.push_back((at_ms, miner.conn.id));
        }
    }

    /// Checks the deadlines of a miner.
    pub(crate) fn check_timeouts(&mut self, miner: &mut ProxiedMiner) {
        let now_ms = self.now.ms;
        let is_over = |due_ms: Option<u64>| due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if !miner.is_mining() && miner.conn.connected_at_ms + PROXY_LOGIN_MS <= now_ms {
            return self.close_at_once(miner);
        }
        if miner
            .next
            .as_ref()
            .is_some_and(|link| link.stage != LinkStage::Ready && link.due_ms <= now_ms)
        {
            self.fail_next(miner);
        }
        if is_over(miner.leaving_until_ms) {
            // The answers still missing will not come any more.
            let now_ms = self.now.ms;
            self.lose_current(miner, now_ms);
        }
        if is_over(miner.retry_at_ms) {
            self.find_backend(miner);
        }
        let patience_ms = match self.shared.config.no_backend {
            NoBackend::Wait(ms) => ms,
            NoBackend::Close => LINK_LOGIN_MS,
        };
        let unassigned_until = miner.unassigned_since_ms.map(|since| since + patience_ms);
        if miner.current.is_none() && is_over(unassigned_until) {
            return self.reset(miner, "no server takes it");
        }
        if miner.is_mining() && miner.current.is_some() && miner.next.is_none() {
            self.shared.unsettled.remove(&miner.conn.id);
        }
    }

    pub(crate) fn reset(&mut self, miner: &mut ProxiedMiner, why: &str) {
        if miner.is_ended {
            return;
        }
        self.shared.counts.reset += 1;
        let address = miner.conn.address;
        let text = || format!("reset {address}: {why}");
        self.shared
            .conns
            .log_limit
            .tell(self.now, Level::Debug, text, self.out);
        self.close_at_once(miner);
    }

    fn close_at_once(&mut self, miner: &mut ProxiedMiner) {
        miner.is_ended = true;
        self.drop_links(miner);
        self.shared.conns.close(miner.conn.id, CloseHow::Reset);
    }
}
