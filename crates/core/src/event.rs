//! The interface of the pool: events go in, actions come out.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::accounting::ledger::{Credit, Tallied, Verdict};
use crate::accounts::PayoutAddresses;
use crate::accounts::ban::{Ban, BanChange};
use crate::accounts::password::StoredPassword;
use crate::chain::block::{FoundBlock, Solution};
use crate::chain::coinbase::Payout;
use crate::chain::coinbase_split::CoinbaseSplit;
use crate::chain::template::{RawTransactions, Template};
use crate::operator_order::{
    NewUser, NotWritten, Order, OrderId, OrderOutcome, OrderRefusal, UserChange,
};
use crate::units::{ConnId, Difficulty, Hash, Seq};

/// Number of a password check or a user write, by which its answer is matched.
pub type Ticket = u64;

/// Everything that can happen to a pool.
pub enum Event<'a> {
    /// The chain has a new tip.
    Tip(Hash),
    /// The node has a new template on its tip.
    Template(Box<Template>),
    /// The jobs of the last event may have been written by now: those of solo listeners follow.
    SoloJobs,
    /// The raw transactions of a template, which follow after its job was sent.
    Transactions(u64, Arc<[u8]>),
    /// The node can give no template, for this reason.
    NoTemplate(String),
    /// The node has answered a found block.
    BlockResult(Hash, Verdict),
    /// A block in the spool from an earlier run, which the node had not answered.
    Spooled(Box<FoundBlock>),
    /// A miner has connected and sent its first bytes.
    Connected(ConnId, Arrival),
    /// Bytes received from a miner.
    Received(ConnId, &'a [u8]),
    /// A peer has closed its sending side: outstanding replies are still sent, then its connection is
    /// closed.
    Finished(ConnId),
    /// The connection has ended.
    Closed(ConnId),
    /// Recorded shares up to this number are durable and survive a crash, except those given up before.
    Durable(Seq),
    /// Recorded shares up to this number that are not durable were given up by the ledger: they were not
    /// counted, and their senders get an error.
    NotDurable(Seq),
    /// The ledger can take shares, or cannot.
    Ledger(LedgerState),
    /// The result of a password check.
    PasswordChecked(Ticket, Password),
    /// The user's password as it was stored, or the reason why it was not.
    UserAdded(Ticket, Result<StoredPassword, NotWritten>),
    /// Users changed on another server of the pool.
    Users(Vec<UserChange>),
    /// The operator's bans, as an earlier pool had them, or as they now are on all servers of the pool.
    Bans(Vec<Ban>),
    /// All payout addresses of accounts, for solo listeners; until they come, none is known.
    PayoutAddresses(Arc<PayoutAddresses>),
    /// The split of blocks from now on.
    Split(Arc<CoinbaseSplit>),
    /// An order of the operator; answered by [`Action::Answer`] or [`Action::KeepBans`].
    Order(OrderId, Order),
    /// The server stops soon: proxies should move their miners to other servers.
    Leave,
    /// Time has passed.
    Tick,
    /// The server stops: counts not yet reported are reported.
    Stop,
}

/// The origin of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// The miner's address, as a trusted proxy reports it or as the socket has it.
    pub address: IpAddr,
    /// The kind of peer that the address belongs to.
    pub kind: ArrivalKind,
    /// The start difficulty of the listener it came through.
    pub difficulty: Difficulty,
    /// Recipient of the blocks of the miners of that listener.
    pub payout: Payout,
}

/// The kind of peer that an [`Arrival`]'s address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalKind {
    /// A miner, or a farm behind one address.
    Miner,
    /// A trusted proxy itself; it is never banned.
    Proxy,
}

/// State of the ledger, as far as shares depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerState {
    /// The ledger takes shares.
    Open,
    /// The disk refuses writes: shares are refused until it accepts them.
    Failing,
}

/// Result of a password check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// The account's password.
    Right,
    /// Another password.
    Wrong,
}

/// The way a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseHow {
    /// At once with a TCP reset, which every miner notices.
    Reset,
    /// After all bytes were sent, as HTTP needs it.
    Flushed,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something is lost or broken.
    Error,
    /// Something is wrong and will get worse.
    Warning,
    /// A change that the operator wants to see.
    Info,
    /// Everything else.
    Debug,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Everything a pool can order.
