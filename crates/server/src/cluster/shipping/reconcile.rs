//! Decides what to do with a file's batches, given those in the shared ledger: ship the next ones, ship some
//! again, or begin a new origin.
//!
//! A digest covers a batch and all before it, so two ledgers that agree on one batch agree on all before it.
//! Three events make the shared ledger differ from "everything up to the last batch shipped": the answer to a
//! commit was lost; the shared ledger went back to an earlier state (a failover, a backup); the file did.

use crate::store::outbox::{Digest, RunId};

/// Digest of a batch, and the run that gathered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub digest: Digest,
    pub run_id: RunId,
}

/// The file's record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileBatch {
    pub digest: Digest,
    /// It is so old that the shared ledger may have deleted its record.
    pub is_old: bool,
}

/// State of one origin on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Sequence number of the file's last batch.
    pub ours: i64,
    /// Sequence number of the shared ledger's last batch.
    pub theirs: i64,
    /// The last batch that is the same on both sides.
    pub agreed: i64,
    /// Run that gathered that batch, if the file knows.
    pub agreed_run: Option<RunId>,
    /// The first batch above it that the file still has.
    pub kept_from: Option<i64>,
    /// Runs that gathered the next batch in the file and in the shared ledger, where known.
    pub next_runs: (Option<RunId>, Option<RunId>),
    /// New batches go under this origin.
    pub is_current: bool,
}

/// Decision for one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reconciliation {
    /// Ship the batches from `next` on. The shared ledger is at `at`; the batches `missing` are lost to it,
    /// since the file no longer has them.
    Ship {
        at: i64,
        next: i64,
        missing: Option<(i64, i64)>,
    },
    /// Begin a new origin: the file is older than what was shipped from it. Its batches up to `kept` are in
    /// the shared ledger; all others are new there.
    ForkOrigin { kept: i64 },
    /// Nothing to do: everything that the file has of this origin is there.
    Done,
}

impl Compared {
    pub(crate) fn reconcile(&self) -> Reconciliation {
        if self.theirs > self.agreed {
            return if self.is_current {
                self.fork_origin()
            } else {
                // A new origin was begun already; these batches are kept in case the shared ledger loses
                // them.
                Reconciliation::Done
            };
        }
        let next = match self.kept_from {
            Some(first) => first,
            None if self.is_current => self.ours + 1,
            None => return Reconciliation::Done,
        };
        let missing = (next > self.agreed + 1).then_some((self.agreed + 1, next - 1));
        Reconciliation::Ship {
            at: self.theirs,
            next,
            missing,
        }
    }

    /// Rows pending in the older copy are a part of the batch that the newer one made of them, if one run
    /// gathered both, since pending rows only grow. If the shared ledger has deleted its record, the same
    /// follows if the batch was gathered by the run that had gathered the one before.
    fn fork_origin(&self) -> Reconciliation {
        let is_part = match self.next_runs {
            (Some(ours), Some(theirs)) => ours == theirs,
            (Some(ours), None) => self.agreed_run == Some(ours),
            (None, _) => false,
        };
        Reconciliation::ForkOrigin {
            kept: self.agreed + i64::from(is_part),
        }
    }
}

