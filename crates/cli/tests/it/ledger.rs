//! `hstratum ledger` and `hstratum payout plan`, through the binary, on real ledgers of either engine.

use std::fs;
use std::process::Command;

use hstratum::config::Config;
use hstratum::payout::{PayoutTerms, Scheme, put_terms};
use hstratum::values;
use hstratum_core::accounting::reward_split::FeePpm;
use serde_json::{Value, json};

use crate::ledgers::{Ledger, on_each};
use crate::program::{hstratum, shares_file, succeed, text};

const ADDRESS: &str = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";

#[test]
fn a_plan_is_a_table_that_adds_up() {
    on_each(|ledger| {
        ledger.credit(1, ADDRESS, 1.0, 1);
        ledger.credit(1, "a\u{202e}b\n", 1.0, 1);
        ledger.credit(1, "c", 1.0, 1);
        ledger.block(1, "confirmed");
        ledger.block(2, "accepted");
        let path = ledger.argument();
        let args = [
            "payout", "plan", "--ledger", &path, "--scheme", "prop", "--fee", "1",
        ];
        let table = succeed(&args);
        for line in [
            "prop, fee 1 %, paid from 10.000000 HNS on",
            "1980.000000 credited + 20.000000 fee + 0.000000 remainder = 2000.000000 reward",
            "0.000000 carried + 1980.000000 credited = 1980.000000: 660.000000 to 1 account now, 1320.000000 later",
            r#""a\u{202e}b\n""#,
            "its reward cannot be spent yet",
            "no address",
        ] {
            assert!(table.contains(line), "{line}\n{table}");
        }
        assert_eq!(ledger.get("SELECT count(*) FROM settlements"), 0);
        for (args, why) in [
            (&["--scheme", "pplns"][..], "needs --window"),
            (
                &["--scheme", "prop", "--window", "2"],
                "is for --scheme pplns",
            ),
            (&["--scheme", "prop", "--fee", "101"], "expected 0 to 100"),
            (
                &["--scheme", "prop", "--threshold", "0.0000001"],
                "at most 6 decimals",
            ),
            (&["--scheme", "pplns", "--window", "0"], "above zero"),
        ] {
            let (code, _, err) = hstratum(&[&["payout", "plan", "--ledger", &path], args].concat());
            assert!(code != 0 && err.contains(why), "{why}: {err}");
        }
        let (code, _, err) = hstratum(&[
            "payout",
            "plan",
            "--ledger",
            "postgres://db/x",
            "--scheme",
            "prop",
        ]);
        assert!(code != 0 && err.contains("it names no user"), "{err}");
    });
}

#[test]
fn a_plan_has_the_terms_of_the_ledger_and_flags_change_them() {
    on_each(|ledger| {
        ledger.credit(1, ADDRESS, 1.0, 1);
        ledger.block(1, "confirmed");
        let (path, plan) = (ledger.argument(), ["payout", "plan", "--ledger"]);
        let args = |more: &[&str]| [&plan[..], &[&path], more].concat().join(" ");
        let run = |more: &[&str]| hstratum(&args(more).split(' ').collect::<Vec<_>>());
        let (code, _, err) = run(&[]);
        assert!(code == 1 && err.contains("no terms yet"), "{err}");
        let terms = Config::parse(&[]).expect("the defaults").terms;
        ledger.write(|sql| put_terms(sql, &terms, 900, "eu-1"));
        let (_, table, _) = run(&[]);
        let in_force = "pplns over 2 x network difficulty, fee 0 %, paid from 10.000000 HNS on\n";
        assert!(
            table.contains(in_force) && !table.contains("By flags"),
            "{table}"
        );
        let (_, table, _) = run(&["--fee", "2", "--threshold", "10"]);
        let line = "paid from 10.000000 HNS on\nBy flags: fee 2 % instead of the pool's 0 %\n";
        assert!(table.contains(line), "{table}");
        assert!(
            table.contains("1960.000000 credited + 40.000000 fee"),
            "{table}"
        );
        let (_, table, _) = run(&["--window", "3", "--json"]);
        let json: Value = serde_json::from_str(&table).expect("JSON");
        let differs = "scheme pplns over 3 x network difficulty instead of the pool's pplns over 2 x \
                       network difficulty";
        assert_eq!(json["terms"]["overrides"], json!([differs]));
        ledger.execute("UPDATE terms SET scheme = 'prop', \"window\" = ''", &[]);
        let (code, _, err) = run(&["--window", "3"]);
        assert!(code == 1 && err.contains("and the pool's is prop"), "{err}");
    });
}

