//! `hstratum ledger`: what an operator does with a ledger, also while the server runs.

mod audit;
mod report;

use hstratum_core::accounting::reward_split::parse_hns;
use hstratum_core::plural::counted;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use hstratum::ledger_tools::{self, BlockChoice, Imported, LedgerLocation, Paid};
use hstratum::payout::hsd::{HsdNode, HsdPart, HsdTimeouts, Url};
use hstratum::payout::{PayoutLock, check_node, prune};
use hstratum::secret::Secret;

use crate::payout::{LedgerArgs, NODE_KEY};
use crate::terminal::{hns, print};

/// Arguments of `hstratum ledger`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Take in the shares/*.json files of a JavaScript hstratum
    #[command(after_help = "Example:
  hstratum ledger import --ledger ~/.hsd/stratum/ledger.db ~/old/shares/*.json")]
    Import {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// These blocks were paid already: they are never divided again
        #[arg(long)]
        paid: bool,

        /// The files
        #[arg(required = true, value_name = "FILES")]
        files: Vec<PathBuf>,
    },
    /// Check the ledger for errors; exit code 1 if there are any
    #[command(after_help = "Example:
  hstratum ledger check --ledger ~/.hsd/stratum/ledger.db")]
    Check {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// The directory of the share dumps, to check them too
        #[arg(long, value_name = "DIR")]
        shares: Option<PathBuf>,
    },
    /// Copy the ledger, also while the server writes to it
    #[command(after_help = "Example:
  hstratum ledger backup --ledger ~/.hsd/stratum/ledger.db --to ~/ledger-copy.db")]
    Backup {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// The copy, which must not exist
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Show the pool's terms, rounds and luck, accounts, workers
    #[command(after_help = "Example:
  hstratum ledger report --ledger ~/.hsd/stratum/ledger.db")]
    Report {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// Print JSON, with amounts in base units
        #[arg(long)]
        json: bool,
    },
    /// Show who has changed what, when and from where, the latest first
    #[command(after_help = "Example:
  hstratum ledger audit --ledger ~/.hsd/stratum/ledger.db alice")]
    Audit {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// Only those with this in the account, address, server or new value
        search: Option<String>,

        /// Changes to show, at most
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u32,

        /// Print JSON, with times in Unix seconds
        #[arg(long)]
        json: bool,
    },
    /// Set where an account is paid
    #[command(
        override_usage = "hstratum ledger address --ledger <FILE|URL> <ACCOUNT> <ADDRESS>
       hstratum ledger address --ledger <FILE|URL> <ACCOUNT> --clear",
        after_help = "Examples:
  hstratum ledger address --ledger ~/.hsd/stratum/ledger.db alice hs1q…
  hstratum ledger address --ledger ~/.hsd/stratum/ledger.db alice --clear"
    )]
    Address {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// The account
        account: String,

        /// Where it is paid; not with --clear
        address: Option<String>,

        /// Forget the address that was set
        #[arg(long, conflicts_with = "address")]
        clear: bool,
    },
    /// Set the balance from which an account is paid
    #[command(
        override_usage = "hstratum ledger threshold --ledger <FILE|URL> <ACCOUNT> <HNS>
       hstratum ledger threshold --ledger <FILE|URL> <ACCOUNT> --clear",
        after_help = "Examples:
  hstratum ledger threshold --ledger ~/.hsd/stratum/ledger.db alice 50
  hstratum ledger threshold --ledger ~/.hsd/stratum/ledger.db alice --clear"
    )]
    Threshold {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// The account
        account: String,

        /// The balance, not below threshold-min of the pool; not with --clear
        #[arg(value_name = "HNS", value_parser = parse_hns)]
        threshold: Option<u64>,

        /// Pay from the pool's threshold on
        #[arg(long, conflicts_with = "threshold")]
        clear: bool,
    },
    /// Write a block's share dump, whichever server found the block
    #[command(after_help = "Example:
  hstratum ledger dump --ledger ~/.hsd/stratum/ledger.db --dir /tmp 123456")]
    Dump {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// The block
        #[arg(value_name = "HASH|HEIGHT", value_parser = BlockChoice::parse)]
        block: BlockChoice,

        /// The directory of the file
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Delete credit that was divided long ago
    #[command(after_help = "Example:
  hstratum ledger prune --ledger ~/.hsd/stratum/ledger.db")]
    Prune {
        #[command(flatten)]
        ledger: LedgerArgs,

        /// hsd's node, which is asked first (its API key: HSTRATUM_NODE_API_KEY) [default: its usual
        /// port on this machine]
        #[arg(long, value_name = "URL")]
        node_url: Option<Url>,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Import {
            ledger,
            paid,
            files,
        } => {
            let paid = if *paid { Paid::Elsewhere } else { Paid::NotYet };
            import(ledger, paid, files)
        }
        Command::Check { ledger, shares } => check(&ledger.place, shares.as_deref()),
        Command::Backup { ledger, to } => {
            let LedgerLocation::File(path) = &ledger.place else {
                bail!("a shared ledger is copied by pg_dump, see docs/operating.md");
            };
            ledger_tools::backup(path, to)?;
            print(&format!("copied to {}\n", to.display()))
        }
        Command::Report { ledger, json: true } => report::show_json(&ledger.place),
        Command::Report { ledger, .. } => report::show_tables(&ledger.place),
        Command::Audit {
            ledger,
            search,
            limit,
            json,
        } => audit::show(&ledger.place, search.as_deref(), *limit, *json),
        Command::Threshold {
            ledger,
            account,
            threshold,
            clear,
        } => threshold_of(ledger, account, *threshold, *clear),
        Command::Address {
            ledger,
            account,
            address,
            clear,
        } => {
            if address.is_none() && !clear {
                bail!("give the ADDRESS at which {account:?} is to be paid, or --clear");
            }
            let mut db = ledger.place.open()?;
            ledger_tools::set_address(&mut db, account, address.as_deref())?;
            print(&match address {
                Some(address) => format!("{account:?} is paid at {address}\n"),
                None => format!("{account:?} has no address set\n"),
            })
        }
        Command::Dump { ledger, block, dir } => {
            let name = ledger_tools::dump(&mut ledger.place.open()?, *block, dir)?;
            print(&format!("{}\n", dir.join(name).display()))
        }
        Command::Prune { ledger, node_url } => {
            let _lock = PayoutLock::take(&ledger.place)?;
            let mut db = ledger.place.open()?;
            let network = ledger_tools::network(&mut db)?;
            let url = node_url.clone();
            let url = url.unwrap_or_else(|| Url::usual(network, HsdPart::Node));
            let key = Secret::of_environment(NODE_KEY)?;
            let node = HsdNode::new(url, key, network, HsdTimeouts::default());
            check_node(&mut db, &node)?;
            let rows = prune(&mut db, network)?;
            print(&format!("deleted {}\n", counted(rows, "row")))
        }
    }
}

fn check(ledger: &LedgerLocation, shares: Option<&Path>) -> anyhow::Result<()> {
    let found = ledger_tools::check(&mut ledger.open()?, shares)?;
    let mut lines = found.errors.clone();
    lines.extend(
        found
            .observations
            .iter()
            .map(|note| format!("note: {note}")),
    );
    let count = found.errors.len();
    if count == 0 {
        lines.push("all is well".to_owned());
    }
    print(&(lines.join("\n") + "\n"))?;
    if count > 0 {
        bail!("{} in {ledger}", counted(count, "error"));
    }
    Ok(())
}

/// Sets an account's own threshold, or removes it.
fn threshold_of(
    ledger: &LedgerArgs,
    account: &str,
    threshold: Option<u64>,
    clear: bool,
) -> anyhow::Result<()> {
    if threshold.is_none() && !clear {
        bail!("give the HNS from which {account:?} is to be paid, or --clear");
    }
    let mut db = ledger.place.open()?;
    ledger_tools::set_threshold(&mut db, account, threshold)?;
    print(&match threshold {
        Some(threshold) => format!("{account:?} is paid from {} HNS on\n", hns(threshold)),
        None => format!("{account:?} is paid from the pool's threshold on\n"),
    })
}

fn import(ledger: &LedgerArgs, paid: Paid, files: &[PathBuf]) -> anyhow::Result<()> {
    let outcomes = ledger_tools::import(&ledger.place, files, paid, now_unix_s()?)?;
    let (mut refused, mut taken) = (0, 0);
    let mut text = String::new();
    for (file, outcome) in files.iter().zip(&outcomes) {
        let what = match outcome {
            Imported::New { height, accounts } => {
                taken += 1;
                format!(
                    "block {height} with the work of {}",
                    counted(*accounts, "account")
                )
            }
            Imported::WithoutWork { height, there } => {
                taken += 1;
                format!("block {height} without its work, which is not counted twice: {there}")
            }
            Imported::MarkedPaid => "known; now marked as paid".into(),
            Imported::Known => "known".into(),
            Imported::Refused(error) => {
                refused += 1;
                format!("refused: {error:#}")
            }
        };
        text += &format!("{:?}: {what}\n", file.display().to_string());
    }
    print(&text)?;
    match refused {
        0 => Ok(()),
        _ => bail!(
            "refused {refused} of {}; taken: {}",
            counted(files.len(), "file"),
            counted(taken, "block")
        ),
    }
}

/// The clock, in Unix seconds.
pub(crate) fn now_unix_s() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}
