//! All miners and their connections: opens them, a thousand at a time, logs them in, opens lost
//! ones again, and tells what is said to the miners. When to submit is the mode's business.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use hstratum_core::wire::client::ClientFailure;

use crate::account_sums::Kinds;
use crate::limits::{OPENING_MAX, REOPEN_MAX, REOPEN_MIN};
use crate::links::Links;
use crate::miner::{SubmitAnswer, SwarmMiner, SwarmShare};

/// The treatment of a connection that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It stays so.
    Forgotten,
    /// It is opened again, with its session's id, until it works.
    Reopened,
}

/// Events for the mode, with the account that they concern.
pub(crate) enum CrowdEvent {
    /// A share was answered.
    Answered(SubmitAnswer),
    /// A share will never be.
    Unanswered(SwarmShare),
    /// A connection that had work has ended, and all of its shares have been told of.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CrowdSeat {
    /// To be opened; its time is in `due`.
    Empty,
    /// Without work yet.
    Opening,
    /// It has work.
    Working,
    /// Not to be opened again.
    Gone,
}

/// Miners and their connections; a miner is named by its seat.
pub(crate) struct SwarmCrowd {
    links: Links,
    pub(crate) miners: Vec<SwarmMiner>,
    seats: Vec<CrowdSeat>,
    /// Ends of each seat's connection before it had work, in a row.
    failures: Vec<u32>,
    lost: Lost,
    due: BTreeSet<(Instant, usize)>,
    /// Seats that failed to send: what they have received is still to be read.
    again: Vec<usize>,
    opening: usize,
    working: usize,
    /// Connections lost after they had work.
    pub(crate) losses: u64,
    /// Why connections ended.
    pub(crate) ends: Kinds,
}

impl SwarmCrowd {
    /// Miners that have not connected yet.
    pub(crate) fn new(links: Links, miners: Vec<SwarmMiner>, lost: Lost) -> Self {
        let now = Instant::now();
        Self {
            links,
            seats: vec![CrowdSeat::Empty; miners.len()],
            failures: vec![0; miners.len()],
            lost,
            due: (0..miners.len()).map(|seat| (now, seat)).collect(),
            miners,
            again: Vec::new(),
            opening: 0,
            working: 0,
            losses: 0,
            ends: Kinds::default(),
        }
    }

    /// Miners that have work.
    pub(crate) fn working(&self) -> usize {
        self.working
    }

    /// Connections that are open or being opened.
    pub(crate) fn open(&self) -> usize {
        self.working + self.opening
    }

    /// Tells if no connection is open and none will be.
    pub(crate) fn is_over(&self) -> bool {
        self.open() == 0 && self.due.is_empty()
    }

    /// Tells if nobody waits for work any more.
    pub(crate) fn is_gathered(&self) -> bool {
        self.opening == 0 && self.due.is_empty()
    }

    /// Waits for the server, at most so long; reads what came, and says who was concerned.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        seats: &mut Vec<usize>,
        mut tell: impl FnMut(usize, CrowdEvent),
    ) -> anyhow::Result<()> {
        self.open_due(&mut tell);
        seats.append(&mut self.again);
        let timeout = if seats.is_empty() {
            timeout.min(self.until_due())
        } else {
            Duration::ZERO
        };
        self.links.wait(timeout, seats)?;
        for &seat in seats.iter() {
            self.exchange(seat, &mut tell);
        }
        Ok(())
    }

    /// Has a miner put lines into its connection's buffer; they leave with [`Self::flush`]. `None`
    /// if the miner has no work.
    pub(crate) fn with<T>(
        &mut self,
        seat: usize,
        write: impl FnOnce(&mut SwarmMiner, &mut Vec<u8>) -> T,
    ) -> Option<T> {
        if self.seats[seat] != CrowdSeat::Working {
            return None;
        }
        let out = self.links.out(seat)?;
        Some(write(&mut self.miners[seat], out))
    }

    /// Sends what is in the buffer.
    pub(crate) fn flush(&mut self, seat: usize) {
        // Replies may have come before the end: the next turn reads them.
        if self.links.flush(seat).is_err() {
            self.again.push(seat);
        }
    }

    fn until_due(&self) -> Duration {
        if self.opening >= OPENING_MAX {
            return Duration::MAX;
        }
        self.due.first().map_or(Duration::MAX, |(at, _)| {
            at.saturating_duration_since(Instant::now())
        })
    }

    fn open_due(&mut self, tell: &mut impl FnMut(usize, CrowdEvent)) {
        let now = Instant::now();
        while self.opening < OPENING_MAX
            && let Some(&(at, seat)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            self.seats[seat] = CrowdSeat::Opening;
            self.opening += 1;
            let hello = self.miners[seat].connect();
            match self.links.open(seat) {
                Ok(()) => {
                    let out = self.links.out(seat).expect("just opened");
                    out.extend_from_slice(hello.as_bytes());
                }
                Err(error) => self.lose(seat, describe(&error), self.lost, tell),
            }
        }
    }

    fn exchange(&mut self, seat: usize, tell: &mut impl FnMut(usize, CrowdEvent)) {
        let miner = &mut self.miners[seat];
        let mut failed = None;
        let outcome = self
            .links
            .exchange(seat, |line| match miner.handle_line(line) {
                Ok(Some(answer)) => tell(miner.account, CrowdEvent::Answered(answer)),
                Ok(None) => {}
                Err(failure) => {
                    failed.get_or_insert(failure);
                }
            });
        if self.seats[seat] == CrowdSeat::Opening && miner.work().is_some() {
            self.seats[seat] = CrowdSeat::Working;
            self.failures[seat] = 0;
            self.opening -= 1;
            self.working += 1;
        }
        if let Some(failure) = failed {
            let lost = match failure {
                // No other connection will help.
                ClientFailure::AuthorizeRefused(_) => Lost::Forgotten,
                _ => self.lost,
            };
            self.lose(seat, failure.to_string(), lost, tell);
        } else if let Err(error) = outcome {
            self.lose(seat, describe(&error), self.lost, tell);
        }
    }

    fn lose(
        &mut self,
        seat: usize,
        cause: String,
        lost: Lost,
        tell: &mut impl FnMut(usize, CrowdEvent),
    ) {
        self.links.close(seat);
        self.ends.add(cause);
        let was = self.seats[seat];
        match was {
            CrowdSeat::Opening => self.opening -= 1,
            CrowdSeat::Working => {
                self.working -= 1;
                self.losses += 1;
            }
            CrowdSeat::Empty | CrowdSeat::Gone => return,
        }
        let account = self.miners[seat].account;
        for sent in self.miners[seat].disconnect() {
            tell(account, CrowdEvent::Unanswered(sent));
        }
        if was == CrowdSeat::Working {
            tell(account, CrowdEvent::Lost);
        }
        self.seats[seat] = match lost {
            Lost::Forgotten => CrowdSeat::Gone,
            Lost::Reopened => {
                let wait = REOPEN_MIN * 2_u32.saturating_pow(self.failures[seat]);
                self.failures[seat] = (self.failures[seat] + 1).min(16);
                self.due
                    .insert((Instant::now() + wait.min(REOPEN_MAX), seat));
                CrowdSeat::Empty
            }
        };
    }
}

/// The system's words, without its number.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}