#[test]
fn a_prefix_names_the_ledger_and_the_wallet() {
    on_each(|ledger| {
        let prefix = tempfile::tempdir().expect("a directory");
        let dir = prefix.path().join("regtest/stratum");
        fs::create_dir_all(&dir).expect("created");
        let conf = if ledger.is_file() {
            fs::copy(ledger.path(), dir.join("ledger.db")).expect("copied");
            String::new()
        } else {
            format!("database: {}\n", ledger.argument())
        };
        let conf = |more: &str| {
            let path = prefix.path().join("regtest/stratum.conf");
            fs::write(path, format!("{conf}{more}")).expect("written");
        };
        let prefix = prefix.path().to_str().expect("UTF-8");
        let run = |command: &str| {
            let args = [
                "payout",
                command,
                "--prefix",
                prefix,
                "--network",
                "regtest",
            ];
            hstratum(&args)
        };
        conf("fee: 3\n");
        let (code, table, err) = run("plan");
        assert_eq!(code, 0, "{err}");
        assert!(
            table.contains("fee 3 %"),
            "the ledger has none yet: {table}"
        );
        let (code, _, err) = run("send");
        let none = "no wallet pays: give --wallet, or set payout-wallet in stratum.conf";
        assert!(code == 1 && err.contains(none), "{err}");
        // The wallet is asked only when the node is.
        conf("payout-wallet: pool\npayout-account: a\n");
        let (code, _, err) = run("send");
        assert!(code == 1 && !err.contains(none), "{err}");
        conf("fee: 101\n");
        let (code, _, err) = run("plan");
        assert!(
            code == 1 && err.contains("fee in stratum.conf: expected"),
            "{err}"
        );
    });
}

#[test]
fn an_account_has_a_threshold_of_its_own() {
    on_each(|ledger| {
        ledger.account("alice");
        let terms = Config::parse(&[]).expect("the defaults").terms;
        ledger.write(|sql| put_terms(sql, &terms, 900, "eu-1"));
        let path = ledger.argument();
        let command = ["ledger", "threshold", "--ledger", &path, "alice"];
        let run = |more: &[&str]| hstratum(&[&command[..], more].concat());
        let own = || ledger.get("SELECT coalesce(threshold, -1) FROM accounts");
        let (code, out, err) = run(&["2.5"]);
        assert_eq!(
            (code, &*out, own()),
            (0, "\"alice\" is paid from 2.500000 HNS on\n", 2_500_000),
            "{err}"
        );
        let (code, _, err) = run(&["0.9"]);
        assert!(
            code == 1 && err.contains("0.900000 HNS is below threshold-min"),
            "{err}"
        );
        let (code, _, err) = run(&[]);
        assert!(code == 1 && err.contains("or --clear"), "{err}");
        let (_, out, _) = run(&["--clear"]);
        assert_eq!(
            (&*out, own()),
            ("\"alice\" is paid from the pool's threshold on\n", -1)
        );
    });
}

#[test]
fn findings_are_lines_and_an_exit_code() {
    on_each(|ledger| {
        let dir = tempfile::tempdir().expect("a directory");
        let shares = dir.path().join("shares");
        fs::create_dir(&shares).expect("made");
        ledger.credit(7, "alice", 1.0, 1);
        ledger.named_block(&format!("{:064x}", 7), 7, "confirmed");
        let path = ledger.argument();
        let args = [
            "ledger",
            "check",
            "--ledger",
            &path,
            "--shares",
            text(&shares),
        ];
        let (code, out, err) = hstratum(&args);
        assert_eq!((code, out.lines().count()), (1, 1), "{out}");
        assert!(
            out.ends_with(".json is missing\n") && err.contains("1 error in"),
            "{out}{err}"
        );
        let file = shares_file(&shares, 7, |file| {
            (file["size"], file["total"]) = (1.into(), 1.0.into());
            file["shares"] = json!({"alice": 1});
        });
        assert_eq!(succeed(&args), "all is well\n");
        fs::copy(&file, shares.join(format!("8-{:064x}.json", 7))).expect("copied");
        assert!(hstratum(&args).1.contains("has the files"));
    });
}

#[test]
fn a_backup_is_one_whole_file_and_never_overwrites() {
    let ledger = Ledger::in_file();
    ledger.credit(7, "alice", 1.0, 3);
    let (path, copy) = (ledger.path(), ledger.dir().join("copy.db"));
    let args = [
        "ledger",
        "backup",
        "--ledger",
        text(&path),
        "--to",
        text(&copy),
    ];
    // Another process writes meanwhile.
    let beside = rusqlite::Connection::open(&path).expect("opened");
    beside
        .execute_batch("BEGIN IMMEDIATE; UPDATE credit SET count = 4")
        .expect("written");
    succeed(&args);
    beside.execute_batch("COMMIT").expect("committed");
    assert!(!ledger.dir().join("copy.db-wal").exists());
    let conn = hstratum::sql::sqlite_schema::open_beside(&copy).expect("a ledger");
    let count: i64 = conn
        .query_row("SELECT sum(count) FROM credit", [], |row| row.get(0))
        .expect("read");
    assert_eq!(count, 3);
    let (code, _, err) = hstratum(&args);
    assert!(code == 1 && err.contains("not overwritten"), "{err}");
    let nowhere = ledger.dir().join("nowhere/copy.db");
    let (code, _, err) = hstratum(&[
        "ledger",
        "backup",
        "--ledger",
        text(&path),
        "--to",
        text(&nowhere),
    ]);
    assert!(code == 1 && err.contains("failed to write"), "{err}");
}

