//! `hstratum-swarm connect` and `fanout`, against the limit server and a real one.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Chain, EVERY_HASH, start};

/// Ports in a row are not always free.
const TRIES: usize = 20;

fn swarm(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hstratum-swarm"));
    command.args(args);
    command
}

fn parse(output: &Output) -> Vec<Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        (output.status.code(), errors.as_str()),
        (Some(0), ""),
        "{out}"
    );
    let lines = out.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON lines")
}

/// The limit server, killed with its test.
struct Limit {
    process: Child,
    port: u16,
}

impl Limit {
    fn start() -> Self {
        for _ in 0..TRIES {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = free.local_addr().expect("bound").port();
            drop(free);
            let mut process = swarm(&["--limit-server", &format!("127.0.0.1:{port}")])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("started");
            let mut line = String::new();
            let output = process.stdout.take().expect("piped");
            BufReader::new(output).read_line(&mut line).expect("read");
            let limit = Self { process, port };
            if line.starts_with("limit server on ") {
                return limit;
            }
        }
        panic!("no two free ports in a row");
    }

    fn url(&self) -> String {
        format!("stratum+tcp://127.0.0.1:{}", self.port)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn every_miner_is_reached_by_every_job_once() {
    let limit = Limit::start();
    let trigger = format!("127.0.0.1:{}", limit.port + 1);
    let (url, pid) = (limit.url(), limit.process.id().to_string());
    let output = swarm(&["fanout", "--json", "--connections", "300", "--rounds", "3"])
        .args(["--at-once", "all", "--url", &url])
        .args(["--trigger", &trigger, "--pid", &pid])
        .output()
        .expect("ran");
    let lines = parse(&output);
    assert_eq!(lines[0]["ready"], 300, "{lines:?}");
    assert!(lines[0]["server"]["resident_bytes_held"].as_u64() > Some(0));
    assert_eq!(lines.len(), 5, "{lines:?}");
    for round in &lines[1..4] {
        assert_eq!(round["again"], 0);
        assert!(round["last_ms"].as_f64() >= round["first_ms"].as_f64());
    }
    assert_eq!(lines[4]["rounds"], 3);
    let cpu = &lines[4]["server"]["cpu_us_per_notify"];
    assert!(cpu.as_f64() > Some(0.0), "{cpu}");
}

#[test]
fn limit_server_answers_every_share() {
    let limit = Limit::start();
    let output = swarm(&["submit", "--json", "--connections", "20", "--no-hash"])
        .args(["--outstanding", "4", "--shares", "5000"])
        .args(["--url", &limit.url()])
        .output()
        .expect("ran");
    let lines = parse(&output);
    let all = lines.last().expect("a summary");
    assert_eq!(all["submitted"], 5_000);
    assert_eq!(all["acknowledged"][0][1], 5_000, "{all}");
    assert_eq!(all["out_of_order"], 0);
}

#[test]
fn real_server_gives_everybody_work() {
    let running = start(&[]);
    running.server.template(Chain::hard().empty_at(0));
    let url = format!("stratum+tcp://{}", running.server.address());
    let output = swarm(&["connect", "--json", "--connections", "200", "--url", &url])
        .output()
        .expect("ran");
    let lines = parse(&output);
    assert_eq!(lines[0]["ready"], 200, "{lines:?}");
    assert!(lines[0]["latency_ms"]["max"].as_f64() > Some(0.0));
}

#[test]
fn shares_sent_first_are_the_spread_of_the_hashrate() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let url = format!("stratum+tcp://{}", running.server.address());
    let output = swarm(&["connect", "--json", "--connections", "23", "--url", &url])
        .args(["--hashrates", "whales", "--accounts", "1"])
        .output()
        .expect("ran");
    assert_eq!(parse(&output)[0]["ready"], 23);
    // Twenty have one each, three have ten: a fifth of fifty each.
    assert_eq!(running.value::<i64>("SELECT sum(count) FROM credit"), 50);
}

#[test]
fn each_miner_of_a_solo_listener_has_an_address() {
    let running = start(&[("payout", "solo")]);
    running.server.template(Chain::hard().empty_at(0));
    let url = format!("stratum+tcp://{}", running.server.address());
    let args = ["connect", "--json", "--connections", "200", "--url", &url];
    let output = swarm(&args)
        .args(["--accounts", "200", "--addresses", "regtest"])
        .output()
        .expect("ran");
    assert_eq!(parse(&output)[0]["ready"], 200);
    let output = swarm(&args).output().expect("ran");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("a miner was not authorized"), "{errors}");
}

#[test]
fn miners_that_are_refused_are_told_of() {
    let running = start(&[("password", "admin-pass")]);
    running.server.template(Chain::hard().empty_at(0));
    let url = format!("stratum+tcp://{}", running.server.address());
    let output = swarm(&["connect", "--connections", "3", "--url", &url])
        .output()
        .expect("ran");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("a miner was not authorized"), "{errors}");
}
