//! How an operator speaks to a running proxy: a socket in the file system that only its user can
//! open. A line is asked, a line of JSON is the answer.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use mio::Waker;

use crate::limits::{CONTROL_ANSWER_MS, CONTROL_LINE_BYTES};
use crate::proxy::handover;

/// What is asked of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// How it is.
    Status,
    /// Take a server out.
    Drain(String),
    /// Take it back in.
    Fill(String),
}

impl Order {
    /// Its line.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Status => "status".to_owned(),
            Self::Drain(name) => format!("drain {name}"),
            Self::Fill(name) => format!("fill {name}"),
        }
    }

    /// Reads a line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None => (line == "status").then_some(Self::Status),
            Some(("drain", name)) => Some(Self::Drain(name.to_owned())),
            Some(("fill", name)) => Some(Self::Fill(name.to_owned())),
            Some(_) => None,
        }
    }
}

/// What the control socket's thread tells the loop.
pub enum Mail {
    /// An order, and where its answer goes.
    Order(Order, Sender<String>),
    /// Another process waits at the other end to go on with everything.
    HandOver(UnixStream),
}

/// A socket that is there for as long as this is.
pub(super) struct Control {
    /// None once another process has the path.
    path: Option<PathBuf>,
}

impl Control {
    pub(super) fn start(
        path: &Path,
        is_ours: bool,
        post: Sender<Mail>,
        waker: Waker,
    ) -> anyhow::Result<Self> {
        let listener = bind(path, is_ours)?;
        let waker = Arc::new(waker);
        thread::Builder::new()
            .name("hstratum-control".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    // One at a time: whoever asks and is slow has little time.
                    let answer = || answer(&stream, &post, &waker);
                    // A bug ends this order and no other.
                    let _ = catch_unwind(AssertUnwindSafe(answer));
                }
            })
            .context("failed to start the thread hstratum-control")?;
        Ok(Self {
            path: Some(path.to_owned()),
        })
    }

    /// Another process has the path now.
    pub(super) fn leave(mut self) {
        self.path = None;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket of a proxy that is no more is replaced, one that answers is not, unless it has just
/// handed over.
fn bind(path: &Path, is_ours: bool) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if !is_ours && UnixStream::connect(path).is_ok() {
        bail!("failed to open {shown}: another proxy runs there");
    }
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("failed to remove {shown}"))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("failed to open {shown}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("failed to protect {shown}"))?;
    Ok(listener)
}

fn answer(stream: &UnixStream, post: &Sender<Mail>, waker: &Waker) -> anyhow::Result<()> {
    let patience = Some(Duration::from_millis(CONTROL_ANSWER_MS));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let mut line = String::new();
    BufReader::new(stream.take(CONTROL_LINE_BYTES)).read_line(&mut line)?;
    if line.trim_end() == handover::ASK {
        post.send(Mail::HandOver(stream.try_clone()?))?;
        waker.wake()?;
        return Ok(());
    }
    let text = match Order::parse(line.trim_end()) {
        None => serde_json::json!({"error": "no such order"}).to_string(),
        Some(order) => {
            let (reply, replied) = channel();
            post.send(Mail::Order(order, reply))?;
            waker.wake()?;
            replied.recv_timeout(Duration::from_millis(CONTROL_ANSWER_MS))?
        }
    };
    let mut stream = stream;
    writeln!(stream, "{text}")?;
    Ok(())
}

/// Gives an order to the proxy of a socket; its answer.
///
/// # Errors
/// When no proxy answers there.
pub fn ask(path: &Path, order: &Order) -> anyhow::Result<serde_json::Value> {
    let shown = path.display();
    let patience = Some(Duration::from_millis(CONTROL_ANSWER_MS));
    let mut answer = String::new();
    UnixStream::connect(path)
        .and_then(|mut stream| {
            stream.set_read_timeout(patience)?;
            writeln!(stream, "{}", order.encode())?;
            BufReader::new(stream).read_line(&mut answer)
        })
        .with_context(|| format!("failed to ask the proxy at {shown}"))?;
    serde_json::from_str(&answer).with_context(|| format!("failed to read the answer of {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for order in [
            Order::Status,
            Order::Drain("a:3008".to_owned()),
            Order::Fill("[::1]:3008".to_owned()),
        ] {
            assert_eq!(Order::parse(&order.encode()), Some(order));
        }
        for line in ["", "drain", "stop", "status now"] {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
    }
}
