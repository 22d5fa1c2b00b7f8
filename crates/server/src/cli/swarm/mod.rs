//! `hstratum swarm`: many simulated miners in one thread.
//!
//! `links` has the sockets, `miner` what one miner knows, `sums` what became of the shares,
//! `report` and `journal` what is told of it. Each mode is a file that drives these.

mod crowd;
mod journal;
mod limits;
mod links;
mod miner;
mod pace;
mod process;
mod report;
mod submit;
mod sums;
mod tally;

use clap::Subcommand;

/// What `hstratum swarm` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Submit shares and count what is acknowledged
    Submit(submit::Args),
}

/// Runs one mode to its end.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.mode {
        Mode::Submit(args) => submit::run(args),
    }
}
