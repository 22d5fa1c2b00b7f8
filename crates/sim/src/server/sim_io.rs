//! The driver's surroundings in the simulator: sockets that are queues, a clock that is set, channels
//! that are read after each turn; and the injection of pool failures between two actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hstratum::driver::Senders;
use hstratum::driver::io::{Certificate, DriverIo};
use hstratum::messages::{DriverInbox, NodeEvent, SpoolCommand, WorkerEvent};
use hstratum::net::ReadResult;
use hstratum::node::{Drill, Node, Offer};
use hstratum::proxy::driver::ProxyIo;
use hstratum::store::group_commit::StoreCommand;
use hstratum::task_threads::{PasswordCommand, UsersCommand};
use hstratum_core::event::{Action, Actions, Arrival, CloseHow, Level, Listening};
use hstratum_core::units::{ConnId, Now};

/// The panic payload of an injected pool failure.
pub(crate) struct Simulated;

/// An event on a connection, to be read by the driver.
pub(crate) enum SocketInput {
    Opened(Arrival),
    Bytes(Vec<u8>),
    Gone,
}

/// A call of the driver that changes connections.
pub(crate) enum SocketAction {
    Send(ConnId, Vec<u8>),
    /// Connect to this address, and send these bytes first.
    Dial(ConnId, SocketAddr, Vec<u8>),
    Close(ConnId),
    Listen(Listening),
    ResetAll,
}

/// The driver's calls to the node.
#[derive(Default)]
pub(crate) struct HostRecord {
    pub(crate) offers: Vec<Offer>,
    pub(crate) drills: Vec<Drill>,
    pub(crate) log: Vec<(Level, String)>,
    /// Count of calls after which the caller panics.
    pub(crate) fails_in: Option<u32>,
}

/// The node, as the driver calls it.
#[derive(Default)]
pub(crate) struct SimHost(Mutex<HostRecord>);

