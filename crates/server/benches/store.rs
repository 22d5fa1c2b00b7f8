//! Cost of making shares durable: one transaction, synced, in a file on the disk.

use divan::{Bencher, black_box};
use hstratum::store::ledger::{Batch, Ledger};
use hstratum::store::sqlite_ledger::SqliteLedger;
use hstratum_core::accounting::ledger::Credit;
use hstratum_core::chain::address::Network;
use hstratum_core::units::{Difficulty, Height, Seq};

fn main() {
    divan::main();
}

/// Shares of few accounts and of many, already summed up to one row for each kind.
#[divan::bench(args = [(1, 10), (100, 10), (10_000, 10), (100, 100), (10_000, 10_000)], sample_count = 50)]
fn commit_shares_of_accounts(bencher: Bencher<'_, '_>, (shares, accounts): (u64, u64)) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.db");
    let status = Default::default();
    let mut ledger =
        SqliteLedger::open(&path, Network::Regtest, 1, status, &mut Vec::new()).expect("opened");
    let names: Vec<_> = (0..accounts)
        .map(|n| format!("account{n}").into())
        .collect();
    let difficulty = Difficulty::new(8.0).expect("above zero");
    let mut seq = 0;
    bencher
        .with_inputs(|| {
            let mut batch = Batch::default();
            for n in 0..shares {
                seq += 1;
                batch.shares.add(Credit {
                    seq: Seq(seq),
                    height: Height(100),
                    account: std::sync::Arc::clone(&names[(n % accounts) as usize]),
                    difficulty,
                    network_difficulty: difficulty,
                });
            }
            batch
        })
        .bench_local_values(|batch| black_box(ledger.commit(&batch).expect("durable")));
}
