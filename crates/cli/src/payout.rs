//! `hstratum payout`: what it takes. `plan` foretells, `send` pays, `pause` stops all payments of the pool.

mod pause;
mod plan;
mod send;

pub(crate) use send::NODE_KEY;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hstratum::config::Config;
use hstratum::config::settings::Settings;
use hstratum::doctor::{environment, options_of};
use hstratum::ledger_tools::{self, LedgerLocation};
use hstratum::payout::hsd::HsdAddresses;
use hstratum::payout::{AwaitedServers, Scheme, TermsHistory};
use hstratum::sql::Db;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm, parse_hns};
use hstratum_core::chain::address::Network;

use crate::doctor::{check_prefix, node_dir, parse_network};

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
    /// Pay nobody until it is resumed, neither by a server nor by command
    Pause(pause::Args),
    /// End a pause
    Resume(pause::Args),
    /// Show whether payouts are paused, and how the last one ended
    Status(pause::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Plan(args) => plan::run(args),
        Command::Send(args) => send::run(args),
        Command::Pause(args) => pause::run(args, Some(true)),
        Command::Resume(args) => pause::run(args, Some(false)),
        Command::Status(args) => pause::run(args, None),
    }
}

/// Name of this command in the ledger.
const COMMAND: &str = "hstratum payout";

/// The pool, as arguments: its ledger, and its configuration.
#[derive(clap::Args)]
pub(crate) struct PoolArgs {
    /// The ledger: a file, or postgres://… (the password may be in PGPASSWORD) [default: that of
    /// --prefix]
    #[arg(
        long = "ledger",
        display_order = 0,
        value_name = "FILE|URL",
        required_unless_present = "prefix"
    )]
    place: Option<LedgerLocation>,

    /// hsd's prefix: its stratum.conf, hsd.conf and HSD_… name the ledger and the wallet that pays
    #[arg(long, display_order = 0, value_name = "DIR")]
    prefix: Option<PathBuf>,

    /// With --prefix: main, testnet, regtest or simnet
    #[arg(long, display_order = 0, value_name = "NAME", default_value = "main", value_parser = parse_network)]
    network: Network,
}

/// A pool's open ledger, and its configuration where a prefix was given.
pub(crate) struct Pool {
    pub(crate) place: LedgerLocation,
    pub(crate) db: Db,
    pub(crate) network: Network,
    pub(crate) config: Option<Config>,
}

impl PoolArgs {
    /// Opens the ledger.
    pub(crate) fn open(&self) -> anyhow::Result<Pool> {
        let settings = self.prefix.as_ref().map(|prefix| self.settings(prefix));
        let settings = settings.transpose()?;
        let configured = settings.as_ref().and_then(Settings::ledger);
        let place = self.place.clone().or(configured);
        let place = place.expect("one of the two is required");
        let mut db = place.open()?;
        Ok(Pool {
            network: ledger_tools::network(&mut db)?,
            config: settings.map(|settings| settings.config),
            place,
            db,
        })
    }

    fn settings(&self, prefix: &Path) -> anyhow::Result<Settings> {
        check_prefix(prefix, self.network)?;
        let dir = node_dir(prefix.to_owned(), self.network);
        Ok(Settings {
            config: options_of(&dir, &environment())?,
            network: self.network,
            dir: Some(dir.join("stratum")),
            hsd: HsdAddresses::default(),
        })
    }
}

/// Terms that are used instead of the pool's, as arguments.
#[derive(clap::Args)]
pub(crate) struct TermsArgs {
    /// How a reward is divided [default: the pool's]
    #[arg(long, display_order = 1)]
    scheme: Option<SchemeName>,

    /// For pplns: how much work before each block is paid, in network difficulties. 2 is usual, the
    /// work of two blocks on average; more evens out what a miner earns, and pays newcomers later
    #[arg(long, display_order = 3, value_name = "X", value_parser = Decimal::parse_positive)]
    window: Option<Decimal>,

    /// The pool's fee, in percent [default: the pool's]
    #[arg(long, display_order = 4, value_name = "PERCENT", value_parser = FeePpm::parse_percent)]
    fee: Option<FeePpm>,

    /// The balance from which an account is paid [default: the pool's]
    #[arg(long, display_order = 5, value_name = "HNS", value_parser = parse_hns)]
    threshold: Option<u64>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SchemeName {
    /// Over the work since the pool's last block
    Prop,
    /// Over the last work before each block
    Pplns,
}

/// The terms of a run, and what of them flags have changed.
pub(crate) struct RunTerms {
    pub(crate) history: TermsHistory,
    /// As in `fee 2 % instead of the pool's 1 %`.
    pub(crate) overrides: Vec<String>,
}

impl TermsArgs {
    /// The scheme that was given, if the arguments go together.
    pub(crate) fn scheme(&self) -> anyhow::Result<Option<Scheme>> {
        match (self.scheme, self.window) {
            (Some(SchemeName::Prop), None) => Ok(Some(Scheme::Prop)),
            (Some(SchemeName::Pplns), Some(window)) => Ok(Some(Scheme::Pplns { window })),
            (Some(SchemeName::Prop), Some(_)) => bail!("--window is for --scheme pplns only"),
            (Some(SchemeName::Pplns), None) => {
                bail!("--scheme pplns needs --window, e.g. --window 2")
            }
            (None, _) => Ok(None),
        }
    }

    /// The terms of the ledger, else those of the configuration, with what flags say instead.
    pub(crate) fn of(&self, pool: &mut Pool) -> anyhow::Result<RunTerms> {
        let scheme = self.scheme()?;
        let configured = pool.config.as_ref().map(|config| config.terms);
        let pools = match pool.db.read(TermsHistory::read)? {
            Some(history) => Some(history),
            None => configured.map(TermsHistory::always),
        };
        let history = match (&pools, scheme) {
            (Some(pools), _) => pools.clone(),
            (None, Some(_)) => TermsHistory::always(Config::parse(&[])?.terms),
            (None, None) => bail!(
                "the ledger has no terms yet, which a server writes at its start: give --scheme, or \
                 --prefix"
            ),
        };
        if let (None, Some(_), Scheme::Prop) = (scheme, self.window, history.newest().scheme) {
            bail!("--window is for --scheme pplns only, and the pool's is prop");
        }
        let history = history.changed(|terms| {
            if let Some(scheme) = scheme {
                terms.scheme = scheme;
            } else if let (Some(window), Scheme::Pplns { .. }) = (self.window, terms.scheme) {
                terms.scheme = Scheme::Pplns { window };
            }
            terms.fee = self.fee.unwrap_or(terms.fee);
            terms.threshold = self.threshold.unwrap_or(terms.threshold);
            terms.threshold_min = terms.threshold_min.min(terms.threshold);
        });
        let of_pool = pools.as_ref().map(TermsHistory::newest);
        let overrides = of_pool.map(|pools| history.newest().differences(pools, "the pool's "));
        Ok(RunTerms {
            overrides: overrides.unwrap_or_default(),
            history,
        })
    }
}

impl RunTerms {
    /// Lines about the terms, for people.
    pub(crate) fn in_words(&self) -> String {
        let mut text = format!("{}\n", self.history.newest());
        if !self.overrides.is_empty() {
            text += &format!("By flags: {}\n", self.overrides.join(", "));
        }
        text
    }
}

/// Unix seconds.
fn now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("failed to read the clock")?.as_secs())
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
