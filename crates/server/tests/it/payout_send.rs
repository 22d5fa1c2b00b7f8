//! Sending with an hsd that misbehaves in ways that a real one cannot be made to. Sending with a real one,
//! and killing the command, is tested in plugin/test/payout.test.js.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hstratum::config::Config;
use hstratum::payout::hsd::{HsdNode, HsdTimeouts, Url, Wallet};
use hstratum::payout::{AwaitedServers, PayoutStep, PayoutTerms, Sender, payees};
use hstratum::secret::Secret;
use hstratum::values;
use hstratum_core::chain::address::{Address, Network};
use serde_json::{Value, json};

use crate::ledgers::Ledger;

const NOW: u64 = 5_000;
const MAX: u64 = 10_000_000;
const KEY: &str = "a key";
const PASSPHRASE: &str = "a passphrase";

/// Reply to a request: an answer with a status, or nothing ever.
#[derive(Clone)]
enum Reply {
    Json(u16, Value),
    Silence,
}

/// Answers requests by the first line that begins as configured; 404 otherwise.
struct FakeHsd {
    url: Url,
    replies: Arc<Mutex<Vec<(&'static str, Reply)>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl FakeHsd {
    fn start(replies: Vec<(&'static str, Reply)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let replies = Arc::new(Mutex::new(replies));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let parts = (replies.clone(), seen.clone());
        // The thread ends with the test's process.
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if let Some(stream) = serve(stream, &parts.0, &parts.1) {
                    silent.push(stream);
                }
            }
        });
        let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        Self { url, replies, seen }
    }

    fn reply(&self, line: &'static str, reply: Reply) {
        self.replies.lock().unwrap().insert(0, (line, reply));
    }

    fn seen(&self, line: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|text| text.contains(line)).count()
    }
}

