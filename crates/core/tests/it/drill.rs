//! Drills of the path of a found block.

use crate::harness::{PoolHarness, Setup};
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::Payout;

/// Bits like those of the main network.
const BITS_MAIN: u32 = 0x1906_292f;

#[test]
fn drill_is_a_block_in_all_but_its_work() {
    let mut table = PoolHarness::new(&Setup::default());
    table.chain.bits = BITS_MAIN;
    table.chain.transactions = 7;
    table.template();
    table.transactions();
    let drill = table.drill().expect("there is a job").expect("it is right");
    assert_eq!(drill.solution.verify_parts(), Ok(()));
    assert_eq!(drill.solution.verify(), Err("proof of work"));
    let raw = drill.solution.encode(&drill.transactions);
    let block = FoundBlock::parse(&raw, Payout::Operator).expect("a whole block");
    assert_eq!(block.hash, drill.solution.hash);
    assert_eq!(block.height, drill.solution.template.height);
    // Neither spool nor ledger has it.
    assert!(table.spooled.is_empty() && table.records.is_empty());
}

#[test]
fn there_is_no_drill_without_a_job_and_its_transactions() {
    let mut table = PoolHarness::new(&Setup::default());
    assert!(table.drill().is_none());
    table.chain.transactions = 7;
    table.template();
    assert!(table.drill().is_none());
    table.transactions();
    assert!(table.drill().is_some());
    table.tip();
    assert!(table.drill().is_none());
}
