//! Worker threads for disk writes and slow hashes, so that the driver does not wait for them.
//!
//! Writes are retried until they succeed, so that a found block is kept.

pub mod password_hash;

use crate::messages::{
    AccountSetting, DrainCommand, DriverHandle, SetAccountCommand, SettingRefused, SpoolCommand,
    WorkerEvent,
};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hstratum_core::accounts::ban::{Ban, BanChange};
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::address::Network;
use hstratum_core::event::{Level, Password, Ticket};
use hstratum_core::operator_order::{
    NewUser, NotWritten, OrderId, OrderOutcome, OrderRefusal, Owner,
};
use parking_lot::Mutex;

use crate::account_keys::KeysOfUser;
use crate::audit_trail::{AuditTrail, Outcome};
use crate::config::TlsFiles;
use crate::files::UsersFiles;
use crate::files::block_spool::{Spool, SpooledBlock};
use crate::files::spooled_split;
use crate::files::users::{UserWritten, UsersFile};
#[cfg(target_os = "linux")]
use crate::limits::PASSWORD_NICENESS;
use crate::limits::{ADDRESS_MS, DISK_RETRY_MS, OWNER_LOOK, RESERVE_RETRY};
use crate::net::tls;
use crate::node::Node;
use crate::repeated_log::LogBackoff;
use crate::sql::location::LedgerLocation;
use crate::sql::{Sql, SqlError};
use crate::store::StoreCommand;
use crate::supervision::Duty;
use crate::values;

/// Request to check a password.
pub struct PasswordCommand(pub Ticket, pub StoredPassword, pub String);

/// Changes by the operator, for the thread that writes users.
pub enum UsersCommand {
    /// Write this user with a password in the clear; the user has this stored password now, or does not
    /// exist.
    Add(Ticket, NewUser, Option<StoredPassword>),
    /// Write this user.
    Keep(Ticket, String, StoredPassword),
    /// Write this change, which leads to these bans.
    Bans(OrderId, BanChange, Vec<Ban>),
    /// Set what an account has of its own.
    SetAccount(SetAccountCommand),
    /// This server drains, or no longer does.
    Draining(bool),
    /// Make another server drain.
    DrainServer(DrainCommand),
    /// Another server may have changed something.
    Look,
    /// The driver is gone.
    Stop,
}

/// Reads the certificate whenever told to, and sends it to the driver.
pub(crate) fn run_certificates(
    files: &TlsFiles,
    commands: &Receiver<()>,
    to_driver: &DriverHandle,
    node: &dyn Node,
) {
    for () in commands {
        match tls::load(&files.cert, &files.key) {
            Ok(certificate) => {
                if to_driver
                    .work(WorkerEvent::Certificate(certificate))
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => node.log(
                Level::Error,
                &format!("{error:#}; the old certificate stays"),
            ),
        }
    }
}

/// Checks passwords. Several threads run this, each taking the next request when it is free. Requests left at
/// a stop are dropped, since hashing them could take long.
pub(crate) fn run_passwords(commands: &Mutex<Receiver<PasswordCommand>>, to_driver: &DriverHandle) {
    give_way();
    loop {
        let next = commands.lock().recv();
        let Ok(PasswordCommand(ticket, stored, password)) = next else {
            return;
        };
        let checked = if password_hash::verify(&stored, &password) {
            Password::Right
        } else {
            Password::Wrong
        };
        if to_driver
            .work(WorkerEvent::PasswordChecked(ticket, checked))
            .is_err()
        {
            return;
        }
    }
}

/// Lets all other threads go first where there are too few cores: whoever waits for a hash waits anyway, and whoever
/// sends a share should not. Only Linux has priorities of threads here; without one nothing is lost.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::process::setpriority_process(None, PASSWORD_NICENESS);
    }
}

