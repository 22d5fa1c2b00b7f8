//! Keeps the copy of users and bans on this server's disk up to date.

use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::event::Level;
use hstratum_core::operator_order::UserChange;

use super::UsersSync;

impl UsersSync {
    pub(super) fn keep_user(&mut self, name: &str, password: &StoredPassword) {
        self.users_and_bans
            .users
            .insert(name.to_owned(), password.clone());
        let kept = self.copy.as_mut().map(|copy| copy.add_user(name, password));
        self.complain(kept);
    }

    /// Appends single changes; many at once, or a removed user, rewrite the whole file.
    pub(super) fn keep_users(&mut self, changed: &[UserChange]) {
        if let [(name, Some(password))] = changed {
            let (name, password) = (name.clone(), password.clone());
            return self.keep_user(&name, &password);
        }
        let copy = self.copy.as_mut();
        let kept = copy.map(|copy| copy.write_users(&self.users_and_bans.users));
        self.complain(kept);
    }

    pub(super) fn keep_bans(&self) {
        let copy = self.copy.as_ref();
        self.complain(copy.map(|copy| copy.write_bans(&self.users_and_bans.bans)));
    }

    /// Logs a failed write: without its copy this server needs the shared ledger at its next start.
    fn complain(&self, kept: Option<anyhow::Result<()>>) {
        if let Some(Err(error)) = kept {
            self.node.log(Level::Error, &format!("{error:#}"));
        }
    }
}
