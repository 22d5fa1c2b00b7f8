//! Listeners: with and without TLS, behind proxies or not, each with its own difficulty.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::json;

use crate::harness::miner::{End, Want};
use crate::harness::{Chain, DEADLINE, EVERY_HASH, Miner, Running, start};
use crate::tls_miner::{TlsMiner, Version, certificate, client_config};

const TLS: (&str, &str) = ("listen", "tls://127.0.0.1:0");
const AUTO: (&str, &str) = ("listen", "auto://127.0.0.1:0");

fn data(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Starts a server with the first certificate.
fn start_tls(options: &[(&str, &str)]) -> Running {
    let (cert, key) = (data("first.crt"), data("first.key"));
    let mut all = vec![("tls-cert", &*cert), ("tls-key", &*key)];
    all.extend(options);
    start(&all)
}

fn second(running: &Running) -> SocketAddr {
    running.server.addresses()[1]
}

fn connect_tls(address: SocketAddr) -> TlsMiner {
    TlsMiner::connect(address, client_config("first", Version::Any))
}

#[test]
fn tls_session_goes_to_an_accepted_block() {
    let running = start_tls(&[TLS]);
    running.server.template(Chain::easy().empty_at(0));
    running
        .node
        .wait_for_log(&format!("listening on tls://{}", second(&running)));
    for version in [Version::Tls12, Version::Tls13] {
        let config = client_config("first", version);
        let mut miner = TlsMiner::connect(second(&running), config);
        miner.log_in("alice");
        miner.mine_a_block();
    }
    // The first listener stays plain.
    running.mine_as("bob").mine(Want::Block);
}

#[test]
fn auto_listener_takes_both() {
    let running = start_tls(&[AUTO]);
    running.server.template(Chain::easy().empty_at(0));
    let mut encrypted = connect_tls(second(&running));
    encrypted.log_in("alice");
    let mut plain = Miner::connect(second(&running));
    plain.log_in("bob", "");
    encrypted.mine_a_block();
    plain.mine(Want::Block);
}

#[test]
fn http_over_tls_ends_with_a_goodbye() {
    let running = start_tls(&[TLS]);
    let mut miner = connect_tls(second(&running));
    miner.send("GET / HTTP/1.1\r\nHost: pool.test\r\n\r\n");
    // A connection closed without the TLS closing alert would be an error.
    let answer = miner.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}

#[test]
fn many_lines_at_once_are_all_answered() {
    let running = start_tls(&[TLS]);
    let mut miner = connect_tls(second(&running));
    let nonsense = "{\"id\":7,\"method\":\"mining.nonsense\",\"params\":[]}\n";
    miner.send(&nonsense.repeat(2000));
    for _ in 0..2000 {
        let line = miner.line();
        assert!(line.contains("unknown method"), "{line}");
    }
}

#[test]
fn what_is_no_tls_ends_alone() {
    let running = start_tls(&[("listen", "tls://127.0.0.1:0,auto://127.0.0.1:0")]);
    running.server.template(Chain::easy().empty_at(0));
    let mut honest = connect_tls(second(&running));
    honest.log_in("alice");
    let long = [&[0x16, 3, 1, 0x40, 0][..], &[1; 20_000]].concat();
    let garbage: [&[u8]; 6] = [
        b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 100],
        &[0x16; 100],
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
        &long,
    ];
    for (number, bytes) in garbage.iter().enumerate() {
        // Plain bytes may come from a miner on the listener for both.
        for address in &running.server.addresses()[1..2 + usize::from(bytes[0] == 0x16)] {
            let mut peer = connect(*address);
            // It may be closed before all is sent.
            let _ = peer.write_all(bytes);
            wait_for_end(&mut peer, &format!("garbage {number}"));
        }
    }
    honest.mine_a_block();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Waits until the server closes the connection, in whatever way; at most an alert comes before that.
fn wait_for_end(peer: &mut TcpStream, what: &str) {
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{what}"),
    }
    assert!(rest.len() < 100, "{what}: {rest:?}");
}

