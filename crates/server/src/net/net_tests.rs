use std::io::{BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream as Peer};
use std::time::Instant;

use hstratum_core::event::Listening;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::limits::JOBS_ONE_THREAD_MAX;
use crate::net::listener::Encryption;

const DEADLINE: Duration = Duration::from_secs(30);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Sockets on a free port given by its number, as in production.
fn bind() -> Net {
    let free = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    bind_port(port, 100)
}

fn bind_port(port: u16, conns_max: usize) -> Net {
    let config = NetConfig {
        first_option: "host, port",
        conns_max,
        ..config(&[(Encryption::Never, port)])
    };
    Net::bind(config).expect("bound").0
}

fn config(listeners: &[(Encryption, u16)]) -> NetConfig {
    let difficulty = Difficulty::new(8.0).expect("above 0");
    let listener = |&(encryption, port)| {
        let spec = ListenSpec {
            payout: None,
            encryption,
            address: (LOOPBACK, port).into(),
            difficulty: None,
        };
        (spec, difficulty)
    };
    NetConfig {
        first_option: "host, port",
        listeners: listeners.iter().map(listener).collect(),
        inherited: Vec::new(),
        proxies: Vec::new(),
        conns_max: 100,
        per_address_max: 0,
        certificate: None,
    }
}

fn address(net: &Net) -> SocketAddr {
    net.listeners().next().expect("there is one").0.address
}

/// A turn of the driver as far as it concerns sockets; returns a connection that has opened in it.
fn turn(net: &mut Net, timeout: Duration) -> Option<ConnId> {
    net.wait(timeout);
    net.begin_turn(0);
    let id = net.next_readable()?;
    matches!(net.read(id), ReadResult::Opened(_)).then_some(id)
}

/// Waits until a connection has opened.
fn accept(net: &mut Net) -> ConnId {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "no connection");
        if let Some(id) = turn(net, Duration::from_millis(10)) {
            return id;
        }
    }
}

/// Connects a peer that has sent something: before that the connection is not reported.
fn connect(net: &Net) -> Peer {
    let mut peer = Peer::connect_timeout(&address(net), DEADLINE).expect("connected");
    peer.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    peer.write_all(b"\n").expect("sent");
    peer
}

