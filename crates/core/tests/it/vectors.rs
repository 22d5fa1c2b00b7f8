//! Golden data made by hsd (`vectors/generate.js`), checked in every field, and the share of a real
//! device. Where hsd is not the reference, a second implementation or plain arithmetic is.

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Coinbase;
use hstratum_core::chain::header::{
    HeaderFields, HeaderHasher, Proof, decode_header, encode_header, extra_nonce, header_hash,
    mask_hash,
};
use hstratum_core::chain::template::{
    RawTransactions, Template, TemplateError, TemplateParts, encode_block,
};
use hstratum_core::job::direct_payout::{DirectPayout, OperatorFee};
use hstratum_core::units::{Difficulty, Hash, Height, Target, hex, parse_hex_u32, unhex};
use std::sync::Arc;

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
    let vectors = load(include_str!("../vectors/headers.json"));
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
    for vector in &load(include_str!("../vectors/headers.json")) {
        let (fields, proof, mask) = header_of(vector);
        let raw = encode_header(&fields, &proof, &mask);
        assert_eq!(hex(&raw), text(vector, "raw"));
        assert_eq!(decode_header(&raw), Some((fields, proof, mask)));
        assert_eq!(decode_header(&raw[1..]), None);
        assert_eq!(decode_header(&[&raw[..], &[0]].concat()), None);
    }
}

