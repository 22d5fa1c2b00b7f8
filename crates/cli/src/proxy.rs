//! `hstratum proxy`: one address for miners before several servers.

mod options;
mod texts;

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use hstratum::proxy::control::{self, ControlOrder};
use hstratum::proxy::driver::Flags;
use hstratum_core::plural::counted;
use listenfd::ListenFd;
use options::ProxyOptions;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::terminal::{Table, print, print_json, shown};

/// Arguments of `hstratum proxy`.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  hstratum proxy --listen tcp://[::]:3008 --backend 10.0.0.1:3008 --backend 10.0.0.2:3008
  hstratum proxy --config /etc/hstratum/proxy.toml"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    order: Option<Ask>,

    #[command(flatten)]
    options: ProxyOptions,
}

#[derive(Subcommand)]
enum Ask {
    /// Show how a running proxy and its servers are
    #[command(after_help = "Example:
  hstratum proxy status --control /run/hstratum-proxy/control")]
    Status(StatusArgs),
    /// Move the miners of a server away, one by one, and send it no more
    #[command(after_help = "Example:
  hstratum proxy drain 10.0.0.1:3008 --control /run/hstratum-proxy/control")]
    Drain(BackendArgs),
    /// Send miners to a drained server again
    #[command(after_help = "Example:
  hstratum proxy fill 10.0.0.1:3008 --control /run/hstratum-proxy/control")]
    Fill(BackendArgs),
}

#[derive(clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    place: ControlArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ControlArgs {
    /// The running proxy's --control
    #[arg(long, value_name = "FILE", env = "HSTRATUM_PROXY_CONTROL")]
    control: PathBuf,
}

#[derive(clap::Args)]
struct BackendArgs {
    /// The server, as its --backend has it
    name: String,

    #[command(flatten)]
    place: ControlArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs a proxy to its end, or asks a running one.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (place, order, as_json) = match args.order {
        None => {
            let settings = args.options.with_file()?.settings()?;
            return hstratum::proxy::run(settings, signals()?, sockets_of_systemd);
        }
        Some(Ask::Status(status)) => (status.place, ControlOrder::Status, status.json),
        Some(Ask::Drain(server)) => (server.place, ControlOrder::Drain(server.name), server.json),
        Some(Ask::Fill(server)) => (server.place, ControlOrder::Fill(server.name), server.json),
    };
    let answer = control::ask(&place.control, &order)?;
    if let Some(error) = answer["error"].as_str() {
        bail!("failed to {}: {error}", order.encode());
    }
    if as_json {
        return print_json(&answer);
    }
    print(&match order {
        ControlOrder::Drain(name) => {
            format!("{} gets no more miners; its own move away\n", shown(&name))
        }
        ControlOrder::Fill(name) => format!("{} gets miners again\n", shown(&name)),
        ControlOrder::Status => table(&answer),
    })
}

/// SIGINT and SIGTERM end the proxy, SIGHUP has it read its certificate again.
fn signals() -> anyhow::Result<Flags> {
    let flags = Flags::default();
    for (signal, flag) in [
        (SIGINT, &flags.stop),
        (SIGTERM, &flags.stop),
        (SIGHUP, &flags.reload),
    ] {
        signal_hook::flag::register(signal, flag.clone()).context("failed to handle signals")?;
    }
    Ok(flags)
}

/// Listening sockets that systemd has opened for us.
fn sockets_of_systemd() -> anyhow::Result<Vec<OwnedFd>> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..given.len() {
        let socket = given.take_tcp_listener(at);
        let socket = socket.context("failed to take a socket of systemd")?;
        sockets.extend(socket.map(OwnedFd::from));
    }
    Ok(sockets)
}

/// The servers, and what the proxy has done, for people.
fn table(status: &Value) -> String {
    let mut out = String::new();
    let mut servers = Table::new(["server", "state", "miners", "height", "why"]);
    for server in status["servers"].as_array().into_iter().flatten() {
        let state = match server["drained"].as_bool() {
            Some(true) => "drained".to_owned(),
            _ => text(&server["state"]),
        };
        servers.row([
            text(&server["name"]),
            state,
            text(&server["miners"]),
            text(&server["height"]),
            text(&server["reason"]),
        ]);
    }
    servers.write("Servers", &mut out);
    for (what, value) in sums(status) {
        let _ = writeln!(out, "{what:<8} {value}");
    }
    out
}

/// Counts over all servers, a line each.
fn sums(status: &Value) -> [(&'static str, String); 5] {
    let (shares, places, moves) = (&status["shares"], &status["places"], &status["moves"]);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    [
        (
            "miners",
            format!(
                "{}, of {} places {} are taken",
                number(&status["miners"]),
                number(&places["all"]),
                number(&places["taken"])
            ),
        ),
        (
            "shares",
            format!(
                "{} accepted, {} refused by servers, {} by the proxy during moves",
                number(&shares["accepted"]),
                number(&shares["refused"]),
                number(&shares["refused_stale"]) + number(&shares["refused_in_flight"])
            ),
        ),
        (
            "moved",
            format!(
                "{} since their server was lost, {} from one that was up",
                number(&moves["server_lost"]),
                number(&moves["server_left"])
            ),
        ),
        (
            "reset",
            format!(
                "{} since no server took them",
                counted(number(&status["reset"]), "miner")
            ),
        ),
        (
            "refused",
            format!(
                "{} and {}",
                counted(number(&status["refused_logins"]), "login"),
                counted(
                    number(&places["refused_full"])
                        + number(&places["refused_per_address"])
                        + number(&places["refused_descriptors"]),
                    "connection"
                )
            ),
        ),
    ]
}

/// A value as a cell.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => shown(text),
        other => other.to_string(),
    }
}
