//! The process: what the driver does with the pool's actions, without sockets, threads or a clock.
//!
//! It keeps the driver's rules: the node's mail first; a turn's shares go to the ledger together at
//! its end; found blocks are offered again to a new pool and after a restart, until they are
//! answered; a pool that fails owes its blocks and its credit all the same.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hstratum::store::keeper::StoreMail;
use hstratum_core::account::Auth;
use hstratum_core::block::Solution;
use hstratum_core::event::{
    Action, Actions, Arrival, ArrivalKind, Event, FoundBlock, LedgerState, Password, Verdict,
};
use hstratum_core::header::{HEADER_BYTES, decode_header};
use hstratum_core::job::Boot;
use hstratum_core::ledger::Credit;
use hstratum_core::password::StoredPassword;
use hstratum_core::pool::{Pool, PoolConfig};
use hstratum_core::template::{Template, TemplateParts};
use hstratum_core::units::{ConnId, Difficulty, Hash, Height, Seq};

use crate::plan::{between, happens};
use crate::store::{SpoolMail, Store};
use crate::world::{Doom, NodeMail, What, World, note};

/// As the server does.
const TICK_MS: u64 = 250;
const RESTART_MS: u64 = 50;
/// The start difficulty: one hash in four is a share.
const DIFFICULTY: f64 = 4.0 / 4_294_967_296.0;
/// A user whose password only the slow check can tell.
pub(crate) const KNOWN_USER: &str = "frank";

/// What has come in since the last turn.
pub(crate) enum NetMail {
    Opened(ConnId),
    Bytes(ConnId, Vec<u8>),
    Gone(ConnId),
}

/// What the other threads say.
pub(crate) enum WorkMail {
    Durable(Seq),
    NotDurable(Seq),
    Ledger(LedgerState),
    Checked(u64, Password),
    Added(u64, Option<StoredPassword>),
}

/// A found block that the node has not answered.
pub(crate) enum Unanswered {
    Found(Arc<Solution>),
    Spooled(Box<FoundBlock>, Hash),
}

/// See the module.
pub(crate) struct Process {
    /// None between a failure and the new pool.
    pub(crate) pool: Option<Pool>,
    pub(crate) actions: Actions,
    pub(crate) unanswered: BTreeMap<Hash, Unanswered>,
    pub(crate) tip: Option<(Hash, Height)>,
    pub(crate) template: Option<TemplateParts>,
    pub(crate) transactions: Option<(u64, Arc<[u8]>)>,
    pub(crate) no_template: Option<String>,
    pub(crate) node_mail: VecDeque<NodeMail>,
    pub(crate) net_mail: VecDeque<NetMail>,
    pub(crate) work_mail: VecDeque<WorkMail>,
    pub(crate) is_turn_due: bool,
    pub(crate) next_tick_ms: u64,
    pub(crate) credits: Vec<Credit>,
    pub(crate) last: Seq,
    pub(crate) ledger: LedgerState,
    pub(crate) is_listening: bool,
    pub(crate) users: BTreeMap<String, StoredPassword>,
    pub(crate) store: Store,
    pub(crate) spool: VecDeque<SpoolMail>,
    pub(crate) spool_owed: Vec<(Hash, Vec<u8>)>,
    pub(crate) is_spool_busy: bool,
    pub(crate) dumps_due: bool,
    /// Connections that resumed a session, for a planted bug.
    pub(crate) resumed: Vec<ConnId>,
}

impl World {
    pub(crate) fn start_process(&mut self) {
        self.boot += 1;
        let unix_s = self.now().unix_s;
        self.disk.open(unix_s);
        self.compare_ledger();
        let seq = self.disk.model.seq;
        note!(self, "start     number {}, ledger at {}", self.boot, seq.0);
        let spooled = self.disk.spool.iter().map(|(hash, raw)| {
            let found = FoundBlock::parse(raw).expect("a spooled block is whole");
            assert_eq!(
                found.hash, *hash,
                "the spooled block is the one of its name"
            );
            let (fields, ..) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
            let block = Unanswered::Spooled(Box::new(found), fields.prev_block);
            (*hash, block)
        });
        let unanswered = spooled.collect();
        let users = BTreeMap::from([(KNOWN_USER.to_owned(), stored("x"))]);
        self.process = Some(Process {
            pool: None,
            actions: Actions::default(),
            unanswered,
            tip: None,
            template: None,
            transactions: None,
            no_template: None,
            node_mail: VecDeque::new(),
            net_mail: VecDeque::new(),
            work_mail: VecDeque::new(),
            is_turn_due: false,
            next_tick_ms: self.now_ms,
            credits: Vec::new(),
            last: seq,
            ledger: LedgerState::Open,
            is_listening: true,
            users,
            store: Store::new(self.now()),
            spool: VecDeque::new(),
            spool_owed: Vec::new(),
            is_spool_busy: false,
            dumps_due: false,
            resumed: Vec::new(),
        });
        self.start_pool();
        self.start_node();
        self.wake_dumps();
        self.after(0, What::StoreWake(self.boot, 0));
        self.want_turn(0);
    }

