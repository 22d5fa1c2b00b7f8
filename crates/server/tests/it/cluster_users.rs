//! Users, bans and drains of one pool on several servers, with a real PostgreSQL: changes on one server, and
//! their effects on the others.

use std::net::{IpAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use std::{fs, thread};

use hstratum::audit_trail::Actor;
use hstratum::server::Server;
use hstratum::sql::{Db, Sql, Sqlite, sqlite_schema};
use hstratum_core::accounts::password::hash256;
use hstratum_core::operator_order::{NewUser, Order, OrderOutcome, OrderRefusal};
use hstratum_core::units::hex;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::miner::End;
use crate::harness::{Chain, Running, restart, settings, start, start_in, wait_until};
use crate::postgres::Server as Database;

fn server(database: &Database, label: &str) -> Running {
    server_in(
        Arc::new(tempfile::tempdir().expect("a directory")),
        database,
        label,
    )
}

fn server_in(root: Arc<TempDir>, database: &Database, label: &str) -> Running {
    let running = start_in(root, &options(&database.url(), label));
    // Without a job its port would close after a while.
    running.move_on(Chain::easy().empty_at(0));
    running
}

fn options<'a>(url: &'a str, label: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("database", url),
        ("server-id", label),
        ("auth", "users"),
        ("password", "secret"),
    ]
}

fn order(running: &Running, order: Order) -> Result<OrderOutcome, OrderRefusal> {
    running
        .server
        .change(&Actor::rpc(), order)
        .make()
        .expect("an answer")
}

fn add(running: &Running, name: &str, password: &str) -> Result<OrderOutcome, OrderRefusal> {
    let (name, password) = (name.to_owned(), password.to_owned());
    let user = NewUser {
        name,
        password,
        address: None,
        is_locked: false,
        wire_admin: None,
    };
    order(running, Order::AddUser(user))
}

fn change(running: &Running, name: &str, password: &str) -> Result<OrderOutcome, OrderRefusal> {
    let (name, password) = (name.to_owned(), password.to_owned());
    order(running, Order::SetPassword { name, password })
}

fn ban(running: &Running, address: &str) -> Result<OrderOutcome, OrderRefusal> {
    let address = address.parse().expect("an address");
    order(
        running,
        Order::Ban {
            address,
            duration_s: None,
            reason: "a reason".to_owned(),
        },
    )
}

fn banned(running: &Running) -> Vec<IpAddr> {
    match order(running, Order::ListBans) {
        Ok(OrderOutcome::Bans(bans)) => bans.into_iter().map(|ban| ban.address).collect(),
        other => panic!("no list: {other:?}"),
    }
}

fn may_mine(running: &Running, user: &str, password: &str) -> bool {
    let mut miner = running.connect();
    miner.send(1, "mining.authorize", &json!([user, password]));
    // A miner whose user was removed is reset, even while it is being answered.
    match miner.reply_or_end() {
        ControlFlow::Continue(reply) => reply["result"] == true,
        ControlFlow::Break(_) => false,
    }
}

/// Waits for a condition, and checks that it took little more than a second.
fn soon(what: &str, is_so: impl FnMut() -> bool) {
    let from = Instant::now();
    wait_until(what, is_so);
    eprintln!("{what}: {} ms", from.elapsed().as_millis());
}

fn is_refused(running: &Running) -> bool {
    TcpStream::connect(running.server.address()).is_err()
}

