//! Checks of the architecture: the core has no other dependencies and no I/O; in all crates functions
//! stay short and import circles narrow.

mod circles;
mod functions;

use std::fs;
use std::path::{Path, PathBuf};

/// Dependencies that the core may have: each is arithmetic, parsing or a hash function, and has a reason
/// in docs/decisions.
const DEPENDENCIES: [&str; 8] = [
    "bech32",
    "blake2",
    "num-bigint",
    "serde",
    "serde_json",
    "sha2",
    "sha3",
    "subtle",
];

/// Names that the core must not use: clocks, sockets, files, threads and standard output belong to the
/// server.
const WORLD: [&str; 14] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os",
    "std::process",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "thread_rng",
    "getrandom",
    "println!",
    "print!",
    "dbg!",
];

fn core() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of all crates.
fn crates() -> &'static Path {
    core().parent().expect("the crates' folder")
}

/// Every `.rs` file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let sources = paths.flat_map(|path| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    });
    sources
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a text file")
}

#[test]
fn the_core_depends_on_hashes_and_parsers_alone() {
    let manifest = read(&core().join("Cargo.toml"));
    let section = manifest.split("\n[dependencies]\n").nth(1);
    let section = section.and_then(|rest| rest.split("\n[").next());
    let names: Vec<&str> = section
        .expect("a list of dependencies")
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(names, DEPENDENCIES);
    assert!(!manifest.contains("build-dependencies") && !manifest.contains("[target"));
}

#[test]
fn the_core_does_not_name_the_world() {
    let sources = sources(&core().join("src"));
    assert!(sources.len() > 20);
    for path in sources {
        let text = read(&path);
        for (number, line) in (1..).zip(text.lines()) {
            for name in WORLD {
                assert!(!line.contains(name), "{}:{number}: {name}", path.display());
            }
        }
    }
}

/// Those of the command line and of the load generator, which no node runs.
#[test]
fn the_addon_depends_on_what_a_node_needs_alone() {
    for name in ["server", "addon"] {
        let manifest = read(&crates().join(name).join("Cargo.toml"));
        let mut parts = manifest.split("\n[dev-dependencies]\n");
        let product = parts.next().expect("one part at least");
        for other in [
            "clap",
            "hdrhistogram",
            "listenfd",
            "signal-hook",
            "toml",
            "hstratum-",
        ] {
            let mut lines = product.lines().filter(|line| line.starts_with(other));
            assert!(
                lines.all(|line| line.starts_with("hstratum-core")),
                "{name}: {other}"
            );
        }
    }
}

#[test]
fn every_reject_is_documented() {
    let protocol = include_str!("../../../../../docs/protocol.md");
    for reject in hstratum_core::wire::message::Reject::ALL {
        let row = format!("| {} | `{}` |", reject.code(), reject.text());
        assert!(protocol.contains(&row), "docs/protocol.md has no {row:?}");
    }
}
