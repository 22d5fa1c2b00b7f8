//! `hstratum proxy` as a process: robustness, and the handover to another process.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hstratum::audit_trail::Actor;
use hstratum::proxy::control::ControlOrder;
use hstratum_core::operator_order::{NewUser, Order, OrderOutcome};

use crate::front::{Front, free_port};
use crate::harness::miner::{End, Want};
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start, wait_until};

const SECRET: &str = "between servers and proxies";

/// A server with work, and its name for a proxy.
fn server() -> (Running, String) {
    let running = start(&[("difficulty", EVERY_HASH), ("proxy-secret", SECRET)]);
    running.move_on(Chain::hard().empty_at(0));
    let name = running.server.address().to_string();
    (running, name)
}

/// Gives orders that each cause a log line of some seventy bytes.
fn make_it_talk(front: &Front, name: &str, orders: usize) {
    for _ in 0..orders / 2 {
        for order in [
            ControlOrder::Drain(name.to_owned()),
            ControlOrder::Fill(name.to_owned()),
        ] {
            front.try_ask(&order).expect("it answers");
        }
    }
}

#[test]
fn standard_error_that_nobody_reads_harms_nobody() {
    let (_running, name) = server();
    let full = File::options().write(true).open("/dev/full");
    let full = full.expect("a disk that is full");
    // A pipe buffers 65,536 bytes.
    for (what, stderr, orders) in [
        ("full disk", Stdio::from(full), 10),
        ("no reader", Stdio::piped(), 10),
        ("a reader that stalls", Stdio::piped(), 1_600),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let stderr = match what {
            "full disk" => stderr,
            _ => Stdio::from(writer),
        };
        let reader = (what == "a reader that stalls").then_some(reader);
        let mut front = Front::start_saying(std::slice::from_ref(&name), &[], stderr);
        front.wait_until_up();
        let mut miner = front.mine_as("alice");
        make_it_talk(&front, &name, orders);
        miner.mine(Want::Share);
        assert!(front.is_running(), "{what}");
        assert_eq!(front.status()["failures"], 0, "{what}");
        drop(reader);
    }
}

/// Everything that can fail is tried before anything is taken over.
#[test]
fn who_cannot_take_over_leaves_the_miners_where_they_are() {
    let (_running, name) = server();
    let mut front = Front::start(&[name], &[]);
    front.wait_until_up();
    let mut miner = front.mine_as("alice");
    let refused = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = refused.local_addr().expect("bound").to_string();
    let (listen, http) = (format!("--listen=tcp://{taken}"), format!("--http={taken}"));
    let beside = front.control.with_extension("next");
    fs::create_dir(&beside).expect("made");
    for (arg, says) in [
        (&*listen, "failed to listen on"),
        (&*http, "failed to listen on"),
        ("--max-inbound=20", "it is there, and no socket"),
    ] {
        let output = front.command(&["--take-over", arg]).output().expect("run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        miner.mine(Want::Share);
    }
    drop(refused);
    fs::remove_dir(&beside).expect("removed");
    // Too few descriptors for what it would take over.
    let mut others: Vec<Miner> = (0..12).map(|_| front.mine_as("bob")).collect();
    let mut command = front.command_with_files("-n 150", &["--take-over"]);
    let output = command.output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("it has 13 miners, and there is room for 11"),
        "{said}"
    );
    for one in &mut others {
        one.mine(Want::Share);
    }
    miner.mine(Want::Share);
    front.mine_as("carol").mine(Want::Share);
    assert!(front.is_running());
    let status = front.take_over_by(front.command(&["--take-over"]));
    assert!(status.success());
    miner.mine(Want::Share);
    for one in &mut others {
        one.mine(Want::Share);
    }
    front.wait_until_up();
    front.mine_as("carol").mine(Want::Share);
}