/// Finds the last batch, up to `top`, that is the same on both sides, by bisection; `look` returns both
/// sides' record of one. A batch whose record the file has deleted was the same long ago. One that the shared
/// ledger has deleted was the same too, unless the file's is too recent: then the file went on from an old
/// copy.
///
/// # Errors
/// Errors of `look`.
pub(crate) fn agreed<E>(
    top: i64,
    mut look: impl FnMut(i64) -> Result<(Option<FileBatch>, Option<Digest>), E>,
) -> Result<i64, E> {
    let mut is_agreed = |sequence| -> Result<bool, E> {
        Ok(match look(sequence)? {
            (Some(ours), Some(theirs)) => ours.digest == theirs,
            (Some(ours), None) => ours.is_old,
            (None, _) => true,
        })
    };
    if top == 0 || is_agreed(top)? {
        return Ok(top);
    }
    let (mut low, mut high) = (0, top);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_agreed(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    /// A ledger in letters: each letter is a batch, the digit after it the run that gathered it.
    fn digests(batches: &str) -> BTreeMap<i64, BatchHead> {
        let mut before = 0_u8;
        let places = batches.as_bytes().chunks(2).enumerate();
        places
            .map(|(place, batch)| {
                before = before.wrapping_mul(31).wrapping_add(batch[0]);
                let seen = BatchHead {
                    digest: [before; 32],
                    run_id: [batch[1]; 16],
                };
                (i64::try_from(place).expect("few") + 1, seen)
            })
            .collect()
    }

    /// Decision for `ours`, of which the file has only the batches above `forgotten`, when the shared ledger
    /// has `theirs`.
    fn reconcile(ours: &str, forgotten: i64, theirs: &str, is_current: bool) -> Reconciliation {
        course_of_old(ours, (forgotten, 0), theirs, (0, is_current))
    }

    /// The same where the file's batches up to `old` are old, and the shared ledger has only those above
    /// another number.
    fn course_of_old(
        ours: &str,
        (forgotten, old): (i64, i64),
        theirs: &str,
        (forgotten_there, is_current): (i64, bool),
    ) -> Reconciliation {
        let (mine, all_theirs) = (digests(ours), digests(theirs));
        let last =
            |batches: &BTreeMap<i64, BatchHead>| batches.keys().next_back().copied().unwrap_or(0);
        let above = |batches: &BTreeMap<i64, BatchHead>, number: i64| -> BTreeMap<i64, BatchHead> {
            batches.range(number + 1..).map(|(k, v)| (*k, *v)).collect()
        };
        let (kept, theirs) = (above(&mine, forgotten), above(&all_theirs, forgotten_there));
        let top = last(&mine).min(last(&all_theirs));
        let Ok(agreed) = agreed(top, |sequence| -> Result<_, Infallible> {
            let own = |seen: &BatchHead| FileBatch {
                digest: seen.digest,
                is_old: sequence <= old,
            };
            Ok((
                kept.get(&sequence).map(own),
                theirs.get(&sequence).map(|seen| seen.digest),
            ))
        });
        let run_id = |seen: &BatchHead| seen.run_id;
        Compared {
            ours: last(&mine),
            theirs: last(&all_theirs),
            agreed,
            agreed_run: kept.get(&agreed).map(run_id),
            kept_from: kept
                .range(agreed + 1..)
                .next()
                .map(|(sequence, _)| *sequence),
            next_runs: (
                kept.get(&(agreed + 1)).map(run_id),
                theirs.get(&(agreed + 1)).map(run_id),
            ),
            is_current,
        }
        .reconcile()
    }

    fn ship(at: i64, next: i64) -> Reconciliation {
        Reconciliation::Ship {
            at,
            next,
            missing: None,
        }
    }

    #[test]
    fn what_the_shared_ledger_lacks_is_shipped_from_there() {
        assert_eq!(reconcile("", 0, "", true), ship(0, 1));
        assert_eq!(reconcile("a1b1c2", 0, "", true), ship(0, 1));
        assert_eq!(reconcile("a1b1c2", 0, "a1b1", true), ship(2, 3));
        // The answer to the last commit was lost.
        assert_eq!(reconcile("a1b1c2", 0, "a1b1c2", true), ship(3, 4));
        // It was restored to before what was shipped, and even to before what the file has deleted.
        assert_eq!(reconcile("a1b1c2", 1, "a1", true), ship(1, 2));
        assert_eq!(reconcile("a1b1c2", 3, "a1b1c2", true), ship(3, 4));
    }

    #[test]
    fn what_is_no_longer_in_the_file_is_named_and_the_rest_is_shipped() {
        let gap = |at, next, missing| Reconciliation::Ship {
            at,
            next,
            missing: Some(missing),
        };
        assert_eq!(reconcile("a1b1c2d2", 2, "", true), gap(0, 3, (1, 2)));
        assert_eq!(reconcile("a1b1c2d2", 3, "a1", true), gap(1, 4, (2, 3)));
        assert_eq!(reconcile("a1b1c2d2", 4, "a1", true), gap(1, 5, (2, 4)));
        assert_eq!(reconcile("a1b1c2d2", 2, "a1", false), gap(1, 3, (2, 2)));
    }

    #[test]
    fn older_file_parts_and_ships_only_what_is_new() {
        // Nothing was pending in it: everything it has now is new.
        assert_eq!(
            reconcile("a1b1", 0, "a1b1c1d2", true),
            Reconciliation::ForkOrigin { kept: 2 }
        );
        assert_eq!(
            reconcile("a1b1x3", 0, "a1b1c1d2", true),
            Reconciliation::ForkOrigin { kept: 2 }
        );
        // Its pending rows are in the shared ledger's batch.
        assert_eq!(
            reconcile("a1b1x1", 0, "a1b1c1d2", true),
            Reconciliation::ForkOrigin { kept: 3 }
        );
        assert_eq!(
            reconcile("a1b1x1y3", 0, "a1b1c1", true),
            Reconciliation::ForkOrigin { kept: 3 }
        );
        // The first batch differs already.
        assert_eq!(
            reconcile("x1y2", 0, "a1b1", true),
            Reconciliation::ForkOrigin { kept: 1 }
        );
        assert_eq!(
            reconcile("x2y2", 0, "a1b1", true),
            Reconciliation::ForkOrigin { kept: 0 }
        );
        // It has deleted everything that it had shipped.
        assert_eq!(
            reconcile("a1b1", 2, "a1b1c1", true),
            Reconciliation::ForkOrigin { kept: 2 }
        );
    }

    #[test]
    fn older_file_parts_also_where_the_shared_ledger_has_forgotten() {
        let reconcile =
            |ours, forgotten| course_of_old(ours, (forgotten, 2), "a1b1c1d2", (4, true));
        assert_eq!(reconcile("a1b1", 0), Reconciliation::ForkOrigin { kept: 2 });
        assert_eq!(
            reconcile("a1b1x3", 0),
            Reconciliation::ForkOrigin { kept: 2 }
        );
        assert_eq!(
            reconcile("a1b1x1", 0),
            Reconciliation::ForkOrigin { kept: 3 }
        );
        assert_eq!(
            reconcile("a1b1x1y3z3w3v3", 0),
            Reconciliation::ForkOrigin { kept: 3 }
        );
        assert_eq!(
            reconcile("a1b1x3y3", 2),
            Reconciliation::ForkOrigin { kept: 2 }
        );
        // Nothing has been shipped for long.
        let idle = course_of_old("a1b1", (2, 2), "a1b1", (2, true));
        assert_eq!(idle, ship(2, 3));
    }

    #[test]
    fn origin_that_was_parted_from_is_only_shipped_again() {
        assert_eq!(
            reconcile("a1b1x1", 0, "a1b1c1d2", false),
            Reconciliation::Done
        );
        assert_eq!(reconcile("a1b1", 0, "a1b1", false), Reconciliation::Done);
        assert_eq!(reconcile("a1b1x1", 0, "a1b1", false), ship(2, 3));
        assert_eq!(reconcile("a1b1x1", 0, "a1", false), ship(1, 2));
    }

    /// Every state of the file and every return of either side to an earlier state: in the end the shared
    /// ledger has each batch once.
    #[test]
    fn every_fall_back_of_either_side_loses_and_doubles_nothing() {
        let names = b"abcdefg";
        for sealed in 0..=5_usize {
            for shared in 0..=sealed {
                for old in 0..=sealed {
                    for new in 0..=2_usize {
                        let all: String = names[..sealed]
                            .iter()
                            .map(|name| format!("{}1", char::from(*name)))
                            .collect();
                        let new: String = (0..new)
                            .map(|number| format!("{}2", ["x", "y"][number]))
                            .collect();
                        let ours = format!("{}{new}", &all[..2 * old]);
                        let theirs = &all[..2 * shared];
                        let added = match reconcile(&ours, 0, theirs, true) {
                            Reconciliation::Ship { at, next, missing } => {
                                assert_eq!((at, missing), (next - 1, None));
                                let from = usize::try_from(next - 1).expect("few");
                                assert!(shared <= old, "{ours} {theirs}");
                                &ours[2 * from..]
                            }
                            Reconciliation::ForkOrigin { kept } => {
                                assert!(shared > old, "{ours} {theirs}");
                                &ours[2 * usize::try_from(kept).expect("few")..]
                            }
                            Reconciliation::Done => panic!("{ours} {theirs}"),
                        };
                        let whole = format!("{theirs}{added}");
                        let expected = format!("{}{new}", &all[..2 * shared.max(old)]);
                        assert_eq!(whole, expected, "{ours} {theirs}");
                    }
                }
            }
        }
    }
}
