//! The difficulty of a connection's next job: its start difficulty, the miner's requests, the limits of
//! the miner's software, the pool's minimum and vardiff, combined by one rule.

use crate::session::vardiff::{DifficultyChange, Vardiff};
use crate::units::Difficulty;

/// HandyMiner's process ends at 2^18; this is the last power of two below.
const HANDYMINER_MAX: f64 = 131_072.0;

/// The user agent with which a proxy passes on that a miner sends blocks only, which only its first
/// server can see.
pub(crate) const BLOCKS_AGENT: &str = "hstratum-blocks";

/// A difficulty that the miner requests with its password or a method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RequestedDifficulty {
    /// Start with this difficulty (`d=`, `mining.suggest_difficulty`); vardiff may change it.
    Start(Difficulty),
    /// Keep this difficulty (`fd=`).
    Fixed(Difficulty),
}

/// The difficulty of one connection and all that bounds it.
pub(crate) struct DifficultyPolicy {
    difficulty: Difficulty,
    /// The pool's minimum, which no request can undercut.
    floor: Difficulty,
    least: Option<Difficulty>,
    greatest: Option<Difficulty>,
    has_wish: bool,
    is_fixed: bool,
    sends_blocks: bool,
    vardiff: Option<Vardiff>,
}

impl DifficultyPolicy {
    /// Starts with the listener's difficulty, which follows the miner's hashrate if `dynamic`; never
    /// below `floor`.
    pub(crate) fn new(
        difficulty: Difficulty,
        floor: Difficulty,
        dynamic: Dynamic,
        now_ms: u64,
    ) -> Self {
        let mut difficulty_policy = Self {
            difficulty,
            floor: floor.on_grid_above(),
            least: None,
            greatest: None,
            has_wish: false,
            is_fixed: false,
            sends_blocks: false,
            vardiff: (dynamic == Dynamic::On).then(|| Vardiff::new(now_ms)),
        };
        difficulty_policy.set(difficulty);
        difficulty_policy
    }

    /// The difficulty of the next job, before it is capped at the network's.
    pub(crate) fn difficulty(&self) -> Difficulty {
        match self.sends_blocks {
            true => Difficulty::MAX,
            false => self.difficulty,
        }
    }

    /// The difficulty to remember for a miner that resumes the session.
    pub(crate) fn to_resume(&self) -> Difficulty {
        self.difficulty
    }

    /// The difficulty announced for a job of difficulty `assigned`. A HandyMiner that sends only blocks
    /// ignores the announcement, and must not see one that ends it.
    pub(crate) fn told(&self, assigned: Difficulty) -> Difficulty {
        let bound = self.greatest.filter(|greatest| *greatest < assigned);
        bound.filter(|_| self.sends_blocks).unwrap_or(assigned)
    }

    /// Limits the difficulty to the values that this agent survives. An agent without a name may be a
    /// HandyMiner in solo mode; HandyMiner-CLI in pool mode says `user agent/version`.
    pub(crate) fn bound_for(&mut self, agent: &str) {
        let names = ["", "user agent/version", BLOCKS_AGENT];
        if names.contains(&agent) || agent.starts_with("handyminer") {
            self.greatest = Difficulty::new(HANDYMINER_MAX);
            self.set(self.difficulty);
        }
    }

    /// Takes over the difficulty from before a session was resumed, unless the miner has requested one.
    pub(crate) fn hint(&mut self, difficulty: Difficulty) {
        if !self.has_wish {
            self.set(difficulty);
        }
    }

    /// Takes a request of the miner. After a fixed difficulty, requests for a start difficulty are
    /// ignored.
    pub(crate) fn request(&mut self, wish: RequestedDifficulty, now_ms: u64) {
        match wish {
            RequestedDifficulty::Start(difficulty) => {
                if self.is_fixed {
                    return;
                }
                self.set(difficulty);
                self.restart(now_ms);
            }
            RequestedDifficulty::Fixed(difficulty) => {
                self.set(difficulty);
                self.is_fixed = true;
                self.vardiff = None;
            }
        }
        self.has_wish = true;
    }

    /// Notes that the miner sends blocks only. Its jobs then have the network's difficulty, which caps
    /// every job's, so that a block is credited with the work it took; lesser shares are not accepted.
    pub(crate) fn mines_blocks(&mut self) {
        self.sends_blocks = true;
    }

    /// Notes that the miner has sent a share that is no block: its next jobs have a usual difficulty.
    pub(crate) fn mines_shares(&mut self, now_ms: u64) {
        self.sends_blocks = false;
        self.restart(now_ms);
    }

    /// True if the miner is known to send blocks only.
    pub(crate) fn sends_blocks(&self) -> bool {
        self.sends_blocks
    }

