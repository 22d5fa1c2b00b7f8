//! `hstratum payout plan`: a table that a person can check, or JSON.

use std::fmt::Write as _;
use std::time::Duration;

use hstratum::payout::hsd::{HsdNode, HsdPart, HsdTimeouts, Url};
use hstratum::payout::{BalanceOutcome, PayoutPlan, PlanTotals, check_agreement, check_node, plan};
use hstratum::secret::Secret;
use hstratum::sql::Db;
use serde_json::{Value, json};

use super::{AwaitedServersArgs, NODE_KEY, PoolArgs, TermsArgs};
use crate::terminal::{Table, hns, print, print_json, shown};
use hstratum_core::chain::address::Network;
use hstratum_core::plural::counted;

/// The longest wait for a node's answer here.
const NODE_PATIENCE: Duration = Duration::from_secs(3);

/// Arguments of `hstratum payout plan`.
#[derive(clap::Args)]
#[command(
    after_help = "The terms are those of the ledger at each block's height; flags are used instead.

Examples:
  hstratum payout plan --prefix ~/.hsd
  hstratum payout plan --ledger ~/.hsd/stratum/ledger.db --scheme prop --fee 1

Environment:
  HSTRATUM_NODE_API_KEY       the node's API key, where it has one"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pool: PoolArgs,

    #[command(flatten)]
    awaited_servers: AwaitedServersArgs,

    #[command(flatten)]
    terms: TermsArgs,

    /// hsd's node, which is asked whether `payout send` would pay now; one that does not answer is
    /// passed over [default: its usual port on this machine]
    #[arg(long, value_name = "URL")]
    node_url: Option<Url>,

    /// Print JSON, with amounts in base units
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    args.terms.scheme()?;
    let mut pool = args.pool.open()?;
    let terms = args.terms.of(&mut pool)?;
    let network = pool.network;
    let awaited_servers = args.awaited_servers.of(&mut pool.db)?;
    let plan = plan(&mut pool.db, network, &terms.history, &awaited_servers)?;
    if args.json {
        let newest = terms.history.newest();
        let mut value = as_json(&plan);
        value["network"] = network.name().into();
        value["terms"] = json!({
            "scheme": newest.scheme.name(),
            "window": newest.scheme.window(),
            "fee_ppm": newest.fee.get(),
            "threshold": newest.threshold,
            "overrides": terms.overrides,
        });
        print_json(&value)
    } else {
        let mut text = format!("{} ({})\n", pool.place, network.name());
        let _ = writeln!(text, "{}", terms.in_words());
        text += &as_table(&plan);
        if let Some(refusal) = refusal(args, &mut pool.db, network)? {
            let _ = writeln!(text, "payout send would pay nothing now: {refusal}");
        }
        print(&text)
    }
}

/// Why `payout send` would pay nothing, as far as servers and a node say; none where no node answers.
fn refusal(args: &Args, db: &mut Db, network: Network) -> anyhow::Result<Option<String>> {
    if let Err(error) = check_agreement(db) {
        return Ok(Some(format!("{error:#}")));
    }
    let url = args.node_url.clone();
    let url = url.unwrap_or_else(|| Url::usual(network, HsdPart::Node));
    let patience = HsdTimeouts {
        call: NODE_PATIENCE,
        create: NODE_PATIENCE,
    };
    let node = HsdNode::new(url, Secret::of_environment(NODE_KEY)?, network, patience);
    if node.status().is_err() {
        return Ok(None);
    }
    Ok(check_node(db, &node)
        .err()
        .map(|error| format!("{error:#}")))
}

/// The plan for people: amounts in HNS.
pub(crate) fn as_table(plan: &PayoutPlan) -> String {
    let mut out = match &plan.tip {
        Some(tip) => format!("By the chain up to {} {}\n\n", tip.height.0, tip.hash),
        None => "No node has shown this ledger the chain yet: payouts wait\n\n".to_owned(),
    };
    write_blocks(plan, &mut out);
    if !plan.reversals.is_empty() {
        let mut table = Table::new(["height", "hash", "reward", "credited", "accounts"]);
        for one in &plan.reversals {
            table.row([
                one.height.to_string(),
                one.block.clone(),
                hns(one.reward),
                hns(one.credited),
                one.accounts.to_string(),
            ]);
        }
        table.write("Settlements to be reversed: their block is lost", &mut out);
    }
    let mut table = Table::new(["height", "hash", "reward", "why"]);
    for block in &plan.held {
        let (height, reward) = (block.height.to_string(), hns(block.reward));
        table.row([height, block.hash.clone(), reward, block.reason.text()]);
    }
    table.write("Blocks that wait", &mut out);
    write_servers(plan, &mut out);
    write_accounts(plan, &mut out);
    out
}