    /// A new pool that knows what the last one knew and what is durable.
    pub(crate) fn start_pool(&mut self) {
        let random = (self.rngs.server.u64(..), self.rngs.server.u64(..));
        let now = self.now();
        let config = PoolConfig {
            boot: Boot {
                prefix: now.unix_s << 16 | random.0 & 0xffff,
                nonce: random.1,
                secret: [7; 32],
            },
            network: self.plan.network,
            auth: Auth::Open,
            admin_password: None,
            dynamic: self.plan.dynamic,
            hints_max: 64,
            public_host: None,
            public_port: 3008,
        };
        let process = self.process.as_mut().expect("a process");
        let users = process.users.clone();
        process.pool = Some(Pool::new(config, users, process.last, now));
        process.is_listening = true;
        self.bans.clear();
        let state = process.ledger;
        let blocks: Vec<_> = process
            .unanswered
            .values()
            .map(Unanswered::offer_again)
            .collect();
        let (tip, template) = (process.tip.take(), process.template.take());
        let (transactions, no_template) = (process.transactions.take(), process.no_template.take());
        self.handle(Event::Ledger(state));
        for (found, prev) in blocks {
            let hash = found.hash;
            self.handle(Event::Spooled(Box::new(found)));
            self.offer(hash, prev);
        }
        if let Some((tip, height)) = tip {
            self.handle_node(NodeMail::Tip(tip, height));
        }
        if let Some(parts) = template {
            self.handle_node(NodeMail::Template(Box::new(parts)));
        }
        if let Some((template, bytes)) = transactions {
            self.handle_node(NodeMail::Transactions(template, bytes));
        }
        if let Some(reason) = no_template {
            self.handle_node(NodeMail::NoTemplate(reason));
        }
    }

    /// The driver is to look at its mail.
    pub(crate) fn want_turn(&mut self, delay_ms: u64) {
        let Some(process) = &mut self.process else {
            return;
        };
        if !std::mem::replace(&mut process.is_turn_due, true) {
            self.after(delay_ms, What::Turn(self.boot));
        }
    }

    pub(crate) fn node_says(&mut self, mail: NodeMail) {
        if let Some(process) = &mut self.process {
            process.node_mail.push_back(mail);
            self.want_turn_soon();
        }
    }

    pub(crate) fn work_says(&mut self, mail: WorkMail) {
        if let Some(process) = &mut self.process {
            process.work_mail.push_back(mail);
            self.want_turn_soon();
        }
    }

    /// Within the millisecond, mostly.
    pub(crate) fn want_turn_soon(&mut self) {
        let delay_ms = if happens(&mut self.rngs.server, self.faults.slow_turn) {
            self.inject("slow turn");
            between(&mut self.rngs.server, 5, 800)
        } else {
            0
        };
        self.want_turn(delay_ms);
    }

    /// As the driver's: the node's mail, the sockets, the other threads' mail, the clock.
    pub(crate) fn turn(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.is_turn_due = false;
        if process.pool.is_none() {
            return;
        }
        while let Some(mail) = self.pop(|process| &mut process.node_mail) {
            self.handle_node(mail);
        }
        while let Some(mail) = self.pop(|process| &mut process.net_mail) {
            self.handle_net(mail);
        }
        while let Some(mail) = self.pop(|process| &mut process.work_mail) {
            self.handle_work(mail);
        }
        let now_ms = self.now_ms;
        if self
            .alive()
            .is_some_and(|process| now_ms >= process.next_tick_ms)
        {
            self.handle(Event::Tick);
        }
        let Some(process) = self.alive() else { return };
        if now_ms >= process.next_tick_ms {
            process.next_tick_ms = now_ms + TICK_MS;
            // What comes earlier has a turn of its own.
            let boot = self.boot;
            self.after(TICK_MS, What::Turn(boot));
        }
        self.commit_credits();
        self.flush();
    }

    /// The process, unless it or its pool has just met its end.
    fn alive(&mut self) -> Option<&mut Process> {
        let is_doomed = self.doomed.is_some();
        self.process.as_mut().filter(|_| !is_doomed)
    }

    fn pop<T>(&mut self, queue: impl Fn(&mut Process) -> &mut VecDeque<T>) -> Option<T> {
        queue(self.alive()?).pop_front()
    }

