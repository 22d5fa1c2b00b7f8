//! Detects a fall of the pool's hashrate: the last ten minutes against the half hour before them.
//!
//! Shares come by chance, so a fall must also exceed three standard deviations of a steady pool's
//! variation.

use std::collections::VecDeque;

use crate::accounting::ledger::{ShareTotals, Tallied};
use crate::alarm::kind::{Alarm, AlarmKind, Detail};
use crate::units::HASHES_PER_DIFFICULTY;

const MINUTE_MS: u64 = 60_000;
/// Minutes whose hashrate is judged.
const RECENT: usize = 10;
/// Most minutes before them that they are compared with; at least [`RECENT`] are needed.
const BEFORE: usize = 30;
const DEVIATIONS: f64 = 3.0;
/// Time after which a fall is forgotten; the lower hashrate is then the usual one.
const FALL_MS: u64 = 60 * MINUTE_MS;

/// The accepted work of each of the last minutes.
pub(crate) struct HashrateDrop {
    drop_percent: u8,
    minutes: VecDeque<Minute>,
    minute: Minute,
    minute_ends_ms: u64,
    fallen: Option<OngoingDrop>,
}

/// Work accepted in one minute.
#[derive(Default, Clone, Copy)]
struct Minute {
    work: ShareTotals,
    /// Sum of the squared difficulties, taking the shares of one worker in one report as equal.
    squares: f64,
}

struct OngoingDrop {
    /// Difficulty per minute before the fall.
    before: f64,
    at_ms: u64,
}

impl HashrateDrop {
    pub(crate) fn new(drop_percent: u8) -> Self {
        Self {
            drop_percent,
            minutes: VecDeque::new(),
            minute: Minute::default(),
            minute_ends_ms: MINUTE_MS,
            fallen: None,
        }
    }

    /// Counts accepted shares.
    pub(crate) fn add(&mut self, tallied: &[Tallied]) {
        for one in tallied {
            let accepted = &one.tally.accepted;
            self.minute.work.add(accepted);
            if accepted.count > 0 {
                self.minute.squares += accepted.difficulty.powi(2) / accepted.count as f64;
            }
        }
    }

    /// Judges each minute that has ended.
    pub(crate) fn check(&mut self, now_ms: u64, out: &mut Vec<Alarm>) {
        while now_ms >= self.minute_ends_ms {
            self.minute_ends_ms += MINUTE_MS;
            self.minutes.push_back(std::mem::take(&mut self.minute));
            if self.minutes.len() > RECENT + BEFORE {
                self.minutes.pop_front();
            }
            if self.drop_percent > 0 {
                self.judge(now_ms, out);
            }
        }
    }

    fn judge(&mut self, now_ms: u64, out: &mut Vec<Alarm>) {
        if self.minutes.len() < 2 * RECENT {
            return;
        }
        let old = self.minutes.len() - RECENT;
        let (shares, before) = mean(self.minutes.range(..old));
        let (_, now) = mean(self.minutes.range(old..));
        let lost = f64::from(self.drop_percent) / 100.0;
        match &self.fallen {
            Some(fallen) if now >= fallen.before * (1.0 - lost / 2.0) => {
                out.push(alarm(AlarmKind::HashrateBack, now, fallen.before));
                self.fallen = None;
            }
            Some(fallen) if now_ms - fallen.at_ms >= FALL_MS => self.fallen = None,
            Some(_) => {}
            None => {
                // The counts of both periods vary by their square roots.
                let noise = (1.0 / (shares * RECENT as f64) + 1.0 / (shares * old as f64)).sqrt();
                let is_fall =
                    now < before * (1.0 - lost) && now < before * (1.0 - DEVIATIONS * noise);
                if is_fall {
                    out.push(alarm(AlarmKind::HashrateDrop, now, before));
                    self.fallen = Some(OngoingDrop {
                        before,
                        at_ms: now_ms,
                    });
                }
            }
        }
    }
}

/// Effective shares and difficulty per minute. The effective shares are the number of equal shares that
/// would vary as much as these: one very hard share among them, such as a block of a miner that sends
/// nothing else, then counts for little.
fn mean<'a>(minutes: impl ExactSizeIterator<Item = &'a Minute>) -> (f64, f64) {
    let length = minutes.len() as f64;
    let (mut work, mut squares) = (0.0, 0.0);
    for minute in minutes {
        work += minute.work.difficulty;
        squares += minute.squares;
    }
    let shares = if squares > 0.0 {
        work * (work / squares)
    } else {
        0.0
    };
    (shares / length, work / length)
}

fn alarm(kind: AlarmKind, now: f64, before: f64) -> Alarm {
    let hashrate = |difficulty: f64| difficulty * HASHES_PER_DIFFICULTY / 60.0;
    let (now, before) = (hashrate(now), hashrate(before));
    let percent = if before > 0.0 {
        100.0 * now / before
    } else {
        0.0
    };
    let text = match kind {
        AlarmKind::HashrateBack => format!(
            "The hashrate is back at {}, {percent:.0} % of what it was",
            in_units(now)
        ),
        _ => format!(
            "The hashrate of the last ten minutes is {}, {percent:.0} % of the {} before",
            in_units(now),
            in_units(before)
        ),
    };
    Alarm {
        kind,
        text,
        detail: Detail::Hashrate { now, before },
    }
}

/// The hashrate with a unit prefix.
pub fn in_units(hashrate: f64) -> String {
    let units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
    let mut value = hashrate;
    let mut at = 0;
    while value >= 1000.0 && at + 1 < units.len() {
        value /= 1000.0;
        at += 1;
    }
    format!("{value:.1} {}", units[at])
}
