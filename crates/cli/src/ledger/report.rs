//! `hstratum ledger report`: tables for people, JSON for scripts.

use std::fmt::Write as _;

use hstratum::ledger_tools::{
    Activity, BlockReport, LedgerLocation, LedgerReport, RATE_SPANS_S, report,
};
use serde_json::{Value, json};

use super::now_unix_s;
use crate::terminal::{Table, hns, print, print_json, shown};
use hstratum_core::plural::counted;

/// The names of [`RATE_SPANS_S`].
const RATE_NAMES: [&str; RATE_SPANS_S.len()] = ["10 min", "1 h", "24 h"];

pub(super) fn show_tables(ledger: &LedgerLocation) -> anyhow::Result<()> {
    let report = read(ledger)?;
    let head = format!("{ledger} ({})\n", report.network.name());
    print(&(head + &as_table(&report)))
}

pub(super) fn show_json(ledger: &LedgerLocation) -> anyhow::Result<()> {
    print_json(&as_json(&read(ledger)?))
}

fn read(ledger: &LedgerLocation) -> anyhow::Result<LedgerReport> {
    report(&mut ledger.open()?, now_unix_s()?)
}

fn as_table(report: &LedgerReport) -> String {
    let mut out = String::new();
    let open = &report.open;
    if let Some(newest) = report.terms.last() {
        let _ = writeln!(out, "newest terms: {}", newest.terms);
    }
    let _ = writeln!(
        out,
        "open round from height {} on: {}, work {}, effort {}\npool's own: {} HNS\n",
        open.from_height,
        counted(open.shares, "share"),
        open.work,
        percent(open.effort),
        hns(report.pool_balance)
    );
    write_terms(report, &mut out);
    let mut table = Table::new([
        "height", "hash", "state", "reward", "effort", "luck", "divided",
    ]);
    for block in &report.blocks {
        table.row([
            block.height.to_string(),
            block.hash.clone(),
            block.state.clone(),
            hns(block.reward),
            block.effort.map_or("-".into(), percent),
            luck(block.effort).map_or("-".into(), percent),
            divided(block).to_owned(),
        ]);
    }
    table.write("Blocks", &mut out);
    write_accounts(report, &mut out);
    let mut table = Table::new([
        "worker",
        "accepted",
        "stale",
        "low",
        "duplicate",
        RATE_NAMES[0],
        RATE_NAMES[1],
        RATE_NAMES[2],
    ]);
    for worker in &report.workers {
        let name = match &*worker.name {
            "" => shown(&worker.account),
            name => format!("{}.{}", shown(&worker.account), shown(name)),
        };
        let activity = &worker.activity;
        let [short, middle, long] = activity.rates.map(rate);
        table.row([
            name,
            activity.accepted.to_string(),
            activity.stale.to_string(),
            activity.low.to_string(),
            activity.duplicate.to_string(),
            short,
            middle,
            long,
        ]);
    }
    table.write("Workers", &mut out);
    out
}

fn write_terms(report: &LedgerReport, out: &mut String) {
    let mut table = Table::new([
        "from height",
        "scheme",
        "fee",
        "threshold",
        "threshold-min",
        "set by",
    ]);
    for row in &report.terms {
        let terms = &row.terms;
        table.row([
            row.from_height.to_string(),
            terms.scheme.to_string(),
            terms.fee.to_string(),
            hns(terms.threshold),
            hns(terms.threshold_min),
            shown(&row.set_by),
        ]);
    }
    table.write("Terms", out);
}

fn write_accounts(report: &LedgerReport, out: &mut String) {
    let mut table = Table::new([
        "account",
        "credited",
        "paid",
        "balance",
        "accepted",
        RATE_NAMES[0],
        RATE_NAMES[1],
        RATE_NAMES[2],
        "threshold",
        "address",
    ]);
    for account in &report.accounts {
        let [short, middle, long] = account.activity.rates.map(rate);
        table.row([
            shown(&account.name),
            hns(account.credited),
            hns(account.paid),
            hns(account.balance),
            account.activity.accepted.to_string(),
            short,
            middle,
            long,
            account.threshold.map_or("-".into(), hns),
            account.address.as_deref().map_or("-".into(), shown),
        ]);
    }
    table.write("Accounts", out);
}

/// Text about what became of a block's reward.
fn divided(block: &BlockReport) -> &'static str {
    match (&*block.payout, block.settled) {
        ("operator", true) => "yes",
        ("operator", false) => "no",
        _ => "paid by its coinbase",
    }
}

fn as_json(report: &LedgerReport) -> Value {
    let blocks = report.blocks.iter().map(|block| {
        json!({
            "height": block.height, "hash": block.hash, "state": block.state,
            "reward": block.reward, "found_at": block.found_at, "effort": block.effort,
            "luck": luck(block.effort), "settled": block.settled, "payout": block.payout,
        })
    });
    let terms = report.terms.iter().map(|row| {
        let window = row.terms.scheme.window();
        json!({
            "from_height": row.from_height, "scheme": row.terms.scheme.name(),
            "window": (!window.is_empty()).then_some(window),
            "fee": f64::from(row.terms.fee.get()) / 10_000.0,
            "threshold": row.terms.threshold, "threshold_min": row.terms.threshold_min,
            "set_at": row.set_at, "set_by": row.set_by,
        })
    });
    let accounts = report.accounts.iter().map(|account| {
        let mut value = activity_json(&account.activity);
        value["account"] = account.name.as_str().into();
        value["address"] = account.address.as_deref().into();
        value["threshold"] = account.threshold.into();
        value["credited"] = account.credited.into();
        value["paid"] = account.paid.into();
        value["balance"] = account.balance.into();
        value
    });
    let workers = report.workers.iter().map(|worker| {
        let mut value = activity_json(&worker.activity);
        value["account"] = worker.account.as_str().into();
        value["worker"] = worker.name.as_str().into();
        value
    });
    json!({
        "network": report.network.name(),
        "terms": terms.collect::<Vec<_>>(),
        "pool_balance": report.pool_balance,
        "open_round": {
            "from_height": report.open.from_height, "shares": report.open.shares,
            "work": report.open.work, "effort": report.open.effort,
        },
        "blocks": blocks.collect::<Vec<_>>(),
        "accounts": accounts.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

fn activity_json(activity: &Activity) -> Value {
    let [short, middle, long] = activity.rates;
    json!({
        "accepted": activity.accepted, "stale": activity.stale, "low": activity.low,
        "duplicate": activity.duplicate,
        "hashrate": {"10m": short, "1h": middle, "24h": long},
    })
}

/// The work expected over the work that it took. Nothing can be said of a round without work.
fn luck(effort: Option<f64>) -> Option<f64> {
    effort
        .filter(|effort| *effort > 0.0)
        .map(|effort| 1.0 / effort)
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

fn rate(hashes: f64) -> String {
    const UNITS: [&str; 6] = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s"];
    let mut value = hashes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_unit_that_fits() {
        assert_eq!(rate(0.0), "0.00 H/s");
        assert_eq!(rate(34_359_738_368.0), "34.36 GH/s");
        assert_eq!(rate(1.5e19), "15000.00 PH/s");
    }

    #[test]
    fn luck_is_the_inverse_of_effort() {
        assert_eq!(luck(Some(0.5)), Some(2.0));
        assert_eq!(luck(Some(0.0)), None);
        assert_eq!(luck(None), None);
    }
}
