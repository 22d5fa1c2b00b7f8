//! Executes the pool's actions.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::alarm::{AlarmInput, BlockOutcome};
use hstratum_core::chain::block::Solution;
use hstratum_core::chain::template::RawTransactions;
use hstratum_core::event::{Action, Level};
use hstratum_core::operator_order::{OrderId, OrderOutcome};

use crate::cluster::blocks::relay::RelayCommand;
use crate::driver::io::DriverIo;
use crate::driver::{Driver, ask};
use crate::files::recovered_state::Unanswered;
use crate::messages::{AccountSetting, MinedBlock, OrderAnswer, SetAccountCommand, SpoolCommand};
use crate::node::Offer;
use crate::store::StoreCommand;
use crate::task_threads::{PasswordCommand, UsersCommand};

/// Channels of the driver to the other threads. A closed channel means that the thread is gone, which it is
/// only after the driver.
pub struct Senders {
    /// To the ledger's thread.
    pub store: Sender<StoreCommand>,
    /// To the threads that check passwords.
    pub passwords: Sender<PasswordCommand>,
    /// To the thread that writes users.
    pub users: Sender<UsersCommand>,
    /// To the thread that keeps found blocks; `None` when nothing may be written.
    pub spool: Option<Sender<SpoolCommand>>,
    /// To the thread that relays found blocks to other servers; `None` when there are none. It may be gone,
    /// and the driver does not depend on it.
    pub relay: Option<Sender<RelayCommand>>,
    /// To the thread that computes splits; `None` where blocks pay nobody directly.
    pub splits: Option<Sender<MinedBlock>>,
    /// To the thread that raises alarms; it may be gone, and the driver does not depend on it.
    pub alarms: Sender<AlarmInput>,
    /// To the thread that reads the certificate; `None` when no listener speaks TLS.
    pub certificates: Option<Sender<()>>,
}

impl Senders {
    /// A block goes to the other servers, where there are any.
    fn relay_found(&self, solution: &Arc<Solution>, transactions: &Arc<RawTransactions>) {
        if let Some(relay) = &self.relay {
            let _ = relay.send(RelayCommand::Found(solution.clone(), transactions.clone()));
        }
    }

    pub(super) fn tell_store(&self, command: StoreCommand) {
        ask(&self.store, command);
    }

    pub(super) fn tell_users(&self, command: UsersCommand) {
        ask(&self.users, command);
    }
}

impl<S: DriverIo> Driver<S> {
    /// Executes one action of the pool.
    pub(crate) fn perform(&mut self, action: Action, bytes: &[u8]) {
        match action {
            Action::SubmitBlock(solution) => self.offer(solution),
            Action::Spool(solution, transactions) => {
                self.senders.relay_found(&solution, &transactions);
                self.spool(SpoolCommand::Put(solution, transactions));
            }
            Action::Record(credit) => {
                self.last = credit.seq;
                self.credits.push(credit);
            }
            Action::BlockFound(block) => {
                let account = block.account.clone();
                self.last_found = Some(block.hash);
                self.tell_alarms(AlarmInput::Found(block.hash, block.height, account));
                self.senders.tell_store(StoreCommand::BlockFound(block));
            }
            Action::BlockAnswered(hash, verdict) => {
                self.commit();
                if let Some(fate) = fate(&verdict) {
                    self.tell_alarms(AlarmInput::Block(hash, None, fate));
                }
                self.senders
                    .tell_store(StoreCommand::BlockAnswered(hash, verdict));
            }
            Action::Tally(tallied) => {
                self.tell_alarms(AlarmInput::Work(tallied.clone()));
                self.senders.tell_store(StoreCommand::Tally(tallied));
            }
            Action::Send(conn, _) => self.net.send(conn, bytes),
            Action::SendShared(conn, line) => self.net.add_job(conn, line),
            Action::Pause(conn) => self.net.pause(conn, true),
            Action::Resume(conn) => self.net.pause(conn, false),
            Action::Admitted(conn) => self.net.admitted(conn),
            Action::Proven(conn) => self.net.proven(conn),
            Action::ReadFirst(conn, is_first) => self.net.read_first(conn, is_first),
            Action::Close(conn, how) => self.net.close(conn, how),
            Action::Listen(listening) => {
                if let Err(error) = self.net.listen(listening) {
                    let text = format!("failed to change listening: {error}");
                    self.node.log(Level::Error, &text);
                }
            }
            Action::CheckPassword(ticket, stored, password) => {
                let command = PasswordCommand(ticket, stored, password);
                ask(&self.senders.passwords, command);
            }
            Action::AddUser(ticket, user, old) => {
                self.senders
                    .tell_users(UsersCommand::Add(ticket, user, old));
            }
            Action::KeepUser(ticket, name, stored) => {
                self.senders
                    .tell_users(UsersCommand::Keep(ticket, name, stored));
            }
            Action::SignOut(account) => self.sign_out(&account),
            Action::NewPassword(account) => self.new_password(account),
            Action::KeepBans(id, change, bans) => {
                self.bans.clone_from(&bans);
                self.senders
                    .tell_users(UsersCommand::Bans(id, change, bans));
            }
            Action::Answer(id, Ok(OrderOutcome::Info(mut info))) => {
                info.door = self.net.door();
                self.answer(id, Ok(OrderOutcome::Info(info)));
            }
            Action::Answer(id, answer) => self.answer(id, answer),
            Action::Log(level, text) => self.node.log(level, &text),
        }
    }

    /// Offers a found block to the node.
    fn offer(&mut self, solution: Arc<Solution>) {
        self.unanswered
            .insert(solution.hash, Unanswered::Found(solution.clone()));
        // Before the offer, because the node may announce the block before this thread goes on.
        if let Some(telemetry) = &self.telemetry {
            let height = solution.template.height;
            let read = self.net.clock_read_at();
            telemetry.races().found(solution.hash, height, read);
        }
        self.node.offer(Offer::Found(solution));
    }

    /// Sends an input to the alarms.
    pub(crate) fn tell_alarms(&self, input: AlarmInput) {
        let _ = self.senders.alarms.send(input);
    }

    /// Sends an order's answer to its sender, if that still waits.
    pub(crate) fn answer(&mut self, id: OrderId, answer: OrderAnswer) {
        if let Some(take) = self.orders.remove(&id) {
            take(answer);
        }
    }

    /// Ends the sessions of an account, and its keys, of which the ledger has none by now.
    fn sign_out(&self, account: &str) {
        self.sessions.sign_out(account, Instant::now());
        self.known_keys.forget(account, None);
    }

    /// Has an account paid at no other address later. Nobody waits for it; it is written before what is ordered later.
    fn new_password(&self, account: String) {
        let (command, _) = SetAccountCommand::new(account, AccountSetting::NewPassword, None);
        self.senders.tell_users(UsersCommand::SetAccount(command));
    }

    fn spool(&self, message: SpoolCommand) {
        if let Some(spool) = &self.senders.spool {
            ask(spool, message);
        }
    }
}

/// Outcome of a block for alarms.
fn fate(verdict: &Verdict) -> Option<BlockOutcome> {
    match verdict {
        Verdict::Accepted => Some(BlockOutcome::Accepted),
        Verdict::Side => Some(BlockOutcome::Orphaned),
        Verdict::Refused(reason) => Some(BlockOutcome::Refused(reason.clone())),
        Verdict::Unknown(_) => None,
    }
}
