//! The last lines of the server's log, for the operator's console.

use std::collections::VecDeque;
use std::sync::Arc;

use hstratum_core::event::Level;
use parking_lot::Mutex;

use crate::clock::unix_s;
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::node::{BlockQuery, Drill, Node, Offer, SignedMessage};

/// The last [`LOG_LINES_MAX`] lines of [`Level::Info`], and as many above it: what strangers cause is of the first, and
/// pushes no warning out. Those of [`Level::Debug`] are not kept.
#[derive(Default)]
pub(crate) struct LogLines(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Number of lines so far.
    count: u64,
    /// Lines with their numbers, oldest first.
    notes: VecDeque<(u64, LogLine)>,
    warnings: VecDeque<(u64, LogLine)>,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogLine {
    /// Unix seconds.
    pub at: u64,
    pub level: Level,
    /// Its first [`LOG_LINE_BYTES_MAX`] bytes. Untrusted text.
    pub text: String,
}

impl LogLines {
    fn push(&self, level: Level, text: &str) {
        let line = LogLine {
            at: unix_s(),
            level,
            text: text[..kept_bytes(text)].to_owned(),
        };
        let kept = &mut *self.0.lock();
        let lines = match level {
            Level::Debug => return,
            Level::Info => &mut kept.notes,
            Level::Warning | Level::Error => &mut kept.warnings,
        };
        if lines.len() == LOG_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back((kept.count, line));
        kept.count += 1;
    }

    /// The last lines of the levels that are wanted, at most so many, oldest first.
    pub(crate) fn last(&self, count: usize, is_wanted: impl Fn(Level) -> bool) -> Vec<LogLine> {
        let mut lines: Vec<(u64, LogLine)> = {
            let kept = self.0.lock();
            let lines = kept.notes.iter().chain(&kept.warnings);
            let wanted = lines.filter(|(_, line)| is_wanted(line.level));
            wanted.cloned().collect()
        };
        lines.sort_unstable_by_key(|(number, _)| *number);
        let before = lines.len().saturating_sub(count);
        lines.drain(before..).map(|(_, line)| line).collect()
    }
}

/// Length of the part of a line that is kept.
fn kept_bytes(text: &str) -> usize {
    let most = text.len().min(LOG_LINE_BYTES_MAX);
    let mut ends = (0..=most).rev();
    ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// A node whose log is kept too.
pub(crate) struct LoggedNode {
    node: Arc<dyn Node>,
    lines: Arc<LogLines>,
}

impl LoggedNode {
    /// The node, and the lines that are logged from now on.
    pub(crate) fn wrap(node: Arc<dyn Node>) -> (Arc<dyn Node>, Arc<LogLines>) {
        let lines: Arc<LogLines> = Arc::default();
        let logged = Self {
            node,
            lines: lines.clone(),
        };
        (Arc::new(logged), lines)
    }
}

impl Node for LoggedNode {
    fn offer(&self, offer: Offer) {
        self.node.offer(offer);
    }

    fn drill(&self, drill: Drill) {
        self.node.drill(drill);
    }

    fn locate(&self, blocks: Vec<BlockQuery>) {
        self.node.locate(blocks);
    }

    fn verify_message(&self, id: u64, message: SignedMessage) {
        self.node.verify_message(id, message);
    }

    fn log(&self, level: Level, text: &str) {
        self.node.log(level, text);
        self.lines.push(level, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        let lines = LogLines::default();
        for number in 0..LOG_LINES_MAX + 3 {
            lines.push(Level::Info, &number.to_string());
        }
        let texts = |count| {
            lines
                .last(count, |_| true)
                .into_iter()
                .map(|line| line.text)
        };
        assert_eq!(texts(usize::MAX).count(), LOG_LINES_MAX);
        assert_eq!(texts(usize::MAX).next().as_deref(), Some("3"));
        let last = LOG_LINES_MAX + 2;
        assert!(texts(2).eq([(last - 1).to_string(), last.to_string()]));
        lines.push(Level::Error, &"é".repeat(LOG_LINE_BYTES_MAX));
        let cut = texts(1).next().expect("one");
        assert_eq!(cut, "é".repeat(LOG_LINE_BYTES_MAX / 2));
    }

    #[test]
    fn what_strangers_cause_pushes_no_warning_out() {
        let lines = LogLines::default();
        lines.push(Level::Info, "before");
        lines.push(Level::Warning, "the disk is full");
        for _ in 0..LOG_LINES_MAX {
            lines.push(Level::Info, "login refused");
        }
        let all = lines.last(usize::MAX, |_| true);
        assert_eq!(all.len(), LOG_LINES_MAX + 1);
        assert_eq!(all[0].text, "the disk is full");
        assert_eq!(lines.last(3, |_| true).len(), 3);
        let warnings = lines.last(3, |level| level == Level::Warning);
        assert!(
            warnings
                .iter()
                .map(|line| &*line.text)
                .eq(["the disk is full"])
        );
    }
}
