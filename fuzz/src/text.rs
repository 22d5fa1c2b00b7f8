//! Short texts: addresses, options, the users file, the head of an HTTP request, a proxy header, and the
//! lines of a pool to a miner.

use hstratum::config::{Config, OptionOrigin, RawOption};
use hstratum::files::users::{FileEnd, encode, parse};
use hstratum::net::proxy_header::{HEADER_BYTES_MAX, Header, Start, parse as parse_proxy, start};
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use hstratum_core::wire::client::{Attempt, Client};
use hstratum_core::wire::http_redirect::{HttpHead, is_request_line};
use hstratum_core::wire::line::Flow;

const NETWORKS: [Network; 4] = [
    Network::Main,
    Network::Testnet,
    Network::Regtest,
    Network::Simnet,
];

pub(crate) fn address(data: &[u8]) {
    if let Some((&version, hash)) = data.split_first()
        && let Some(address) = Address::new(version, hash.to_vec())
    {
        for network in NETWORKS {
            let text = address.encode(network);
            assert_eq!(Address::parse(&text, network).as_ref(), Some(&address));
        }
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let read = NETWORKS.map(|network| Address::parse(text, network));
    assert!(read.iter().flatten().count() <= 1, "of two networks");
    for (network, address) in NETWORKS.iter().zip(read) {
        if let Some(address) = address {
            assert_eq!(address.encode(*network), text.to_ascii_lowercase());
        }
    }
}

/// Parses a line as an option: `f`, `e` or `c` for its source, then `key=value`.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let options: Vec<RawOption> = text.split('\n').filter_map(option).collect();
    match Config::parse(&options) {
        Ok(config) => {
            assert!((1..=1_000_000).contains(&config.max_inbound));
            assert!((1..=3600).contains(&config.refresh_s));
            assert!(config.difficulty.get().is_finite() && config.difficulty.get() > 0.0);
            let host = config.public_host.unwrap_or_default();
            assert!(!host.contains(|c: char| c.is_control() || c == ' ' || c == '/'));
            if let Some(password) = config.password {
                assert!((1..=256).contains(&password.0.len()));
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(error.len() < 2_000, "{} bytes of error", error.len());
        }
    }
}

fn option(line: &str) -> Option<RawOption> {
    let (key, value) = line.split_once('=')?;
    let mut key = key.chars();
    let origin = match key.next()? {
        'f' => OptionOrigin::Flag,
        'e' => OptionOrigin::Environment,
        _ => OptionOrigin::File,
    };
    Some(RawOption {
        key: key.collect(),
        value: value.to_owned(),
        origin,
    })
}

/// The users read from a file stay the same after a repair, and after an append that is cut off anywhere.
pub(crate) fn users(data: &[u8]) {
    let Ok((records, end)) = parse(data) else {
        return;
    };
    let mut repaired = data.to_vec();
    match end {
        FileEnd::Whole => {}
        FileEnd::Unended => repaired.push(b'\n'),
        FileEnd::Torn(whole) => repaired.truncate(whole),
    }
    let (again, end) = parse(&repaired).expect("what was read is read again");
    assert_eq!((&again, end), (&records, FileEnd::Whole));

    let written: String = records
        .iter()
        .map(|record| encode(&record.name, &record.password))
        .collect();
    let (again, end) = parse(written.as_bytes()).expect("what is written is read");
    assert_eq!((&again, end), (&records, FileEnd::Whole));

    let line = encode("a new\n\"name\"\u{e9}", &StoredPassword::Hash256([7; 32]));
    // Each cut reads the whole file again: for a long file, a few cuts are enough.
    for cut in (0..line.len()).step_by(1 + repaired.len() / 128) {
        let mut torn = repaired.clone();
        torn.extend_from_slice(&line.as_bytes()[..cut]);
        let (again, end) = parse(&torn).expect("a torn end is no malformed line");
        if cut == line.len() - 1 {
            assert_eq!(end, FileEnd::Unended);
        } else {
            assert_eq!(again, records);
            assert!(cut == 0 || end == FileEnd::Torn(repaired.len()));
        }
    }
}

/// A header is parsed in the same way from any prefix that contains it and with anything after it, and is
/// not waited for beyond its limit.
pub(crate) fn proxy_header(data: &[u8]) {
    let read = parse_proxy(data);
    if data.len() > HEADER_BYTES_MAX {
        assert_ne!(read, Header::Partial);
    }
    if read != Header::Malformed {
        assert_ne!(start(data), Start::Other);
    }
    for end in 0..data.len().min(HEADER_BYTES_MAX + 1) {
        let part = parse_proxy(&data[..end]);
        match read {
            Header::Partial => assert_eq!(part, Header::Partial),
            Header::Whole { bytes, .. } if end < bytes => assert_eq!(part, Header::Partial),
            Header::Whole { .. } => assert_eq!(part, read),
            Header::Malformed => assert!(!matches!(part, Header::Whole { .. })),
        }
    }
    if let Header::Whole { bytes, source } = read {
        assert!(bytes <= data.len().min(HEADER_BYTES_MAX));
        assert_eq!(source.map(|address| address.to_canonical()), source);
    }
}

/// The first byte sets if there is a public host. The rest is sent by the client.
pub(crate) fn redirect(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else {
        return;
    };
    let public_host = [None, Some("pool.example"), Some("::1")][usize::from(kind % 3)];
    let text = super::stretched(text);
    let mut lines = text
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // Any line may be the request line here; the following lines are parsed as a head all the same.
    let _ = lines.next().map(is_request_line);
    let mut head = HttpHead::default();
    let (mut bytes, mut headers) = (0, 0);
    for line in lines {
        let flow = head.read_line(line);
        assert_eq!(head.is_complete(), line.is_empty());
        if flow == Flow::Stop {
            break;
        }
        bytes += line.len();
        headers += 1;
        assert!(bytes <= HTTP_HEAD_BYTES_MAX && headers <= HTTP_HEADERS_MAX);
    }
    check_response(&head.response(public_host, 3008), public_host.is_some());
}

/// Nothing that a client sends may add a header to the response.
fn check_response(response: &[u8], has_public_host: bool) {
    let text = std::str::from_utf8(response).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(body, r#"{"error":null,"result":false,"id":0}"#);
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("HTTP/1.1 200 OK"));
    let mut lines = lines.peekable();
    let stratum = lines.next_if(|line| line.starts_with("X-Stratum: stratum+tcp://"));
    assert!(stratum.is_some() || !has_public_host);
    assert!(stratum.is_none_or(|line| line.ends_with(":3008") && line.len() < 400));
    let rest: Vec<&str> = lines.collect();
    let length = format!("Content-Length: {}", body.len());
    let expected = [
        "Content-Type: application/json",
        &length,
        "Connection: close",
    ];
    assert_eq!(rest, expected);
    assert!(!head.contains(|c: char| c.is_control() && c != '\r' && c != '\n'));
}

/// A pool may send anything to a miner.
pub(crate) fn client(data: &[u8]) {
    let mut client = Client::new("alice", "x");
    let _ = client.connect();
    for line in String::from_utf8_lossy(data).split('\n') {
        let failed = client.handle_line(line).is_err();
        if failed {
            let _ = client.connect();
        }
        let Some(work) = client.work().cloned() else {
            continue;
        };
        let attempt = Attempt {
            extra_nonce2: 0,
            time: work.time,
            nonce: 0,
        };
        let hash = work.hash(&attempt);
        let _ = (work.is_share(&hash), work.is_block(&hash));
        if let Some(submit) = client.submit(&work, &attempt) {
            assert_eq!(submit.matches('\n').count(), 1);
            assert!(submit.ends_with('\n'));
        }
    }
}
