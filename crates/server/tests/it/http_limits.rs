//! Limits of HTTP on real sockets: too many connections, partial requests, one question in many spellings.

use std::io::{Read, Write};

use serde_json::json;

use crate::browser::{serve, wait_for_line};
use crate::harness::miner::Want;
use crate::harness::{Chain, wait_until};

#[test]
fn endless_heads_and_too_many_connections_are_cut_off() {
    let (running, browser) = serve(&[]);
    let mut stream = browser.connect();
    let endless = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(64 * 1024));
    // The connection may be closed before all is sent.
    let _ = stream.write_all(endless.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));

    let mut listeners: Vec<_> = (0..128).map(|_| browser.listen()).collect();
    let own = format!("localhost:{}", browser.port);
    let refused = browser.ask("GET", "/api/v1/events", &[("Host", &own)]);
    assert_eq!(refused.status, 503);
    let mut idle: Vec<_> = (0..200).map(|_| browser.connect()).collect();
    assert!(
        browser.get("/healthz").status > 0,
        "those that are silent make room"
    );
    let closed = idle[0].read(&mut [0]);
    assert!(
        closed.is_ok_and(|len| len == 0),
        "the one that was silent for longest"
    );
    // Miners are not affected.
    running.move_on(Chain::hard().empty_at(1));
    running.mine_as("alice").mine(Want::Share);
    for listener in &mut listeners {
        wait_for_line(listener, "event: pool");
    }
    drop((listeners, idle));
    wait_until("there is room again", || {
        let mut stream = browser.connect();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {own}\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        stream.read(&mut [0]).is_ok_and(|len| len > 0)
    });
}

#[test]
fn half_open_requests_keep_nobody_out() {
    let token = "a-token-of-at-least-32-characters-in-all";
    let (_running, browser) = serve(&[("http-token", token)]);
    let open = || {
        let mut stream = browser.connect();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc");
        stream
    };
    let mut half: Vec<_> = (0..260).map(|_| open()).collect();
    for round in 0..3 {
        let begun = std::time::Instant::now();
        assert_eq!(browser.get("/healthz").status, 503, "there is no job");
        assert_eq!(browser.get("/metrics").status, 200);
        let bans = browser.call("GET", "/api/v1/admin/bans", Some(token), &json!(null));
        assert_eq!(bans.status, 200, "{}", bans.body);
        assert!(
            begun.elapsed().as_secs() < 3,
            "round {round}: {:?}",
            begun.elapsed()
        );
        half.extend((0..60).map(|_| open()));
    }
    let metrics = browser.get("/metrics").body;
    let evicted = metrics
        .lines()
        .find(|line| line.starts_with("hstratum_http_evicted_total "));
    assert!(
        evicted.is_some_and(|line| !line.ends_with(" 0")),
        "{evicted:?}"
    );
}

#[test]
fn a_question_is_the_same_however_it_is_written() {
    let (running, browser) = serve(&[]);
    running.move_on(Chain::hard().empty_at(1));
    running.mine_as("alice").mine(Want::Share);
    wait_until("the share counts", || {
        browser.json("/api/v1/round")["shares"] == 1
    });
    for path in ["/api/v1/round", "/api/v1/pool", "/api/v1/accounts/alice"] {
        assert_eq!(browser.get(path).status, 200);
        assert_eq!(browser.get(&format!("{path}?17")).status, 400, "{path}");
        assert_eq!(browser.get(&format!("{path}?a=b")).status, 400, "{path}");
        let own = format!("localhost:{}", browser.port);
        let head = browser.ask("HEAD", path, &[("Host", &own)]);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
}
