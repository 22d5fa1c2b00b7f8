//! Runs the fuzz targets with the stable toolchain: over their corpus, and over mutations of it that are the
//! same on every run. `HSTRATUM_FUZZ_RUNS=100` makes a hundred times as many.

mod mutator;
#[path = "../../../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own there")]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutator::Mutator;

/// Greatest length of a mutation in bytes.
const INPUT_BYTES_MAX: usize = 8 * 1024;

fn fuzz_dir() -> PathBuf {
    let server = Path::new(env!("CARGO_MANIFEST_DIR"));
    server
        .join("../../fuzz")
        .canonicalize()
        .expect("it is there")
}

/// Files of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = fuzz_dir().join("corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    paths
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("readable");
            (path, bytes)
        })
        .collect()
}

/// Runs a target over its corpus and over this many mutations of it.
fn check(target: &str, mutations: u64) {
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        let outcome = catch_unwind(|| targets::run(target, bytes));
        assert!(outcome.is_ok(), "{target} fails on {}", path.display());
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let words = mutator::words(&fs::read_to_string(fuzz_dir().join("stratum.dict")).unwrap());
    let times = match std::env::var("HSTRATUM_FUZZ_RUNS") {
        Ok(times) => times.parse().expect("HSTRATUM_FUZZ_RUNS is a whole number"),
        Err(_) => 1,
    };
    for seed in 1..=mutations * times {
        let input = Mutator::new(seed).mutate(&inputs, &words, INPUT_BYTES_MAX);
        if catch_unwind(AssertUnwindSafe(|| targets::run(target, &input))).is_err() {
            report(target, seed, &input);
        }
    }
}

fn report(target: &str, seed: u64, input: &[u8]) -> ! {
    let dir = fuzz_dir().join("artifacts").join(target);
    let path = dir.join(format!("seed-{seed}"));
    let kept = fs::create_dir_all(&dir).and_then(|()| fs::write(&path, input));
    let how = match kept {
        Ok(()) => format!("mv {} fuzz/corpus/{target}/what-is-wrong", path.display()),
        Err(error) => format!("write it there by hand, since {}: {error}", path.display()),
    };
    panic!(
        "{target} fails on seed {seed}:\n  b\"{}\"\nto add it to the corpus:\n  {how}",
        input.escape_ascii()
    );
}

#[test]
fn addresses_come_back_as_they_were() {
    check("address", 100_000);
}

#[test]
fn a_pool_may_say_anything_to_a_miner() {
    check("client", 30_000);
}

#[test]
fn any_bytes_are_a_coinbase_that_comes_back_or_none() {
    check("coinbase", 60_000);
}

#[test]
fn any_options_are_a_config_or_an_error_in_one_line() {
    check("config", 60_000);
}

#[test]
fn lines_are_the_same_however_they_are_cut() {
    check("line", 20_000);
}

#[test]
fn any_line_is_a_request_or_none() {
    check("message", 100_000);
}

#[test]
fn the_pool_answers_every_line_in_order_whatever_happens() {
    check("pool", 30_000);
}

#[test]
fn a_proxy_header_is_the_same_however_much_of_it_has_come() {
    check("proxy_header", 5_000);
}

#[test]
fn no_http_head_changes_the_response() {
    check("redirect", 60_000);
}

#[test]
fn users_are_the_same_after_a_repair() {
    check("users", 10_000);
}

#[test]
fn every_target_is_known_to_both_drivers() {
    let names = |dir: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz_dir().join(dir)).unwrap();
        let stems = entries.map(|entry| entry.unwrap().path());
        stems
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let known: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("corpus"), known);
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    let tests = include_str!("mod.rs");
    for name in &known {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(tests.contains(&format!("check(\"{name}\"")), "{name}");
    }
}