#[test]
fn a_change_on_one_server_counts_on_the_other() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let mut admin = first.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
    admin.send(2, "mining.add_user", &json!(["alice", "pw", address]));
    assert_eq!(admin.reply()["result"], true);
    assert_eq!(admin.reply()["result"], true);
    assert!(may_mine(&first, "alice", "pw"));
    soon("alice is known", || may_mine(&second, "alice", "pw"));
    let query = "SELECT address FROM accounts WHERE name = 'alice'";
    assert_eq!(database.sql(query), address);
    assert_eq!(
        add(&second, "alice", "other"),
        Err(OrderRefusal::UserExists)
    );

    assert_eq!(change(&second, "alice", "new"), Ok(OrderOutcome::Done));
    soon("alice has another password", || {
        may_mine(&first, "alice", "new")
    });
    assert!(!may_mine(&first, "alice", "pw") && !may_mine(&second, "alice", "pw"));

    // A miner that is connected there is sent away.
    let mut miner = second.connect();
    miner.log_in("alice.rig", "new");
    miner.wait_for_work();
    let disable = Order::DisableUser("alice".to_owned());
    assert_eq!(order(&first, disable), Ok(OrderOutcome::Done));
    assert_eq!(miner.end().1, End::Reset);
    assert!(!may_mine(&second, "alice", "new"));
    assert_eq!(
        order(&second, Order::EnableUser("alice".to_owned())),
        Ok(OrderOutcome::Done)
    );
    soon("alice is enabled", || may_mine(&first, "alice", "new"));

    let stored = first
        .server
        .set_address(&Actor::rpc(), "bob", address)
        .expect("an address");
    stored.wait().expect("stored");
    let query = "SELECT address FROM accounts WHERE name = 'bob'";
    assert_eq!(database.sql(query), address);
    let stored = second
        .server
        .set_threshold(&Actor::rpc(), "bob", Some(5_000_000));
    stored.expect("a threshold").wait().expect("stored");
    let query = "SELECT address || ' ' || threshold FROM accounts WHERE name = 'bob'";
    assert_eq!(database.sql(query), format!("{address} 5000000"));
    assert!(!first.dir.join("users.json").exists());
}

#[test]
fn without_the_database_who_is_known_mines_and_nobody_is_changed() {
    let mut database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    assert_eq!(add(&first, "alice", "pw"), Ok(OrderOutcome::Done));
    assert_eq!(add(&first, "bob", "pw"), Ok(OrderOutcome::Done));
    wait_until("alice is known", || may_mine(&second, "bob", "pw"));
    database.kill();

    assert_eq!(add(&first, "carol", "pw"), Err(OrderRefusal::LedgerAway));
    assert_eq!(
        change(&first, "alice", "new"),
        Err(OrderRefusal::LedgerAway)
    );
    let mut admin = first.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!(["carol", "pw"]));
    assert_eq!(admin.reply()["result"], true);
    assert_eq!(
        admin.reply()["error"][1],
        "shared ledger away, try again later"
    );
    let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
    let stored = first
        .server
        .set_address(&Actor::rpc(), "bob", address)
        .expect("an address");
    assert!(stored.wait().is_err());
    first.node.wait_for_log("users and bans cannot be changed");

    // A restart knows the users, also on the server where nothing was changed.
    let url = database.url();
    let first = restart(first, &options(&url, "first"));
    let second = restart(second, &options(&url, "second"));
    for running in [&first, &second] {
        running.node.wait_for_log("those known last");
        assert!(may_mine(running, "alice", "pw") && may_mine(running, "bob", "pw"));
        assert!(!may_mine(running, "carol", "pw"));
    }
    // A ban holds where it was ordered, and the others learn of it later.
    assert_eq!(ban(&first, "10.1.2.3"), Err(OrderRefusal::BanNotShared));
    assert_eq!(banned(&first), ["10.1.2.3".parse::<IpAddr>().expect("one")]);

    database.resume();
    first
        .node
        .wait_for_log("users and bans can be changed again");
    assert_eq!(add(&first, "carol", "pw"), Ok(OrderOutcome::Done));
    soon("carol is known", || may_mine(&second, "carol", "pw"));
    soon("the ban is known", || banned(&second) == banned(&first));
    assert!(may_mine(&first, "alice", "pw"));
}

