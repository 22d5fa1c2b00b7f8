//! A miner that speaks TLS.

#![allow(unreachable_pub, reason = "none exports it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use hstratum_core::wire::client::{Attempt, Client, Update, Work};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::DEADLINE;

/// TLS version that the miner insists on.
#[derive(Clone, Copy)]
pub enum Version {
    Any,
    Tls12,
    Tls13,
}

/// A certificate of the tests.
pub fn certificate(name: &str) -> CertificateDer<'static> {
    let path = format!("{}/tests/tls/{name}.crt", env!("CARGO_MANIFEST_DIR"));
    CertificateDer::from_pem_file(path).expect("a certificate")
}

/// Configuration of a miner that trusts only that certificate.
pub fn client_config(name: &str, version: Version) -> Arc<ClientConfig> {
    let versions = match version {
        Version::Any => [&TLS12, &TLS13].to_vec(),
        Version::Tls12 => [&TLS12].to_vec(),
        Version::Tls13 => [&TLS13].to_vec(),
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate(name)).expect("usable");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn client(config: Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("pool.test").expect("a name");
    ClientConnection::new(config, name).expect("a client")
}

/// The first bytes of a handshake.
pub fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    client(client_config("first", Version::Any))
        .write_tls(&mut bytes)
        .expect("a vector takes all");
    bytes
}

/// An encrypted connection with its client state.
pub struct TlsMiner {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    client: Client,
    next_nonce: u32,
}

impl TlsMiner {
    pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connected");
        Self::over(stream, config)
    }

    pub fn over(stream: TcpStream, config: Arc<ClientConfig>) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Self {
            stream: BufReader::new(StreamOwned::new(client(config), stream)),
            client: Client::new("", ""),
            next_nonce: 0,
        }
    }

    /// Sends the first message of the handshake without waiting.
    pub fn begin(&mut self) {
        let stream = self.stream.get_mut();
        stream.conn.write_tls(&mut stream.sock).expect("sent");
    }

    pub fn send(&mut self, text: &str) {
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes()).expect("sent");
        stream.flush().expect("sent");
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert_eq!(line.pop(), Some('\n'), "a line was cut: {line:?}");
        line
    }

    /// Reads until the server's closing alert.
    pub fn read_to_end(&mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).expect("a goodbye");
        text
    }

    /// The certificate that the server presented.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.stream.get_ref().conn.peer_certificates();
        chain.expect("a handshake")[0].clone().into_owned()
    }

    pub fn log_in(&mut self, user: &str) {
        self.client = Client::new(user, "");
        let lines = self.client.connect().concat();
        self.send(&lines);
    }

    pub fn wait_for_work(&mut self) -> Arc<Work> {
        loop {
            if let Some(work) = self.client.work() {
                return work.clone();
            }
            self.update();
        }
    }

    /// Waits for work other than the current one.
    pub fn wait_for_other_work(&mut self) {
        let old = self.wait_for_work();
        while Arc::ptr_eq(&old, &self.wait_for_work()) {
            self.update();
        }
    }

    fn update(&mut self) -> Update {
        let line = self.line();
        self.client.handle_line(&line).expect("a line of stratum")
    }

    /// Finds a block, submits it and waits until it is accepted.
    pub fn mine_a_block(&mut self) {
        let work = self.wait_for_work();
        let attempt = loop {
            let attempt = Attempt {
                extra_nonce2: 0,
                time: work.time,
                nonce: self.next_nonce,
            };
            self.next_nonce += 1;
            if work.is_block(&work.hash(&attempt)) {
                break attempt;
            }
        };
        let line = self.client.submit(&work, &attempt).expect("it is current");
        self.send(&line);
        loop {
            match self.update() {
                Update::Nothing => {}
                Update::Accepted { .. } => return,
                Update::Rejected(refusal) => panic!("rejected: {refusal}"),
            }
        }
    }
}
