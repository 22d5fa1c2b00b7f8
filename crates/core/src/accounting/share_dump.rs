//! The share dump: the file `shares/[height]-[hash].json`, written when a block of the pool is accepted.
//!
//! The fields, their names and their order are those of the JavaScript hstratum, because payout scripts in
//! the field read these files. Ours come after them.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::units::Hash;

/// The shares of the round that a block of the pool closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    /// The network's name as hsd has it: `main`, `testnet`, `regtest`, `simnet`.
    pub network: String,
    /// The block's height.
    pub height: u32,
    /// The block's hash.
    pub block: Hash,
    /// The block's time, in unix seconds.
    pub ts: u64,
    /// Time at which the round was closed, in unix seconds.
    pub time: u64,
    /// The coinbase's txid.
    pub txid: Hash,
    /// The address that coinbase output 0 pays.
    pub address: String,
    /// The value of coinbase output 0, and of what the coinbase takes of it to pay accounts, in base units.
    pub reward: u64,
    /// The sum of all shares, in difficulty.
    pub total: f64,
    /// Sum of difficulty by account. Sorted, so that the same round gives the same bytes.
    pub shares: BTreeMap<String, f64>,
    /// The recipient of the reward: `operator` or `split`.
    pub payout: String,
    /// Of a split block: what its coinbase has paid accounts, in base units.
    pub paid: Option<BTreeMap<String, u64>>,
    /// Of a split block: what the ledger has of its split, for a ledger that takes the file in.
    pub split: Option<serde_json::Value>,
}

impl Dump {
    /// The file's name: `[height]-[hash].json`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.json", self.height, self.block)
    }

    /// The file's content: JSON, indented by two spaces.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are strings and numbers are plain")
    }
}

impl Serialize for Dump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shares: BTreeMap<&str, Number> = self
            .shares
            .iter()
            .map(|(account, difficulty)| (account.as_str(), Number(*difficulty)))
            .collect();
        let mut dump = serializer.serialize_struct("Dump", 14)?;
        dump.serialize_field("network", &self.network)?;
        dump.serialize_field("height", &self.height)?;
        dump.serialize_field("block", &self.block.to_string())?;
        dump.serialize_field("ts", &self.ts)?;
        dump.serialize_field("time", &self.time)?;
        dump.serialize_field("txid", &self.txid.to_string())?;
        dump.serialize_field("address", &self.address)?;
        dump.serialize_field("reward", &self.reward)?;
        dump.serialize_field("size", &shares.len())?;
        dump.serialize_field("total", &Number(self.total))?;
        dump.serialize_field("shares", &shares)?;
        dump.serialize_field("payout", &self.payout)?;
        match &self.paid {
            Some(paid) => dump.serialize_field("paid", paid)?,
            None => dump.skip_field("paid")?,
        }
        match &self.split {
            Some(split) => dump.serialize_field("split", split)?,
            None => dump.skip_field("split")?,
        }
        dump.end()
    }
}

/// A number as JavaScript prints it: 8 and not 8.0.
struct Number(f64);

/// From here on not every integer is a double, so a number written as an integer would look more exact
/// than it is.
const INTEGER_MAX: f64 = (1u64 << 53) as f64;

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if value.fract() == 0.0 && (0.0..INTEGER_MAX).contains(&value) {
            serializer.serialize_u64(value as u64)
        } else {
            serializer.serialize_f64(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump() -> Dump {
        Dump {
            network: "regtest".into(),
            height: 123,
            block: Hash([0xab; 32]),
            ts: 1_795_350_965,
            time: 1_795_350_967,
            txid: Hash([0x01; 32]),
            address: "rs1qexample".into(),
            reward: 2_000_000_000,
            total: 24.5,
            shares: BTreeMap::from([("bob".into(), 16.5), ("alice".into(), 8.0)]),
            payout: "operator".into(),
            paid: None,
            split: None,
        }
    }

    #[test]
    fn file_is_named_by_height_and_hash() {
        assert_eq!(dump().file_name(), format!("123-{}.json", "ab".repeat(32)));
    }

    #[test]
    fn json_is_the_ancestors_with_our_fields_at_its_end() {
        let expected = format!(
            r#"{{
  "network": "regtest",
  "height": 123,
  "block": "{}",
  "ts": 1795350965,
  "time": 1795350967,
  "txid": "{}",
  "address": "rs1qexample",
  "reward": 2000000000,
  "size": 2,
  "total": 24.5,
  "shares": {{
    "alice": 8,
    "bob": 16.5
  }},
  "payout": "operator"
}}"#,
            "ab".repeat(32),
            "01".repeat(32)
        );
        assert_eq!(dump().to_json(), expected);
        let split = Dump {
            payout: "split".into(),
            paid: Some(BTreeMap::from([("bob".into(), 1_400_000_000)])),
            ..dump()
        };
        let end = r#""payout": "split",
  "paid": {
    "bob": 1400000000
  }
}"#;
        assert!(split.to_json().ends_with(end), "{}", split.to_json());
    }

    #[test]
    fn only_whole_numbers_below_2_to_the_53_are_integers() {
        let print = |value| serde_json::to_string(&Number(value)).expect("a number");
        assert_eq!(print(0.0), "0");
        assert_eq!(print(0.001), "0.001");
        assert_eq!(print(9_007_199_254_740_991.0), "9007199254740991");
        assert!(print(9_007_199_254_740_992.0).contains('.'));
    }

    #[test]
    fn hostile_account_name_stays_inside_its_string() {
        let mut dump = dump();
        dump.shares.insert("\",\"x\n\u{0}".into(), 1.0);
        let back: serde_json::Value = serde_json::from_str(&dump.to_json()).expect("valid JSON");
        assert_eq!(back["shares"]["\",\"x\n\u{0}"], 1);
        assert_eq!(back["size"], 3);
    }
}
