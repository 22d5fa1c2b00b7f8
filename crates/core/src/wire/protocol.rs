//! Tells stratum from HTTP by the first line of a connection.

use crate::wire::http_redirect::{HttpHead, is_request_line};
use crate::wire::line::Flow;

/// The protocol of a connection, as far as it is known.
pub(crate) enum ProtocolPhase {
    /// No line was read yet.
    New,
    /// Stratum.
    Stratum,
    /// HTTP, with the head of the request.
    Http(HttpHead),
    /// Nothing more is read; the connection is about to be closed.
    Closing,
}

/// The meaning of a line for the connection.
pub(crate) enum Heard {
    /// A stratum request, or a line that should be one.
    Request,
    /// The head of an HTTP request has ended.
    HttpEnd,
    /// A line that needs no answer.
    Nothing,
}

impl ProtocolPhase {
    /// Classifies a line.
    pub(crate) fn hear(&mut self, line: &[u8]) -> Heard {
        match self {
            Self::New if is_request_line(line) => *self = Self::Http(HttpHead::default()),
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

    /// Ends HTTP and gives the response, if the request's head is complete. Nothing more is read.
    pub(crate) fn end_http(&mut self, host: Option<&str>, port: u16) -> Option<Vec<u8>> {
        match std::mem::replace(self, Self::Closing) {
            Self::Http(head) if head.is_complete() => Some(head.response(host, port)),
            _ => None,
        }
    }
}
