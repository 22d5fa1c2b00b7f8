//! hsd's wallet, which chooses coins and signs. It is never asked to send.

use anyhow::{anyhow, bail};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::transaction::Outpoint;
use hstratum_core::units::{Hash, hex};
use serde_json::{Value, json};

use super::{Endpoint, HsdTimeouts, Url, as_hash};
use crate::config::parse_wallet_name;
use crate::secret::Secret;

/// Requirements of a transaction that the wallet is to make.
#[derive(Debug)]
pub struct Demand<'a> {
    /// Addresses and amounts in base units.
    pub outputs: &'a [(String, u64)],
    /// Highest fee, in base units.
    pub fee_max: u64,
    /// Depth that the coins it spends must have.
    pub depth: u32,
}

/// A transaction in the wallet's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletTransaction {
    /// Its id.
    pub txid: Hash,
    /// The transaction in hsd's encoding, hex.
    pub raw: String,
    /// The block it is in.
    pub block: Option<Hash>,
    /// Time of that block, or when the wallet first saw the transaction; Unix seconds.
    pub time: u64,
}

/// One of hsd's wallets, and the account of it that pays.
pub struct Wallet {
    endpoint: Endpoint,
    id: String,
    account: String,
    passphrase: Option<Secret>,
}

impl Wallet {
    /// Makes the client without sending anything.
    ///
    /// # Errors
    /// When hsd allows no such name.
    pub fn new(
        url: Url,
        key: Option<Secret>,
        (id, account): (&str, &str),
        passphrase: Option<Secret>,
        patience: HsdTimeouts,
    ) -> anyhow::Result<Self> {
        for (what, name) in [("wallet", id), ("account", account)] {
            if parse_wallet_name(name).is_none() {
                bail!(
                    "{name:?} is not the name of a {what}: expected up to 40 letters, digits, -, . and _"
                );
            }
        }
        Ok(Self {
            endpoint: Endpoint::new(url, key, patience),
            id: id.to_owned(),
            account: account.to_owned(),
            passphrase,
        })
    }