    /// Sets the minimum that the miner requests for itself.
    pub(crate) fn at_least(&mut self, least: Difficulty) {
        self.least = Some(least.on_grid_above());
        self.set(self.difficulty);
    }

    /// Restarts the estimate, because a job has gone out under another difficulty: shares of earlier jobs
    /// say nothing about it.
    pub(crate) fn restart(&mut self, now_ms: u64) {
        if let Some(vardiff) = &mut self.vardiff {
            *vardiff = Vardiff::new(now_ms);
        }
    }

    /// Counts an accepted share of the `announced` difficulty. [`Urgency::Now`] if that is far off.
    pub(crate) fn share(&mut self, announced: Difficulty, workers: usize, now_ms: u64) -> Urgency {
        let change = self
            .vardiff
            .as_mut()
            .and_then(|vardiff| vardiff.share(announced, workers, now_ms));
        self.take(change)
    }

    /// Lowers the difficulty if shares have been missing for too long. [`Urgency::Now`] if the announced
    /// one is far off.
    pub(crate) fn silence(
        &mut self,
        announced: Difficulty,
        workers: usize,
        now_ms: u64,
    ) -> Urgency {
        let change = self
            .vardiff
            .as_mut()
            .and_then(|vardiff| vardiff.silence(announced, workers, now_ms));
        self.take(change)
    }

    fn take(&mut self, change: Option<DifficultyChange>) -> Urgency {
        match change.filter(|_| !self.sends_blocks) {
            None => Urgency::Later,
            Some(DifficultyChange::Soon(difficulty)) => {
                self.set(difficulty);
                Urgency::Later
            }
            Some(DifficultyChange::Now(difficulty)) => {
                self.set(difficulty);
                Urgency::Now
            }
        }
    }

    /// The only place where the difficulty is set: on the grid, within the bounds; the pool's minimum
    /// wins over all others.
    fn set(&mut self, difficulty: Difficulty) {
        let difficulty = difficulty.on_grid();
        let greatest = self.greatest.filter(|greatest| *greatest < difficulty);
        let least = self.least.filter(|least| difficulty < *least);
        let difficulty = greatest.or(least).unwrap_or(difficulty);
        self.difficulty = if difficulty < self.floor {
            self.floor
        } else {
            difficulty
        };
    }
}

/// The setting for vardiff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    /// The difficulty follows the miner's hashrate.
    On,
    /// The difficulty stays as it started or was requested.
    Off,
}

/// The time at which a changed difficulty is sent: with the next job, or with a job of its own now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Later,
    Now,
}

/// Splits `d=` and `fd=` off the end of a password: the rest is the password, and the last request is
/// used.
pub(crate) fn split_password(password: &str) -> (&str, Option<RequestedDifficulty>) {
    let mut rest = password;
    let mut wish = None;
    loop {
        let (before, last) = rest.rsplit_once(',').unwrap_or(("", rest));
        let Some(found) = parse_requested_difficulty(last.trim()) else {
            return (rest, wish);
        };
        wish = wish.or(Some(found));
        rest = before;
    }
}

