//! Handshake addresses: a version and a hash, as bech32 text or inside an output.
//!
//! Every version is bech32, never bech32m, and versions go to 31, unlike Bitcoin's (hsd
//! lib/primitives/address.js). An `Address` has a version and a hash length that hsd accepts in an
//! output; nothing else is checked. Versions without a meaning yet, and 31, which can never be spent, are
//! refused by `parse_payable` only.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, ByteIterExt, Fe32, Fe32IterExt, Hrp};
use std::ops::RangeInclusive;

/// Size of an address hash in bytes.
pub const ADDRESS_HASH_BYTES: RangeInclusive<usize> = 2..=40;

const VERSION_MAX: u8 = 31;

/// The networks hsd knows (hsd lib/protocol/networks.js).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The main network, whose coins have value.
    Main,
    /// Public test network.
    Testnet,
    /// Private test network that mines blocks at will.
    Regtest,
    /// Private test network with retargeting.
    Simnet,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 4] = [Self::Main, Self::Testnet, Self::Regtest, Self::Simnet];

    /// The network hsd calls by this name; `None` for any other name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.name() == name)
    }

    /// hsd's name for it: `main`, `testnet`, `regtest` or `simnet`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Testnet => "testnet",
            Self::Regtest => "regtest",
            Self::Simnet => "simnet",
        }
    }

    /// Depth at which a block's reward can be spent in the next block; the block's own height counts (hsd
    /// lib/protocol/networks.js, coinbaseMaturity).
    #[must_use]
    pub fn coinbase_maturity(self) -> u32 {
        match self {
            Self::Main | Self::Testnet => 100,
            Self::Regtest => 2,
            Self::Simnet => 6,
        }
    }

    /// The human-readable part of an address text, before the `1`.
    #[must_use]
    pub fn hrp(self) -> &'static str {
        match self {
            Self::Main => "hs",
            Self::Testnet => "ts",
            Self::Regtest => "rs",
            Self::Simnet => "ss",
        }
    }
}

/// The address of an output. Version and hash have lengths and values that hsd accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    version: u8,
    hash: Vec<u8>,
}

impl Address {
    /// Makes an address; `None` unless the version is at most 31 and the hash has 2 to 40 bytes; for
    /// version 0 it must have 20 (of a public key) or 32 (of a script).
    #[must_use]
    pub fn new(version: u8, hash: Vec<u8>) -> Option<Self> {
        let size_fits = match version {
            0 => matches!(hash.len(), 20 | 32),
            1..=VERSION_MAX => ADDRESS_HASH_BYTES.contains(&hash.len()),
            _ => false,
        };
        size_fits.then_some(Self { version, hash })
    }

    /// The version, 0 to 31.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The hash, 2 to 40 bytes.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// Reads the text of an address of this network, all lower or all upper case. `None` for anything
    /// else, another network's address and a bech32m checksum included.
    #[must_use]
    pub fn parse(text: &str, network: Network) -> Option<Self> {
        let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
        if checked.hrp() != hrp_of(network) {
            return None;
        }
        // The crate's own rules for versions are Bitcoin's, which end at 16.
        let mut digits = checked.fe32_iter();
        let version = digits.next()?.to_u8();
        let digits: Vec<Fe32> = digits.collect();
        // Bits left over when bytes are made of 5-bit digits must be fewer than five, and zero.
        let spare = digits.len() * 5 % 8;
        let last = digits.last()?.to_u8();
        if spare > 4 || last & ((1 << spare) - 1) != 0 {
            return None;
        }
        Self::new(version, digits.into_iter().fes_to_bytes().collect())
    }

    /// Reads an address whose owner can spend what is paid to it; `None` for any other.
    ///
    /// It must be of version 0: the other versions have no meaning yet, so anybody can spend from them,
    /// and hsd does not relay payments to them (lib/primitives/tx.js, isStandard); what pays version 31
    /// is lost. Its hash must not be all zeros, which nobody has a key for: hsd's wallet refuses a whole
    /// transaction with such an output (lib/wallet/wallet.js, makeTX).
    #[must_use]
    pub fn parse_payable(text: &str, network: Network) -> Option<Self> {
        Self::parse(text, network).filter(|address| address.version == 0 && !address.is_nobodys())
    }

    /// The same; if there is none, the reason for people.
    ///
    /// # Errors
    /// [`Address::why_not_payable`].
    pub fn payable(text: &str, network: Network) -> Result<Self, String> {
        let parsed = Self::parse_payable(text, network);
        parsed.ok_or_else(|| Self::why_not_payable(text, network))
    }

    fn is_nobodys(&self) -> bool {
        self.hash.iter().all(|byte| *byte == 0)
    }

    /// The reason why `parse_payable` refuses a text on this network.
    #[must_use]
    pub fn fault(text: &str, network: Network) -> AddressFault {
        let others = Network::ALL.into_iter().filter(|other| *other != network);
        let mut others = others.filter(|other| Self::parse(text, *other).is_some());
        match (Self::parse(text, network), others.next()) {
            (Some(address), _) if address.version == 0 => AddressFault::Nobodys,
            (Some(_), _) => AddressFault::Version,
            (None, Some(other)) => AddressFault::Network(other),
            (None, None) if looks_like_address(text) => AddressFault::Malformed,
            (None, None) => AddressFault::NoAddress,
        }
    }

