//! Limits of connections, and isolation of connections from each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::harness::miner::{End, Want};
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start, wait_until};

const NONSENSE: &str = "{\"id\":7,\"method\":\"mining.nonsense\",\"params\":[]}\n";
const UNKNOWN: &str = r#"{"id":7,"result":null,"error":[0,"unknown method",false]}"#;

#[test]
fn connection_over_the_limit_is_reset_until_one_goes() {
    let running = start(&[("max-inbound", "2")]);
    running.server.template(Chain::easy().empty_at(0));
    let mut first = running.mine_as("alice");
    let second = running.mine_as("bob");
    for _ in 0..10 {
        if let Some(mut third) = Miner::try_connect(running.server.address()) {
            assert_eq!(third.end(), (0, End::Reset));
        }
    }
    second.reset();
    wait_for_room(&running, 1);
    first.finish();
    assert_eq!(first.end().1, End::Finished);
    wait_for_room(&running, 2);
}

/// Waits until this many can be connected together.
fn wait_for_room(running: &Running, count: usize) {
    wait_until(&format!("there is room for {count}"), || {
        let address = running.server.address();
        let mut miners: Vec<_> = (0..count).map(|_| Miner::try_connect(address)).collect();
        let served = |miner: &mut Option<Miner>| miner.as_mut().is_some_and(Miner::is_served);
        miners.iter_mut().all(served)
    });
}

#[test]
fn miners_may_go_at_any_moment() {
    let running = start(&[("max-inbound", "64"), ("difficulty", EVERY_HASH)]);
    let mut chain = Chain::easy();
    running.server.template(chain.empty_at(0));
    let mut steady = running.mine_as("steady");
    let session = "{\"id\":1,\"method\":\"mining.subscribe\"}\n\
         {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"a\",\"\"]}\n\
         {\"id\":3,\"method\":\"mining.submit\",\"params\":[\"a\",\"x\",\"00000000\"]}\n";
    for step in 0..session.len() {
        let mut miner = running.connect();
        miner.send_raw(&session.as_bytes()[..step]);
        match step % 4 {
            0 => miner.reset(),
            // Dropped with unread data.
            1 => drop(miner),
            2 => miner.finish(),
            _ => {
                miner.finish();
                assert_eq!(miner.end().1, End::Finished);
            }
        }
        // Jobs go out while connections come and go.
        if step % 8 == 0 {
            let old = steady.wait_for_work();
            running.server.template(chain.empty_at(0));
            steady.wait_for_new_work(&old);
        }
    }
    steady.mine(Want::Share);
    // One is still there.
    wait_for_room(&running, 63);
}

#[test]
fn half_closed_miner_gets_the_replies_there_are() {
    let running = start(&[]);
    let mut miner = running.connect();
    miner.send_raw(NONSENSE.repeat(3).as_bytes());
    miner.finish();
    assert_eq!(miner.end(), (3, End::Finished));
}

#[test]
fn miner_that_reads_no_jobs_is_dropped_alone() {
    let running = start(&[("max-inbound", "2"), ("difficulty", EVERY_HASH)]);
    let mut chain = Chain::hard();
    running.server.template(chain.empty_at(0));
    let mut deaf = Miner::connect_narrow(running.server.address());
    deaf.log_in("deaf", "");
    deaf.wait_for_work();
    let mut miner = running.mine_as("alice");
    let mut jobs = 0;
    wait_until("the slot is free", || {
        for _ in 0..100 {
            let old = miner.wait_for_work();
            running.server.template(chain.empty_at(0));
            miner.wait_for_new_work(&old);
            jobs += 1;
        }
        miner.mine(Want::Share);
        Miner::try_connect(running.server.address()).is_some_and(|mut third| third.is_served())
    });
    // The kernel's buffer may still be read; most was never sent.
    let (lines, end) = deaf.end();
    assert_eq!(end, End::Reset);
    assert!(lines < jobs, "{lines} of {jobs}");
    miner.mine(Want::Share);
}

