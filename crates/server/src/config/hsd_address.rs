//! Addresses of hsd's HTTP servers: that of its node and that of its wallet.

use std::fmt;
use std::str::FromStr;

use hstratum_core::chain::address::Network;

use crate::secret::Secret;

/// Address of hsd: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected http://HOST:PORT";
        if text.starts_with("https://") {
            return Err(format!(
                "TLS is not spoken here: {expected}, on this machine or through a tunnel"
            ));
        }
        if text.contains('@') {
            return Err(format!(
                "a key in a URL can be read by others: {expected}, and the key from the environment"
            ));
        }
        let authority = text.strip_prefix("http://").ok_or(expected)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or(expected)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let fits = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || b".-_".contains(&byte)
                || bracketed && b"[]:".contains(&byte)
        };
        if host.is_empty() || !host.bytes().all(fits) || port.parse::<u16>().is_err() {
            return Err(expected.to_owned());
        }
        Ok(Self(format!("http://{authority}")))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Url {
    /// hsd's default address on this machine.
    #[must_use]
    pub fn usual(network: Network, part: HsdPart) -> Self {
        let base = match network {
            Network::Main => 12_000,
            Network::Testnet => 13_000,
            Network::Regtest => 14_000,
            Network::Simnet => 15_000,
        };
        let offset = match part {
            HsdPart::Node => 37,
            HsdPart::Wallet => 39,
        };
        Self(format!("http://127.0.0.1:{}", base + offset))
    }
}

/// The parts of hsd, each with its own port and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HsdPart {
    /// The full node.
    Node,
    /// The wallet.
    Wallet,
}

/// Address of a part of hsd, and the API key for it.
#[derive(Clone, Debug, PartialEq)]
pub struct HsdAddress {
    /// The address.
    pub url: Url,
    /// `None` if it asks for none.
    pub key: Option<Secret>,
}

/// Addresses of the hsd that the server runs in; `None` where they are not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HsdAddresses {
    /// The full node.
    pub node: Option<HsdAddress>,
    /// The wallet; `None` if it does not run in this process.
    pub wallet: Option<HsdAddress>,
}

impl HsdAddresses {
    /// Address of a part; the usual one on this machine if it is not known.
    #[must_use]
    pub fn of(&self, part: HsdPart, network: Network) -> HsdAddress {
        let known = match part {
            HsdPart::Node => &self.node,
            HsdPart::Wallet => &self.wallet,
        };
        known.clone().unwrap_or_else(|| HsdAddress {
            url: Url::usual(network, part),
            key: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_a_port_and_nothing_else() {
        for good in [
            "http://127.0.0.1:12037",
            "http://[::1]:12037/",
            "http://node:1",
        ] {
            let url: Url = good.parse().unwrap();
            assert_eq!(url.to_string(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "127.0.0.1:1",
            "http://",
            "http://a",
            "http://a:",
            "http://a:70000",
            "http://a:1/x",
            "http://a:1?x",
            "http://a b:1",
            "http://::1:1",
            "ftp://a:1",
            "http://a:1#x",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad:?}");
        }
        let told = |text: &str| text.parse::<Url>().unwrap_err();
        assert!(told("https://a:1").starts_with("TLS is not spoken"));
        assert!(told("http://x:key@a:1").starts_with("a key in a URL"));
        let usual = Url::usual(Network::Regtest, HsdPart::Wallet);
        assert_eq!(usual.to_string(), "http://127.0.0.1:14039");
        let usual = Url::usual(Network::Main, HsdPart::Node);
        assert_eq!(usual.to_string(), "http://127.0.0.1:12037");
    }
}