    fn handle_node(&mut self, mail: NodeMail) {
        let Some(process) = self.alive() else { return };
        match mail {
            NodeMail::Tip(hash, height) => {
                process.tip = Some((hash, height));
                self.tell_tip(hash);
                self.handle(Event::Tip(hash));
                self.post(StoreMail::Chain(height));
            }
            NodeMail::Template(parts) => {
                let template = Template::new((*parts).clone()).expect("a right template");
                let tip = Height(template.height.0 - 1);
                process.template = Some(*parts);
                process.no_template = None;
                if process
                    .tip
                    .is_none_or(|(hash, _)| hash == template.prev_block)
                {
                    self.tell_template(template.prev_block);
                }
                self.post(StoreMail::Chain(tip));
                self.handle(Event::Template(Box::new(template)));
            }
            NodeMail::Transactions(template, bytes) => {
                process.transactions = Some((template, bytes.clone()));
                self.handle(Event::Transactions(template, bytes));
            }
            NodeMail::NoTemplate(reason) => {
                process.template = None;
                process.no_template = Some(reason.clone());
                self.handle(Event::NoTemplate(reason));
            }
            NodeMail::BlockResult(hash, verdict) => {
                if !matches!(verdict, Verdict::Unknown(_)) {
                    process.unanswered.remove(&hash);
                }
                self.handle(Event::BlockResult(hash, verdict));
            }
            NodeMail::Located(tip, places) => self.post(StoreMail::Located(tip, places)),
        }
    }

    fn handle_net(&mut self, mail: NetMail) {
        match mail {
            NetMail::Opened(conn) => {
                let Some(wire) = self.net.wires.get(&conn) else {
                    return;
                };
                let host = self.miners[wire.miner].plan.host;
                let arrival = Arrival {
                    address: [10, 0, 0, host].into(),
                    kind: ArrivalKind::Miner,
                    difficulty: Difficulty::new(DIFFICULTY).expect("a difficulty"),
                };
                self.handle(Event::Connected(conn, arrival));
            }
            NetMail::Bytes(conn, bytes) => {
                let Some(wire) = self.net.wires.get_mut(&conn) else {
                    return;
                };
                if wire.is_paused {
                    wire.inbox.push_back(bytes);
                } else if wire.server_open {
                    self.handle(Event::Received(conn, &bytes));
                }
            }
            NetMail::Gone(conn) => self.handle(Event::Closed(conn)),
        }
    }

    fn handle_work(&mut self, mail: WorkMail) {
        match mail {
            WorkMail::Durable(seq) => self.handle(Event::Durable(seq)),
            WorkMail::NotDurable(seq) => self.handle(Event::NotDurable(seq)),
            WorkMail::Ledger(state) => {
                if let Some(process) = &mut self.process {
                    process.ledger = state;
                }
                self.handle(Event::Ledger(state));
            }
            WorkMail::Checked(ticket, checked) => {
                self.handle(Event::PasswordChecked(ticket, checked));
            }
            WorkMail::Added(ticket, stored) => self.handle(Event::UserAdded(ticket, stored)),
        }
    }

    pub(crate) fn handle(&mut self, event: Event<'_>) {
        let now = self.now();
        let Some(process) = self.alive() else { return };
        let Some(pool) = &mut process.pool else {
            return;
        };
        let mut actions = std::mem::take(&mut process.actions);
        pool.handle(now, event, &mut actions);
        let is_block = |action: &Action| matches!(action, Action::SubmitBlock(_));
        let blocks = actions.list().iter().filter(|action| is_block(action));
        let leading = actions.list().iter().take_while(|action| is_block(action));
        assert_eq!(
            blocks.count(),
            leading.count(),
            "a found block leaves before anything else"
        );
        actions.drain(|action, bytes| self.perform_or_fail(action, bytes));
        if let Some(process) = &mut self.process {
            process.actions = actions;
        }
    }

    pub(crate) fn password_checked(&mut self, ticket: u64, checked: Password) {
        self.work_says(WorkMail::Checked(ticket, checked));
    }

    pub(crate) fn user_added(&mut self, ticket: u64, name: String, kept: Option<StoredPassword>) {
        if let (Some(process), Some(kept)) = (&mut self.process, &kept) {
            process.users.insert(name, kept.clone());
        }
        self.work_says(WorkMail::Added(ticket, kept));
    }

    /// The process or its pool comes to its end.
    pub(crate) fn meet(&mut self, doom: Doom) {
        match doom {
            Doom::PoolPanic => self.pool_panics(),
            Doom::Crash | Doom::PowerCut => self.crash(doom),
        }
    }

    fn pool_panics(&mut self) {
        self.inject("pool panic");
        note!(self, "pool      fails");
        self.commit_credits();
        let Some(process) = &mut self.process else {
            return;
        };
        process.pool = None;
        process.actions = Actions::default();
        process.net_mail.clear();
        process.resumed.clear();
        self.reset_all(true);
        self.after(RESTART_MS, What::NewPool(self.boot));
        self.want_turn(RESTART_MS + 1);
        self.trouble_until(self.now_ms + RESTART_MS);
    }
}

impl Unanswered {
    fn offer_again(&self) -> (FoundBlock, Hash) {
        match self {
            Self::Found(solution) => (FoundBlock::of(solution), solution.template.prev_block),
            Self::Spooled(found, prev) => (FoundBlock::clone(found), *prev),
        }
    }
}

/// What the clerk writes for a password here.
pub(crate) fn stored(password: &str) -> StoredPassword {
    StoredPassword::Argon2id(format!("$argon2id${password}"))
}
