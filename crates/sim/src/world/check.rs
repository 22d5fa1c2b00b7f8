//! Checks over all miners and the whole ledger: no honest miner is left without work, everything recovers
//! after the faults, and the ledger matches the book.

use std::collections::BTreeSet;

use hstratum_core::accounting::ledger::BlockState;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::limits::BAN_MS;
use hstratum_core::units::{Hash, Height};

use crate::world::oracle::{BlockPlace, OracleBlock};
use crate::world::plan::MinerKind;
use crate::world::{ChainIs, World, WorldEvent, note};

/// Longest time for which an honest miner on a good connection may be without current work.
const STARVED_MS: u64 = 40_000;
/// Longest time for which it may be without a connection.
const REFUSED_MS: u64 = 150_000;
/// Time within which a found block must reach the node.
const OFFERED_MS: u64 = 1_000;
/// Tips and templates that are remembered.
const TOLD_MAX: usize = 256;

impl World {
    pub(crate) fn tell_tip(&mut self, tip: Hash) {
        if self.told.back().map(|(_, last)| *last) != Some(tip) {
            self.told.push_back((self.now_ms, tip));
        }
        if self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
    }

    pub(crate) fn tell_template(&mut self, prev: Hash) {
        self.tell_tip(prev);
        self.job_on = Some((self.now_ms, prev));
        self.templates_told.push_back(self.now_ms);
        if self.templates_told.len() > TOLD_MAX {
            self.templates_told.pop_front();
        }
    }

    /// Records a block that the pool has found; false if it is known.
    pub(crate) fn find_block(&mut self, hash: Hash, prev: Hash) -> bool {
        let found = OracleBlock {
            prev,
            at_ms: self.now_ms,
            boot: self.boot,
            reached_node: false,
            was_spooled: false,
            was_recorded: false,
            verdict: None,
        };
        self.oracle.blocks.insert(hash, found).is_none()
    }

    /// Compares the ledger, read back, with what was committed, and checks that it has everything
    /// acknowledged.
    pub(crate) fn compare_ledger(&mut self) {
        let rows = self.disk.ledger_model.blocks.values();
        let cuts = rows.filter(|row| row.state != BlockState::Refused);
        let merged_into = self.disk.merged_into();
        let cuts = cuts.map(|row| row.height);
        let cuts: Vec<Height> = cuts
            .filter(|height| merged_into(*height) == *height)
            .collect();
        self.oracle.compare(&self.disk.read_credit(), &cuts);
        self.oracle.check_acknowledged();
        self.disk.check_blocks();
        self.check_users();
    }

    /// Checks that no honest miner is left without work or connection, and that blocks reach the node.
    pub(crate) fn survey(&mut self) {
        let process = self.process.as_ref();
        let tip = self.told.back().map(|(_, tip)| *tip);
        let has_job = self.job_on.is_some_and(|(_, prev)| Some(prev) == tip);
        let is_up = process.is_some_and(|process| process.is_listening) && has_job;
        if is_up {
            self.check_drill();
        } else {
            self.trouble_until(self.now_ms);
        }
        for (hash, found) in &self.oracle.blocks {
            let since_ms = found.at_ms.max(self.thawed_ms);
            let is_late = found.boot == self.boot && since_ms + OFFERED_MS < self.now_ms;
            assert!(
                found.reached_node || !is_late || self.process.is_none(),
                "a found block was not offered to the node: {hash}"
            );
        }
        let told_ms = self.job_on.map_or(0, |(at_ms, _)| at_ms);
        for at in 0..self.miners.len() {
            self.check_miner(at, tip, told_ms);
        }
        self.after(5_000, WorldEvent::Survey);
    }

    fn check_miner(&self, at: usize, tip: Option<Hash>, told_ms: u64) {
        let miner = &self.miners[at];
        let is_other = matches!(
            miner.kind(),
            MinerKind::Slow | MinerKind::Admin | MinerKind::Hostile
        );
        if is_other || self.is_banned(at) {
            return;
        }
        let calm_ms = self.now_ms.saturating_sub(self.trouble_ms);
        let since_ms = self.now_ms - miner.since_ms;
        let Some(conn) = miner.conn else {
            let is_shut_out = calm_ms.min(since_ms) > REFUSED_MS;
            assert!(!is_shut_out, "miner {at} cannot connect: {:?}", miner.plan);
            return;
        };
        let Some(wire) = self.net.wires.get(&conn) else {
            return;
        };
        if wire.is_dead || !wire.server_open || wire.boot != self.boot {
            return;
        }
        let quiet_ms = calm_ms.min(since_ms).min(self.now_ms - told_ms);
        let has_work = miner
            .job()
            .is_some_and(|job| Some(job.read.prev_block) == tip);
        assert!(
            has_work || quiet_ms < STARVED_MS,
            "miner {at} has no current work for {quiet_ms} ms: {:?}, job {:?}",
            miner.plan,
            miner
                .jobs
                .back()
                .map(|job| (&job.read.id, job.read.prev_block))
        );
    }

