//! Blocks whose coinbase pays accounts, in real ledgers: when their splits count, and what rides along.

pub(super) use std::sync::Arc;

use hstratum::ledger_tools::check;
pub(super) use hstratum::messages::MinedBlock;
use hstratum::node::Look;
pub(super) use hstratum::payout::split::{SplitTerms, Splitter};
pub(super) use hstratum::payout::{PayoutLock, Wait, put_terms};
use hstratum::store::blocks::{self, Finder, Rounds};
use hstratum_core::accounting::ledger::Sighting;
pub(super) use hstratum_core::chain::block::{BlockSplit, FoundBlock};
pub(super) use hstratum_core::chain::coinbase::Payout;
pub(super) use hstratum_core::chain::coinbase_split::{CoinbaseSplit, SplitLine, SplitRecord};
pub(super) use hstratum_core::units::{Difficulty, Hash, Height};

use super::servers::server;
use super::*;
pub(super) use crate::found::{found_block, hash};
use crate::harness::view_at;
use crate::ledgers::NETWORK_DIFFICULTY;

pub(super) const REWARD: u64 = 2_000 * HNS;

/// Base units of an account, by its number: part, and output.
type Line = (u8, u64, u64);

fn address(number: u8) -> Address {
    Address::new(0, vec![number; 20]).expect("an address")
}

pub(super) fn name(number: u8) -> String {
    address(number).encode(Network::Regtest)
}

pub(super) fn terms() -> PayoutTerms {
    PayoutTerms {
        fee: FeePpm::parse_percent("1").expect("a percentage"),
        ..pplns("2")
    }
}

/// A block that the pool found, with a fee of 20 HNS; what the lines leave is nobody's.
fn block(height: u32, label: &str, lines: &[Line]) -> FoundBlock {
    let parts: u64 = lines.iter().map(|(_, part, _)| part).sum();
    let record = SplitRecord {
        scheme: terms().scheme,
        fee_part: terms().fee,
        from_height: 1,
        shares: 0,
        reward: REWARD,
        fee: 20 * HNS,
        remainder: REWARD - 20 * HNS - parts,
        lines: lines
            .iter()
            .map(|(number, part, output)| SplitLine {
                account: name(*number).into(),
                part: *part,
                output: (*output > 0).then(|| (address(*number), *output)),
            })
            .collect(),
    };
    FoundBlock {
        payout: Payout::Split,
        split: Some(BlockSplit::Recorded(Arc::new(record))),
        ..found_block(height, label)
    }
}

pub(super) fn record_block(ledger: &Ledger, block: &FoundBlock) {
    let finder = Finder {
        account: None,
        origin: 0,
    };
    ledger.write(|sql| blocks::insert(sql, Network::Regtest, block, finder, 2_000));
}

/// A look by a node with this tip, which has or lacks the block.
fn look(ledger: &Ledger, tip: u32, block: &FoundBlock, is_there: bool) {
    let there = if is_there {
        block.hash
    } else {
        hash("another")
    };
    let look = Look {
        view: view_at(Height(tip)),
        places: vec![(block.hash, Some(there))],
    };
    advance(ledger, &look);
}

pub(super) fn advance(ledger: &Ledger, look: &Look) {
    let looks = std::slice::from_ref(look);
    ledger.write(|sql| blocks::advance(sql, Network::Regtest, looks, &[], Rounds::Close, 3_000));
}

fn balances(ledger: &Ledger) -> [i64; 3] {
    [1, 2, 3].map(|number| ledger.balance(&name(number)))
}

pub(super) fn faults(ledger: &Ledger) -> Vec<String> {
    check(&mut ledger.open(), None).expect("checked").errors
}

pub(super) fn split_terms(ledger: &Ledger) -> SplitTerms {
    SplitTerms {
        location: ledger.place(),
        network: Network::Regtest,
        server: "east".to_owned(),
        output_min: HNS,
        outputs_max: 400,
    }
}

pub(super) fn mined(height: u32, last_found: Option<Hash>) -> MinedBlock {
    MinedBlock {
        tip: hash("tip"),
        height: Height(height),
        reward: REWARD,
        difficulty: Difficulty::new(NETWORK_DIFFICULTY).expect("above zero"),
        last_found,
    }
}

fn split_of(ledger: &Ledger, block: &MinedBlock) -> CoinbaseSplit {
    let split = Splitter::default().compute(&mut ledger.open(), &split_terms(ledger), block);
    split.expect("computed").expect("a split")
}

/// Spare balance and debt of an account, by its number.
fn means(split: &CoinbaseSplit, number: u8) -> (u64, u64) {
    let mut payees = split.payees.iter();
    let payee = payees.find(|payee| payee.address == address(number));
    payee
        .map(|payee| (payee.spare, payee.debt))
        .expect("a payee")
}