#[test]
fn start_needs_the_database_once_and_names_it_without_its_password() {
    let mut database = Database::start();
    database.lock();
    let url = database.url().replace("pool@", "pool:wrong-secret@");
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("stratum");
    let failed = |url: &str| {
        let settings = settings(&options(url, "first"), Some(&dir));
        let error = Server::start(settings, Arc::new(crate::harness::TestNode::default()));
        format!("{:#}", error.err().expect("no start"))
    };
    let shown = format!("127.0.0.1:{}/pool", database.port());
    let text = failed(&url);
    assert!(text.contains(&shown) && text.contains("password"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");

    database.kill();
    let right = url.replace("wrong-secret", "right");
    let text = failed(&right);
    assert!(text.contains(&shown) && text.contains("no copy"), "{text}");
    assert!(!text.contains("right"), "{text}");

    // Once users were known, a wrong password is an error all the same.
    database.resume();
    let settings = settings(&options(&right, "first"), Some(&dir));
    let node = Arc::new(crate::harness::TestNode::default());
    let running = Server::start(settings, node).expect("started");
    assert!(running.close().wait(), "stopped in time");
    let text = failed(&url);
    assert!(text.contains(&shown) && text.contains("password"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
}

#[test]
fn users_that_were_acknowledged_survive_a_database_that_is_killed_meanwhile() {
    const USERS: usize = 60;
    let mut database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let name = |number: usize| format!("user-{number}");
    let answers = thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let add_one = |number| add(&first, &name(number), "pw");
            (0..USERS).map(add_one).collect::<Vec<_>>()
        });
        while database.sql("SELECT count(*) FROM accounts") == "0" {
            thread::yield_now();
        }
        database.kill();
        first.node.wait_for_log("cannot be changed");
        database.resume();
        adding.join().expect("no panic")
    });
    assert_eq!(answers[0], Ok(OrderOutcome::Done));
    first.node.wait_for_log("can be changed again");
    assert_eq!(add(&first, "last", "pw"), Ok(OrderOutcome::Done));
    wait_until("the last is known", || may_mine(&second, "last", "pw"));
    let there = database.sql("SELECT name FROM accounts");
    let there: Vec<&str> = there.lines().collect();
    for (number, answer) in answers.iter().enumerate() {
        let name = name(number);
        let is_there = there.contains(&name.as_str());
        match answer {
            Ok(_) => assert!(is_there, "{name} is lost"),
            Err(refusal) => assert_eq!(*refusal, OrderRefusal::LedgerAway),
        }
        assert_eq!(
            may_mine(&first, &name, "pw"),
            is_there,
            "{name} on the first"
        );
        assert_eq!(
            may_mine(&second, &name, "pw"),
            is_there,
            "{name} on the second"
        );
    }
}

#[test]
fn name_that_two_servers_add_at_once_is_one_users() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    for round in 0..10 {
        let name = &format!("user-{round}");
        let answers = thread::scope(|scope| {
            let one = scope.spawn(|| add(&first, name, "one"));
            let two = scope.spawn(|| add(&second, name, "two"));
            [one.join().expect("no panic"), two.join().expect("no panic")]
        });
        let (right, wrong) = match answers {
            [Ok(OrderOutcome::Done), Err(OrderRefusal::UserExists)] => ("one", "two"),
            [Err(OrderRefusal::UserExists), Ok(OrderOutcome::Done)] => ("two", "one"),
            other => panic!("{other:?}"),
        };
        for running in [&first, &second] {
            wait_until("it is known", || may_mine(running, name, right));
            assert!(!may_mine(running, name, wrong));
        }
    }
}

#[test]
fn hostile_names_stay_names() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let long = "é".repeat(64);
    let names = [
        "'; DROP TABLE accounts; --",
        "a\u{202e}\"$1?%s\\",
        "{\"username\":\"alice\"}",
        "admin.2",
        &long,
    ];
    for name in names {
        assert_eq!(
            add(&first, name, "p'w\"?"),
            Ok(OrderOutcome::Done),
            "{name:?}"
        );
    }
    // Changes are processed in order. A login with the admin's name as prefix is not checked before: that
    // would be a guess of the admin's password.
    assert_eq!(add(&first, "last", "pw"), Ok(OrderOutcome::Done));
    wait_until("the last is known", || may_mine(&second, "last", "pw"));
    for name in names {
        assert!(may_mine(&second, name, "p'w\"?"), "{name:?}");
    }
    assert_eq!(add(&first, "a\0b", "pw"), Err(OrderRefusal::InvalidName));
    assert_eq!(
        add(&second, "admin", "pw"),
        Err(OrderRefusal::AdminIsOption)
    );

    // Rows written by another program do no harm.
    database.sql(
        "INSERT INTO accounts (name, password, change) VALUES
           (repeat('x', 4000), 'x', 1), (E'a\\nb', 'y', 1), ('', 'z', 1), ('odd', 'no hash', 1),
           ('admin', repeat('0', 64), 1);
         INSERT INTO bans (address, since, until, reason, change) VALUES
           ('nonsense', -1, NULL, '', 1), ('10.9.9.9', -5, NULL, E'a\\nb', 1)",
    );
    database.sql("UPDATE changes SET number = 0");
    let listed = ["10.9.9.9".parse::<IpAddr>().expect("one")];
    wait_until("the ban is known", || banned(&second) == listed);
    assert!(!may_mine(&second, "odd", "no hash"));
    let mut admin = second.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    assert_eq!(admin.reply()["result"], true);
    assert!(may_mine(&second, names[0], "p'w\"?"));
}

