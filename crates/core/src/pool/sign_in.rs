//! Signing in to the dashboard with the name and the password that one mines with.
//!
//! The check waits in the same queue as those of miners. A name that nobody has is checked too, against a password
//! that nobody has: neither the answer nor the time that it takes tells which names there are.

use std::net::IpAddr;

use crate::accounts::ban::network_of;
use crate::accounts::password::StoredPassword;
use crate::accounts::refused_logins::RefusalReason;
use crate::accounts::{ADMIN, Login, clean_name};
use crate::event::{Action, Actions, Password};
use crate::limits::{PASSWORD_BYTES_MAX, SIGN_INS_OF_ADDRESS_MAX, SIGN_INS_WAITING_MAX};
use crate::operator_order::{OrderId, OrderOutcome, OrderRefusal};
use crate::pool::password_tasks::SignIn;
use crate::pool::state::Pool;
use crate::units::Now;

impl Pool {
    /// Handles [`Order::SignIn`](crate::operator_order::Order::SignIn).
    pub(crate) fn sign_in(
        &mut self,
        now: Now,
        order: OrderId,
        (name, password): (&str, &str),
        address: IpAddr,
        out: &mut Actions,
    ) -> Result<Option<OrderOutcome>, OrderRefusal> {
        if clean_name(name).as_deref() != Some(name) || password.len() > PASSWORD_BYTES_MAX {
            return Err(OrderRefusal::WrongSignIn);
        }
        if !(self.shared.sign_in_guesses).may_guess(address, now.ms) {
            let conns = &mut self.shared.conns;
            conns.note_refused(now, address, name, RefusalReason::Guesses, out);
            return Err(OrderRefusal::TooManyGuesses);
        }
        let tasks = &self.shared.password_tasks;
        if tasks.sign_ins(None) >= SIGN_INS_WAITING_MAX
            || tasks.sign_ins(Some(network_of(address))) >= SIGN_INS_OF_ADDRESS_MAX
        {
            return Err(OrderRefusal::SignInsWait);
        }
        let accounts = &self.shared.accounts;
        let account = accounts.user(name).account;
        // The admin's password is no user's: it is guessed on the wire alone, where guesses are counted.
        let is_option = &*account == ADMIN && self.shared.config.admin_password.is_some();
        let (account, stored) = match accounts.login(name, password) {
            _ if is_option || !accounts.contains(&account) => (None, nobodys()),
            Login::Yes(user) => return Ok(Some(OrderOutcome::Account(user.account))),
            Login::No => (None, nobodys()),
            Login::Ask(user, stored) => (Some(user.account), stored),
        };
        let sign_in = SignIn {
            order,
            address,
            name: name.into(),
            account,
            stored: stored.clone(),
        };
        let ticket = self.shared.password_tasks.ask_sign_in(sign_in);
        (self.shared.password_queue).add(ticket, address, stored, password, out);
        Ok(None)
    }

    /// Handles the answer to a check. If the account's password was changed meanwhile, the sign-in is refused.
    pub(crate) fn sign_in_checked(
        &mut self,
        now: Now,
        sign_in: SignIn,
        checked: Password,
        out: &mut Actions,
    ) {
        let SignIn {
            order,
            address,
            name,
            account,
            stored,
        } = sign_in;
        let is_current = |account: &str| self.shared.accounts.password(account) == Some(&stored);
        let answer = match account.filter(|account| is_current(account)) {
            Some(account) if checked == Password::Right => Ok(OrderOutcome::Account(account)),
            _ => {
                self.shared.sign_in_guesses.guessed(address, now.ms);
                let why = self.shared.accounts.why_refused(&name);
                (self.shared.conns).note_refused(now, address, &name, why, out);
                Err(OrderRefusal::WrongSignIn)
            }
        };
        out.push(Action::Answer(order, answer));
    }
}

/// A password that nobody has, which costs as much to check as one that is stored: a hash of the server's cost
/// (`task_threads/password_hash.rs`) that is all zeros.
fn nobodys() -> StoredPassword {
    let phc = "$argon2id$v=19$m=4096,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    StoredPassword::Argon2id(phc.to_owned())
}