#[test]
fn unfinished_handshakes_hold_up_nobody() {
    let running = start_tls(&[AUTO, ("max-inbound", "500")]);
    running.server.template(Chain::easy().empty_at(0));
    let mut honest = running.mine_as("alice");
    let hello = crate::tls_miner::hello();
    let mut slow: Vec<TcpStream> = (0..300).map(|_| connect(second(&running))).collect();
    for at in 0..hello.len().min(60) {
        for stream in &mut slow {
            stream.write_all(&hello[at..=at]).expect("not ended yet");
        }
        if at % 10 == 0 {
            honest.mine(Want::Block);
        }
    }
    let mut encrypted = connect_tls(second(&running));
    encrypted.log_in("bob");
    encrypted.mine_a_block();
}

const STORM: usize = 500;

#[test]
fn all_who_connect_with_tls_at_once_get_a_job() {
    let running = start_tls(&[TLS]);
    let mut chain = Chain::easy();
    running.server.template(chain.empty_at(0));
    let mut honest = running.mine_as("alice");
    let config = client_config("first", Version::Any);
    let mut miners: Vec<TlsMiner> = (0..STORM)
        .map(|_| TlsMiner::connect(second(&running), config.clone()))
        .collect();
    for miner in &mut miners {
        miner.begin();
    }
    honest.mine(Want::Block);
    for (number, miner) in miners.iter_mut().enumerate() {
        miner.log_in(&format!("user.{number}"));
    }
    for miner in &mut miners {
        miner.wait_for_work();
    }
    running.move_on(chain.empty_at(1));
    for miner in &mut miners {
        miner.wait_for_other_work();
    }
}

/// Installs a certificate that can be replaced.
fn install(dir: &Path, cert: &str, key: &str) {
    fs::copy(data(cert), dir.join("tls.crt")).expect("copied");
    fs::copy(data(key), dir.join("tls.key")).expect("copied");
}

#[test]
fn certificate_changes_under_a_miner() {
    let dir = tempfile::tempdir().expect("a directory");
    install(dir.path(), "first.crt", "first.key");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let running = start(&[TLS, ("tls-cert", &cert), ("tls-key", &key)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut old = connect_tls(second(&running));
    old.log_in("alice");
    assert_eq!(old.certificate(), certificate("first"));

    // A key that does not fit changes nothing.
    install(dir.path(), "second.crt", "first.key");
    running.server.reload_certificates();
    running.node.wait_for_log("the old certificate stays");
    let mut same = connect_tls(second(&running));
    same.log_in("bob");

    install(dir.path(), "second.crt", "second.key");
    running.server.reload_certificates();
    running.node.wait_for_log("certificate reloaded");
    let config = client_config("second", Version::Any);
    let mut new = TlsMiner::connect(second(&running), config);
    new.log_in("carol");
    assert_eq!(new.certificate(), certificate("second"));

    fs::remove_file(&key).expect("removed");
    running.server.reload_certificates();
    let lines = running.node.wait_for_logs("the old certificate stays", 2);
    assert!(
        lines[1].1.starts_with("tls-key: failed to read "),
        "{lines:?}"
    );
    for miner in [&mut old, &mut same, &mut new] {
        miner.mine_a_block();
    }
}

#[test]
fn server_without_tls_has_nothing_to_reload() {
    let running = start(&[]);
    running.server.reload_certificates();
    running.node.wait_for_log("nothing to reload");
}

#[test]
fn unusable_certificate_stops_the_start() {
    let check = |cert: &str, key: &str, expected: &str| {
        let settings = crate::harness::settings(&[TLS, ("tls-cert", cert), ("tls-key", key)], None);
        let node = std::sync::Arc::new(crate::harness::TestNode::default());
        let error = hstratum::server::Server::start(settings, node).err();
        let text = format!("{:#}", error.expect("refused"));
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.lines().count(), 1);
    };
    let (first, key) = (data("first.crt"), data("first.key"));
    let other = data("second.key");
    check(
        "/nonexistent",
        &key,
        "tls-cert: failed to read /nonexistent: ",
    );
    check(
        &first,
        "/nonexistent",
        "tls-key: failed to read /nonexistent: ",
    );
    check(
        &key,
        &key,
        &format!("tls-cert: failed to read {key}: no certificate in it"),
    );
    check(
        &first,
        &first,
        &format!("tls-key: failed to read {first}: "),
    );
    check(
        &first,
        &other,
        &format!("tls-cert, tls-key: failed to use {first} with {other}: "),
    );
}

/// Headers in each form, for 192.0.2.7 where they name an address.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_BLOCK: &[u8] = b"\xc0\x00\x02\x07\x7f\0\0\x01\x30\x39\x0b\xc0";

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u8::try_from(block.len()).expect("short");
    [V2_START, &[command, family, 0, len], block].concat()
}

