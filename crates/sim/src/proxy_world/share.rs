//! Checks shares on their way through the proxy: a share reaches one server only, not more often than its
//! miner has sent it, and an acknowledged share is in that server's ledger.

use std::collections::HashMap;

use hstratum_core::units::Hash;
use serde_json::Value;

use crate::miner::Submitted;
use crate::miner::mining::PreparedShare;
use crate::proxy_world::ProxyWorld;
use crate::proxy_world::link::LinkPeer;
use crate::server::net::LinkId;
use crate::world::oracle::CreditKey;

/// A share sent by a miner.
struct SentShare {
    hash: Hash,
    key: CreditKey,
    is_valid: bool,
    /// Times that its miner has sent it, and times that a server has received it.
    sent: u32,
    reached: u32,
    /// The server that has received it.
    place: Option<usize>,
}

/// Every share sent, by its miner and the parameters that tell it from others of its job.
#[derive(Default)]
pub(crate) struct ProxiedShares {
    sent: HashMap<(usize, String), SentShare>,
    texts: HashMap<Hash, (usize, String)>,
}

impl ProxiedShares {
    /// Records a share sent by a miner.
    pub(crate) fn send(&mut self, rig: usize, claim: &PreparedShare) {
        let text = text_of(&claim.params).expect("a miner writes its parameters well");
        let submitted = &claim.submitted;
        let name = (rig, text);
        let sent = self.sent.entry(name.clone()).or_insert(SentShare {
            hash: submitted.hash,
            key: submitted.key.clone(),
            is_valid: submitted.is_valid,
            sent: 0,
            reached: 0,
            place: None,
        });
        sent.sent += 1;
        // With another extranonce1 it is another share.
        (sent.hash, sent.key, sent.is_valid) =
            (submitted.hash, submitted.key.clone(), submitted.is_valid);
        self.texts.insert(submitted.hash, name);
    }

    /// The server that has received a share.
    pub(crate) fn place_of(&self, hash: &Hash) -> Option<usize> {
        self.sent.get(self.texts.get(hash)?)?.place
    }
}

/// Job, extranonce2, time and nonce from a submit's parameters.
fn text_of(params: &str) -> Option<String> {
    let params: Vec<Value> = serde_json::from_str(params).ok()?;
    let texts = params.get(1..5)?.iter().map(Value::as_str);
    Some(texts.collect::<Option<Vec<_>>>()?.join(" "))
}

impl ProxyWorld {
    /// Checks the submits that the proxy sends to a server: no job of another server, no share that
    /// another server has received, none more often than its miner has sent it.
    pub(crate) fn see_submits(&mut self, link: LinkId, rig: Option<usize>, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(request) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            if request["method"] != "mining.submit" {
                continue;
            }
            let rig = rig.expect("a probe sends no shares");
            let job = request["params"][1].as_str().unwrap_or_default();
            let state = &self.links[&link];
            let LinkPeer::Server(place, ..) = state.peer else {
                panic!("a submit to a miner");
            };
            assert!(
                state.jobs.contains(job),
                "s{place} is sent a share of a job that it has not given on this connection: {job}"
            );
            let text = text_of(&request["params"].to_string()).unwrap_or_default();
            let Some(share) = self.shares.sent.get_mut(&(rig, text)) else {
                assert!(!self.rigs[rig].miner.is_honest(), "a share of nobody's");
                continue;
            };
            share.reached += 1;
            let before = *share.place.get_or_insert(place);
            assert_eq!(
                before, place,
                "one share goes to two servers: {}",
                share.hash
            );
            assert!(
                share.reached <= share.sent,
                "a share is sent to its server more often than its miner has sent it"
            );
            if share.is_valid {
                let world = &mut self.servers[place].world;
                world.oracle.send(share.hash, &share.key);
            }
        }
    }

    /// Checks an acknowledged share: a server has received it, and its ledger has it.
    pub(crate) fn acknowledged(&mut self, rig: usize, submitted: &Submitted) {
        let place = self.shares.place_of(&submitted.hash);
        let place = place.unwrap_or_else(|| {
            panic!(
                "miner {rig} was told that a share counts that no server has got: {}",
                submitted.hash
            )
        });
        let oracle = &mut self.servers[place].world.oracle;
        oracle.acknowledge(submitted.hash, &submitted.key);
    }
}