/// Returns the connection if it is to get no answer.
fn serve(
    stream: TcpStream,
    replies: &Mutex<Vec<(&'static str, Reply)>>,
    seen: &Mutex<Vec<String>>,
) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut length = 0;
    let mut request = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if request.is_empty() {
            request = line.trim().to_owned();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = format!("{request} {}", String::from_utf8_lossy(&body));
    seen.lock().unwrap().push(request.clone());
    let replies = replies.lock().unwrap();
    let found = replies.iter().find(|(line, _)| request.contains(line));
    let (status, body) = match found.map(|(_, reply)| reply) {
        Some(Reply::Silence) => return Some(reader.into_inner()),
        Some(Reply::Json(status, body)) => (*status, body.to_string()),
        None => (404, "{}".into()),
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = reader.into_inner().write_all(answer.as_bytes());
    None
}

fn ok(body: Value) -> Reply {
    Reply::Json(200, body)
}

fn own_address() -> String {
    Address::new(0, vec![3; 20])
        .unwrap()
        .encode(Network::Regtest)
}

/// A ledger that owes 20 HNS to an account, with a node and a wallet that answer.
fn owing(file: Ledger) -> (Ledger, FakeHsd, FakeHsd) {
    let name = Address::new(0, vec![1; 20])
        .unwrap()
        .encode(Network::Regtest);
    let account = file.account(&name);
    let block = file.block(10, "confirmed");
    let insert = "INSERT INTO settlements (id, block, state, scheme, fee_ppm, from_height, shares,
                  reward, fee, remainder, settled_at)
                  VALUES (1, ?1, 'settled', 'prop', 0, 0, 1, 20000000, 0, 0, 0)";
    file.execute(insert, &values![&block]);
    let insert = "INSERT INTO settlement_credits VALUES (1, ?1, 20000000)";
    file.execute(insert, &values![account]);
    let node = FakeHsd::start(vec![(
        "GET / ",
        ok(json!({"network": "regtest", "chain": {"height": 20}})),
    )]);
    node.reply(
        "getblocktemplate",
        refusal("No addresses available for coinbase."),
    );
    knows(&node, 20);
    let wallet = FakeHsd::start(vec![(
        "GET /wallet/primary/account/default ",
        ok(json!({"receiveAddress": own_address(), "type": "pubkeyhash", "watchOnly": false})),
    )]);
    wallet.reply(
        "GET /wallet/primary ",
        ok(json!({"master": {"encrypted": true, "until": 0}})),
    );
    (file, node, wallet)
}

/// Sets the length of the node's chain, and its work.
fn knows(node: &FakeHsd, height: u32) {
    let hash = format!("{height:064x}");
    let result = json!({"blocks": height, "bestblockhash": &hash, "chainwork": &hash});
    node.reply(
        "getblockchaininfo",
        ok(json!({"result": result, "error": null})),
    );
}

fn refusal(message: &str) -> Reply {
    ok(json!({"result": null, "error": {"message": message}}))
}

/// One run as the command makes it: the steps, and the result.
fn run(file: &Ledger, node: &FakeHsd, wallet: &FakeHsd) -> (Vec<PayoutStep>, Result<(), String>) {
    let patience = HsdTimeouts {
        call: Duration::from_secs(10),
        create: Duration::from_millis(200),
    };
    let secret = |text: &str| Some(Secret(text.to_owned()));
    let names = ("primary", "default");
    let network = Network::Regtest;
    let node = HsdNode::new(node.url.clone(), secret(KEY), network, patience);
    let wallet = Wallet::new(
        wallet.url.clone(),
        secret(KEY),
        names,
        secret(PASSPHRASE),
        patience,
    )
    .expect("names");
    let sender = Sender {
        node: &node,
        wallet: &wallet,
        network,
        fee_max: MAX,
        now: NOW,
    };
    let terms = PayoutTerms {
        threshold: 1,
        ..Config::parse(&[]).expect("the defaults").terms
    };
    let mut db = file.open();
    let mut steps = Vec::new();
    let mut go = || {
        sender.check(&mut db)?;
        if sender.advance(&mut db, &mut steps)? {
            let awaited_servers = AwaitedServers::of(&mut db, &[])?;
            let due = payees(&mut db, network, &terms, &awaited_servers)?;
            sender.pay(&mut db, due, &mut steps)?;
        }
        Ok(())
    };
    let outcome: anyhow::Result<()> = go();
    let outcome = outcome.map_err(|error| {
        let text = format!("{error:#}");
        assert!(!text.contains(KEY) && !text.contains(PASSPHRASE), "{text}");
        text
    });
    (steps, outcome)
}

/// Checks that the account still has all its balance and there is no payment.
fn assert_untouched(file: &Ledger) {
    let balance: i64 = file.get("SELECT balance FROM balances");
    let payments: i64 = file.get("SELECT count(*) FROM payments");
    assert_eq!((balance, payments), (20_000_000, 0));
}

#[test]
fn a_wallet_that_does_not_answer_in_time_loses_nothing() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        wallet.reply("POST /wallet/primary/create ", Reply::Silence);
        for tries in 1..=2 {
            let (steps, outcome) = run(&file, &node, &wallet);
            let told = outcome.unwrap_err();
            assert!(told.starts_with("nothing was paid: "), "{told}");
            assert!(told.contains("/wallet/primary/create: timeout"), "{told}");
            assert_eq!(steps, []);
            assert_eq!(wallet.seen("/create"), tries);
            assert_untouched(&file);
        }
    }
}

#[test]
fn nonsense_of_the_wallet_is_not_stored() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        for (reply, expected) in [
            (ok(json!({"hex": "00"})), "it is not a transaction"),
            (ok(json!({"hex": 5})), "is not hsd's"),
            (ok(json!([])), "is not hsd's"),
            (
                Reply::Json(500, json!({"error": {"message": "\u{1b}[2J oh"}})),
                "\\u{1b}[2J oh",
            ),
            (Reply::Json(302, json!({})), "status 302"),
        ] {
            wallet.reply("POST /wallet/primary/create ", reply);
            let (steps, outcome) = run(&file, &node, &wallet);
            let told = outcome.unwrap_err();
            assert!(told.starts_with("nothing was paid: "), "{told}");
            assert!(told.contains(expected), "{told:?} lacks {expected:?}");
            assert_eq!(steps, []);
            assert_untouched(&file);
        }
        assert_eq!(node.seen("broadcast"), 0);
    }
}

