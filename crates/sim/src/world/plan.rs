//! The plan of a run, drawn from the seed before anything happens: the miners, their hashrates, and the
//! kinds and rates of faults.
//!
//! Each seed leaves out about half of the kinds of faults and draws a rate for each of the others, so
//! that rare combinations occur. Faults that occur by themselves have a mean time between them; the
//! others have a chance in each case.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::job::direct_payout::OperatorFee;
use hstratum_core::session::difficulty::Dynamic;

/// The behaviour of a miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinerKind {
    /// Follows the protocol and resumes its session.
    Honest,
    /// Like a Goldshell: section 4 of the protocol's notes.
    Goldshell,
    /// Like a HandyMiner in pool mode.
    Handy,
    /// Honest, but reads only a few bytes a second.
    Slow,
    /// Honest, but sends many shares twice.
    Doubler,
    /// Mines nothing, and adds users.
    Admin,
    /// Sends anything that is not honest.
    Hostile,
}

impl MinerKind {
    /// The name in the trace.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Goldshell => "gold",
            Self::Handy => "handy",
            Self::Slow => "slow",
            Self::Doubler => "double",
            Self::Admin => "admin",
            Self::Hostile => "enemy",
        }
    }
}

/// A miner of the plan.
#[derive(Debug, Clone)]
pub struct MinerPlan {
    /// The behaviour.
    pub kind: MinerKind,
    /// The user name on the wire.
    pub name: String,
    /// The account.
    pub account: String,
    /// Hashes per simulated second.
    pub hashrate: f64,
    /// Approximate round trip to the server, in milliseconds.
    pub latency_ms: u64,
    /// The last byte of its address.
    pub host: u8,
    /// The address that its blocks pay, if it is on the solo listener: its account.
    pub payee: Option<Address>,
}

impl MinerPlan {
    /// Recipient of the blocks of its listener.
    pub(crate) fn payout(&self) -> Payout {
        match self.payee {
            None => Payout::Operator,
            Some(_) => Payout::Solo,
        }
    }
}

/// Mean times between faults in milliseconds, or chances in each case. `None`: the fault does not occur.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The process is killed.
    pub crash_ms: Option<u64>,
    /// The machine loses power: everything not synced is lost, also of the node's chain.
    pub power_cut_ms: Option<u64>,
    /// The pool panics.
    pub pool_panic_ms: Option<u64>,
    /// The process is stopped and starts again.
    pub stop_ms: Option<u64>,
    /// The machine's clock is set.
    pub clock_step_ms: Option<u64>,
    /// The chain changes to another branch.
    pub reorganise_ms: Option<u64>,
    /// The node has no template for a while.
    pub no_template_ms: Option<u64>,
    /// The node loses its chain and downloads it again.
    pub lost_chain_ms: Option<u64>,
    /// The node sends many templates in a row.
    pub template_storm_ms: Option<u64>,
    /// A verdict takes seconds to minutes.
    pub slow_verdict: Option<f64>,
    /// The node refuses a block.
    pub refusal: Option<f64>,
    /// The node cannot judge a block.
    pub unknown_verdict: Option<f64>,
    /// A template takes seconds.
    pub slow_template: Option<f64>,
    /// The request for the positions of blocks is never answered.
    pub lost_locate: Option<f64>,
    /// A commit fails; it may still be on the disk.
    pub failed_commit: Option<f64>,
    /// The disk is full for a while.
    pub full_disk_ms: Option<u64>,
    /// Another process locks the ledger for a while.
    pub busy_ledger_ms: Option<u64>,
    /// Writes hang for seconds to minutes, as on a disk that is disconnected for a while.
    pub hung_disk_ms: Option<u64>,
    /// A commit takes seconds.
    pub slow_commit: Option<f64>,
    /// A file of the spool or a dump cannot be written.
    pub failed_file: Option<f64>,
    /// A connection is reset.
    pub cut_ms: Option<u64>,
    /// A connection dies without notice to the ends.
    pub half_open_ms: Option<u64>,
    /// A segment takes seconds.
    pub slow_segment: Option<f64>,
    /// Sent bytes arrive in pieces.
    pub split_segment: Option<f64>,
    /// The driver is not scheduled for a while.
    pub slow_turn: Option<f64>,
}