/// Writes users and bans, one change after the other. Without a file they last as long as the process.
/// Requests left at a stop are dropped: no user counts as added before the answer. A user's address is in the
/// ledger, and keys made under another password are out of it, before the user is in the file.
pub(crate) fn run_users(
    files: &mut UsersFiles,
    commands: &Receiver<UsersCommand>,
    (ledger, location, trail): (&Sender<StoreCommand>, Option<&LedgerLocation>, &AuditTrail),
    to_driver: &DriverHandle,
    node: &dyn Node,
) {
    let told = |error: anyhow::Error| node.log(Level::Error, &format!("{error:#}"));
    let failed = |error| {
        told(error);
        NotWritten::Failed
    };
    for command in commands {
        let answer = match command {
            UsersCommand::Add(ticket, user, old) => {
                let added = recorded(trail, &user, || {
                    match spare_owner(location, &user, old.as_ref(), node)? {
                        Spared::Yes => Ok(Err(NotWritten::Owned)),
                        Spared::No(keys) => {
                            let file = files.users.as_mut();
                            add_user(file, ledger, &user, keys, node).map(Ok)
                        }
                    }
                });
                let added = added.map_err(failed).and_then(|added| added);
                WorkerEvent::UserAdded(ticket, user.name, added)
            }
            UsersCommand::Keep(ticket, name, stored) => {
                let file = files.users.as_mut();
                let kept = revoke_keys(ledger, &name)
                    .and_then(|()| file.map_or(Ok(()), |file| append(file, &name, &stored, node)));
                WorkerEvent::UserAdded(ticket, name, kept.map_err(failed).map(|()| stored))
            }
            UsersCommand::Bans(order, _, bans) => {
                let kept = files.bans.as_ref().map_or(Ok(()), |file| file.write(&bans));
                let answer = kept.map_err(told).map_err(|()| OrderRefusal::BanNotStored);
                WorkerEvent::Answer(order, answer.map(|()| OrderOutcome::Done))
            }
            UsersCommand::SetAccount(command) => {
                // A ledger that is gone drops the message, which tells the sender.
                let _ = ledger.send(StoreCommand::SetAccount(command));
                continue;
            }
            UsersCommand::DrainServer(command) => {
                let alone = "this server shares no ledger with others (database)";
                let alone = SettingRefused(alone.to_owned());
                let _ = command.answer.send(Err(alone.into()));
                continue;
            }
            UsersCommand::Draining(_) | UsersCommand::Look => continue,
            UsersCommand::Stop => return,
        };
        if to_driver.work(answer).is_err() {
            return;
        }
    }
}

/// Adds a user; one of an admin on the wire between its record in the audit trail and that of the outcome.
fn recorded(
    trail: &AuditTrail,
    user: &NewUser,
    add: impl FnOnce() -> anyhow::Result<Result<StoredPassword, NotWritten>>,
) -> anyhow::Result<Result<StoredPassword, NotWritten>> {
    let Some(record) = trail.of_wire_admin(user) else {
        return add();
    };
    let open = trail.begin(&record, false)?;
    let added = add();
    let outcome = match &added {
        Ok(Ok(_)) => Outcome::Done,
        Ok(Err(_)) => Outcome::Refused("the account has an owner".to_owned()),
        Err(error) => Outcome::Refused(format!("{error:#}")),
    };
    trail.end(open, &outcome);
    added
}

/// Decision whether an account is left to its owner.
enum Spared {
    Yes,
    /// And what becomes of its keys.
    No(KeysOfUser),
}

/// Decides whether a user may be added under a name that already has an owner: only the ledger knows which
/// accounts have earned or have an address. An account with a password belongs to whoever knows it, so its owner is
/// not checked.
fn spare_owner(
    location: Option<&LedgerLocation>,
    user: &NewUser,
    old: Option<&StoredPassword>,
    node: &dyn Node,
) -> anyhow::Result<Spared> {
    let Some(location) = location.filter(|_| old.is_none()) else {
        return Ok(Spared::No(keys_of(user, old)));
    };
    let look = || -> Result<bool, SqlError> {
        let mut db = location.open_for_a_look(OWNER_LOOK)?;
        db.read(|sql: &mut dyn Sql| {
            let known = sql.query_opt(
                "SELECT id FROM accounts WHERE name = ?1",
                &values![&user.name],
            );
            Ok(known?.is_some())
        })
    };
    let is_known = look().with_context(|| format!("failed to see whose {:?} is", user.name))?;
    if is_known {
        node.log(Level::Warning, &owned(&user.name, user.owner()));
    }
    Ok(match (is_known, user.owner()) {
        (true, Owner::Spared) => Spared::Yes,
        (true, Owner::Overruled) => Spared::No(KeysOfUser::Revoked),
        (false, _) => Spared::No(KeysOfUser::Kept),
    })
}

/// Text about an account that has an owner and is to become a user.
pub(crate) fn owned(name: &str, owner: Owner) -> String {
    let why = "it has earned, or is paid somewhere, without a password";
    match owner {
        Owner::Spared => format!(
            "{name:?} is not added for an admin on the wire: {why}. addstratumuser adds it all the same"
        ),
        Owner::Overruled => {
            format!(
                "{name:?} is a user from now on: {why}; its miners need the new password to come back"
            )
        }
    }
}