#[test]
fn own_files_are_taken_in_once_and_not_written() {
    let database = Database::start();
    let line = |name: &str, password: &str| {
        let password = hex(&hash256(password.as_bytes()));
        format!("{{\"username\":\"{name}\",\"password\":\"{password}\"}}\n")
    };
    let root_with = |users: &str, bans: &str| {
        let root = Arc::new(tempfile::tempdir().expect("a directory"));
        let dir = root.path().join("stratum");
        fs::create_dir_all(&dir).expect("made");
        fs::write(dir.join("users.json"), users).expect("written");
        fs::write(dir.join("bans.json"), bans).expect("written");
        root
    };
    let ban_line = |address: &str| {
        format!("{{\"address\":\"{address}\",\"since\":1,\"until\":null,\"reason\":\"old\"}}\n")
    };
    let torn = "{\"username\":\"to";
    let users = line("alice", "a") + &line("bob", "b") + torn;
    let first = server_in(root_with(&users, &ban_line("10.0.0.1")), &database, "first");
    first.node.wait_for_log("users 2, addresses 0, bans 1");
    assert!(may_mine(&first, "alice", "a"));

    let users = line("bob", "other") + &line("carol", "c") + &line("a\\u0000b", "x");
    let second = server_in(
        root_with(&users, &ban_line("10.0.0.2")),
        &database,
        "second",
    );
    second
        .node
        .wait_for_log("is another than in users.json, and stays: 1");
    second.node.wait_for_log("no miner can send, left out: 1");
    assert!(may_mine(&second, "bob", "b") && !may_mine(&second, "bob", "other"));
    soon("carol is known", || may_mine(&first, "carol", "c"));
    assert_eq!(banned(&second).len(), 2);
    soon("the ban is known", || banned(&first).len() == 2);
    // Old hashes are rewritten in the shared ledger, not in the file.
    let kinds = "SELECT count(*) FROM accounts WHERE password LIKE '$argon2id$%'";
    wait_until("they are of the new kind", || database.sql(kinds) == "3");
    let content = fs::read_to_string(second.dir.join("users.json")).expect("read");
    assert_eq!(content, users);
    let content = fs::read_to_string(first.dir.join("users.json")).expect("read");
    assert!(content.ends_with(torn));

    // A ban that was lifted does not come back from the file.
    let lift = Order::Unban("10.0.0.1".parse().expect("one"));
    assert_eq!(order(&second, lift), Ok(OrderOutcome::Done));
    soon("it is lifted", || banned(&first).len() == 1);
    let url = database.url();
    let first = restart(first, &options(&url, "first"));
    assert_eq!(banned(&first).len(), 1);
    assert!(may_mine(&first, "bob", "b"));
}

#[test]
fn own_ledgers_addresses_are_taken_in_with_those_that_hold_later() {
    let database = Database::start();
    let with = |accounts: &str| {
        let root = Arc::new(tempfile::tempdir().expect("a directory"));
        let dir = root.path().join("stratum");
        fs::create_dir_all(&dir).expect("made");
        let path = dir.join("ledger.db");
        drop(sqlite_schema::open_own(&path, "regtest", 1_000, &mut Vec::new()).expect("made"));
        let mut ledger = Db::Sqlite(Sqlite::open_beside(&path).expect("opened"));
        let insert = format!(
            "INSERT INTO accounts (name, address, next_address, next_address_at) VALUES {accounts}"
        );
        let inserted = ledger.write(|sql: &mut dyn Sql| sql.execute(&insert, &[]));
        inserted.expect("written");
        root
    };
    let later = 1_u64 << 40;
    let root = with(&format!(
        "('old', 'a', NULL, NULL), ('both', 'a', 'b', {later}), ('new', NULL, 'b', {later}),
         ('held', 'a', 'b', 1), ('none', NULL, NULL, NULL)"
    ));
    let first = server_in(root, &database, "first");
    first.node.wait_for_log("users 0, addresses 4, bans 0");
    let root = with(&format!(
        "('old', 'x', NULL, NULL), ('new', 'x', 'y', {later})"
    ));
    let _second = server_in(root, &database, "second");
    let taken = "SELECT count(*) FROM origins WHERE users_at IS NOT NULL";
    wait_until("the second's are read", || database.sql(taken) == "2");
    let query = "SELECT string_agg(concat_ws(' ', name, coalesce(address, '-'), next_address), ', ' ORDER BY name)
                 FROM payees WHERE coalesce(address, next_address) IS NOT NULL";
    assert_eq!(database.sql(query), "both a b, held b, new - b, old a");
}

