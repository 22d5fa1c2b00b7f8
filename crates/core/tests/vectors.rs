//! Golden data made by hsd (`vectors/generate.js`), every field of it, and the share of a real
//! device. Where hsd is not the oracle, a second implementation or plain arithmetic is.

use hstratum_core::header::{
    HeaderFields, HeaderHasher, Proof, decode_header, encode_header, extra_nonce, header_hash,
    mask_hash,
};
use hstratum_core::units::{Difficulty, Hash, Target, hex, parse_hex_u32, unhex};
use proptest::prelude::*;
use serde_json::Value;

fn load(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("a vector file is a JSON array")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}"))
}

fn hash(value: &Value, key: &str) -> Hash {
    Hash::from_hex(text(value, key)).unwrap_or_else(|| panic!("bad {key}"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    unhex(text(value, key)).unwrap_or_else(|| panic!("bad {key}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key}"))
}

fn small(value: &Value, key: &str) -> u32 {
    number(value, key).try_into().expect("32 bits")
}

fn header_of(vector: &Value) -> (HeaderFields, Proof, Hash) {
    let fields = HeaderFields {
        prev_block: hash(vector, "prev_block"),
        tree_root: hash(vector, "tree_root"),
        reserved_root: hash(vector, "reserved_root"),
        witness_root: hash(vector, "witness_root"),
        merkle_root: hash(vector, "merkle_root"),
        version: small(vector, "version"),
        bits: small(vector, "bits"),
        mask_hash: hash(vector, "mask_hash"),
    };
    let proof = Proof {
        nonce: small(vector, "nonce"),
        time: number(vector, "time"),
        extra_nonce: bytes(vector, "extra_nonce").try_into().expect("24 bytes"),
    };
    (fields, proof, hash(vector, "mask"))
}

#[test]
fn headers_hash_as_in_hsd() {
    let vectors = load(include_str!("vectors/headers.json"));
    assert_eq!(vectors.len(), 200);
    for vector in &vectors {
        let (fields, proof, mask) = header_of(vector);
        let share_hash = HeaderHasher::new(&fields).share_hash(&proof);
        assert_eq!(mask_hash(&fields.prev_block, &mask), fields.mask_hash);
        assert_eq!(share_hash, hash(vector, "share_hash"));
        assert_eq!(share_hash.xor(&mask), hash(vector, "pow_hash"));
        let pow_hash = header_hash(&fields, &proof, &mask);
        assert_eq!(pow_hash, hash(vector, "pow_hash"));
    }
}

#[test]
fn headers_are_written_and_read_as_in_hsd() {
    for vector in &load(include_str!("vectors/headers.json")) {
        let (fields, proof, mask) = header_of(vector);
        let raw = encode_header(&fields, &proof, &mask);
        assert_eq!(hex(&raw), text(vector, "raw"));
        assert_eq!(decode_header(&raw), Some((fields, proof, mask)));
        assert_eq!(decode_header(&raw[1..]), None);
        assert_eq!(decode_header(&[&raw[..], &[0]].concat()), None);
    }
}

/// The share hash covers the subheader and commit hash; these say where it would go wrong.
#[test]
fn parts_of_a_header_hash_as_in_hsd() {
    for vector in &load(include_str!("vectors/headers.json")) {
        let miner = bytes(vector, "miner_header");
        let raw = bytes(vector, "raw");
        assert_eq!(miner[..12], raw[..12]);
        assert_eq!(miner[32..96], raw[12..76]);
        assert_eq!(hex(&miner[96..128]), text(vector, "mask_hash"));
        assert_eq!(miner[128..], raw[76..204]);
        let sub_hash = Hash::blake2b(&[&miner[128..]]);
        assert_eq!(sub_hash, hash(vector, "sub_hash"));
        let commit_hash = Hash::blake2b(&[&sub_hash.0, &miner[96..128]]);
        assert_eq!(commit_hash, hash(vector, "commit_hash"));
    }
}

#[test]
fn targets_are_those_of_hsd() {
    for vector in &load(include_str!("vectors/targets.json")) {
        let target = Target::from_compact(small(vector, "bits")).expect("good bits");
        assert_eq!(target.0, hash(vector, "target").0);
        assert_eq!(target.to_compact(), small(vector, "bits_again"));
        // hsd divides 0xffff · 2^208 with doubles and rounds down; ours is 65536/65535 of that.
        let theirs = vector["difficulty"].as_f64().expect("a number");
        let ours = target.difficulty().get() * (65_535.0 / 65_536.0);
        assert!((ours - theirs).abs() <= 1.0 + theirs * 1e-14, "{vector}");
    }
}

#[test]
fn share_of_a_real_device_has_the_hash_it_was_mined_for() {
    let wire = include_str!("transcripts/hs1-mainnet.txt");
    let params = |method: &str| {
        let line = wire.lines().find(|line| line.contains(method));
        let line = line.expect("the line is there");
        let json: Value = serde_json::from_str(&line[2..]).expect("a JSON line");
        json["params"].clone()
    };
    let job = params("\"method\":\"mining.notify\"");
    let submit = params("mining.submit");
    let job_hash = |at: usize| Hash::from_hex(job[at].as_str().unwrap()).unwrap();
    let word = |params: &Value, at: usize| parse_hex_u32(params[at].as_str().unwrap()).unwrap();
    let fields = HeaderFields {
        prev_block: job_hash(1),
        merkle_root: job_hash(2),
        witness_root: job_hash(3),
        tree_root: job_hash(4),
        reserved_root: job_hash(5),
        version: word(&job, 6),
        bits: word(&job, 7),
        mask_hash: mask_hash(&job_hash(1), &Hash::ZERO),
    };
    let proof = Proof {
        nonce: word(&submit, 4),
        time: word(&submit, 3).into(),
        extra_nonce: extra_nonce(0xae00_0000, word(&submit, 2)),
    };
    let share_hash = HeaderHasher::new(&fields).share_hash(&proof);
    let expected = "00000000027e0b838a4f296fb9134e6818787eee7134fd5e499280343b879b7c";
    assert_eq!(share_hash.to_string(), expected);
    let reached = Target(share_hash.0).difficulty().get();
    assert!((102.7..102.8).contains(&reached), "{reached}");
    let met = |d: f64| Target::of_difficulty(Difficulty::new(d).unwrap()).is_met_by(&share_hash);
    assert!(met(102.0) && !met(103.0));
}

proptest! {
    #[test]
    fn any_header_hashes_as_in_a_second_implementation(raw in prop::array::uniform4(any::<[u8; 59]>())) {
        let raw = raw.concat();
        let theirs = hns_header_consensus::Header::decode(&raw).unwrap();
        let (fields, proof, mask) = decode_header(&raw).unwrap();
        prop_assert_eq!(&encode_header(&fields, &proof, &mask)[..], &raw[..]);
        let share_hash = HeaderHasher::new(&fields).share_hash(&proof);
        prop_assert_eq!(share_hash.0, theirs.share_hash().into_bytes());
        prop_assert_eq!(header_hash(&fields, &proof, &mask).0, theirs.pow_hash().into_bytes());
    }
}
