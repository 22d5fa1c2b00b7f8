//! `hstratum-swarm submit` against a real server: both must count the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hstratum_core::accounting::ledger::Verdict;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, EVERY_HASH, Running, start, wait_until};

/// A running swarm, killed if its test fails.
struct Swarm(Child);

impl Drop for Swarm {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Swarm {
    fn start(running: &Running, args: &[&str]) -> Self {
        Self::start_mode(running, "submit", args)
    }

    fn start_mode(running: &Running, mode: &str, args: &[&str]) -> Self {
        let url = format!("stratum+tcp://{}", running.server.address());
        let child = Command::new(env!("CARGO_BIN_EXE_hstratum-swarm"))
            .args([mode, "--json", "--url", &url])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        Self(child)
    }

    /// Its output, once it has ended without an error.
    fn finish(mut self) -> Vec<Value> {
        let (code, stdout, stderr) = self.end();
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        parse(&stdout)
    }

    fn end(&mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let pipe = self.0.stdout.as_mut().expect("piped");
        pipe.read_to_string(&mut stdout).expect("UTF-8");
        let pipe = self.0.stderr.as_mut().expect("piped");
        pipe.read_to_string(&mut stderr).expect("UTF-8");
        (self.0.wait().expect("ended").code(), stdout, stderr)
    }

    fn terminate(&self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).expect("it runs");
    }
}

fn parse(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn journal(path: &Path) -> Vec<Value> {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// The last line of each account.
fn accounts(lines: &[Value]) -> BTreeMap<String, Value> {
    let accounts = of_kind(lines, "account").into_iter();
    accounts
        .map(|line| {
            let name = line["account"].as_str().expect("a name");
            (name.to_owned(), line.clone())
        })
        .collect()
}

/// The number of shares in `[[difficulty, count], …]`, all at the expected difficulty.
fn count(work: &Value) -> u64 {
    let parts = work.as_array().expect("a list").iter();
    parts
        .map(|part| {
            assert_eq!(part[0].to_string().parse::<f64>(), EVERY_HASH.parse());
            part[1].as_u64().expect("a number")
        })
        .sum()
}

/// Closes the round with a block at this height; returns the number of shares of each account in the dump.
fn shares_in_dump(running: &Running, chain: &mut Chain, above: u32) -> BTreeMap<String, u64> {
    running.move_on(chain.empty_at(above));
    let mut miner = running.mine_as("closer");
    let hash = miner.mine(Want::Block);
    running.server.block_result(hash, Verdict::Accepted);
    let name = format!("shares/{}-{hash}.json", FIRST_HEIGHT + above);
    let dump = running.wait_for_file(&name);
    let dump: Value = serde_json::from_slice(&dump).expect("JSON");
    let each: f64 = EVERY_HASH.parse().expect("a number");
    let shares = dump["shares"].as_object().expect("an object").iter();
    shares
        .filter(|(account, _)| *account != "closer")
        .map(|(account, work)| {
            let count = work.as_f64().expect("a number") / each;
            assert!((count - count.round()).abs() < 1e-3, "{count} shares");
            (account.clone(), count.round() as u64)
        })
        .collect()
}

#[test]
fn what_is_acknowledged_is_what_the_server_has_recorded() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    let mut chain = Chain::easy();
    running.server.template(chain.empty_at(0));
    let pid = std::process::id().to_string();
    let args = "--connections 200 --outstanding 8 --shares 20000 --accounts 7 --user-prefix=acc";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.extend(["--pid", &pid]);
    let lines = Swarm::start(&running, &args).finish();

    let [summary] = of_kind(&lines, "summary")[..] else {
        panic!("one summary: {lines:?}");
    };
    assert_eq!(summary["submitted"], 20_000);
    assert_eq!(count(&summary["acknowledged"]), 20_000);
    assert_eq!(summary["ready"], 200);
    assert_eq!(summary["refused"].to_string(), "{}");
    assert_eq!(summary["unanswered"].to_string(), "[]");
    assert!(summary["latency_ms"]["max"].as_f64() > Some(0.0));
    assert!(summary["server"]["resident_bytes"].as_u64() > Some(1 << 20));
    let acknowledged: BTreeMap<String, u64> = accounts(&lines)
        .into_iter()
        .map(|(name, line)| (name, count(&line["acknowledged"])))
        .collect();
    assert_eq!(acknowledged.len(), 7);
    let recorded = shares_in_dump(&running, &mut chain, 1);
    assert_eq!(recorded, acknowledged);
}

#[test]
fn blocks_are_found_only_when_asked_for_and_each_is_in_the_journal() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let path = running.dir.join("journal");
    let file = path.to_str().expect("UTF-8");
    let common = ["--connections=4", "--shares=400", "--journal", file];
    Swarm::start(&running, &common).finish();
    assert_eq!(running.node.offers(), 0);

    let all = [&common[..], &["--blocks"]].concat();
    Swarm::start(&running, &all).finish();
    let lines = journal(&path);
    let hashes = |kind| {
        let mut hashes: Vec<String> = of_kind(&lines, kind)
            .iter()
            .map(|line| line["hash"].as_str().expect("a hash").to_owned())
            .collect();
        hashes.sort();
        hashes
    };
    let mut offered: Vec<String> = (0..running.node.offers())
        .map(|number| running.node.offer_number(number).hash().to_string())
        .collect();
    offered.sort();
    assert!(offered.len() > 100, "{} blocks", offered.len());
    assert_eq!(hashes("block"), offered);
    assert_eq!(hashes("answer"), offered);
}

