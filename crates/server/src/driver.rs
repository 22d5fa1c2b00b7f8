//! The loop that owns the pool: mail, sockets and the clock go in as events, actions come out.
//!
//! What the node says goes first. A panic of the pool stops here: its connections are reset and a
//! new pool begins with what is durable.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hstratum_core::event::{Action, Actions, Event, FoundBlock, Level, Now};
use hstratum_core::job::Boot;
use hstratum_core::ledger::Credit;
use hstratum_core::password::StoredPassword;
use hstratum_core::pool::{Pool, PoolConfig};
use hstratum_core::template::{RawTransactions, Template, TemplateParts};
use hstratum_core::units::{ConnId, Hash, Seq};

use crate::clerk::{SpoolMail, UsersMail};
use crate::limits::{READS_PER_TURN, RESTART_MS, TICK_MS};
use crate::mail::{Mailbox, NodeMail, WorkMail};
use crate::net::{Net, ReadResult};
use crate::node::{Node, Offer};
use crate::store::{StoreMail, unix_s};

/// Where the driver's requests go. A closed channel means that the thread behind it is gone, which
/// it is only after the driver.
pub(crate) struct Desks {
    pub store: Sender<StoreMail>,
    pub users: Sender<UsersMail>,
    /// None when nothing may be written.
    pub spool: Option<Sender<SpoolMail>>,
}

/// The driver and all it owns.
pub(crate) struct Driver {
    pub net: Net,
    pub mailbox: Mailbox,
    pub node: Arc<dyn Node>,
    pub desks: Desks,
    pub pool_config: PoolConfig,
    pub users: HashMap<String, StoredPassword>,
    /// Found blocks that the node has not answered: offered at the start, and again to a new pool.
    pub unanswered: Vec<(FoundBlock, Option<Vec<u8>>)>,
    pub started: Instant,
    /// What a new pool is told first.
    pub view: NodeView,
    pub durable: Seq,
}

/// What the node said last.
#[derive(Default)]
pub(crate) struct NodeView {
    tip: Option<Hash>,
    template: Option<TemplateParts>,
}

/// Why a turn of the loop was the last.
enum End {
    Closed(Option<Sender<()>>),
}

/// The parts of the driver that carry out actions.
struct Hands<'a> {
    net: &'a mut Net,
    desks: &'a Desks,
    node: &'a dyn Node,
    credits: &'a mut Vec<Credit>,
}
