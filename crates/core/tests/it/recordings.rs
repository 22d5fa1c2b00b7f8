//! Lines of real miners, recorded against other servers: the pool must understand every one.
//!
//! `>` is a line from the miner, `<` one of its server at that time. The shares are for that server's
//! jobs, so they can only be rejected.

use std::path::Path;

use super::ACCESS;
use crate::harness::{Miner, Output, PoolHarness, Setup};

#[test]
fn every_line_of_every_recording_is_answered_and_costs_nobody_the_connection() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut files = 0;
    for entry in std::fs::read_dir(dir).expect("recordings") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        replay(&path.display().to_string(), &text);
        files += 1;
    }
    assert_eq!(files, 24);
}

fn replay(name: &str, recording: &str) {
    let mut harness = ACCESS.with_job(&Setup {
        admin_password: Some("admin-pass".to_owned()),
        ..Setup::default()
    });
    let mut miner = harness.connect();
    for (number, line) in recording.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        if line.starts_with("# Connection ") && !line.contains("without a byte") {
            harness.close(miner);
            miner = harness.connect();
        } else if let Some(request) = line.strip_prefix("> ") {
            harness.output.clear();
            harness.send(miner, request);
            check(&mut harness, miner, &at);
        } else if let Some(seconds) = line.strip_prefix("@ +").and_then(|s| s.strip_suffix('s')) {
            let seconds: f64 = seconds.parse().expect("seconds");
            harness.advance((seconds * 1000.0) as u64);
        }
    }
}

/// Checks that there is one answer, that it does not say the line was malformed, and that the miner is
/// still connected.
fn check(harness: &mut PoolHarness, miner: Miner, at: &str) {
    let replies: Vec<&String> = harness
        .output
        .iter()
        .filter_map(|output| match output {
            Output::Line(to, line) if *to == miner && !line.contains("\"id\":null") => Some(line),
            _ => None,
        })
        .collect();
    let [reply] = replies.as_slice() else {
        panic!("{at}: {} answers", replies.len());
    };
    for strange in ["invalid params", "unknown method", "line too long"] {
        assert!(!reply.contains(strange), "{at}: {reply}");
    }
    assert!(harness.is_open(miner), "{at}");
}
