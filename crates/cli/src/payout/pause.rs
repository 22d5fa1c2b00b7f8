//! `hstratum payout pause`, `resume` and `status`: orders to all servers and commands of a pool, by its ledger.

use std::fmt::Write as _;

use anyhow::Context;
use hstratum::audit_trail::{Actor, AuditRecord, Change};
use hstratum::payout::{LastRun, Pause, PayoutRecord, pause, resume};
use hstratum::sql::SqlError;
use serde_json::json;

use super::{COMMAND, PoolArgs, now};
use crate::terminal::{print, print_json, shown};

/// Arguments of the three.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hstratum payout pause --prefix ~/.hsd
  hstratum payout status --ledger ~/.hsd/stratum/ledger.db")]
pub(crate) struct Args {
    #[command(flatten)]
    pool: PoolArgs,

    /// Print JSON, with times in Unix seconds
    #[arg(long)]
    json: bool,
}

/// Pauses, resumes, or changes nothing; then shows the state.
pub(super) fn run(args: &Args, set_paused: Option<bool>) -> anyhow::Result<()> {
    let mut pool = args.pool.open()?;
    let unix_s = now()?;
    if let Some(is_paused) = set_paused {
        let new = Pause {
            at: unix_s,
            by: COMMAND.to_owned(),
        };
        let record = AuditRecord {
            by: Actor::command(),
            server: String::new(),
            change: Change::payouts(is_paused),
        };
        pool.db
            .write(|sql| -> Result<(), SqlError> {
                match is_paused {
                    true => pause(sql, &new)?,
                    false => resume(sql)?,
                }
                record.write_done(sql)
            })
            .context("failed to write to the ledger")?;
    }
    let record = pool.db.read(PayoutRecord::read);
    let record = record.context("failed to read the ledger")?;
    if args.json {
        return print_json(&json!({
            "paused_at": record.paused.as_ref().map(|pause| pause.at),
            "paused_by": record.paused.as_ref().map(|pause| &pause.by),
            "last_run_at": record.last_run.as_ref().map(|last| last.at),
            "last_run_by": record.last_run.as_ref().map(|last| &last.by),
            "failure": record.last_run.as_ref().and_then(|last| last.failure.as_ref()),
        }));
    }
    print(&in_words(&record, unix_s))
}

fn in_words(record: &PayoutRecord, unix_s: u64) -> String {
    let ago = |at: u64| in_units(unix_s.saturating_sub(at));
    let mut text = match &record.paused {
        Some(Pause { at, by }) => {
            format!("Payouts are paused, for {} by {}\n", ago(*at), shown(by))
        }
        None => "Payouts are not paused\n".to_owned(),
    };
    match &record.last_run {
        None => text += "There was none yet\n",
        Some(LastRun { at, by, failure }) => {
            let _ = writeln!(
                text,
                "The last one began {} ago, by {}",
                ago(*at),
                shown(by)
            );
            text += &match failure {
                Some(reason) => format!("It failed: {}\n", shown(reason)),
                None => "It came to its end\n".to_owned(),
            };
        }
    }
    text
}

/// A time in the largest unit of which it has two.
fn in_units(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