/// Made by hsd: 1.234567 HNS to an address, 0.7 to its own, from two coins.
const RAW: &str = include_str!("payment.hex");

#[test]
fn a_payment_that_was_not_asked_for_is_not_stored() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        wallet.reply(
            "POST /wallet/primary/create ",
            ok(json!({"hex": RAW.trim()})),
        );
        let (_, outcome) = run(&file, &node, &wallet);
        let told = outcome.unwrap_err();
        assert!(told.contains("it pays more than is asked for"), "{told}");
        assert_untouched(&file);
    }
}

/// Stores a signed payment, as an earlier run would leave it.
fn store_payment(file: &Ledger) -> String {
    let raw = hstratum_core::units::unhex(RAW.trim()).expect("hex");
    let tx = hstratum_core::chain::transaction::Transaction::parse(&raw).expect("a transaction");
    let txid = hstratum_core::units::hex(&tx.txid.0);
    let insert = "INSERT INTO payments VALUES (1, 'primary', 'signed', ?1, ?2, 65433, 0, 0, NULL)";
    let row = values![&txid, RAW.trim()];
    file.execute(insert, &row);
    let insert = "INSERT INTO payment_outputs SELECT 1, id, name, 1234567 FROM accounts";
    file.execute(insert, &[]);
    txid
}

fn payment_state(file: &Ledger) -> String {
    file.value("SELECT state FROM payments", &[])
}

#[test]
fn what_cannot_be_told_never_lets_a_payment_be_made_anew() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        let txid = store_payment(&file);
        let spender = json!([{
            "hash": "aa".repeat(32), "tx": RAW.trim(), "block": "bb".repeat(32), "time": 4_000,
            "mtime": 4_000,
        }]);
        let refused = json!({"error": {"message": "Transaction not in mempool."}, "result": null});
        for reply in [
            Reply::Json(500, json!({})),
            ok(json!({"error": {"message": "No mempool."}})),
        ] {
            node.reply("getmempoolentry", reply);
            let (steps, outcome) = run(&file, &node, &wallet);
            outcome.unwrap_err();
            assert_eq!((steps, payment_state(&file).as_str()), (vec![], "signed"));
        }
        // The node knows neither it nor its inputs, like one that is behind; the wallet has another
        // transaction in its history whose bytes are not its own.
        node.reply("getmempoolentry", ok(refused));
        wallet.reply("PUT /wallet/primary/locked/", ok(json!({"success": true})));
        for history in [json!([]), spender, json!({})] {
            wallet.reply("/tx/history", ok(history));
            node.reply("POST /broadcast ", ok(json!({"success": true})));
            let (steps, outcome) = run(&file, &node, &wallet);
            let told = outcome.unwrap_err();
            assert!(told.contains(&txid) || told.contains("history"), "{told}");
            assert_eq!((steps, payment_state(&file).as_str()), (vec![], "signed"));
        }
        // hsd says that a transaction is invalid: no proof either.
        wallet.reply("/tx/history", ok(json!([])));
        let invalid = json!({"error": {"message": "mandatory-script-verify-flag-failed"}});
        node.reply("POST /broadcast ", Reply::Json(400, invalid));
        let (_, outcome) = run(&file, &node, &wallet);
        let told = outcome.unwrap_err();
        assert!(
            told.contains("mandatory-script-verify-flag-failed"),
            "{told}"
        );
        assert_eq!(payment_state(&file), "signed");
        assert_eq!(wallet.seen("/create"), 0);
    }
}

