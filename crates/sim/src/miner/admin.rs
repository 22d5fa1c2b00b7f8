//! An admin on the wire who adds users, with addresses and without; and the thread that writes them.
//!
//! Invariant: a user that was added is in the users file, and its address in the ledger, whatever happens
//! later. It can log in with its password and with no other.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, TryRecvError};

use hstratum::store::group_commit::StoreCommand;
use hstratum::store::ledger::{AccountSetting, SetAccountCommand};
use hstratum::task_threads::UsersCommand;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::address::Address;
use hstratum_core::event::Ticket;
use hstratum_core::operator_order::{NewUser, NotWritten};

use crate::miner::{Pending, SentRequest, SimMiner};
use crate::server::stored;
use crate::world::injected_bug::InjectedBug;
use crate::world::plan::happens;
use crate::world::{REST_MS, World, WorldEvent, note};

pub(crate) const ADMIN_PASSWORD: &str = "sesame";
/// Time that the server waits for the ledger to store an address.
const ADDRESS_MS: u64 = 5_000;
/// Names of users that the admin tries to add, again and again.
const USERS: u32 = 40;

/// A request to add a user.
#[derive(Debug, Clone)]
pub(crate) struct AdminRequest {
    name: String,
    address: Option<String>,
}

/// A user that is being written.
pub(crate) struct PendingUser {
    ticket: Ticket,
    user: NewUser,
    /// Receives the ledger's answer about the address; the time is the end of the wait for it.
    answer: Option<(Receiver<anyhow::Result<()>>, u64)>,
}

fn password_of(name: &str) -> String {
    format!("{name}-secret")
}

impl World {
    /// Sends the admin's next request, and schedules another.
    pub(crate) fn order(&mut self, at: usize, number: u64) {
        let miner = &mut self.miners[at];
        let Some(conn) = miner.conn.filter(|conn| conn.0 == number) else {
            return;
        };
        if self.now_ms > self.plan.faulty_ms + REST_MS - 30_000 {
            return;
        }
        let name = format!("user{}", miner.rng.u32(..USERS));
        let right = password_of(&name);
        let line = match miner.rng.u8(..4) {
            0 if self.added.contains_key(&name) => {
                let params = format!(r#""{name}","{right}""#);
                miner.ask(self.now_ms, SentRequest::Login(true), "authorize", &params)
            }
            1 if self.added.contains_key(&name) => {
                let params = format!(r#""{name}","nope""#);
                miner.ask(self.now_ms, SentRequest::Login(false), "authorize", &params)
            }
            _ => {
                let hash: Vec<u8> = (0..20).map(|_| miner.rng.u8(..)).collect();
                let address = Address::new(0, hash).expect("an address");
                let address = address.encode(self.plan.network);
                let address = miner.rng.bool().then_some(address);
                let third = address.as_ref().map(|address| format!(r#","{address}""#));
                let third = third.unwrap_or_default();
                let params = format!(r#""{name}","{right}"{third}"#);
                let asked = SentRequest::AddUser(AdminRequest { name, address });
                miner.ask(self.now_ms, asked, "add_user", &params)
            }
        };
        self.transmit(conn, line.as_bytes());
        let delay_ms = self.miners[at].rng.u64(200..20_000);
        self.after(delay_ms, WorldEvent::Order(at, number));
    }

    /// Checks the answer to a request to add a user.
    pub(crate) fn ordered(&mut self, order: &AdminRequest, error: Option<(i64, String)>) {
        let AdminRequest { name, address } = order;
        let Some((_, text)) = error else {
            note!(self, "admin     added {name}");
            let kept = self.disk.users.get(name);
            assert_eq!(kept, Some(&stored(&password_of(name))), "{name} is written");
            if let Some(address) = address {
                let kept = self.disk.addresses.get(name);
                assert_eq!(kept, Some(address), "the address of {name} is kept");
            }
            self.added.insert(name.clone(), address.clone());
            return;
        };
        match text.as_str() {
            // It was written earlier and the answer was lost, or it is being written.
            "User already exists." => {}
            "user not stored" => self.inject("user not stored"),
            _ => panic!("an admin was refused: {text} for {order:?}"),
        }
    }

    /// Checks after each start that all added users are there.
    pub(crate) fn check_users(&self) {
        for (name, address) in &self.added {
            assert!(self.disk.users.contains_key(name), "{name} is lost");
            assert!(
                address.is_none() || self.disk.addresses.contains_key(name),
                "the address of {name} is lost"
            );
        }
        self.disk.check_addresses();
    }

    /// Queues a user for the writing thread.
    pub(crate) fn add_user(&mut self, mail: UsersCommand) {
        let UsersCommand::Add(ticket, user, _) = mail else {
            unreachable!("no operator gives orders here");
        };
        let Some(process) = &mut self.process else {
            return;
        };
        process.adding.push_back(PendingUser {
            ticket,
            user,
            answer: None,
        });
        if process.adding.len() == 1 {
            self.after(5, WorldEvent::Users(self.boot));
        }
    }

    /// Writes the queued users one after the other; the address is stored before the user.
    pub(crate) fn write_users(&mut self) {
        let now_ms = self.now_ms;
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(adding) = process.adding.front_mut() else {
            return;
        };
        let is_kept = match (&adding.user.address, &adding.answer) {
            (None, _) => true,
            (Some(address), None) => {
                let setting = AccountSetting::Address(Some(address.clone()));
                let (mail, answered) =
                    SetAccountCommand::new(adding.user.name.clone(), setting, None);
                adding.answer = Some((answered, now_ms + ADDRESS_MS));
                self.post(StoreCommand::SetAccount(mail));
                return self.after(20, WorldEvent::Users(self.boot));
            }
            (Some(_), Some((answered, until_ms))) => match answered.try_recv() {
                Ok(answer) => answer.is_ok(),
                Err(TryRecvError::Empty) if now_ms < *until_ms => {
                    return self.after(20, WorldEvent::Users(self.boot));
                }
                Err(_) => false,
            },
        };
        let hangs_ms = self.disk.hangs_ms(now_ms);
        if hangs_ms > 0 {
            return self.after(hangs_ms, WorldEvent::Users(self.boot));
        }
        let PendingUser { ticket, user, .. } =
            process.adding.pop_front().expect("it was just there");
        let is_full = now_ms < self.disk.full_until_ms;
        let fails = is_full || happens(&mut self.rngs.disk, self.faults.failed_file);
        let kept = (is_kept && !fails).then(|| stored(&user.password));
        if let Some(kept) = &kept
            && self.injected_bug != Some(InjectedBug::ForgottenUser)
        {
            self.disk.users.insert(user.name.clone(), kept.clone());
        }
        self.user_added(ticket, user.name, kept.ok_or(NotWritten::Failed));
        self.after(5, WorldEvent::Users(self.boot));
    }
}

impl SimMiner {
    /// Adds a request to those that wait for a reply, and gives its line.
    pub(crate) fn ask(
        &mut self,
        now_ms: u64,
        asked: SentRequest,
        method: &str,
        params: &str,
    ) -> String {
        let id = self.id();
        let line =
            format!("{{\"id\":{id},\"method\":\"mining.{method}\",\"params\":[{params}]}}\n");
        self.pending.push_back(Pending {
            id,
            sent_ms: now_ms,
            asked,
        });
        line
    }
}

/// Users by name.
pub(crate) type Users = BTreeMap<String, StoredPassword>;
