//! `hstratum payout send`: settles, pays, and says what it did. Keys and the passphrase come from
//! the environment only.

use std::fmt::Write as _;

use anyhow::ensure;
use hstratum::config::{Config, PayoutConfig};
use hstratum::payer::PASSPHRASE;
use hstratum::payout::hsd::{HsdNode, HsdPart, HsdTimeouts, Url, Wallet};
use hstratum::payout::{
    PayoutLock, PayoutRun, PayoutStep, RunTotals, Sender, Settled, SettlementChange,
};
use hstratum::secret::Secret;
use hstratum_core::accounting::reward_split::parse_hns;
use hstratum_core::chain::address::Network;
use hstratum_core::plural::counted;
use serde_json::{Value, json};

use super::plan::{as_json as plan_json, as_table as plan_table};
use super::{AwaitedServersArgs, COMMAND, Pool, PoolArgs, RunTerms, TermsArgs, now};
use crate::terminal::{Table, hns, print, print_json, shown};

pub(crate) const NODE_KEY: &str = "HSTRATUM_NODE_API_KEY";
const WALLET_KEY: &str = "HSTRATUM_WALLET_API_KEY";

/// Arguments of `hstratum payout send`.
#[derive(clap::Args)]
#[command(
    after_help = "The terms are those of the ledger at each block's height; flags are used instead.

Examples:
  hstratum payout send --prefix ~/.hsd --dry-run
  hstratum payout send --ledger ~/.hsd/stratum/ledger.db --scheme pplns --window 2 --fee 1 --wallet pool

Environment:
  HSTRATUM_NODE_API_KEY       the node's API key, where it has one
  HSTRATUM_WALLET_API_KEY     the wallet's API key, where it has one
  HSTRATUM_WALLET_PASSPHRASE  unlocks the wallet, where it is locked"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pool: PoolArgs,

    #[command(flatten)]
    awaited_servers: AwaitedServersArgs,

    #[command(flatten)]
    terms: TermsArgs,

    /// hsd's node [default: its usual port on this machine]
    #[arg(long, value_name = "URL")]
    node_url: Option<Url>,

    /// hsd's wallet [default: its usual port on this machine]
    #[arg(long, value_name = "URL")]
    wallet_url: Option<Url>,

    /// The wallet that pays [default: payout-wallet of --prefix]
    #[arg(
        long,
        display_order = 2,
        value_name = "ID",
        required_unless_present = "prefix"
    )]
    wallet: Option<String>,

    /// The account of the wallet that pays; the coins of others are not touched [default: payout-account of
    /// --prefix, else default]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,

    /// The most that a transaction may pay to the network [default: payout-max-fee of --prefix, else 10]
    #[arg(long, value_name = "HNS", value_parser = parse_hns)]
    max_fee: Option<u64>,

    /// Show what would be done; changes nothing
    #[arg(long)]
    dry_run: bool,

    /// Print JSON, with amounts in base units
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    args.terms.scheme()?;
    let mut pool = args.pool.open()?;
    let payout = payer(args, pool.config.as_ref())?;
    let terms = args.terms.of(&mut pool)?;
    let awaited_servers = args.awaited_servers.of(&mut pool.db)?;
    let (node, wallet) = connect(args, &payout, pool.network)?;
    let run = PayoutRun {
        sender: Sender {
            node: &node,
            wallet: &wallet,
            network: pool.network,
            fee_max: payout.fee_max,
            now: now()?,
        },
        terms: &terms.history,
        awaited_servers: &awaited_servers,
        by: COMMAND,
    };
    if args.dry_run {
        return foretell(args, &terms, &run, &mut pool);
    }
    let mut lock = PayoutLock::take(&pool.place)?;
    let mut done = RunTotals::default();
    let outcome = run.send(&mut pool.db, &mut lock, &mut done);
    let told = tell(
        args,
        (&pool, &wallet, &terms),
        &done,
        outcome.as_ref().err(),
    );
    outcome.and(told)
}