impl SimHost {
    /// The calls since the last `take`.
    pub(crate) fn take(&self) -> HostRecord {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn fail_in(&self, words: u32) {
        let said = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.fails_in = Some(words);
    }

    /// Records a call, or panics if that is due.
    fn say(&self, tell: impl FnOnce(&mut HostRecord)) {
        let said = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut said.fails_in {
            Some(0) => {
                said.fails_in = None;
                std::panic::panic_any(Simulated);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        tell(said);
    }
}

impl Node for SimHost {
    fn offer(&self, offer: Offer) {
        self.say(|said| said.offers.push(offer));
    }

    fn drill(&self, drill: Drill) {
        let said = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.drills.push(drill);
    }

    fn locate(&self, _: Vec<hstratum::node::BlockQuery>) {
        unreachable!("the ledger's thread asks, and that is the lab's");
    }

    fn log(&self, level: Level, text: &str) {
        self.say(|said| said.log.push((level, text.to_owned())));
    }
}

/// The simulator's ends of the driver's channels.
pub(crate) struct DriverChannels {
    pub(crate) node: Sender<NodeEvent>,
    pub(crate) work: Sender<WorkerEvent>,
    pub(crate) store: Receiver<StoreCommand>,
    pub(crate) passwords: Receiver<PasswordCommand>,
    pub(crate) users: Receiver<UsersCommand>,
    pub(crate) spool: Receiver<SpoolCommand>,
}

impl DriverChannels {
    pub(crate) fn new() -> (Self, DriverInbox, Senders) {
        let (node, node_mail) = channel();
        let (work, work_mail) = channel();
        let (store_sender, store) = channel();
        let (passwords_sender, passwords) = channel();
        let (users_sender, users) = channel();
        let (spool_sender, spool) = channel();
        let inbox = DriverInbox {
            node: node_mail,
            work: work_mail,
        };
        let senders = Senders {
            splits: None,
            store: store_sender,
            passwords: passwords_sender,
            users: users_sender,
            spool: Some(spool_sender),
            relay: None,
            // Alarms are not simulated.
            alarms: channel().0,
            certificates: None,
        };
        let ends = Self {
            node,
            work,
            store,
            passwords,
            users,
            spool,
        };
        (ends, inbox, senders)
    }
}

/// The simulated sockets and clock.
pub(crate) struct SimIo {
    pub(crate) now: Now,
    pub(crate) reads: VecDeque<(ConnId, SocketInput)>,
    pub(crate) out: Vec<SocketAction>,
    open: BTreeSet<ConnId>,
    paused: BTreeSet<ConnId>,
    /// Bytes that arrived while reading was paused.
    held: BTreeMap<ConnId, VecDeque<Vec<u8>>>,
    scratch: Vec<u8>,
    sim_host: Arc<SimHost>,
    /// For a proxy: the slots in use, which it assigns itself, the connections made, and those that it
    /// dialed.
    slots: BTreeSet<u64>,
    made: u64,
    dialed: BTreeSet<ConnId>,
}

impl SimIo {
    pub(crate) fn new(now: Now, sim_host: Arc<SimHost>) -> Self {
        Self {
            now,
            reads: VecDeque::new(),
            out: Vec::new(),
            open: BTreeSet::new(),
            paused: BTreeSet::new(),
            held: BTreeMap::new(),
            scratch: Vec::new(),
            sim_host,
            slots: BTreeSet::new(),
            made: 0,
            dialed: BTreeSet::new(),
        }
    }

    /// A new connection of a proxy, in the lowest free slot.
    pub(crate) fn next_conn(&mut self) -> ConnId {
        let slot = (0..).find(|slot| !self.slots.contains(slot));
        let slot = slot.expect("a slot");
        self.slots.insert(slot);
        self.made += 1;
        ConnId(self.made << 32 | slot)
    }

    /// Continues a connection that another process had.
    pub(crate) fn adopt(&mut self, is_dialed: bool) -> ConnId {
        let conn = self.next_conn();
        self.open.insert(conn);
        if is_dialed {
            self.dialed.insert(conn);
        }
        conn
    }

    /// Removes what has arrived on a connection and was not read.
    pub(crate) fn take_unread(&mut self, conn: ConnId) -> Vec<SocketInput> {
        let held = self.held.remove(&conn).unwrap_or_default();
        let mut unread: Vec<SocketInput> = held.into_iter().map(SocketInput::Bytes).collect();
        for (from, read) in std::mem::take(&mut self.reads) {
            if from == conn {
                unread.push(read);
            } else {
                self.reads.push_back((from, read));
            }
        }
        unread
    }

    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.slots.remove(&(conn.0 & 0xffff_ffff));
        // A connection closed before it was seen to open must not open later.
        self.reads
            .retain(|(from, read)| *from != conn || !matches!(read, SocketInput::Opened(_)));
        self.dialed.remove(&conn);
        self.open.remove(&conn);
        self.paused.remove(&conn);
        self.held.remove(&conn);
    }

    fn put(&mut self, out: SocketAction) {
        self.sim_host.say(|_| {});
        self.out.push(out);
    }
}

impl DriverIo for SimIo {
    fn now(&self) -> Now {
        self.now
    }

    fn wait(&mut self, _: Duration) {}

    fn rest(&mut self, _: Duration) {}

    fn begin_turn(&mut self, _: u64) {}

    fn next_readable(&mut self) -> Option<ConnId> {
        self.reads.front().map(|(conn, _)| *conn)
    }

    fn next_handshake(&mut self) -> Option<ConnId> {
        None
    }

    fn has_readable(&self) -> bool {
        !self.reads.is_empty()
    }

    fn read(&mut self, conn: ConnId) -> ReadResult {
        let Some((_, read)) = self.reads.pop_front() else {
            return ReadResult::Nothing;
        };
        match read {
            SocketInput::Opened(arrival) => {
                self.open.insert(conn);
                ReadResult::Opened(arrival)
            }
            _ if !self.open.contains(&conn) && !self.dialed.contains(&conn) => ReadResult::Nothing,
            SocketInput::Bytes(bytes) if self.paused.contains(&conn) => {
                self.held.entry(conn).or_default().push_back(bytes);
                ReadResult::Nothing
            }
            SocketInput::Bytes(bytes) => {
                self.scratch = bytes;
                ReadResult::Bytes(self.scratch.len())
            }
            SocketInput::Gone => ReadResult::Gone,
        }
    }

    fn received(&self, len: usize) -> &[u8] {
        &self.scratch[..len]
    }

    fn drop_gone(&mut self, conn: ConnId) {
        self.forget(conn);
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.put(SocketAction::Send(conn, bytes.to_vec()));
    }

    fn add_job(&mut self, conn: ConnId, line: Arc<[u8]>) {
        self.put(SocketAction::Send(conn, line.to_vec()));
    }

    fn pause(&mut self, conn: ConnId, paused: bool) {
        self.sim_host.say(|_| {});
        if paused {
            self.paused.insert(conn);
        } else if self.paused.remove(&conn) {
            // Before everything that came later.
            for bytes in self
                .held
                .remove(&conn)
                .unwrap_or_default()
                .into_iter()
                .rev()
            {
                self.reads.push_front((conn, SocketInput::Bytes(bytes)));
            }
        }
    }

    fn close(&mut self, conn: ConnId, _: CloseHow) {
        self.put(SocketAction::Close(conn));
        self.forget(conn);
    }

    fn listen(&mut self, listening: Listening) -> io::Result<()> {
        self.put(SocketAction::Listen(listening));
        Ok(())
    }

    fn watch(&mut self, actions: &Actions) {
        let is_block = |action: &&Action| matches!(action, Action::SubmitBlock(_));
        let blocks = actions.list().iter().filter(is_block);
        let leading = actions.list().iter().take_while(is_block);
        assert_eq!(
            blocks.count(),
            leading.count(),
            "a found block leaves before anything else"
        );
    }

    fn flush(&mut self) {}

    fn take_lost(&mut self) -> Vec<ConnId> {
        Vec::new()
    }

    fn reset_all(&mut self) {
        self.open.clear();
        self.paused.clear();
        self.held.clear();
        self.reads.clear();
        self.out.push(SocketAction::ResetAll);
    }

    fn use_certificate(&mut self, _: Certificate) {}
}

impl ProxyIo for SimIo {
    fn dial(&mut self, address: SocketAddr, preface: &[u8]) -> io::Result<ConnId> {
        let conn = self.next_conn();
        self.dialed.insert(conn);
        self.put(SocketAction::Dial(conn, address, preface.to_vec()));
        Ok(conn)
    }

    fn is_dialed(&self, conn: ConnId) -> bool {
        self.dialed.contains(&conn)
    }

    fn say(&mut self, level: Level, text: &str) {
        self.sim_host
            .say(|said| said.log.push((level, text.to_owned())));
    }
}
