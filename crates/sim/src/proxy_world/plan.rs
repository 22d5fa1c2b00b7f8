//! The plan of a run with a proxy, drawn from the seed: the servers, the miners, and the faults of each
//! part. As in `crate::world::plan`, about half of the kinds of faults are left out.

use std::sync::Arc;

use fastrand::Rng;
use hstratum_core::chain::address::Network;
use hstratum_core::session::difficulty::Dynamic;

use crate::world::plan::{
    Faults, MinerKind, MinerPlan, RunPlan, between, draw_miners, draw_remembered,
};

/// Time between the ends of the servers' faults, because each server is killed once more at that time.
const HEAL_APART_MS: u64 = 70_000;

/// Mean times between faults in milliseconds, or chances in each case. `None`: the fault does not occur.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxyFaults {
    /// A server's process is suspended for a while.
    pub(crate) hang_ms: Option<u64>,
    /// All servers' processes are suspended at once.
    pub(crate) outage_ms: Option<u64>,
    /// A server's name gets another address, and the old one stops answering; open connections stay.
    pub(crate) move_ms: Option<u64>,
    /// A server's node learns of no blocks for a while.
    pub(crate) isolate_ms: Option<u64>,
    /// The operator drains a server, and ends the drain later.
    pub(crate) drain_ms: Option<u64>,
    /// A stranger resumes a miner's session at a server where the miner is not: session ids are no
    /// secret.
    pub(crate) squat_ms: Option<u64>,
    /// The proxy hands over to a new process.
    pub(crate) hand_over_ms: Option<u64>,
    /// The proxy panics, and starts again.
    pub(crate) proxy_panic_ms: Option<u64>,
    /// A miner's connection is reset.
    pub(crate) miner_cut_ms: Option<u64>,
    /// A miner's connection dies without notice to the ends.
    pub(crate) miner_half_open_ms: Option<u64>,
    /// Bytes from a miner or from the proxy to it take seconds.
    pub(crate) miner_slow_segment: Option<f64>,
    /// They arrive in pieces.
    pub(crate) miner_split_segment: Option<f64>,
    /// The proxy is not scheduled for a while.
    pub(crate) proxy_slow_turn: Option<f64>,
}

/// The plan of one run.
#[derive(Debug, Clone)]
pub(crate) struct ProxyWorldPlan {
    pub(crate) servers: Vec<RunPlan>,
    pub(crate) miners: Vec<MinerPlan>,
    /// True for the miners that understand `mining.set_extranonce`.
    pub(crate) takes_extra_nonces: Vec<bool>,
    /// True if the proxy shares a secret with the servers.
    pub(crate) has_secret: bool,
    /// True if servers are told the miners' addresses.
    pub(crate) tells_addresses: bool,
    pub(crate) faulty_ms: u64,
    pub(crate) block_ms: u64,
    pub(crate) faults: ProxyFaults,
}

impl ProxyWorldPlan {
    pub(crate) fn draw(rng: &mut Rng, hours: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let faulty_ms = (hours * 3_600_000.0 * (0.5 + rng.f64())) as u64;
        let has_secret = rng.bool();
        let server = RunPlan {
            faulty_ms,
            network: [Network::Regtest, Network::Simnet][rng.usize(..2)],
            dynamic: [Dynamic::On, Dynamic::Off][rng.usize(..2)],
            hashes_per_block: 10_f64.powf(2.3 + 1.4 * rng.f64()),
            block_ms: u64::MAX,
            miners: Vec::new(),
            shares_remembered_max: draw_remembered(rng),
            proxy_secret: has_secret,
            operator_fee: Arc::default(),
            faults: Faults::default(),
        };
        let count = rng.u64(2..4);
        let servers = (0..count).map(|n| RunPlan {
            faulty_ms: faulty_ms + n * HEAL_APART_MS,
            faults: Faults {
                // All nodes share the chain and the time.
                reorganise_ms: None,
                lost_chain_ms: None,
                clock_step_ms: None,
                ..Faults::draw(rng)
            },
            ..server.clone()
        });
        let servers = servers.collect();
        let mut miners = draw_miners(rng);
        for miner in &mut miners {
            if matches!(miner.kind, MinerKind::Slow | MinerKind::Admin) {
                miner.kind = MinerKind::Honest;
            }
        }
        let takes_extra_nonces = miners.iter().map(|miner| {
            // Only kinds of miners are chosen of which such a client may exist.
            matches!(miner.kind, MinerKind::Honest | MinerKind::Doubler) && rng.bool()
        });
        Self {
            servers,
            takes_extra_nonces: takes_extra_nonces.collect(),
            miners,
            has_secret,
            tells_addresses: rng.bool(),
            faulty_ms,
            block_ms: between(rng, 15_000, 300_000),
            faults: ProxyFaults::draw(rng),
        }
    }

