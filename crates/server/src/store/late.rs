//! Statistics that come when their time is long over: a database or a disk was away. Whoever remembers
//! sums of that time (the pool's chart, hashrates of a day) has to read them anew.

use std::collections::BTreeSet;

use super::keeper::SPAN_S;

/// In what steps it is kept.
pub(crate) const LATE_STEP_S: i64 = 3_600;

/// So long after a span's end nobody remembers its sum yet, in seconds; with room for clocks that are apart.
const LATE_S: u64 = 300;

/// The hours of spans that are long over, each once.
pub(crate) fn late_hours(starts: impl Iterator<Item = i64>, unix_s: u64) -> Vec<i64> {
    let latest = i64::try_from(unix_s.saturating_sub(SPAN_S + LATE_S)).unwrap_or(i64::MAX);
    let late = starts.filter(|start| *start < latest);
    let hours: BTreeSet<i64> = late.map(|start| start - start % LATE_STEP_S).collect();
    hours.into_iter().collect()
}