/// The wallet that pays: that of the configuration, with what flags say instead.
fn payer(args: &Args, config: Option<&Config>) -> anyhow::Result<PayoutConfig> {
    let configured = match config {
        Some(config) => config.payout.clone(),
        None => Config::parse(&[])?.payout,
    };
    let wallet = args.wallet.clone().or(configured.wallet);
    ensure!(
        wallet.is_some(),
        "no wallet pays: give --wallet, or set payout-wallet in stratum.conf"
    );
    Ok(PayoutConfig {
        wallet,
        account: args.account.clone().unwrap_or(configured.account),
        fee_max: args.max_fee.unwrap_or(configured.fee_max),
        every: configured.every,
    })
}

fn connect(
    args: &Args,
    payout: &PayoutConfig,
    network: Network,
) -> anyhow::Result<(HsdNode, Wallet)> {
    let url =
        |given: &Option<Url>, part| given.clone().unwrap_or_else(|| Url::usual(network, part));
    let patience = HsdTimeouts::default();
    let node_url = url(&args.node_url, HsdPart::Node);
    let node = HsdNode::new(
        node_url,
        Secret::of_environment(NODE_KEY)?,
        network,
        patience,
    );
    let wallet = Wallet::new(
        url(&args.wallet_url, HsdPart::Wallet),
        Secret::of_environment(WALLET_KEY)?,
        (
            payout.wallet.as_deref().unwrap_or_default(),
            &payout.account,
        ),
        Secret::of_environment(PASSPHRASE)?,
        patience,
    )?;
    Ok((node, wallet))
}

fn foretell(
    args: &Args,
    terms: &RunTerms,
    run: &PayoutRun<'_>,
    pool: &mut Pool,
) -> anyhow::Result<()> {
    let sender = &run.sender;
    let (first, plan) = run.foretell(&mut pool.db)?;
    let waits = matches!(first, Some(PayoutStep::Waiting { .. }));
    if args.json {
        let mut value = plan_json(&plan);
        value["network"] = sender.network.name().into();
        value["dry_run"] = true.into();
        value["first"] = first.as_ref().map_or(Value::Null, step_json);
        value["would_pay"] = (!waits).into();
        value["overrides"] = terms.overrides.clone().into();
        return print_json(&value);
    }
    let mut text = heading(pool, sender.wallet, terms);
    if let Some(step) = &first {
        let _ = writeln!(text, "First: {step}\n");
    }
    text += &plan_table(&plan);
    text += match first {
        Some(PayoutStep::Waiting { .. }) => "\nNothing would be paid now: one payment at a time.\n",
        Some(PayoutStep::Abandoned { .. } | PayoutStep::Discarded { .. }) => {
            "\nWhat that payment has taken from the balances would first be back in them.\n"
        }
        _ => "",
    };
    text += "\nNothing was changed.\n";
    print(&text)
}

fn heading(pool: &Pool, wallet: &Wallet, terms: &RunTerms) -> String {
    let network = pool.network.name();
    let (place, wallet) = (&pool.place, wallet.id());
    format!(
        "{place} ({network}), wallet {wallet}\n{}\n",
        terms.in_words()
    )
}

