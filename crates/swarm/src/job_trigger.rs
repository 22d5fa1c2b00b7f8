//! Triggers of a new job: a server tells all its miners of it.

use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, anyhow};
use hstratum::payout::hsd::{HsdNode, HsdTimeouts, Url};
use hstratum::secret::Secret;
use hstratum_core::chain::address::Network;

/// The node's API key.
pub(crate) const KEY: &str = "HSTRATUM_NODE_API_KEY";

/// An address of regtest that nobody has the key of.
const ADDRESS: &str = "rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u";

/// Arguments of every such mode: one of these.
#[derive(clap::Args)]
#[group(id = "cause", required = true, multiple = false)]
pub(crate) struct Args {
    /// Connect there for a new job, as the limit server has it
    #[arg(long, value_name = "HOST:PORT")]
    trigger: Option<SocketAddr>,

    /// Have this node, on regtest, mine a block: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    node_url: Option<Url>,
}

/// The way to cause a new job.
pub(crate) enum Trigger {
    Port(SocketAddr),
    Node(Url, Option<Secret>),
}

impl Trigger {
    pub(crate) fn new(args: &Args) -> anyhow::Result<Self> {
        match (args.trigger, &args.node_url) {
            (Some(address), _) => Ok(Self::Port(address)),
            (None, Some(url)) => {
                let key = std::env::var(KEY).ok().map(Secret);
                Ok(Self::Node(url.clone(), key))
            }
            (None, None) => Err(anyhow!("failed to find what causes a job")),
        }
    }

    /// Pulls it; the time is that before. What is left of it goes on in a thread, since miners must
    /// be listened to meanwhile.
    pub(crate) fn pull(&self) -> anyhow::Result<(Instant, Pulled)> {
        let begun = Instant::now();
        let pulled = match self {
            Self::Port(address) => {
                let socket = TcpStream::connect(address);
                Pulled::Connected(
                    socket.with_context(|| format!("failed to connect to {address}"))?,
                )
            }
            Self::Node(url, key) => {
                let patience = HsdTimeouts::default();
                let node = HsdNode::new(url.clone(), key.clone(), Network::Regtest, patience);
                Pulled::Asked(std::thread::spawn(move || node.mine_block(ADDRESS)))
            }
        };
        Ok((begun, pulled))
    }
}

/// A trigger that was pulled.
pub(crate) enum Pulled {
    Connected(TcpStream),
    Asked(JoinHandle<anyhow::Result<()>>),
}

impl Pulled {
    /// Waits until it is done.
    pub(crate) fn wait(self) -> anyhow::Result<()> {
        match self {
            Self::Connected(socket) => {
                drop(socket);
                Ok(())
            }
            Self::Asked(thread) => thread
                .join()
                .map_err(|_| anyhow!("failed to ask the node"))?,
        }
    }
}