fn add_user(
    file: Option<&mut UsersFile>,
    ledger: &Sender<StoreCommand>,
    user: &NewUser,
    keys: KeysOfUser,
    node: &dyn Node,
) -> anyhow::Result<StoredPassword> {
    let mut stored = password_hash::hash(&user.password)?;
    if user.is_locked {
        stored = stored.locked();
    }
    if keys == KeysOfUser::Revoked {
        revoke_keys(ledger, &user.name)?;
    }
    if let Some(address) = &user.address {
        let setting = AccountSetting::Address(Some(address.clone()));
        store_setting(ledger, &user.name, setting)
            .with_context(|| format!("failed to store the address of {:?}", user.name))?;
    }
    if let Some(file) = file {
        append(file, &user.name, &stored, node)?;
    }
    Ok(stored)
}

fn append(
    file: &mut UsersFile,
    name: &str,
    stored: &StoredPassword,
    node: &dyn Node,
) -> anyhow::Result<()> {
    if file.append(name, stored)? == UserWritten::Anew {
        let text = "users.json was gone: it was written anew with every account that is known";
        node.log(Level::Warning, text);
    }
    Ok(())
}

/// What becomes of the keys of a user that gets a password: they stay if it is the old one in the new form.
pub(crate) fn keys_of(user: &NewUser, old: Option<&StoredPassword>) -> KeysOfUser {
    match old.and_then(|old| old.matches_hash256(&user.password)) {
        Some(true) => KeysOfUser::Kept,
        _ => KeysOfUser::Revoked,
    }
}

/// Revokes the keys of an account: none outlives the password under which it was made.
fn revoke_keys(ledger: &Sender<StoreCommand>, account: &str) -> anyhow::Result<()> {
    store_setting(ledger, account, AccountSetting::RevokeKeys)
        .with_context(|| format!("failed to revoke the keys of {account:?}"))
}

fn store_setting(
    ledger: &Sender<StoreCommand>,
    account: &str,
    setting: AccountSetting,
) -> anyhow::Result<()> {
    let (command, answered) = SetAccountCommand::new(account.to_owned(), setting, None);
    if ledger.send(StoreCommand::SetAccount(command)).is_err() {
        bail!("the ledger is closed");
    }
    wait_for_account(&answered, "the ledger")
}

/// Waits until the ledger has stored a setting of an account.
pub(crate) fn wait_for_account(
    answered: &Receiver<anyhow::Result<()>>,
    ledger: &str,
) -> anyhow::Result<()> {
    match answered.recv_timeout(Duration::from_millis(ADDRESS_MS)) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => {
            bail!("{ledger} does not answer in time, and may still do it")
        }
        Err(RecvTimeoutError::Disconnected) => bail!("{ledger} is closed"),
    }
}

/// Found blocks that the disk has refused so far, retried until they are written.
struct UnspooledBlocks<'a> {
    spool: &'a Spool,
    list: VecDeque<SpooledBlock>,
    refusal: LogBackoff,
    /// Log back-off of missing reserved space.
    bareness: LogBackoff,
    is_reserved: bool,
    reserve_at: Instant,
}

impl<'a> UnspooledBlocks<'a> {
    fn new(spool: &'a Spool) -> Self {
        Self {
            spool,
            list: VecDeque::new(),
            refusal: LogBackoff::default(),
            bareness: LogBackoff::default(),
            is_reserved: false,
            reserve_at: Instant::now(),
        }
    }

    /// Each block is written, and those to come have space.
    fn is_done(&self) -> bool {
        self.list.is_empty() && self.is_reserved
    }

    /// The next message, or `Timeout` when it is time to retry.
    fn receive(&self, commands: &Receiver<SpoolCommand>) -> Result<SpoolCommand, RecvTimeoutError> {
        if self.is_done() {
            commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            commands.recv_timeout(Duration::from_millis(DISK_RETRY_MS))
        }
    }

    /// Tries to write each block. Refusals are logged at once, and then less and less often.
    fn settle(&mut self, node: &dyn Node) {
        let mut refused = None;
        let mut is_any_kept = false;
        self.list.retain(|block| {
            let kept = self.spool.put(block);
            let error = kept.err();
            let is_owed = error.is_some();
            is_any_kept |= !is_owed;
            refused = refused.take().or(error.map(|error| (block.hash, error)));
            is_owed
        });
        match refused {
            // Blocks that are no longer needed say nothing about the disk.
            None => {
                if (is_any_kept || self.is_reserved) && self.refusal.end() {
                    node.log(
                        Level::Info,
                        "found blocks can be written to the spool again",
                    );
                }
            }
            Some((hash, error)) => {
                if self.refusal.is_due(Instant::now()) {
                    let text = format!(
                        "failed to keep block {hash} in the spool: {error:#}; {} wait and are tried \
                         again until they can be written",
                        self.list.len()
                    );
                    node.log(Level::Error, &text);
                }
            }
        }
    }

