//! Addresses of stratum servers, as programs of miners take them: `stratum+tcp://HOST:PORT`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::{fmt, io};

const SCHEME: &str = "stratum+tcp://";
const TLS_SCHEME: &str = "stratum+tls://";

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StratumUrl {
    /// A name or an address, IPv6 without brackets.
    host: String,
    port: u16,
    /// TLS is spoken there.
    tls: bool,
}

impl FromStr for StratumUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let parse = || {
            let plain = url.strip_prefix(SCHEME).map(|place| (place, false));
            let (place, tls) =
                plain.or_else(|| url.strip_prefix(TLS_SCHEME).map(|place| (place, true)))?;
            let place = place.strip_suffix('/').unwrap_or(place);
            let (host, port) = place.rsplit_once(':')?;
            let host = match host.strip_prefix('[') {
                Some(rest) => rest.strip_suffix(']').filter(|host| host.contains(':'))?,
                None => Some(host).filter(|host| !host.contains([':', '/', '@', ' ']))?,
            };
            let port = port.parse().ok().filter(|&port| port != 0)?;
            (!host.is_empty()).then(|| Self {
                host: host.to_owned(),
                port,
                tls,
            })
        };
        parse().ok_or_else(|| format!("expected {SCHEME}HOST:PORT or {TLS_SCHEME}HOST:PORT"))
    }
}

impl StratumUrl {
    /// One without TLS, for commands that do not speak it.
    pub fn without_tls(url: &str) -> Result<Self, String> {
        let server: Option<Self> = url.parse().ok();
        let server = server.filter(|server| !server.tls);
        server.ok_or_else(|| format!("expected {SCHEME}HOST:PORT"))
    }

    /// TLS is spoken there.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The addresses of its name, as the system's resolver gives them.
    pub fn resolve(&self) -> io::Result<impl Iterator<Item = SocketAddr> + use<>> {
        (self.host.as_str(), self.port).to_socket_addrs()
    }
}

impl fmt::Display for StratumUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_a_scheme_a_host_and_a_port() {
        for (url, shown) in [
            (
                "stratum+tcp://pool.example.com:3008",
                "pool.example.com:3008",
            ),
            ("stratum+tcp://127.0.0.1:1/", "127.0.0.1:1"),
            ("stratum+tcp://[::1]:65535", "[::1]:65535"),
        ] {
            let server: StratumUrl = url.parse().expect(url);
            assert_eq!(server.to_string(), shown);
        }
        let tls: StratumUrl = "stratum+tls://a:1".parse().expect("a URL");
        assert!(tls.tls() && StratumUrl::without_tls("stratum+tls://a:1").is_err());
        assert!(StratumUrl::without_tls("stratum+tcp://a:1").is_ok());
        for url in [
            "",
            "pool.example.com:3008",
            "http://pool.example.com:3008",
            "stratum+tcp://pool.example.com",
            "stratum+tcp://:3008",
            "stratum+tcp://a:0",
            "stratum+tcp://a:65536",
            "stratum+tcp://::1:3008",
            "stratum+tcp://[::1:3008",
            "stratum+tcp://[a]:1",
            "stratum+tcp://user@a:1",
            "stratum+tcp://a/b:1",
        ] {
            let error = url.parse::<StratumUrl>().expect_err(url);
            let expected = "expected stratum+tcp://HOST:PORT or stratum+tls://HOST:PORT";
            assert_eq!(error, expected);
        }
    }
}
