//! Lines on standard error that nobody waits for.
//!
//! The reader of a pipe may be gone or stand still, and a disk may be full: a thread of its own
//! writes, and a queue with a limit is before it. Lines that find no room are counted, and the number
//! is said with the next one that gets out.

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
    /// All that came before is written.
    Done(SyncSender<()>),
}

/// Starts the thread, and has it say panics too. Before that, lines are written where they come from.
///
/// # Errors
/// When there can be no thread.
pub(crate) fn start() -> anyhow::Result<()> {
    let (queue, words) = sync_channel(STDERR_LINES_MAX);
    thread::Builder::new()
        .name("hstratum-stderr".to_owned())
        .spawn(move || write_all(&words))
        .context("failed to start the thread hstratum-stderr")?;
    if QUEUE.set(queue).is_ok() {
        // The hook of the standard library would wait for the reader.
        std::panic::set_hook(Box::new(|info| line("error", info)));
    }
    Ok(())
}

/// Says something to the operator.
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

/// Waits until all is written, but not for a reader that stands still.
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

/// There is nobody to whom a failure could be told.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
