//! Limits of names without an accepted share: such a name has cost its sender nothing.

use crate::limits::{NAMES_UNPROVEN_ALL_MAX, NAMES_UNPROVEN_MAX};
use crate::pool::state::PoolShared;
use crate::session::Session;

impl PoolShared {
    /// True if the connection may have another name.
    pub(crate) fn has_room_for_name(&self, session: &Session) -> bool {
        unproven(session) < NAMES_UNPROVEN_MAX || self.names_unproven < NAMES_UNPROVEN_ALL_MAX
    }

    /// Updates the counts after a connection's names have changed, or one of them has its first accepted
    /// share.
    pub(crate) fn count_names(&mut self, session: &mut Session) {
        let beyond = unproven(session).saturating_sub(NAMES_UNPROVEN_MAX);
        let before = std::mem::replace(&mut session.unproven_beyond, beyond);
        self.names_unproven = self.names_unproven - before + beyond;
    }
}

fn unproven(session: &Session) -> usize {
    session.users.iter().filter(|one| !one.is_proven).count()
}
