//! Checks the hsd node: it runs, has hstratum in it, is synchronized, and its blocks pay somebody.

use std::env::consts::OS;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hstratum_core::accounting::ledger::Knowledge;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::plural::counted;

use crate::config::options_in_force::OptionsInForce;
use crate::payout::hsd::{HsdNode, HsdPart, HsdTimeouts, Hstratum, NodePayee, NodeStatus, Url};
use crate::secret::Secret;
use crate::sql::location::LedgerLocation;
use crate::store::best_tip;

use super::conf::NodeSettings;
use super::{CheckedPart, Findings, Setup};

/// Difference between the node's clock and others', in seconds, that is worth a warning.
const CLOCK_OFF_S: u64 = 60;

/// Difference in seconds at which blocks are about to be refused: a node tolerates two hours (hsd
/// lib/blockchain/chain.js, verify), and miners roll the time.
const CLOCK_WRONG_S: u64 = 30 * 60;

/// Seconds without a block after which main and testnet are likely ahead of this node.
const TIP_OLD_S: u64 = 3 * 60 * 60;

/// Time for an answer of the node.
const PATIENCE: Duration = Duration::from_secs(10);

/// State of the node, for the check of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    /// Not examined.
    NotAsked,
    /// Nothing answers.
    Stopped,
    /// It runs, with hstratum in it.
    Serving,
    /// It runs without hstratum.
    Without,
    /// Something answers, but its state is not known.
    Unknown,
}

/// Checks the node; returns its state, and the options in force if its hstratum reports them.
pub(super) fn examine(
    setup: &Setup,
    settings: &NodeSettings,
    findings: &mut Findings,
) -> (NodeState, Option<OptionsInForce>) {
    let url = setup
        .node_url
        .clone()
        .or_else(|| configured(setup.network, settings));
    let url = url.unwrap_or_else(|| Url::usual(setup.network, HsdPart::Node));
    let configured_key = || settings.node.get("apikey").cloned().map(Secret);
    let key = setup.node_key.clone().or_else(configured_key);
    let patience = HsdTimeouts {
        call: PATIENCE,
        create: PATIENCE,
    };
    let node = HsdNode::new(url, key, setup.network, patience);
    let status = match node.status() {
        Ok(status) => status,
        Err(error) => {
            let state = unreachable(&node, &error, setup, settings, findings);
            return (state, None);
        }
    };
    if status.network != setup.network.name() {
        findings.problem(
            CheckedPart::Node,
            format!(
                "the node at {} is on {}, not {}",
                node.url(),
                status.network,
                setup.network.name()
            ),
            "give the right --network or --node-url",
        );
        return (NodeState::Unknown, None);
    }
    findings.ok(
        CheckedPart::Node,
        format!(
            "hsd {} at {}, height {}",
            status.version,
            node.url(),
            status.height
        ),
    );
    let state = check_plugin(&node, findings);
    check_sync(&status, setup.network, findings);
    check_knowledge(&node, setup, settings, findings);
    check_clock(&status, findings);
    check_payee(&node, setup.network, findings);
    let told = match state {
        NodeState::Serving => node.hstratum().unwrap_or_default(),
        _ => Hstratum::default(),
    };
    check_places(told.places, findings);
    check_blocks(&told, findings);
    check_extra_nodes(&told.extra_nodes, findings);
    for line in told.differences {
        findings.warn(
            CheckedPart::Node,
            format!("servers of this pool differ: {line}"),
            "give all of them the same, and start those again that had another",
        );
    }
    (state, told.options)
}

/// Checks that the nodes of `extra-nodes` are connected.
fn check_extra_nodes(nodes: &[(String, Option<String>)], findings: &mut Findings) {
    for (address, reason) in nodes {
        match reason {
            None => findings.ok(
                CheckedPart::Node,
                format!("extra node {address} is connected"),
            ),
            Some(reason) => findings.warn(
                CheckedPart::Node,
                format!("extra node {address} is not connected: {reason:?}"),
                "found blocks reach it later, from other nodes: look at that node, its port for peers \
                 and the network",
            ),
        }
    }
}

/// Checks for a free place for one more miner.
fn check_places(places: Option<(u64, u64)>, findings: &mut Findings) {
    let Some((all, taken)) = places else { return };
    if taken >= all {
        findings.warn(
            CheckedPart::Miners,
            format!("the pool is full: {taken} of {all} connections"),
            "who comes next is refused, unless one without an accepted share gives way: raise \
             max-inbound, and see places and refusals in hsd-rpc getstratuminfo",
        );
    } else {
        findings.ok(
            CheckedPart::Miners,
            format!("{taken} of {all} connections are taken"),
        );
    }
}