/// The plan of one run.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// Time at which the faults stop, in milliseconds.
    pub faulty_ms: u64,
    /// The network, which sets the maturity of blocks.
    pub network: Network,
    /// The setting for vardiff.
    pub dynamic: Dynamic,
    /// Hashes per block, on average.
    pub hashes_per_block: f64,
    /// Mean time between blocks of others, in milliseconds.
    pub block_ms: u64,
    /// The miners.
    pub miners: Vec<MinerPlan>,
    /// Shares that the pool may remember: few, so that the limit is reached.
    pub shares_remembered_max: usize,
    /// True if the server shares a secret with proxies.
    pub proxy_secret: bool,
    /// The operator's part of solo blocks.
    pub operator_fee: Arc<OperatorFee>,
    /// The faults.
    pub faults: Faults,
}

impl RunPlan {
    /// Draws the plan of a run of about `hours`.
    #[must_use]
    pub fn draw(rng: &mut Rng, hours: f64) -> Self {
        let network = [Network::Regtest, Network::Simnet, Network::Main][rng.usize(..3)];
        let block_ms = match network {
            Network::Main => between(rng, 15_000, 60_000),
            _ => between(rng, 30_000, 400_000),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let faulty_ms = (hours * 3_600_000.0 * (0.5 + rng.f64())) as u64;
        let mut plan = Self {
            faulty_ms,
            network,
            dynamic: if rng.bool() {
                Dynamic::On
            } else {
                Dynamic::Off
            },
            hashes_per_block: 10_f64.powf(2.3 + 1.4 * rng.f64()),
            block_ms,
            miners: draw_miners(rng),
            proxy_secret: false,
            operator_fee: Arc::default(),
            faults: Faults::draw(rng),
            shares_remembered_max: draw_remembered(rng),
        };
        plan.draw_solo(rng);
        plan
    }

    /// Draws the miners that are on the solo listener, and the operator's part. Several may have one address, and
    /// somebody may mine for it on the usual listener.
    fn draw_solo(&mut self, rng: &mut Rng) {
        let part = [0, 1, 10_000, 333_333][rng.usize(..4)];
        self.operator_fee = Arc::new(OperatorFee {
            part: FeePpm::new(part).expect("below one"),
            address: rng.bool().then(|| address(u8::MAX)),
        });
        let network = self.network;
        // The first works for the pool.
        let others = self.miners.iter_mut().enumerate().skip(1);
        for (n, miner) in others.filter(|(_, miner)| miner.kind != MinerKind::Admin) {
            let payee = address(rng.u8(1..4));
            let choice = rng.u8(..10);
            if choice < 4 {
                miner.account = payee.encode(network);
                miner.name = match rng.bool() {
                    true => miner.account.clone(),
                    false => format!("{}.rig{n}", miner.account),
                };
            }
            miner.payee = (choice < 3).then_some(payee);
        }
    }
}

/// An address that nobody has the key of.
fn address(number: u8) -> Address {
    Address::new(0, vec![number; 20]).expect("20 bytes are a hash of version 0")
}

/// Draws the count of shares to remember. Half of it must exceed the shares on their way to the pool.
pub(crate) fn draw_remembered(rng: &mut Rng) -> usize {
    usize::try_from(between(rng, 200, 4_000)).expect("a small number")
}

pub(crate) fn draw_miners(rng: &mut Rng) -> Vec<MinerPlan> {
    let mut miners = Vec::new();
    let count = rng.u8(3..12);
    for n in 0..count {
        let kind = match rng.u8(..20) {
            0..7 => MinerKind::Honest,
            7..11 => MinerKind::Goldshell,
            11..14 => MinerKind::Handy,
            14..16 => MinerKind::Doubler,
            16..17 => MinerKind::Slow,
            _ => MinerKind::Hostile,
        };
        // At least one miner that must be treated well.
        let kind = match n {
            0 => MinerKind::Honest,
            1 if rng.bool() => MinerKind::Admin,
            _ => kind,
        };
        let account = [
            "alice",
            "bob",
            "carol",
            "d\u{e4}ve",
            "'; DROP TABLE credit;--",
            "frank",
        ][rng.usize(..6)];
        let name = match rng.u8(..3) {
            0 => account.to_owned(),
            _ => format!("{account}.rig{n}"),
        };
        miners.push(MinerPlan {
            kind,
            name,
            account: account.to_owned(),
            hashrate: 0.05 * 10_f64.powf(1.3 * rng.f64()),
            latency_ms: between(rng, 1, 150),
            // Some miners of any kind share an address.
            host: if rng.u8(..3) == 0 { rng.u8(..=n) } else { n },
            payee: None,
        });
    }
    miners
}

impl Faults {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let calm = rng.u8(..10) == 0;
        let mut every = |least_ms: u64, most_ms: u64| {
            (rng.bool() && !calm).then(|| between(rng, least_ms, most_ms))
        };
        let (minute, hour) = (60_000, 3_600_000);
        let mut faults = Self {
            crash_ms: every(3 * minute, 2 * hour),
            power_cut_ms: every(10 * minute, 4 * hour),
            pool_panic_ms: every(5 * minute, 3 * hour),
            stop_ms: every(5 * minute, 2 * hour),
            clock_step_ms: every(5 * minute, 2 * hour),
            reorganise_ms: every(4 * minute, hour),
            no_template_ms: every(5 * minute, hour),
            template_storm_ms: every(5 * minute, hour),
            full_disk_ms: every(10 * minute, hour),
            busy_ledger_ms: every(5 * minute, hour),
            cut_ms: every(minute / 3, hour),
            half_open_ms: every(2 * minute, hour),
            lost_chain_ms: every(5 * minute, 2 * hour),
            hung_disk_ms: every(10 * minute, hour),
            ..Self::default()
        };
        let mut chance =
            |most: f64| (rng.bool() && !calm).then(|| most * 10_f64.powf(-2.0 * rng.f64()));
        faults.slow_verdict = chance(1.0);
        faults.refusal = chance(0.3);
        faults.unknown_verdict = chance(0.3);
        faults.slow_template = chance(0.5);
        faults.lost_locate = chance(0.5);
        faults.failed_commit = chance(0.2);
        faults.slow_commit = chance(0.1);
        faults.failed_file = chance(0.5);
        faults.slow_segment = chance(0.02);
        faults.split_segment = chance(0.5);
        faults.slow_turn = chance(0.02);
        faults
    }

