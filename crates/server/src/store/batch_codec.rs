//! Codec of a batch for the shared ledger: sums of shares and worker statistics.
//!
//! In the file a batch is a sequence of numbers: the format's version, then heights, credit and statistics,
//! each preceded by its number of rows. Integers are LEB128, doubles eight bytes little-endian; heights and
//! starts are differences from the row before. Accounts and workers are row ids of the file.

/// Version of the format. Version 1 had no times of shares, version 2 no best share. A new one comes with a step of
/// the file's schema, so that an older program refuses the file by name.
const VERSION: u8 = 3;

/// Decoded content of a batch. Rows are in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BatchBody {
    /// Network difficulty at each height.
    pub heights: Vec<(i64, f64)>,
    pub credit: Vec<CreditRow>,
    pub statistics: Vec<StatisticsRow>,
}

/// Shares of one height, account and difficulty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CreditRow {
    pub height: i64,
    pub account: i64,
    pub difficulty: f64,
    pub count: i64,
}

/// Statistics of one worker in one span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StatisticsRow {
    pub span: i64,
    pub start: i64,
    pub worker: i64,
    /// Number and total work of accepted, stale, low and duplicate submits.
    pub works: [(i64, f64); 4],
    /// Times of the first and the last accepted share, Unix seconds; 0 if there is none.
    pub times: (i64, i64),
    /// Difficulty and time of the best share, if it was better than those before; zeros if there is none.
    pub best: (f64, i64),
}

impl BatchBody {
    pub(crate) fn is_empty(&self) -> bool {
        self.credit.is_empty() && self.statistics.is_empty()
    }

    /// Number of rows of all kinds.
    pub(crate) fn rows(&self) -> usize {
        self.heights.len() + self.credit.len() + self.statistics.len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        push_len(&mut out, self.heights.len());
        let mut last = 0;
        for (height, difficulty) in &self.heights {
            push_above(&mut out, &mut last, *height);
            out.extend(difficulty.to_le_bytes());
        }
        push_len(&mut out, self.credit.len());
        last = 0;
        for row in &self.credit {
            push_above(&mut out, &mut last, row.height);
            push(&mut out, row.account);
            out.extend(row.difficulty.to_le_bytes());
            push(&mut out, row.count);
        }
        push_len(&mut out, self.statistics.len());
        let mut span = 0;
        for row in &self.statistics {
            if row.span != span {
                last = 0;
            }
            span = row.span;
            push(&mut out, row.span);
            push_above(&mut out, &mut last, row.start);
            push(&mut out, row.worker);
            let is_there = |place: usize| u8::from(row.works[place] != (0, 0.0)) << place;
            let has_times = u8::from(row.times != (0, 0)) << 4;
            let has_best = u8::from(row.best != (0.0, 0)) << 5;
            out.push((0..4).map(is_there).sum::<u8>() | has_times | has_best);
            for (count, work) in row.works.iter().filter(|work| **work != (0, 0.0)) {
                push(&mut out, *count);
                out.extend(work.to_le_bytes());
            }
            if has_times != 0 {
                push(&mut out, row.times.0);
                push(&mut out, row.times.1);
            }
            if has_best != 0 {
                out.extend(row.best.0.to_le_bytes());
                push(&mut out, row.best.1);
            }
        }
        out
    }

    /// Decodes a batch; `None` if the bytes are not what [`BatchBody::encode`] writes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let mut body = Self::default();
        if !(1..=VERSION).contains(&rest.byte()?) {
            return None;
        }
        let mut last = 0;
        for _ in 0..rest.number()? {
            body.heights.push((rest.above(&mut last)?, rest.double()?));
        }
        last = 0;
        for _ in 0..rest.number()? {
            body.credit.push(CreditRow {
                height: rest.above(&mut last)?,
                account: rest.number()?,
                difficulty: rest.double()?,
                count: rest.number()?,
            });
        }
        let mut last_span = 0;
        for _ in 0..rest.number()? {
            let span = rest.number()?;
            if span != last_span {
                last = 0;
            }
            last_span = span;
            let (start, worker) = (rest.above(&mut last)?, rest.number()?);
            let (mask, mut works) = (rest.byte()?, [(0, 0.0); 4]);
            for (place, work) in works.iter_mut().enumerate() {
                if mask >> place & 1 == 1 {
                    *work = (rest.number()?, rest.double()?);
                }
            }
            let times = match mask >> 4 & 1 {
                0 => (0, 0),
                _ => (rest.number()?, rest.number()?),
            };
            let best = match mask >> 5 & 1 {
                0 => (0.0, 0),
                _ => (rest.double()?, rest.number()?),
            };
            body.statistics.push(StatisticsRow {
                span,
                start,
                worker,
                works,
                times,
                best,
            });
        }
        rest.0.is_empty().then_some(body)
    }
}

/// Appends a number as LEB128. The tables hold no negative numbers.
fn push(out: &mut Vec<u8>, number: i64) {
    let mut left = number.unsigned_abs();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push((left & 0x7f) as u8);
}

fn push_len(out: &mut Vec<u8>, len: usize) {
    push(out, i64::try_from(len).expect("less than all memory"));
}

fn push_above(out: &mut Vec<u8>, last: &mut i64, number: i64) {
    push(out, number - *last);
    *last = number;
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<i64> {
        let mut number = 0_i64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn above(&mut self, last: &mut i64) -> Option<i64> {
        *last = last.checked_add(self.number()?)?;
        Some(*last)
    }

    fn double(&mut self) -> Option<f64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(f64::from_le_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn work() -> impl Strategy<Value = (i64, f64)> {
        prop_oneof![Just((0, 0.0)), (1..i64::MAX, 0.0..1e300)]
    }

    fn best() -> impl Strategy<Value = (f64, i64)> {
        prop_oneof![Just((0.0, 0)), (1e-9..1e300, 1..i64::MAX)]
    }

    prop_compose! {
        fn body()(
            mut heights in vec((0..i64::MAX, 1e-9..1e300), 0..9),
            credit in vec((0..i64::MAX, 1..i64::MAX, 1e-9..1e300, 1..i64::MAX), 0..9),
            statistics in vec((1..9_i64, 0..i64::MAX, 1..i64::MAX, [work(), work(), work(), work()], (0..i64::MAX, 0..3_i64), best()), 0..9),
        ) -> BatchBody {
            heights.sort_by_key(|(height, _)| *height);
            let mut credit: Vec<CreditRow> = credit.into_iter().map(|(height, account, difficulty, count)| {
                CreditRow { height, account, difficulty, count }
            }).collect();
            credit.sort_by_key(|row| row.height);
            let mut statistics: Vec<StatisticsRow> = statistics.into_iter().map(|(span, start, worker, works, times, best)| {
                StatisticsRow { span, start, worker, works, times, best }
            }).collect();
            statistics.sort_by_key(|row| (row.span, row.start));
            BatchBody { heights, credit, statistics }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_shorter_or_longer(body in body()) {
            let bytes = body.encode();
            prop_assert_eq!(BatchBody::parse(&bytes), Some(body));
            for end in 0..bytes.len() {
                prop_assert_eq!(BatchBody::parse(&bytes[..end]), None);
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(BatchBody::parse(&longer), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            let _ = BatchBody::parse(&bytes);
        }
    }
}