/// The usual soft limit is raised before connections are accepted.
#[test]
fn a_take_over_needs_no_more_files_than_the_system_allows() {
    let (_running, name) = server();
    let mut front = Front::start(&[name], &[]);
    front.wait_until_up();
    let mut miners: Vec<Miner> = (0..40).map(|_| front.mine_as("alice")).collect();
    let command = front.command_with_files("-Sn 64", &["--take-over"]);
    assert!(front.take_over_by(command).success());
    for miner in &mut miners {
        miner.mine(Want::Share);
    }
    assert_eq!(front.status()["miners"], 40);
}

/// A client that sends a byte at a time has no more time than others.
#[test]
fn a_process_that_takes_over_slowly_does_not_hold_the_miners() {
    let (_running, name) = server();
    let front = Front::start(&[name], &[]);
    front.wait_until_up();
    let mut miner = front.mine_as("alice");
    let mut taker = UnixStream::connect(&front.control).expect("there");
    taker.write_all(b"hand over 2\n").expect("asked");
    let mut bytes = [0; 4096];
    assert!(taker.read(&mut bytes).expect("an offer") > 0);
    // Miners are served while it gets ready.
    miner.mine(Want::Share);
    taker.write_all(b"ready\n").expect("said");
    let mut writer = taker.try_clone().expect("cloned");
    let slow = thread::spawn(move || {
        for byte in b"taken\n" {
            thread::sleep(Duration::from_secs(2));
            if writer.write_all(&[*byte]).is_err() {
                break;
            }
        }
    });
    // Stopped as soon as the miners are on their way.
    while taker.read(&mut bytes).expect("the miners") == bytes.len() {}
    let begun = Instant::now();
    miner.mine(Want::Share);
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    front.wait_for_line("takes too long");
    slow.join().expect("no panic");
}

#[test]
fn control_removes_nothing_but_a_socket() {
    let (_running, name) = server();
    let front = Front::start(std::slice::from_ref(&name), &[]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("proxy.toml");
    fs::write(&file, "no-backend = \"close\"\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_hstratum"))
        .args(["proxy", "--listen=tcp://127.0.0.1:0"])
        .args([
            format!("--backend={name}"),
            format!("--control={}", file.display()),
        ])
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it is there, and no socket"), "{said}");
    assert!(file.exists());
    drop(front);
}

/// A proxy that was killed has left its socket.
#[test]
fn the_socket_of_a_proxy_that_was_killed_is_replaced() {
    let (_running, name) = server();
    let mut front = Front::start(&[name], &[]);
    front.wait_until_up();
    front.child.kill().expect("killed");
    front.child.wait().expect("ended");
    assert!(front.control.exists());
    let command = front.command(&[]);
    front.take_over_by(command);
    front.wait_until_up();
}

#[test]
fn a_name_that_cannot_be_found_stops_nothing_and_all_addresses_are_tried() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.move_on(Chain::hard().empty_at(0));
    let port = running.server.address().port();
    let names = [
        format!("localhost:{port}"),
        "nowhere.invalid:3008".to_owned(),
    ];
    let front = Front::start(&names, &[]);
    front.wait_for_line(&format!("server {} is up", names[0]));
    front.mine_as("alice").mine(Want::Share);
    wait_until("the other is said to be nowhere", || {
        front.status()["servers"][1]["reason"] == "its name cannot be found"
    });
    front.wait_for_line("failed to find nowhere.invalid:3008");
}

/// Every miner notices a reset, but not every one a FIN.
#[test]
fn a_proxy_that_is_killed_resets_its_miners() {
    let (_running, name) = server();
    let mut front = Front::start(&[name], &[]);
    front.wait_until_up();
    let mut miner = front.mine_as("alice");
    front.child.kill().expect("killed");
    front.child.wait().expect("ended");
    assert_eq!(miner.end().1, End::Reset);
}

