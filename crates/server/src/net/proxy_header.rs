//! Headers of the PROXY protocol, versions 1 and 2, by which a proxy names the client of a connection
//! (haproxy doc/proxy-protocol.txt).
//!
//! A pure function over the bytes so far. Ports, destinations and extensions are ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the longest header accepted. Version 1 has at most 107 bytes; for version 2 it is the length that
/// the specification promises to fit a packet everywhere.
pub const HEADER_BYTES_MAX: usize = 536;

const V1_BYTES_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const V2_FIXED_BYTES: usize = 16;

/// Result of parsing the first bytes of a connection.
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
        /// The client's address; `None` if the connection is the proxy's own, or the proxy does not say.
        source: Option<IpAddr>,
    },
}

/// Result of comparing bytes with a header's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// They begin with a signature.
    Header,
    /// They do not.
    Other,
    /// There are too few to tell.
    Unclear,
}

/// Compares the first bytes of a connection with the signatures.
pub fn start(bytes: &[u8]) -> Start {
    if bytes.starts_with(V1_START) || bytes.starts_with(V2_START) {
        Start::Header
    } else if V1_START.starts_with(bytes) || V2_START.starts_with(bytes) {
        Start::Unclear
    } else {
        Start::Other
    }
}

/// Parses a header at the start of a connection's first bytes.
pub fn parse(bytes: &[u8]) -> Header {
    match start(bytes) {
        Start::Unclear => Header::Partial,
        Start::Other => Header::Malformed,
        Start::Header if bytes.starts_with(V1_START) => parse_v1(bytes),
        Start::Header => parse_v2(bytes),
    }
}

/// Encodes a header of version 2 for a connection to `destination`; without a source the connection is the
/// proxy's own. The source's port is written as 0.
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

/// Parses the fields behind `PROXY `; `None` when they are malformed.
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

/// Decimal without sign and leading zeros, as the specification requires.
fn is_port(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain && (text == "0" || !text.starts_with('0')) && text.parse::<u16>().is_ok()
}

fn parse_v2(bytes: &[u8]) -> Header {
    // Malformed fields are reported as soon as they are seen.
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
        // LOCAL: the proxy itself, whatever the block contains.
        (0x20, _) => Some(None),
        (_, 0x11) => v2_source::<4>(block).map(|octets| Some(IpAddr::from(octets))),
        (_, 0x21) => v2_source::<16>(block).map(|octets| Some(IpAddr::from(octets).to_canonical())),
        // Unspecified, datagrams, Unix sockets: no address that could be used.
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

/// The source's octets, if the block has room for two addresses and two ports.
fn v2_source<const N: usize>(block: &[u8]) -> Option<[u8; N]> {
    let source = block.first_chunk::<N>()?;
    (block.len() >= 2 * N + 4).then_some(*source)
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