    /// Reserves disk space for blocks, once all present ones are written.
    fn reserve(&mut self, node: &dyn Node) {
        let now = Instant::now();
        self.is_reserved = self.spool.has_reserve();
        if !self.list.is_empty() || self.is_reserved || now < self.reserve_at {
            return;
        }
        self.reserve_at = now + RESERVE_RETRY;
        match self.spool.make_reserve() {
            Ok(()) => {
                self.is_reserved = true;
                if self.bareness.end() {
                    node.log(Level::Info, "disk space is reserved for found blocks again");
                }
            }
            Err(error) => {
                if self.bareness.is_due(now) {
                    let text =
                        format!("no disk space could be reserved for found blocks: {error:#}");
                    node.log(Level::Warning, &text);
                }
            }
        }
    }
}

/// Keeps found blocks in the spool until the node has answered. Returns when all senders are gone and each
/// block was tried a last time.
pub(crate) fn run_spool(
    (spool, network): (&Spool, Network),
    commands: &Receiver<SpoolCommand>,
    duty: &Duty,
    node: &dyn Node,
) {
    let mut owed = UnspooledBlocks::new(spool);
    loop {
        owed.reserve(node);
        match owed.is_done() {
            true => duty.done(),
            false => duty.owe(),
        }
        let received = owed.receive(commands);
        let is_last = matches!(received, Err(RecvTimeoutError::Disconnected));
        match received {
            Ok(SpoolCommand::Put(solution, transactions)) => {
                owed.list.push_back(SpooledBlock {
                    hash: solution.hash,
                    payout: solution.payout(),
                    split: solution
                        .split()
                        .map(|split| spooled_split::encode(&split.record(), network)),
                    raw: solution.encode(&transactions),
                });
                duty.owe();
            }
            Ok(SpoolCommand::Remove(hash)) => {
                owed.list.retain(|block| block.hash != hash);
                if let Err(error) = spool.remove(&hash) {
                    node.log(Level::Error, &format!("{error:#}"));
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        owed.settle(node);
        if is_last {
            for SpooledBlock { hash, .. } in &owed.list {
                let text = format!(
                    "block {hash} could not be kept in the spool: it is not offered again after a restart"
                );
                node.log(Level::Error, &text);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::{fs, thread};

    use hstratum_core::accounts::password::hash256;
    use hstratum_core::units::Height;

    use super::*;
    use crate::node::Offer;
    use crate::supervision::Duties;
    use hstratum_core::units::Hash;

    struct SilentNode;

    impl Node for SilentNode {
        fn offer(&self, _: Offer) {}
        fn locate(&self, _: Vec<(Hash, Height)>) {}
        fn log(&self, _: Level, _: &str) {}
    }

    #[test]
    fn keys_outlive_another_form_of_the_password_and_not_another_password() {
        let old = StoredPassword::Hash256(hash256(b"old"));
        let user = |password: &str| NewUser {
            name: "alice".to_owned(),
            password: password.to_owned(),
            address: None,
            is_locked: false,
            wire_admin: None,
        };
        assert_eq!(keys_of(&user("old"), Some(&old)), KeysOfUser::Kept);
        assert_eq!(keys_of(&user("new"), Some(&old)), KeysOfUser::Revoked);
        let locked = old.locked();
        assert_eq!(keys_of(&user("old"), Some(&locked)), KeysOfUser::Revoked);
        let known = password_hash::hash("old").expect("hashed");
        assert_eq!(keys_of(&user("old"), Some(&known)), KeysOfUser::Revoked);
    }

    #[test]
    fn space_that_cannot_be_reserved_is_a_duty_undone() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("spool");
        let (spool, _, _) = Spool::open(&dir).expect("opened");
        fs::remove_dir_all(&dir).expect("removed");
        let duties = Duties::default();
        let duty = duties.add("spooled blocks");
        let (commands, received) = channel();
        thread::scope(|scope| {
            let (spool, duty) = (&spool, &duty);
            scope.spawn(move || run_spool((spool, Network::Regtest), &received, duty, &SilentNode));
            while duties.ages()[0].1.is_zero() {
                thread::yield_now();
            }
            drop(commands);
        });
    }
}
