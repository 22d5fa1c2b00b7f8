//! `hstratum ledger audit`: the audit trail in words.

use std::time::{Duration, SystemTime};

use hstratum::audit_trail::{RecordedChange, newest};
use hstratum::ledger_tools::LedgerLocation;
use hstratum::sql::Sql;
use serde_json::json;

use crate::terminal::{Table, print, print_json, shown};

/// Characters of a text in the table.
const CELL_CHARS_MAX: usize = 80;

/// Shows the latest changes of accounts, addresses and servers with `search` in their name, or of all.
pub(super) fn show(
    ledger: &LedgerLocation,
    search: Option<&str>,
    limit: u32,
    is_json: bool,
) -> anyhow::Result<()> {
    let search = search.unwrap_or_default();
    let mut db = ledger.open()?;
    let (changes, total) = db.read(|sql: &mut dyn Sql| newest(sql, search, (limit, 0)))?;
    if is_json {
        return print_json(&json!({"total": total, "changes": changes}));
    }
    let mut table = Table::new(["when", "who", "from", "change", "of", "to", "outcome"]);
    for change in &changes {
        table.row([
            date(change.at),
            who(change),
            origin(change),
            change.change.clone(),
            plain(&change.subject),
            plain(&change.detail),
            outcome(change),
        ]);
    }
    let mut text = String::new();
    table.write(
        &format!("Changes ({} of {total})", changes.len()),
        &mut text,
    );
    print(text.trim_end_matches('\n'))?;
    print("\n")
}

/// The operator, or an account: no name of one reads like the other.
fn who(change: &RecordedChange) -> String {
    let account = change.account.as_deref();
    account.map_or("operator".to_owned(), |name| {
        format!("owner of {}", shown(name))
    })
}

/// A time in Unix seconds, in words.
fn date(unix_s: i64) -> String {
    let since = Duration::from_secs(unix_s.try_into().unwrap_or(0));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}

fn origin(change: &RecordedChange) -> String {
    let origin = change
        .origin
        .as_deref()
        .map_or(String::new(), |origin| format!(" {}", shown(origin)));
    format!("{}{origin}", change.via)
}

fn outcome(change: &RecordedChange) -> String {
    let outcome = change.outcome.as_deref().unwrap_or("not known");
    match &change.reason {
        Some(reason) => format!("{outcome}: {}", short(reason)),
        None => outcome.to_owned(),
    }
}

/// A text on one line of a table; the JSON has the whole.
fn short(text: &str) -> String {
    let first: String = text.chars().take(CELL_CHARS_MAX).collect();
    match first.len() < text.len() {
        true => shown(&format!("{first}…")),
        false => shown(text),
    }
}

fn plain(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => short(text),
    }
}