#[test]
fn shares_a_crash_left_unanswered_are_told_apart_and_miners_come_back() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    let mut chain = Chain::easy();
    running.server.template(chain.empty_at(0));
    let path = running.dir.join("journal");
    let file = path.to_str().expect("UTF-8");
    let args = "--connections 50 --outstanding 16 --accounts 5 --reconnect --journal";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.push(file);
    let swarm = Swarm::start(&running, &args);
    let acknowledged = || {
        let lines = journal(&path);
        let last = of_kind(&lines, "progress").last().map(|line| {
            let is_back = line["working"] == 50;
            (is_back, line["acknowledged"].as_u64().expect("a number"))
        });
        last.unwrap_or_default()
    };
    wait_until("shares are acknowledged", || acknowledged().1 > 2_000);

    // Another miner's block, in whose offer the pool panics: all are disconnected.
    running.node.panic_in_next_offer();
    running.move_on(chain.empty_at(1));
    let mut finder = running.mine_as("closer");
    let (line, hash) = finder.solve(Want::Block);
    running.node.lose(hash);
    finder.send_raw(line.as_bytes());
    running.node.wait_for_log("pool");
    running.move_on(chain.empty_at(2));
    let before = acknowledged().1;
    wait_until("miners are back", || {
        let (is_back, now) = acknowledged();
        is_back && now > before + 2_000
    });
    swarm.terminate();
    let lines = swarm.finish();
    let [summary] = of_kind(&lines, "summary")[..] else {
        panic!("one summary: {lines:?}");
    };
    assert_eq!(summary["losses"], 50, "{summary}");
    assert_eq!(summary["out_of_order"], 0);

    let told = accounts(&journal(&path));
    let recorded = shares_in_dump(&running, &mut chain, 3);
    assert_eq!(told.len(), 5);
    for (name, line) in told {
        let (least, unanswered) = (count(&line["acknowledged"]), count(&line["unanswered"]));
        let recorded = recorded[&name];
        let bounds = least..=least + unanswered;
        assert!(bounds.contains(&recorded), "{name}: {recorded} of {line}");
    }
}

