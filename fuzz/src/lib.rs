//! Fuzz targets: one function each, which panics if an invariant does not hold for its bytes.
//!
//! Nothing here knows libFuzzer. `fuzz_targets/` hands these functions to it, and
//! `crates/server/tests/it/fuzz` runs them over the corpus and its mutations on every test run.

mod block;
mod line;
mod message;
mod pool;
mod text;

/// A function that panics if its bytes break an invariant.
pub type Target = fn(&[u8]);

const STRETCHED_BYTES_MAX: usize = 24 * 1024;

/// Every target with its name, which is also the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", text::address),
    ("client", text::client),
    ("coinbase", block::coinbase),
    ("config", text::config),
    ("line", line::line),
    ("message", message::message),
    ("pool", pool::pool),
    ("proxy_header", text::proxy_header),
    ("redirect", text::redirect),
    ("users", text::users),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target's file has its name");
    target(data);
}

/// Replaces each byte 1 by two thousand bytes, so that few bytes can reach the limit of a line. Output
/// longer than three such lines is cut.
fn stretched(data: &[u8]) -> Vec<u8> {
    let mut long = Vec::with_capacity(data.len());
    for &byte in data {
        match byte {
            1 => long.resize(long.len() + 2_000, b'x'),
            _ => long.push(byte),
        }
        if long.len() > STRETCHED_BYTES_MAX {
            break;
        }
    }
    long
}
