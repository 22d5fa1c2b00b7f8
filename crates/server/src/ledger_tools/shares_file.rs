//! Reads `shares/[height]-[hash].json`, written by this hstratum or by the JavaScript one.
//!
//! Numbers are parsed from their text, so that a difficulty is the nearest double and an amount is exact. A
//! file that contradicts itself or its name is refused as a whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::coinbase_split::SplitRecord;
use hstratum_core::plural::counted;
use hstratum_core::units::Hash;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::files::spooled_split;
use crate::limits::SHARES_FILE_BYTES_MAX;

/// Largest float that is taken for a whole number: above it not every whole number is a double.
const INTEGER_MAX: f64 = (1_u64 << 53) as f64;

/// Relative difference allowed between the total and the sum of the shares, which were added in another
/// order.
const TOTAL_TOLERANCE: f64 = 1e-9;

/// Content of an old file. Hashes are 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SharesFile {
    pub(super) network: Network,
    pub(super) height: u32,
    pub(super) block: String,
    /// The block's time, and the time at which the file was written, in Unix seconds.
    pub(super) ts: i64,
    pub(super) time: i64,
    pub(super) txid: String,
    pub(super) address: String,
    /// In base units.
    pub(super) reward: i64,
    /// Accounts and their difficulties; finite, zero or above.
    pub(super) shares: Vec<(String, f64)>,
    /// What the coinbase has paid the accounts, if it has.
    pub(super) split: Option<Arc<SplitRecord>>,
}

impl SharesFile {
    /// The work of all accounts.
    pub(super) fn total(&self) -> f64 {
        self.shares.iter().map(|(_, difficulty)| difficulty).sum()
    }
}

/// Fields as in the file. Other fields are ignored.
#[derive(Deserialize)]
struct Raw<'a> {
    network: String,
    #[serde(borrow)]
    height: &'a RawValue,
    block: String,
    #[serde(borrow)]
    ts: &'a RawValue,
    #[serde(borrow)]
    time: &'a RawValue,
    txid: String,
    address: String,
    #[serde(borrow)]
    reward: &'a RawValue,
    #[serde(borrow)]
    size: &'a RawValue,
    #[serde(borrow)]
    total: &'a RawValue,
    #[serde(borrow)]
    shares: RawShares<'a>,
    /// Not in files of the JavaScript hstratum, as `split`.
    payout: Option<String>,
    #[serde(borrow)]
    split: Option<&'a RawValue>,
}

/// Every member as in the file, including duplicates.
struct RawShares<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawShares<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawShares<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of accounts and difficulties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawShares(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, is no such file, or contradicts itself or its name.
pub(super) fn read(path: &Path) -> anyhow::Result<SharesFile> {
    let mut text = String::new();
    let file = File::open(path).context("failed to open it")?;
    file.take(SHARES_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .context("failed to read it")?;
    ensure!(
        text.len() as u64 <= SHARES_FILE_BYTES_MAX,
        "it is longer than {SHARES_FILE_BYTES_MAX} bytes"
    );
    let file = parse(&text)?;
    let name = format!("{}-{}.json", file.height, file.block);
    let actual = path.file_name().unwrap_or_default().to_string_lossy();
    ensure!(actual == name, "its content belongs to a file {name}");
    Ok(file)
}

fn parse(text: &str) -> anyhow::Result<SharesFile> {
    let raw: Raw<'_> = serde_json::from_str(text).context("failed to understand it")?;
    let network = Network::from_name(&raw.network)
        .with_context(|| format!("unknown network {:?}", raw.network))?;
    ensure!(
        Address::parse(&raw.address, network).is_some(),
        "{:?} is not an address of {}",
        raw.address,
        network.name()
    );
    let height = integer("height", raw.height)?;
    let height = u32::try_from(height).with_context(|| format!("height is {height}"))?;
    let shares = shares(&raw.shares)?;
    let size = integer("size", raw.size)?;
    ensure!(
        usize::try_from(size) == Ok(shares.len()),
        "size is {size} and there are {}",
        counted(shares.len(), "account")
    );
    let total = number("total", raw.total)?;
    let sum: f64 = shares.iter().map(|(_, difficulty)| difficulty).sum();
    ensure!(
        (sum - total).abs() <= total * TOTAL_TOLERANCE,
        "total is {total} and the shares add up to {sum}"
    );
    let is_split = raw.payout.as_deref() == Some(Payout::Split.name());
    let split = match raw.split.filter(|_| is_split) {
        Some(split) => spooled_split::decode(split.get(), network),
        None => None,
    };
    ensure!(
        split.is_some() == is_split,
        "its block has paid the accounts, and what it paid cannot be read"
    );
    Ok(SharesFile {
        network,
        height,
        block: hash("block", &raw.block)?,
        ts: integer("ts", raw.ts)?,
        time: integer("time", raw.time)?,
        txid: hash("txid", &raw.txid)?,
        address: raw.address,
        reward: integer("reward", raw.reward)?,
        shares,
        split,
    })
}

fn shares(raw: &RawShares<'_>) -> anyhow::Result<Vec<(String, f64)>> {
    let mut shares = Vec::with_capacity(raw.0.len());
    for (name, value) in &raw.0 {
        ensure!(!name.is_empty(), "an account has no name");
        let difficulty = number("difficulty", value)
            .with_context(|| format!("failed to read what {name:?} has"))?;
        shares.push((name.clone(), difficulty));
    }
    shares.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(pair) = shares.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        bail!("account {:?} is there twice", pair[0].0);
    }
    Ok(shares)
}

/// Parses a finite number, zero or above.
fn number(what: &str, raw: &RawValue) -> anyhow::Result<f64> {
    let value: f64 = raw
        .get()
        .parse()
        .ok()
        .with_context(|| format!("{what} is {:?}: expected a number", raw.get()))?;
    ensure!(
        value.is_finite() && value >= 0.0,
        "{what} is {}: expected zero or above",
        raw.get()
    );
    Ok(value)
}

/// Parses a whole number, zero or above; also one written as a float, such as `2e9`.
fn integer(what: &str, raw: &RawValue) -> anyhow::Result<i64> {
    if let Ok(value @ 0..) = raw.get().parse::<i64>() {
        return Ok(value);
    }
    let value = number(what, raw)?;
    ensure!(
        value.fract() == 0.0 && value < INTEGER_MAX,
        "{what} is {}: expected a whole number",
        raw.get()
    );
    Ok(value as i64)
}

fn hash(what: &str, text: &str) -> anyhow::Result<String> {
    let hash =
        Hash::from_hex(text).with_context(|| format!("{what} is {text:?}: expected a hash"))?;
    Ok(hash.to_string())
}
