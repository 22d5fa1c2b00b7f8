//! The limit server: what any stratum server has to do and nothing else, as a yardstick.
//!
//! One thread, one readiness queue. Each line after the login is hashed as a share and answered
//! with 43 bytes, what is read at once in one write; a connection to the next port makes it write
//! one 900-byte job to everybody. No JSON, no checks, no accounts: the login is taken as two lines,
//! whatever they say. What a real server reaches is read against it in the same run. It is no
//! server for miners.

use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Context;
use hstratum_core::chain::header::{HeaderFields, HeaderHasher, Proof};
use hstratum_core::units::{Difficulty, Hash};
use hstratum_core::wire::message::{write_set_difficulty, write_subscribed};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::descriptors;
use crate::limits::{BACKLOG, EVENTS, READ_BYTES};

/// Every hash is a share, and none is a block.
const DIFFICULTY: f64 = 1e-10;

const MINERS: Token = Token(usize::MAX - 1);
const TRIGGER: Token = Token(usize::MAX - 2);

/// A job as long as a real one: ids, six hashes, version, bits, time, in JSON.
const NOTIFY_BYTES: usize = 900;

struct LimitConn {
    socket: TcpStream,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Bytes that the socket did not take.
    unsent: Vec<u8>,
    logins: u32,
}

/// The server; see the module.
struct Limit {
    poll: Poll,
    miners: TcpListener,
    trigger: TcpListener,
    conns: Slab<LimitConn>,
    hasher: HeaderHasher,
    nonce: u32,
    notify: Vec<u8>,
    read: Vec<u8>,
    replies: Vec<u8>,
}

/// Serves on `address`, and takes triggers on the port above it, until the process is ended.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    descriptors::raise_to_most()?;
    let mut limit = Limit::bind(address).with_context(|| format!("failed to bind {address}"))?;
    println!("limit server on {address}, a job to all at a connection to the next port");
    limit.serve()
}

impl Limit {
    fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let next = address.port().checked_add(1);
        let next = next.context("there is no next port")?;
        let mut limit = Self {
            poll: Poll::new()?,
            miners: listen(address)?,
            trigger: listen(SocketAddr::new(address.ip(), next))?,
            conns: Slab::new(),
            hasher: HeaderHasher::new(&HeaderFields {
                prev_block: Hash([1; 32]),
                tree_root: Hash([2; 32]),
                reserved_root: Hash::ZERO,
                witness_root: Hash([3; 32]),
                merkle_root: Hash([4; 32]),
                version: 0,
                bits: 0x207f_ffff,
                mask_hash: Hash([5; 32]),
            }),
            nonce: 0,
            notify: notify(),
            read: vec![0; READ_BYTES],
            replies: Vec::new(),
        };
        limit.register()?;
        Ok(limit)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        self.miners.register(registry, MINERS, Interest::READABLE)?;
        self.trigger.register(registry, TRIGGER, Interest::READABLE)
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("failed to wait for sockets")?,
            }
            for event in &events {
                match event.token() {
                    MINERS => self.accept(),
                    TRIGGER => self.tell_everybody(),
                    Token(slot) => self.attend(slot, event.is_read_closed()),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut socket, _)) = self.miners.accept() {
            let _ = socket.set_nodelay(true);
            let entry = self.conns.vacant_entry();
            let token = Token(entry.key());
            let interest = Interest::READABLE | Interest::WRITABLE;
            if socket
                .register(self.poll.registry(), token, interest)
                .is_ok()
            {
                entry.insert(LimitConn {
                    socket,
                    partial: Vec::new(),
                    unsent: Vec::new(),
                    logins: 0,
                });
            }
        }
    }

    /// A connection to the trigger is a new block.
    fn tell_everybody(&mut self) {
        while self.trigger.accept().is_ok() {
            let mut gone = Vec::new();
            for (slot, conn) in &mut self.conns {
                if conn.logins >= 2 && conn.send(&self.notify).is_err() {
                    gone.push(slot);
                }
            }
            for slot in gone {
                self.conns.remove(slot);
            }
        }
    }

    /// A miner that sends no more is gone.
    fn attend(&mut self, slot: usize, is_over: bool) {
        if self.conns.contains(slot) && (self.exchange(slot).is_err() || is_over) {
            self.conns.remove(slot);
        }
    }

    /// Reads what there is and answers it in one write.
    fn exchange(&mut self, slot: usize) -> io::Result<()> {
        let conn = &mut self.conns[slot];
        conn.send(&[])?;
        loop {
            let len = match conn.socket.read(&mut self.read) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.replies.clear();
            let mut rest = &self.read[..len];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = if conn.partial.is_empty() {
                    &rest[..end]
                } else {
                    conn.partial.extend_from_slice(&rest[..end]);
                    &conn.partial
                };
                if conn.logins < 2 {
                    conn.logins += 1;
                    log_in(&mut self.replies, line, slot);
                    if conn.logins == 2 {
                        self.replies.extend_from_slice(&self.notify);
                    }
                } else {
                    self.nonce = self.nonce.wrapping_add(1);
                    black_box(self.hasher.share_hash(&Proof {
                        nonce: self.nonce,
                        time: line.len() as u64,
                        extra_nonce: [slot as u8; 24],
                    }));
                    accept_share(&mut self.replies, line);
                }
                conn.partial.clear();
                rest = &rest[end + 1..];
            }
            conn.partial.extend_from_slice(rest);
            conn.send(&self.replies)?;
            if len < self.read.len() {
                return Ok(());
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl LimitConn {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let sent = write_some(&mut self.socket, bytes)?;
            self.unsent.extend_from_slice(&bytes[sent..]);
        } else {
            self.unsent.extend_from_slice(bytes);
            let sent = write_some(&mut self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }
}

/// Writes as much as the socket takes, and returns how many bytes that is.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

/// The digits behind `"id":` at the start of a line, as they came.
fn id(line: &[u8]) -> &[u8] {
    let start = line.len().min(6);
    let digits = line[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    &line[start..start + digits.count()]
}

fn accept_share(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id(line));
    out.extend_from_slice(b",\"result\":true,\"error\":null}\n");
}

/// Two login lines come: the subscribe, which has `mining.s` in it, and the authorize.
fn log_in(out: &mut Vec<u8>, line: &[u8], slot: usize) {
    if line.windows(8).any(|part| part == b"mining.s") {
        let id = std::str::from_utf8(id(line)).expect("digits");
        let slot = u32::try_from(slot).expect("fewer connections than sessions");
        write_subscribed(out, id, slot);
        write_set_difficulty(out, Difficulty::new(DIFFICULTY).expect("above zero"));
    } else {
        accept_share(out, line);
    }
}

fn notify() -> Vec<u8> {
    let hash = |digit: &str| digit.repeat(64);
    let hashes = ["1", "2", "3", "4", "5"].map(hash).join("\",\"");
    let mut line = format!(
        "{{\"id\":null,\"method\":\"mining.notify\",\"params\":\
         [\"limit\",\"{hashes}\",\"00000000\",\"1d00ffff\",\"65000000\"]}}"
    );
    while line.len() + 1 < NOTIFY_BYTES {
        line.push(' ');
    }
    line.push('\n');
    line.into_bytes()
}