/// A miner's line, however long, is never counted as a server's failure.
#[test]
fn lines_as_long_as_may_be_take_no_server_down() {
    let (_running, name) = server();
    let front = Front::start(&[name], &[]);
    front.wait_until_up();
    let mut honest = front.mine_as("alice");
    for _ in 0..12 {
        for bytes in [8_170, 8_185, 8_190, 8_191] {
            let mut other = front.connect();
            let line = r#"{"method":"mining.ping","params":[]}"#;
            other.send_raw(format!("{line:<bytes$}\n").as_bytes());
            other.send(1, "mining.nonsense", &serde_json::json!([]));
            // Answered or refused: either affects only this connection.
            let _ = other.is_served();
        }
        honest.mine(Want::Share);
    }
    assert_eq!(front.status()["servers"][0]["state"], "up");
    let downs = front
        .lines()
        .iter()
        .filter(|line| line.contains("is down"))
        .count();
    assert_eq!(downs, 0);
}

/// A miner tries the next entry of its own list of pools.
#[test]
fn without_a_server_the_port_refuses_until_there_is_one() {
    let port = free_port();
    let name = format!("127.0.0.1:{port}");
    let mut front = Front::start(&[name], &["--no-backend=wait:1s"]);
    let mut miner = front.connect();
    miner.log_in("alice", "");
    assert_eq!(miner.end().1, End::Reset);
    front.wait_for_line("no server is up");
    wait_until("whoever comes is refused", || {
        TcpStream::connect(front.address).is_err()
    });
    // A new process accepts connections for a while, since it knows of no outage yet.
    let command = front.command(&["--no-backend=wait:1s", "--take-over"]);
    assert!(front.take_over_by(command).success());
    wait_until("they are taken again", || {
        TcpStream::connect(front.address).is_ok()
    });
    wait_until("and refused again", || {
        TcpStream::connect(front.address).is_err()
    });
    let running = start(&[("difficulty", EVERY_HASH), ("port", &port.to_string())]);
    running.move_on(Chain::hard().empty_at(0));
    wait_until("the first server opens the port", || {
        TcpStream::connect(front.address).is_ok()
    });
    front.mine_as("alice").mine(Want::Share);
}

/// A proof admits nobody whom the operator has excluded.
#[test]
fn a_disabled_account_mines_no_more_through_a_proxy() {
    let servers = [server(), server()];
    let names = servers.each_ref().map(|(_, name)| name.clone());
    let front = Front::start(&names, &[&format!("--proxy-secret={SECRET}")]);
    front.wait_until_up();
    for (running, _) in &servers {
        let add = Order::AddUser(NewUser {
            name: "alice".to_owned(),
            password: "x".to_owned(),
            address: None,
            is_locked: false,
            wire_admin: None,
        });
        let done = running
            .server
            .change(&Actor::rpc(), add)
            .make()
            .expect("answered");
        assert_eq!(done, Ok(OrderOutcome::Done));
    }
    let mut bob = front.mine_as("bob");
    let mut alice = front.connect();
    alice.log_in("alice", "x");
    alice.mine(Want::Share);
    for (running, _) in &servers {
        let disable = Order::DisableUser("alice".to_owned());
        let done = running
            .server
            .change(&Actor::rpc(), disable)
            .make()
            .expect("answered");
        assert_eq!(done, Ok(OrderOutcome::Done));
    }
    assert_eq!(alice.end().1, End::Reset);
    let mut again = front.connect();
    again.send(1, "mining.subscribe", &serde_json::json!([]));
    again.send(2, "mining.authorize", &serde_json::json!(["alice", "x"]));
    again.reply();
    assert_eq!(again.reply()["error"][0], 24);
    bob.mine(Want::Share);
}

#[test]
fn proxies_may_stand_in_a_chain() {
    let (_running, name) = server();
    let inner = Front::start(&[name], &[]);
    inner.wait_until_up();
    let outer = Front::start(&[inner.address.to_string()], &["--prefix=02"]);
    outer.wait_until_up();
    let mut miners: Vec<Miner> = (0..5).map(|_| outer.mine_as("alice")).collect();
    for miner in &mut miners {
        miner.mine(Want::Share);
        miner.mine(Want::Share);
    }
}
