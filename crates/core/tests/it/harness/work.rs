//! A miner's work: reads jobs from the wire and finds nonces of the kind that a test needs.

use hstratum_core::chain::header::{HeaderFields, HeaderHasher, Proof, extra_nonce, mask_hash};
use hstratum_core::units::{Difficulty, Hash, Target, parse_hex_u32};
use serde_json::Value;

/// The kind of submit that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// A share that is a block.
    Block,
    /// A share that is not a block.
    Share,
    /// A hash above the share target.
    Low,
}

/// The values that a miner puts into a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubmitFields {
    pub(crate) n2: u32,
    pub(crate) time: u32,
    pub(crate) nonce: u32,
}

impl SubmitFields {
    /// The last three fields of a submit.
    pub(crate) fn fields(&self) -> String {
        let Self { n2, time, nonce } = self;
        format!("\"{n2:08x}\",\"{time:08x}\",\"{nonce:08x}\"")
    }
}

/// A job as read from `mining.notify`, with the difficulty announced before it.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) id: String,
    pub(crate) prev_block: String,
    pub(crate) witness_root: String,
    pub(crate) time: u32,
    hasher: HeaderHasher,
    network: Target,
    share: Target,
}

impl Work {
    /// Reads the parameters of a `mining.notify`.
    pub(crate) fn of(params: &[Value], difficulty: Difficulty) -> Self {
        let text = |at: usize| params[at].as_str().expect("a string").to_owned();
        let hash = |at: usize| Hash::from_hex(&text(at)).expect("64 hex digits");
        let word = |at: usize| parse_hex_u32(&text(at)).expect("8 hex digits");
        assert_eq!(params.len(), 9, "a notify without a mask has nine fields");
        let fields = HeaderFields {
            prev_block: hash(1),
            merkle_root: hash(2),
            witness_root: hash(3),
            tree_root: hash(4),
            reserved_root: hash(5),
            version: word(6),
            bits: word(7),
            mask_hash: mask_hash(&hash(1), &Hash::ZERO),
        };
        Self {
            id: text(0),
            prev_block: text(1),
            witness_root: text(3),
            time: word(8),
            hasher: HeaderHasher::new(&fields),
            network: Target::from_compact(fields.bits).expect("bits of a target"),
            share: Target::of_difficulty(difficulty),
        }
    }

    /// True if a share of this job need not be a block.
    pub(crate) fn has_mere_shares(&self) -> bool {
        self.network < self.share
    }

    /// The first nonce from `from.nonce` on that gives the wanted kind.
    pub(crate) fn find(&self, want: Want, n1: u32, from: SubmitFields) -> SubmitFields {
        const TRIES_MAX: u32 = 1 << 20;
        for nonce in from.nonce..from.nonce + TRIES_MAX {
            let hash = self.hasher.share_hash(&Proof {
                nonce,
                time: from.time.into(),
                extra_nonce: extra_nonce(n1, from.n2),
            });
            let is_block = self.network.is_met_by(&hash);
            let is_share = self.share.is_met_by(&hash);
            let is_wanted = match want {
                Want::Block => is_block,
                Want::Share => is_share && !is_block,
                Want::Low => !is_share && !is_block,
            };
            if is_wanted {
                return SubmitFields { nonce, ..from };
            }
        }
        panic!("no {want:?} in {TRIES_MAX} nonces: the template's bits do not fit the test");
    }
}

/// A submit of five fields.
pub(crate) fn submit_line(id: &str, user: &str, job: &str, found: &SubmitFields) -> String {
    let fields = found.fields();
    format!(r#"{{"id":{id},"method":"mining.submit","params":["{user}","{job}",{fields}]}}"#)
}

/// Checks that the mask is not in the bytes sent to a miner.
pub(crate) fn assert_hidden(mask: Hash, bytes: &[u8]) {
    let text = mask.to_string();
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(mask == Hash::ZERO || !holds(text.as_bytes()) && !holds(&mask.0));
}
