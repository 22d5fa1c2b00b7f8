//! The open round (the shares since the pool's last block), cached as last read. A caller waits for a quick
//! reading, and never for a ledger that hangs.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::ledger_tools::{OpenRound, open_round};
use crate::limits::{HTTP_GATHER, ROUND_LOOK, ROUND_REST};
use crate::sql::location::LedgerLocation;

/// Reader of the open round; without a ledger it is empty.
#[derive(Clone)]
pub struct RoundReader(Option<Arc<OpenRoundInner>>);

struct OpenRoundInner {
    location: LedgerLocation,
    state: Mutex<OpenRoundState>,
    read: Condvar,
}

#[derive(Default)]
struct OpenRoundState {
    /// Time since which a reading is under way.
    reading_since: Option<Instant>,
    /// Time of the last reading, its duration, and its result.
    last: Option<(Instant, Duration, OpenRound)>,
    failing: Option<String>,
    /// Time at which `failing` was found.
    failed_at: Option<Instant>,
}

/// The open round as last read.
#[derive(Debug, Default)]
pub struct RoundKnown {
    /// `None` if there is no ledger, or it could not be read yet.
    pub round: Option<OpenRound>,
    /// Seconds since it was read.
    pub age_s: u64,
    /// Reason why it is not newer.
    pub failing: Option<String>,
}

impl RoundReader {
    pub(crate) fn new(ledger: Option<LedgerLocation>) -> Self {
        Self(ledger.map(|location| {
            Arc::new(OpenRoundInner {
                location,
                state: Mutex::default(),
                read: Condvar::new(),
            })
        }))
    }

    /// Returns the cached round; if that is old, a new reading begins and is awaited for [`ROUND_LOOK`] at
    /// most.
    pub fn look(&self) -> RoundKnown {
        let Some(inside) = &self.0 else {
            return RoundKnown::default();
        };
        let mut state = inside.state.lock();
        if !state.is_fresh() {
            if state.reading_since.is_none() && inside.begin() {
                state.reading_since = Some(Instant::now());
            }
            // A reading that hangs is awaited only for the rest of that time, counted from its start.
            let since = state.reading_since.unwrap_or_else(Instant::now);
            let patience = ROUND_LOOK.saturating_sub(since.elapsed());
            inside
                .read
                .wait_while_for(&mut state, |state| state.reading_since.is_some(), patience);
        }
        state.known()
    }
}

impl OpenRoundState {
    /// True if no new reading is due. A failed reading is not repeated at once either.
    fn is_fresh(&self) -> bool {
        let rest = |took: Duration| took * ROUND_REST;
        let last = self.last.as_ref();
        last.is_some_and(|(at, took, _)| at.elapsed() < rest(*took))
            || self.failed_at.is_some_and(|at| at.elapsed() < ROUND_LOOK)
    }

    fn known(&self) -> RoundKnown {
        let hangs = || "the ledger does not answer".to_owned();
        RoundKnown {
            round: self.last.as_ref().map(|(_, _, round)| round.clone()),
            age_s: self
                .last
                .as_ref()
                .map_or(0, |(at, ..)| at.elapsed().as_secs()),
            failing: match self.reading_since {
                Some(_) => Some(self.failing.clone().unwrap_or_else(hangs)),
                None => self.failing.clone(),
            },
        }
    }
}

impl OpenRoundInner {
    /// Starts a reading thread; returns false if that fails.
    fn begin(self: &Arc<Self>) -> bool {
        let inside = self.clone();
        let thread = thread::Builder::new().name("hstratum-round".to_owned());
        let begun = thread.spawn(move || {
            let (begun, done) = (Instant::now(), inside.read());
            let mut state = inside.state.lock();
            state.reading_since = None;
            match done {
                Ok(round) => {
                    state.last = Some((Instant::now(), begun.elapsed(), round));
                    (state.failing, state.failed_at) = (None, None);
                }
                Err(error) => {
                    state.failing = Some(format!("failed to read the round: {error:#}"));
                    state.failed_at = Some(Instant::now());
                }
            }
            drop(state);
            inside.read.notify_all();
        });
        begun.is_ok()
    }

    fn read(&self) -> anyhow::Result<OpenRound> {
        let mut db = self.location.open_for_a_look(HTTP_GATHER)?;
        Ok(db.read(open_round)?)
    }
}
