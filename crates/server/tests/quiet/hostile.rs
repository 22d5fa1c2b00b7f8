//! Abuse of the server, while honest miners mine unaffected.
//!
//! `make hostile` prints the honest miners' latencies.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start, wait_until};

const HONEST: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// Duration of each abuse.
const ABUSE: Duration = Duration::from_millis(1_500);
/// Bytes by which the process, which holds both sides, may grow in all.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// Abuses the server until it is told to stop; returns the number of attempts.
type Abuse = fn(SocketAddr, &AtomicBool) -> u64;

const ABUSES: [(&str, Abuse); 11] = [
    ("nothing", nothing),
    ("one byte a second, 300 times", trickle),
    ("asks and never reads", never_read),
    ("malformed lines", malformed_lines),
    ("lines of 1 MB", long_lines),
    ("deep JSON", deep_json),
    ("invalid UTF-8", invalid_utf8),
    ("TLS greetings on a plain port", tls_greetings),
    ("resets in the middle of it", resets),
    ("logs in, 2,000 times, and idles", idle),
    ("connects and leaves", leave),
];

#[test]
fn honest_miners_go_on_as_ever() {
    let _turn = crate::turn();
    let running = start(&[("difficulty", EVERY_HASH), ("max-inbound", "1000")]);
    running.server.template(Chain::hard().empty_at(0));
    let before = resident_bytes();
    println!("{HONEST} honest miners, a share each {PAUSE:?}; what their replies took, in ms");
    println!(
        "{:32} {:>9} {:>7} {:>6} {:>6} {:>6}",
        "abuse", "times", "shares", "p50", "p99", "max"
    );
    for (name, abuse) in ABUSES {
        let (times, mut waits) = run(&running, abuse);
        waits.sort_unstable();
        let at = |share: usize| waits[(waits.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!(
            "{name:32} {times:>9} {:>7} {:>6.2} {:>6.2} {:>6.2}",
            waits.len(),
            at(50),
            at(99),
            at(100)
        );
        assert!(waits.len() >= HONEST * 10, "{name}: honest miners starve");
    }
    let growth = resident_bytes().saturating_sub(before);
    println!("memory: {} MB more than before", growth >> 20);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
}

/// Lets honest miners mine during an abuse; each of their shares is accepted.
fn run(running: &Running, abuse: Abuse) -> (u64, Vec<Duration>) {
    let stop = Arc::new(AtomicBool::new(false));
    let honest: Vec<_> = (0..HONEST)
        .map(|_| {
            let (mut miner, stop) = (running.mine_as("alice"), stop.clone());
            thread::spawn(move || {
                let mut waits = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    miner.mine(Want::Share);
                    waits.push(begun.elapsed());
                    thread::sleep(PAUSE);
                }
                waits
            })
        })
        .collect();
    let (address, abuser_stop) = (running.server.address(), stop.clone());
    let abuser = thread::spawn(move || abuse(address, &abuser_stop));
    thread::sleep(ABUSE);
    stop.store(true, Ordering::Relaxed);
    let times = abuser.join().expect("abused");
    let waits = honest
        .into_iter()
        .flat_map(|miner| miner.join().expect("every share accepted"));
    (times, waits.collect())
}

fn nothing(_: SocketAddr, _: &AtomicBool) -> u64 {
    0
}

/// Connects; `None` if the server refuses, as it may.
fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream
        .set_write_timeout(Some(Duration::from_millis(50)))
        .ok()?;
    Some(stream)
}

/// Writes repeatedly, on a new connection when the old one is gone.
fn flood(address: SocketAddr, stop: &AtomicBool, bytes: &[u8]) -> u64 {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut stream) = connect(address) else {
            continue;
        };
        while !stop.load(Ordering::Relaxed) && stream.write_all(bytes).is_ok() {
            times += 1;
        }
    }
    times
}

fn trickle(address: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut streams: Vec<TcpStream> = (0..300).filter_map(|_| connect(address)).collect();
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut streams {
            times += u64::from(stream.write_all(b"{").is_ok());
        }
        thread::sleep(Duration::from_millis(500));
    }
    times
}

fn never_read(address: SocketAddr, stop: &AtomicBool) -> u64 {
    flood(
        address,
        stop,
        &b"{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(100),
    )
}

fn malformed_lines(address: SocketAddr, stop: &AtomicBool) -> u64 {
    flood(address, stop, &b"{\"id\":1,\n".repeat(50))
}

fn long_lines(address: SocketAddr, stop: &AtomicBool) -> u64 {
    flood(address, stop, &vec![b'x'; 1 << 20])
}

fn deep_json(address: SocketAddr, stop: &AtomicBool) -> u64 {
    let line = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":{}\n",
        "[".repeat(8000)
    );
    flood(address, stop, line.as_bytes())
}

fn invalid_utf8(address: SocketAddr, stop: &AtomicBool) -> u64 {
    flood(
        address,
        stop,
        b"{\"id\":\"\xff\xfe\",\"method\":\"\xc0\x80\"}\n",
    )
}

fn tls_greetings(address: SocketAddr, stop: &AtomicBool) -> u64 {
    flood(
        address,
        stop,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    )
}

fn resets(address: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut stream) = connect(address) else {
            continue;
        };
        let halves =
            b"{\"id\":1,\"method\":\"mining.subscribe\"}\n{\"id\":2,\"method\":\"mining.auth";
        let _ = stream.write_all(halves);
        if times % 3 == 0 {
            let _ = stream.shutdown(Shutdown::Write);
        } else {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        times += 1;
    }
    times
}

/// Opens twice as many connections as there are places, and reopens those that were reset.
fn idle(address: SocketAddr, stop: &AtomicBool) -> u64 {
    const LOGIN: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\"}\n\
        {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"idle\",\"\"]}\n";
    let mut streams = Vec::new();
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut stream) = connect(address) else {
            continue;
        };
        times += u64::from(stream.write_all(LOGIN).is_ok());
        if streams.len() < 2_000 {
            streams.push(stream);
        }
    }
    times
}

fn leave(address: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        times += u64::from(connect(address).is_some());
    }
    times
}

/// Resident memory of the process (Linux: /proc/self/statm, in pages of 4 KiB).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

#[test]
fn three_times_more_come_than_there_is_room_for() {
    let _turn = crate::turn();
    let running = start(&[("difficulty", EVERY_HASH), ("max-inbound", "1500")]);
    running.server.template(Chain::hard().empty_at(0));
    let mut miner = running.mine_as("alice");
    let streams: Vec<TcpStream> = (0..4500)
        .filter_map(|_| connect(running.server.address()))
        .collect();
    miner.mine(Want::Share);
    drop(streams);
    // Places are free again.
    wait_until("another miner is served", || {
        Miner::try_connect(running.server.address()).is_some_and(|mut other| other.is_served())
    });
    miner.mine(Want::Share);
}
