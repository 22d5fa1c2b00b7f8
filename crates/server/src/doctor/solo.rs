//! Checks who is paid by the blocks of solo listeners.

use hstratum_core::chain::address::{Address, Network};

use crate::config::Config;
use crate::config::options_in_force::OptionsInForce;

use super::conf::NodeSettings;
use super::node::NodeState;
use super::{CheckedPart, Findings};

/// What is known of the options about solo blocks.
struct SoloOptions {
    /// Listeners whose blocks pay their finder.
    listeners: Vec<String>,
    /// The operator's part in percent; `None` if it is 0.
    fee: Option<String>,
    fee_address: Option<String>,
}

impl SoloOptions {
    fn of(config: &Config) -> Self {
        let listeners = config.listeners().into_iter();
        let solo = listeners.filter(|(spec, _)| spec.is_solo());
        let fee = config.terms.fee;
        Self {
            listeners: solo.map(|(spec, _)| spec.to_string()).collect(),
            fee: (fee.get() > 0).then(|| fee.to_string()),
            fee_address: config.fee_address.clone(),
        }
    }

    fn in_force(options: &OptionsInForce) -> Self {
        Self {
            listeners: options.solo_listeners.clone(),
            fee: options.fee.clone(),
            fee_address: options.fee_address.clone(),
        }
    }
}

/// Checks `payout`, `fee` and `fee-address`: those in force, or else those of files and the environment.
pub(super) fn examine(
    network: Network,
    settings: &NodeSettings,
    (state, in_force): (NodeState, Option<&OptionsInForce>),
    findings: &mut Findings,
) {
    let Some(config) = &settings.config else {
        return;
    };
    let options = in_force.map_or_else(|| SoloOptions::of(config), SoloOptions::in_force);
    let part = CheckedPart::Configuration;
    if let Some(text) = &options.fee_address
        && Address::parse_payable(text, network).is_none()
    {
        let why = Address::why_not_payable(text, network);
        return findings.problem(
            part,
            format!("fee-address: {why}"),
            format!(
                "the node does not start with it: an address of this network begins with {}1",
                network.hrp()
            ),
        );
    }
    let unused = match (options.listeners.is_empty(), &options.fee) {
        (true, _) => Some((
            "no listener pays finders",
            "give payout: solo, or remove it",
        )),
        (false, None) => Some(("fee is 0", "give a fee, or remove it")),
        (false, Some(_)) => None,
    };
    if let Some((why, advice)) = unused.filter(|_| options.fee_address.is_some()) {
        findings.warn(part, format!("fee-address is not used: {why}"), advice);
    }
    if options.listeners.is_empty() {
        return;
    }
    let fee = match (&options.fee, &options.fee_address) {
        (None, _) => "without a fee".to_owned(),
        (Some(fee), Some(address)) => format!("less {fee}, which goes to {address}"),
        (Some(fee), None) => format!("less {fee}, which goes to the address of the node's blocks"),
    };
    let listeners = options.listeners.join(", ");
    findings.ok(
        part,
        format!("blocks of {listeners} pay their finder, {fee}"),
    );
    let is_unknown = state == NodeState::Stopped && !settings.node.contains_key("coinbaseaddress");
    if options.fee.is_some() && options.fee_address.is_none() && is_unknown {
        findings.warn(
            part,
            "the fee of solo blocks has no address: neither fee-address nor coinbase-address is set here",
            "give fee-address, unless hsd gets --coinbase-address as a flag, or its wallet is to have the fee",
        );
    }
}
