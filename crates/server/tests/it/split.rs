//! A real server whose blocks pay accounts: a split comes from the shares in its ledger, goes with the block into the
//! spool, and into the ledger once.

use std::fs;

use hstratum::ledger_tools::{LedgerLocation, Paid, check, import};
use hstratum::sql::{Db, Sql, Sqlite};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::coinbase::Coinbase;
use hstratum_core::units::Height;

use crate::harness::Offered;
use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, EVERY_HASH, Running, payee, restart, start, view_at, wait_until};

const SPLIT: [(&str, &str); 4] = [
    ("difficulty", EVERY_HASH),
    ("payout", "split"),
    ("fee", "2.5"),
    ("window", "1000000"),
];

/// What the ledger has of splits, as text.
fn splits(running: &Running) -> String {
    running.value(SPLITS)
}

const SPLITS: &str = "SELECT coalesce(group_concat(state || ' ' || name || ' ' || part || ' ' || output, '; '), '')
           FROM (SELECT s.state AS state, a.name AS name, c.amount AS part, coalesce(o.amount, 0) AS output
                   FROM settlements AS s JOIN settlement_credits AS c ON c.settlement = s.id
                   JOIN accounts AS a ON a.id = c.account
                   LEFT JOIN payments AS p ON p.block = s.block
                   LEFT JOIN payment_outputs AS o ON o.payment = p.id AND o.account = c.account
                  WHERE s.is_frozen = 1 ORDER BY a.name)";

/// A server whose ledger has shares of two accounts: one of the first, three of the second.
fn start_with_shares() -> Running {
    let running = start(&SPLIT);
    running.server.template(Chain::easy().empty_at(0));
    running.node.wait_for_log(", each block pays the accounts");
    running.mine_as(&payee(1)).mine(Want::Share);
    let mut miner = running.mine_as(&payee(2));
    for _ in 0..3 {
        miner.mine(Want::Share);
    }
    // Before it, a split may have been computed of some of them.
    restart(running, &SPLIT)
}

/// Mines a block that pays them; gives its hash, and the coinbase in the spool.
fn find_split(running: &Running) -> (hstratum_core::units::Hash, Coinbase) {
    let parts = Chain::easy().empty_at(1);
    // Jobs pay the operator until the first split is there.
    let pays_operator = parts.merkle_root;
    running.move_on(parts);
    running.node.wait_for_log(", each block pays the accounts");
    let mut miner = running.mine_as(&payee(2));
    let mut work = miner.wait_for_work();
    while work.header().merkle_root == pays_operator {
        work = miner.wait_for_new_work(&work);
    }
    let hash = miner.mine(Want::Block);
    let file = running.wait_for_file(&format!("spool/{hash}.split.block"));
    let end = file.iter().position(|byte| *byte == b'\n').expect("a line");
    let coinbase = Coinbase::of_block(&file[end + 1..]).expect("a coinbase");
    (hash, coinbase)
}

/// Stops the server, as if the power had gone before the block's row was durable.
fn lose_block(running: &Running) {
    let file = running.dir.join("ledger.db");
    assert!(running.server.close().wait());
    let mut db = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
    for table in [
        "payment_outputs",
        "payments",
        "settlement_credits",
        "settlements",
        "blocks",
    ] {
        let delete = format!("DELETE FROM {table}");
        db.write(|db: &mut dyn Sql| db.execute(&delete, &[]))
            .expect("deleted");
    }
}

/// The number of blocks in the ledger whose coinbase pays accounts.
fn split_blocks(running: &Running) -> i64 {
    running.value("SELECT count(*) FROM blocks WHERE payout = 'split'")
}