#[test]
fn what_an_earlier_run_left_without_a_transaction_is_begun_anew() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        for state in ["preparing", "open"] {
            let insert =
                "INSERT INTO payments VALUES (9, 'primary', ?1, NULL, NULL, NULL, 0, 0, NULL)";
            file.execute(insert, &values![state]);
            let insert = "INSERT INTO payment_outputs SELECT 9, id, name, 5 FROM accounts";
            file.execute(insert, &[]);
            wallet.reply("POST /wallet/primary/create ", Reply::Json(500, json!({})));
            let (steps, outcome) = run(&file, &node, &wallet);
            outcome.unwrap_err();
            assert_eq!(steps, [PayoutStep::Discarded { payment: 9 }]);
            assert_untouched(&file);
        }
    }
}

#[test]
fn a_node_or_a_wallet_of_another_network_is_refused() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        let main = Address::new(0, vec![3; 20]).unwrap().encode(Network::Main);
        let account = json!({"receiveAddress": main, "type": "pubkeyhash", "watchOnly": false});
        wallet.reply("GET /wallet/primary/account/default ", ok(account));
        let told = run(&file, &node, &wallet).1.unwrap_err();
        assert!(
            told.contains("is not on regtest, where the ledger is"),
            "{told}"
        );
        for (field, value, expected) in [
            ("watchOnly", json!(true), "only watches"),
            ("type", json!("multisig"), "needs several signatures"),
        ] {
            let mut account =
                json!({"receiveAddress": own_address(), "type": "pubkeyhash", "watchOnly": false});
            account[field] = value;
            wallet.reply("GET /wallet/primary/account/default ", ok(account));
            let told = run(&file, &node, &wallet).1.unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
        let info = json!({"network": "main", "chain": {"height": 20}});
        node.reply("GET / ", ok(info));
        let told = run(&file, &node, &wallet).1.unwrap_err();
        assert!(
            told.contains("is on \"main\", the ledger on regtest"),
            "{told}"
        );
        assert_untouched(&file);
    }
}

#[test]
fn node_that_knows_less_than_the_ledger_is_refused_by_name_and_nothing_changes() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        let refused = |expected: &str| {
            let (steps, outcome) = run(&file, &node, &wallet);
            let told = outcome.unwrap_err();
            assert!(told.contains(expected), "{told:?} lacks {expected:?}");
            assert!(told.contains(&node.url.to_string()), "{told}");
            assert_eq!(steps, []);
            assert_eq!(wallet.seen("/create"), 0);
            assert_untouched(&file);
        };
        file.show(21);
        refused("knows less of the chain than this ledger was shown: its tip is at height 20");
        knows(&node, 21);
        node.reply("getblocktemplate", refusal("Node is downloading blocks..."));
        refused("is not synchronized");
        node.reply("getblocktemplate", refusal("Node is not connected!"));
        refused("is not synchronized");
        file.execute("DELETE FROM highest_tip", &[]);
        let (_, outcome) = run(&file, &node, &wallet);
        let told = outcome.unwrap_err();
        assert!(
            told.starts_with("no node has shown this ledger the chain yet"),
            "{told}"
        );
        assert_untouched(&file);
    }
}

/// As after `hsd` was reset: the transaction that pays is in no block that the node knows of, and its coins
/// seem spent by another.
#[test]
fn payment_is_not_brought_forward_by_a_node_that_lost_its_chain() {
    for ledger in [Ledger::in_file(), Ledger::in_postgres()] {
        let (file, node, wallet) = owing(ledger);
        store_payment(&file);
        file.show(500);
        let (steps, outcome) = run(&file, &node, &wallet);
        assert!(outcome.unwrap_err().contains("knows less of the chain"));
        assert_eq!(steps, []);
        let state: String = file.value("SELECT state FROM payments", &[]);
        assert_eq!(state, "signed");
    }
}