#[test]
fn a_report_tells_effort_luck_and_hashrates() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 10.0, 20);
        let hash = ledger.block(1, "confirmed");
        ledger.execute(
            "UPDATE blocks SET effort = 2.0 WHERE hash = ?1",
            &values![hash],
        );
        ledger.credit(2, "alice", 10.0, 5);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now =
            i64::try_from(now.expect("after 1970").as_secs()).expect("before the end of time");
        let start = now / 600 * 600;
        ledger.execute("INSERT INTO workers VALUES (1, 1, 'rig')", &[]);
        for (start, span) in [
            (start, 600_i64),
            (start - 7_200, 3_600),
            (start - 864_000, 86_400),
        ] {
            ledger.execute(
                "INSERT INTO statistics VALUES (?1, ?2, 1, 0, 6, 60.0, 1, 1.0, 2, 2.0, 3, 3.0, 0, 0)",
                &values![span, start - start % span],
            );
        }
        let path = ledger.argument();
        let json = succeed(&["ledger", "report", "--ledger", &path, "--json"]);
        let report: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(report["blocks"][0]["luck"], 0.5);
        assert_eq!(report["open_round"]["effort"], 0.5);
        assert_eq!(report["open_round"]["from_height"], 2);
        let worker = &report["workers"][0];
        assert_eq!([&worker["accepted"], &worker["duplicate"]], [18, 9]);
        let rate = |span: &str| worker["hashrate"][span].as_f64().expect("a number");
        // Work of 60 in ten to twenty minutes.
        let exact = 60.0 * 4_294_967_296.0;
        assert!(
            (exact / 1_260.0..=exact / 600.0).contains(&rate("10m")),
            "{}",
            rate("10m")
        );
        assert!(rate("24h") < rate("1h") && rate("1h") < rate("10m"));
        assert_eq!(report["accounts"][0]["accepted"], 18);
        let table = succeed(&["ledger", "report", "--ledger", &path]);
        assert!(
            table.contains("alice.rig") && table.contains("200.0 %"),
            "{table}"
        );
    });
}

#[test]
fn a_report_has_the_terms_and_thresholds() {
    on_each(|ledger| {
        let path = ledger.argument();
        let json = || {
            let json = succeed(&["ledger", "report", "--ledger", &path, "--json"]);
            serde_json::from_str::<Value>(&json).expect("JSON")
        };
        ledger.credit(6, "alice", 1.0, 1);
        assert_eq!(json()["terms"], json!([]));
        assert_eq!(json()["accounts"][0]["threshold"], Value::Null);

        let newest = PayoutTerms {
            fee: FeePpm::parse_percent("1.25").expect("a percentage"),
            ..Config::parse(&[]).expect("the defaults").terms
        };
        let first = PayoutTerms {
            scheme: Scheme::Prop,
            ..newest
        };
        for terms in [first, newest] {
            ledger.write(|sql| put_terms(sql, &terms, 1_000, "first"));
        }
        succeed(&["ledger", "threshold", "--ledger", &path, "alice", "2.5"]);
        let terms = json()["terms"].clone();
        assert_eq!(terms[0]["scheme"], "prop");
        assert_eq!(terms[0]["window"], Value::Null);
        assert_eq!(
            terms[1],
            json!({
                "from_height": 8, "scheme": "pplns", "window": "2", "fee": 1.25,
                "threshold": 10_000_000, "threshold_min": 1_000_000, "set_at": 1_000, "set_by": "first",
            })
        );
        assert_eq!(json()["accounts"][0]["threshold"], 2_500_000);
        let table = succeed(&["ledger", "report", "--ledger", &path]);
        assert!(
            table.contains("newest terms: pplns over 2 x network difficulty, fee 1.25 %, paid")
        );
        assert!(table.contains("2.500000"), "{table}");
    });
}

