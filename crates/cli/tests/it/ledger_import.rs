//! `hstratum ledger import`, through the binary, on real ledgers of either engine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::ledgers::on_each;
use crate::program::{hstratum, shares_file, succeed, text};

#[test]
fn old_files_become_blocks_and_work_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = dir.path().join("new/ledger.db");
    let files = [5, 9].map(|height| shares_file(dir.path(), height, |_| {}));
    let args = [
        "ledger",
        "import",
        "--ledger",
        text(&ledger),
        text(&files[0]),
        text(&files[1]),
    ];
    assert!(succeed(&args).contains("block 5 with the work of 2 accounts"));
    assert!(succeed(&args).contains(": known"));

    let conn = hstratum::sql::sqlite_schema::open_beside(&ledger).expect("a ledger");
    let get = |sql: &str| {
        conn.query_row(sql, [], |row| row.get::<_, i64>(0))
            .expect(sql)
    };
    assert_eq!(
        get("SELECT count(*) FROM blocks WHERE state = 'accepted'"),
        2
    );
    assert_eq!(get("SELECT sum(count) FROM credit"), 4);
    assert_eq!(
        get("SELECT count(*) FROM credit WHERE difficulty IN (0.1, 0.2)"),
        4
    );
    let plan = [
        "payout",
        "plan",
        "--ledger",
        text(&ledger),
        "--scheme",
        "prop",
        "--json",
    ];
    let planned = || serde_json::from_str::<Value>(&succeed(&plan)).expect("JSON");
    assert_eq!(planned()["held"].as_array().map(Vec::len), Some(2));

    // As a server does.
    conn.execute_batch(
        "UPDATE blocks SET state = 'confirmed';
         INSERT INTO highest_tip SELECT 1, 10, hash, hash, 5 FROM blocks LIMIT 1",
    )
    .expect("updated");
    let before = planned();
    assert_eq!(before["accounts"][1]["account"], "bob\u{1b}[2J");
    assert_eq!(before["accounts"][1]["credited"], 2_666_666_667_u64 - 1);

    let mut paid = args.to_vec();
    paid.insert(2, "--paid");
    assert!(succeed(&paid).contains("now marked as paid"));
    assert!(succeed(&paid).contains(": known"));
    assert_eq!(planned()["accounts"], json!([]));
    assert_eq!(
        get("SELECT sum(reward + fee + remainder) FROM settlements"),
        0
    );
    let shares = text(dir.path());
    assert_eq!(
        succeed(&[
            "ledger",
            "check",
            "--ledger",
            text(&ledger),
            "--shares",
            shares
        ]),
        "all is well\n"
    );
}

/// Dump of one of several blocks of a height.
fn second_of(dir: &Path, height: u32, first: char, alice: f64) -> PathBuf {
    let hash = format!("{first}{height:063x}");
    let name = hash.clone();
    let file = shares_file(dir, height, |file| {
        file["block"] = hash.into();
        file["shares"]["alice"] = alice.into();
        file["total"] = (alice + 0.2).into();
    });
    let path = dir.join(format!("{height}-{name}.json"));
    fs::rename(file, &path).expect("renamed");
    path
}

