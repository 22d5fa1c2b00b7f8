//! Option `extra-nodes`: addresses of hsd nodes on the peer-to-peer network.

use std::fmt;
use std::net::IpAddr;

use super::option_value::{parse_host, parse_integer, parse_list};

/// Extra nodes at most: each is a connection that the node keeps.
pub const EXTRA_NODES_MAX: usize = 8;

/// Host and port of a peer; displayed as `HOST:PORT`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name or IP address.
    pub host: String,
    /// The port of its peer-to-peer listener.
    pub port: u16,
}

impl PeerAddress {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let host = rest.strip_suffix(']')?;
                host.contains(':').then_some(host)?
            }
            // Without brackets the last colon need not be the port's.
            None => (!host.contains(':')).then_some(host)?,
        };
        Some(Self {
            host: parse_host(host)?,
            port: parse_integer(port, 1, 65_535)?,
        })
    }

    /// Parses a list; an address that is named twice is in it once.
    pub(super) fn parse_list(text: &str) -> Option<Vec<Self>> {
        let mut list: Vec<Self> = Vec::new();
        for one in parse_list(text, EXTRA_NODES_MAX, Self::parse)? {
            if !list.contains(&one) {
                list.push(one);
            }
        }
        Some(list)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.parse() {
            Ok(IpAddr::V6(_)) => write!(f, "[{host}]:{port}"),
            _ => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_names_or_addresses_with_a_port() {
        let shown = |text| {
            let list = PeerAddress::parse_list(text)?;
            Some(list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let text = "a.example:12038, 10.0.0.1:1,[::1]:14038,a.example:12038";
        let expected = ["a.example:12038", "10.0.0.1:1", "[::1]:14038"];
        assert_eq!(shown(text), Some(expected.map(str::to_owned).to_vec()));
        for wrong in [
            "a.example",
            "a.example:",
            ":1",
            "a.example:0",
            "a.example:65536",
            "::1:14038",
            "[10.0.0.1]:1",
            "[::1]",
            "a b:1",
            "a:1,,b:1",
            "true",
            "a:+1",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        let nine: Vec<String> = (0..9).map(|i| format!("a{i}:1")).collect();
        assert_eq!(shown(&nine.join(",")), None);
    }
}
