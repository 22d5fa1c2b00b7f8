//! The trace of a run, one line for each event: printed if wanted, and always added to a digest, so that
//! two runs of one seed can be compared.

use std::fmt::{Arguments, Write};

/// The trace of one part.
pub(crate) struct Trace {
    prints: bool,
    /// Name of the part, if there are several.
    label: String,
    line: String,
    digest: u64,
    lines: u64,
    /// The last lines, for the report of a failure.
    last: std::collections::VecDeque<String>,
}

/// Lines that the report of a failure shows.
const LAST_MAX: usize = 40;
/// FNV-1a, 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        Self::labelled(prints, String::new())
    }

    pub(crate) fn labelled(prints: bool, label: String) -> Self {
        Self {
            prints,
            label,
            line: String::new(),
            digest: FNV_OFFSET,
            lines: 0,
            last: std::collections::VecDeque::new(),
        }
    }

    /// Adds a line at a simulated time in milliseconds.
    pub(crate) fn note(&mut self, at_ms: u64, text: Arguments<'_>) {
        self.line.clear();
        let (s, ms) = (at_ms / 1000, at_ms % 1000);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        let label = &self.label;
        writeln!(self.line, "{h:>4}:{m:02}:{s:02}.{ms:03}  {label}{text}")
            .expect("a string takes everything");
        for byte in self.line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        self.lines += 1;
        if self.prints {
            print!("{}", self.line);
        }
        let mut line = match self.last.len() {
            LAST_MAX => self.last.pop_front().unwrap_or_default(),
            _ => String::new(),
        };
        line.clone_from(&self.line);
        self.last.push_back(line);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn last(&self) -> String {
        self.last.iter().map(String::as_str).collect()
    }
}
