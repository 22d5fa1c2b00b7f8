//! The server's process: the real driver between queues instead of sockets and threads; and its ends, by
//! a failure of the pool, an orderly stop or a crash.

pub(crate) mod connections;
pub(crate) mod driver_output;
pub(crate) mod net;
pub(crate) mod sim_io;
pub(crate) mod store_thread;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use hstratum::driver::{Driver, NewConfig, PanicPayload};
use hstratum::files::recovered_state::{RecoveredState, Unanswered};
use hstratum::messages::{self, WorkerEvent};
use hstratum_core::accounts::Auth;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::template::Template;
use hstratum_core::event::{Arrival, ArrivalKind, Password};
use hstratum_core::job::Boot;
use hstratum_core::operator_order::NotWritten;
use hstratum_core::pool::Pool;
use hstratum_core::pool::config::PoolConfig;
use hstratum_core::units::{ConnId, Difficulty, Hash};

use crate::miner::admin::{ADMIN_PASSWORD, PendingUser};
use crate::server::net::ConnPeer;
use crate::server::sim_io::{DriverChannels, SimHost, SimIo, Simulated, SocketInput};
use crate::server::store_thread::{SpoolTask, StoreThread};
use crate::world::disk::SpooledBlock;
use crate::world::injected_bug::InjectedBug;
use crate::world::plan::{between, happens};
use crate::world::worker_stats::WorkerStatsCheck;
use crate::world::{Doom, SimNodeMail, World, WorldEvent, note};

/// The same values as in the server.
const TICK_MS: u64 = 250;
const RESTART_MS: u64 = 50;
const FINISH_MS: u64 = 3_000;
/// Start difficulty: one hash in four is a share.
const DIFFICULTY: f64 = 4.0 / 4_294_967_296.0;
/// Minimum difficulty: one hash in two is a share.
pub(crate) const DIFFICULTY_MIN: f64 = DIFFICULTY / 2.0;
/// A user with an argon2id password, which only the slow check can judge.
pub(crate) const KNOWN_USER: &str = "frank";

/// Events on connections since the last turn.
pub(crate) enum ConnEvent {
    Opened(ConnId),
    Bytes(ConnId, Vec<u8>),
    Gone(ConnId),
}

/// The process, with its driver, pool and threads.
pub(crate) struct ServerProcess {
    pub(crate) driver: Driver<SimIo>,
    /// `None` between a failure and the new pool.
    pub(crate) pool: Option<Pool>,
    pub(crate) ends: DriverChannels,
    pub(crate) sim_host: Arc<SimHost>,
    pub(crate) tip: Option<Hash>,
    pub(crate) node_mail: VecDeque<SimNodeMail>,
    pub(crate) net_mail: VecDeque<ConnEvent>,
    pub(crate) work_mail: VecDeque<WorkerEvent>,
    pub(crate) is_turn_due: bool,
    pub(crate) next_tick_ms: u64,
    pub(crate) is_listening: bool,
    pub(crate) store: StoreThread,
    pub(crate) spool: VecDeque<SpoolTask>,
    pub(crate) spool_owed: Vec<(Hash, SpooledBlock)>,
    pub(crate) is_spool_busy: bool,
    pub(crate) dumps_due: bool,
    /// Connections that resumed a session, for an injected bug.
    pub(crate) resumed: Vec<ConnId>,
    /// Set by an orderly stop; the driver sends on it when it has stopped.
    pub(crate) stopping: Option<Receiver<()>>,
    /// Time at which its threads are no longer waited for.
    pub(crate) closes_ms: Option<u64>,
    /// Counts of recorded shares and of those on the disk, when it started.
    pub(crate) sums: (u64, u64),
    /// True once the ledger has given shares up.
    pub(crate) gave_up: bool,
    /// Users that are being written.
    pub(crate) adding: VecDeque<PendingUser>,
}

