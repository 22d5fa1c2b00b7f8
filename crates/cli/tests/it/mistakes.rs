//! Mistakes at the command line: the printed line and the exit code. Code 2 is clap's, for arguments that it
//! cannot parse; all others are 1. Each mistake gets one line, with advice.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use hstratum::sql::sqlite_schema;
use rusqlite::Connection;

/// Arguments, a variable of the environment, the exit code, and the line.
type Mistake = (&'static str, &'static str, i32, &'static str);

const PROXY: &str = "proxy --listen tcp://127.0.0.1:3008";

const MISTAKES: [Mistake; 44] = [
    // Commands and options.
    ("mien", "", 2, "unrecognized subcommand 'mien'"),
    (
        "ledger report --ledger X --jsno",
        "",
        2,
        "unexpected argument '--jsno' found",
    ),
    (
        "payout send --ledger X --scheme prop",
        "",
        2,
        "the following required arguments were not provided:\n  --wallet <ID>",
    ),
    (
        "payout plan",
        "",
        2,
        "the following required arguments were not provided:\n  --ledger <FILE|URL>",
    ),
    (
        "doctor --mine",
        "",
        2,
        "the following required arguments were not provided:\n  --user <USER>",
    ),
    (
        "verify --url stratum+tcp://a:1 --api a:1 --user a",
        "",
        2,
        "invalid value 'a:1' for '--api <URL>': expected http://HOST:PORT or https://HOST",
    ),
    (
        "verify --url stratum+tcp://a:1 --api http://a:1 --user a --address alice",
        "",
        2,
        "invalid value 'alice' for '--address <ADDRESS>': expected a Handshake address",
    ),
    (
        "completions tcsh",
        "",
        2,
        "invalid value 'tcsh' for '<SHELL>'\n  [possible values: bash, elvish, fish, powershell, zsh]",
    ),
    (
        "ledger address --ledger X alice",
        "",
        1,
        "give the ADDRESS at which \"alice\" is to be paid, or --clear",
    ),
    // Values.
    (
        "mine --url stratum+tcp://a:1 --user a --threads many",
        "",
        2,
        "invalid value 'many' for '--threads <THREADS>': expected a whole number from 1 to 1024",
    ),
    (
        "mine --url stratum+tcp://a:1 --user a --blocks 0",
        "",
        2,
        "invalid value '0' for '--blocks <N>': expected a whole number from 1",
    ),
    (
        "payout plan --ledger X --scheme prop --fee 101",
        "",
        2,
        "invalid value '101' for '--fee <PERCENT>': expected 0 to 100",
    ),
    (
        "payout plan --ledger X --scheme pplns",
        "",
        1,
        "--scheme pplns needs --window, e.g. --window 2",
    ),
    (
        "payout plan --ledger X --scheme prop --window 2",
        "",
        1,
        "--window is for --scheme pplns only",
    ),
    (
        "ledger dump --ledger X --dir . abc",
        "",
        2,
        "invalid value 'abc' for '<HASH|HEIGHT>': expected a height or a hash of 64 hex digits",
    ),
    (
        "proxy --listen tcp://127.0.0.1:3008 --backend a:1",
        "HSTRATUM_PROXY_MAX_INBOUND=x",
        2,
        "invalid value 'x' for '--max-inbound <N>': expected a whole number",
    ),
    // Servers and ports.
    (
        "mine --url pool:1 --user a",
        "",
        2,
        "invalid value 'pool:1' for '--url <URL>': expected stratum+tcp://HOST:PORT or stratum+tls://HOST:PORT",
    ),
    (
        "proxy",
        "",
        1,
        "--listen is required, e.g. --listen tcp://[::]:3008",
    ),
    (
        PROXY,
        "",
        1,
        "--backend is required, e.g. --backend 10.0.0.1:3008",
    ),
    (
        "proxy --listen 127.0.0.1:3008 --backend a:1",
        "",
        1,
        "listen: expected tcp://IP:PORT, tls://IP:PORT or auto://IP:PORT, found \"127.0.0.1:3008\"",
    ),
    (
        "proxy --listen tcp://[::]:3008 --listen tcp://0.0.0.0:3008 --backend a:1",
        "",
        1,
        "listen: tcp://0.0.0.0:3008 is named twice: tcp://[::]:3008 is there already",
    ),
    (
        "proxy --listen tcp://127.0.0.1:3008 --backend a",
        "",
        1,
        "backend: expected HOST:PORT, found \"a\"",
    ),
    (
        "proxy --listen tcp://127.0.0.1:3008 --backend localhost:3008",
        "",
        1,
        "backend: \"localhost:3008\" is this proxy's own --listen tcp://127.0.0.1:3008",
    ),
    (
        "proxy --listen tcp://127.0.0.1:TAKEN --backend a:1",
        "",
        1,
        "failed to listen on 127.0.0.1:TAKEN (listen): Address already in use (os error 98)",
    ),
    // Networks and passwords.
    (
        "doctor --network mainnet",
        "",
        2,
        "invalid value 'mainnet' for '--network <NAME>': expected main, testnet, regtest or simnet",
    ),
    (
        "doctor --prefix DIR/none",
        "",
        1,
        "--prefix DIR/none: no such directory",
    ),
    (
        "doctor --prefix DIR/regtest",
        "",
        1,
        "DIR/regtest is the directory of regtest: did you mean --prefix DIR --network regtest?",
    ),
    (
        "doctor --prefix DIR/regtest --network regtest",
        "",
        1,
        "DIR/regtest is the directory of regtest: did you mean --prefix DIR --network regtest?",
    ),
    (
        "doctor --node-url https://x",
        "",
        2,
        "invalid value 'https://x' for '--node-url <URL>': TLS is not spoken here: expected http://HOST:PORT, on this machine or through a tunnel",
    ),
    (
        "proxy --listen tcp://127.0.0.1:3008 --backend a:1 --proxy-secret x",
        "",
        1,
        "proxy-secret: expected 16 to 64 bytes, found 1",
    ),
    (
        "ledger check --ledger postgres://db/x",
        "",
        2,
        "invalid value 'postgres://db/x' for '--ledger <FILE|URL>': it names no user",
    ),
    (
        "ledger check --ledger postgres://pool:secret@db",
        "",
        2,
        "invalid value 'postgres://…@db' for '--ledger <FILE|URL>': it names no database",
    ),
    (
        "ledger check --ledger postgres://pool:se@cret@db/x",
        "",
        2,
        "invalid value 'postgres://…@db/x' for '--ledger <FILE|URL>': write @ in the password as %40",
    ),
    (
        "ledger check --ledger mysql://pool:secret@db/x",
        "",
        1,
        "failed to open mysql://…@db/x: it is neither a file nor a postgres:// URL",
    ),
    // Files.
    (
        "ledger check --ledger DIR/none.db",
        "",
        1,
        "failed to open DIR/none.db: no such file",
    ),
    (
        "ledger check --ledger DIR",
        "",
        1,
        "failed to open DIR: it is a directory: name the file, PREFIX/stratum/ledger.db",
    ),
    (
        "ledger check --ledger mysql://a/b",
        "",
        1,
        "failed to open mysql://a/b: it is neither a file nor a postgres:// URL",
    ),
    (
        "ledger check --ledger DIR/text",
        "",
        1,
        "DIR/text is not a ledger of hstratum",
    ),
    (
        "ledger backup --ledger DIR/ledger.db --to DIR/none/copy.db",
        "",
        1,
        "failed to write DIR/none/copy.db: No such file or directory (os error 2)",
    ),
    (
        "ledger report --ledger DIR/damaged.db",
        "",
        1,
        "the ledger DIR/damaged.db is damaged: stop the node, and see docs/ledger.md, Backup and restore",
    ),
    (
        "payout plan --ledger DIR/damaged.db --scheme prop",
        "",
        1,
        "the ledger DIR/damaged.db is damaged: stop the node, and see docs/ledger.md, Backup and restore",
    ),
    (
        "ledger backup --ledger DIR/damaged.db --to DIR/copy.db",
        "",
        1,
        "the ledger DIR/damaged.db is damaged: stop the node, and see docs/ledger.md, Backup and restore",
    ),
    (
        "proxy --config DIR/proxy.toml",
        "",
        1,
        "failed to read DIR/proxy.toml: line 1: unexpected key or value, expected newline, `#`; texts are quoted, as in listen = \"tcp://[::]:3008\"",
    ),
    (
        "proxy status --control DIR/none",
        "",
        1,
        "failed to ask the proxy at DIR/none: No such file or directory (os error 2)",
    ),
];

/// A ledger, and one of which all but the first page is overwritten.
fn ledgers(dir: &Path) {
    let whole = dir.join("ledger.db");
    let conn = Connection::open(&whole).expect("a file");
    sqlite_schema::create(&conn, "regtest", [1; 16], 1_000).expect("a ledger");
    conn.pragma_update(None, "journal_mode", "DELETE")
        .expect("one file");
    drop(conn);
    let mut bytes = fs::read(&whole).expect("read");
    bytes[4096..].fill(0xff);
    fs::write(dir.join("damaged.db"), bytes).expect("written");
}

/// Without permission to read a ledger, or to write beside it, the tools say so.
#[test]
fn a_ledger_of_another_user_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    ledgers(dir.path());
    let place = dir.path().to_str().expect("UTF-8");
    let ledger = format!("{place}/ledger.db");
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o000)).expect("set");
    let program = env!("CARGO_BIN_EXE_hstratum");
    let mut command = vec![program];
    let copy = format!("{place}/hstratum");
    if fs::File::open(&ledger).is_ok() {
        // Root may read everything, so the tool runs as nobody.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("set");
        // By another process: a program that is being written cannot be run, and a child that is begun
        // meanwhile would inherit the open file.
        let copied = Command::new("cp").args([program, &copy]).status();
        assert!(copied.expect("run").success());
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        command = [&["setpriv"], &nobody[..], &[copy.as_str()]].concat();
    }
    for args in [
        format!("ledger check --ledger {ledger}"),
        format!("ledger report --ledger {ledger}"),
        format!("ledger backup --ledger {ledger} --to {place}/copy.db"),
        format!("payout plan --ledger {ledger} --scheme prop"),
    ] {
        let output = Command::new(command[0])
            .args(&command[1..])
            .args(args.split(' '))
            .output()
            .expect("ran");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "hstratum: failed to open the ledger {ledger}: Permission denied (os error 13)\n"
            )
        );
    }
}

#[test]
fn each_is_told_in_one_line_with_its_exit_code() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(
        dir.path().join("text"),
        "no ledger at all, whatever it is\n",
    )
    .expect("written");
    fs::write(dir.path().join("proxy.toml"), "listen = tcp://[::]:3008\n").expect("written");
    ledgers(dir.path());
    fs::create_dir_all(dir.path().join("regtest/stratum")).expect("created");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let place = dir.path().to_str().expect("UTF-8");
    let fill = |text: &str| text.replace("DIR", place).replace("TAKEN", &port);
    let mut wrong = Vec::new();
    for (args, variable, code, line) in MISTAKES {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hstratum"));
        command.args(fill(args).split(' '));
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
        let output = command.output().expect("ran");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let begin = if code == 2 { "error: " } else { "hstratum: " };
        let expected = format!("{begin}{}\n", fill(line));
        // Warnings about the limit of descriptors are not of this test.
        let told = stderr.lines().filter(|line| !line.starts_with("[warning]"));
        let told: String = told.flat_map(|line| [line, "\n"]).collect();
        let is_whole = code == 2 || told == expected;
        if output.status.code() != Some(code) || !told.starts_with(&expected) || !is_whole {
            wrong.push(format!("{args}: {:?} {stderr}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
