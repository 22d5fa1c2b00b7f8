//! Whole sessions over real sockets.

use std::fs;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::chain::header::{HEADER_BYTES, decode_header, header_hash};
use hstratum_core::units::{Hash, Height};
use serde_json::{Value, json};

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, EVERY_HASH, Offered, start, view_at};

/// A session that is answered without a job, so that its replies are the same in every run but
/// for the session's id.
const REQUESTS: &str = concat!(
    r#"{"id":1,"method":"mining.subscribe","params":["miner/1.0","0000abcd"]}"#,
    "\n",
    r#"{"id":"two","method":"mining.authorize","params":["alice.rig",""]}"#,
    "\r\n",
    "\n",
    r#"{"id":3,"method":"mining.nonsense","params":[]}"#,
    "\n",
    r#"{"id":null,"method":"mining.submit","params":["alice.rig","0","00000000","00000000","00000000"]}"#,
    "\n",
    "no request\n",
);

const REPLIES: [&str; 5] = [
    r#"{"id":1,"result":[[["mining.notify","0000abcd"],["mining.set_difficulty","0000abcd"]],"0000abcd",4],"error":null}"#,
    r#"{"id":"two","result":true,"error":null}"#,
    r#"{"id":3,"result":null,"error":[0,"unknown method",false]}"#,
    r#"{"id":null,"result":null,"error":[21,"job not found",false]}"#,
    r#"{"id":null,"result":null,"error":[0,"invalid params",false]}"#,
];

#[test]
fn lines_may_be_cut_anywhere() {
    let running = start(&[]);
    // The id is taken while its connection lives, so each has its own.
    for cut in 1..REQUESTS.len() {
        let id = format!("{cut:08x}");
        let requests = REQUESTS.replace("0000abcd", &id);
        let (head, tail) = requests.as_bytes().split_at(cut);
        let mut miner = running.connect();
        miner.send_raw(head);
        miner.send_raw(tail);
        for reply in REPLIES {
            assert_eq!(miner.line(), reply.replace("0000abcd", &id), "cut at {cut}");
        }
    }
}

#[test]
fn single_bytes_make_lines() {
    let running = start(&[]);
    let mut miner = running.connect();
    for byte in REQUESTS.as_bytes() {
        miner.send_raw(&[*byte]);
    }
    for reply in REPLIES {
        assert_eq!(miner.line(), reply);
    }
}

#[test]
fn a_thousand_lines_in_one_write_are_answered_in_order() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let mut miner = running.mine_as("alice");
    // Accepted shares wait for the ledger; rejects and errors behind them wait too.
    let mut lines = String::new();
    let mut expected: Vec<(Value, Value)> = Vec::new();
    for number in 1000..2000 {
        if number % 3 == 0 {
            lines += &format!("{{\"id\":\"{number}\",\"method\":\"mining.nonsense\"}}\n");
            expected.push((json!(number.to_string()), Value::Null));
        } else {
            let (line, _) = miner.solve(Want::Share);
            let request: Value = serde_json::from_str(&line).expect("JSON");
            lines += &line;
            expected.push((request["id"].clone(), json!(true)));
        }
    }
    miner.send_raw(lines.as_bytes());
    for (id, result) in expected {
        let reply = miner.reply();
        assert_eq!((&reply["id"], &reply["result"]), (&id, &result), "{reply}");
    }
}

#[test]
fn session_goes_from_subscribe_to_an_accepted_share() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    let mut chain = Chain::hard();
    let mut miner = running.connect();
    miner.log_in("alice.rig", "");
    // Without a job both are answered, and the job follows when there is one.
    assert_eq!(miner.reply()["result"][2], 4);
    assert_eq!(miner.reply()["result"], true);
    running.server.template(chain.empty_at(0));
    let difficulty = miner.line();
    assert_eq!(
        difficulty,
        r#"{"id":null,"method":"mining.set_difficulty","params":[7.275957614183426e-12]}"#
    );
    let notify = miner.line();
    assert!(notify.contains("mining.notify"), "{notify}");
    miner.client.handle_line(&difficulty).expect("a difficulty");
    miner.client.handle_line(&notify).expect("a job");
    miner.mine(Want::Share);

    // After a new tip, shares for the old job are stale at once, and new work comes with the template.
    let old = miner.wait_for_work();
    let (stale, _) = miner.solve(Want::Share);
    running.move_on(chain.empty_at(1));
    miner.wait_for_new_work(&old);
    miner.send_raw(stale.as_bytes());
    assert_eq!(miner.reply()["error"][1], "stale-prevblk");
    miner.mine(Want::Share);
}

#[test]
fn found_block_is_offered_spooled_whole_and_unspooled_after_the_answer() {
    let running = start(&[]);
    // No look finds the block before the answer.
    running.node.know(view_at(Height(FIRST_HEIGHT - 1)));
    let (parts, transactions) = Chain::easy().with_transactions();
    let (id, prev_block, height) = (parts.id, parts.prev_block, parts.height);
    running.server.template(parts);
    running.server.transactions(id, transactions.clone());
    let mut miner = running.mine_as("alice");
    let hash = miner.mine(Want::Block);

    let Offered::Found(solution) = running.node.offer_number(0) else {
        panic!("found just now");
    };
    assert_eq!(solution.hash, hash);
    assert_eq!(solution.template.id, id);
    let name = format!("spool/{hash}.block");
    let raw = running.wait_for_file(&name);
    check_block(&raw, hash, &transactions, 4);
    let (fields, ..) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
    assert_eq!(fields.prev_block, prev_block);
    let found = FoundBlock::parse(&raw, Payout::Operator).expect("a block");
    assert_eq!((found.hash, found.height), (hash, height));

    running.node.know(view_at(height));
    running.server.block_result(hash, Verdict::Accepted);
    running.wait_until_gone(&name);
    running.node.wait_for_log("share dump written");
}