impl World {
    pub(crate) fn start_process(&mut self) {
        self.boot += 1;
        let now = self.now();
        self.disk.open(now.unix_s);
        self.settle_oracle();
        self.compare_ledger();
        let sums = self.oracle.sums();
        let seq = self.disk.ledger_model.seq;
        note!(self, "start     number {}, ledger at {}", self.boot, seq.0);
        let recovered = RecoveredState {
            users: self
                .disk
                .users
                .clone()
                .into_iter()
                .collect::<HashMap<_, _>>(),
            bans: Vec::new(),
            unanswered: self.disk.spool.iter().map(unanswered).collect(),
            durable: seq,
            highest: match self.injected_bug {
                Some(InjectedBug::JobWithoutEvidence) => None,
                _ => self.disk.ledger_model.highest.map(|tip| tip.height),
            },
        };
        let (ends, inbox, senders) = DriverChannels::new();
        let sim_host = Arc::new(SimHost::default());
        let ports = SimIo::new(now, sim_host.clone());
        let config = self.pool_config();
        let driver = Driver::new(ports, inbox, sim_host.clone(), senders, config, recovered);
        self.process = Some(ServerProcess {
            driver,
            pool: None,
            ends,
            sim_host,
            tip: None,
            node_mail: VecDeque::new(),
            net_mail: VecDeque::new(),
            work_mail: VecDeque::new(),
            is_turn_due: false,
            next_tick_ms: self.now_ms,
            is_listening: true,
            store: StoreThread::new(now),
            spool: VecDeque::new(),
            spool_owed: Vec::new(),
            is_spool_busy: false,
            dumps_due: false,
            resumed: Vec::new(),
            stopping: None,
            closes_ms: None,
            sums,
            gave_up: false,
            adding: VecDeque::new(),
        });
        self.expect_drill();
        self.start_pool();
        self.start_node();
        self.wake_dumps();
        self.after(0, WorldEvent::StoreWake(self.boot, 0));
        self.want_turn(0);
    }

    fn pool_config(&mut self) -> NewConfig {
        let mut rng = self.rngs.server.fork();
        let (network, dynamic) = (self.plan.network, self.plan.dynamic);
        let floor = match self.injected_bug {
            Some(InjectedBug::FloorIgnored) => f64::MIN_POSITIVE,
            _ => DIFFICULTY_MIN,
        };
        let difficulty_min = Difficulty::new(floor).expect("a difficulty");
        let shares_remembered_max = self.plan.shares_remembered_max;
        let secret = self.plan.proxy_secret.then(secret);
        let operator_fee = self.plan.operator_fee.clone();
        Box::new(move |unix_s| PoolConfig {
            boot: Boot {
                prefix: unix_s << 16 | u64::from(rng.u16(..)),
                nonce: rng.u64(..),
                secret: [7; 32],
            },
            network,
            auth: Auth::Open,
            admin_password: Some(ADMIN_PASSWORD.to_owned()),
            difficulty_min,
            dynamic,
            hints_max: 64,
            shares_remembered_max,
            public_host: None,
            public_port: 3008,
            proxy_secret: secret.clone(),
            operator_fee: operator_fee.clone(),
        })
    }

