//! Control socket of a running proxy: a Unix socket that only the proxy's user can open. A request is one
//! line, the answer one line of JSON.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, bail};
use hstratum_core::proxy::BackendIndex;
use mio::Waker;

use crate::limits::{CONTROL_ANSWER_MS, CONTROL_LINE_BYTES};
use crate::proxy::handover::{self, Offered};
use crate::stderr;

/// Order to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlOrder {
    /// Report the status.
    Status,
    /// Take a server out.
    Drain(String),
    /// Take it back in.
    Fill(String),
}

impl ControlOrder {
    /// Encodes it as a line.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Status => "status".to_owned(),
            Self::Drain(name) => format!("drain {name}"),
            Self::Fill(name) => format!("fill {name}"),
        }
    }

    /// Parses a line.
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

/// Message to the proxy's loop.
pub enum ProxyCommand {
    /// An order, and the sender of its answer.
    Order(ControlOrder, Sender<String>),
    /// A server's name has these addresses.
    Addresses(BackendIndex, Vec<SocketAddr>),
    /// Another process wants to take over: collect the offer that it gets first.
    Offer(Sender<anyhow::Result<Offered>>),
    /// It is ready at the other end, and lacks only the miners.
    HandOver(UnixStream),
}

/// The control socket, removed when dropped.
pub(super) struct Control {
    path: PathBuf,
    /// Path of the socket while another process has the proper one.
    aside: Option<PathBuf>,
    listener: Option<UnixListener>,
    is_ours: bool,
}

impl Control {
    /// Binds the path, or a path beside it while another process hands over.
    ///
    /// # Errors
    /// When another proxy answers there, or the path is something other than a socket.
    pub(super) fn bind(path: &Path, is_handed_over: bool) -> anyhow::Result<Self> {
        let shown = path.display();
        if !is_handed_over && UnixStream::connect(path).is_ok() {
            bail!("failed to open {shown}: another proxy runs there");
        }
        let aside = is_handed_over.then(|| beside(path));
        let at = aside.as_deref().unwrap_or(path);
        remove_socket(at)?;
        let listener = UnixListener::bind(at).with_context(|| format!("failed to open {shown}"))?;
        let control = Self {
            path: path.to_owned(),
            aside,
            listener: Some(listener),
            is_ours: true,
        };
        fs::set_permissions(at_of(&control), fs::Permissions::from_mode(0o600))
            .with_context(|| format!("failed to protect {shown}"))?;
        Ok(control)
    }

    /// Moves to the proper path if necessary, and accepts orders.
    ///
    /// # Errors
    /// When the path cannot be taken, or the thread cannot be started.
    pub(super) fn start(
        mut self,
        to_driver: Sender<ProxyCommand>,
        waker: Arc<Waker>,
    ) -> anyhow::Result<Self> {
        if let Some(aside) = &self.aside {
            let shown = self.path.display();
            fs::rename(aside, &self.path).with_context(|| format!("failed to open {shown}"))?;
            self.aside = None;
        }
        let listener = self.listener.take().expect("it is started once");
        let control_thread = Arc::new(ControlThread {
            to_driver,
            waker,
            is_handing_over: AtomicBool::new(false),
        });
        thread::Builder::new()
            .name("hstratum-control".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    // One client at a time; a slow one is cut off soon.
                    let answer = || answer(&stream, &control_thread);
                    // A panic ends this order and no other.
                    let _ = catch_unwind(AssertUnwindSafe(answer));
                }
            })
            .context("failed to start the thread hstratum-control")?;
        Ok(self)
    }

    /// Leaves the path to another process.
    pub(super) fn leave(mut self) {
        self.is_ours = false;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(at_of(self));
        }
    }
}

fn at_of(control: &Control) -> &Path {
    control.aside.as_deref().unwrap_or(&control.path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// Removes the stale socket of a proxy that is gone; refuses to remove anything else of that name.
fn remove_socket(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to look at {shown}")),
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).with_context(|| format!("failed to remove {shown}"))
        }
        Ok(_) => bail!("failed to open {shown}: it is there, and no socket"),
    }
}

/// State of the thread that processes orders.
struct ControlThread {
    to_driver: Sender<ProxyCommand>,
    waker: Arc<Waker>,
    /// True while handing over, which is allowed to one process at a time.
    is_handing_over: AtomicBool,
}

impl ControlThread {
    /// Sends a message to the loop.
    fn tell(&self, command: ProxyCommand) -> anyhow::Result<()> {
        self.to_driver.send(command)?;
        self.waker.wake()?;
        Ok(())
    }

    /// Lets another process get ready to take over, while the loop serves the miners.
    fn hand_over(&self, stream: UnixStream) -> anyhow::Result<()> {
        let (reply, offered) = channel();
        self.tell(ProxyCommand::Offer(reply))?;
        let offered = offered.recv_timeout(Duration::from_millis(CONTROL_ANSWER_MS))??;
        handover::offer(&stream, &offered)?;
        self.tell(ProxyCommand::HandOver(stream))
    }
}

fn answer(stream: &UnixStream, control_thread: &Arc<ControlThread>) -> anyhow::Result<()> {
    let patience = Some(Duration::from_millis(CONTROL_ANSWER_MS));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let mut line = String::new();
    BufReader::new(stream.take(CONTROL_LINE_BYTES)).read_line(&mut line)?;
    if line.trim_end() == handover::ASK
        && !control_thread.is_handing_over.swap(true, Ordering::Relaxed)
    {
        let (control_thread, stream) = (control_thread.clone(), stream.try_clone()?);
        thread::Builder::new()
            .name("hstratum-handover".to_owned())
            .spawn(move || {
                if let Err(error) = control_thread.hand_over(stream) {
                    stderr::line("warning", format!("failed to hand over: {error:#}"));
                }
                control_thread
                    .is_handing_over
                    .store(false, Ordering::Relaxed);
            })?;
        return Ok(());
    }
    let text = match ControlOrder::parse(line.trim_end()) {
        None => serde_json::json!({"error": "unknown order"}).to_string(),
        Some(order) => {
            let (reply, replied) = channel();
            control_thread.tell(ProxyCommand::Order(order, reply))?;
            replied.recv_timeout(Duration::from_millis(CONTROL_ANSWER_MS))?
        }
    };
    let mut stream = stream;
    writeln!(stream, "{text}")?;
    Ok(())
}

/// Sends an order to the proxy of a control socket, and returns its answer.
///
/// # Errors
/// When no proxy answers there.
pub fn ask(path: &Path, order: &ControlOrder) -> anyhow::Result<serde_json::Value> {
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
            ControlOrder::Status,
            ControlOrder::Drain("a:3008".to_owned()),
            ControlOrder::Fill("[::1]:3008".to_owned()),
        ] {
            assert_eq!(ControlOrder::parse(&order.encode()), Some(order));
        }
        for line in ["", "drain", "stop", "status now"] {
            assert_eq!(ControlOrder::parse(line), None, "{line:?}");
        }
    }
}