#[test]
fn work_of_a_file_is_never_counted_twice() {
    on_each(|ledger| {
        let dir = tempfile::tempdir().expect("a directory");
        let place = ledger.argument();
        let import = |paid: bool, files: &[&Path]| {
            let mut args = vec!["ledger", "import", "--ledger", &place];
            args.extend(paid.then_some("--paid"));
            args.extend(files.iter().map(|file| text(file)));
            hstratum(&args)
        };
        let work = || ledger.get("SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM credit");

        // Two blocks of one height: the file with the most work brings it.
        let less = second_of(dir.path(), 5, '1', 0.1);
        let more = second_of(dir.path(), 5, '2', 0.4);
        let (code, out, err) = import(false, &[&less, &more]);
        assert_eq!(code, 0, "{out}{err}");
        let lines: Vec<_> = out.lines().collect();
        assert!(lines[0].contains("block 5 without its work"), "{out}");
        assert!(lines[1].contains("block 5 with the work of 2"), "{out}");
        assert_eq!(work(), 2);
        assert_eq!(ledger.get("SELECT count(*) FROM blocks"), 2);

        // Part of a round is there, as in a backup, and so it is in the round of the next block.
        ledger.credit(7, "alice", 1.0, 1);
        let (partly, next) = (
            shares_file(dir.path(), 9, |_| {}),
            shares_file(dir.path(), 12, |_| {}),
        );
        let (code, out, err) = import(false, &[&next, &partly]);
        assert_eq!(code, 1, "{out}");
        assert!(
            err.contains("refused 2 of 2 files; taken: 0 blocks"),
            "{err}"
        );
        for (line, height) in out.lines().zip(["12", "9"]) {
            let says =
                format!("counted twice at height {height}: the ledger has credit of heights 7");
            assert!(line.contains(&says), "{out}");
        }
        assert_eq!((work(), ledger.get("SELECT count(*) FROM blocks")), (3, 2));

        let (code, out, _) = import(true, &[&partly]);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("block 9 without its work"), "{out}");
        let (code, out, _) = import(false, &[&next, &partly]);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("block 12 with the work of 2"), "{out}");
        assert_eq!(work(), 5);

        // Divided work was deleted from the credit, and counts all the same.
        for statement in [
            "UPDATE blocks SET round_from = 10 WHERE height = 12",
            "INSERT INTO settlements (block, state, scheme, fee_ppm, from_height, shares, reward, fee,
                                      remainder, settled_at)
             SELECT hash, 'settled', 'prop', 0, 10, 1, 0, 0, 0, 1 FROM blocks WHERE height = 12",
            "DELETE FROM credit WHERE height = 12",
        ] {
            ledger.execute(statement, &[]);
        }
        let late = shares_file(dir.path(), 11, |_| {});
        let (code, out, _) = import(false, &[&late]);
        assert_eq!(code, 1, "{out}");
        assert!(
            out.contains("height 11: it was divided with block 12"),
            "{out}"
        );
    });
}

#[test]
fn files_that_cannot_be_read_are_named_where_there_is_no_ledger_either() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = dir.path().join("ledger.db");
    let file = dir.path().join("9-missing.json");
    let (code, out, err) = hstratum(&["ledger", "import", "--ledger", text(&ledger), text(&file)]);
    assert_eq!(code, 1);
    assert!(
        out.contains("9-missing.json") && out.contains("No such file"),
        "{out}"
    );
    assert!(
        err.contains("refused 1 of 1 file; taken: 0 blocks"),
        "{err}"
    );
    assert!(!ledger.exists());
}

#[test]
fn bad_files_are_refused_by_name_and_change_nothing() {
    on_each(|ledger| {
        let dir = tempfile::tempdir().expect("a directory");
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 16] = [
            (
                |file| file["network"] = "main".into(),
                "not an address of main",
            ),
            (|file| file["network"] = "bitcoin".into(), "unknown network"),
            (|file| file["total"] = 0.4.into(), "add up"),
            (|file| file["size"] = 3.into(), "size is 3"),
            (|file| file["block"] = "xyz".into(), "expected a hash"),
            (|file| file["txid"] = "ab".into(), "expected a hash"),
            (
                |file| file["block"] = "cd".repeat(32).into(),
                "belongs to a file",
            ),
            (|file| file["height"] = 8.into(), "belongs to a file"),
            (|file| file["height"] = Value::from(-7), "height"),
            (|file| file["height"] = 7.5.into(), "whole number"),
            (|file| file["reward"] = Value::from(-1), "reward"),
            (|file| file["reward"] = 1e300.into(), "whole number"),
            (
                |file| file["shares"]["alice"] = Value::from(-0.1),
                "zero or above",
            ),
            (
                |file| file["shares"]["alice"] = "0.1".into(),
                "expected a number",
            ),
            (|file| file["shares"] = json!([1, 2]), "expected an object"),
            (|file| *file = json!({}), "missing field"),
        ];
        for (change, why) in changes {
            let file = shares_file(dir.path(), 7, change);
            let path = ledger.argument();
            let (code, out, err) = hstratum(&["ledger", "import", "--ledger", &path, text(&file)]);
            assert_eq!(code, 1, "{out}");
            assert!(out.contains("refused") && out.contains(why), "{why}: {out}");
            assert!(
                out.contains(text(&file)) && err.contains("1 of 1 file;"),
                "{out}{err}"
            );
            assert_eq!(ledger.get("SELECT count(*) FROM blocks"), 0);
            assert_eq!(ledger.get("SELECT count(*) FROM accounts"), 0);
        }
        let twice = shares_file(dir.path(), 7, |_| {});
        let content = fs::read_to_string(&twice).expect("read");
        fs::write(&twice, content.replace("bob\\u001b[2J", "alice")).expect("written");
        let (_, out, _) = hstratum(&[
            "ledger",
            "import",
            "--ledger",
            &ledger.argument(),
            text(&twice),
        ]);
        assert!(out.contains("there twice"), "{out}");
    });
}
