//! A miner on a real socket with blocking calls.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use hstratum_core::units::Hash;
use hstratum_core::wire::client::{Attempt, Client, ClientFailure, Update, Work};
use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use super::DEADLINE;

/// The way in which a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server has closed it.
    Finished,
    /// The server has reset it.
    Reset,
}

/// Requirement of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// It meets the network's target.
    Block,
    /// It is a share but no block.
    Share,
}

/// A connection with its client state.
pub struct Miner {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    pub client: Client,
    next_nonce: u32,
}

impl Miner {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, DEADLINE).expect("connected"))
    }

    /// A connection, unless it is reset at once.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => Some(Self::over(stream)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("neither connected nor reset: {error}"),
        }
    }

    /// A connection with a small receive buffer.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&address.into()).expect("connected");
        Self::over(socket.into())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        let reader = BufReader::new(stream.try_clone().expect("cloned"));
        Self {
            stream,
            reader,
            client: Client::new("", ""),
            next_nonce: 0,
        }
    }

    /// Sends bytes unchanged.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// Sends a request.
    pub fn send(&mut self, id: u64, method: &str, params: &Value) {
        let line = json!({ "id": id, "method": method, "params": params });
        self.send_raw(format!("{line}\n").as_bytes());
    }

    /// The next line without its newline.
    pub fn line(&mut self) -> String {
        match self.read_line() {
            ControlFlow::Continue(line) => line,
            ControlFlow::Break(end) => panic!("expected a line: {end:?}"),
        }
    }

    fn read_line(&mut self) -> ControlFlow<End, String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => ControlFlow::Break(End::Finished),
            Ok(_) if line.ends_with('\n') => {
                line.pop();
                ControlFlow::Continue(line)
            }
            Ok(_) => panic!("a line was cut: {line:?}"),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    ControlFlow::Break(End::Reset)
                }
                _ => panic!("neither a line nor an end: {error}"),
            },
        }
    }

    /// The next line as JSON.
    pub fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    }

    /// The next reply; the client is told of notifications before it.
    pub fn reply(&mut self) -> Value {
        match self.reply_or_end() {
            ControlFlow::Continue(reply) => reply,
            ControlFlow::Break(end) => panic!("expected a reply: {end:?}"),
        }
    }

    /// The same, or the end of the connection if that comes first.
    pub fn reply_or_end(&mut self) -> ControlFlow<End, Value> {
        loop {
            let line = self.read_line()?;
            self.client.handle_line(&line).expect("a line of stratum");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message.get("method").is_none() {
                return ControlFlow::Continue(message);
            }
        }
    }

    /// Reads to the end; returns the number of lines before it, and the kind of end. A line that was under
    /// way when the connection was reset may be cut.
    pub fn end(&mut self) -> (usize, End) {
        let mut lines = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return (lines, End::Finished),
                Ok(_) => lines += 1,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (lines, End::Reset);
                }
                Err(error) => panic!("no end: {error}"),
            }
        }
    }

    /// Sends subscribe and authorize; the next reading call reads their replies.
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.client = Client::new(user, password);
        let lines = self.client.connect().concat();
        self.send_raw(lines.as_bytes());
    }

    /// Logs in and reads until there is work; returns false if the connection was reset before.
    pub fn try_log_in(&mut self, user: &str) -> bool {
        self.client = Client::new(user, "");
        let lines = self.client.connect().concat();
        let mut is_open = self.stream.write_all(lines.as_bytes()).is_ok();
        while is_open && self.client.work().is_none() {
            match self.read_line() {
                ControlFlow::Continue(line) => {
                    self.client.handle_line(&line).expect("a line of stratum");
                }
                ControlFlow::Break(_) => is_open = false,
            }
        }
        is_open
    }

    /// Reads until the client has work.
    pub fn wait_for_work(&mut self) -> Arc<Work> {
        loop {
            if let Some(work) = self.client.work() {
                return work.clone();
            }
            self.update().expect("logged in");
        }
    }

    /// Reads until the client has other work than `old`.
    pub fn wait_for_new_work(&mut self, old: &Arc<Work>) -> Arc<Work> {
        loop {
            let work = self.wait_for_work();
            if !Arc::ptr_eq(&work, old) {
                return work;
            }
            self.update().expect("a line of stratum");
        }
    }

    /// Reads one line into the client.
    pub fn update(&mut self) -> Result<Update, ClientFailure> {
        let line = self.line();
        self.client.handle_line(&line)
    }

    /// Finds a hash with this requirement for the current work, and submits it; returns the hash.
    pub fn submit(&mut self, want: Want) -> Hash {
        let (line, hash) = self.solve(want);
        self.send_raw(line.as_bytes());
        hash
    }

    /// Finds a hash with this requirement for the current work; returns the line that submits it, and the
    /// hash.
    pub fn solve(&mut self, want: Want) -> (String, Hash) {
        let work = self.wait_for_work();
        loop {
            let attempt = Attempt {
                extra_nonce2: 0,
                time: work.time,
                nonce: self.next_nonce,
            };
            self.next_nonce += 1;
            let hash = work.hash(&attempt);
            let fits = match want {
                Want::Block => work.is_block(&hash),
                Want::Share => work.is_share(&hash) && !work.is_block(&hash),
            };
            if fits {
                let line = self.client.submit(&work, &attempt);
                return (line.expect("work is current"), hash);
            }
        }
    }

    /// Reads until a share is judged, and asserts that it was accepted.
    pub fn expect_accepted(&mut self) {
        loop {
            match self.update().expect("a line of stratum") {
                Update::Nothing => {}
                Update::Accepted { .. } => return,
                Update::Rejected(refusal) => panic!("rejected: {refusal}"),
            }
        }
    }

    /// Finds and submits a hash, and waits until it is accepted.
    pub fn mine(&mut self, want: Want) -> Hash {
        let hash = self.submit(want);
        self.expect_accepted();
        hash
    }

    /// True if a request is answered; otherwise the connection was reset.
    pub fn is_served(&mut self) -> bool {
        let request = b"{\"id\":8,\"method\":\"mining.nonsense\"}\n";
        self.stream.write_all(request).is_ok() && self.read_line().is_continue()
    }

    /// The same connection twice: one to write, one to read.
    pub fn split(self) -> (Self, Self) {
        let stream = self.stream.try_clone().expect("cloned");
        (Self::over(stream), self)
    }

    /// Sends a FIN and continues reading.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("open");
    }

    /// Resets the connection.
    pub fn reset(self) {
        let socket = SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("an option");
    }
}
