//! BlockRaces of found blocks: the times from a solution to the block's announcement, to the first peer that
//! asked for it, and to the first sight of another block of its height, and those of the steps from the share
//! to that peer. They tell a slow node from bad luck where a block is lost. Kept in memory for the last blocks
//! of this server only.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hstratum_core::plural::counted;
use hstratum_core::units::{Hash, Height};
use parking_lot::Mutex;

use crate::limits::{RACES_MAX, RACES_SEEN_MAX};
use crate::telemetry::histogram::{Histogram, ms, steps_text};

/// The steps from a share to the first peer that asks for its block, in order: the pool checks it; the node's
/// thread takes the solution; the block is announced; a peer asks.
pub(crate) const BLOCK_STEPS: [&str; 4] = ["check", "offer", "announce", "request"];

/// The race of one block. Times are milliseconds after its solution was checked; negative ones before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct BlockRace {
    /// The block was announced to peers.
    pub announced_ms: Option<f64>,
    /// Number of peers that it was announced to.
    pub peers: u32,
    /// The first peer asked for it.
    pub asked_ms: Option<f64>,
    /// Peers that had asked for it a second after its announcement; `None` before that.
    pub asked_within_1s: Option<u32>,
    /// The first other block of that height that the node had.
    pub rival: Option<(Hash, f64)>,
}

/// Measurements of all races since the start.
#[derive(Clone, Copy, Default)]
pub(crate) struct BlockRaceTotals {
    /// Times from the solution to the announcement.
    pub announced: Histogram,
    /// Times from the solution to the first peer that asked.
    pub asked: Histogram,
    /// Times from the reading of a share to the first peer that asked.
    pub whole: Histogram,
    /// Times of each of [`BLOCK_STEPS`].
    pub steps: [Histogram; BLOCK_STEPS.len()],
    /// Blocks that had a rival.
    pub rivals: u64,
    /// Of the last block: peers it was announced to, and those that had asked a second later.
    pub last: Option<(u32, u32)>,
}

struct Own {
    hash: Hash,
    height: Height,
    solved: Instant,
    race: BlockRace,
    /// Times at the end of each of [`BLOCK_STEPS`] that has been, after the one at which the share was read.
    at: Vec<Instant>,
}

/// The races of the last blocks. Its methods never wait for longer than a look at them.
#[derive(Default)]
pub(crate) struct BlockRaces(Mutex<State>);

#[derive(Default)]
struct State {
    own: VecDeque<Own>,
    /// The last blocks that the node had, whoever found them, and when.
    seen: VecDeque<(Height, Hash, Instant)>,
    totals: BlockRaceTotals,
}

impl BlockRaces {
    /// Records that a block of ours was found now, by a share that was read at `read`.
    pub(crate) fn found(&self, hash: Hash, height: Height, read: Option<Instant>) {
        let solved = Instant::now();
        let mut state = self.0.lock();
        let earlier = state
            .seen
            .iter()
            .find(|(at_height, seen, _)| *at_height == height && *seen != hash);
        let rival = earlier.map(|(_, rival, at)| (*rival, ms_between(solved, *at)));
        state.totals.rivals += u64::from(rival.is_some());
        if state.own.len() == RACES_MAX {
            state.own.pop_front();
        }
        let mut own = Own {
            hash,
            height,
            solved,
            race: BlockRace {
                rival,
                ..BlockRace::default()
            },
            at: vec![read.unwrap_or(solved)],
        };
        own.step(solved, &mut state.totals);
        state.own.push_back(own);
    }

    /// Records that a block was announced now, to this many peers, and that the node's thread had taken it this
    /// long ago.
    pub(crate) fn announced(&self, hash: &Hash, peers: u32, ago: Duration) {
        let mut state = self.0.lock();
        let State { own, totals, .. } = &mut *state;
        if let Some(own) = find(own, hash)
            && own.race.announced_ms.is_none()
        {
            let now = Instant::now();
            let took = now - own.solved;
            own.race.announced_ms = Some(ms(took));
            own.race.peers = peers;
            totals.announced.observe(took, 1);
            let taken = now.checked_sub(ago).unwrap_or(own.solved);
            own.step(taken.max(own.solved), totals);
            own.step(now, totals);
        }
    }

