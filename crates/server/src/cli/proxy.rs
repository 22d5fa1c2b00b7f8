//! `hstratum proxy`: one address for miners before several servers.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use hstratum::proxy::control::{self, Order};
use hstratum::proxy::settings::{Options, Settings};

use super::terminal::print_json;

/// What `hstratum proxy` takes.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    order: Option<Ask>,

    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Ask {
    /// Show how a running proxy and its servers are, as JSON
    Status(Place),
    /// Move the miners of a server away, one by one, and send it no more
    Drain(Server),
    /// Send miners to a drained server again
    Fill(Server),
}

#[derive(clap::Args)]
struct Place {
    /// The running proxy's --control
    #[arg(long, value_name = "FILE", env = "HSTRATUM_PROXY_CONTROL")]
    control: PathBuf,
}

#[derive(clap::Args)]
struct Server {
    /// The server, as its --backend has it
    name: String,

    #[command(flatten)]
    place: Place,
}

/// Runs a proxy to its end, or asks a running one.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let (place, order) = match args.order {
        None => {
            let options = args.options.with_file()?;
            return hstratum::proxy::run(Settings::of(options)?);
        }
        Some(Ask::Status(place)) => (place, Order::Status),
        Some(Ask::Drain(server)) => (server.place, Order::Drain(server.name)),
        Some(Ask::Fill(server)) => (server.place, Order::Fill(server.name)),
    };
    let answer = control::ask(&place.control, &order)?;
    if let Some(error) = answer["error"].as_str() {
        bail!("failed to {}: {error}", order.encode());
    }
    print_json(&answer)
}
