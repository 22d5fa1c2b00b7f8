//! hsd's full node: its chain, its mempool, and sending to the network.

use anyhow::anyhow;
use hstratum_core::accounting::ledger::{ChainView, Chainwork, Tip};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::transaction::{Outpoint, Transaction};
use hstratum_core::units::{Hash, Height, hex, unhex};
use serde_json::{Value, json};

use crate::config::options_in_force::OptionsInForce;

use super::{Endpoint, HsdRefusal, HsdTimeouts, Url, as_hash, cut};
use crate::secret::Secret;

/// A node's network and height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The network's name.
    pub network: String,
    /// Height of its chain.
    pub height: u64,
}

/// Status of the hstratum in a node. Another version may not report all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hstratum {
    /// The options in force.
    pub options: Option<OptionsInForce>,
    /// Number of places for miners' connections, and how many are taken.
    pub places: Option<(u64, u64)>,
    /// Settings in which the servers that share a ledger differ, a line each.
    pub differences: Vec<String>,
    /// The node's reason to refuse the block of its own template.
    pub template_refused: Option<String>,
    /// Number of transactions that are left out of templates.
    pub left_out: u64,
    /// Reason why its last drill failed.
    pub block_path_broken: Option<String>,
    /// Nodes of option `extra-nodes`; the reason of those that are not connected.
    pub extra_nodes: Vec<(String, Option<String>)>,
}

/// Status of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// hsd's version.
    pub version: String,
    /// The network's name.
    pub network: String,
    /// Height of its chain.
    pub height: u64,
    /// Progress of synchronization, by time: 1 is complete.
    pub progress: f64,
    /// Time of its newest block, Unix seconds.
    pub tip_time: u64,
    /// Number of peers.
    pub peers: u64,
    /// Seconds that its clock is behind its peers'.
    pub clock_offset: i64,
}

/// Receiver of the reward of a node's next block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePayee {
    /// This address.
    Address(Address),
    /// Nobody: the node has neither an address nor a wallet.
    Nobody,
    /// It makes no block now, for this reason.
    NoBlock(String),
}

/// An unspent output in the node's chain and mempool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Base units.
    pub value: u64,
    /// Its address.
    pub address: Address,
    /// Height of its block; `None` if it is in none.
    pub height: Option<u64>,
}

/// A block in the node's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsdBlock {
    /// 1 for the tip; `None` off the main chain.
    pub depth: Option<u32>,
    /// Its transactions.
    pub txids: Vec<Hash>,
}

/// hsd's full node.
pub struct HsdNode {
    endpoint: Endpoint,
    network: Network,
}

impl HsdNode {
    /// Makes the client without sending anything.
    #[must_use]
    pub fn new(url: Url, key: Option<Secret>, network: Network, patience: HsdTimeouts) -> Self {
        Self {
            endpoint: Endpoint::new(url, key, patience),
            network,
        }
    }

    /// Orders it to mine a block of its mempool's transactions, on regtest.
    ///
    /// # Errors
    ///
    /// When there is no answer, or a refusal.
    pub fn mine_block(&self, address: &str) -> anyhow::Result<()> {
        self.endpoint
            .rpc("generatetoaddress", &json!([1, address]))?;
        Ok(())
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.endpoint.url
    }

    /// Its network and height.
    ///
    /// # Errors
    /// When it does not answer, or is not a node.
    pub fn info(&self) -> anyhow::Result<NodeInfo> {
        let found = self.endpoint.call("GET", "/", None)?;
        let info = found.as_ref().and_then(|answer| {
            Some(NodeInfo {
                network: cut(answer.get("network")?.as_str()?),
                height: answer.pointer("/chain/height")?.as_u64()?,
            })
        });
        info.ok_or_else(|| anyhow!("no hsd node answers at {}", self.url()))
    }

