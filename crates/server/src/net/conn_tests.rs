use super::*;

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
    // A long line is written alone, however long it is.
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

/// The kernel's own limit is a quarter of an hour, in which a miner would get no job.
#[test]
fn a_dead_connection_to_a_server_is_given_up_soon() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let socket = TcpStream::connect(address).expect("begun");
    set_up_dialed(&socket).expect("set up");
    let socket = SockRef::from(&socket);
    let limit = socket.tcp_user_timeout().expect("an option");
    assert_eq!(limit, Some(DIALED_SILENCE));
    let idle = socket.tcp_keepalive_time().expect("an option");
    assert!(idle + socket.tcp_keepalive_interval().expect("an option") <= DIALED_SILENCE);
}