#[test]
fn damaged_split_makes_no_credit_and_its_block_is_offered() {
    // Of another version; a sum that is wrong; an output that is not the coinbase's.
    for (of, is_now) in [
        ("fee_ppm", "fee_ppn"),
        ("\"remainder\":0", "\"remainder\":1"),
        ("\",487500000]", "\",487500001]"),
    ] {
        let running = start_with_shares();
        running.node.be_blind();
        let (hash, _) = find_split(&running);
        wait_until("it is in the ledger", || split_blocks(&running) == 1);
        lose_block(&running);
        let name = format!("{hash}.split.block");
        let path = running.dir.join("spool").join(&name);
        let file = fs::read(&path).expect("read");
        let end = file.iter().position(|byte| *byte == b'\n').expect("a line");
        let line = String::from_utf8(file[..end].to_vec()).expect("text");
        let changed = line.replacen(of, is_now, 1);
        assert_ne!(changed, line, "{of}");
        let damaged = [changed.as_bytes(), &file[end..]].concat();
        fs::write(&path, &damaged).expect("written");
        let running = restart(running, &SPLIT);
        running
            .node
            .wait_for_log("it is offered, and recorded without its split");
        let Offered::Spooled { raw, .. } = running.node.offer_number(0) else {
            panic!("found in an earlier run");
        };
        assert_eq!(raw, file[end + 1..]);
        wait_until("it is in the ledger", || split_blocks(&running) == 1);
        assert_eq!(splits(&running), "");
        assert_eq!(
            running.wait_for_file(&format!("spool/{name}.torn")),
            damaged
        );
    }
}

#[test]
fn damaged_block_is_neither_offered_nor_deleted() {
    let running = start_with_shares();
    running.node.be_blind();
    let (hash, _) = find_split(&running);
    assert!(running.server.close().wait());
    let name = format!("spool/{hash}.split.block");
    let mut file = running.wait_for_file(&name);
    // A witness of the coinbase.
    *file.last_mut().expect("bytes") ^= 1;
    fs::write(running.dir.join(&name), &file).expect("written");
    let running = restart(running, &SPLIT);
    running
        .node
        .wait_for_log("does not hold the block of its name");
    assert_eq!(running.wait_for_file(&format!("{name}.torn")), file);
    assert_eq!(running.node.offers(), 0);
}

#[test]
fn split_of_a_block_is_in_the_ledger_once_also_after_a_power_cut() {
    let running = start_with_shares();
    running.node.be_blind();
    let (hash, coinbase) = find_split(&running);
    let reward = 2_000_000_000;
    let earned = reward - reward / 40;
    assert_eq!(coinbase.value(), reward / 40, "the operator has the fee");
    let mut expected = [(payee(1), earned / 4), (payee(2), earned / 4 * 3)];
    expected.sort();
    let lines = expected.map(|(name, amount)| format!("preparing {name} {amount} {amount}"));
    let expected = lines.join("; ");
    wait_until("the split is in the ledger", || {
        splits(&running) == expected
    });

    let file = running.dir.join("ledger.db");
    lose_block(&running);
    let running = restart(running, &SPLIT);
    wait_until("the split is back", || splits(&running) == expected);

    running.node.know(view_at(Height(FIRST_HEIGHT + 2)));
    running.server.block_result(hash, Verdict::Accepted);
    running.wait_until_gone(&format!("spool/{hash}.split.block"));
    running.move_on(Chain::easy().empty_at(3));
    let settled = expected.replace("preparing", "settled");
    wait_until("the reward can be spent", || splits(&running) == settled);
    let dump_name = format!("shares/{}-{hash}.json", FIRST_HEIGHT + 1);
    let dump = running.wait_for_file(&dump_name);
    let dump: serde_json::Value = serde_json::from_slice(&dump).expect("JSON");
    assert_eq!(dump["payout"], "split");
    assert_eq!(dump["reward"], reward);
    assert_eq!(dump["paid"][payee(2)], earned / 4 * 3);
    assert!(running.server.close().wait());
    let mut db = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
    let found = check(&mut db, None).expect("checked").errors;
    assert_eq!(found, Vec::<String>::new());

    // A ledger that lacks the block, as a copy does, has the same of its file; its coinbase counts from the next look on.
    let new = running.dir.join("new.db");
    let location = LedgerLocation::File(new.clone());
    let file = running.dir.join(dump_name);
    for _ in 0..2 {
        let outcomes = import(&location, std::slice::from_ref(&file), Paid::NotYet, 5_000);
        assert!(outcomes.is_ok(), "{outcomes:?}");
    }
    let mut db = Db::Sqlite(Sqlite::open_beside(&new).expect("opened"));
    let row = db.read(|db: &mut dyn Sql| db.query_one(SPLITS, &[]));
    let text: String = row.and_then(|row| row.get(0)).expect("read");
    assert_eq!(text, expected);
}