#[test]
fn journal_tells_of_accounts_that_lost_connections_with_nothing_outstanding() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let path = running.dir.join("journal");
    let file = path.to_str().expect("UTF-8");
    let args = "--connections 10 --accounts 5 --rate 50 --reconnect --journal";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.push(file);
    let _swarm = Swarm::start(&running, &args);
    let last = |field: &str| {
        let lines = journal(&path);
        let last = of_kind(&lines, "progress").last().map(|line| {
            let value = &line[field];
            value.as_u64().expect("a number")
        });
        last.unwrap_or_default()
    };
    wait_until("shares are acknowledged", || last("acknowledged") > 20);
    assert!(running.server.close().wait());
    wait_until("all connections are lost", || last("working") == 0);
    let told = accounts(&journal(&path));
    let acknowledged = told.values().map(|line| count(&line["acknowledged"]));
    assert_eq!(acknowledged.sum::<u64>(), last("acknowledged"));
}

#[test]
fn given_rate_is_kept_and_not_hashed_where_every_hash_is_a_share() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let args = [
        "--connections=10",
        "--rate=2000",
        "--seconds=1",
        "--no-hash",
    ];
    let lines = Swarm::start(&running, &args).finish();
    let [summary] = of_kind(&lines, "summary")[..] else {
        panic!("one summary: {lines:?}");
    };
    let submitted = summary["submitted"].as_u64().expect("a number");
    assert!((1_500..=2_500).contains(&submitted), "{summary}");
    assert_eq!(count(&summary["acknowledged"]), submitted);

    running.move_on(Chain::easy().empty_at(1));
    let mut swarm = Swarm::start(&running, &args);
    let (code, stdout, stderr) = swarm.end();
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        "hstratum-swarm: failed to do without hashing: not every hash is a share, or blocks are too easy\n"
    );
}

#[test]
fn server_that_is_not_there_is_named() {
    let running = start(&[]);
    let address = running.server.address();
    let url = format!("stratum+tcp://{address}");
    drop(running);
    let output = Command::new(env!("CARGO_BIN_EXE_hstratum-swarm"))
        .args(["submit", "--connections=3", "--url", &url])
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("hstratum-swarm: failed to get work from {address}: connection refused\n")
    );
}

#[test]
fn tls_is_not_spoken() {
    let output = Command::new(env!("CARGO_BIN_EXE_hstratum-swarm"))
        .args(["submit", "--connections=3", "--url=stratum+tls://a:1"])
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(2));
    let expected = "error: invalid value 'stratum+tls://a:1' for '--url <URL>': expected \
                    stratum+tcp://HOST:PORT\n";
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with(expected), "{stderr}");
}

#[test]
fn hostile_connections_are_counted_by_what_they_do() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let mut miner = running.mine_as("alice");
    let args = ["--connections", "22", "--seconds", "2"];
    let swarm = Swarm::start_mode(&running, "hostile", &args);
    miner.mine(Want::Share);
    let lines = swarm.finish();
    let names: Vec<_> = lines.iter().map(|line| &line["abuse"]).collect();
    assert_eq!(
        names,
        [
            "silent",
            "trickle",
            "malformed",
            "endless",
            "deep",
            "binary",
            "deaf",
            "forged",
            "vanish",
            "idle",
            "leave"
        ]
    );
    for line in &lines {
        let is_silent = line["abuse"] == "silent" || line["abuse"] == "leave";
        assert!(line["opened"].as_u64() >= Some(2), "{line}");
        assert_eq!(line["sent"].as_u64() == Some(0), is_silent, "{line}");
    }
    let answers = |name: &str| {
        let line = lines.iter().find(|line| line["abuse"] == name);
        line.and_then(|line| line["answers"].as_u64())
    };
    assert!(answers("malformed") > Some(0));
    assert_eq!(answers("deaf"), Some(0), "it does not read");
    miner.mine(Want::Share);
}

#[test]
fn hostile_connections_are_for_this_machine_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_hstratum-swarm"))
        .args(["hostile", "--connections", "1"])
        .args(["--url", "stratum+tcp://192.0.2.1:3008"])
        .output()
        .expect("ran");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        text.contains("192.0.2.1:3008 is not on this machine"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}
