//! The operator's orders: users, bans, drain, status. An order that cannot be carried out is refused with
//! a reason.
//!
//! An order is answered once its change is durable. A disabled user keeps its credit and its password;
//! its connections end at once.

use crate::operator_order::{
    NewUser, Order, OrderId, OrderOutcome, OrderRefusal, UserEdit, UserInfo,
};
use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::ban::{Ban, BanChange, BannedBy, network_of};
use crate::accounts::{ADMIN, clean_name};
use crate::chain::address::Address;
use crate::event::{Action, Actions, ArrivalKind, CloseHow, Level};
use crate::limits::{BAN_REASON_BYTES_MAX, DRAIN_S_MAX, PASSWORD_BYTES_MAX, USERS_LISTED_MAX};
use crate::pool::password_tasks::Writer;
use crate::pool::state::{Pool, PoolShared};
use crate::session::Authorized;
use crate::session::difficulty::split_password;
use crate::units::Now;

impl Pool {
    pub(crate) fn handle_order(&mut self, now: Now, id: OrderId, order: Order, out: &mut Actions) {
        let answer = match order {
            Order::AddUser(user) => self.shared.order_user(id, user, out),
            Order::SetPassword { name, password } => {
                self.shared.order_password(id, name, password, out)
            }
            Order::DisableUser(name) => self.shared.order_state(id, name, UserEdit::Disabled, out),
            Order::EnableUser(name) => self.shared.order_state(id, name, UserEdit::Enabled, out),
            Order::Ban {
                address,
                duration_s,
                reason,
            } => self.ban(now, id, address, duration_s, reason, out),
            Order::Unban(address) => self.unban(now, id, address, out),
            Order::ListBans => Ok(Some(OrderOutcome::Bans(self.bans.list(now)))),
            Order::ListUsers {
                search,
                count,
                from,
            } => {
                let found = self.shared.accounts.search(&search);
                let users = found.iter().skip(from).take(count.min(USERS_LISTED_MAX));
                let users = users.map(|(name, is_disabled)| UserInfo {
                    name: Arc::clone(name),
                    is_disabled: *is_disabled,
                });
                Ok(Some(OrderOutcome::Users(users.collect(), found.len())))
            }
            Order::FindUser(name) => {
                let password = self.shared.accounts.password(&name);
                let found = password.map(|password| UserInfo {
                    is_disabled: password.is_locked(),
                    name: name.into(),
                });
                let found = Vec::from_iter(found);
                let count = found.len();
                Ok(Some(OrderOutcome::Users(found, count)))
            }
            Order::SignIn {
                name,
                password,
                address,
            } => self.sign_in(now, id, (&name, &password), address, out),
            Order::Info => Ok(Some(OrderOutcome::Info(Box::new(self.info(now))))),
            Order::ListWorkers {
                account,
                count,
                from,
            } => {
                let (workers, total) = self.list_workers(now, account.as_deref(), count, from);
                Ok(Some(OrderOutcome::Workers(workers, total)))
            }
            Order::Drain { over_s } if over_s > DRAIN_S_MAX => Err(OrderRefusal::DrainTooLong),
            Order::Drain { over_s } => {
                self.drain(now, over_s, out);
                Ok(Some(OrderOutcome::Done))
            }
            Order::Undrain => {
                self.undrain(out);
                Ok(Some(OrderOutcome::Done))
            }
        };
        match answer {
            Ok(None) => {}
            Ok(Some(answer)) => out.push(Action::Answer(id, Ok(answer))),
            Err(refusal) => out.push(Action::Answer(id, Err(refusal))),
        }
    }

    /// Logs a change of a user that was written, and closes the connections of a disabled one.
    pub(crate) fn user_changed(&mut self, name: &str, change: UserEdit, out: &mut Actions) {
        let text = match change {
            UserEdit::Added => format!("user {name:?} is added"),
            UserEdit::Password => format!("user {name:?} has another password"),
            UserEdit::Enabled => format!("user {name:?} is enabled"),
            UserEdit::Disabled => {
                let ended = self.send_away(name);
                format!("user {name:?} is disabled; connections closed: {ended}")
            }
        };
        out.log(Level::Info, text);
    }

    /// Removes an account from all connections, and closes those that have no other; returns how many.
    pub(crate) fn send_away(&mut self, account: &str) -> usize {
        let mut ended = 0;
        for session in self.sessions.iter_mut() {
            let is_its = |user: &Authorized| *user.user.account == *account;
            let its = session.users.iter().filter(|user| is_its(user)).count();
            if its == 0 {
                continue;
            }
            if its == session.users.len() {
                ended += 1;
                self.shared.conns.close(session.conn.id, CloseHow::Reset);
            } else {
                self.tallies.keep_account(session, account);
                self.shared.count_names(session);
            }
        }
        ended
    }

