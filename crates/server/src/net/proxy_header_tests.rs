use proptest::prelude::*;

use super::*;

fn whole(bytes: usize, source: Option<&str>) -> Header {
    Header::Whole {
        bytes,
        source: source.map(|text| text.parse().expect("an address")),
    }
}

/// Checks that a header is found whatever follows it, and that every prefix of it is partial.
fn check_header(header: &[u8], source: Option<&str>) {
    for rest in ["", "{\"id\":1}\n", "PROXY ", "\r\n"] {
        let bytes = [header, rest.as_bytes()].concat();
        assert_eq!(parse(&bytes), whole(header.len(), source), "{header:?}");
    }
    for len in 0..header.len() {
        assert_eq!(
            parse(&header[..len]),
            Header::Partial,
            "{header:?} at {len}"
        );
    }
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("short");
    [V2_START, &[command, family], &length.to_be_bytes(), block].concat()
}

#[test]
fn headers_of_version_1_are_read() {
    // The specification's own examples, including its longest ones.
    check_header(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Some("255.255.255.255"),
    );
    check_header(
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    );
    check_header(b"PROXY UNKNOWN\r\n", None);
    check_header(
        b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        None,
    );
    check_header(
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        Some("192.168.0.1"),
    );
    check_header(
        b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 443\r\n",
        Some("192.0.2.7"),
    );
}

#[test]
fn malformed_headers_of_version_1_are_refused() {
    for line in [
        "",
        "TCP4",
        "TCP4 1.2.3.4 5.6.7.8 1",
        "TCP4 1.2.3.4 5.6.7.8 1 2 3",
        "TCP4 1.2.3.4 5.6.7.8 1 ",
        "TCP4  1.2.3.4 5.6.7.8 1 2",
        "TCP4 1.2.3.04 5.6.7.8 1 2",
        "TCP4 1.2.3.4 ::1 1 2",
        "TCP4 1.2.3.4 5.6.7.8 1 65536",
        "TCP4 1.2.3.4 5.6.7.8 +1 2",
        "TCP4 1.2.3.4 5.6.7.8 01 2",
        "TCP6 1.2.3.4 5.6.7.8 1 2",
        "TCP6 ::1 ::1 1",
        "UDP4 1.2.3.4 5.6.7.8 1 2",
        "UNKNOWNS",
        "tcp4 1.2.3.4 5.6.7.8 1 2",
        "TCP4 1.2.3.4 5.6.7.8 1 2\r",
    ] {
        let header = format!("PROXY {line}\r\n");
        assert_eq!(parse(header.as_bytes()), Header::Malformed, "{header:?}");
    }
    let endless = [V1_START, &[b'x'; 101]].concat();
    assert_eq!(parse(&endless[..106]), Header::Partial);
    assert_eq!(parse(&endless), Header::Malformed);
    let late = [V1_START, b"UNKNOWN ", &[b'x'; 92], b"\r\n"].concat();
    assert_eq!(parse(&late), Header::Malformed);
    assert_eq!(parse(b"PROXY TCP4 1.2.3.4 \xff 1 2\r\n"), Header::Malformed);
}

#[test]
fn headers_of_version_2_are_read() {
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
    check_header(&v2(0x21, 0x11, &v4), Some("192.0.2.7"));
    let with_extension = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    check_header(&v2(0x21, 0x11, &with_extension), Some("192.0.2.7"));
    let mut v6 = [0; 36];
    v6[..2].copy_from_slice(&[0x20, 0x01]);
    v6[15] = 9;
    check_header(&v2(0x21, 0x21, &v6), Some("2001::9"));
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
    check_header(&v2(0x21, 0x21, &mapped), Some("192.0.2.7"));
    // LOCAL, with and without a block, and families without a usable address.
    check_header(&v2(0x20, 0x00, &[]), None);
    check_header(&v2(0x20, 0x11, &v4), None);
    check_header(&v2(0x20, 0xff, &[1]), None);
    for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
        check_header(&v2(0x21, family, &v4), None);
    }
    check_header(&v2(0x21, 0x11, &[7; 520]), Some("7.7.7.7"));
}

