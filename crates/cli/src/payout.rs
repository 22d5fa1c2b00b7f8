//! `hstratum payout`: what it takes. `plan` foretells, `send` pays.

mod plan;
mod send;

pub(crate) use send::{NODE_KEY, secret};

use anyhow::bail;
use hstratum::ledger_tools::LedgerLocation;
use hstratum::payout::{AwaitedServers, PayoutTerms, Scheme, TermsHistory};
use hstratum::sql::Db;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm, parse_hns};

/// Arguments of `hstratum payout`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what settling and paying would do now; changes nothing
    Plan(plan::Args),
    /// Settle, and pay who is due through hsd's wallet; brings forward what an earlier run began
    Send(send::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Plan(args) => plan::run(args),
        Command::Send(args) => send::run(args),
    }
}

/// The pool's terms for its miners, as arguments.
#[derive(clap::Args)]
pub(crate) struct TermsArgs {
    /// How a reward is divided
    #[arg(long, display_order = 1)]
    scheme: SchemeName,

    /// For pplns: how much work before each block is paid, in network difficulties. 2 is usual, the
    /// work of two blocks on average; more evens out what a miner earns, and pays newcomers later
    #[arg(long, display_order = 3, value_name = "X", value_parser = Decimal::parse_positive)]
    window: Option<Decimal>,

    /// The pool's fee, in percent
    #[arg(long, display_order = 4, value_name = "PERCENT", default_value = "0", value_parser = FeePpm::parse_percent)]
    fee: FeePpm,

    /// The balance from which an account is paid
    #[arg(long, display_order = 5, value_name = "HNS", default_value = "1", value_parser = parse_hns)]
    threshold: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SchemeName {
    /// Over the work since the pool's last block
    Prop,
    /// Over the last work before each block
    Pplns,
}

impl TermsArgs {
    /// The terms, if the arguments go together.
    pub(crate) fn terms(&self) -> anyhow::Result<TermsHistory> {
        let scheme = match (self.scheme, self.window) {
            (SchemeName::Prop, None) => Scheme::Prop,
            (SchemeName::Pplns, Some(window)) => Scheme::Pplns { window },
            (SchemeName::Prop, Some(_)) => bail!("--window is for --scheme pplns only"),
            (SchemeName::Pplns, None) => bail!("--scheme pplns needs --window, e.g. --window 2"),
        };
        Ok(TermsHistory::always(PayoutTerms {
            scheme,
            fee: self.fee,
            threshold: self.threshold,
            threshold_min: self.threshold,
        }))
    }
}

/// The ledger, as arguments.
#[derive(clap::Args)]
pub(crate) struct LedgerArgs {
    /// The ledger: a file, or postgres://… (the password may be in PGPASSWORD)
    #[arg(long = "ledger", display_order = 0, value_name = "FILE|URL")]
    pub(crate) place: LedgerLocation,
}

/// The servers that a payout does not wait for, as arguments.
#[derive(clap::Args)]
pub(crate) struct AwaitedServersArgs {
    /// Do not wait for what this server, by its name or as # and its number, has not shipped to the shared
    /// ledger; may be repeated
    #[arg(long = "without", display_order = 50, value_name = "SERVER")]
    without: Vec<String>,
}

impl AwaitedServersArgs {
    /// The servers that a payout of this ledger waits for.
    pub(crate) fn of(&self, db: &mut Db) -> anyhow::Result<AwaitedServers> {
        AwaitedServers::of(db, &self.without)
    }
}