/// Reports what would lose a found block.
fn check_blocks(told: &Hstratum, findings: &mut Findings) {
    if let Some(reason) = &told.block_path_broken {
        findings.problem(
            CheckedPart::Node,
            format!("a found block would be lost: {reason}"),
            "see docs/operating.md, \"Drills of the path of a found block\": start the node again first",
        );
    }
    if told.left_out > 0 {
        let text = match told.left_out {
            1 => "1 transaction is left out of templates".to_owned(),
            count => format!("{count} transactions are left out of templates"),
        };
        findings.warn(
            CheckedPart::Node,
            format!("{text}, since one with it was invalid: the node's log names each"),
            "see docs/operating.md, \"Templates that would be refused\"",
        );
    }
    if let Some(reason) = &told.template_refused {
        findings.problem(
            CheckedPart::Node,
            format!("the network would refuse the block of the node's template: {reason}"),
            "miners get what is valid of it; see docs/operating.md, \"Templates that would be refused\"",
        );
    }
}

/// Address of the node's API according to the configuration.
fn configured(network: Network, settings: &NodeSettings) -> Option<Url> {
    let usual = Url::usual(network, HsdPart::Node).to_string();
    let port = match settings.node.get("httpport") {
        Some(port) => port.as_str(),
        None => usual.rsplit_once(':')?.1,
    };
    let host = settings
        .node
        .get("httphost")
        .map_or("127.0.0.1", String::as_str);
    let url = match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => format!("http://127.0.0.1:{port}"),
        Ok(IpAddr::V6(ip)) => format!("http://[{ip}]:{port}"),
        _ => format!("http://{host}:{port}"),
    };
    url.parse().ok()
}

fn unreachable(
    node: &HsdNode,
    error: &anyhow::Error,
    setup: &Setup,
    settings: &NodeSettings,
    findings: &mut Findings,
) -> NodeState {
    if setup.running.is_some() {
        findings.warn(
            CheckedPart::Node,
            format!(
                "the node's own HTTP cannot be asked at {}: {error:#}",
                node.url()
            ),
            "see http-host, http-port and api-key of hsd: payouts need them too",
        );
        return NodeState::Serving;
    }
    let refused = match error.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::Io(cause)) => cause.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    };
    if !refused {
        findings.problem(
            CheckedPart::Node,
            format!("{error:#}"),
            "give the node's API key in HSTRATUM_NODE_API_KEY, and --node-url if it is elsewhere",
        );
        return NodeState::Unknown;
    }
    findings.problem(
        CheckedPart::Node,
        format!("no node runs: nothing answers at {}", node.url()),
        "start hsd with --plugins hstratum; give --node-url if it was told another --http-port",
    );
    if let Some(addresses) = settings.node.get("coinbaseaddress") {
        check_configured_payee(addresses, setup.network, findings);
    }
    NodeState::Stopped
}

fn check_configured_payee(addresses: &str, network: Network, findings: &mut Findings) {
    let wrong = addresses
        .split(',')
        .map(str::trim)
        .find(|text| Address::parse_payable(text, network).is_none());
    match wrong {
        Some(text) => findings.problem(
            CheckedPart::Node,
            format!(
                "coinbase-address: {}",
                Address::why_not_payable(text, network)
            ),
            format!("correct it in hsd.conf: it begins with {}1", network.hrp()),
        ),
        None => findings.ok(CheckedPart::Node, format!("blocks will pay {addresses}")),
    }
}

fn check_plugin(node: &HsdNode, findings: &mut Findings) -> NodeState {
    match node.has_hstratum() {
        Ok(true) => NodeState::Serving,
        Ok(false) => {
            findings.problem(
                CheckedPart::Node,
                "hstratum is not in this node",
                "start hsd with --plugins hstratum, or have plugins: hstratum in hsd.conf",
            );
            NodeState::Without
        }
        Err(error) => {
            findings.problem(
                CheckedPart::Node,
                format!("{error:#}"),
                "look at the node's log",
            );
            NodeState::Unknown
        }
    }
}

