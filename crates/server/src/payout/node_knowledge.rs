//! Checks whether a node's word may decide about money: it must know the highest tip that the ledger was ever
//! shown, or more work, and agree with the decisions at hand.

use anyhow::{Context, bail, ensure};
use hstratum_core::accounting::ledger::{Knowledge, Tip};
use hstratum_core::units::{Hash, Height};

use super::awaited_servers::AwaitedServers;
use super::due::{self, Due};
use super::hsd::HsdNode;
use super::settle::reversible;
use crate::sql::Db;
use crate::store::best_tip;

/// Checks that the node is synchronized and knows at least as much work as the highest tip of the ledger;
/// returns that tip.
///
/// # Errors
/// The check that failed, with the node's address; or that the ledger was never shown a tip.
pub fn check_node(db: &mut Db, node: &HsdNode) -> anyhow::Result<Tip> {
    let highest = db.read(best_tip::highest)?.context(
        "no node has shown this ledger the chain yet: nothing was changed; start a server on it",
    )?;
    let (view, url) = (node.view()?, node.url());
    match Knowledge::of(&view, &highest) {
        Knowledge::Enough => Ok(highest),
        Knowledge::Unsynced => {
            bail!("the node at {url} is not synchronized: nothing was changed; wait until it is")
        }
        Knowledge::Tied(tip) => bail!(
            "the node at {url} has another tip than this ledger was shown, with as much work as {} \
             {}: nothing was changed; wait for the next block",
            tip.height.0,
            tip.hash
        ),
        Knowledge::Behind(tip) => bail!(
            "the node at {url} knows less of the chain than this ledger was shown: its tip is at \
             height {}, with less work than {} {}; nothing was changed: wait until it has caught \
             up, or ask another node (docs/ledger.md)",
            view.tip.height.0,
            tip.height.0,
            tip.hash
        ),
    }
}

/// Checks that the node has the blocks about to be settled on its main chain, and other blocks in the place
/// of those whose settlement is about to be reversed.
///
/// # Errors
/// When it does not agree, with the node's address.
pub fn check_blocks(
    db: &mut Db,
    node: &HsdNode,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<()> {
    let tip = node.view()?.tip.height;
    let lost = db.read(reversible)?;
    let due = db.read(|sql| due::unsettled(sql, awaited_servers))?.due;
    let lost = lost.iter().map(|one| (&one.block, one.height, false));
    let due = due
        .iter()
        .map(|Due { hash, height, .. }| (hash, *height, true));
    for (block, height, is_there) in lost.chain(due) {
        let found = if height > tip.0 {
            None
        } else {
            Some(node.hash_at(Height(height))?)
        };
        let hash = Hash::from_hex(block);
        let agrees = match found {
            None => false,
            Some(_) => (found == hash) == is_there,
        };
        ensure!(
            agrees,
            "the node at {} does not say of block {height} {block} what this ledger was told: \
             nothing was changed; see whether the servers' nodes and this one are on one chain",
            node.url()
        );
    }
    Ok(())
}