/// The share hash covers subheader and commit hash; comparing them shows where it would go wrong.
#[test]
fn parts_of_a_header_hash_as_in_hsd() {
    for vector in &load(include_str!("../vectors/headers.json")) {
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
    for vector in &load(include_str!("../vectors/targets.json")) {
        let target = Target::from_compact(small(vector, "bits")).expect("good bits");
        assert_eq!(target.0, hash(vector, "target").0);
        assert_eq!(target.to_compact(), small(vector, "bits_again"));
        // hsd divides 0xffff · 2^208 with doubles and rounds down; ours is 65536/65535 of that.
        let theirs = vector["difficulty"].as_f64().expect("a number");
        let ours = target.difficulty().get() * (65_535.0 / 65_536.0);
        assert!((ours - theirs).abs() <= 1.0 + theirs * 1e-14, "{vector}");
    }
}

fn hashes(vector: &Value, key: &str) -> Vec<Hash> {
    let list = vector[key].as_array().expect("a list of hashes");
    let read = |text: &Value| Hash::from_hex(text.as_str()?);
    let hashes: Option<Vec<Hash>> = list.iter().map(read).collect();
    hashes.expect("hashes of 64 digits")
}

fn parts_of(vector: &Value) -> TemplateParts {
    let txids = hashes(vector, "txids");
    let witness_hashes = hashes(vector, "witness_hashes");
    assert_eq!(txids.len(), witness_hashes.len());
    let pairs = txids.iter().zip(&witness_hashes);
    TemplateParts {
        id: 7,
        height: Height(small(vector, "height")),
        version: small(vector, "version"),
        bits: small(vector, "bits"),
        time: number(vector, "time"),
        mtp: number(vector, "mtp"),
        time_min: number(vector, "mtp") + 1,
        time_max: number(vector, "time") + 7200,
        prev_block: hash(vector, "prev_block"),
        tree_root: hash(vector, "tree_root"),
        reserved_root: hash(vector, "reserved_root"),
        merkle_root: hash(vector, "merkle_root"),
        witness_root: hash(vector, "witness_root"),
        coinbase: bytes(vector, "coinbase"),
        leaves: pairs.flat_map(|(a, b)| [a.0, b.0].concat()).collect(),
    }
}

fn fields_of(template: &Template, coinbase: &Coinbase, mask: &Hash) -> HeaderFields {
    HeaderFields {
        prev_block: template.prev_block,
        tree_root: template.tree_root,
        reserved_root: template.reserved_root,
        witness_root: template.witness_root(coinbase),
        merkle_root: template.merkle_root,
        version: template.version,
        bits: template.bits,
        mask_hash: mask_hash(&template.prev_block, mask),
    }
}

#[test]
fn templates_are_checked_and_their_coinbases_read() {
    let vectors = load(include_str!("../vectors/templates.json"));
    assert_eq!(vectors.len(), 7);
    for vector in &vectors {
        let parts = parts_of(vector);
        let template = Template::new(parts.clone()).expect("hsd's own template");
        let coinbase = &template.coinbase;
        assert_eq!(hex(coinbase.as_bytes()), text(vector, "coinbase"));
        assert_eq!(coinbase.txid(), hash(vector, "coinbase_txid"));
        assert_eq!(
            coinbase.witness_hash(),
            hash(vector, "coinbase_witness_hash")
        );
        assert_eq!(coinbase.value(), number(vector, "reward"));
        assert_eq!(
            number(vector, "reward"),
            2_000_000_000 + number(vector, "fees")
        );
        assert_eq!(coinbase.locktime(), small(vector, "height"));
        assert_eq!(coinbase.address().version(), 0);
        assert_eq!(coinbase.address().hash(), &coinbase.as_bytes()[56..76]);
        assert_eq!(
            (
                template.id,
                template.height,
                template.version,
                template.bits
            ),
            (7, parts.height, parts.version, parts.bits)
        );
        assert_eq!(
            (
                template.time,
                template.mtp,
                template.time_min,
                template.time_max
            ),
            (parts.time, parts.mtp, parts.time_min, parts.time_max)
        );
        assert_eq!(template.txids, hashes(vector, "txids"));
        assert_eq!(template.merkle_root, hash(vector, "merkle_root"));
        assert_eq!(
            template.merkle_branch.root(&coinbase.txid()),
            parts.merkle_root
        );
        assert_eq!(
            template.witness_root(coinbase),
            hash(vector, "witness_root")
        );
        assert_eq!(Some(template.target), Target::from_compact(parts.bits));
    }
}

#[test]
fn solved_templates_give_the_blocks_of_hsd() {
    let mut whole = 0;
    for vector in &load(include_str!("../vectors/templates.json")) {
        let template = Template::new(parts_of(vector)).expect("hsd's own template");
        let solved = &vector["solved"];
        let mask = hash(solved, "mask");
        let proof = Proof {
            nonce: small(solved, "nonce"),
            time: template.time,
            extra_nonce: bytes(solved, "extra_nonce").try_into().expect("24 bytes"),
        };
        let fields = fields_of(&template, &template.coinbase, &mask);
        let share_hash = HeaderHasher::new(&fields).share_hash(&proof);
        assert_eq!(share_hash, hash(solved, "share_hash"));
        assert_eq!(share_hash.xor(&mask), hash(solved, "pow_hash"));
        assert_eq!(
            header_hash(&fields, &proof, &mask),
            hash(solved, "block_hash")
        );
        // Blocks of more than seven transactions are in the vectors only as a hash.
        let Some(block) = solved["block"].as_str() else {
            continue;
        };
        let block = unhex(block).expect("a raw block");
        let rest = HEADER_AND_COUNT_BYTES + template.coinbase.as_bytes().len();
        let transactions = RawTransactions {
            count: template.txids.len(),
            bytes: block[rest..].into(),
        };
        let raw = encode_header(&fields, &proof, &mask);
        let ours = encode_block(&raw, &template.coinbase, &transactions);
        assert_eq!(hex(&ours), hex(&block));
        assert_eq!(Hash::blake2b(&[&ours]), hash(solved, "block_blake2b"));
        whole += 1;
    }
    assert_eq!(whole, 5);
}

/// Bytes of the header and a count of one byte.
const HEADER_AND_COUNT_BYTES: usize = 237;

#[test]
fn count_of_a_big_block_takes_three_bytes() {
    let vector = &load(include_str!("../vectors/templates.json"))[6];
    let template = Template::new(parts_of(vector)).expect("hsd's own template");
    let bytes = vec![0xee; 10];
    let transactions = RawTransactions {
        count: 333,
        bytes: bytes.into(),
    };
    let block = encode_block(&[0; 236], &template.coinbase, &transactions);
    assert_eq!(block[236..239], [0xfd, 0x4e, 0x01]);
    let coinbase_end = 239 + template.coinbase.as_bytes().len();
    assert_eq!(&block[239..coinbase_end], template.coinbase.as_bytes());
    assert_eq!(block[coinbase_end..], [0xee; 10]);
}

#[test]
fn witness_nonce_changes_the_witness_hash_alone() {
    for vector in &load(include_str!("../vectors/templates.json")) {
        let template = Template::new(parts_of(vector)).expect("hsd's own template");
        let node = &template.coinbase;
        let other = node.with_witness_nonce(*b"eight by");
        let again = Coinbase::parse(other.as_bytes());
        assert_eq!(again.as_ref(), Some(&other));
        assert_eq!(other.txid(), node.txid());
        assert_ne!(other.witness_hash(), node.witness_hash());
        assert_ne!(template.witness_root(&other), template.witness_root(node));
        let differing = node.as_bytes().iter().zip(other.as_bytes());
        assert!(differing.filter(|(a, b)| a != b).count() <= 8);
        let at = node.as_bytes().len() - 17;
        assert_eq!(other.as_bytes()[at..at + 8], *b"eight by");
        let back = other.with_witness_nonce(node.as_bytes()[at..at + 8].try_into().unwrap());
        assert_eq!(&back, node);
    }
}

/// Claims and airdrops are further inputs and outputs of the coinbase.
#[test]
fn coinbases_with_claims_and_airdrops_are_read() {
    let vectors = load(include_str!("../vectors/coinbases.json"));
    assert_eq!(vectors.len(), 4);
    for vector in &vectors {
        let raw = bytes(vector, "raw");
        let coinbase = Coinbase::parse(&raw).expect("hsd's own coinbase");
        assert_eq!(coinbase.as_bytes(), raw);
        assert_eq!(coinbase.txid(), hash(vector, "txid"));
        assert_eq!(coinbase.witness_hash(), hash(vector, "witness_hash"));
        assert_eq!(coinbase.locktime(), small(vector, "height"));
        assert_eq!(coinbase.value(), number(vector, "value"));
        let address = coinbase.address();
        assert_eq!(u64::from(address.version()), number(vector, "version"));
        assert_eq!(hex(address.hash()), text(vector, "hash"));
        let other = coinbase.with_witness_nonce([0; 8]);
        assert_eq!(Coinbase::parse(other.as_bytes()), Some(other));
        for cut in 0..raw.len() {
            assert_eq!(Coinbase::parse(&raw[..cut]), None);
        }
    }
}

/// Made by hsd of the coinbases above: another payee, and the fee in a last output.
#[test]
fn coinbases_that_pay_a_miner_are_those_of_hsd() {
    let vectors = load(include_str!("../vectors/direct_coinbases.json"));
    assert_eq!(vectors.len(), 16);
    let address = |hash| Address::new(0, hash).expect("an address");
    for vector in &vectors {
        let node = Coinbase::parse(&bytes(vector, "raw")).expect("hsd's own coinbase");
        let own = vector["fee_address"].as_str().and_then(unhex);
        let payout = DirectPayout {
            payee: address(bytes(vector, "payee")),
            fee: Arc::new(OperatorFee {
                part: FeePpm::new(small(vector, "ppm")).expect("at most all"),
                address: own.map(address),
            }),
        };
        let nonce = bytes(vector, "nonce").try_into().expect("eight bytes");
        let direct = payout.coinbase(&node, nonce);
        assert_eq!(hex(direct.as_bytes()), text(vector, "direct"));
        assert_eq!(direct.txid(), hash(vector, "txid"));
        assert_eq!(direct.witness_hash(), hash(vector, "witness_hash"));
        assert_eq!(direct.address(), &payout.payee);
        assert_eq!(
            direct.value(),
            node.value() - payout.fee.part.of(node.value())
        );
        assert!(direct.is_variant_of(&node));
    }
}

#[test]
fn coinbase_that_takes_or_moves_anything_is_no_variant_of_the_nodes() {
    let vectors = load(include_str!("../vectors/direct_coinbases.json"));
    for vector in vectors
        .iter()
        .filter(|vector| small(vector, "ppm") == 12_500)
    {
        let node = Coinbase::parse(&bytes(vector, "raw")).expect("hsd's own coinbase");
        let raw = bytes(vector, "direct");
        let inputs_end = 5 + 40 * usize::from(raw[4]);
        // Version, inputs, outputs and height; the witnesses are of no account.
        let is_base = |end: &usize| Hash::blake2b(&[&raw[..*end]]) == hash(vector, "txid");
        let base_end = (0..raw.len()).find(is_base).expect("the base is a part");
        for at in 0..base_end {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            let is_variant = Coinbase::parse(&changed).is_some_and(|one| one.is_variant_of(&node));
            // Version and hash of an address; its length is between them.
            let (payee_at, fee_at) = (inputs_end + 9, base_end - 40);
            let is_payee = at == payee_at || (payee_at + 2..payee_at + 22).contains(&at);
            let is_fee = at == fee_at || (fee_at + 2..fee_at + 34).contains(&at);
            assert_eq!(is_variant, is_payee || is_fee, "byte {at}");
        }
    }
}

/// The coinbase of hsd's first template, with one thing wrong at a time.
#[test]
fn transactions_that_are_no_coinbase_are_refused() {
    let good = bytes(
        &load(include_str!("../vectors/templates.json"))[0],
        "coinbase",
    );
    let refuse = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut raw = good.clone();
        change(&mut raw);
        assert_eq!(Coinbase::parse(&raw), None, "{what}");
    };
    refuse("spends a hash", &|raw| raw[5] = 1);
    refuse("spends an index", &|raw| raw[37] = 0);
    refuse("no inputs", &|raw| raw[4] = 0);
    refuse("more inputs than there are", &|raw| raw[4] = 0xfc);
    refuse("no outputs", &|raw| raw[45] = 0);
    refuse("address version 32", &|raw| raw[54] = 32);
    refuse("address of 19 bytes", &|raw| raw[55] = 19);
    let flags = 83;
    assert_eq!(good[flags..flags + 2], [12, b'm']);
    refuse("one witness item", &|raw| raw[flags - 1] = 1);
    refuse("nonce of 7 bytes", &|raw| raw[flags + 13] = 7);
    refuse("flags of 21 bytes", &|raw| {
        raw.splice(flags..=flags, [21; 10]);
    });
    refuse("bytes after the end", &|raw| raw.push(0));
}