/// What is left of an account's balance to coinbases, in base units; plan and payment must agree.
fn held(ledger: &Ledger, number: u8) -> i64 {
    let due = due_from(ledger, &terms());
    let due = due.iter().find(|payee| payee.name == name(number));
    let due = due.map_or(0, |payee| payee.amount);
    let outcomes = planned(ledger, &terms()).accounts;
    let planned = outcomes.iter().find(|account| account.name == name(number));
    match planned.map(|account| &account.outcome) {
        Some(BalanceOutcome::Pays { amount, .. }) => assert_eq!(*amount, due),
        Some(BalanceOutcome::Waits(wait)) => {
            let is_held = ledger.balance(&name(number)) > 0;
            assert_eq!((*wait == Wait::InCoinbase, due), (is_held, 0));
        }
        None => assert_eq!(due, 0),
    }
    ledger.balance(&name(number)) - due as i64
}

/// Gives account 2 a balance of 300 HNS and all work of the window.
fn settle_balance(ledger: &Ledger) {
    ledger.write(|sql| put_terms(sql, &terms(), 1_000, "east"));
    let earlier = block(5, "earlier", &[(2, 300 * HNS, 0)]);
    record_block(ledger, &earlier);
    look(ledger, 6, &earlier, true);
    ledger.credit(9, &name(2), 50.0, 4);
}

#[test]
fn split_counts_once_from_the_depth_at_which_the_reward_can_be_spent() {
    on_each(|ledger| {
        let found = block(10, "a", &[(1, 1_500 * HNS, 1_500 * HNS), (2, 480 * HNS, 0)]);
        record_block(ledger, &found);
        assert_eq!(balances(ledger), [0; 3]);
        look(ledger, 10, &found, true);
        assert_eq!(
            balances(ledger),
            [0; 3],
            "on the chain, and not deep enough"
        );
        assert_eq!(
            Sighting::of((&found.hash, Height(10)), Some(&found.hash), Height(11), 2),
            Sighting::Mature
        );
        look(ledger, 11, &found, true);
        assert_eq!(balances(ledger), [0, 480 * HNS as i64, 0]);
        record_block(ledger, &found);
        look(ledger, 12, &found, true);
        assert_eq!(balances(ledger), [0, 480 * HNS as i64, 0], "once");
        assert_eq!(run(ledger, &terms()), [], "nothing is divided anew");
        let paid: i64 = ledger.value(
            "SELECT paid FROM balances WHERE name = ?1",
            &values![name(1)],
        );
        assert_eq!(paid, 1_500 * HNS as i64);
        assert_eq!(faults(ledger), [""; 0]);
    });
}

#[test]
fn block_that_is_lost_for_good_takes_its_split_along_and_brings_it_back() {
    on_each(|ledger| {
        let earlier = block(5, "earlier", &[(2, 300 * HNS, 0)]);
        record_block(ledger, &earlier);
        look(ledger, 6, &earlier, true);
        // 200 HNS of the balance ride along.
        let found = block(
            10,
            "a",
            &[(1, 1_500 * HNS, 1_500 * HNS), (2, 100 * HNS, 300 * HNS)],
        );
        record_block(ledger, &found);
        look(ledger, 11, &found, true);
        let settled = [0, 100 * HNS as i64, 0];
        assert_eq!(balances(ledger), settled);
        // Shorter for a while: not deep enough any more, and then elsewhere.
        look(ledger, 12, &found, false);
        if balances(ledger) == settled {
            look(ledger, 14, &found, false);
        }
        let without = [0, 300 * HNS as i64, 0];
        assert_eq!(balances(ledger), without, "lost for good");
        assert_eq!(held(ledger, 2), 0, "nothing is promised any more");
        assert_eq!(faults(ledger), [""; 0]);
        look(ledger, 15, &found, true);
        assert_eq!(balances(ledger), settled, "back");
        assert_eq!(faults(ledger), [""; 0]);
    });
}

#[test]
fn promised_balance_is_promised_once_and_paid_by_nobody_else() {
    on_each(|ledger| {
        ledger.write(|sql| put_terms(sql, &terms(), 1_000, "east"));
        let earlier = block(
            5,
            "earlier",
            &[(1, 700 * HNS, 700 * HNS), (2, 300 * HNS, 0)],
        );
        record_block(ledger, &earlier);
        look(ledger, 6, &earlier, true);
        for number in [1, 2] {
            ledger.credit(9, &name(number), 50.0, 2);
        }
        assert_eq!(held(ledger, 2), 0);
        let split = split_of(ledger, &mined(9, Some(earlier.hash)));
        assert_eq!(means(&split, 1), (0, 0));
        assert_eq!(means(&split, 2), (20 * HNS, 0));
        assert_eq!(held(ledger, 2), 20 * HNS as i64, "offered before any job");

        let found = block(9, "a", &[(2, 100 * HNS, 400 * HNS)]);
        record_block(ledger, &found);
        look(ledger, 9, &found, true);
        let next = split_of(ledger, &mined(10, Some(found.hash)));
        assert_eq!(means(&next, 2), (0, 0), "promised to the block");
        look(ledger, 30, &found, true);
        assert_eq!(held(ledger, 2), 0, "paid by the block");
        assert_eq!(balances(ledger), [0, 0, 0]);
    });
}