fn write_servers(plan: &PayoutPlan, out: &mut String) {
    if plan.servers.is_empty() {
        return;
    }
    let mut table = Table::new(["server", "number", "seen", "shipped up to", ""]);
    for server in &plan.servers {
        table.row([
            shown(&server.label),
            format!("#{}", server.number),
            format!("{} s ago", server.seen.as_secs()),
            server
                .shipped_tip
                .map_or("-".to_owned(), |tip| tip.to_string()),
            if server.is_awaited {
                ""
            } else {
                "not waited for"
            }
            .to_owned(),
        ]);
    }
    table.write("Servers", out);
}

fn write_blocks(plan: &PayoutPlan, out: &mut String) {
    let mut table = Table::new([
        "height",
        "hash",
        "reward",
        "fee",
        "remainder",
        "credited",
        "accounts",
        "shares",
        "from",
    ]);
    for block in &plan.blocks {
        table.row([
            block.height.to_string(),
            block.hash.clone(),
            hns(block.reward),
            hns(block.fee),
            hns(block.remainder),
            hns(block.credited),
            block.credits.len().to_string(),
            block.shares.to_string(),
            block.from_height.to_string(),
        ]);
    }
    table.write("Blocks to be settled", out);
    if !plan.blocks.is_empty() {
        let totals = PlanTotals::of(plan);
        let _ = writeln!(
            out,
            "  {} credited + {} fee + {} remainder = {} reward\n",
            hns(totals.credited),
            hns(totals.fee),
            hns(totals.remainder),
            hns(totals.reward)
        );
    }
}

fn write_accounts(plan: &PayoutPlan, out: &mut String) {
    let mut table = Table::new([
        "account",
        "carried",
        "credited",
        "balance",
        "pays",
        "address, or why not",
    ]);
    for account in &plan.accounts {
        let (pays, to) = match &account.outcome {
            BalanceOutcome::Pays { address, amount } => (*amount, shown(address)),
            BalanceOutcome::Waits(wait) => (0, wait.text().to_owned()),
        };
        table.row([
            shown(&account.name),
            hns(account.carried),
            hns(account.credited),
            hns(account.balance),
            hns(pays),
            to,
        ]);
    }
    table.write("Accounts", out);
    let totals = PlanTotals::of(plan);
    let _ = writeln!(
        out,
        "  {} carried + {} credited = {}: {} to {} now, {} later",
        hns(totals.carried),
        hns(totals.changes),
        hns(totals.balance),
        hns(totals.pays),
        counted(totals.payees, "account"),
        hns(totals.balance - totals.pays)
    );
}

/// The plan for scripts: amounts in base units.
pub(crate) fn as_json(plan: &PayoutPlan) -> Value {
    let blocks = plan.blocks.iter().map(|block| {
        let credits = block.credits.iter();
        let credits =
            credits.map(|(account, amount)| json!({"account": account, "amount": amount}));
        json!({
            "height": block.height, "hash": block.hash, "from_height": block.from_height,
            "shares": block.shares, "reward": block.reward, "fee": block.fee,
            "remainder": block.remainder, "credited": block.credited,
            "credits": credits.collect::<Vec<_>>(),
        })
    });
    let reversals = plan.reversals.iter().map(|one| {
        json!({
            "settlement": one.id, "height": one.height, "hash": one.block,
            "reward": one.reward, "credited": one.credited,
        })
    });
    let held = plan.held.iter().map(|block| {
        json!({
            "height": block.height, "hash": block.hash, "reward": block.reward,
            "why": block.reason.text(),
        })
    });
    let servers = plan.servers.iter().map(|server| {
        json!({
            "server": server.label, "number": server.number, "seen_s_ago": server.seen.as_secs(),
            "shipped_tip": server.shipped_tip, "awaited": server.is_awaited,
        })
    });
    let accounts = plan.accounts.iter().map(|account| {
        let mut value = json!({
            "account": account.name, "carried": account.carried, "credited": account.credited,
            "balance": account.balance,
        });
        match &account.outcome {
            BalanceOutcome::Pays { address, amount } => {
                value["address"] = address.as_str().into();
                value["pays"] = (*amount).into();
            }
            BalanceOutcome::Waits(wait) => {
                value["pays"] = 0.into();
                value["why"] = wait.text().into();
            }
        }
        value
    });
    let tip = plan.tip.map(|tip| {
        json!({
            "height": tip.height.0, "hash": tip.hash.to_string(), "work": tip.work.to_string(),
        })
    });
    json!({
        "tip": tip,
        "blocks": blocks.collect::<Vec<_>>(),
        "reversals": reversals.collect::<Vec<_>>(),
        "held": held.collect::<Vec<_>>(),
        "servers": servers.collect::<Vec<_>>(),
        "accounts": accounts.collect::<Vec<_>>(),
    })
}