/// Logs in behind a header, and returns the address that was logged.
fn seen_through(running: &Running, name: &str, header: &[u8]) -> String {
    let mut miner = Miner::connect(running.server.address());
    miner.send_raw(header);
    miner.send(1, "mining.authorize", &json!([name, ""]));
    assert_eq!(miner.reply()["result"], true);
    let (_, line) = running.node.wait_for_log(&format!("\"{name}\""));
    let (_, address) = line.rsplit_once(" from ").expect("an address");
    address.to_owned()
}

#[test]
fn trusted_proxy_says_for_whom_it_connects() {
    let running = start(&[("proxy-protocol", "10.0.0.0/8, 127.0.0.1")]);
    let forms: [(&[u8], &str); 7] = [
        (
            b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 3008\r\n",
            "192.0.2.7",
        ),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 3008\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&v2(0x21, 0x11, V2_BLOCK), "192.0.2.7"),
        (&v2(0x20, 0x00, &[]), "127.0.0.1"),
        (&v2(0x20, 0x11, V2_BLOCK), "127.0.0.1"),
    ];
    for (number, (header, expected)) in forms.iter().enumerate() {
        let seen = seen_through(&running, &format!("form-{number}"), header);
        assert_eq!(&seen, expected, "form {number}");
    }
}

#[test]
fn header_may_be_cut_anywhere() {
    let running = start(&[("proxy-protocol", "127.0.0.1")]);
    let line = "{\"id\":1,\"method\":\"mining.nonsense\",\"params\":[]}\n";
    let v1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 3008\r\n";
    for header in [v1, &v2(0x21, 0x11, V2_BLOCK)] {
        for cut in 1..header.len() {
            let mut miner = Miner::connect(running.server.address());
            miner.send_raw(&header[..cut]);
            miner.send_raw(&[&header[cut..], line.as_bytes()].concat());
            assert!(miner.line().contains("unknown method"), "cut at {cut}");
        }
    }
}

#[test]
fn header_comes_before_tls() {
    let running = start_tls(&[
        ("listen", "tls://127.0.0.1:0,auto://127.0.0.1:0"),
        ("proxy-protocol", "127.0.0.1"),
    ]);
    running.server.template(Chain::easy().empty_at(0));
    let config = client_config("first", Version::Any);
    for (address, name) in running.server.addresses()[1..].iter().zip(["alice", "bob"]) {
        let mut stream = connect(*address);
        stream.write_all(&v2(0x21, 0x11, V2_BLOCK)).expect("sent");
        let mut miner = TlsMiner::over(stream, config.clone());
        miner.log_in(name);
        miner.mine_a_block();
        let (_, line) = running.node.wait_for_log(&format!("\"{name}\""));
        assert!(line.ends_with(" from 192.0.2.7"), "{line}");
        // Without a header there is no handshake.
        let mut peer = connect(*address);
        peer.write_all(&crate::tls_miner::hello()).expect("sent");
        wait_for_end(&mut peer, "no header");
    }
}

#[test]
fn what_is_no_header_ends_a_trusted_connection() {
    let running = start(&[("proxy-protocol", "127.0.0.0/8")]);
    let long = [b"PROXY ".as_slice(), &[b'x'; 200]].concat();
    let twice = b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n";
    let wrong: [&[u8]; 6] = [
        b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 12345\r\n",
        &long,
        twice,
        &v2(0x31, 0x11, V2_BLOCK),
        &v2(0x21, 0x11, &V2_BLOCK[1..]),
    ];
    for (number, bytes) in wrong.iter().enumerate() {
        let mut peer = connect(running.server.address());
        peer.write_all(bytes).expect("sent");
        wait_for_end(&mut peer, &format!("header {number}"));
    }
}

