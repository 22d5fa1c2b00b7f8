//! `hstratum doctor`: what it takes, and how findings are shown.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use hstratum::doctor::{CheckedPart, Finding, FindingSeverity, Setup, environment, examine};
use hstratum::payout::hsd::Url;
use hstratum::secret::Secret;
use hstratum::stratum_url::StratumUrl;
use hstratum_core::chain::address::Network;
use serde_json::json;

use crate::payout::NODE_KEY;
use crate::terminal::{print, print_json};

/// Arguments of `hstratum doctor`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hstratum doctor
  hstratum doctor --network regtest --prefix run
  hstratum doctor --url stratum+tcp://pool.example.com:3008

With --url alone only that server is tried, as from a miner's place. \
A node that runs tells the options it was given; of one that does not, flags cannot be seen. Nothing \
is changed without --mine.

Exit code: 0 without problems, also where there are warnings; else 1.

Environment:
  HSTRATUM_NODE_API_KEY       the node's API key, where hsd.conf does not have it
  HSTRATUM_PASSWORD           the password of --user
  HSD_…                       as hsd reads it")]
pub(crate) struct Args {
    /// The server to try: stratum+tcp://HOST:PORT, or stratum+tls:// (its certificate is not checked)
    /// [default: the one that is configured]
    #[arg(long)]
    url: Option<StratumUrl>,

    /// hsd's prefix [default: ~/.hsd]
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,

    /// main, testnet, regtest or simnet
    #[arg(long, value_name = "NAME", default_value = "main", value_parser = parse_network)]
    network: Network,

    /// hsd's node [default: where hsd.conf says, or its usual port on this machine]
    #[arg(long, value_name = "URL")]
    node_url: Option<Url>,

    /// The account to log in as
    #[arg(long)]
    user: Option<String>,

    /// Its password
    #[arg(
        long,
        default_value = "x",
        env = "HSTRATUM_PASSWORD",
        hide_env_values = true
    )]
    password: String,

    /// Mine a share, too: on regtest. It is credited to --user, and may be a block
    #[arg(long, requires = "user")]
    mine: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn parse_network(name: &str) -> Result<Network, String> {
    Network::from_name(name).ok_or_else(|| "expected main, testnet, regtest or simnet".into())
}