    /// Its view of the chain. It calls itself synchronized when it would let others mine (lib/node/rpc.js,
    /// getBlockTemplate).
    ///
    /// # Errors
    /// When it does not answer, or is not a node.
    pub fn view(&self) -> anyhow::Result<ChainView> {
        let answer = self.endpoint.rpc("getblockchaininfo", &json!([]))?;
        let tip = || {
            let height = answer.get("blocks")?.as_u64()?;
            Some(Tip {
                height: Height(u32::try_from(height).ok()?),
                hash: as_hash(answer.get("bestblockhash")?)?,
                work: Chainwork::from_hex(answer.get("chainwork")?.as_str()?)?,
            })
        };
        let tip = tip().ok_or_else(|| self.strange("getblockchaininfo"))?;
        let is_waiting = |reason: &str| {
            let waits = ["Node is downloading", "Node is not connected"];
            waits.iter().any(|begin| reason.starts_with(begin))
        };
        let is_synced = match self.payee()? {
            NodePayee::NoBlock(reason) => !is_waiting(&reason),
            NodePayee::Address(_) | NodePayee::Nobody => true,
        };
        Ok(ChainView { tip, is_synced })
    }

    /// Hash of the block at a height of its main chain.
    ///
    /// # Errors
    /// When it does not answer, or has none there.
    pub fn hash_at(&self, height: Height) -> anyhow::Result<Hash> {
        let answer = self.endpoint.rpc("getblockhash", &json!([height.0]))?;
        as_hash(&answer).ok_or_else(|| self.strange("getblockhash"))
    }

    /// Its status.
    ///
    /// # Errors
    /// When it does not answer, or is not a node.
    pub fn status(&self) -> anyhow::Result<NodeStatus> {
        let found = self.endpoint.call("GET", "/", None)?;
        let answer = found.ok_or_else(|| anyhow!("no hsd node answers at {}", self.url()))?;
        let tip = answer.pointer("/chain/tip").cloned().unwrap_or_default();
        let header = self.endpoint.rpc("getblockheader", &json!([tip, true]))?;
        let status = || {
            let peers = |kind: &str| answer.pointer(kind)?.as_u64();
            Some(NodeStatus {
                version: cut(answer.get("version")?.as_str()?),
                network: cut(answer.get("network")?.as_str()?),
                height: answer.pointer("/chain/height")?.as_u64()?,
                progress: answer.pointer("/chain/progress")?.as_f64()?,
                tip_time: header.get("time")?.as_u64()?,
                peers: peers("/pool/outbound")? + peers("/pool/inbound")?,
                clock_offset: answer.pointer("/time/offset")?.as_i64()?,
            })
        };
        status().ok_or_else(|| self.strange("/"))
    }

