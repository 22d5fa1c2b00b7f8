//! The miner's output: lines on standard output, the hashrate on standard error.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two hashrate lines on a terminal, where the line is overwritten, and elsewhere.
const LIVE_PERIOD: Duration = Duration::from_secs(1);
const PLAIN_PERIOD: Duration = Duration::from_secs(10);

/// Equal events within this time share a line.
const EVENT_PERIOD: Duration = Duration::from_secs(1);

/// Different events that are held back at a time, at most.
const EVENTS_MAX: usize = 32;

pub(super) struct Screen {
    terminal: bool,
    /// The last hashrate line: when, and how many hashes there were.
    shown: Instant,
    shown_hashes: u64,
    events: BTreeMap<String, u64>,
    events_shown: Option<Instant>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            shown: Instant::now(),
            shown_hashes: 0,
            events: BTreeMap::new(),
            events_shown: None,
        }
    }

    /// Shows a line now.
    pub(super) fn line(&mut self, text: &str) {
        self.flush_events();
        self.print(text);
    }

    /// Shows an event, at once if there was none for a second, else with its equals later.
    pub(super) fn event(&mut self, text: &str) {
        if self.events.len() < EVENTS_MAX || self.events.contains_key(text) {
            *self.events.entry(text.to_owned()).or_default() += 1;
        }
        self.flush_due_events();
    }

    /// Shows the hashrate if it is time to.
    pub(super) fn tick(&mut self, hashes: u64, text: &str) {
        self.flush_due_events();
        let passed = self.shown.elapsed();
        if passed < self.period() {
            return;
        }
        let rate = (hashes - self.shown_hashes) as f64 / passed.as_secs_f64();
        let line = format!("{}, {text}", show_rate(rate));
        // Nobody to tell is no reason to stop.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
        self.shown = Instant::now();
        self.shown_hashes = hashes;
    }

    /// Time until `tick` has something to show.
    pub(super) fn until_tick(&self) -> Duration {
        let rate = self.period().saturating_sub(self.shown.elapsed());
        match self.events_shown {
            Some(shown) if !self.events.is_empty() => {
                rate.min(EVENT_PERIOD.saturating_sub(shown.elapsed()))
            }
            _ => rate,
        }
    }

    /// Shows what was held back and leaves the terminal clean.
    pub(super) fn finish(&mut self) {
        self.flush_events();
        self.clear();
    }

    fn period(&self) -> Duration {
        if self.terminal {
            LIVE_PERIOD
        } else {
            PLAIN_PERIOD
        }
    }

    fn flush_due_events(&mut self) {
        if self
            .events_shown
            .is_none_or(|shown| shown.elapsed() >= EVENT_PERIOD)
        {
            self.flush_events();
        }
    }

    fn flush_events(&mut self) {
        let events = std::mem::take(&mut self.events);
        for (text, count) in &events {
            match count {
                1 => self.print(text),
                _ => self.print(&format!("{text} ({count} times)")),
            }
        }
        if !events.is_empty() {
            self.events_shown = Some(Instant::now());
        }
    }

    fn print(&self, text: &str) {
        self.clear();
        let _ = writeln!(io::stdout(), "{text}");
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn show_rate(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.2} MH/s", rate / 1e6),
        1e3.. => format!("{:.1} kH/s", rate / 1e3),
        _ => format!("{rate:.0} H/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_has_a_unit_that_fits() {
        assert_eq!(show_rate(0.0), "0 H/s");
        assert_eq!(show_rate(999.4), "999 H/s");
        assert_eq!(show_rate(12_345.0), "12.3 kH/s");
        assert_eq!(show_rate(2_500_000.0), "2.50 MH/s");
    }
}