/// Checks that the bytes are a header of this hash, a count, a coinbase and these transactions.
fn check_block(raw: &[u8], hash: Hash, transactions: &[u8], count: u8) {
    let (fields, proof, mask) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
    assert_eq!(header_hash(&fields, &proof, &mask), hash);
    assert_eq!(raw[HEADER_BYTES], count);
    let coinbase = Coinbase::of_block(raw).expect("a coinbase");
    let rest = HEADER_BYTES + 1 + coinbase.as_bytes().len();
    assert_eq!(raw[HEADER_BYTES + 1..rest], *coinbase.as_bytes());
    assert_eq!(&raw[rest..], transactions);
}

#[test]
fn block_found_before_its_transactions_is_spooled_when_they_come() {
    let running = start(&[]);
    running.node.be_blind();
    let (parts, transactions) = Chain::easy().with_transactions();
    let id = parts.id;
    running.server.template(parts);
    let mut miner = running.mine_as("alice");
    let hash = miner.mine(Want::Block);
    running.node.offer_number(0);
    assert!(running.files("spool").is_empty());
    running.server.transactions(id, transactions.clone());
    let raw = running.wait_for_file(&format!("spool/{hash}.block"));
    check_block(&raw, hash, &transactions, 4);
}

#[test]
fn refused_block_leaves_the_spool_and_no_dump() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    running
        .node
        .answer_with(Verdict::Refused("bad-test".into()));
    let mut miner = running.mine_as("alice");
    let hash = miner.mine(Want::Block);
    let (_, line) = running.node.wait_for_log("block refused");
    assert_eq!(
        line,
        format!("block refused: {FIRST_HEIGHT} {hash}: bad-test")
    );
    running.wait_until_gone(&format!("spool/{hash}.block"));
    assert!(running.server.close().wait());
    assert!(running.files("spool").is_empty());
    assert!(running.files("shares").is_empty());
}

#[test]
fn dump_holds_the_round_of_all_users_and_nothing_else() {
    // 2^-34: sums of it are exact.
    let running = start(&[("difficulty", "5.820766091346741e-11")]);
    let mut chain = Chain::easy();
    running.server.template(chain.empty_at(0));
    let mut alice = running.mine_as("alice.one");
    let mut bob = running.mine_as("bob");
    for _ in 0..5 {
        alice.mine(Want::Share);
    }
    bob.mine(Want::Share);
    let hash = alice.mine(Want::Block);
    running.server.block_result(hash, Verdict::Accepted);
    let name = format!("{FIRST_HEIGHT}-{hash}.json");
    running.node.wait_for_log(&name);

    let text = fs::read_to_string(running.dir.join("shares").join(&name)).expect("read");
    let dump: Value = serde_json::from_str(&text).expect("JSON");
    let Offered::Found(solution) = running.node.offer_number(0) else {
        panic!("found just now");
    };
    let expected = format!(
        r#"{{
  "network": "regtest",
  "height": {FIRST_HEIGHT},
  "block": "{hash}",
  "ts": {},
  "time": {},
  "txid": "{}",
  "address": "rs1q35jrjxxzw6vx5fwsdk6yds2fr9v3t0vkyta7kp",
  "reward": 2000000000,
  "size": 2,
  "total": 4.0745362639427185e-10,
  "shares": {{
    "alice": 3.4924596548080444e-10,
    "bob": 5.820766091346741e-11
  }},
  "payout": "operator"
}}"#,
        solution.proof.time,
        dump["time"],
        solution.coinbase.txid(),
    );
    assert_eq!(text, expected);

    // The next round begins with nothing.
    running.move_on(chain.empty_at(1));
    bob.wait_for_new_work(&bob.client.work().expect("work").clone());
    let hash = bob.mine(Want::Block);
    running.server.block_result(hash, Verdict::Accepted);
    let name = format!("shares/{}-{hash}.json", FIRST_HEIGHT + 1);
    let dump: Value = serde_json::from_slice(&running.wait_for_file(&name)).expect("JSON");
    assert_eq!(dump["shares"], json!({ "bob": 5.820766091346741e-11 }));
    assert_eq!(running.files("shares").len(), 2);
}

#[test]
fn http_miner_is_told_where_stratum_is() {
    let running = start(&[]);
    let mut miner = running.connect();
    miner.send_raw(b"GET / HTTP/1.1\r\nHost: pool.example\r\n\r\n");
    assert_eq!(miner.line(), "HTTP/1.1 200 OK\r");
    let port = running.server.address().port();
    assert_eq!(
        miner.line(),
        format!("X-Stratum: stratum+tcp://pool.example:{port}\r")
    );
}
