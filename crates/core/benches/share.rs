//! Benchmarks of one share, also with a second implementation of its hash, and of one job.

use divan::{Bencher, black_box};
use hns_header_consensus::Header;
use hstratum_core::chain::header::{HeaderHasher, decode_header};
use hstratum_core::chain::merkle::Branch;
use hstratum_core::units::{Difficulty, Hash, Target};

fn main() {
    divan::main();
}

fn raw_header() -> [u8; 236] {
    std::array::from_fn(|at| at as u8)
}

#[divan::bench]
fn share_hash(bencher: Bencher<'_, '_>) {
    let (fields, mut proof, _) = decode_header(&raw_header()).expect("236 bytes");
    let hasher = HeaderHasher::new(&fields);
    bencher.bench_local(|| {
        proof.nonce = proof.nonce.wrapping_add(1);
        hasher.share_hash(black_box(&proof))
    });
}

#[divan::bench]
fn share_hash_of_hns_header_consensus(bencher: Bencher<'_, '_>) {
    let mut header = Header::decode(&raw_header()).expect("236 bytes");
    bencher.bench_local(|| {
        header.nonce = header.nonce.wrapping_add(1);
        black_box(&header).share_hash()
    });
}

fn leaves(count: u32) -> impl Iterator<Item = Hash> {
    (0..count).map(|i| Hash::blake2b(&[&i.to_le_bytes()]))
}

#[divan::bench(args = [0, 100, 3000])]
fn merkle_branch_root(bencher: Bencher<'_, '_>, count: u32) {
    let branch = Branch::of_first(leaves(count));
    bencher.bench_local(|| branch.root(black_box(&Hash::ZERO)));
}

#[divan::bench(args = [100, 3000])]
fn merkle_branch_of_first(bencher: Bencher<'_, '_>, count: u32) {
    let leaves: Vec<Hash> = leaves(count).collect();
    bencher.bench_local(|| Branch::of_first(black_box(&leaves).iter().copied()));
}

#[divan::bench(args = [0.001, 8.0, 1e9])]
fn target_of_difficulty(bencher: Bencher<'_, '_>, value: f64) {
    let difficulty = Difficulty::new(value).expect("above zero");
    bencher.bench_local(|| Target::of_difficulty(black_box(difficulty)));
}

#[divan::bench]
fn difficulty_of_a_hash(bencher: Bencher<'_, '_>) {
    let target = Target(Hash::blake2b(&[b"a hash"]).0);
    bencher.bench_local(|| black_box(target).difficulty());
}
