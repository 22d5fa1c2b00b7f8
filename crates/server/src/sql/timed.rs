//! Connections to PostgreSQL with a deadline for each answer.
//!
//! The database cancels a statement that takes too long, but not when its process or its host hangs; and the
//! kernel acknowledges data for a stopped process, so that TCP timeouts do not notice it. This stream has a
//! deadline from a request until the server says that it is ready for the next; each byte received starts it
//! again. When it passes, the connection is lost like any other.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Request that asks whether the server speaks TLS (PostgreSQL's documentation, "Message Formats",
/// `SSLRequest`).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Type byte of the message that ends an answer (the same, `ReadyForQuery`).
const READY: u8 = b'Z';

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type BoxedError = Box<dyn Error + Send + Sync>;

/// Time limit of the server's silence while it owes an answer; shared with the stream.
#[derive(Clone)]
pub(crate) struct AnswerTimeout(Arc<AtomicU64>);

impl AnswerTimeout {
    pub(crate) fn new(patience: Duration) -> Self {
        let new = Self(Arc::default());
        new.set(patience);
        new
    }

    /// Sets the limit for everything sent from now on.
    pub(crate) fn set(&self, patience: Duration) {
        let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.0.store(ms, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Connector of such streams, with or without TLS.
#[derive(Clone)]
pub(crate) struct Timed {
    pub tls: Option<MakeRustlsConnect>,
    pub patience: AnswerTimeout,
}

impl MakeTlsConnect<Socket> for Timed {
    type Stream = Stream;
    type TlsConnect = Connecting;
    type Error = BoxedError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connecting, BoxedError> {
        let tls = match &mut self.tls {
            Some(tls) => Some(MakeTlsConnect::<Socket>::make_tls_connect(tls, host)?),
            None => None,
        };
        Ok(Connecting {
            tls,
            patience: self.patience.clone(),
        })
    }
}

/// A connection being opened.
pub(crate) struct Connecting {
    tls: Option<<MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect>,
    patience: AnswerTimeout,
}

impl TlsConnect<Socket> for Connecting {
    type Stream = Stream;
    type Error = BoxedError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxedError>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        let Self { tls, patience } = self;
        Box::pin(async move {
            let handshake = async {
                let Some(tls) = tls else {
                    return Ok::<_, BoxedError>(Inner::Plain(socket));
                };
                socket.write_all(&SSL_REQUEST).await?;
                if socket.read_u8().await? != b'S' {
                    return Err("the server does not speak TLS".into());
                }
                Ok(Inner::Encrypted(Box::new(tls.connect(socket).await?)))
            };
            let inner = timeout(patience.get(), handshake).await;
            Ok(Stream {
                inner: inner.map_err(|_| silent())??,
                patience,
                owed: None,
                messages: MessageFraming::default(),
            })
        })
    }
}

/// A stream to the database, with a deadline while an answer is pending.
pub(crate) struct Stream {
    inner: Inner,
    patience: AnswerTimeout,
    /// Deadline for the server's next byte; `None` while no answer is pending.
    owed: Option<Pin<Box<Sleep>>>,
    messages: MessageFraming,
}

/// Parser position in the server's messages: each is a type, a length that includes itself, and a body.
#[derive(Default)]
struct MessageFraming {
    head: [u8; 5],
    head_bytes: usize,
    body_bytes_left: usize,
}

impl MessageFraming {
    /// Advances over these bytes; returns true if the end of an answer is among them.
    fn are_ready(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_ready = false;
        while let Some((first, rest)) = bytes.split_first() {
            if self.body_bytes_left > 0 {
                let skipped = self.body_bytes_left.min(bytes.len());
                self.body_bytes_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.head_bytes] = *first;
            self.head_bytes += 1;
            bytes = rest;
            if self.head_bytes == self.head.len() {
                let [kind, length @ ..] = self.head;
                is_ready |= kind == READY;
                let length = u32::from_be_bytes(length).saturating_sub(4);
                self.body_bytes_left = usize::try_from(length).unwrap_or(usize::MAX);
                self.head_bytes = 0;
            }
        }
        is_ready
    }
}

enum Inner {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the database does not answer")
}

impl Stream {
    fn heard(&mut self, bytes: &[u8]) {
        if self.messages.are_ready(bytes) {
            self.owed = None;
        } else if let Some(owed) = &mut self.owed {
            owed.as_mut().reset(Instant::now() + self.patience.get());
        }
    }

    fn said(&mut self, context: &mut Context<'_>) {
        let patience = self.patience.get();
        let owed = self.owed.insert(Box::pin(sleep(patience)));
        // The reading task has polled before the deadline was set, so the timer must be able to wake it.
        let _ = owed.as_mut().poll(context);
    }

    fn inner(&mut self) -> Pin<&mut dyn Both> {
        match &mut self.inner {
            Inner::Plain(socket) => Pin::new(socket),
            Inner::Encrypted(stream) => Pin::new(&mut **stream),
        }
    }
}

/// Stream with or without TLS.
trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = this.inner().poll_read(context, buffer) {
            this.heard(&buffer.filled()[before..]);
            return Poll::Ready(read);
        }
        let Some(owed) = &mut this.owed else {
            return Poll::Pending;
        };
        ready!(owed.as_mut().poll(context));
        Poll::Ready(Err(silent()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.inner().poll_write(context, bytes));
        this.said(context);
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_shutdown(context)
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Inner::Plain(_) => ChannelBinding::none(),
            Inner::Encrypted(stream) => stream.channel_binding(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_ends_with_its_message_and_not_with_bytes_that_look_like_it() {
        let ready = [b'Z', 0, 0, 0, 5, b'I'];
        let row = [&[b'D', 0, 0, 0, 10][..], &ready].concat();
        let told = [b'A', 0, 0, 0, 4];
        let mut messages = MessageFraming::default();
        assert!(!messages.are_ready(&row));
        for byte in row {
            assert!(!messages.are_ready(&[byte]));
        }
        assert!(messages.are_ready(&[&ready[..], &told].concat()));
        assert!(!messages.are_ready(&ready[..4]));
        assert!(messages.are_ready(&ready[4..]));
    }
}