    /// Leaves out one kind of fault, in every part.
    pub(crate) fn leave_out(&mut self, name: &str) {
        for server in &mut self.servers {
            server.faults = server.faults.without(name);
        }
        for (known, leave_out) in LEAVE_OUT {
            if known == name {
                leave_out(&mut self.faults);
            }
        }
    }

    /// Names of the kinds of faults that occur.
    pub(crate) fn fault_names(&self) -> Vec<&'static str> {
        let servers = self.servers.iter();
        let mut names: Vec<_> = servers.flat_map(|server| server.faults.names()).collect();
        names.sort_unstable();
        names.dedup();
        for (name, leave_out) in LEAVE_OUT {
            let mut without = self.faults.clone();
            leave_out(&mut without);
            if format!("{without:?}") != format!("{:?}", self.faults) {
                names.push(name);
            }
        }
        names
    }
}

impl ProxyFaults {
    fn draw(rng: &mut Rng) -> Self {
        let calm = rng.u8(..10) == 0;
        let mut every = |least_ms: u64, most_ms: u64| {
            (rng.bool() && !calm).then(|| between(rng, least_ms, most_ms))
        };
        let (minute, hour) = (60_000, 3_600_000);
        let mut faults = Self {
            hang_ms: every(2 * minute, hour),
            outage_ms: every(10 * minute, 2 * hour),
            move_ms: every(3 * minute, hour),
            isolate_ms: every(3 * minute, hour),
            drain_ms: every(2 * minute, hour),
            squat_ms: every(minute, hour),
            hand_over_ms: every(minute, hour),
            proxy_panic_ms: every(5 * minute, 2 * hour),
            miner_cut_ms: every(minute / 2, hour),
            miner_half_open_ms: every(2 * minute, hour),
            ..Self::default()
        };
        let mut chance =
            |most: f64| (rng.bool() && !calm).then(|| most * 10_f64.powf(-2.0 * rng.f64()));
        faults.miner_slow_segment = chance(0.02);
        faults.miner_split_segment = chance(0.5);
        faults.proxy_slow_turn = chance(0.002);
        faults
    }
}

/// Leaves out one kind of fault.
type OmitProxyFault = fn(&mut ProxyFaults);

/// The function that leaves out each kind, by name.
const LEAVE_OUT: [(&str, OmitProxyFault); 13] = [
    ("hang", |f| f.hang_ms = None),
    ("outage", |f| f.outage_ms = None),
    ("name moves", |f| f.move_ms = None),
    ("isolated node", |f| f.isolate_ms = None),
    ("drain", |f| f.drain_ms = None),
    ("squatter", |f| f.squat_ms = None),
    ("hand-over", |f| f.hand_over_ms = None),
    ("proxy panic", |f| f.proxy_panic_ms = None),
    ("miner cut", |f| f.miner_cut_ms = None),
    ("miner half-open", |f| f.miner_half_open_ms = None),
    ("miner slow segment", |f| f.miner_slow_segment = None),
    ("miner split segment", |f| f.miner_split_segment = None),
    ("proxy slow turn", |f| f.proxy_slow_turn = None),
];
