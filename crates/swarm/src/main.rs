//! `hstratum-swarm`: many simulated miners in one thread, to see what a server bears and whether it counts
//! right.
//!
//! `links` has the sockets, `miner` what one miner knows, `sums` what became of the shares,
//! `report` and `journal` what is told of it; `audience` has miners that only listen. Each mode is a
//! file that drives these. `limit` is no miner: it is the server to compare others with.
//!
//! No part of what is published: `bench/` and `lab/` run it.

#![forbid(unsafe_code)]

mod account_sums;
mod connect;
mod crowd;
mod descriptors;
mod fanout;
mod hashrates;
mod hostile;
mod idle_miners;
mod job_trigger;
mod journal;
mod limit_server;
mod limits;
mod links;
mod miner;
mod pace;
mod process;
mod report;
mod share_counts;
mod submit;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Many simulated miners at once: to see what a server bears, and whether it counts right.
#[derive(Parser)]
#[command(
    name = "hstratum-swarm",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
struct Args {
    /// Be the least that a server can be there, as a yardstick: for nothing else
    #[arg(long, value_name = "HOST:PORT")]
    limit_server: Option<SocketAddr>,

    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Submit shares and count what is acknowledged
    Submit(submit::Args),
    /// Connect, and see when the last has work
    Connect(idle_miners::Args),
    /// See how long a new job takes to all
    Fanout(fanout::Args),
    /// Do what no miner does, to a server on this machine
    Hostile(hostile::Args),
}

/// Runs what the arguments name. A failure is one line and exit code 1.
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // That nobody reads it changes nothing.
            let _ = writeln!(io::stderr(), "hstratum-swarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one mode to its end.
fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(address) = args.limit_server {
        return limit_server::run(address);
    }
    match &args.mode {
        Some(Mode::Submit(args)) => submit::run(args),
        Some(Mode::Connect(args)) => connect::run(args),
        Some(Mode::Fanout(args)) => fanout::run(args),
        Some(Mode::Hostile(args)) => hostile::run(args),
        None => anyhow::bail!("a command is required: submit, connect, fanout or hostile"),
    }
}

/// Set by the first SIGINT or SIGTERM.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("failed to handle signals")?;
    }
    Ok(stop)
}