fn check_sync(status: &NodeStatus, network: Network, findings: &mut Findings) {
    if matches!(network, Network::Regtest | Network::Simnet) {
        return;
    }
    match status.peers {
        0 => findings.problem(
            CheckedPart::Node,
            "no peers: there is no work for miners, and a block would reach nobody",
            "look at the node's connection and firewall; --nodes=HOST names a peer",
        ),
        1..=3 => findings.warn(
            CheckedPart::Node,
            format!("only {}", counted(status.peers, "peer")),
            "more of them hear of a block sooner: --max-outbound=16, or --listen and an open port",
        ),
        peers => findings.ok(CheckedPart::Node, format!("{peers} peers")),
    }
    let age = now_s().saturating_sub(status.tip_time);
    if status.progress < 0.999 {
        findings.problem(
            CheckedPart::Node,
            format!(
                "still downloading the chain: {:.1} %",
                status.progress * 100.0
            ),
            "wait: miners get work when that is done",
        );
    } else if age > TIP_OLD_S {
        findings.warn(
            CheckedPart::Node,
            format!("the newest block is {} h old", age / 3600),
            "compare its height with a block explorer's; if it is behind, start it again",
        );
    } else {
        findings.ok(CheckedPart::Node, "synchronized");
    }
}

/// Checks that the node knows at least as much of the chain as the ledger was shown. Other faults of either
/// are found by other checks.
fn check_knowledge(
    node: &HsdNode,
    setup: &Setup,
    settings: &NodeSettings,
    findings: &mut Findings,
) {
    let shared = settings
        .config
        .as_ref()
        .and_then(|config| config.database.clone());
    let file = setup
        .dir
        .as_ref()
        .map(|dir| dir.join("stratum").join("ledger.db"));
    let place = match (shared, file) {
        (Some(address), _) => LedgerLocation::Shared(Box::new(address)),
        (None, Some(file)) if file.exists() => LedgerLocation::File(file),
        _ => return,
    };
    let highest = place
        .open_for_a_look(PATIENCE)
        .and_then(|mut db| db.read(best_tip::highest));
    let (Ok(Some(highest)), Ok(view)) = (highest, node.view()) else {
        return;
    };
    match Knowledge::of(&view, &highest) {
        Knowledge::Behind(tip) => findings.problem(
            CheckedPart::Node,
            format!(
                "the node knows less of the chain than the ledger was shown: its tip is at height {}, \
                 the ledger's at {}",
                view.tip.height.0, tip.height.0
            ),
            "wait until it has caught up: without six blocks or more miners get no job, no block is \
             judged, and payouts wait; for another chain begin a new ledger (docs/ledger.md)",
        ),
        Knowledge::Enough => {
            findings.ok(CheckedPart::Node, "it knows what the ledger was shown of the chain");
        }
        Knowledge::Tied(_) | Knowledge::Unsynced => {}
    }
}

fn check_clock(status: &NodeStatus, findings: &mut Findings) {
    // Peers tell how far their clocks are ahead; the newest block must at least not be of the future.
    let ahead = status.tip_time.saturating_sub(now_s());
    let off = status.clock_offset.unsigned_abs().max(ahead);
    let advice = match OS {
        "linux" => "timedatectl set-ntp true",
        _ => "have the clock set by NTP",
    };
    let text = format!("the clock is about {off} s off from other nodes'");
    if off > CLOCK_WRONG_S {
        findings.problem(CheckedPart::Machine, text, advice);
    } else if off > CLOCK_OFF_S {
        findings.warn(CheckedPart::Machine, text, advice);
    } else {
        findings.ok(CheckedPart::Machine, "the clock agrees with other nodes'");
    }
}

fn check_payee(node: &HsdNode, network: Network, findings: &mut Findings) {
    match node.payee() {
        Ok(NodePayee::Address(address)) => {
            findings.ok(
                CheckedPart::Node,
                format!("blocks pay {}", address.encode(network)),
            );
        }
        Ok(NodePayee::Nobody) => findings.problem(
            CheckedPart::Node,
            "blocks would pay nobody, so that there is no work",
            "start hsd with --coinbase-address, or with its wallet",
        ),
        Ok(NodePayee::NoBlock(why)) => findings.warn(
            CheckedPart::Node,
            format!("whom blocks pay cannot be seen yet: hsd says {why:?}"),
            "run this again when the node is synchronized and has peers",
        ),
        Err(error) => {
            findings.problem(
                CheckedPart::Node,
                format!("{error:#}"),
                "look at the node's log",
            );
        }
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