#[test]
fn header_from_anyone_else_ends_the_connection() {
    let running = start_tls(&[AUTO, ("proxy-protocol", "10.0.0.0/8")]);
    let v1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 3008\r\n";
    for header in [v1, b"PROXY UNKNOWN\r\n", &v2(0x20, 0x00, &[])] {
        for address in running.server.addresses() {
            let mut peer = connect(*address);
            peer.write_all(header).expect("sent");
            wait_for_end(&mut peer, "at once");
            // A header in pieces is accepted.
            let mut peer = connect(*address);
            peer.set_nodelay(true).expect("an option");
            for byte in header {
                if peer.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            wait_for_end(&mut peer, "in pieces");
        }
    }
    // Bytes that only begin like a header are refused.
    let mut miner = running.connect();
    miner.send_raw(b"PROX\n{\"id\":1,\"method\":\"mining.nonsense\"}\n");
    miner.line();
    assert!(miner.line().contains("unknown method"));
}

#[test]
fn each_listener_has_its_own_start_difficulty() {
    let running = start(&[
        ("difficulty", "16"),
        (
            "listen",
            "tcp://127.0.0.1:0?difficulty=1024,tcp://127.0.0.1:0",
        ),
    ]);
    running.server.template(Chain::hard().empty_at(0));
    let text = format!("listening on {}, difficulty 1024", second(&running));
    running.node.wait_for_log(&text);
    for (address, expected) in running.server.addresses().iter().zip([16.0, 1024.0, 16.0]) {
        let mut miner = Miner::connect(*address);
        miner.log_in("alice", "");
        let found = loop {
            let message = miner.json();
            if message["method"] == "mining.set_difficulty" {
                break message["params"][0].clone();
            }
        };
        assert_eq!(found.as_f64(), Some(expected), "{address}");
    }
}

#[test]
fn connection_over_the_limit_of_its_address_is_reset() {
    let running = start(&[("max-per-address", "2")]);
    let mut first = Miner::connect(running.server.address());
    let mut second = Miner::connect(running.server.address());
    assert!(first.is_served() && second.is_served());
    for _ in 0..10 {
        if let Some(mut third) = Miner::try_connect(running.server.address()) {
            assert_eq!(third.end(), (0, End::Reset));
        }
    }
    first.finish();
    assert_eq!(first.end().1, End::Finished);
    crate::harness::wait_until("there is room again", || {
        Miner::try_connect(running.server.address()).is_some_and(|mut miner| miner.is_served())
    });
    assert!(second.is_served());
}

#[test]
fn limit_of_an_address_counts_miners_behind_a_proxy_and_not_the_proxy() {
    let running = start(&[("max-per-address", "1"), ("proxy-protocol", "127.0.0.1")]);
    let through = |header: &str| {
        let mut miner = Miner::connect(running.server.address());
        miner.send_raw(header.as_bytes());
        miner
    };
    let mut checks: Vec<Miner> = (0..5).map(|_| through("PROXY UNKNOWN\r\n")).collect();
    assert!(checks.iter_mut().all(Miner::is_served));
    let mut one = through("PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n");
    assert!(one.is_served());
    let mut other = through("PROXY TCP4 192.0.2.8 127.0.0.1 1 2\r\n");
    assert!(other.is_served());
    let mut again = through("PROXY TCP4 192.0.2.7 127.0.0.1 3 2\r\n");
    assert_eq!(again.end(), (0, End::Reset));
    assert!(one.is_served());
}

#[test]
fn connections_that_say_nothing_are_nobodys_business() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let before = running.node.log_texts();
    for _ in 0..100 {
        drop(connect(running.server.address()));
    }
    let mut miner = running.mine_as("alice");
    miner.mine(Want::Share);
    let mut lines = running.node.log_texts();
    lines.retain(|line| !before.contains(line) && !line.contains("alice"));
    assert_eq!(lines, [""; 0]);
}
