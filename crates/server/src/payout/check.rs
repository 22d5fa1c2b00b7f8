//! Checks that the transaction made by a wallet is the payment that was asked for.
//!
//! The check uses the transaction's bytes and the node's record of the coins it spends; nothing that the
//! wallet says is believed. After this the transaction is stored and can never be taken back, so it must be
//! one that nodes relay (hsd lib/primitives/tx.js, checkStandard and hasStandardInputs). Only the signatures
//! themselves are not verified here: the node does that when it gets it.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::transaction::{Transaction, TxInput, TxOutput};
use hstratum_core::units::{hex, unhex};

use super::hsd::{Coin, HsdNode, Wallet};
use super::payee::Payee;
use super::payment::Signed;
use crate::limits::PAYMENT_WEIGHT_MAX;

/// Bytes of a signature with its type, and of a public key.
const WITNESS_SIZES: [usize; 2] = [65, 33];

/// Bytes of the hash of a public key.
const KEY_HASH_BYTES: usize = 20;

/// Parses the wallet's transaction and checks it completely.
pub(super) fn check(
    raw: String,
    payees: &[Payee],
    fee_max: u64,
    (node, wallet): (&HsdNode, &Wallet),
    network: Network,
) -> anyhow::Result<(Signed, Transaction)> {
    let tx = parse(&raw)?;
    let change = judge_outputs(&tx, payees, network)?;
    if let Some(change) = change {
        let address = change.address.encode(network);
        ensure!(
            wallet.owns(&address)?,
            "it pays {address}, which is neither one of those to be paid nor the wallet's"
        );
    }
    let mut coins = Vec::with_capacity(tx.inputs.len());
    for input in &tx.inputs {
        let coin = node.coin(input.outpoint)?;
        let name = hex(&input.outpoint.txid.0);
        coins.push(coin.with_context(|| {
            format!(
                "it spends output {} of {name}, which the node does not have",
                input.outpoint.index
            )
        })?);
    }
    let network_fee = judge_inputs(&tx, &coins, fee_max)?;
    let signed = Signed {
        txid: hex(&tx.txid.0),
        raw,
        network_fee,
    };
    Ok((signed, tx))
}

/// Parses a transaction in hex.
pub(super) fn parse(raw: &str) -> anyhow::Result<Transaction> {
    unhex(raw)
        .and_then(|bytes| Transaction::parse(&bytes))
        .context("it is not a transaction")
}

/// Checks that every account gets its amount and nobody else gets anything; returns the change.
fn judge_outputs<'a>(
    tx: &'a Transaction,
    payees: &[Payee],
    network: Network,
) -> anyhow::Result<Option<&'a TxOutput>> {
    let mut wanted: BTreeMap<(Address, u64), usize> = BTreeMap::new();
    for payee in payees {
        let address = Address::parse(&payee.address, network)
            .with_context(|| format!("{:?} is not an address", payee.address))?;
        *wanted.entry((address, payee.amount)).or_default() += 1;
    }
    let mut change = None;
    for output in &tx.outputs {
        ensure!(output.plain, "one of its outputs is about a name");
        ensure!(output.address.version() == 0, "nodes would not pass it on");
        let key = (output.address.clone(), output.value);
        match wanted.get_mut(&key) {
            Some(count) if *count > 0 => *count -= 1,
            _ if change.is_none() => change = Some(output),
            _ => bail!("it pays more than is asked for"),
        }
    }
    if let Some(((address, value), _)) = wanted.iter().find(|(_, count)| **count > 0) {
        let address = address.encode(network);
        bail!("it does not pay {} HNS to {address}", Hns((*value).into()));
    }
    Ok(change)
}

/// Checks that it can be mined at once, is signed, and pays a fee within bounds; returns the fee.
fn judge_inputs(tx: &Transaction, coins: &[Coin], fee_max: u64) -> anyhow::Result<u64> {
    ensure!(
        tx.version == 0 && tx.locktime == 0,
        "it is not for the next block"
    );
    ensure!(
        tx.weight <= PAYMENT_WEIGHT_MAX,
        "it weighs {}, and nodes pass on at most {PAYMENT_WEIGHT_MAX}; the wallet's coins are too \
         small and too many, unite some first",
        tx.weight
    );
    for (input, coin) in tx.inputs.iter().zip(coins) {
        judge_input(input, coin)?;
    }
    let spent = total(coins.iter().map(|coin| coin.value))?;
    let paid = total(tx.outputs.iter().map(|output| output.value))?;
    let fee = spent
        .checked_sub(paid)
        .context("it pays more than it spends")?;
    // Lowest fee that nodes relay: 1000 base units for 1000 virtual bytes.
    let least = tx.weight.div_ceil(4) as u64;
    ensure!(
        fee >= least,
        "its fee of {} HNS is too low for nodes",
        Hns(fee.into())
    );
    ensure!(
        fee <= fee_max,
        "its fee is {} HNS, and at most {} are allowed (--max-fee)",
        Hns(fee.into()),
        Hns(fee_max.into())
    );
    Ok(fee)
}

fn total(mut values: impl Iterator<Item = u64>) -> anyhow::Result<u64> {
    let sum = values.try_fold(0_u64, u64::checked_add);
    sum.context("its sums are impossible")
}

fn judge_input(input: &TxInput, coin: &Coin) -> anyhow::Result<()> {
    ensure!(
        coin.height.is_some(),
        "it spends a coin that is in no block yet"
    );
    ensure!(input.sequence == u32::MAX, "it is not for the next block");
    let one_key = coin.address.version() == 0 && coin.address.hash().len() == KEY_HASH_BYTES;
    ensure!(one_key, "it spends a coin that is not of a single key");
    let signed = input.witness.iter().map(Vec::len).eq(WITNESS_SIZES);
    ensure!(signed, "it is not signed");
    Ok(())
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
