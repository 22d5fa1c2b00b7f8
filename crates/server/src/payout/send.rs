//! Pays accounts: one transaction at a time, never twice, leaving nobody out.
//!
//! A payment is written, signed by the wallet, checked, *stored*, locked in the wallet, and only then given
//! to the node. If the process is killed at any point, the next run continues:
//!
//! | it ended | the ledger has | the next run |
//! |---|---|---|
//! | while the payment is written | `preparing`, counts for nothing | deletes it |
//! | before the transaction is stored | `open` | deletes it and begins anew |
//! | before or after the node has it | `signed` | locks its inputs, sends it again |
//! | afterwards | `sent` | waits until it is deep in the chain, sends it again if need be |
//!
//! A transaction that was made and not stored is harmless: the wallet keeps no copy of what it
//! creates, so nobody has it, and its inputs are not locked yet. That is why it is stored before
//! its inputs are locked: locked first, a crash between the two would leave coins locked that no
//! row names, until hsd ends. The price is a window of one commit, a few milliseconds, in which
//! another user of the wallet may choose the same coins. Then two transactions want them, one is
//! mined, and no account is paid twice either way: if it is the other's, this payment is abandoned
//! when that is certain.
//!
//! A stored transaction is given up only when another one has spent an input of it, as deep as
//! coinbases must be ([`TransactionFate::Replaced`]); then its amounts are in the balances again. Anything else,
//! a refusal of the node included, leaves it as it is. hsd keeps locks in memory only, so every run
//! sets them again.

use anyhow::{Context, bail};
use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::transaction::Transaction;
use hstratum_core::plural::counted;
use hstratum_core::units::hex;

use super::check::{check, parse};
use super::hsd::{Demand, HsdNode, Wallet};
use super::node_knowledge::check_node;
use super::payee::Payee;
use super::payment::{self, PaymentState, Signed, Unfinished};
use super::step::PayoutStep;
use super::transaction_fate::{TransactionFate, fate};
use crate::limits::{PAYMENT_DEPTH_MAX, PAYMENT_OUTPUTS_MAX};
use crate::sql::Db;

/// Seconds after a payment's time during which a transaction in the node's mempool is not given to the node
/// again.
const ANNOUNCED_S: u64 = 60 * 60;

/// Node, wallet and limits of payments.
pub struct Sender<'a> {
    /// The node that transactions are given to.
    pub node: &'a HsdNode,
    /// The wallet that pays.
    pub wallet: &'a Wallet,
    /// The ledger's network.
    pub network: Network,
    /// Highest fee of a transaction, in base units.
    pub fee_max: u64,
    /// Unix seconds.
    pub now: u64,
}

