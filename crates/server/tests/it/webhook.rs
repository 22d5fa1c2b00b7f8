//! Alarms, delivered to a real HTTP server that fails at times.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::event::Level;
use ring::hmac;
use serde_json::Value;

use crate::harness::miner::Want;
use crate::harness::{Chain, DEADLINE, Running, start};

/// What the receiver does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Status(u16),
    /// Closes the connection without an answer.
    Close,
    /// Says nothing until the sender gives up.
    Hang,
}

/// A received POST.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

struct Receiving {
    address: SocketAddr,
    requests: Receiver<(Request, Answer)>,
}

impl Receiving {
    /// Answers as given, and then always with 204.
    fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        Self::on(listener, answers)
    }

    fn on(listener: TcpListener, answers: &[Answer]) -> Self {
        let address = listener.local_addr().expect("an address");
        let (sender, requests) = channel();
        let mut answers: VecDeque<Answer> = answers.to_vec().into();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.expect("a connection");
                // One at a time: the sender waits for each answer.
                while let Some(request) = read(&socket) {
                    let answer = answers.pop_front().unwrap_or(Answer::Status(204));
                    if !respond(&socket, answer, request, &sender) {
                        break;
                    }
                }
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?key=a-token", self.address)
    }

    /// The next request, and its treatment.
    fn next(&self) -> (Request, Answer) {
        self.requests.recv_timeout(DEADLINE).expect("a request")
    }

    /// The next request that was accepted.
    fn taken(&self) -> Request {
        loop {
            let (request, answer) = self.next();
            if answer == Answer::Status(204) {
                return request;
            }
        }
    }

    fn taken_event(&self) -> String {
        let body = self.taken().json();
        body["event"].as_str().expect("a name").to_owned()
    }
}

fn read(socket: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Request {
        path,
        headers,
        body: String::new(),
    };
    let length = request.header("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

/// Answers; returns true if the connection stays open.
fn respond(
    mut socket: &TcpStream,
    answer: Answer,
    request: Request,
    sender: &Sender<(Request, Answer)>,
) -> bool {
    if let Answer::Status(status) = answer {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(text.as_bytes()).expect("written");
    }
    if answer == Answer::Hang {
        let _ = socket.read(&mut [0]);
    }
    let _ = sender.send((request, answer));
    matches!(answer, Answer::Status(_))
}

fn start_with(receiving: &Receiving) -> Running {
    start(&[("webhook", &receiving.url()), ("webhook-secret", "the key")])
}

/// A block is found and accepted: two alarms.
fn find_block(running: &Running, chain: &mut Chain) {
    running.node.answer_with(Verdict::Accepted);
    running.server.template(chain.empty_at(0));
    running.mine_as("alice").mine(Want::Block);
}

#[test]
fn alarms_come_in_order_signed_and_without_a_gap_though_the_receiver_is_unwell() {
    let unwell = [
        Answer::Status(500),
        Answer::Close,
        Answer::Status(204),
        Answer::Status(429),
        Answer::Hang,
    ];
    let receiving = Receiving::start(&unwell);
    let running = start_with(&receiving);
    find_block(&running, &mut Chain::easy());

    let (first, _) = receiving.next();
    let taken = receiving.taken();
    // The same id, so that the receiver recognizes the alarm, and a new signature.
    assert_eq!(first.header("hstratum-id"), taken.header("hstratum-id"));
    assert_eq!(first.body, taken.body);
    assert_eq!(taken.path, "/hook?key=a-token");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"the key");
    let timestamp = taken.header("hstratum-timestamp").expect("a timestamp");
    let signature = taken.header("hstratum-signature").expect("a signature");
    let signature = signature.strip_prefix("sha256=").expect("the algorithm");
    let signature = hstratum_core::units::unhex(signature).expect("hex");
    let signed = format!("{timestamp}.{}", taken.body);
    hmac::verify(&key, signed.as_bytes(), &signature).expect("signed with the secret");

    let body = taken.json();
    assert_eq!(body["event"], "block_found");
    assert_eq!(body["network"], "regtest");
    assert_eq!(body["block"]["account"], "alice");
    assert_eq!(receiving.taken_event(), "block_accepted");
    assert!(running.server.close().wait());
    assert_eq!(receiving.taken_event(), "stopping");

    let log = running.node.log_texts().join("\n");
    assert!(log.contains("webhook: an alarm is not delivered: HTTP 500"));
    assert!(log.contains("webhook: alarms are delivered again"));
    assert!(!log.contains("a-token") && !log.contains("the key"));
}

#[test]
fn alarm_that_is_refused_each_time_does_not_hold_up_the_next() {
    let receiving = Receiving::start(&[Answer::Status(400); 3]);
    let running = start_with(&receiving);
    find_block(&running, &mut Chain::easy());
    let body = receiving.taken().json();
    assert_eq!(body["event"], "block_accepted");
    assert_eq!(body["dropped"], 1);
    let (level, _) = running.node.wait_for_log("an alarm is given up");
    assert_eq!(level, Level::Error);
}

#[test]
fn nothing_is_lost_while_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = format!("http://{address}/");
    let running = start(&[("webhook", &url)]);
    find_block(&running, &mut Chain::easy());
    running.node.wait_for_log("an alarm is not delivered");
    // Mining goes on meanwhile.
    assert!(running.mine_as("bob").is_served());
    let receiving = Receiving::on(TcpListener::bind(address).expect("bound"), &[]);
    assert_eq!(receiving.taken_event(), "block_found");
    let second = receiving.taken();
    assert_eq!(second.json()["event"], "block_accepted");
    assert!(second.header("hstratum-signature").is_none(), "no secret");
}

#[test]
fn stop_is_in_time_though_the_receiver_hangs() {
    let receiving = Receiving::start(&[Answer::Hang; 20]);
    let running = start_with(&receiving);
    find_block(&running, &mut Chain::easy());
    assert!(running.server.close().wait());
    running
        .node
        .wait_for_log("webhook: alarms not delivered at the stop: ");
}

#[test]
fn https_is_spoken_and_what_is_none_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    let running = start(&[("webhook", &url)]);
    find_block(&running, &mut Chain::easy());
    // The start of a handshake is all that can be seen without a public certificate.
    let (mut socket, _) = listener.accept().expect("a connection");
    let mut head = [0; 3];
    socket.read_exact(&mut head).expect("a record");
    assert_eq!(head[..2], [22, 3], "a TLS handshake");
    socket
        .write_all(b"not TLS at all\r\n\r\n")
        .expect("written");
    drop(socket);
    running
        .node
        .wait_for_log("webhook: an alarm is not delivered");
}
