//! Answers old getwork miners: a plain HTTP request on the stratum port gets a response that names the
//! stratum address in `X-Stratum`. Only a real request line as the first line of a connection counts.

use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use crate::wire::line::Flow;

/// The head of an HTTP request, as far as it was received.
#[derive(Debug, Default)]
pub struct HttpHead {
    host: Option<String>,
    bytes: usize,
    headers: usize,
    complete: bool,
}

/// True if `line` is an HTTP/1 request line: a method in capitals, a target, a version.
pub fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    (1..=16).contains(&method.len())
        && method.iter().all(u8::is_ascii_uppercase)
        && !target.is_empty()
        && matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
}

impl HttpHead {
    /// Takes the next line after the request line; [`Flow::Stop`] when the head has ended or is
    /// too long.
    pub fn read_line(&mut self, line: &[u8]) -> Flow {
        if line.is_empty() {
            self.complete = true;
            return Flow::Stop;
        }
        self.bytes += line.len();
        self.headers += 1;
        if self.bytes > HTTP_HEAD_BYTES_MAX || self.headers > HTTP_HEADERS_MAX {
            return Flow::Stop;
        }
        if let Some((name, value)) = std::str::from_utf8(line)
            .ok()
            .and_then(|l| l.split_once(':'))
            && name.eq_ignore_ascii_case("host")
        {
            self.host = host_of(value.trim());
        }
        Flow::Continue
    }

    /// True once the blank line that ends the head was read.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The response. It names `public_host`, or else the request's own `Host`; with neither it names no
    /// stratum address.
    pub fn response(&self, public_host: Option<&str>, public_port: u16) -> Vec<u8> {
        const BODY: &str = r#"{"error":null,"result":false,"id":0}"#;
        let host = public_host.map(bracketed).or_else(|| self.host.clone());
        let stratum = host.map_or(String::new(), |host| {
            format!("X-Stratum: stratum+tcp://{host}:{public_port}\r\n")
        });
        format!(
            "HTTP/1.1 200 OK\r\n{stratum}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{BODY}",
            BODY.len()
        )
        .into_bytes()
    }
}

/// Puts an IPv6 address into brackets, as a URL needs it.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// The host of a `Host` header without its port; `None` when it holds any character that could end the
/// header it is copied into.
fn host_of(value: &str) -> Option<String> {
    let host = match value.strip_prefix('[') {
        Some(rest) => &value[..rest.find(']')? + 2],
        None => value.split(':').next()?,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-[]:".contains(&b);
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str], public_host: Option<&str>) -> String {
        let mut head = HttpHead::default();
        for line in lines {
            head.read_line(line.as_bytes());
        }
        assert!(head.is_complete());
        String::from_utf8(head.response(public_host, 3008)).unwrap()
    }

    #[test]
    fn only_a_request_line_is_one() {
        for line in ["GET / HTTP/1.1", "POST /x HTTP/1.0"] {
            assert!(is_request_line(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "get / HTTP/1.1",
            "GET  HTTP/1.1",
            "GET / HTTP/2",
            "GET / x HTTP/1.1",
            r#"{"id":1,"method":"mining.subscribe","params":["a HTTP/1.1"]}"#,
        ] {
            assert!(!is_request_line(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn the_client_is_sent_to_the_public_host_or_its_own() {
        let host = ["User-Agent: x", "Host: pool.local:3008", ""];
        assert!(
            response(&host, Some("pool.example.com"))
                .contains("X-Stratum: stratum+tcp://pool.example.com:3008\r\n")
        );
        assert!(response(&host, Some("::1")).contains("stratum+tcp://[::1]:3008\r\n"));
        assert!(response(&host, None).contains("stratum+tcp://pool.local:3008\r\n"));
        assert!(response(&["hOst: [::1]:3008", ""], None).contains("stratum+tcp://[::1]:3008\r\n"));
        assert!(!response(&["Host: a\u{b}b", ""], None).contains("X-Stratum"));
        assert!(
            response(&[""], None).ends_with("\r\n\r\n{\"error\":null,\"result\":false,\"id\":0}")
        );
    }

    #[test]
    fn an_endless_head_is_not_read_to_its_end() {
        let mut head = HttpHead::default();
        let line = [b'x'; 1000];
        assert!((0..100).any(|_| head.read_line(&line) == Flow::Stop));
        assert!(!head.is_complete());
    }
}