    /// The same, for people.
    #[must_use]
    pub fn why_not_payable(text: &str, network: Network) -> String {
        let why = match Self::fault(text, network) {
            AddressFault::Nobodys => " (it is all zeros, and nobody's)".to_owned(),
            AddressFault::Version => " (its version is not 0)".to_owned(),
            AddressFault::Network(other) => format!(" (it is one of {})", other.name()),
            AddressFault::Malformed | AddressFault::NoAddress => String::new(),
        };
        format!("not a payable {} address: {text:?}{why}", network.name())
    }

    /// The text of this address on the network, in lower case.
    #[must_use]
    pub fn encode(&self, network: Network) -> String {
        let version = Fe32::try_from(self.version).expect("a version is at most 31");
        let hrp = hrp_of(network);
        let digits = self.hash.iter().copied().bytes_to_fes();
        std::iter::once(version)
            .chain(digits)
            .with_checksum::<Bech32>(&hrp)
            .chars()
            .collect()
    }
}

/// Reason why a text is no address that can be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFault {
    /// It is all zeros, which nobody has a key for.
    Nobodys,
    /// Its version is not 0.
    Version,
    /// It is one of this other network.
    Network(Network),
    /// It begins like an address, and is none.
    Malformed,
    /// It does not look like an address.
    NoAddress,
}

/// True if a text begins as addresses of some network do.
fn looks_like_address(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let starts = Network::ALL.map(|network| format!("{}1", network.hrp()));
    starts.iter().any(|start| text.starts_with(start))
}

fn hrp_of(network: Network) -> Hrp {
    Hrp::parse_unchecked(network.hrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy";

    #[test]
    fn only_addresses_of_the_network_are_read() {
        let address = Address::parse(TEXT, Network::Main).unwrap();
        let upper = TEXT.to_uppercase();
        assert_eq!(Address::parse(&upper, Network::Main), Some(address));
        assert_eq!(Address::parse(TEXT, Network::Testnet), None);
        let mixed = TEXT.replace("hs1", "HS1");
        for bad in [
            &TEXT[1..],
            &TEXT[..41],
            &mixed,
            "",
            "hs1",
            "1",
            "hs1é",
            "hs12fcgh",
        ] {
            assert_eq!(Address::parse(bad, Network::Main), None, "{bad:?}");
        }
        assert_eq!(Network::from_name("regtest"), Some(Network::Regtest));
        assert_eq!(Network::from_name("mainnet"), None);
    }

    /// One account with an all-zero address would stop the payments to all others.
    #[test]
    fn zeros_are_an_address_that_is_not_paid() {
        for size in [20, 32] {
            for (last, is_payable) in [(0, false), (1, true)] {
                let mut hash = vec![0; size];
                hash[size - 1] = last;
                let address = Address::new(0, hash).unwrap();
                let text = address.encode(Network::Main);
                assert_eq!(Address::parse(&text, Network::Main), Some(address));
                let payable = Address::parse_payable(&text, Network::Main);
                assert_eq!(payable.is_some(), is_payable, "{text}");
                if !is_payable {
                    let why = Address::why_not_payable(&text, Network::Main);
                    assert!(why.ends_with("(it is all zeros, and nobody's)"), "{why}");
                }
            }
        }
    }

    #[test]
    fn every_version_and_size_comes_back() {
        for version in 0..=40 {
            for size in 0..=44 {
                let fits = match version {
                    0 => size == 20 || size == 32,
                    _ => version <= 31 && (2..=40).contains(&size),
                };
                let address = Address::new(version, vec![0xa5; size]);
                assert_eq!(address.is_some(), fits, "{version} {size}");
                let Some(address) = address else { continue };
                let text = address.encode(Network::Simnet);
                assert_eq!(Address::parse(&text, Network::Simnet), Some(address));
            }
        }
    }

    fn checked<Checksum: bech32::Checksum>(digits: &[u8]) -> String {
        let hrp = hrp_of(Network::Main);
        let digits = digits.iter().map(|digit| Fe32::try_from(*digit).unwrap());
        digits.with_checksum::<Checksum>(&hrp).chars().collect()
    }

    #[test]
    fn bech32m_and_loose_padding_are_refused() {
        let mut digits = [1; 33];
        digits[0] = 2;
        let parse = |text: String| Address::parse(&text, Network::Main);
        assert!(parse(checked::<Bech32>(&digits)).is_some());
        assert!(parse(checked::<bech32::Bech32m>(&digits)).is_none());
        // 20 bits are two bytes and four spare bits; 30 are three bytes and six, a digit too many.
        assert!(parse(checked::<Bech32>(&[2, 1, 1, 1, 16])).is_some());
        assert!(parse(checked::<Bech32>(&[2, 1, 1, 1, 17])).is_none());
        assert!(parse(checked::<Bech32>(&[2, 1, 1, 1, 1, 1, 0])).is_none());
    }
}