fn parse_requested_difficulty(text: &str) -> Option<RequestedDifficulty> {
    let (key, value) = text.split_once('=')?;
    let difficulty = Difficulty::new(value.parse().ok()?)?;
    match key {
        "d" => Some(RequestedDifficulty::Start(difficulty)),
        "fd" => Some(RequestedDifficulty::Fixed(difficulty)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difficulty(value: f64) -> Difficulty {
        Difficulty::new(value).unwrap()
    }

    fn difficulty_policy(dynamic: Dynamic) -> DifficultyPolicy {
        DifficultyPolicy::new(difficulty(8.0), difficulty(0.5), dynamic, 0)
    }

    #[test]
    fn wishes_are_taken_off_the_end_of_a_password() {
        for (text, password, wish) in [
            ("x", "x", None),
            (
                "x,d=512",
                "x",
                Some(RequestedDifficulty::Start(difficulty(512.0))),
            ),
            (
                "d=0.5",
                "",
                Some(RequestedDifficulty::Start(difficulty(0.5))),
            ),
            (
                "a,b,fd=16",
                "a,b",
                Some(RequestedDifficulty::Fixed(difficulty(16.0))),
            ),
            (
                "x,d=1,fd=2",
                "x",
                Some(RequestedDifficulty::Fixed(difficulty(2.0))),
            ),
            ("x,d=0", "x,d=0", None),
            ("x,d=inf", "x,d=inf", None),
            ("d=8,x", "d=8,x", None),
        ] {
            assert_eq!(split_password(text), (password, wish), "{text}");
        }
    }

    #[test]
    fn a_fixed_difficulty_stays() {
        let mut difficulty_policy = difficulty_policy(Dynamic::On);
        difficulty_policy.request(RequestedDifficulty::Fixed(difficulty(2.0)), 0);
        difficulty_policy.request(RequestedDifficulty::Start(difficulty(64.0)), 0);
        difficulty_policy.hint(difficulty(32.0));
        for n in 0..100 {
            assert_eq!(
                difficulty_policy.share(difficulty(2.0), 1, n),
                Urgency::Later
            );
        }
        assert_eq!(difficulty_policy.difficulty(), difficulty(2.0));
    }

    #[test]
    fn a_miner_may_ask_again_where_nothing_is_fixed() {
        for dynamic in [Dynamic::On, Dynamic::Off] {
            let mut difficulty_policy = difficulty_policy(dynamic);
            difficulty_policy.request(RequestedDifficulty::Start(difficulty(2.0)), 0);
            difficulty_policy.request(RequestedDifficulty::Start(difficulty(64.0)), 0);
            assert_eq!(
                difficulty_policy.difficulty(),
                difficulty(64.0),
                "{dynamic:?}"
            );
        }
    }

    #[test]
    fn no_handyminer_is_told_what_ends_it() {
        for (agent, told) in [
            ("handyminer/0.0.5", HANDYMINER_MAX),
            ("", HANDYMINER_MAX),
            ("user agent/version", HANDYMINER_MAX),
            ("icbtminer", 1_015_808.0),
        ] {
            let mut difficulty_policy = difficulty_policy(Dynamic::On);
            difficulty_policy.bound_for(agent);
            difficulty_policy.request(RequestedDifficulty::Start(difficulty(1e6)), 0);
            assert_eq!(
                difficulty_policy.difficulty(),
                difficulty(told),
                "{agent:?}"
            );
        }
    }

    #[test]
    fn who_sends_blocks_is_credited_for_blocks_and_told_what_it_survives() {
        let mut difficulty_policy = difficulty_policy(Dynamic::On);
        difficulty_policy.bound_for("");
        difficulty_policy.mines_blocks();
        // Requests, resumed difficulties and frequent shares change nothing.
        difficulty_policy.request(RequestedDifficulty::Fixed(difficulty(2.0)), 0);
        difficulty_policy.hint(difficulty(4.0));
        for n in 0..100 {
            let urgency = difficulty_policy.share(difficulty(700.0), 1, n);
            assert_eq!(urgency, Urgency::Later);
        }
        assert_eq!(difficulty_policy.difficulty(), Difficulty::MAX);
        assert_eq!(
            difficulty_policy.to_resume(),
            difficulty(2.0),
            "another may resume it"
        );
        let main = difficulty(7e8);
        assert_eq!(difficulty_policy.told(main), difficulty(HANDYMINER_MAX));
        assert_eq!(difficulty_policy.told(difficulty(700.0)), difficulty(700.0));
        difficulty_policy.mines_shares(100);
        assert_eq!(difficulty_policy.difficulty(), difficulty(2.0));
        assert_eq!(
            difficulty_policy.told(main),
            main,
            "what everybody is told is true"
        );
    }

    #[test]
    fn nothing_is_easier_than_the_floor_whoever_asks() {
        let tiny = difficulty(1e-300);
        let floor = difficulty(0.5);
        for wish in [
            RequestedDifficulty::Start(tiny),
            RequestedDifficulty::Fixed(tiny),
        ] {
            let mut difficulty_policy = difficulty_policy(Dynamic::On);
            difficulty_policy.request(wish, 0);
            assert_eq!(difficulty_policy.difficulty(), floor, "{wish:?}");
        }
        let mut difficulty_policy = difficulty_policy(Dynamic::On);
        difficulty_policy.at_least(tiny);
        difficulty_policy.hint(tiny);
        assert_eq!(
            difficulty_policy.difficulty(),
            floor,
            "a session that is resumed"
        );
        for round in 1..100 {
            difficulty_policy.silence(difficulty_policy.difficulty(), 1, round * 60_000);
        }
        assert_eq!(difficulty_policy.difficulty(), floor, "vardiff");
        let listener = DifficultyPolicy::new(tiny, difficulty(0.3), Dynamic::Off, 0);
        assert_eq!(
            listener.difficulty(),
            difficulty(0.3125),
            "on the grid, from above"
        );
        let mut handyminer = DifficultyPolicy::new(tiny, difficulty(1e6), Dynamic::Off, 0);
        handyminer.bound_for("handyminer");
        assert_eq!(handyminer.difficulty(), difficulty(1_015_808.0));
    }

    #[test]
    fn a_miner_gets_nothing_easier_than_it_takes() {
        let mut difficulty_policy = difficulty_policy(Dynamic::On);
        difficulty_policy.at_least(difficulty(16.0));
        assert_eq!(difficulty_policy.difficulty(), difficulty(16.0));
        difficulty_policy.hint(difficulty(1.0));
        assert_eq!(difficulty_policy.difficulty(), difficulty(16.0));
    }
}