    /// Starts a pool that knows what the last one knew and what is durable.
    pub(crate) fn start_pool(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            // The process has ended since its pool failed.
            return;
        };
        process.driver.net.now = now;
        process.pool = Some(process.driver.start_pool());
        self.bans.clear();
        self.worker_stats = WorkerStatsCheck::default();
        self.carry_out(Offers::Again);
    }

    /// Schedules a turn of the driver.
    pub(crate) fn want_turn(&mut self, delay_ms: u64) {
        let Some(process) = &mut self.process else {
            return;
        };
        if !std::mem::replace(&mut process.is_turn_due, true) {
            self.after(delay_ms, WorldEvent::Turn(self.boot));
        }
    }

    pub(crate) fn node_says(&mut self, mail: SimNodeMail) {
        if let Some(process) = &mut self.process {
            process.node_mail.push_back(mail);
            self.want_turn_soon();
        }
    }

    pub(crate) fn work_says(&mut self, mail: WorkerEvent) {
        if let Some(process) = &mut self.process {
            process.work_mail.push_back(mail);
            self.want_turn_soon();
        }
    }

    /// Schedules a turn, usually in this millisecond.
    pub(crate) fn want_turn_soon(&mut self) {
        let delay_ms = if happens(&mut self.rngs.server, self.faults.slow_turn) {
            self.inject("slow turn");
            between(&mut self.rngs.server, 5, 800)
        } else {
            0
        };
        self.want_turn(delay_ms);
    }

    /// Gives the driver a turn, with all messages that have come.
    pub(crate) fn turn(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        process.is_turn_due = false;
        if process.stopping.is_some() {
            return self.go_on_ending();
        }
        let Some(mut pool) = process.pool.take() else {
            return;
        };
        self.hand_over();
        let process = self.process.as_mut().expect("it was just there");
        process.driver.net.now = now;
        let turn = catch_unwind(AssertUnwindSafe(|| process.driver.turn(&mut pool)));
        match turn {
            Ok(()) => process.pool = Some(pool),
            Err(failure) => return self.fail_pool(failure),
        }
        if now.ms >= process.next_tick_ms {
            process.next_tick_ms = now.ms + TICK_MS;
            // Messages that come earlier cause a turn of their own.
            self.after(TICK_MS, WorldEvent::Turn(self.boot));
        }
        self.carry_out(Offers::First);
        let process = self.process.as_ref().expect("it was just there");
        if !process.driver.net.reads.is_empty() {
            self.want_turn(0);
        }
    }

    /// Moves received messages to the queues that the driver reads.
    fn hand_over(&mut self) {
        let process = self.process.as_mut().expect("a process");
        let net_mail = std::mem::take(&mut process.net_mail);
        for mail in net_mail {
            let (conn, read) = match mail {
                ConnEvent::Opened(conn) => {
                    let Some(wire) = self.net.wires.get(&conn) else {
                        continue;
                    };
                    let (address, kind, payout) = match wire.peer {
                        ConnPeer::Miner(at) => {
                            let plan = &self.miners[at].plan;
                            let address = [10, 0, 0, plan.host].into();
                            let payout = match self.injected_bug {
                                Some(InjectedBug::ForgottenPayout) => Payout::Operator,
                                _ => plan.payout(),
                            };
                            (address, ArrivalKind::Miner, payout)
                        }
                        ConnPeer::Proxy(_, Some(address)) => {
                            (address, ArrivalKind::Miner, Payout::Operator)
                        }
                        ConnPeer::Proxy(_, None) => {
                            let address = [10, 0, 1, 0].into();
                            (address, ArrivalKind::Proxy, Payout::Operator)
                        }
                    };
                    let arrival = Arrival {
                        address,
                        kind,
                        difficulty: Difficulty::new(DIFFICULTY).expect("a difficulty"),
                        payout,
                    };
                    (conn, SocketInput::Opened(arrival))
                }
                ConnEvent::Bytes(conn, bytes) => (conn, SocketInput::Bytes(bytes)),
                ConnEvent::Gone(conn) => (conn, SocketInput::Gone),
            };
            process.driver.net.reads.push_back((conn, read));
        }
        let process = self.process.as_mut().expect("it was just there");
        for mail in process.work_mail.drain(..) {
            process.ends.work.send(mail).expect("the driver reads it");
        }
        let node_mail = std::mem::take(&mut process.node_mail);
        for mail in node_mail {
            let mail = self.hear(mail);
            let process = self.process.as_ref().expect("it was just there");
            process.ends.node.send(mail).expect("the driver reads it");
        }
    }

    /// Records a message of the node, to compare it with what miners get, and hands it to the driver.
    fn hear(&mut self, mail: SimNodeMail) -> messages::NodeEvent {
        let process = self.process.as_mut().expect("a process");
        match mail {
            SimNodeMail::Tip(hash, height) => {
                process.tip = Some(hash);
                self.tell_tip(hash);
                messages::NodeEvent::Tip(hash, height)
            }
            SimNodeMail::Template(parts) => {
                let template = Template::new((*parts).clone()).expect("a right template");
                if process.tip.is_none_or(|tip| tip == template.prev_block) {
                    self.tell_template(template.prev_block);
                }
                messages::NodeEvent::Template(parts)
            }
            SimNodeMail::Transactions(template, bytes) => {
                messages::NodeEvent::Transactions(template, bytes)
            }
            SimNodeMail::NoTemplate(reason) => messages::NodeEvent::NoTemplate(reason),
            SimNodeMail::BlockResult(hash, verdict) => {
                self.put_off_drill(&verdict);
                messages::NodeEvent::BlockResult(hash, verdict)
            }
            SimNodeMail::Located(look) => messages::NodeEvent::Located(look),
            SimNodeMail::Drilled(outcome) => {
                self.end_drill(&outcome);
                messages::NodeEvent::Drilled(outcome)
            }
        }
    }

    pub(crate) fn password_checked(&mut self, ticket: u64, checked: Password) {
        self.work_says(WorkerEvent::PasswordChecked(ticket, checked));
    }

    pub(crate) fn user_added(
        &mut self,
        ticket: u64,
        name: String,
        kept: Result<StoredPassword, NotWritten>,
    ) {
        self.work_says(WorkerEvent::UserAdded(ticket, name, kept));
    }

    /// Ends the process or its pool.
    pub(crate) fn meet(&mut self, doom: Doom) {
        match doom {
            Doom::PoolPanic => self.fail_pool(Box::new(Simulated)),
            Doom::Crash | Doom::PowerCut => self.crash(doom),
        }
    }

    /// Handles a failure of the pool that was injected; any other failure is a bug and is passed on.
    fn fail_pool(&mut self, failure: PanicPayload) {
        if !failure.is::<Simulated>() {
            resume_unwind(failure);
        }
        self.inject("pool panic");
        note!(self, "pool      fails");
        let Some(process) = &mut self.process else {
            return;
        };
        process.pool = None;
        process.driver.clear_up(failure);
        process.resumed.clear();
        process.net_mail.clear();
        self.carry_out(Offers::First);
        self.after(RESTART_MS, WorldEvent::NewPool(self.boot));
        self.want_turn(RESTART_MS + 1);
        self.trouble_until(self.now_ms + RESTART_MS);
    }

    /// Stops the process, as a signal does.
    pub(crate) fn stop(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(mut pool) = process.pool.take() else {
            return;
        };
        let (done, stopped) = channel();
        process.stopping = Some(stopped);
        self.inject("stop");
        note!(self, "process   stops");
        let process = self.process.as_mut().expect("it was just there");
        let close = messages::NodeEvent::Close(done);
        process.ends.node.send(close).expect("the driver reads it");
        process.driver.turn(&mut pool);
        assert!(process.driver.is_closing());
        process.driver.begin_end();
        process.pool = Some(pool);
        self.carry_out(Offers::First);
        self.go_on_ending();
        self.after(FINISH_MS, WorldEvent::Finish(self.boot));
    }

    /// Continues an orderly stop: the last replies are sent as the ledger settles shares.
    fn go_on_ending(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(mut pool) = process.pool.take() else {
            return;
        };
        process.driver.net.now.ms = self.now_ms;
        while !process.driver.is_settled()
            && let Some(mail) = process.work_mail.pop_front()
        {
            process.driver.finish_with(&mut pool, mail);
        }
        let is_settled = process.driver.is_settled();
        process.pool = Some(pool);
        self.carry_out(Offers::First);
        if is_settled {
            self.finish();
        }
    }
}

/// A block of the spool, as a new process reads it.
fn unanswered((hash, block): (&Hash, &SpooledBlock)) -> (Hash, Unanswered) {
    let SpooledBlock { payout, raw } = block;
    let found = FoundBlock::parse(raw, *payout).expect("a spooled block is whole");
    assert_eq!(
        found.hash, *hash,
        "the spooled block is the one of its name"
    );
    (*hash, Unanswered::Spooled(Box::new(found), raw.clone()))
}

/// Tells offers of found blocks that are made for the first time from repeated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offers {
    First,
    Again,
}

/// The secret shared by servers and proxies.
pub(crate) fn secret() -> ProxySecret {
    ProxySecret::new("between servers and proxies").expect("long enough")
}

/// The stored form of a password in the simulator.
pub(crate) fn stored(password: &str) -> StoredPassword {
    StoredPassword::Argon2id(format!("$argon2id${password}"))
}