#[test]
fn no_balance_rides_while_a_block_of_the_server_is_not_in_the_ledger_or_somebody_pays() {
    on_each(|ledger| {
        settle_balance(ledger);
        let early = split_of(ledger, &mined(9, Some(hash("not recorded yet"))));
        assert!(!early.knows_balances);
        assert_eq!(held(ledger, 2), 0, "nothing was offered");

        let lock = PayoutLock::take(&ledger.place()).expect("free");
        let split = split_of(ledger, &mined(9, None));
        assert_eq!(means(&split, 2), (0, 0), "a payout is at work");
        drop(lock);
        assert_eq!(held(ledger, 2), 0);
        assert_eq!(means(&split_of(ledger, &mined(9, None)), 2), (20 * HNS, 0));
        // What was offered already is nobody else's, whoever is at work.
        let _lock = PayoutLock::take(&ledger.place()).expect("free");
        assert_eq!(means(&split_of(ledger, &mined(10, None)), 2), (20 * HNS, 0));
    });
}

#[test]
fn balance_that_jobs_have_paid_waits_for_the_blocks_of_servers_that_are_away() {
    let ledger = &Ledger::in_postgres();
    settle_balance(ledger);
    assert_eq!(means(&split_of(ledger, &mined(9, None)), 2), (20 * HNS, 0));
    server(ledger, "away", 60, Some(8));
    let deep = block(200, "another's", &[]);
    look(ledger, 300, &deep, false);
    assert_eq!(held(ledger, 2), 20 * HNS as i64, "a block of 9 may come");
    ledger.execute("UPDATE origins SET shipped_tip = 9", &[]);
    assert_eq!(held(ledger, 2), 0);
}

/// The operator's output bears its fee: 20 HNS of 2,000.
#[test]
fn what_a_block_does_not_bear_of_a_balance_is_paid_otherwise() {
    on_each(|ledger| {
        settle_balance(ledger);
        assert_eq!(means(&split_of(ledger, &mined(9, None)), 2), (20 * HNS, 0));
        let due = due_from(ledger, &terms());
        assert_eq!((due.len(), due[0].amount), (1, 280 * HNS));
    });
}

#[test]
fn debt_is_withheld_but_for_what_blocks_withhold_already() {
    on_each(|ledger| {
        ledger.write(|sql| put_terms(sql, &terms(), 1_000, "east"));
        // Two blocks of one height of work have paid the same balance.
        let first = block(5, "first", &[(1, 100 * HNS, 600 * HNS)]);
        record_block(ledger, &first);
        look(ledger, 6, &first, true);
        ledger.credit(9, &name(1), 50.0, 4);
        assert_eq!(balances(ledger)[0], -500 * HNS as i64);
        assert_eq!(means(&split_of(ledger, &mined(9, None)), 1), (0, 500 * HNS));
        let withholds = block(9, "withholds", &[(1, 400 * HNS, 200 * HNS)]);
        record_block(ledger, &withholds);
        assert_eq!(
            means(&split_of(ledger, &mined(10, None)), 1),
            (0, 300 * HNS)
        );
        look(ledger, 30, &withholds, true);
        assert_eq!(balances(ledger)[0], -300 * HNS as i64);
    });
}

#[test]
fn account_without_an_address_keeps_its_part_and_terms_end_the_split() {
    on_each(|ledger| {
        ledger.write(|sql| put_terms(sql, &terms(), 1_000, "east"));
        ledger.credit(9, &name(1), 50.0, 4);
        ledger.credit(9, "no address", 50.0, 4);
        let split = split_of(ledger, &mined(9, None));
        assert_eq!((split.accounts.len(), split.payees.len()), (2, 1));
        assert_eq!((split.shares, split.until), (8, None));
        let later = PayoutTerms {
            fee: FeePpm::default(),
            ..terms()
        };
        let change = ledger.write(|sql| put_terms(sql, &later, 1_000, "east"));
        let from = change.expect("changed").from_height;
        let split = split_of(ledger, &mined(9, None));
        assert_eq!(split.until, Some(Height(from)));
        ledger.write(|sql| put_terms(sql, &prop("1"), 1_000, "east"));
        let end = MinedBlock {
            height: Height(from + 10),
            ..mined(9, None)
        };
        let none = Splitter::default().compute(&mut ledger.open(), &split_terms(ledger), &end);
        assert!(none.expect("computed").is_none());
    });
}