    /// Checks a ban: an address must not be banned while somebody mines from it.
    pub(crate) fn hear_of_ban(&mut self, text: &str) {
        let host = text.strip_prefix("refusing 10.0.0.");
        let Some(host) = host.and_then(|rest| rest.split_once(' ')?.0.parse::<u8>().ok()) else {
            return;
        };
        self.inject("ban");
        for miner in &self.miners {
            let wire = miner.conn.and_then(|conn| self.net.wires.get(&conn));
            let is_here = wire.is_some_and(|wire| wire.server_open && wire.boot == self.boot);
            assert!(
                miner.plan.host != host || !miner.has_credit || !is_here,
                "an address where somebody mines was banned: {:?}",
                miner.plan
            );
        }
        self.bans.insert(host, self.now_ms + BAN_MS);
    }

    /// True if a miner's new connections are refused because of a neighbour at its address.
    fn is_banned(&self, at: usize) -> bool {
        let until_ms = self.bans.get(&self.miners[at].plan.host);
        until_ms.is_some_and(|until_ms| self.now_ms < *until_ms + REFUSED_MS)
    }

    /// Checks, a while after the last fault, that every miner works on the tip.
    pub(crate) fn check_recovered(&self) {
        let process = self.process.as_ref().expect("the process runs");
        assert!(process.is_listening, "it takes connections");
        let tip = self.told.back().map(|(_, tip)| *tip);
        for (at, miner) in self.miners.iter().enumerate() {
            // A miner may be between two connections, or its last job on the way.
            let is_fresh = self.now_ms - miner.since_ms < 10_000;
            let told_ms = self.told.back().map_or(0, |(at_ms, _)| *at_ms);
            let is_told = self.now_ms - told_ms < 5_000;
            let is_other = matches!(miner.kind(), MinerKind::Admin | MinerKind::Hostile);
            if is_other || is_fresh || is_told {
                continue;
            }
            let has_work = miner
                .job()
                .is_some_and(|job| Some(job.read.prev_block) == tip);
            assert!(
                has_work,
                "miner {at} has no work after all healed: {:?}",
                miner.plan
            );
        }
    }

    /// Makes the final checks, when everything is settled.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
        note!(self, "end");
        self.compare_ledger();
        self.check_floor();
        if self.chain_is == ChainIs::Own {
            // Miners behind a proxy are not counted in the statistics.
            self.worker_stats.check();
        }
        assert!(self.disk.spool.is_empty(), "blocks are left in the spool");
        let mut rounds = BTreeSet::new();
        for hash in self.oracle.blocks.keys() {
            let Some(row) = self.disk.ledger_model.blocks.get(hash) else {
                let is_excused = self.oracle.lost_with_process.contains(hash);
                assert!(is_excused, "a found block is in no ledger: {hash}");
                continue;
            };
            let place = self.place_of(hash);
            match self.oracle.fate(hash, place) {
                Some(state) => assert_eq!(row.state, state, "{hash} is {place:?}"),
                None => assert!(
                    matches!(row.state, BlockState::Refused | BlockState::Orphaned),
                    "{hash} is {:?} and nobody has it",
                    row.state
                ),
            }
            assert!(row.closings <= 1, "a round was closed twice by {hash}");
            let payout = self.solo.payout(hash);
            assert_eq!(row.payout, payout, "recipient of {hash} in the ledger");
            let closes = row.round_from.is_some();
            assert!(
                payout == Payout::Operator || !closes,
                "a round was ended by a solo block: {hash}"
            );
            let is_dumped = self.disk.dumps.contains_key(hash);
            assert_eq!(is_dumped, closes, "the dump of {hash}");
            assert_eq!(
                row.is_dumped, is_dumped,
                "the ledger knows of the dump of {hash}"
            );
            if row.state.is_on_main() {
                assert!(rounds.insert(row.height), "two blocks at {}", row.height.0);
            }
        }
        self.check_payouts();
        if self.injected.keys().all(|name| *name == "crash") {
            self.oracle.check_mostly_complete();
        }
    }

    fn place_of(&self, hash: &Hash) -> BlockPlace {
        let Some(height) = self.chain.height_of(hash).filter(|_| self.chain.has(hash)) else {
            return BlockPlace::Nowhere;
        };
        if !self.chain.is_main(hash) {
            return BlockPlace::Side;
        }
        let depth = self.chain.tip_height().0 + 1 - height.0;
        if depth >= self.plan.network.coinbase_maturity() {
            BlockPlace::Mature
        } else {
            BlockPlace::Main
        }
    }
}