    /// Its name in hsd.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.endpoint.url
    }

    fn path(&self, rest: &str) -> String {
        format!("/wallet/{}{rest}", self.id)
    }

    /// Checks that it can pay on that network: the account exists, has its own keys, and one of them signs.
    ///
    /// # Errors
    /// The check that failed, or that it does not answer.
    pub fn check(&self, network: Network) -> anyhow::Result<()> {
        let path = self.path(&format!("/account/{}", self.account));
        let Some(answer) = self.endpoint.call("GET", &path, None)? else {
            let Self { id, account, .. } = self;
            bail!(
                "no wallet {id:?} with an account {account:?} at {}",
                self.url()
            );
        };
        let address = answer.get("receiveAddress").and_then(Value::as_str);
        let address = address.ok_or_else(|| anyhow!("no hsd wallet answers at {}", self.url()))?;
        if Address::parse(address, network).is_none() {
            let name = network.name();
            bail!(
                "the wallet at {} is not on {name}, where the ledger is",
                self.url()
            );
        }
        if answer["watchOnly"] == true {
            bail!("the wallet {:?} only watches: it cannot sign", self.id);
        }
        if answer["type"] != "pubkeyhash" {
            bail!(
                "the account {:?} needs several signatures, which is not supported",
                self.account
            );
        }
        Ok(())
    }

    /// True if it is locked, and no passphrase is at hand.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn lacks_passphrase(&self) -> anyhow::Result<bool> {
        Ok(self.passphrase.is_none() && self.is_locked()?)
    }

    /// True if its keys are encrypted, and it is not unlocked for a time. hsd does not tell a wallet that is
    /// unlocked for ever from a locked one.
    fn is_locked(&self) -> anyhow::Result<bool> {
        let path = self.path("");
        let answer = self.endpoint.call("GET", &path, None)?;
        let is_locked = || {
            let master = answer.as_ref()?.get("master")?;
            let is_encrypted = master.get("encrypted")?.as_bool()?;
            // The time until which it is unlocked (lib/wallet/masterkey.js).
            let is_unlocked = master["until"].as_i64().unwrap_or(0) != 0;
            Some(is_encrypted && !is_unlocked)
        };
        is_locked().ok_or_else(|| self.strange(&path))
    }

    /// Amount that it can spend now or later, in base units: the account's confirmed balance, less what is
    /// locked in names.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn balance(&self) -> anyhow::Result<u64> {
        let path = self.path(&format!("/balance?account={}", self.account));
        let answer = self.endpoint.call("GET", &path, None)?;
        let balance = || {
            let answer = answer.as_ref()?;
            let confirmed = answer.get("confirmed")?.as_u64()?;
            confirmed.checked_sub(answer.get("lockedConfirmed")?.as_u64()?)
        };
        balance().ok_or_else(|| self.strange(&path))
    }

    /// Makes a signed transaction, hex, that the wallet neither keeps nor sends.
    ///
    /// # Errors
    /// When it refuses, or does not answer in time.
    pub fn create(&self, demand: &Demand<'_>) -> anyhow::Result<String> {
        let outputs = demand.outputs.iter();
        let outputs: Vec<Value> = outputs
            .map(|(address, value)| json!({ "address": address, "value": value }))
            .collect();
        let mut body = json!({
            "account": self.account,
            "outputs": outputs,
            "maxFee": demand.fee_max,
            "confirmations": demand.depth,
            "sign": true,
        });
        // Somebody may have unlocked it by hand, with another passphrase than the one at hand.
        if let Some(secret) = &self.passphrase
            && self.is_locked()?
        {
            body["passphrase"] = Value::String(secret.0.clone());
        }
        let path = self.path("/create");
        let limit = self.endpoint.patience.create;
        let answer = self.endpoint.call_for(limit, "POST", &path, Some(&body))?;
        let raw = answer
            .as_ref()
            .and_then(|answer| answer.get("hex")?.as_str());
        raw.map(str::to_owned).ok_or_else(|| self.strange(&path))
    }

    /// Locks an output in the wallet, until hsd ends or sees it spent.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn lock(&self, outpoint: Outpoint) -> anyhow::Result<()> {
        let Outpoint { txid, index } = outpoint;
        let path = self.path(&format!("/locked/{}/{index}", hex(&txid.0)));
        match self.endpoint.call("PUT", &path, None)? {
            Some(_) => Ok(()),
            None => bail!("no wallet {:?} at {}", self.id, self.url()),
        }
    }

    /// True if the wallet has the key of that address.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn owns(&self, address: &str) -> anyhow::Result<bool> {
        let path = self.path(&format!("/key/{address}"));
        Ok(self.endpoint.call("GET", &path, None)?.is_some())
    }

    /// A transaction that it has seen.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn transaction(&self, txid: &Hash) -> anyhow::Result<Option<WalletTransaction>> {
        let path = self.path(&format!("/tx/{}", hex(&txid.0)));
        let Some(answer) = self.endpoint.call("GET", &path, None)? else {
            return Ok(None);
        };
        let known = as_known(&answer).ok_or_else(|| self.strange(&path))?;
        Ok(Some(known))
    }

    /// The transactions before `after`, or the newest ones; newest first. An empty answer means that none are
    /// left.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn history(&self, after: Option<Hash>) -> anyhow::Result<Vec<WalletTransaction>> {
        let after = after.map(|txid| format!("&after={}", hex(&txid.0)));
        let path = self.path(&format!(
            "/tx/history?reverse=true{}",
            after.unwrap_or_default()
        ));
        let answer = self.endpoint.call("GET", &path, None)?;
        let page = answer.as_ref().and_then(Value::as_array);
        let known = page.and_then(|page| page.iter().map(as_known).collect());
        known.ok_or_else(|| self.strange(&path))
    }

    fn strange(&self, call: &str) -> anyhow::Error {
        anyhow!("the answer of {} to {call} is not hsd's", self.url())
    }
}

fn as_known(answer: &Value) -> Option<WalletTransaction> {
    let block = answer.get("block")?;
    Some(WalletTransaction {
        txid: as_hash(answer.get("hash")?)?,
        raw: answer.get("tx")?.as_str()?.to_owned(),
        block: match block {
            Value::Null => None,
            block => Some(as_hash(block)?),
        },
        time: match answer.get("time")?.as_u64()? {
            0 => answer.get("mtime")?.as_u64()?,
            time => time,
        },
    })
}