#[test]
fn miner_that_reads_replies_slowly_gets_them_all_and_holds_up_nobody() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let slow = Miner::connect_narrow(running.server.address());
    let (mut writer, mut slow) = slow.split();
    // Far more than may be queued: the server stops reading, so that the writer must wait too.
    const COUNT: usize = 100_000;
    let writing = thread::spawn(move || {
        for _ in 0..COUNT / 100 {
            writer.send_raw(NONSENSE.repeat(100).as_bytes());
        }
        writer
    });
    let mut other = running.mine_as("alice");
    for number in 0..COUNT {
        assert_eq!(slow.line(), UNKNOWN, "line {number}");
        if number % 1000 == 0 {
            other.mine(Want::Block);
        }
    }
    writing.join().expect("all was sent");
    slow.send_raw(NONSENSE.as_bytes());
    assert_eq!(slow.line(), UNKNOWN);
}

#[test]
fn all_addresses_are_those_of_both_families() {
    let running = start(&[("host", "::")]);
    let port = running.server.address().port();
    let loopbacks = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    for address in loopbacks {
        let mut miner = Miner::connect(SocketAddr::new(address, port));
        miner.send(1, "mining.authorize", &json!([format!("at-{address}"), ""]));
        assert_eq!(miner.reply()["result"], true);
        // An IPv4 miner is not shown as a mapped address.
        let (_, line) = running.node.wait_for_log(&format!("at-{address}"));
        assert!(line.ends_with(&format!("from {address}")), "{line}");
    }
}

#[test]
fn port_that_is_taken_is_named() {
    let running = start(&[]);
    let port = running.server.address().port().to_string();
    let settings = crate::harness::settings(&[("port", &port)], None);
    let node = std::sync::Arc::new(crate::harness::TestNode::default());
    let error = hstratum::server::Server::start(settings, node).err();
    let text = format!("{:#}", error.expect("the port is taken"));
    assert!(
        text.starts_with(&format!(
            "failed to listen on 127.0.0.1:{port} (host, port): "
        )),
        "{text}"
    );
}

const ADDRESS_FILE: &str = "HSTRATUM_TEST_ADDRESS_FILE";

/// The server of the next test, in a process of its own, since descriptors are counted per process.
#[test]
fn server_with_few_descriptors() {
    let Some(file) = std::env::var_os(ADDRESS_FILE) else {
        return;
    };
    let running = start(&[]);
    let open = std::fs::read_dir("/proc/self/fd").expect("listed").count() as u64;
    let limit = Rlimit {
        current: Some(open + 10),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).expect("lowered");
    let address = running.server.address().to_string();
    std::fs::write(&file, address + "\n").expect("written");
    // Until the test is done with it.
    let _ = std::io::stdin().read_line(&mut String::new());
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn want_of_descriptors_is_survived() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("address");
    let child = Command::new(std::env::current_exe().expect("known"))
        .args(["--exact", "connections::server_with_few_descriptors"])
        .env(ADDRESS_FILE, &file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let _child = Killed(child);
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_until("the server is there", || read().ends_with('\n'));
    let address: SocketAddr = read().trim_end().parse().expect("an address");

    let mut miners: Vec<Miner> = (0..40).map(|_| Miner::connect(address)).collect();
    for miner in &mut miners {
        miner.send_raw(NONSENSE.as_bytes());
    }
    // Some are accepted at once; the others wait until those are closed.
    for mut miner in miners {
        assert_eq!(miner.line(), UNKNOWN);
    }
    let mut last = Miner::connect(address);
    assert!(last.is_served());
}

/// A port full of silent sockets serves new miners, and shows its occupancy.
#[test]
fn silent_sockets_give_way_to_miners_and_are_shown() {
    let running = start(&[("max-inbound", "8"), ("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let mut first = running.mine_as("alice");
    let address = running.server.address();
    let silent: Vec<_> = (0..40)
        .map(|_| std::net::TcpStream::connect(address).expect("connected"))
        .collect();
    for n in 0..5 {
        let mut miner = running.mine_as(&format!("bob{n}"));
        miner.mine(Want::Share);
    }
    first.mine(Want::Share);
    wait_until("it is said", || {
        let lines = running.node.log_texts();
        lines
            .iter()
            .any(|line| line.starts_with("The pool is full: "))
    });
    drop(silent);
}