fn tell(
    args: &Args,
    (pool, wallet, terms): (&Pool, &Wallet, &RunTerms),
    done: &RunTotals,
    error: Option<&anyhow::Error>,
) -> anyhow::Result<()> {
    if args.json {
        let steps: Vec<Value> = done.steps.iter().map(step_json).collect();
        let settled: Vec<Value> = done.settled.iter().map(settled_json).collect();
        return print_json(&json!({
            "network": pool.network.name(),
            "wallet": wallet.id(),
            "overrides": terms.overrides,
            "settled": settled,
            "incomplete": done.incomplete.iter().map(|(_, hash)| hash).collect::<Vec<_>>(),
            "steps": steps,
            "error": error.map(|error| format!("{error:#}")),
        }));
    }
    let is_nothing = done.steps.is_empty() && done.settled.is_empty() && done.incomplete.is_empty();
    if is_nothing && error.is_some() {
        return Ok(());
    }
    let mut text = heading(pool, wallet, terms);
    for step in &done.steps {
        let _ = writeln!(text, "{step}");
    }
    text.push('\n');
    if !done.settled.is_empty() {
        write_settled(&done.settled, &mut text);
    }
    for (height, hash) in &done.incomplete {
        let _ = writeln!(
            text,
            "Block {height} {hash} is not divided: credit that belongs to it is deleted"
        );
    }
    for step in &done.steps {
        if let PayoutStep::Sent { .. } = step {
            write_paid(step, &mut text);
        }
    }
    print(&text)
}

fn write_settled(settled: &[Settled], out: &mut String) {
    let mut table = Table::new([
        "height",
        "block",
        "",
        "reward",
        "fee",
        "remainder",
        "credited",
        "accounts",
    ]);
    for one in settled {
        table.row([
            one.height.to_string(),
            one.block.clone(),
            change(one.change).to_owned(),
            hns(one.reward),
            hns(one.fee),
            hns(one.remainder),
            hns(one.credited),
            one.accounts.to_string(),
        ]);
    }
    table.write("Blocks", out);
}

fn change(change: SettlementChange) -> &'static str {
    match change {
        SettlementChange::Settled => "settled",
        SettlementChange::Reversed => "reversed",
    }
}

fn write_paid(step: &PayoutStep, out: &mut String) {
    let PayoutStep::Sent {
        network_fee,
        payees,
        ..
    } = step
    else {
        return;
    };
    let mut table = Table::new(["account", "paid", "to"]);
    let mut sum = 0;
    for payee in payees {
        sum += i128::from(payee.amount);
        table.row([shown(&payee.name), hns(payee.amount), payee.address.clone()]);
    }
    table.write("Paid", out);
    let _ = writeln!(
        out,
        "  {} to {}; {} network fee, out of the pool's fees",
        hns(sum),
        counted(payees.len(), "account"),
        hns(*network_fee)
    );
}

/// A step for scripts: amounts in base units.
fn step_json(step: &PayoutStep) -> Value {
    match step {
        PayoutStep::Discarded { payment } => json!({ "step": "discarded", "payment": payment }),
        PayoutStep::Confirmed {
            payment,
            txid,
            depth,
        } => json!({
            "step": "confirmed", "payment": payment, "txid": txid, "depth": depth,
        }),
        PayoutStep::Abandoned {
            payment,
            txid,
            by,
            depth,
        } => json!({
            "step": "abandoned", "payment": payment, "txid": txid, "by": by, "depth": depth,
        }),
        PayoutStep::Waiting {
            payment,
            txid,
            depth,
            needed,
        } => json!({
            "step": "waiting", "payment": payment, "txid": txid, "depth": depth, "needed": needed,
        }),
        PayoutStep::Sent {
            payment,
            txid,
            network_fee,
            payees,
        } => {
            let outputs = payees.iter().map(|payee| {
                json!({ "account": payee.name, "address": payee.address, "amount": payee.amount })
            });
            json!({
                "step": "sent", "payment": payment, "txid": txid, "network_fee": network_fee,
                "outputs": outputs.collect::<Vec<_>>(),
            })
        }
        PayoutStep::Left { accounts, amount } => {
            json!({ "step": "left", "accounts": accounts, "amount": amount })
        }
        PayoutStep::NobodyDue => json!({ "step": "nobody due" }),
    }
}

fn settled_json(one: &Settled) -> Value {
    json!({
        "change": change(one.change), "height": one.height, "block": one.block,
        "reward": one.reward, "fee": one.fee, "remainder": one.remainder,
        "credited": one.credited, "accounts": one.accounts,
    })
}
