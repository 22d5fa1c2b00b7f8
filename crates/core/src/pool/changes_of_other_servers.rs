//! Changes made on another server of the pool: users and the operator's bans.
//!
//! They arrive after they are durable, and nobody waits for an answer. The admin account is set by an
//! option of each server, so changes of it are ignored.

use crate::accounts::ban::Ban;
use crate::accounts::{ADMIN, clean_name};
use crate::event::{Action, Actions, Level};
use crate::operator_order::UserChange;
use crate::pool::state::Pool;

impl Pool {
    /// Applies changed users. Connected miners stay when a password has changed, as with a change made
    /// here; those of a user that was disabled or removed are closed.
    pub(crate) fn handle_users(&mut self, changes: Vec<UserChange>, out: &mut Actions) {
        let has_admin = self.shared.config.admin_password.is_some();
        let mut changed = 0;
        for (name, password) in changes {
            let is_name = clean_name(&name).as_deref() == Some(&name);
            let is_option = has_admin && name == ADMIN;
            let accounts = &mut self.shared.accounts;
            if !is_name || is_option || accounts.password(&name) == password.as_ref() {
                continue;
            }
            changed += 1;
            out.push(Action::SignOut(name.clone()));
            let may_mine = password.as_ref().is_some_and(|new| !new.is_locked());
            match password {
                Some(new) => accounts.insert(&name, new),
                None => accounts.remove(&name),
            }
            if !may_mine {
                let ended = self.send_away(&name);
                let text = format!(
                    "user {name:?} may no longer mine, as another server says; connections closed: {ended}"
                );
                out.log(Level::Info, text);
            }
        }
        if changed > 0 {
            out.log(
                Level::Info,
                format!("users changed on another server: {changed}"),
            );
        }
    }

    pub(crate) fn handle_bans(&mut self, bans: Vec<Ban>) {
        let new = self.bans.restore(bans);
        if !new.is_empty() {
            self.shut_out(|network| new.contains(&network));
        }
    }
}