    fn ban(
        &mut self,
        now: Now,
        id: OrderId,
        address: IpAddr,
        duration_s: Option<u64>,
        reason: String,
        out: &mut Actions,
    ) -> Result<Option<OrderOutcome>, OrderRefusal> {
        if reason.len() > BAN_REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(OrderRefusal::InvalidReason);
        }
        let network = network_of(address);
        let lasts = duration_s.map_or("until it is unbanned".to_owned(), |s| format!("for {s} s"));
        let text = format!("refusing {network} {lasts}, as ordered: {reason:?}");
        let ban = Ban {
            address: network,
            since_s: now.unix_s,
            until_s: duration_s.map(|duration| now.unix_s.saturating_add(duration)),
            reason,
            by: BannedBy::Operator,
        };
        if !self.bans.ban(ban.clone(), now) {
            return Err(OrderRefusal::TooManyBans);
        }
        self.shut_out(|banned| banned == network);
        out.log(Level::Info, text);
        let change = BanChange::Banned(ban);
        out.push(Action::KeepBans(id, change, self.bans.ordered(now)));
        Ok(None)
    }

    fn unban(
        &mut self,
        now: Now,
        id: OrderId,
        address: IpAddr,
        out: &mut Actions,
    ) -> Result<Option<OrderOutcome>, OrderRefusal> {
        if !self.bans.unban(address, now) {
            return Err(OrderRefusal::NotBanned);
        }
        let network = network_of(address);
        out.log(Level::Info, format!("taking {network} again, as ordered"));
        let change = BanChange::Lifted(network);
        out.push(Action::KeepBans(id, change, self.bans.ordered(now)));
        Ok(None)
    }

    /// Closes the connections of miners from banned networks.
    pub(crate) fn shut_out(&mut self, is_banned: impl Fn(IpAddr) -> bool) {
        for session in self.sessions.iter_mut() {
            if session.conn.kind == ArrivalKind::Miner
                && is_banned(network_of(session.conn.address))
            {
                self.shared.conns.close(session.conn.id, CloseHow::Reset);
            }
        }
    }
}

impl PoolShared {
    fn order_user(
        &mut self,
        id: OrderId,
        mut user: NewUser,
        out: &mut Actions,
    ) -> Result<Option<OrderOutcome>, OrderRefusal> {
        self.check_name(&user.name)?;
        check_password(&user.password)?;
        if self.accounts.contains(&user.name) {
            return Err(OrderRefusal::UserExists);
        }
        if let Some(address) = &mut user.address {
            let network = self.config.network;
            let payable = Address::parse_payable(address, network);
            *address = payable.ok_or(OrderRefusal::InvalidAddress)?.encode(network);
        }
        self.write_user(user, Writer::Operator(id, UserEdit::Added), out);
        Ok(None)
    }

    fn order_password(
        &mut self,
        id: OrderId,
        name: String,
        password: String,
        out: &mut Actions,
    ) -> Result<Option<OrderOutcome>, OrderRefusal> {
        self.check_name(&name)?;
        check_password(&password)?;
        let old = self
            .accounts
            .password(&name)
            .ok_or(OrderRefusal::NoSuchUser)?;
        let user = NewUser {
            is_locked: old.is_locked(),
            wire_admin: None,
            name,
            password,
            address: None,
        };
        self.write_user(user, Writer::Operator(id, UserEdit::Password), out);
        Ok(None)
    }

    fn order_state(
        &mut self,
        id: OrderId,
        name: String,
        change: UserEdit,
        out: &mut Actions,
    ) -> Result<Option<OrderOutcome>, OrderRefusal> {
        self.check_name(&name)?;
        let old = self
            .accounts
            .password(&name)
            .ok_or(OrderRefusal::NoSuchUser)?;
        let new = match change {
            UserEdit::Disabled => old.clone().locked(),
            _ => old.clone().unlocked(),
        };
        if new == *old {
            return Ok(Some(OrderOutcome::Done));
        }
        let ticket =
            (self.password_tasks).ask_write(name.clone(), None, Writer::Operator(id, change));
        out.push(Action::KeepUser(ticket, name, new));
        Ok(None)
    }

    /// Checks that a user of this name may be written now.
    fn check_name(&self, name: &str) -> Result<(), OrderRefusal> {
        if clean_name(name).as_deref() != Some(name) {
            return Err(OrderRefusal::InvalidName);
        }
        if name == ADMIN && self.config.admin_password.is_some() {
            return Err(OrderRefusal::AdminIsOption);
        }
        if self.password_tasks.is_writing(name) {
            return Err(OrderRefusal::UserBusy);
        }
        Ok(())
    }
}

/// Checks that a password can be used on the wire: without control characters, and not ending in a
/// difficulty request, which would be split off at a login.
fn check_password(password: &str) -> Result<(), OrderRefusal> {
    let is_one = (1..=PASSWORD_BYTES_MAX).contains(&password.len())
        && !password.chars().any(char::is_control)
        && split_password(password).1.is_none();
    is_one.then_some(()).ok_or(OrderRefusal::InvalidPassword)
}