impl Sender<'_> {
    /// Checks that the node answers, is of the ledger's network and knows the chain; then that the wallet can
    /// pay.
    ///
    /// # Errors
    /// The check that failed.
    pub fn check(&self, db: &mut Db) -> anyhow::Result<()> {
        let found = self.node.info()?.network;
        let expected = self.network.name();
        if found != expected {
            bail!(
                "the node at {} is on {found:?}, the ledger on {expected}",
                self.node.url()
            );
        }
        self.check_chain(db)?;
        self.wallet.check(self.network)
    }

    /// Checks that the node knows at least as much chain work as the ledger was ever shown: a node that knows
    /// less decides nothing.
    ///
    /// # Errors
    /// The check that failed, with the node's address.
    fn check_chain(&self, db: &mut Db) -> anyhow::Result<()> {
        check_node(db, self.node).map(drop)
    }

    fn depth_needed(&self) -> u32 {
        payment_depth(self.network)
    }

    /// Advances the wallet's payment as far as possible. Returns whether a new one may begin. The caller
    /// holds the payout lock.
    ///
    /// # Errors
    /// The obstacle; the call may be repeated.
    pub fn advance(&self, db: &mut Db, steps: &mut Vec<PayoutStep>) -> anyhow::Result<bool> {
        let Some(found) = db.read(|sql| payment::unfinished(sql, self.wallet.id()))? else {
            return Ok(true);
        };
        let Unfinished { id, state, .. } = found;
        let Some(signed) = &found.signed else {
            payment::discard(db, id)?;
            steps.push(PayoutStep::Discarded { payment: id });
            return Ok(true);
        };
        let tx = stored(id, signed)?;
        let fate = self.fate(&tx, found.created_at)?;
        match fate {
            TransactionFate::Replaced { .. } => self.check_chain(db)?,
            TransactionFate::Mined { depth } if depth >= self.depth_needed() => {
                self.check_chain(db)?;
            }
            _ => self.hold(id, &tx)?,
        }
        let txid = signed.txid.clone();
        match fate {
            TransactionFate::Mined { depth } if depth >= self.depth_needed() => {
                payment::mark(db, id, PaymentState::Confirmed, self.now)?;
                steps.push(PayoutStep::Confirmed {
                    payment: id,
                    txid,
                    depth,
                });
                Ok(true)
            }
            TransactionFate::Replaced { by, depth } => {
                payment::mark(db, id, PaymentState::Abandoned, self.now)?;
                let by = hex(&by.0);
                steps.push(PayoutStep::Abandoned {
                    payment: id,
                    txid,
                    by,
                    depth,
                });
                Ok(true)
            }
            TransactionFate::Mined { depth } => {
                self.mark_sent(db, id, state)?;
                steps.push(self.waiting(id, txid, depth));
                Ok(false)
            }
            // hsd treats a transaction that it already has as an error, and logs a stack trace. After an hour
            // it is sent all the same, since there may have been no peers before.
            TransactionFate::Waits if self.now < found.created_at.saturating_add(ANNOUNCED_S) => {
                self.mark_sent(db, id, state)?;
                steps.push(self.waiting(id, txid, 0));
                Ok(false)
            }
            TransactionFate::Waits
            | TransactionFate::Unknown
            | TransactionFate::Contested { .. } => {
                self.broadcast(id, &tx, signed, found.created_at)?;
                self.mark_sent(db, id, state)?;
                steps.push(self.waiting(id, txid, 0));
                Ok(false)
            }
        }
    }

    /// The first thing that [`Sender::advance`] would do; changes nothing.
    ///
    /// # Errors
    /// When it cannot be determined.
    pub fn foretell(&self, db: &mut Db) -> anyhow::Result<Option<PayoutStep>> {
        let Some(found) = db.read(|sql| payment::unfinished(sql, self.wallet.id()))? else {
            return Ok(None);
        };
        let id = found.id;
        let Some(signed) = &found.signed else {
            return Ok(Some(PayoutStep::Discarded { payment: id }));
        };
        let tx = stored(id, signed)?;
        let txid = signed.txid.clone();
        let step = match self.fate(&tx, found.created_at)? {
            TransactionFate::Mined { depth } if depth >= self.depth_needed() => {
                PayoutStep::Confirmed {
                    payment: id,
                    txid,
                    depth,
                }
            }
            TransactionFate::Replaced { by, depth } => {
                let by = hex(&by.0);
                PayoutStep::Abandoned {
                    payment: id,
                    txid,
                    by,
                    depth,
                }
            }
            TransactionFate::Mined { depth } => self.waiting(id, txid, depth),
            TransactionFate::Waits
            | TransactionFate::Contested { .. }
            | TransactionFate::Unknown => self.waiting(id, txid, 0),
        };
        Ok(Some(step))
    }

    /// Pays the accounts that are due, as many as one transaction holds. The caller holds the payout lock,
    /// and [`Sender::advance`] has allowed a payment to begin.
    ///
    /// # Errors
    /// The obstacle. Nothing is paid then, or the payment is stored and the next run continues.
    pub fn pay(
        &self,
        db: &mut Db,
        due: Vec<Payee>,
        steps: &mut Vec<PayoutStep>,
    ) -> anyhow::Result<()> {
        let (batch, left) = batch(due);
        if batch.is_empty() {
            steps.push(PayoutStep::NobodyDue);
            return Ok(());
        }
        let id = payment::open(db, self.wallet.id(), &batch, self.now)?;
        let (signed, tx) = match self.create(&batch) {
            Ok(made) => made,
            Err(error) => {
                // No transaction of it exists: the accounts are due again at once.
                payment::discard(db, id)?;
                return Err(error);
            }
        };
        payment::store(db, id, &signed, self.now)?;
        self.hold(id, &tx)?;
        self.broadcast(id, &tx, &signed, self.now)?;
        payment::mark(db, id, PaymentState::Sent, self.now)?;
        steps.push(PayoutStep::Sent {
            payment: id,
            txid: signed.txid,
            network_fee: signed.network_fee,
            payees: batch,
        });
        if !left.is_empty() {
            steps.push(PayoutStep::Left {
                accounts: left.len() as u64,
                amount: left.iter().map(|payee| payee.amount).sum(),
            });
        }
        Ok(())
    }

    /// Makes a transaction that pays them, signed and checked, which nobody else has.
    fn create(&self, batch: &[Payee]) -> anyhow::Result<(Signed, Transaction)> {
        let outputs: Vec<(String, u64)> = batch
            .iter()
            .map(|payee| (payee.address.clone(), payee.amount))
            .collect();
        let demand = Demand {
            outputs: &outputs,
            fee_max: self.fee_max,
            depth: self.depth_needed(),
        };
        let raw = self
            .wallet
            .create(&demand)
            .map_err(|error| self.explain(error, batch))?;
        let parts = (self.node, self.wallet);
        check(raw, batch, self.fee_max, parts, self.network)
            .context("nothing was paid: the wallet's transaction was not checked, or is not what was asked for")
    }

    /// Adds advice to the error of a wallet that makes no transaction.
    fn explain(&self, error: anyhow::Error, batch: &[Payee]) -> anyhow::Error {
        let said = format!("{error:#}");
        let id = self.wallet.id();
        let amount: u64 = batch.iter().map(|payee| payee.amount).sum();
        let hint = if said.contains("Not enough funds") {
            let balance = self.wallet.balance().map_or_else(
                |_| "an unknown amount".to_owned(),
                |balance| format!("{} HNS", Hns(balance.into())),
            );
            format!(
                "{} HNS are owed to {} and the wallet {id:?} has {balance}, of which what is \
                 younger than {} blocks, immature or locked cannot be spent, and the network's fee \
                 comes on top: fund it or wait",
                Hns(amount.into()),
                counted(batch.len(), "account"),
                self.depth_needed()
            )
        } else if said.contains("Could not decrypt") {
            format!("the passphrase in HSTRATUM_WALLET_PASSPHRASE is not that of the wallet {id:?}")
        } else if said.contains("No passphrase") {
            format!("the wallet {id:?} is locked: set HSTRATUM_WALLET_PASSPHRASE, or unlock it")
        } else {
            format!(
                "the wallet {id:?} made no transaction of {} HNS",
                Hns(amount.into())
            )
        };
        error.context(format!("nothing was paid: {hint}"))
    }

    /// Locks a payment's coins in the wallet against its other users.
    fn hold(&self, id: i64, tx: &Transaction) -> anyhow::Result<()> {
        for input in &tx.inputs {
            self.wallet.lock(input.outpoint).with_context(|| {
                format!("failed to lock the inputs of payment {id}, which is not lost: run again")
            })?;
        }
        Ok(())
    }

    fn fate(&self, tx: &Transaction, created_at: u64) -> anyhow::Result<TransactionFate> {
        let parts = (self.node, self.wallet);
        fate(tx, parts, created_at, self.network.coinbase_maturity())
    }

    /// Gives a stored transaction to the node and checks whether it was accepted.
    fn broadcast(
        &self,
        id: i64,
        tx: &Transaction,
        signed: &Signed,
        created_at: u64,
    ) -> anyhow::Result<()> {
        let kept = format!(
            "the node has not taken payment {id}, transaction {}; it is kept and sent again by the \
             next run, and no other payment begins",
            signed.txid
        );
        self.node
            .broadcast(&signed.raw)
            .with_context(|| kept.clone())?;
        match self.fate(tx, created_at).with_context(|| kept.clone())? {
            TransactionFate::Waits | TransactionFate::Mined { .. } => Ok(()),
            TransactionFate::Contested { by, depth } => {
                let (by, needed) = (hex(&by.0), self.network.coinbase_maturity());
                bail!(
                    "{kept}: {by} has spent an input of it and is {depth} of {needed} blocks deep"
                )
            }
            TransactionFate::Replaced { by, .. } => {
                bail!("{kept}: {} has spent an input of it", hex(&by.0))
            }
            TransactionFate::Unknown => {
                bail!("{kept}: its log says why, docs/ledger.md what to do")
            }
        }
    }

    fn mark_sent(&self, db: &mut Db, id: i64, state: PaymentState) -> anyhow::Result<()> {
        if state == PaymentState::Signed {
            payment::mark(db, id, PaymentState::Sent, self.now)?;
        }
        Ok(())
    }

    fn waiting(&self, payment: i64, txid: String, depth: u32) -> PayoutStep {
        let needed = self.depth_needed();
        PayoutStep::Waiting {
            payment,
            txid,
            depth,
            needed,
        }
    }
}

/// Depth in blocks that a payment must have before the next one begins, and that the coins it spends must have.
#[must_use]
pub fn payment_depth(network: Network) -> u32 {
    network.coinbase_maturity().min(PAYMENT_DEPTH_MAX)
}

/// Parses the transaction of a payment, and checks that it is the one that was stored.
fn stored(id: i64, signed: &Signed) -> anyhow::Result<Transaction> {
    let damaged = || format!("payment {id} is damaged in the ledger");
    let tx = parse(&signed.raw).with_context(damaged)?;
    if hex(&tx.txid.0) != signed.txid {
        bail!("{}: its transaction has another id", damaged());
    }
    Ok(tx)
}

/// Splits the accounts into those paid now, the largest amounts first, and those paid later. Amounts of
/// accounts that wait grow, and those paid start at 0 again, so that nobody waits for ever.
fn batch(mut due: Vec<Payee>) -> (Vec<Payee>, Vec<Payee>) {
    due.sort_by(|a, b| b.amount.cmp(&a.amount).then(a.name.cmp(&b.name)));
    let left = due.split_off(due.len().min(PAYMENT_OUTPUTS_MAX));
    (due, left)
}