#[test]
fn bans_reach_every_server_and_end_connections_there() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let mut miner = second.connect();
    miner.send(1, "mining.ping", &json!([]));
    assert_eq!(miner.reply()["result"], "pong");
    assert_eq!(ban(&first, "127.0.0.1"), Ok(OrderOutcome::Done));
    assert_eq!(miner.end().1, End::Reset);
    let mut again = second.connect();
    again.send(2, "mining.ping", &json!([]));
    assert_eq!(again.end().1, End::Reset);
    let lift = Order::Unban("127.0.0.1".parse().expect("one"));
    assert_eq!(order(&second, lift), Ok(OrderOutcome::Done));
    assert!(banned(&second).is_empty());
    soon("it is lifted", || banned(&first).is_empty());
    assert!(!may_mine(&first, "nobody", ""));
}

#[test]
fn server_drains_when_another_says_so() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let flag = |label: &str| {
        database.sql(&format!(
            "SELECT is_draining FROM origins WHERE label = '{label}'"
        ))
    };
    let told = first
        .server
        .drain_server(&Actor::rpc(), "second", Some(0))
        .expect("taken");
    told.wait().expect("told");
    soon("the second drains", || is_refused(&second));
    assert!(!is_refused(&first));
    assert_eq!(
        (flag("first").as_str(), flag("second").as_str()),
        ("0", "1")
    );

    // An order given on the server itself counts as well, and is shown.
    assert_eq!(order(&second, Order::Undrain), Ok(OrderOutcome::Done));
    assert!(!is_refused(&second));
    soon("it is seen", || flag("second") == "0");
    assert_eq!(
        order(&second, Order::Drain { over_s: 0 }),
        Ok(OrderOutcome::Done)
    );
    soon("it is seen", || flag("second") == "1");
    let told = first
        .server
        .drain_server(&Actor::rpc(), "second", None)
        .expect("taken");
    told.wait().expect("told");
    soon("the second takes miners", || !is_refused(&second));

    let unknown = first
        .server
        .drain_server(&Actor::rpc(), "third", None)
        .expect("taken");
    let text = format!("{:#}", unknown.wait().expect_err("nobody"));
    assert!(text.contains("third"), "{text}");
    let alone = start(&[]);
    let told = alone
        .server
        .drain_server(&Actor::rpc(), "second", None)
        .expect("taken");
    let text = format!("{:#}", told.wait().expect_err("alone"));
    assert!(text.contains("shares no ledger"), "{text}");

    // A restart ends a drain.
    let told = first
        .server
        .drain_server(&Actor::rpc(), "second", Some(0))
        .expect("taken");
    told.wait().expect("told");
    soon("the second drains", || is_refused(&second));
    let url = database.url();
    let second = restart(second, &options(&url, "second"));
    assert!(!is_refused(&second));
    assert_eq!(flag("second"), "0");
}

#[test]
fn ledger_that_has_gone_back_is_taken_as_it_is() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    for name in ["alice", "bob"] {
        assert_eq!(add(&first, name, "pw"), Ok(OrderOutcome::Done));
        wait_until("it is known", || may_mine(&second, name, "pw"));
    }
    // Like a standby that lacked the last transaction.
    database.sql("DELETE FROM accounts WHERE name = 'bob'; UPDATE changes SET number = 1");
    first
        .node
        .wait_for_log("users that the shared ledger no longer has: 1");
    wait_until("bob is no user", || !may_mine(&second, "bob", "pw"));
    assert!(may_mine(&second, "alice", "pw") && may_mine(&first, "alice", "pw"));
    assert_eq!(add(&second, "bob", "other"), Ok(OrderOutcome::Done));
    wait_until("bob is new", || may_mine(&first, "bob", "other"));
}
