//! Writes lines to standard error without making the caller wait.
//!
//! The reader of a pipe may be gone or stuck, and a disk may be full, so a thread of its own writes, behind a
//! bounded queue. Lines that find the queue full are dropped and counted, and the number is written with the
//! next line.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::Context;

use crate::limits::{STDERR_END, STDERR_LINES_MAX};

static QUEUE: OnceLock<SyncSender<Word>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

enum Word {
    Line(String),
    /// Notify when everything before it is written.
    Done(SyncSender<()>),
}

/// Starts the thread, and redirects panic messages to it. Before this, lines are written directly.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn start() -> anyhow::Result<()> {
    let (queue, words) = sync_channel(STDERR_LINES_MAX);
    thread::Builder::new()
        .name("hstratum-stderr".to_owned())
        .spawn(move || write_all(&words))
        .context("failed to start the thread hstratum-stderr")?;
    if QUEUE.set(queue).is_ok() {
        // The standard library's hook would wait for the reader.
        std::panic::set_hook(Box::new(|info| line("error", info)));
    }
    Ok(())
}

/// Writes a line for the operator.
pub(crate) fn line(level: &str, text: impl Display) {
    let text = format!("[{level}] {text}\n");
    match QUEUE.get() {
        None => write(&text),
        Some(queue) if queue.try_send(Word::Line(text)).is_err() => {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Some(_) => {}
    }
}

/// Waits until everything is written, but at most [`STDERR_END`] for a stuck reader.
pub(crate) fn finish() {
    let (done, all_done) = sync_channel(1);
    if let Some(queue) = QUEUE.get()
        && queue.try_send(Word::Done(done)).is_ok()
    {
        let _ = all_done.recv_timeout(STDERR_END);
    }
}

fn write_all(words: &Receiver<Word>) {
    for word in words {
        match word {
            Word::Line(text) => {
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    write(&format!(
                        "[warning] {lost} lines were lost: standard error was not read in time\n"
                    ));
                }
                write(&text);
            }
            Word::Done(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Writes directly; a failure cannot be reported to anybody.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
