//! What a connection speaks, which its first line tells: stratum or HTTP.

use crate::wire::http_redirect::{Head, is_request_line};
use crate::wire::line::Flow;

/// How far a connection has come.
pub(crate) enum Phase {
    /// Nothing was read yet.
    New,
    /// It speaks stratum.
    Stratum,
    /// It speaks HTTP.
    Http(Head),
    /// Nothing more is read; it is about to be reset.
    Closing,
}

/// What a line is.
pub(crate) enum Heard {
    /// A stratum request, or what should be one.
    Request,
    /// The end of an HTTP request's head.
    HttpEnd,
    /// Nothing to be answered.
    Nothing,
}

impl Phase {
    /// Takes a line.
    pub(crate) fn hear(&mut self, line: &[u8]) -> Heard {
        match self {
            Self::New if is_request_line(line) => *self = Self::Http(Head::default()),
            Self::Http(head) => {
                if head.read_line(line) == Flow::Stop {
                    return Heard::HttpEnd;
                }
            }
            Self::Closing => {}
            Self::New | Self::Stratum => {
                *self = Self::Stratum;
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Heard::Request;
                }
            }
        }
        Heard::Nothing
    }

    /// Ends HTTP: where miners are sent, if the request's head is whole. Nothing more is read.
    pub(crate) fn end_http(&mut self, host: Option<&str>, port: u16) -> Option<Vec<u8>> {
        match std::mem::replace(self, Self::Closing) {
            Self::Http(head) if head.is_complete() => Some(head.response(host, port)),
            _ => None,
        }
    }
}