    /// The same faults without one kind. Used to find the smallest set that still fails.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut faults = self.clone();
        for (known, leave_out) in LEAVE_OUT {
            if known == name {
                leave_out(&mut faults);
            }
        }
        faults
    }

    /// Names of the kinds that occur.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, _) in LEAVE_OUT {
            let shown = format!("{:?}", self.without(name));
            if shown != format!("{self:?}") {
                names.push(name);
            }
        }
        names
    }
}

/// Leaves out one kind of fault.
type OmitFault = fn(&mut Faults);

/// The function that leaves out each kind, by name.
const LEAVE_OUT: [(&str, OmitFault); 25] = [
    ("crash", |f| f.crash_ms = None),
    ("power cut", |f| f.power_cut_ms = None),
    ("pool panic", |f| f.pool_panic_ms = None),
    ("stop", |f| f.stop_ms = None),
    ("clock step", |f| f.clock_step_ms = None),
    ("reorganisation", |f| f.reorganise_ms = None),
    ("lost chain", |f| f.lost_chain_ms = None),
    ("no template", |f| f.no_template_ms = None),
    ("template storm", |f| f.template_storm_ms = None),
    ("slow verdict", |f| f.slow_verdict = None),
    ("refusal", |f| f.refusal = None),
    ("unknown verdict", |f| f.unknown_verdict = None),
    ("slow template", |f| f.slow_template = None),
    ("lost locate", |f| f.lost_locate = None),
    ("failed commit", |f| f.failed_commit = None),
    ("full disk", |f| f.full_disk_ms = None),
    ("busy ledger", |f| f.busy_ledger_ms = None),
    ("hung disk", |f| f.hung_disk_ms = None),
    ("slow commit", |f| f.slow_commit = None),
    ("failed file", |f| f.failed_file = None),
    ("cut", |f| f.cut_ms = None),
    ("half-open", |f| f.half_open_ms = None),
    ("slow segment", |f| f.slow_segment = None),
    ("split segment", |f| f.split_segment = None),
    ("slow turn", |f| f.slow_turn = None),
];

/// Counts of injected faults, by name.
pub type Injected = BTreeMap<&'static str, u64>;

/// A random number between the two, evenly spread over the orders of magnitude.
pub(crate) fn between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    let (low, high) = (least.max(1) as f64, most.max(1) as f64);
    (low * (high / low).powf(rng.f64())) as u64
}

/// A random time until the next event of a kind that occurs every `mean_ms` on average.
pub(crate) fn wait(rng: &mut Rng, mean_ms: f64) -> u64 {
    let drawn = -(1.0 - rng.f64()).ln() * mean_ms;
    (drawn as u64).max(1)
}

/// True with this chance.
pub(crate) fn happens(rng: &mut Rng, chance: Option<f64>) -> bool {
    chance.is_some_and(|chance| rng.f64() < chance)
}
