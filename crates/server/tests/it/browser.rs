//! A small HTTP client on a real socket, for requests of browsers and scrapers, and malformed ones.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each file of tests uses its part, and none exports it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

pub use hstratum_harness::ports::free_port;
use serde_json::Value;

use crate::harness::{EVERY_HASH, Running, start};

const DEADLINE: Duration = Duration::from_secs(30);

/// An answer.
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

/// A server with these options, and a client of its dashboard.
pub fn serve(options: &[(&str, &str)]) -> (Running, Browser) {
    let port = free_port();
    let text = port.to_string();
    let mut all = vec![("http-port", text.as_str()), ("difficulty", EVERY_HASH)];
    all.extend(options);
    (start(&all), Browser::new(port))
}

/// HTTP client of one server.
pub struct Browser {
    pub port: u16,
}

impl Browser {
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    /// A plain GET, as a browser on this machine sends it.
    pub fn get(&self, path: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        self.ask("GET", path, &[("Host", &host)])
    }

    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// A request with a JSON body, with or without a token.
    pub fn call(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![
            ("Host", host.as_str()),
            ("Content-Type", "application/json"),
        ];
        headers.extend(
            bearer
                .as_ref()
                .map(|bearer| ("Authorization", bearer.as_str())),
        );
        let body = body.to_string();
        self.ask_with(method, path, &headers, &body)
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_with(method, path, headers, "")
    }

    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = self.connect();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body;
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let (status, headers) = head(&mut reader);
        let mut body = Vec::new();
        reader.read_to_end(&mut body).expect("read");
        let body = String::from_utf8(body).expect("UTF-8");
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Opens the event stream, to read its lines as they come.
    pub fn listen(&self) -> BufReader<TcpStream> {
        self.listen_as(None)
    }

    /// The same with the operator's token.
    pub fn listen_as(&self, token: Option<&str>) -> BufReader<TcpStream> {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        self.listen_with(&bearer.unwrap_or_default())
    }

    /// The same with these lines of headers.
    pub fn listen_with(&self, lines: &str) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: localhost:{}\r\n{lines}\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let (status, _) = head(&mut reader);
        assert_eq!(status, 200);
        reader
    }
}

/// Reads the status and the headers.
pub fn head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut status = None;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let line = line.trim_end();
        if line.is_empty() {
            return (status.expect("a status"), headers);
        }
        match line.split_once(": ") {
            Some((name, value)) if status.is_some() => {
                headers.push((name.to_lowercase(), value.to_owned()));
            }
            _ => status = line.split(' ').nth(1).and_then(|code| code.parse().ok()),
        }
    }
}

/// Reads until a line with this beginning; returns the rest of it.
pub fn wait_for_line(reader: &mut impl BufRead, begin: &str) -> String {
    loop {
        let mut line = String::new();
        let len = reader.read_line(&mut line).expect("a line");
        assert!(len > 0, "the end, and no line {begin:?}");
        if let Some(rest) = line.strip_prefix(begin) {
            return rest.trim_end().to_owned();
        }
    }
}
