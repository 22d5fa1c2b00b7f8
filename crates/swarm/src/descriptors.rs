//! The limit of open sockets of this process.

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a process needs beside its connections.
const OTHERS: u64 = 32;

/// Room for so many connections, or an error that says how many there may be.
pub(crate) fn raise(connections: u32) -> anyhow::Result<()> {
    let needed = u64::from(connections) + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "failed to have {connections} connections: the limit of open files is {:?}",
        limit.maximum.unwrap_or(0)
    );
    set(Some(needed), limit.maximum)
}

/// As many as the system allows.
pub(crate) fn raise_to_most() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    set(limit.maximum, limit.maximum)
}

fn set(current: Option<u64>, maximum: Option<u64>) -> anyhow::Result<()> {
    let raised = Rlimit { current, maximum };
    setrlimit(Resource::Nofile, raised).context("failed to raise the limit of open files")
}
