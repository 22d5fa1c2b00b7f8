//! The PROXY protocol's header, versions 1 and 2, in which a proxy says for whom it connects
//! (haproxy doc/proxy-protocol.txt).
//!
//! A pure function over the bytes so far. Ports, destinations and extensions are not kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is taken. Version 1 cannot be longer than 107 bytes; version 2 gets
/// what the specification promises to fit a packet everywhere.
pub const HEADER_BYTES_MAX: usize = 536;

const V1_BYTES_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const V2_FIXED_BYTES: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// They may become a header.
    Partial,
    /// They are no header, and cannot become one.
    Malformed,
    /// They begin with a header.
    Whole {
        /// Its length.
        bytes: usize,
        /// For whom the proxy connects; none when it is for itself, or will not say.
        source: Option<IpAddr>,
    },
}

/// Whether bytes begin as a header does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// They do.
    Header,
    /// They do not.
    Other,
    /// There are too few to say.
    Unclear,
}

/// Looks at the first bytes of a connection only as far as its signature.
pub fn start(bytes: &[u8]) -> Start {
    if bytes.starts_with(V1_START) || bytes.starts_with(V2_START) {
        Start::Header
    } else if V1_START.starts_with(bytes) || V2_START.starts_with(bytes) {
        Start::Unclear
    } else {
        Start::Other
    }
}

/// Reads a header from the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> Header {
    match start(bytes) {
        Start::Unclear => Header::Partial,
        Start::Other => Header::Malformed,
        Start::Header if bytes.starts_with(V1_START) => parse_v1(bytes),
        Start::Header => parse_v2(bytes),
    }
}

/// A header of version 2 that says for whom a connection to `destination` is; without a source it is
/// the proxy's own. Ports of sources are not told.
#[must_use]
pub fn encode(source: Option<IpAddr>, destination: SocketAddr) -> Vec<u8> {
    let mut block = Vec::new();
    let (command, family) = match (source, destination.ip()) {
        (None, _) => (0x20, 0x00),
        (Some(IpAddr::V4(source)), IpAddr::V4(destination)) => {
            block.extend_from_slice(&source.octets());
            block.extend_from_slice(&destination.octets());
            (0x21, 0x11)
        }
        (Some(source), destination) => {
            for address in [source, destination] {
                block.extend_from_slice(&match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                });
            }
            (0x21, 0x21)
        }
    };
    if source.is_some() {
        block.extend_from_slice(&[0, 0]);
        block.extend_from_slice(&destination.port().to_be_bytes());
    }
    let length = u16::try_from(block.len()).expect("two addresses are short");
    let mut header = V2_START.to_vec();
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&block);
    header
}

fn parse_v1(bytes: &[u8]) -> Header {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() {
            0..V1_BYTES_MAX => Header::Partial,
            _ => Header::Malformed,
        };
    };
    let source = std::str::from_utf8(&window[V1_START.len()..end])
        .ok()
        .and_then(parse_v1_fields);
    match source {
        Some(source) => Header::Whole {
            bytes: end + 2,
            source,
        },
        None => Header::Malformed,
    }
}

/// The fields behind `PROXY `; `None` when they are wrong.
fn parse_v1_fields(line: &str) -> Option<Option<IpAddr>> {
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut fields = line.split(' ');
    let family = fields.next()?;
    let (source, destination) = (fields.next()?, fields.next()?);
    let (source_port, destination_port) = (fields.next()?, fields.next()?);
    if fields.next().is_some() || !is_port(source_port) || !is_port(destination_port) {
        return None;
    }
    let source = match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            IpAddr::V4(source.parse().ok()?)
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            IpAddr::V6(source.parse().ok()?)
        }
        _ => return None,
    };
    Some(Some(source.to_canonical()))
}

/// Decimal without sign and leading zeros, as the specification has it.
fn is_port(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain && (text == "0" || !text.starts_with('0')) && text.parse::<u16>().is_ok()
}

fn parse_v2(bytes: &[u8]) -> Header {
    // What is wrong is told as soon as it is seen.
    let command = match bytes.get(12) {
        None => return Header::Partial,
        Some(command @ (0x20 | 0x21)) => command,
        Some(_) => return Header::Malformed,
    };
    let Some(fixed) = bytes.first_chunk::<V2_FIXED_BYTES>() else {
        return Header::Partial;
    };
    let length: usize = u16::from_be_bytes([fixed[14], fixed[15]]).into();
    let whole = V2_FIXED_BYTES + length;
    if whole > HEADER_BYTES_MAX {
        return Header::Malformed;
    }
    let Some(block) = bytes.get(V2_FIXED_BYTES..whole) else {
        return Header::Partial;
    };
    let source = match (command, fixed[13]) {
        // LOCAL: the proxy itself, whatever stands in the block.
        (0x20, _) => Some(None),
        (_, 0x11) => v2_source::<4>(block).map(|octets| Some(IpAddr::from(octets))),
        (_, 0x21) => v2_source::<16>(block).map(|octets| Some(IpAddr::from(octets).to_canonical())),
        // Unspecified, datagrams, sockets in the file system: nothing that we could use.
        (_, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(None),
        _ => None,
    };
    match source {
        Some(source) => Header::Whole {
            bytes: whole,
            source,
        },
        None => Header::Malformed,
    }
}

/// The source's octets, if its block has room for two addresses and two ports.
fn v2_source<const N: usize>(block: &[u8]) -> Option<[u8; N]> {
    let source = block.first_chunk::<N>()?;
    (block.len() >= 2 * N + 4).then_some(*source)
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
