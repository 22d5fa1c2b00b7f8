//! Tests of how connections end.

use std::io::Read;
use std::time::Instant;

use super::*;

/// Dropping the sockets is what the kernel does when a process is killed.
#[test]
fn connection_of_a_process_that_is_gone_is_reset() {
    let mut net = bind();
    let mut peer = connect(&net);
    accept(&mut net);
    drop(net);
    assert!(is_reset(&mut peer));
}

#[test]
fn what_is_said_before_an_orderly_end_arrives() {
    let mut net = bind();
    let mut peer = connect_narrow(&net);
    let id = accept(&mut net);
    // Closing a socket with unread bytes sends a reset, whatever its options are.
    while let Some(id) = net.next_readable() {
        net.read(id);
    }
    let line = [vec![b'a'; 200_000], vec![b'\n']].concat();
    net.send(id, &line);
    net.close(id, CloseHow::Flushed);
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all.len())
    });
    let begun = Instant::now();
    while !net.conns.is_empty() && begun.elapsed() < DEADLINE {
        net.wait(Duration::from_millis(10));
        net.begin_turn(0);
        net.flush();
    }
    let read = reading.join().expect("no panic");
    assert_eq!(read.expect("an orderly end"), line.len());
}