/// Connects a peer with a small receive buffer.
fn connect_narrow(net: &Net) -> Peer {
    let socket = Socket::new(Domain::for_address(address(net)), Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket
        .set_recv_buffer_size(64 * 1024)
        .expect("a small buffer");
    socket.connect(&address(net).into()).expect("connected");
    let mut peer = Peer::from(socket);
    peer.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    peer.write_all(b"\n").expect("sent");
    peer
}

fn is_refused(net: &Net) -> bool {
    let connected = Peer::connect_timeout(&address(net), DEADLINE);
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[test]
fn port_refuses_while_it_is_off_and_stays_ours() {
    let mut net = bind();
    let address = address(&net);
    let early = connect(&net);
    let early_id = accept(&mut net);
    for _ in 0..3 {
        net.listen(Listening::Off).expect("off");
        net.listen(Listening::Off).expect("off twice");
        assert!(is_refused(&net));
        // The standard library's listeners set SO_REUSEADDR; even they do not get the port.
        assert!(std::net::TcpListener::bind(address).is_err());
        assert_eq!(turn(&mut net, Duration::ZERO), None);

        net.listen(Listening::On).expect("on");
        net.listen(Listening::On).expect("on twice");
        let _late = connect(&net);
        accept(&mut net);
    }
    // Existing connections are not affected.
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
    let mut net = bind_port(0, 100);
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
    let mut net = bind_port(0, 1);
    let _first = connect(&net);
    let id = accept(&mut net);
    net.admitted(id);
    let mut second = connect(&net);
    while !is_reset(&mut second) {
        let opened = turn(&mut net, Duration::from_millis(10));
        assert_eq!(opened, None, "one is the limit");
    }
    net.close(id, CloseHow::Reset);
    let _third = connect(&net);
    let again = accept(&mut net);
    assert_ne!(id, again, "a number is used once");
}

/// True if the connection was reset by now.
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
    // A little more is sent than is read, so that something is always queued.
    let mut sent = 0;
    while sent < 10 * OUT_BYTES_MAX {
        while net.conns[slot_of(id)].waiting() < OUT_BYTES_MAX / 2 {
            net.send(id, &line);
            sent += line.len();
        }
        net.flush();
        turn(&mut net, Duration::ZERO);
        net.flush();
        let room = net.conns[slot_of(id)].room();
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
    let line: Arc<[u8]> = [vec![b'x'; 999], vec![b'\n']].concat().into();
    let mut lost = Vec::new();
    let mut sent = 0;
    while lost.is_empty() {
        assert!(sent < 100 * OUT_BYTES_MAX, "the limit was not met");
        net.add_job(slow_id, line.clone());
        net.add_job(quick_id, line.clone());
        net.send_jobs();
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

#[test]
fn jobs_are_in_their_place_among_other_lines_from_one_thread_and_from_two() {
    const PEERS: usize = 2 * JOBS_ONE_THREAD_MAX;
    const LOST: usize = 10;
    for has_second_core in [false, true] {
        let config = NetConfig {
            conns_max: PEERS,
            ..config(&[(Encryption::Never, 0)])
        };
        let (mut net, _) = Net::bind(config).expect("bound");
        net.has_second_core = has_second_core;
        let peers = (0..PEERS).map(|_| {
            let peer = connect(&net);
            (accept(&mut net), peer)
        });
        let mut peers: Vec<(ConnId, Peer)> = peers.collect();
        // An end with something unread would be a reset.
        settle(&mut net, 0);
        net.send(peers[1].0, b"before\n");
        for (at, (id, _)) in peers.iter().enumerate() {
            net.add_job(*id, format!("job {at}\n").into_bytes().into());
        }
        net.send(peers[1].0, b"after\n");
        for (id, _) in &peers[6..] {
            net.add_job(*id, Arc::from(*b"another\n"));
        }
        net.lose(peers[LOST].0);
        net.close(peers[PEERS - 1].0, CloseHow::Flushed);
        let sent = net.send_jobs();

        let lines = PEERS + PEERS - 6;
        let told = (sent.written as usize, sent.queued);
        // One was lost before its second job.
        assert_eq!(told, (lines - 1, 0), "{sent:?}");
        assert!(sent.first.is_some());
        // What was queued before a job has left with it.
        let mut read = [0; b"before\njob 1\n".len()];
        peers[1].1.read_exact(&mut read).expect("sent");
        assert_eq!(&read, b"before\njob 1\n");
        for (id, _) in &peers {
            net.close(*id, CloseHow::Flushed);
        }
        net.flush();
        for (at, (_, peer)) in peers.iter_mut().enumerate() {
            let mut read = String::new();
            let ended = peer.read_to_string(&mut read);
            assert_eq!(ended.is_err(), at == LOST, "{at}: {ended:?}");
            let job = format!("job {at}\n");
            let expected = match at {
                1 => "after\n".to_owned(),
                6.. => format!("{job}another\n"),
                _ => job,
            };
            assert!(read == expected || at == LOST, "{at}: {read}");
        }
    }
}

#[test]
fn those_read_first_leave_the_others_their_turns() {
    let (mut net, _) = Net::bind(config(&[(Encryption::Never, 0)])).expect("bound");
    let mut peers: Vec<(ConnId, Peer)> = (0..20)
        .map(|_| {
            let peer = connect(&net);
            (accept(&mut net), peer)
        })
        .collect();
    settle(&mut net, 0);
    let first: Vec<ConnId> = peers[8..].iter().map(|(id, _)| *id).collect();
    for id in &first {
        net.read_first(*id, true);
    }
    for (_, peer) in &mut peers {
        peer.write_all(b"a line\n").expect("sent");
    }
    let mut ready = 0;
    while ready < peers.len() {
        net.wait(DEADLINE);
        ready = net.readable.len() + net.readable_first.len();
    }
    let order: Vec<bool> = std::iter::from_fn(|| net.next_readable())
        .map(|id| first.contains(&id))
        .collect();
    let (yes, no) = (true, false);
    let row = [yes, yes, yes, yes, no];
    assert_eq!(order[..15], row.repeat(3));
    assert_eq!(order[15..], [no; 5]);
}

/// Takes turns at this time until nothing has happened for a while.
fn settle(net: &mut Net, now_ms: u64) {
    const QUIET: Duration = Duration::from_millis(50);
    loop {
        let begun = Instant::now();
        net.wait(QUIET);
        net.begin_turn(now_ms);
        let next = net.next_readable().or_else(|| net.next_handshake());
        if let Some(id) = next {
            net.read(id);
        } else if begun.elapsed() >= QUIET {
            return;
        }
    }
}

#[test]
fn connection_that_gets_no_further_is_reset_in_time() {
    let mut config = config(&[(Encryption::Never, 0), (Encryption::Always, 0)]);
    config.certificate = Some(certificate());
    let mut net = Net::bind(config).expect("bound").0;
    let addresses: Vec<_> = net.listeners().map(|(spec, _)| spec.address).collect();
    let open = |address| Peer::connect_timeout(&address, DEADLINE).expect("connected");
    let mut quick = connect(&net);
    let mut silent = open(addresses[0]);
    let mut silent_tls = open(addresses[1]);
    let mut slow = open(addresses[1]);
    settle(&mut net, 1_000);
    slow.write_all(&[0x16, 3, 1]).expect("sent");
    settle(&mut net, 2_000);
    slow.write_all(&[1]).expect("sent");
    settle(&mut net, 2_000 + OPENING_MS - 1);
    assert!(!is_reset(&mut slow));
    settle(&mut net, 2_000 + OPENING_MS);
    assert!(is_reset(&mut slow));
    settle(&mut net, 1_000 + SILENT_START_MS - 1);
    assert!(!is_reset(&mut silent) && !is_reset(&mut silent_tls));
    settle(&mut net, 1_000 + SILENT_START_MS);
    assert!(is_reset(&mut silent) && is_reset(&mut silent_tls));
    settle(&mut net, u64::MAX);
    assert!(!is_reset(&mut quick));
    assert_eq!(net.conns.len(), 1);
    assert!(net.due.is_empty() && net.take_lost().is_empty());
}

#[test]
fn header_that_takes_too_long_ends_the_connection() {
    let mut config = config(&[(Encryption::Never, 0)]);
    config.proxies = AddressRange::parse("127.0.0.1").into_iter().collect();
    config.per_address_max = 1;
    let mut net = Net::bind(config).expect("bound").0;
    let open = |net: &Net| Peer::connect_timeout(&address(net), DEADLINE).expect("connected");
    let mut silent = open(&net);
    let mut slow = open(&net);
    slow.write_all(b"PROXY TCP4 192.").expect("sent");
    settle(&mut net, 1_000);
    slow.write_all(b"0.2.7").expect("sent");
    settle(&mut net, 1_000 + OPENING_MS - 1);
    assert!(!is_reset(&mut silent) && !is_reset(&mut slow));
    settle(&mut net, 1_000 + OPENING_MS);
    assert!(is_reset(&mut silent) && is_reset(&mut slow));
    assert!(net.conns.is_empty() && net.due.is_empty());
}

#[test]
fn unfinished_header_with_an_end_is_an_end() {
    let mut net = bind();
    let mut peer = Peer::connect_timeout(&address(&net), DEADLINE).expect("connected");
    peer.write_all(b"PROXY").expect("sent");
    settle(&mut net, 0);
    assert_eq!(net.conns.len(), 1);
    peer.shutdown(std::net::Shutdown::Write).expect("open");
    while !net.conns.is_empty() {
        settle(&mut net, 0);
    }
}

#[test]
fn ports_go_off_together_and_take_along_who_is_not_open() {
    let mut net = Net::bind(config(&[(Encryption::Never, 0); 3]))
        .expect("bound")
        .0;
    let addresses: Vec<_> = net.listeners().map(|(spec, _)| spec.address).collect();
    let is_open = |address| Peer::connect_timeout(address, DEADLINE).is_ok();
    let mut silent = Peer::connect_timeout(&addresses[1], DEADLINE).expect("connected");
    let mut open = connect(&net);
    settle(&mut net, 0);
    net.listen(Listening::Off).expect("off");
    assert!(is_reset(&mut silent) && !is_reset(&mut open));
    assert!(net.take_lost().is_empty());
    assert!(!addresses.iter().any(is_open));
    net.listen(Listening::On).expect("on");
    assert!(addresses.iter().all(is_open));
}

#[test]
fn connection_that_takes_nothing_at_its_end_is_reset() {
    let mut net = bind();
    let peer = connect_narrow(&net);
    let id = accept(&mut net);
    net.send(id, &vec![b'x'; OUT_BYTES_MAX]);
    while net.conns[slot_of(id)].waiting() == OUT_BYTES_MAX {
        net.flush();
    }
    net.send(
        id,
        &vec![b'x'; OUT_BYTES_MAX - net.conns[slot_of(id)].waiting()],
    );
    net.flush();
    net.close(id, CloseHow::Flushed);
    net.begin_turn(CLOSING_MS - 1);
    assert_eq!(net.conns.len(), 1);
    net.begin_turn(CLOSING_MS);
    assert!(net.conns.is_empty() && net.take_lost().is_empty());
    drop(peer);
}

fn certificate() -> Arc<ServerConfig> {
    let path = |name| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    tls::load(&path("tests/tls/first.crt"), &path("tests/tls/first.key")).expect("loaded")
}

#[test]
fn a_connection_that_we_make_opens_and_speaks_its_preface_first() {
    let mut net = bind();
    let there = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let address = there.local_addr().expect("bound");
    let id = net.dial(address, b"first\n").expect("begun");
    net.send(id, b"second\n");
    assert_eq!(accept(&mut net), id);
    net.flush();
    let (peer, _) = there.accept().expect("a connection");
    peer.set_read_timeout(Some(DEADLINE)).expect("set");
    let mut lines = io::BufReader::new(peer).lines();
    for expected in ["first", "second"] {
        let line = lines.next().expect("a line").expect("text");
        assert_eq!(line, expected);
    }
}

#[test]
fn a_connection_that_nobody_takes_is_told_as_gone() {
    let mut net = bind();
    let nobody = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let id = net.dial(address, b"").expect("begun");
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "it is told");
        net.wait(Duration::from_millis(50));
        if let Some(next) = net.next_readable()
            && next == id
            && matches!(net.read(id), ReadResult::Gone)
        {
            break;
        }
    }
}

/// A connection that reads has next to nothing queued, and stays.
#[test]
fn all_together_have_only_so_much_waiting() {
    let free = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let needed = OUT_BYTES_ALL_MAX / OUT_BYTES_MAX + 20;
    let mut net = bind_port(port, needed + 1);
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    let mut peers = vec![connect(&net)];
    let quick = accept(&mut net);
    let much = vec![b'x'; OUT_BYTES_MAX];
    let mut lost = 0;
    for _ in 0..needed {
        peers.push(connect_narrow(&net));
        let hog = accept(&mut net);
        // The kernel's own buffers are not counted: it is sent to until they take no more.
        while let Some(conn) = net.get_mut(hog)
            && conn.waiting() < OUT_BYTES_MAX
        {
            let waiting = conn.waiting();
            net.send(hog, &much[waiting..]);
            net.flush();
        }
        lost += net.take_lost().len();
        assert!(net.out_bytes <= OUT_BYTES_ALL_MAX + OUT_BYTES_MAX);
        net.send(quick, &line);
        net.flush();
        let mut taken = vec![0; line.len()];
        peers[0].read_exact(&mut taken).expect("it is served");
    }
    assert!(lost > 0, "the limit was met");
    let waiting = net.conns.iter().map(|(_, conn)| conn.waiting());
    assert_eq!(net.out_bytes, waiting.sum::<usize>(), "all are counted");
    net.reset_all();
    assert_eq!(net.out_bytes, 0);
}

#[test]
fn silent_connections_give_way_to_new_ones_and_who_has_logged_in_stays() {
    let free = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let mut net = bind_port(port, 4);
    let mut miner = connect(&net);
    let id = accept(&mut net);
    net.admitted(id);
    let silent: Vec<Peer> = (0..20).map(|_| silent_peer(&net)).collect();
    let deadline = Instant::now() + DEADLINE;
    while net.door().gave_way < 17 {
        assert!(Instant::now() < deadline, "{:?}", net.door());
        turn(&mut net, Duration::from_millis(10));
    }
    let door = net.door();
    assert_eq!(
        (door.taken, door.silent, door.strangers),
        (4, 3, 3),
        "{door:?}"
    );
    // A miner that comes now is served.
    let _late = connect(&net);
    let late = accept(&mut net);
    net.send(late, b"hello\n");
    net.admitted(late);
    // A connection that has spoken but not logged in is closed too, and the pool is told.
    let _spoke = connect(&net);
    let spoke = accept(&mut net);
    let _more: Vec<Peer> = (0..3).map(|_| silent_peer(&net)).collect();
    let mut lost = Vec::new();
    while !lost.contains(&spoke) {
        assert!(Instant::now() < deadline, "{:?}", net.door());
        turn(&mut net, Duration::from_millis(10));
        lost.extend(net.take_lost());
    }
    assert!(!lost.contains(&id) && !lost.contains(&late), "{lost:?}");
    net.send(id, b"still\n");
    net.flush();
    let mut line = [0; 6];
    miner.read_exact(&mut line).expect("it is served");
    assert_eq!(&line, b"still\n");
    // When all have logged in, the next one is refused, and counted.
    for id in net
        .conns
        .iter()
        .map(|(_, conn)| conn.id)
        .collect::<Vec<_>>()
    {
        net.admitted(id);
    }
    let _refused = silent_peer(&net);
    while net.door().refused_full == 0 {
        assert!(Instant::now() < deadline, "{:?}", net.door());
        turn(&mut net, Duration::from_millis(10));
    }
    drop(silent);
}

fn silent_peer(net: &Net) -> Peer {
    Peer::connect_timeout(&address(net), DEADLINE).expect("connected")
}

#[path = "connection_end_tests.rs"]
mod ends;
