use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use hstratum_core::proxy::NoBackend;
use hstratum_core::units::Difficulty;
use serde_json::Value;

use super::*;
use crate::net::listener::ListenSpec;
use crate::net::{Net, NetConfig};
use crate::proxy::settings::{BackendAddress, ProxySettings};

const PATIENCE: Duration = Duration::from_secs(10);

fn config(backends: &[&str]) -> ProxyConfig {
    ProxyConfig {
        backends: backends.iter().map(|&name| name.to_owned()).collect(),
        prefix: 1,
        key: [1; 32],
        secret: None,
        no_backend: NoBackend::Wait(15_000),
        probe_timeout_ms: 700,
        public_host: None,
        public_port: 3008,
    }
}

/// One server, which is not there, behind any free port.
fn settings() -> ProxySettings {
    ProxySettings {
        listen: vec![ListenSpec::parse("tcp://127.0.0.1:0").expect("a listener")],
        backends: vec![BackendAddress {
            name: "127.0.0.1:9".to_owned(),
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9))),
        }],
        secret: None,
        prefix: 1,
        no_backend: NoBackend::Wait(15_000),
        probe_timeout_ms: 500,
        send_proxy: false,
        proxy_protocol: Vec::new(),
        max_inbound: 10,
        max_per_address: 0,
        tls: None,
        public_host: None,
        public_port: None,
        http: None,
        http_host_names: Vec::new(),
        control: None,
        take_over: None,
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

fn ask(to_driver: &Sender<ProxyCommand>, order: ControlOrder) -> Value {
    let (answer, answered) = channel();
    to_driver
        .send(ProxyCommand::Order(order, answer))
        .expect("it runs");
    let text = answered.recv_timeout(PATIENCE).expect("an answer");
    serde_json::from_str(&text).expect("JSON")
}

/// The rules panic at their first tick: they know a server that the loop does not.
#[test]
fn after_a_panic_of_the_rules_new_ones_go_on_at_the_same_port() {
    let settings = settings();
    let difficulty = Difficulty::new(1.0).expect("above 0");
    let (net, waker) = Net::bind(NetConfig {
        first_option: "listen",
        listeners: vec![(settings.listen[0], difficulty)],
        inherited: Vec::new(),
        proxies: Vec::new(),
        conns_max: 10,
        per_address_max: 0,
        certificate: None,
    })
    .expect("a port");
    let address = net.listeners().next().expect("one").0.address;
    let stop = Arc::new(AtomicBool::new(false));
    let flags = Flags {
        stop: stop.clone(),
        reload: Arc::default(),
    };
    let (to_driver, commands) = channel();
    // Accepted by the kernel before the rules begin.
    let mut early = connect(address);
    early.write_all(b"{\"id\":1}\n").expect("sent");
    let (done, ended) = channel();
    let running = thread::spawn(move || {
        let machine = SystemIo::new(net);
        let rules = Proxy::new(config(&["127.0.0.1:9", "127.0.0.1:10"]), machine.now());
        let mut driver = ProxyDriver::new(machine, rules, settings, commands, flags);
        driver.drained.insert(0);
        let end = driver.run(|| config(&["127.0.0.1:9"]));
        done.send(end).expect("the test waits");
    });
    let mut bytes = [0; 64];
    early.read(&mut bytes).expect_err("reset");

    let mut late = connect(address);
    late.write_all(b"GET / HTTP/1.1\r\nHost: pool.example.com\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    late.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("pool.example.com:3008"), "{answer}");

    let status = ask(&to_driver, ControlOrder::Status);
    assert_eq!(status["failures"], 1);
    assert_eq!(status["servers"][0]["drained"], true, "as before");
    stop.store(true, Ordering::Relaxed);
    waker.wake().expect("it runs");
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(RunEnd::Stopped));
    running.join().expect("no panic gets out");
}

/// Ten seconds without a job are recorded as ten.
#[test]
fn outages_are_as_long_as_they_were() {
    let mut moves = Moves::new();
    for ms in [2, 10_900, 1_000_000] {
        moves.add(ms, 0);
    }
    let jobless = Jobless::of(&mut moves.jobless_ms).expect("three");
    let told = serde_json::to_value(ProxyNotice::moved(3, jobless)).expect("plain data");
    assert_eq!(told["miners"], 3);
    let expected = serde_json::json!({"p50": 10_900, "p99": 1_000_000, "max": 1_000_000});
    assert_eq!(told["jobless_ms"], expected);
    assert!(Jobless::of(&mut []).is_none());
    assert!((moves.jobless.sum_s - 1_010.902).abs() < 1e-6);
}

/// A proxy whose places are all taken by silent sockets serves a client that speaks.
#[test]
fn silent_sockets_give_way_and_are_shown() {
    let settings = settings();
    let difficulty = Difficulty::new(1.0).expect("above 0");
    let (net, waker) = Net::bind(NetConfig {
        first_option: "listen",
        listeners: vec![(settings.listen[0], difficulty)],
        inherited: Vec::new(),
        proxies: Vec::new(),
        conns_max: 4,
        per_address_max: 0,
        certificate: None,
    })
    .expect("a port");
    let address = net.listeners().next().expect("one").0.address;
    let stop = Arc::new(AtomicBool::new(false));
    let flags = Flags {
        stop: stop.clone(),
        reload: Arc::default(),
    };
    let (to_driver, commands) = channel();
    let running = thread::spawn(move || {
        let machine = SystemIo::new(net);
        let rules = Proxy::new(config(&["127.0.0.1:9"]), machine.now());
        ProxyDriver::new(machine, rules, settings, commands, flags).run(|| config(&["127.0.0.1:9"]))
    });
    let _silent: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
    let mut miner = connect(address);
    miner
        .write_all(b"GET / HTTP/1.1\r\nHost: pool.example.com\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    miner.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("pool.example.com:3008"), "{answer}");
    let places = &ask(&to_driver, ControlOrder::Status)["places"];
    assert_eq!(places["all"], 4);
    assert!(places["silent"].as_u64() >= Some(1), "{places}");
    assert!(places["gave_way"].as_u64() >= Some(17), "{places}");
    stop.store(true, Ordering::Relaxed);
    waker.wake().expect("it runs");
    assert_eq!(running.join().expect("no panic"), RunEnd::Stopped);
}