    /// Records that a first peer asks for a block now.
    pub(crate) fn asked(&self, hash: &Hash) {
        let mut state = self.0.lock();
        let State { own, totals, .. } = &mut *state;
        if let Some(own) = find(own, hash)
            && own.race.asked_ms.is_none()
        {
            let now = Instant::now();
            let took = now - own.solved;
            own.race.asked_ms = Some(ms(took));
            totals.asked.observe(took, 1);
            if own.race.announced_ms.is_some() {
                totals.whole.observe(now - own.at[0], 1);
                own.step(now, totals);
            }
        }
    }

    /// Records how many peers had asked for a block a second after its announcement, or that it is not
    /// announced. Returns the race in a line for the log.
    pub(crate) fn spread(&self, hash: &Hash, peers: u32) -> Option<String> {
        let mut state = self.0.lock();
        let State { own, totals, .. } = &mut *state;
        let own = find(own, hash)?;
        if own.race.announced_ms.is_some() {
            own.race.asked_within_1s = Some(peers);
            totals.last = Some((own.race.peers, peers));
        }
        Some(own.line())
    }

    /// Records a block that the node has. Returns a line for the log if it is the first rival of a block
    /// whose race was told already, or is on.
    pub(crate) fn seen(&self, hash: Hash, height: Height) -> Option<String> {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.seen.len() == RACES_SEEN_MAX {
            state.seen.pop_front();
        }
        state.seen.push_back((height, hash, now));
        let State { own, totals, .. } = &mut *state;
        let is_open =
            |own: &&mut Own| own.height == height && own.hash != hash && own.race.rival.is_none();
        let mut text = None;
        for own in own.iter_mut().filter(|own| is_open(own)) {
            own.race.rival = Some((hash, ms_between(own.solved, now)));
            totals.rivals += 1;
            text = Some(own.line());
        }
        text
    }

    /// The race of a block, by the hash in hex.
    pub(crate) fn of(&self, hash: &str) -> Option<BlockRace> {
        let hash = Hash::from_hex(hash)?;
        find(&mut self.0.lock().own, &hash).map(|own| own.race)
    }

    pub(crate) fn totals(&self) -> BlockRaceTotals {
        self.0.lock().totals
    }
}

impl Own {
    /// Records the time at which the next step has ended.
    fn step(&mut self, at: Instant, totals: &mut BlockRaceTotals) {
        let step = self.at.len() - 1;
        totals.steps[step].observe(at - self.at[step], 1);
        self.at.push(at);
    }

    /// The race in one line for the log.
    fn line(&self) -> String {
        let race = &self.race;
        let announced = match race.announced_ms {
            Some(at) => format!(
                "announced to {} after {at:.1} ms",
                counted(race.peers, "peer")
            ),
            None => "not announced".to_owned(),
        };
        let asked = match race.asked_ms {
            Some(at) => format!("first asked for after {at:.1} ms"),
            None => "asked for by no peer".to_owned(),
        };
        let spread = race
            .asked_within_1s
            .filter(|peers| *peers > 0)
            .map(|peers| format!(", by {peers} within 1 s"));
        let rival = match race.rival {
            Some((rival, at)) if at < 0.0 => {
                format!("a rival was seen {:.1} ms before it: {rival}", -at)
            }
            Some((rival, at)) => format!("a rival was seen {at:.1} ms after it: {rival}"),
            None => "no rival seen".to_owned(),
        };
        format!(
            "block race: {} {}: {announced}, {asked}{}, {rival} ({})",
            self.height.0,
            self.hash,
            spread.unwrap_or_default(),
            steps_text(&BLOCK_STEPS, &self.at)
        )
    }
}

