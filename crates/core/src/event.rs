//! What goes into the pool and what comes out of it.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::accounting::ledger::{Credit, Tallied};
use crate::accounts::ban::{Ban, BanChange};
use crate::accounts::password::StoredPassword;
use crate::chain::block::{FoundBlock, Solution, Verdict};
use crate::chain::template::{RawTransactions, Template};
use crate::order::{Answer, NewUser, NotWritten, Order, OrderId, Refusal, UserChange};
use crate::units::{ConnId, Difficulty, Hash, Seq};

/// Names a question to whoever hashes passwords and writes users.
pub type Ticket = u64;

/// Everything that can happen to a pool.
pub enum Event<'a> {
    /// The chain has a new tip.
    Tip(Hash),
    /// The node offers a template on its tip.
    Template(Box<Template>),
    /// The raw transactions of a template, after its job has left.
    Transactions(u64, Arc<[u8]>),
    /// Why there can be no job.
    NoTemplate(String),
    /// The node has answered a found block.
    BlockResult(Hash, Verdict),
    /// A block of an earlier run that the node had not answered.
    Spooled(Box<FoundBlock>),
    /// A miner has connected.
    Connected(ConnId, Arrival),
    /// Bytes from a miner.
    Received(ConnId, &'a [u8]),
    /// A peer sends no more: what it is owed is still said, then its connection ends.
    Finished(ConnId),
    /// The connection is gone.
    Closed(ConnId),
    /// What is recorded up to here survives a crash, but for what was given up before.
    Durable(Seq),
    /// The ledger has given up on what is recorded up to here and not durable: it was not counted,
    /// and whoever sent it is told so.
    NotDurable(Seq),
    /// Whether the ledger can take shares.
    Ledger(LedgerState),
    /// Whether the password was right.
    PasswordChecked(Ticket, Password),
    /// The user's password as it was written, if it could be.
    UserAdded(Ticket, Result<StoredPassword, NotWritten>),
    /// Users that another server of the pool has changed.
    Users(Vec<UserChange>),
    /// The operator's bans as an earlier pool had them, or as they now are on all servers of the pool.
    Bans(Vec<Ban>),
    /// The operator wants something; answered by [`Action::Answer`] or [`Action::KeepBans`].
    Order(OrderId, Order),
    /// The server stops soon: proxies are to take their miners elsewhere.
    Leave,
    /// Time has passed.
    Tick,
    /// The server stops: what the pool has kept back is to come out.
    Stop,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// The miner's address, as a trusted proxy reports it or as the socket has it.
    pub address: IpAddr,
    /// What holds the address.
    pub kind: ArrivalKind,
    /// The start difficulty of the listener it came through.
    pub difficulty: Difficulty,
}

/// What an [`Arrival`]'s address stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalKind {
    /// A miner, or a farm behind one address.
    Miner,
    /// A trusted proxy on its own behalf: never banned.
    Proxy,
}

/// Whether the ledger can take shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerState {
    /// It can.
    Open,
    /// The disk refuses: shares are refused until it does not.
    Failing,
}

/// What a password was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// The account's.
    Right,
    /// Another.
    Wrong,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseHow {
    /// At once and with a reset, which every miner notices.
    Reset,
    /// After what was sent has left, as HTTP wants it.
    Flushed,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something is lost or broken.
    Error,
    /// Something is wrong and will be worse.
    Warning,
    /// A change that the operator wants to see.
    Info,
    /// Everything else.
    Debug,
}

/// Everything a pool can want.
pub enum Action {
    /// Offer a block to the node. Always the first action of its event.
    SubmitBlock(Arc<Solution>),
    /// Keep a found block, whole, until the node has answered.
    Spool(Arc<Solution>, Arc<RawTransactions>),
    /// Make a share durable, then say [`Event::Durable`], or [`Event::NotDurable`].
    Record(Credit),
    /// A block was offered to the node: the ledger is to know it. More than once for one block is
    /// harmless.
    BlockFound(Box<FoundBlock>),
    /// The node's verdict on a block that was found: the ledger is to know it, and the spool may
    /// forget the block once it does.
    BlockAnswered(Hash, Verdict),
    /// What miners have sent since it was last said.
    Tally(Vec<Tallied>),
    /// Send bytes of [`Actions::bytes`]: whole lines.
    Send(ConnId, Range<usize>),
    /// Send a line that many get.
    SendShared(ConnId, Arc<[u8]>),
    /// Read no more from a connection.
    Pause(ConnId),
    /// Read again.
    Resume(ConnId),
    /// A connection has logged in.
    Admitted(ConnId),
    /// A connection has its first accepted share: it gives way to nobody.
    Proven(ConnId),
    /// End a connection; no [`Event::Closed`] follows.
    Close(ConnId, CloseHow),
    /// Take connections, or refuse them.
    Listen(Listening),
    /// Is this the password? Answered by [`Event::PasswordChecked`].
    CheckPassword(Ticket, StoredPassword, String),
    /// Hash the password and write the user, in place of the password that it has now, if it has one.
    /// Answered by [`Event::UserAdded`].
    AddUser(Ticket, NewUser, Option<StoredPassword>),
    /// Write the user with this password, which it has already and which is locked now or was.
    /// Answered by [`Event::UserAdded`].
    KeepUser(Ticket, String, StoredPassword),
    /// Write what has changed of the operator's bans, all of which follow. Whoever gave the order is
    /// answered when that is done.
    KeepBans(OrderId, BanChange, Vec<Ban>),
    /// Answer an order.
    Answer(OrderId, Result<Answer, Refusal>),
    /// Say something to the operator.
    Log(Level, String),
}

impl Action {
    /// Whether a pool that failed owes it all the same: blocks and credit do not end with
    /// connections.
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

/// Whether the port takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// It does.
    On,
    /// It refuses them, so that miners fail over.
    Off,
}

/// Something that can be wanted, the sending of bytes among it.
pub trait Wanted {
    /// Send these of [`Actions::bytes`].
    fn send(conn: ConnId, range: Range<usize>) -> Self;

    /// Whom it sends which bytes, if it does.
    fn sent(&mut self) -> Option<(ConnId, &mut Range<usize>)>;

    /// Say something to the operator.
    fn log(level: Level, text: String) -> Self;
}

impl Wanted for Action {
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
}

/// The actions of an event, in order. Bytes for one connection share one buffer, so that a reply
/// costs no allocation.
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

impl<A: Wanted> Actions<A> {
    /// Adds a log line.
    pub fn log(&mut self, level: Level, text: String) {
        self.push(A::log(level, text));
    }

    /// Adds an action.
    pub fn push(&mut self, action: A) {
        self.list.push(action);
    }

    /// Puts an action before all others of its event.
    pub fn push_first(&mut self, action: A) {
        self.list.insert(0, action);
    }

    /// Sends what `write` appends.
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

    /// The bytes that are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Hands each action over, with the bytes it sends, and forgets them all.
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
