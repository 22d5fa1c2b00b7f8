//! The program as an operator runs it, and files that it is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

/// Exit code, standard output and standard error.
pub(crate) fn hstratum(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_hstratum"))
        .args(args)
        .output()
        .expect("started");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = out.status.code().expect("ended by itself");
    (code, text(out.stdout), text(out.stderr))
}

/// Standard output of a run that must succeed.
pub(crate) fn succeed(args: &[&str]) -> String {
    let (code, out, err) = hstratum(args);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    out
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// An old file as the JavaScript hstratum wrote it, changed as a test wants it.
pub(crate) fn shares_file(dir: &Path, height: u32, change: impl FnOnce(&mut Json)) -> PathBuf {
    let hash = format!("{height:064x}");
    let mut content = json!({
        "network": "regtest", "height": height, "block": hash, "ts": 900.0, "time": 1000,
        "txid": "ab".repeat(32), "address": "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54", "reward": 2_000_000_000.0, "size": 2,
        "total": 0.30000000000000004, "shares": {"alice": 0.1, "bob\u{1b}[2J": 0.2},
    });
    change(&mut content);
    let path = dir.join(format!("{height}-{hash}.json"));
    fs::write(&path, content.to_string()).expect("written");
    path
}
