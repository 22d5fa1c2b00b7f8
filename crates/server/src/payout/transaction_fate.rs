//! Finds out the state of a signed transaction.
//!
//! Only one answer allows its accounts to be paid again: [`TransactionFate::Replaced`], with a proof that the node
//! itself confirms. Anything uncertain is [`TransactionFate::Unknown`]: the wallet may have been restored, the node may
//! be behind, and a transaction that a node refuses today may be mined tomorrow.

use hstratum_core::chain::transaction::{Outpoint, Transaction};
use hstratum_core::units::Hash;

use super::check::parse;
use super::hsd::{HsdNode, Wallet, WalletTransaction};
use crate::limits::{HISTORY_PAGES_MAX, OUTPUTS_ASKED_MAX};

/// Seconds by which the block of a conflicting transaction may be dated before the payment: clocks and block
/// times differ by hours.
const DATES_DIFFER_S: u64 = 24 * 60 * 60;

/// State of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionFate {
    /// It is in a block of the main chain; a block at the tip has depth 1.
    Mined { depth: u32 },
    /// It is in the node's mempool.
    Waits,
    /// It can never be mined: another transaction has spent one of its inputs, as deep in the main chain as
    /// coinbases must be to be spent.
    Replaced { by: Hash, depth: u32 },
    /// Another transaction has spent one of its inputs, but not deep enough to be final.
    Contested { by: Hash, depth: u32 },
    /// Not known.
    Unknown,
}

/// Asks the node and the wallet. `created_at` is the payment's time in Unix seconds; `maturity` is the depth,
/// in blocks, that counts as final.
pub(super) fn fate(
    tx: &Transaction,
    (node, wallet): (&HsdNode, &Wallet),
    created_at: u64,
    maturity: u32,
) -> anyhow::Result<TransactionFate> {
    // The mempool is asked first: a transaction that moves to a block meanwhile is found there.
    if node.has_in_mempool(&tx.txid)? {
        return Ok(TransactionFate::Waits);
    }
    if let Some(depth) = depth(tx, node, wallet)? {
        return Ok(TransactionFate::Mined { depth });
    }
    let mut taken = Vec::new();
    for input in &tx.inputs {
        if node.coin(input.outpoint)?.is_none() {
            taken.push(input.outpoint);
        }
    }
    if taken.is_empty() {
        return Ok(TransactionFate::Unknown);
    }
    rival(tx, &taken, (node, wallet), created_at, maturity)
}

/// Depth in the main chain: the wallet names the block, and the node tells whether it is on the main chain.
/// If the wallet does not know the block, the node may still have one of the outputs unspent.
fn depth(tx: &Transaction, node: &HsdNode, wallet: &Wallet) -> anyhow::Result<Option<u32>> {
    if let Some(block) = wallet.transaction(&tx.txid)?.and_then(|known| known.block)
        && let Some(depth) = node.depth_of(&block)?
    {
        return Ok(Some(depth));
    }
    for index in (0..).take(tx.outputs.len().min(OUTPUTS_ASKED_MAX)) {
        let outpoint = Outpoint {
            txid: tx.txid,
            index,
        };
        let coin = node.coin(outpoint)?;
        if let Some(height) = coin.and_then(|coin| coin.height) {
            let depth = (node.info()?.height + 1).saturating_sub(height);
            return Ok(u32::try_from(depth).ok().filter(|depth| *depth > 0));
        }
    }
    Ok(None)
}

/// Searches the wallet's history, newest first, for the transaction that spent an input. The wallet only
/// gives the candidates: the bytes tell what is spent, and the node tells whether the block is on the main
/// chain and contains that transaction.
fn rival(
    tx: &Transaction,
    taken: &[Outpoint],
    (node, wallet): (&HsdNode, &Wallet),
    created_at: u64,
    maturity: u32,
) -> anyhow::Result<TransactionFate> {
    let mut after = None;
    for _ in 0..HISTORY_PAGES_MAX {
        let page = wallet.history(after)?;
        for known in &page {
            if let Some(block) = spender(tx, taken, known) {
                let found = node.block(&block)?;
                match found.depth.filter(|_| found.txids.contains(&known.txid)) {
                    Some(depth) if depth >= maturity => {
                        return Ok(TransactionFate::Replaced {
                            by: known.txid,
                            depth,
                        });
                    }
                    Some(depth) => {
                        return Ok(TransactionFate::Contested {
                            by: known.txid,
                            depth,
                        });
                    }
                    None => {}
                }
            }
        }
        let old = |known: &WalletTransaction| {
            known.block.is_some() && known.time + DATES_DIFFER_S < created_at
        };
        match page.last() {
            Some(last) if !old(last) => after = Some(last.txid),
            _ => break,
        }
    }
    Ok(TransactionFate::Unknown)
}

/// The block of another transaction that spends one of the inputs of ours.
fn spender(tx: &Transaction, taken: &[Outpoint], known: &WalletTransaction) -> Option<Hash> {
    let block = known.block?;
    let other = parse(&known.raw).ok()?;
    let spends = taken.iter().any(|outpoint| other.spends(*outpoint));
    (other.txid == known.txid && other.txid != tx.txid && spends).then_some(block)
}