/// Runs the command; exit code 1 where there is a problem.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = examine(&setup(args)?);
    if args.json {
        print_json(&as_json(&findings))?;
    } else {
        print(&as_text(&findings, io::stdout().is_terminal()))?;
    }
    Ok(match count(&findings, FindingSeverity::Problem) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn setup(args: &Args) -> anyhow::Result<Setup> {
    let dir = match (&args.prefix, &args.url) {
        (Some(prefix), _) => Some(prefix.clone()),
        (None, Some(_)) => None,
        (None, None) => {
            let home = env::home_dir().context("there is no home directory: give --prefix")?;
            Some(home.join(".hsd"))
        }
    };
    if let Some(prefix) = &args.prefix {
        check_prefix(prefix, args.network)?;
    }
    let dir = dir.map(|prefix| node_dir(prefix, args.network));
    let others = others(args, dir.as_deref());
    Ok(Setup {
        network: args.network,
        dir,
        server: args.url.as_ref().map(|url| (url.to_string(), url.tls())),
        others,
        mines: args.mine,
        node_url: args.node_url.clone(),
        node_key: Secret::of_environment(NODE_KEY)?,
        environment: environment(),
        user: args.user.clone(),
        password: args.password.clone(),
        running: None,
    })
}

/// The directory of a network's node.
pub(crate) fn node_dir(prefix: PathBuf, network: Network) -> PathBuf {
    match network {
        Network::Main => prefix,
        network => prefix.join(network.name()),
    }
}

/// A prefix that was given is there, and is not a network's directory below one.
pub(crate) fn check_prefix(prefix: &Path, network: Network) -> anyhow::Result<()> {
    let shown = prefix.display();
    ensure!(prefix.is_dir(), "--prefix {shown}: no such directory");
    let name = prefix.file_name().and_then(OsStr::to_str);
    let own = name.and_then(Network::from_name);
    let Some(own) = own.filter(|own| *own != Network::Main && has_chain(prefix)) else {
        return Ok(());
    };
    if network != Network::Main && has_chain(&prefix.join(network.name())) {
        return Ok(());
    }
    let above = prefix.parent().filter(|above| *above != Path::new(""));
    bail!(
        "{shown} is the directory of {own}: did you mean --prefix {} --network {own}?",
        above.unwrap_or(Path::new(".")).display(),
        own = own.name()
    );
}

fn has_chain(dir: &Path) -> bool {
    dir.join("chain").is_dir() || dir.join("stratum").is_dir()
}

/// The networks that have a chain below the prefix, where the one that is asked for has none.
fn others(args: &Args, dir: Option<&Path>) -> Vec<Network> {
    let Some(dir) = dir.filter(|dir| !has_chain(dir)) else {
        return Vec::new();
    };
    let prefix = match args.network {
        Network::Main => dir,
        _ => dir.parent().unwrap_or(dir),
    };
    let all = Network::ALL.into_iter().filter(|one| *one != args.network);
    all.filter(|one| match one {
        Network::Main => has_chain(prefix),
        one => has_chain(&prefix.join(one.name())),
    })
    .collect()
}

fn count(findings: &[Finding], severity: FindingSeverity) -> usize {
    let same = findings
        .iter()
        .filter(|finding| finding.severity == severity);
    same.count()
}

fn as_json(findings: &[Finding]) -> serde_json::Value {
    let list = findings.iter().map(|finding| {
        json!({
            "part": finding.part.name(),
            "severity": finding.severity.name(),
            "text": finding.text,
            "advice": finding.advice,
        })
    });
    json!({
        "findings": list.collect::<Vec<_>>(),
        "problems": count(findings, FindingSeverity::Problem),
        "warnings": count(findings, FindingSeverity::Warning),
    })
}

/// One line each, and what to do below it, under the names of the parts.
fn as_text(findings: &[Finding], colours: bool) -> String {
    let mut out = String::new();
    for part in CheckedPart::ALL {
        let mut of_part = findings
            .iter()
            .filter(|finding| finding.part == part)
            .peekable();
        if of_part.peek().is_none() {
            continue;
        }
        let _ = writeln!(out, "{}", part.name());
        for finding in of_part {
            let word = paint(finding.severity, colours);
            let _ = writeln!(out, "  {word} {}", clean(&finding.text));
            if let Some(advice) = &finding.advice {
                let _ = writeln!(out, "          → {}", clean(advice));
            }
        }
    }
    let _ = writeln!(out, "\n{}", verdict(findings));
    out
}

/// The word, as wide as the widest.
fn paint(severity: FindingSeverity, colours: bool) -> String {
    let word = format!("{:<7}", severity.name());
    let colour = match severity {
        FindingSeverity::Ok => 32,
        FindingSeverity::Warning => 33,
        FindingSeverity::Problem => 31,
    };
    match colours {
        true => format!("\x1b[{colour}m{word}\x1b[0m"),
        false => word,
    }
}

/// Texts of servers and files are quoted in findings; nothing in them plays with a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn verdict(findings: &[Finding]) -> String {
    let counted = |severity: FindingSeverity| match count(findings, severity) {
        1 => format!("1 {}", severity.name()),
        number => format!("{number} {}s", severity.name()),
    };
    let problems = counted(FindingSeverity::Problem);
    match findings.iter().map(|finding| finding.severity).max() {
        Some(FindingSeverity::Problem) => {
            format!("{problems}, {}", counted(FindingSeverity::Warning))
        }
        Some(FindingSeverity::Warning) => {
            format!("no problems, {}", counted(FindingSeverity::Warning))
        }
        _ => "all is well".to_owned(),
    }
}