#[test]
fn addresses_are_set_and_cleared() {
    on_each(|ledger| {
        ledger.account("alice");
        let path = ledger.argument();
        let address = |args: &[&str]| {
            hstratum(&[&["ledger", "address", "--ledger", &path, "alice"], args].concat())
        };
        assert_eq!(address(&[ADDRESS]).0, 0);
        let set = "SELECT count(*) FROM accounts WHERE address IS NOT NULL";
        assert_eq!(ledger.get(set), 1);
        assert_eq!(
            address(&["hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy"]).0,
            1
        );
        assert_eq!(ledger.get(set), 1);
        assert_eq!(address(&["--clear"]).0, 0);
        assert_eq!(ledger.get(set), 0);
        assert_ne!(address(&[]).0, 0);
    });
}

#[test]
fn a_dump_is_written_anywhere_and_never_over_another() {
    on_each(|ledger| {
        let dir = tempfile::tempdir().expect("a directory");
        ledger.credit(6, "alice", 1.0, 3);
        ledger.credit(7, "bob", 2.0, 1);
        let hash = ledger.named_block(&format!("{:064x}", 7), 7, "confirmed");
        let path = ledger.argument();
        let dump = |block: &str| {
            let to = text(dir.path());
            hstratum(&["ledger", "dump", "--ledger", &path, block, "--dir", to])
        };
        let (code, out, err) = dump(&hash);
        assert_eq!(code, 0, "{err}");
        let file = dir.path().join(format!("7-{hash}.json"));
        assert_eq!(out, format!("{}\n", file.display()));
        let written: Value =
            serde_json::from_slice(&fs::read(&file).expect("written")).expect("JSON");
        assert_eq!(written["shares"], json!({"alice": 3, "bob": 2}));
        fs::write(&file, "corrected").expect("written");
        assert_eq!(dump("7").0, 0);
        assert_eq!(fs::read_to_string(&file).expect("read"), "corrected");

        ledger.named_block(&"ab".repeat(32), 7, "orphaned");
        let several = dump("7");
        assert!(several.0 == 1 && several.2.contains(&hash), "{several:?}");
        let none = dump("8");
        assert!(
            none.0 == 1 && none.2.contains("no block at height 8"),
            "{none:?}"
        );
        assert_ne!(dump("nonsense").0, 0);
    });
}

#[test]
fn a_shared_ledgers_password_comes_from_the_environment_and_its_backup_is_postgresqls() {
    let ledger = Ledger::in_postgres();
    let url = ledger.argument();
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy");
    let (code, _, err) = hstratum(&["ledger", "backup", "--ledger", &url, "--to", text(&copy)]);
    assert!(code == 1 && err.contains("pg_dump"), "{err}");

    ledger.execute("CREATE ROLE payer LOGIN PASSWORD 'a secret'", &[]);
    ledger.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO payer", &[]);
    let url = url.replace("pool@", "payer@");
    let plan = |password: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_hstratum"))
            .args(["payout", "plan", "--scheme", "prop", "--ledger", &url])
            .env("PGPASSWORD", password)
            .output()
            .expect("started");
        String::from_utf8([out.stdout, out.stderr].concat()).expect("UTF-8")
    };
    ledger.require_password("payer");
    assert!(
        plan("a secret").contains("Accounts"),
        "{}",
        plan("a secret")
    );
    let refused = plan("another");
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    assert!(!refused.contains("another"), "{refused}");
}

#[test]
fn a_change_by_a_command_is_in_the_trail() {
    on_each(|ledger| {
        ledger.account("alice");
        ledger.account("b\u{202e}b");
        let path = ledger.argument();
        let none = succeed(&["ledger", "audit", "--ledger", &path]);
        assert_eq!(none, "Changes (0 of 0)\n  none\n");
        succeed(&["ledger", "address", "--ledger", &path, "alice", ADDRESS]);
        succeed(&[
            "ledger",
            "threshold",
            "--ledger",
            &path,
            "b\u{202e}b",
            "--clear",
        ]);
        succeed(&["payout", "pause", "--ledger", &path]);
        let all = succeed(&["ledger", "audit", "--ledger", &path]);
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!((lines[0], lines.len()), ("Changes (3 of 3)", 5));
        for (line, words) in lines[2..].iter().zip([
            ["pause-payouts", "-", "-"],
            ["set-threshold", r#""b\u{202e}b""#, "-"],
            ["set-address", "alice", ADDRESS],
        ]) {
            let place = line.find("command").expect("by a command");
            let rest: Vec<&str> = line[place..].split_whitespace().collect();
            assert!(
                line.contains(" GMT  operator  command") && rest.ends_with(&["done"]),
                "{line}"
            );
            assert_eq!(rest[rest.len() - 4..rest.len() - 1], words, "{line}");
        }
        let found = succeed(&["ledger", "audit", "--ledger", &path, "ALI", "--json"]);
        let found: Value = serde_json::from_str(&found).expect("JSON");
        assert_eq!(
            (&found["total"], &found["changes"][0]["detail"]),
            (&json!(1), &json!(ADDRESS))
        );
    });
}
