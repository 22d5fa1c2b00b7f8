//! `hstratum mine` against a scripted server on a real socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

// Regtest's target: every second hash is a block.
const NOTIFY: &str = r#"{"id":null,"method":"mining.notify","params":["job-1","9c21b02981cdc19c0dacf77de6e6d6c8d6f6b3d9356f59139ade76a6f6a101ce","bedc2be816bf1eb2e607c7a66a9347724b7d038cf392ff5eff6f95ad6bda97bc","a940ea400e836534dbe2ed74e8d70f798f2139df16e28ad942b2ed6e435c3f89","dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622","0000000000000000000000000000000000000000000000000000000000000000","00000000","207fffff","6b02e1fb"]}"#;
const SUBSCRIBED: &str =
    r#"[[["mining.notify","0000002a"],["mining.set_difficulty","0000002a"]],"0000002a",4]"#;

/// The server's side of one connection.
struct Peer {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let reader = BufReader::new(stream.try_clone().expect("cloned"));
        Self { stream, reader }
    }

    /// Waits for the next request of this method; returns its parameters' text and its id.
    fn expect(&mut self, method: &str) -> (serde_json::Value, u64) {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        let request: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(request["method"], method, "{line}");
        (
            request["params"].clone(),
            request["id"].as_u64().expect("an id"),
        )
    }

    fn send(&mut self, line: &str) {
        self.stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("sent");
    }

    fn reply(&mut self, id: u64, result: &str) {
        self.send(&format!(r#"{{"id":{id},"result":{result},"error":null}}"#));
    }

    fn reject(&mut self, id: u64, error: &str) {
        self.send(&format!(r#"{{"id":{id},"result":null,"error":{error}}}"#));
    }

    /// Closes without losing sent data: with unread input the close would be a reset.
    fn close(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("open");
        io::copy(&mut self.reader, &mut io::sink()).expect("closed by the miner");
    }

    fn welcome(&mut self) -> serde_json::Value {
        let (params, id) = self.expect("mining.subscribe");
        self.reply(id, SUBSCRIBED);
        let (_, id) = self.expect("mining.authorize");
        self.reply(id, "true");
        self.send(r#"{"id":null,"method":"mining.set_difficulty","params":[8]}"#);
        self.send(NOTIFY);
        params
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// A running miner, killed if its test fails.
struct Miner(Child);

impl Drop for Miner {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Miner {
    fn start(server: SocketAddr, args: &[&str]) -> Self {
        let url = format!("stratum+tcp://{server}");
        let child = Command::new(env!("CARGO_BIN_EXE_hstratum"))
            .args(["mine", "--url", &url, "--user", "alice", "--password", "p"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        Self(child)
    }

    /// Its exit code, standard output and standard error, once it has ended.
    fn finish(mut self) -> (Option<i32>, String, String) {
        let stdout = read_to_end(self.0.stdout.take().expect("piped"));
        let stderr = read_to_end(self.0.stderr.take().expect("piped"));
        let text = |end: Receiver<String>| end.recv_timeout(DEADLINE).expect("ended in time");
        let (stdout, stderr) = (text(stdout), text(stderr));
        (self.0.wait().expect("ended").code(), stdout, stderr)
    }
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("UTF-8");
        sender.send(text)
    });
    receiver
}

#[test]
fn miner_survives_a_reject_and_a_lost_server_and_stops_after_its_blocks() {
    let (listener, server) = listen();
    let miner = Miner::start(server, &["--blocks", "2", "--threads", "2"]);
    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.welcome().as_array().map(Vec::len), Some(1));
    let (params, id) = peer.expect("mining.submit");
    assert_eq!(params[0], "alice");
    assert_eq!(params[1], "job-1");
    peer.reject(id, r#"[23,"high-hash",false]"#);
    let (_, id) = peer.expect("mining.submit");
    peer.reply(id, "true");
    peer.close();

    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.welcome()[1], "0000002a");
    let (_, id) = peer.expect("mining.submit");
    peer.reply(id, "true");

    let (code, stdout, stderr) = miner.finish();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.contains("share rejected: 23 high-hash\n"),
        "{stdout}"
    );
    assert!(stdout.contains("share accepted: a block\n"), "{stdout}");
    assert!(
        stdout.contains(", trying again until --blocks 2 is reached, or Ctrl-C\n"),
        "{stdout}"
    );
}

#[test]
fn paused_miner_goes_on_after_each_pause() {
    let (listener, server) = listen();
    let begun = Instant::now();
    let miner = Miner::start(server, &["--blocks", "6", "--pause", "200"]);
    let mut peer = Peer::accept(&listener);
    peer.welcome();
    for _ in 0..6 {
        let (_, id) = peer.expect("mining.submit");
        peer.reply(id, "true");
    }
    let (code, stdout, stderr) = miner.finish();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    // There are five pauses between six shares.
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "it waited for the hashrate line"
    );
}

#[test]
fn miner_paces_itself_where_shares_are_blocks_and_sends_no_more_of_them_than_wanted() {
    let (listener, server) = listen();
    let begun = Instant::now();
    let miner = Miner::start(server, &["--blocks", "4"]);
    let mut peer = Peer::accept(&listener);
    peer.welcome();
    // Nothing is answered before the last is here: submits under way count too.
    let ids: Vec<u64> = (0..4).map(|_| peer.expect("mining.submit").1).collect();
    assert!(begun.elapsed() >= Duration::from_millis(3 * 400));
    for id in ids {
        peer.reply(id, "true");
    }
    let (code, stdout, stderr) = miner.finish();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let mut rest = String::new();
    peer.reader.read_to_string(&mut rest).expect("closed");
    assert_eq!(rest, "");
}

#[test]
fn miner_told_not_to_pause_sends_no_more_blocks_than_wanted() {
    let (listener, server) = listen();
    let miner = Miner::start(server, &["--blocks", "3", "--pause", "0"]);
    let mut peer = Peer::accept(&listener);
    peer.welcome();
    let ids: Vec<u64> = (0..3).map(|_| peer.expect("mining.submit").1).collect();
    for id in ids {
        peer.reply(id, "true");
    }
    assert_eq!(miner.finish().0, Some(0));
    let mut rest = String::new();
    peer.reader.read_to_string(&mut rest).expect("closed");
    assert_eq!(rest, "");
}

#[test]
fn refused_password_ends_the_miner_with_one_line() {
    let (listener, server) = listen();
    let miner = Miner::start(server, &[]);
    let mut peer = Peer::accept(&listener);
    let (_, id) = peer.expect("mining.subscribe");
    peer.reply(id, SUBSCRIBED);
    let (params, id) = peer.expect("mining.authorize");
    assert_eq!(params, serde_json::json!(["alice", "p"]));
    peer.reject(id, r#"[24,"unauthorized user",false]"#);

    let (code, stdout, stderr) = miner.finish();
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        format!(
            "hstratum: failed to authorize \"alice\" at {server}: 24 unauthorized user (wrong password, or no such account)\n"
        )
    );
}

#[test]
fn refused_connection_is_told_once_and_tried_again() {
    let (listener, server) = listen();
    drop(listener);
    let mut miner = Miner::start(server, &["--blocks", "1"]);
    let mut stdout = BufReader::new(miner.0.stdout.take().expect("piped"));
    let mut seen = String::new();
    stdout.read_line(&mut seen).expect("a line");
    let listener = TcpListener::bind(server).expect("the same port");
    let mut peer = Peer::accept(&listener);
    peer.welcome();
    let (_, id) = peer.expect("mining.submit");
    peer.reply(id, "true");
    let rest = read_to_end(stdout);
    seen.push_str(&rest.recv_timeout(DEADLINE).expect("ended in time"));
    assert_eq!(miner.0.wait().expect("ended").code(), Some(0));
    let refused = format!("failed to connect to {server}: Connection refused");
    assert_eq!(seen.matches(&refused).count(), 1, "{seen}");
}

#[test]
fn bad_url_is_refused_with_what_was_expected() {
    let output = Command::new(env!("CARGO_BIN_EXE_hstratum"))
        .args(["mine", "--url", "pool:1", "--user", "alice"])
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("expected stratum+tcp://HOST:PORT"),
        "{stderr}"
    );
}
