//! The program `hstratum`: its commands, what they take, and how they end.
//!
//! Only arguments and printed output are here; the work of a command is in the library `hstratum`
//! (crates/server).

#![forbid(unsafe_code)]

mod doctor;
mod generate;
mod ledger;
mod mine;
mod miner_login;
mod payout;
mod proxy;
mod terminal;
mod verify;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};
use hstratum::ledger_tools::LedgerLocation;

/// Tools beside hstratum, a mining server for Handshake that runs inside hsd: hsd --plugins hstratum
#[derive(Parser)]
#[command(name = "hstratum", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mine on the CPU: to try a pool out, or on regtest
    Mine(mine::Args),
    /// Import into, check, copy and show a ledger
    Ledger(ledger::Args),
    /// Divide rewards among accounts and pay them
    Payout(payout::Args),
    /// Look at a configuration, a node and a stratum port, and tell what is wrong
    Doctor(doctor::Args),
    /// Check what a job of a server pays, by its own bytes
    Verify(verify::Args),
    /// Take miners and spread them over servers; they stay connected when a server fails
    Proxy(Box<proxy::Args>),
    /// Print what completes these commands in a shell
    Completions(generate::Completions),
    /// Write the manual's pages into a directory
    Man(generate::Man),
}

/// Runs the command that the arguments name. A failure is one line and exit code 1.
fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let cli = Cli::try_parse().unwrap_or_else(|error| without_password(error).exit());
    let outcome = match cli.command {
        Command::Mine(args) => mine::run(&args).map(done),
        Command::Ledger(args) => ledger::run(&args).map(done),
        Command::Payout(args) => payout::run(&args).map(done),
        Command::Doctor(args) => doctor::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Completions(args) => generate::completions(&args, Cli::command()).map(done),
        Command::Man(args) => generate::man(&args, Cli::command()).map(done),
        Command::Proxy(args) => proxy::run(*args).map(done),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// clap repeats the value that is wrong, and that of a ledger may hold a password.
fn without_password(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let shown = LedgerLocation::without_password(value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        Cli::command().debug_assert();
    }
}