fn find<'a>(own: &'a mut VecDeque<Own>, hash: &Hash) -> Option<&'a mut Own> {
    own.iter_mut().rev().find(|own| own.hash == *hash)
}

/// Milliseconds from one time to another, negative if that is earlier.
fn ms_between(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => ms(after),
        None => -ms(from - to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Hash = Hash([1; 32]);
    const RIVAL: Hash = Hash([2; 32]);

    fn race(races: &BlockRaces) -> BlockRace {
        races.of(&OURS.to_string()).expect("it is ours")
    }

    #[test]
    fn a_race_has_its_times_in_order_and_is_told_in_a_line() {
        let races = BlockRaces::default();
        races.seen(Hash([9; 32]), Height(6));
        races.found(OURS, Height(7), Some(Instant::now()));
        // The node has not taken it before it was found.
        races.announced(&OURS, 3, Duration::from_secs(9));
        races.announced(&OURS, 4, Duration::ZERO);
        races.asked(&OURS);
        races.asked(&OURS);
        // Our own block on the chain, and one of another height, are no rivals.
        assert_eq!(races.seen(OURS, Height(7)), None);
        assert_eq!(races.seen(RIVAL, Height(8)), None);
        let line = races.spread(&OURS, 2).expect("a line");
        assert!(
            line.starts_with(&format!(
                "block race: 7 {OURS}: announced to 3 peers after "
            )),
            "{line}"
        );
        assert!(
            line.contains(" ms, by 2 within 1 s, no rival seen (check "),
            "{line}"
        );
        assert!(line.contains(", offer 0.00, announce "), "{line}");
        let one = race(&races);
        assert!(one.announced_ms <= one.asked_ms && one.announced_ms >= Some(0.0));
        let line = races.seen(RIVAL, Height(7)).expect("a rival");
        assert!(line.contains(" a rival was seen "), "{line}");
        assert!(
            race(&races)
                .rival
                .is_some_and(|(rival, at)| rival == RIVAL && at >= 0.0)
        );
        // The first one counts.
        assert_eq!(races.seen(Hash([3; 32]), Height(7)), None);
        let totals = races.totals();
        assert_eq!((totals.announced.count, totals.asked.count), (1, 1));
        assert_eq!((totals.rivals, totals.last), (1, Some((3, 2))));
        assert_eq!(
            (totals.whole.count, totals.steps.map(|step| step.count)),
            (1, [1; 4])
        );
        let sum_s: f64 = totals.steps.iter().map(|step| step.sum_s).sum();
        assert!((sum_s - totals.whole.sum_s).abs() < 1e-9);
    }

    #[test]
    fn a_rival_that_the_node_had_before_is_seen_before() {
        let races = BlockRaces::default();
        races.seen(RIVAL, Height(7));
        races.found(OURS, Height(7), None);
        assert!(
            race(&races)
                .rival
                .is_some_and(|(rival, at)| rival == RIVAL && at <= 0.0)
        );
    }

    #[test]
    fn blocks_of_others_have_no_race_and_old_ones_are_forgotten() {
        let races = BlockRaces::default();
        races.announced(&RIVAL, 1, Duration::ZERO);
        assert_eq!(races.spread(&RIVAL, 1), None);
        races.found(OURS, Height(1), None);
        for i in 0..RACES_MAX {
            let mut hash = [7; 32];
            hash[..8].copy_from_slice(&i.to_be_bytes());
            races.found(Hash(hash), Height(2), None);
            races.seen(Hash(hash), Height(3));
        }
        assert_eq!(races.of(&OURS.to_string()), None);
        let state = races.0.lock();
        assert_eq!(
            (state.own.len(), state.seen.len()),
            (RACES_MAX, RACES_SEEN_MAX)
        );
    }
}