#[test]
fn templates_that_contradict_themselves_are_refused() {
    let vector = &load(include_str!("../vectors/templates.json"))[3];
    let check = |error: TemplateError, change: fn(&mut TemplateParts)| {
        let mut parts = parts_of(vector);
        change(&mut parts);
        assert_eq!(Template::new(parts).unwrap_err(), error, "{error}");
    };
    check(TemplateError::BadCoinbase, |parts| parts.coinbase.push(0));
    check(TemplateError::BadLeaves, |parts| parts.leaves.push(0));
    check(TemplateError::MerkleRootMismatch, |parts| {
        parts.leaves[0] ^= 1;
    });
    check(TemplateError::MerkleRootMismatch, |parts| {
        parts.merkle_root.0[0] ^= 1;
    });
    check(TemplateError::MerkleRootMismatch, |parts| {
        parts.leaves.truncate(64);
    });
    check(TemplateError::WitnessRootMismatch, |parts| {
        parts.leaves[32] ^= 1;
    });
    check(TemplateError::WitnessRootMismatch, |parts| {
        parts.witness_root.0[31] ^= 1;
    });
    check(TemplateError::BadBits, |parts| parts.bits = 0);
    check(TemplateError::HeightMismatch, |parts| parts.height.0 += 1);
    check(TemplateError::TimeBounds, |parts| {
        parts.time_min = parts.mtp;
    });
    check(TemplateError::TimeBounds, |parts| {
        parts.time = parts.time_min - 1;
    });
    check(TemplateError::TimeBounds, |parts| {
        parts.time = parts.time_max + 1;
    });
    check(TemplateError::TimeBounds, |parts| {
        parts.time = 1 << 32;
        parts.time_max = 1 << 32;
    });
}

#[test]
fn addresses_are_those_of_hsd() {
    for vector in &load(include_str!("../vectors/addresses.json")) {
        let network = Network::from_name(text(vector, "network")).expect("a network");
        assert_eq!(network.name(), text(vector, "network"));
        let address = Address::parse(text(vector, "text"), network).expect("an address");
        assert_eq!(u64::from(address.version()), number(vector, "version"));
        assert_eq!(hex(address.hash()), text(vector, "hash"));
        assert_eq!(address.encode(network), text(vector, "text"));
    }
}

#[test]
fn share_of_a_real_device_has_the_hash_it_was_mined_for() {
    let wire = include_str!("../vectors/hs1-mainnet.txt");
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

    #[test]
    fn any_bytes_are_read_as_a_coinbase_or_refused(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let raw = bytes(&load(include_str!("../vectors/templates.json"))[0], "coinbase");
        let mut changed = raw.clone();
        let at = at.index(raw.len());
        changed[at] = byte;
        if let Some(coinbase) = Coinbase::parse(&changed) {
            prop_assert_eq!(coinbase.as_bytes(), &changed[..]);
        }
        prop_assert_eq!(Coinbase::parse(&raw[..cut.index(raw.len())]), None);
    }
}