#[test]
fn malformed_headers_of_version_2_are_refused() {
    let block = [7; 36];
    for (command, family, len) in [
        (0x11, 0x11, 12),
        (0x22, 0x11, 12),
        (0x2f, 0x11, 12),
        (0x01, 0x11, 12),
        (0x21, 0x11, 11),
        (0x21, 0x21, 35),
        (0x21, 0x13, 12),
        (0x21, 0x41, 36),
        (0x21, 0x01, 36),
    ] {
        let header = v2(command, family, &block[..len]);
        assert_eq!(parse(&header), Header::Malformed, "{header:?}");
    }
    // A header that is too long is recognized before all of it has come.
    let long = v2(0x20, 0x00, &[0; 521]);
    assert_eq!(parse(&long[..16]), Header::Malformed);
    assert_eq!(parse(&long), Header::Malformed);
}

#[test]
fn other_first_bytes_are_no_header() {
    for bytes in [
        &b"{"[..],
        b"GET / ",
        b"POST ",
        b"PROXy ",
        b"\x16\x03\x01",
        b"\r\n{",
        b"\0",
    ] {
        assert_eq!(start(bytes), Start::Other, "{bytes:?}");
        assert_eq!(parse(bytes), Header::Malformed, "{bytes:?}");
    }
    for bytes in [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n"] {
        assert_eq!(start(bytes), Start::Unclear, "{bytes:?}");
    }
    assert_eq!(start(b"PROXY {"), Start::Header);
    assert_eq!(start(V2_START), Start::Header);
}

/// Bytes that are often nearly a header.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "TCP4", "TCP6", "UNKNOWN", " ", "1.2.3.4", "::1", "0", "65535", "\r\n", "\r", "x",
    ]);
    let line = prop::collection::vec(words, 0..12)
        .prop_map(|words| [V1_START, words.concat().as_bytes()].concat());
    let block = (any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..600))
        .prop_map(|(fixed, block)| [V2_START, &fixed, &block].concat());
    let valid = (
        0x20..0x22_u8,
        any::<u8>(),
        prop::collection::vec(any::<u8>(), 0..560),
    )
        .prop_map(|(command, family, block)| v2(command, family, &block));
    prop_oneof![
        line,
        block,
        valid,
        prop::collection::vec(any::<u8>(), 0..600)
    ]
}

proptest! {
    /// A result for some bytes holds for all continuations of them, and comes in bounded length.
    #[test]
    fn judgement_never_changes_and_never_waits_for_ever(bytes in nearly()) {
        let mut settled = None;
        for len in 0..=bytes.len() {
            let header = parse(&bytes[..len]);
            match (header, settled) {
                (Header::Partial, None) => prop_assert!(len < HEADER_BYTES_MAX),
                (_, None) => settled = Some(header),
                (_, Some(before)) => prop_assert_eq!(header, before),
            }
            if let Header::Whole { bytes: taken, .. } = header {
                prop_assert!(taken <= len && taken <= HEADER_BYTES_MAX);
            }
        }
    }

    #[test]
    fn written_headers_are_read(source: Ipv4Addr, other: Ipv6Addr, port: u16) {
        let line = format!("PROXY TCP4 {source} 10.0.0.1 {port} 443\r\n");
        prop_assert_eq!(parse(line.as_bytes()), whole(line.len(), Some(&source.to_string())));
        let line = format!("PROXY TCP6 {other} ::1 {port} 443\r\n");
        let expected = Header::Whole { bytes: line.len(), source: Some(IpAddr::V6(other).to_canonical()) };
        prop_assert_eq!(parse(line.as_bytes()), expected);
    }
}

#[test]
fn what_is_written_is_read_again() {
    for destination in ["192.0.2.9:3008", "[2001:db8::9]:3008"] {
        for source in ["198.51.100.7", "2001:db8::7"] {
            let source: IpAddr = source.parse().expect("an address");
            let header = encode(Some(source), destination.parse().expect("an address"));
            let whole = Header::Whole {
                bytes: header.len(),
                source: Some(source),
            };
            assert_eq!(parse(&header), whole);
        }
        let header = encode(None, destination.parse().expect("an address"));
        let whole = Header::Whole {
            bytes: header.len(),
            source: None,
        };
        assert_eq!(parse(&header), whole);
    }
}