    /// True if hstratum runs in it, which shows by a call that hstratum adds.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn has_hstratum(&self) -> anyhow::Result<bool> {
        // Called without arguments it only returns its usage.
        let Err(error) = self.endpoint.rpc("setstratumaddress", &json!([])) else {
            return Ok(true);
        };
        match error.downcast_ref::<HsdRefusal>() {
            Some(refusal) => Ok(!refusal.message.starts_with("Method not found")),
            None => Err(error),
        }
    }

    /// Status of the hstratum in it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn hstratum(&self) -> anyhow::Result<Hstratum> {
        let info = self.endpoint.rpc("getstratuminfo", &json!([]))?;
        let options = info.get("options").cloned();
        let place = |name: &str| info["places"][name].as_u64();
        let lines = info["shared"]["differences"].as_array();
        let lines = lines.into_iter().flatten();
        let wrong = |name: &str| {
            let text = info[name].as_str()?;
            let is_well = ["ok", "not verified", "not tried yet"].contains(&text);
            (!is_well).then(|| text.to_owned())
        };
        let nodes = info["extranodes"].as_array();
        let nodes = nodes.into_iter().flatten().filter_map(|node| {
            let reason = match node["connected"].as_bool()? {
                true => None,
                false => Some(node["reason"].as_str()?.to_owned()),
            };
            Some((node["address"].as_str()?.to_owned(), reason))
        });
        Ok(Hstratum {
            left_out: info["leftout"].as_u64().unwrap_or(0),
            template_refused: wrong("template"),
            block_path_broken: wrong("blockpath"),
            options: options.and_then(|options| serde_json::from_value(options).ok()),
            places: place("all").zip(place("taken")),
            extra_nodes: nodes.collect(),
            differences: lines
                .filter_map(|line| Some(line.as_str()?.to_owned()))
                .collect(),
        })
    }

    /// Receiver of the reward of its next block (lib/node/rpc.js, getBlockTemplate).
    ///
    /// # Errors
    /// When it does not answer.
    pub fn payee(&self) -> anyhow::Result<NodePayee> {
        let request = json!([{ "capabilities": ["coinbasetxn"] }]);
        let answer = match self.endpoint.rpc("getblocktemplate", &request) {
            Ok(answer) => answer,
            Err(error) => {
                return match error.downcast_ref::<HsdRefusal>() {
                    Some(refusal) if refusal.message.starts_with("No addresses") => {
                        Ok(NodePayee::Nobody)
                    }
                    Some(refusal) => Ok(NodePayee::NoBlock(refusal.message.clone())),
                    None => Err(error),
                };
            }
        };
        let address = || {
            let raw = unhex(answer.pointer("/coinbasetxn/data")?.as_str()?)?;
            Some(Transaction::parse(&raw)?.outputs.first()?.address.clone())
        };
        let address = address().ok_or_else(|| self.strange("getblocktemplate"))?;
        Ok(NodePayee::Address(address))
    }

    /// An output that neither the chain nor the mempool has spent (lib/node/fullnode.js, getCoin).
    ///
    /// # Errors
    /// When it does not answer.
    pub fn coin(&self, outpoint: Outpoint) -> anyhow::Result<Option<Coin>> {
        let path = format!("/coin/{}/{}", hex(&outpoint.txid.0), outpoint.index);
        let Some(answer) = self.endpoint.call("GET", &path, None)? else {
            return Ok(None);
        };
        let coin = || {
            Some(Coin {
                value: answer.get("value")?.as_u64()?,
                address: Address::parse(answer.get("address")?.as_str()?, self.network)?,
                // hsd gives -1 for an output in the mempool.
                height: u64::try_from(answer.get("height")?.as_i64()?).ok(),
            })
        };
        coin().map(Some).ok_or_else(|| self.strange(&path))
    }

    /// Depth of a block: 1 for the tip. `None` off the main chain.
    ///
    /// # Errors
    /// When it does not answer, or does not know the block.
    pub fn depth_of(&self, block: &Hash) -> anyhow::Result<Option<u32>> {
        let answer = self
            .endpoint
            .rpc("getblockheader", &json!([hex(&block.0), true]))?;
        depth(&answer).ok_or_else(|| self.strange("getblockheader"))
    }

    /// A block that it has.
    ///
    /// # Errors
    /// When it does not answer, or does not have the block, or no longer.
    pub fn block(&self, hash: &Hash) -> anyhow::Result<HsdBlock> {
        let answer = self
            .endpoint
            .rpc("getblock", &json!([hex(&hash.0), true, false]))?;
        let block = || {
            let txids = answer.get("tx")?.as_array()?.iter();
            Some(HsdBlock {
                depth: depth(&answer)?,
                txids: txids.map(as_hash).collect::<Option<_>>()?,
            })
        };
        block().ok_or_else(|| self.strange("getblock"))
    }

    /// True if the transaction is in its mempool.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn has_in_mempool(&self, txid: &Hash) -> anyhow::Result<bool> {
        match self.endpoint.rpc("getmempoolentry", &json!([hex(&txid.0)])) {
            Ok(_) => Ok(true),
            Err(error) => match error.downcast_ref::<HsdRefusal>() {
                Some(refusal) if refusal.message == "Transaction not in mempool." => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Gives it a transaction to verify and relay. A successful call does not prove that it has accepted the
    /// transaction (lib/node/fullnode.js, sendTX).
    ///
    /// # Errors
    /// When it does not answer, or finds the transaction invalid.
    pub fn broadcast(&self, raw: &str) -> anyhow::Result<()> {
        let body = json!({ "tx": raw });
        self.endpoint.call("POST", "/broadcast", Some(&body))?;
        Ok(())
    }

    fn strange(&self, call: &str) -> anyhow::Error {
        anyhow!("the answer of {} to {call} is not hsd's", self.url())
    }
}

/// Depth in an answer; hsd gives -1 for a block off the main chain.
fn depth(answer: &Value) -> Option<Option<u32>> {
    let confirmations = answer.get("confirmations")?.as_i64()?;
    Some(u32::try_from(confirmations).ok().filter(|depth| *depth > 0))
}