pub enum Action {
    /// Offer a block to the node. Always the first action of its event.
    SubmitBlock(Arc<Solution>),
    /// Write a found block to the spool, whole, and keep it until the node has answered.
    Spool(Arc<Solution>, Arc<RawTransactions>),
    /// Make a share durable; answered by [`Event::Durable`] or [`Event::NotDurable`].
    Record(Credit),
    /// Write to the ledger that a block was offered to the node. More than once for one block is
    /// harmless.
    BlockFound(Box<FoundBlock>),
    /// Write the node's verdict on a block to the ledger. The spool may drop the block after that.
    BlockAnswered(Hash, Verdict),
    /// Add the shares submitted since the last report to the ledger's statistics.
    Tally(Vec<Tallied>),
    /// Send this range of [`Actions::bytes`]: whole lines.
    Send(ConnId, Range<usize>),
    /// Send a line that goes to many connections.
    SendShared(ConnId, Arc<[u8]>),
    /// Read no more from a connection.
    Pause(ConnId),
    /// Read again from a connection.
    Resume(ConnId),
    /// A connection has logged in.
    Admitted(ConnId),
    /// A connection has its first accepted share: it is not displaced by new ones any more.
    Proven(ConnId),
    /// Read a connection before others, or no more: it has far more hashrate than they.
    ReadFirst(ConnId, bool),
    /// Close a connection; no [`Event::Closed`] follows.
    Close(ConnId, CloseHow),
    /// Accept connections, or refuse them.
    Listen(Listening),
    /// Check a password; answered by [`Event::PasswordChecked`].
    CheckPassword(Ticket, StoredPassword, String),
    /// Hash the new password and write the user. The last field is the stored password to replace, if
    /// there is one. Answered by [`Event::UserAdded`].
    AddUser(Ticket, NewUser, Option<StoredPassword>),
    /// Write the user with this stored password, whose lock has changed. Answered by
    /// [`Event::UserAdded`].
    KeepUser(Ticket, String, StoredPassword),
    /// Sign out whoever has signed in to the dashboard as this account: its password is another, or it was disabled
    /// or removed.
    SignOut(String),
    /// This account has another password, or was disabled, on this server: it is paid at no other address later.
    NewPassword(String),
    /// Write a change of the operator's bans, all of which are given too. The order is answered once that
    /// is done.
    KeepBans(OrderId, BanChange, Vec<Ban>),
    /// Answer an order.
    Answer(OrderId, Result<OrderOutcome, OrderRefusal>),
    /// Write a log line for the operator.
    Log(Level, String),
}

impl Action {
    /// True if the action must be carried out even if the pool has failed in the same event: blocks and
    /// credit do not depend on connections.
    #[must_use]
    pub fn outlives_failure(&self) -> bool {
        matches!(
            self,
            Self::SubmitBlock(_)
                | Self::Spool(..)
                | Self::Record(_)
                | Self::BlockFound(_)
                | Self::BlockAnswered(..)
        )
    }
}

/// State of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// Connections are accepted.
    On,
    /// Connections are refused, so that miners fail over.
    Off,
}

/// An action type that can send bytes and log; implemented by the actions of the pool and of the proxy.
pub trait AnyAction {
    /// The action that sends this range of [`Actions::bytes`].
    fn send(conn: ConnId, range: Range<usize>) -> Self;

    /// Connection and range, if the action sends bytes.
    fn sent(&mut self) -> Option<(ConnId, &mut Range<usize>)>;

    /// The action that writes a log line.
    fn log(level: Level, text: String) -> Self;

    /// The action that stops reading from a connection.
    fn pause(conn: ConnId) -> Self;

    /// The action that resumes it.
    fn resume(conn: ConnId) -> Self;
}

impl AnyAction for Action {
    fn send(conn: ConnId, range: Range<usize>) -> Self {
        Self::Send(conn, range)
    }

    fn sent(&mut self) -> Option<(ConnId, &mut Range<usize>)> {
        match self {
            Self::Send(conn, range) => Some((*conn, range)),
            _ => None,
        }
    }

    fn log(level: Level, text: String) -> Self {
        Self::Log(level, text)
    }

    fn pause(conn: ConnId) -> Self {
        Self::Pause(conn)
    }

    fn resume(conn: ConnId) -> Self {
        Self::Resume(conn)
    }
}

/// The actions of an event, in order. The bytes they send are in one shared buffer, so that a reply costs
/// no allocation.
pub struct Actions<A = Action> {
    list: Vec<A>,
    bytes: Vec<u8>,
}

impl<A> Default for Actions<A> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            bytes: Vec::new(),
        }
    }
}

impl<A: AnyAction> Actions<A> {
    /// Adds a log line.
    pub fn log(&mut self, level: Level, text: String) {
        self.push(A::log(level, text));
    }

    /// Adds an action.
    pub fn push(&mut self, action: A) {
        self.list.push(action);
    }

    /// Adds actions.
    pub fn extend(&mut self, actions: impl IntoIterator<Item = A>) {
        self.list.extend(actions);
    }

    /// Puts an action before all others of its event.
    pub fn push_first(&mut self, action: A) {
        self.list.insert(0, action);
    }

    /// Sends the bytes that `write` appends, in the action before if that sends to the same connection.
    #[inline]
    pub fn send(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        if let Some((last, range)) = self.list.last_mut().and_then(A::sent)
            && last == conn
            && range.end == start
        {
            range.end = end;
        } else if end > start {
            self.list.push(A::send(conn, start..end));
        }
    }

    /// The actions so far.
    pub fn list(&self) -> &[A] {
        &self.list
    }

    /// The bytes that the actions send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Hands over each action with the bytes it sends, and empties the list.
    pub fn drain(&mut self, mut perform: impl FnMut(A, &[u8])) {
        for mut action in self.list.drain(..) {
            let bytes = match action.sent() {
                Some((_, range)) => &self.bytes[range.clone()],
                None => &[],
            };
            perform(action, bytes);
        }
        self.bytes.clear();
    }
}
