use std::io::BufRead;
use std::net::{Ipv4Addr, TcpStream as Peer};
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Sockets on a port that is free: one that was asked for, as in the field.
fn bind() -> Net {
    let free = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    Net::bind(LOOPBACK, port, 100).expect("bound").0
}

/// Waits until a connection was taken.
fn accept(net: &mut Net) -> ConnId {
    let deadline = Instant::now() + DEADLINE;
    let mut taken = None;
    while taken.is_none() {
        assert!(Instant::now() < deadline, "no connection");
        net.wait(Duration::from_millis(10), |id, _| taken = Some(id));
    }
    taken.expect("the loop ends with one")
}

fn connect(net: &Net) -> Peer {
    let peer = Peer::connect_timeout(&net.address(), DEADLINE).expect("connected");
    peer.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    peer
}

/// A peer for which the system keeps little while it does not read.
fn connect_narrow(net: &Net) -> Peer {
    let socket = Socket::new(Domain::for_address(net.address()), Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket
        .set_recv_buffer_size(64 * 1024)
        .expect("a small buffer");
    socket.connect(&net.address().into()).expect("connected");
    let peer = Peer::from(socket);
    peer.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    peer
}

fn is_refused(net: &Net) -> bool {
    let connected = Peer::connect_timeout(&net.address(), DEADLINE);
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[test]
fn whole_lines_that_fit_a_segment_are_written_together() {
    let line = |bytes: usize| [vec![b'x'; bytes - 1], vec![b'\n']].concat();
    let check = |lines: &[usize], expected: usize| {
        let waiting = lines
            .iter()
            .flat_map(|&bytes| line(bytes))
            .collect::<Vec<_>>();
        assert_eq!(lines_for_one_write(&waiting), expected, "{lines:?}");
    };
    check(&[10], 10);
    check(&[WRITE_BYTES], WRITE_BYTES);
    check(&[1000, 400], WRITE_BYTES);
    check(&[1000, 401], 1000);
    check(&[1, 1399, 1], WRITE_BYTES);
    check(&[1, 1400], 1);
    // A long line goes alone, however long.
    check(&[WRITE_BYTES + 1], WRITE_BYTES + 1);
    check(&[5000, 10], 5000);
    check(&[10, 5000, 10], 10);
}

#[test]
fn bytes_without_a_newline_are_written_at_once() {
    for len in [1, WRITE_BYTES, WRITE_BYTES + 1, 10 * WRITE_BYTES] {
        assert_eq!(lines_for_one_write(&vec![b'x'; len]), len);
    }
    assert_eq!(lines_for_one_write(b""), 0);
}

#[test]
fn port_refuses_while_it_is_off_and_stays_ours() {
    let mut net = bind();
    let address = net.address();
    let early = connect(&net);
    let early_id = accept(&mut net);
    for _ in 0..3 {
        net.listen(Listening::Off).expect("off");
        net.listen(Listening::Off).expect("off twice");
        assert!(is_refused(&net));
        // The standard library's listeners ask to reuse addresses; even they do not get it.
        assert!(std::net::TcpListener::bind(address).is_err());
        net.wait(Duration::ZERO, |_, _| panic!("nobody can have connected"));

        net.listen(Listening::On).expect("on");
        net.listen(Listening::On).expect("on twice");
        let _late = connect(&net);
        accept(&mut net);
    }
    // Who was connected is not touched.
    net.send(early_id, b"still here\n");
    net.flush();
    let mut line = String::new();
    io::BufReader::new(early)
        .read_line(&mut line)
        .expect("read");
    assert_eq!(line, "still here\n");
}

#[test]
fn free_port_is_the_same_after_it_was_off() {
    let (mut net, _waker) = Net::bind(LOOPBACK, 0, 100).expect("bound");
    net.listen(Listening::Off).expect("off");
    assert!(is_refused(&net));
    net.listen(Listening::On).expect("on");
    let _peer = connect(&net);
    accept(&mut net);
}

#[test]
fn connection_that_waited_when_the_port_went_off_is_reset() {
    let mut net = bind();
    let mut peer = connect(&net);
    net.listen(Listening::Off).expect("off");
    let error = peer.read(&mut [0]).expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn connection_over_the_limit_is_reset_until_one_goes() {
    let (mut net, _waker) = Net::bind(LOOPBACK, 0, 1).expect("bound");
    let _first = connect(&net);
    let id = accept(&mut net);
    let mut second = connect(&net);
    while !is_reset(&mut second) {
        net.wait(Duration::from_millis(10), |_, _| panic!("one is the limit"));
    }
    net.close(id, CloseHow::Reset);
    let _third = connect(&net);
    let again = accept(&mut net);
    assert_ne!(id, again, "a number is used once");
}

/// Whether the connection was reset by now.
fn is_reset(peer: &mut Peer) -> bool {
    peer.set_nonblocking(true).expect("an option");
    match peer.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        Ok(len) => panic!("neither open nor reset: {len} bytes"),
    }
}

#[test]
fn what_has_left_takes_no_room_while_more_waits() {
    let mut net = bind();
    let mut peer = connect_narrow(&net);
    let id = accept(&mut net);
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    let waiting = |net: &Net| {
        let conn = &net.conns[slot_of(id)];
        conn.out.len() - conn.out_done
    };
    // As much is sent as is read and a little more, so that something always waits.
    let mut sent = 0;
    while sent < 10 * OUT_BYTES_MAX {
        while waiting(&net) < OUT_BYTES_MAX / 2 {
            net.send(id, &line);
            sent += line.len();
        }
        net.flush();
        net.wait(Duration::ZERO, |_, _| {});
        net.flush();
        let room = net.conns[slot_of(id)].out.capacity();
        assert!(room <= 2 * OUT_BYTES_MAX, "{room} bytes after {sent}");
        let read = peer.read(&mut [0; 100_000]);
        assert!(read.expect("something waits") > 0);
    }
}

#[test]
fn connection_that_takes_nothing_is_lost_at_the_limit_alone() {
    let mut net = bind();
    let mut slow = connect(&net);
    let slow_id = accept(&mut net);
    let mut quick = connect(&net);
    let quick_id = accept(&mut net);
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    let mut lost = Vec::new();
    let mut sent = 0;
    while lost.is_empty() {
        assert!(sent < 100 * OUT_BYTES_MAX, "the limit was not met");
        net.send_shared(slow_id, &line);
        net.send_shared(quick_id, &line);
        sent += line.len();
        quick.read_exact(&mut vec![0; 1000]).expect("served");
        net.flush();
        lost = net.take_lost();
    }
    assert_eq!(lost, [slow_id]);
    let mut received = Vec::new();
    let error = slow.read_to_end(&mut received).expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(received.len() < sent);
}
