//! Signing in to the dashboard with the name and the password that one mines with.
//!
//! The check waits in the same queue as those of miners. A name that nobody has is checked too, against a password
//! that nobody has: neither the answer nor the time that it takes tells which names there are.

use std::net::IpAddr;

use crate::accounts::ban::network_of;
use crate::accounts::guesses::Guessing;
use crate::accounts::password::StoredPassword;
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
        let network = network_of(address);
        let tasks = &self.shared.password_tasks;
        if tasks.sign_ins(None) >= SIGN_INS_WAITING_MAX
            || tasks.sign_ins(Some(network)) >= SIGN_INS_OF_ADDRESS_MAX
        {
            return Err(OrderRefusal::TooManySignIns);
        }
        let accounts = &self.shared.accounts;
        let account = accounts.user(name).account;
        let guessing = (self.shared.sign_in_guesses).state(address, &account, now.ms);
        let is_guessed = match guessing {
            Guessing::Allowed => false,
            Guessing::Address => true,
            Guessing::Account => !self.mines_from(&account, network),
        };
        if is_guessed {
            return Err(OrderRefusal::TooManySignIns);
        }
        // The admin's password is no user's: it is guessed on the wire alone, where guesses are counted.
        let is_option = &*account == ADMIN && self.shared.config.admin_password.is_some();
        let (account, stored) = match accounts.login(name, password) {
            _ if is_option || !accounts.contains(&account) => (Err(name.into()), nobodys()),
            Login::Yes(user) => return Ok(Some(OrderOutcome::Account(user.account))),
            Login::No => (Err(name.into()), nobodys()),
            Login::Ask(user, stored) => (Ok(user.account), stored),
        };
        let sign_in = SignIn {
            order,
            network,
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
            network,
            account,
            stored,
        } = sign_in;
        let is_current = |account: &str| self.shared.accounts.password(account) == Some(&stored);
        let answer = match account {
            Ok(account) if checked == Password::Right && is_current(&account) => {
                Ok(OrderOutcome::Account(account))
            }
            Ok(account) => Err(Box::from(&*account)),
            Err(name) => Err(name),
        };
        let answer = answer.map_err(|name: Box<str>| {
            let account = self.shared.accounts.user(&name).account;
            (self.shared.sign_in_guesses).guessed(network, &account, now.ms);
            OrderRefusal::WrongSignIn
        });
        out.push(Action::Answer(order, answer));
    }

    /// True if somebody with an accepted share mines for the account from there.
    fn mines_from(&self, account: &str, network: IpAddr) -> bool {
        self.sessions.iter().any(|session| {
            let is_its = |user: &crate::session::Authorized| *user.user.account == *account;
            session.conn.has_credit
                && network_of(session.conn.address) == network
                && session.users.iter().any(is_its)
        })
    }
}

/// A password that nobody has, which costs as much to check as one that is stored: a hash of the server's cost
/// (`task_threads/password_hash.rs`) that is all zeros.
fn nobodys() -> StoredPassword {
    let phc = "$argon2id$v=19$m=4096,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    StoredPassword::Argon2id(phc.to_owned())
}
