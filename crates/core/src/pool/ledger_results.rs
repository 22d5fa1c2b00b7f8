//! The ledger's word on recorded shares: replies that leave with it, and connections that end once they are
//! owed nothing.

use crate::conn::LineServer;
use crate::event::{Actions, CloseHow};
use crate::pool::dispatch::RequestContext;
use crate::pool::state::Pool;
use crate::session::Session;
use crate::session::replies_awaiting_ledger::Durability;
use crate::units::{ConnId, Now, Seq};

impl Pool {
    /// Releases the replies to the waiting shares up to `settled`, which all have this outcome.
    pub(crate) fn handle_settled(
        &mut self,
        now: Now,
        settled: Seq,
        fate: Durability,
        out: &mut Actions,
    ) {
        while let Some(share) = self.shared.ledger.pop(settled) {
            let Some(session) = self.sessions.get_mut(share.conn) else {
                continue;
            };
            let mut context = RequestContext {
                shared: &mut self.shared,
                now,
                out,
            };
            session.release(settled, fate, now, context.out);
            if session.conn.is_paused {
                context.receive(session, &[]);
            }
            context.end_if_finished(session);
        }
    }

    /// Handles the end of a peer's sending side: the connection is closed once its outstanding replies
    /// are sent.
    pub(crate) fn handle_finished(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.conn.is_finished = true;
        if session.waits_for_nothing() {
            self.shared.conns.close(conn, CloseHow::Flushed);
        }
    }
}

impl RequestContext<'_> {
    /// Closes a connection whose peer has closed its sending side and has every reply.
    pub(crate) fn end_if_finished(&mut self, session: &Session) {
        if session.conn.is_finished && session.waits_for_nothing() {
            self.shared.conns.close(session.conn.id, CloseHow::Flushed);
        }
    }
}
