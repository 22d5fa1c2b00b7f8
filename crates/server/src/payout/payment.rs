//! The rows of `payments`: what is being paid, from the plan to the chain.
//!
//! A payment goes through its states in one direction, each step one small transaction:
//! preparing → open → signed → sent → confirmed, or abandoned. What is 'preparing' counts for
//! nothing; from 'open' on its amounts are taken from the balances. Until it is 'signed' nobody
//! has a transaction that could pay it, so it may be deleted; after that it may not.

use anyhow::{Context, bail};
use rusqlite::{Connection, OptionalExtension, params};

use super::due::amount;
use super::payee::Payee;
use super::settle::immediate;
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;

/// How far a payment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// Being written.
    Preparing,
    /// Its amounts are taken from the balances.
    Open,
    /// Its transaction is stored.
    Signed,
    /// A node has taken its transaction.
    Sent,
    /// Its transaction is deep in the chain.
    Confirmed,
    /// Its transaction can never confirm; its amounts are back in the balances.
    Abandoned,
}

impl PaymentState {
    const ALL: [Self; 6] = [
        Self::Preparing,
        Self::Open,
        Self::Signed,
        Self::Sent,
        Self::Confirmed,
        Self::Abandoned,
    ];

    /// Its name in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Open => "open",
            Self::Signed => "signed",
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
            Self::Abandoned => "abandoned",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A signed transaction, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// 64 hex digits.
    pub(super) txid: String,
    /// Hex.
    pub(super) raw: String,
    /// Base units.
    pub(super) network_fee: u64,
}

/// A payment of a wallet that is neither confirmed nor abandoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) id: i64,
    pub(super) state: PaymentState,
    /// There from 'signed' on.
    pub(super) signed: Option<Signed>,
    /// Unix seconds.
    pub(super) created_at: u64,
}

/// The payment of the wallet that is on its way. There is one at most.
pub(super) fn unfinished(conn: &Connection, wallet: &str) -> anyhow::Result<Option<Unfinished>> {
    let row = conn
        .query_row(
            "SELECT id, state, txid, raw, network_fee, created_at FROM payments
              WHERE wallet = ?1 AND state IN ('preparing', 'open', 'signed', 'sent')",
            [wallet],
            |row| {
                let state: String = row.get(1)?;
                let signed = match (row.get(2)?, row.get(3)?) {
                    (Some(txid), Some(raw)) => Some(Signed {
                        txid,
                        raw,
                        network_fee: amount(row, 4)?,
                    }),
                    _ => None,
                };
                Ok((row.get(0)?, state, signed, amount(row, 5)?))
            },
        )
        .optional()
        .context("failed to read the payments")?;
    let Some((id, state, signed, created_at)) = row else {
        return Ok(None);
    };
    let state = PaymentState::from_name(&state)
        .with_context(|| format!("payment {id} has the state {state:?}"))?;
    let early = matches!(state, PaymentState::Preparing | PaymentState::Open);
    if early == signed.is_some() {
        bail!(
            "payment {id} is {} and its transaction does not fit that",
            state.name()
        );
    }
    Ok(Some(Unfinished {
        id,
        state,
        signed,
        created_at,
    }))
}

/// Deletes a payment that has no transaction.
pub(super) fn discard(conn: &mut Connection, id: i64) -> anyhow::Result<()> {
    discard_in_slices(conn, id).with_context(|| format!("failed to discard payment {id}"))
}

fn discard_in_slices(conn: &mut Connection, id: i64) -> anyhow::Result<()> {
    let changed = conn.execute(
        "UPDATE payments SET state = 'preparing'
          WHERE id = ?1 AND raw IS NULL AND state IN ('preparing', 'open')",
        [id],
    )?;
    expect_one(changed)?;
    loop {
        let deleted = conn.execute(
            "DELETE FROM payment_outputs WHERE (payment, account) IN
               (SELECT payment, account FROM payment_outputs WHERE payment = ?1 LIMIT ?2)",
            params![id, PAYOUT_ROWS_PER_TRANSACTION],
        )?;
        if deleted == 0 {
            break;
        }
    }
    conn.execute("DELETE FROM payments WHERE id = ?1", [id])?;
    Ok(())
}

/// Takes the amounts from the balances of those who are paid; gives the payment's row.
pub(super) fn open(
    conn: &mut Connection,
    wallet: &str,
    payees: &[Payee],
    now_unix_s: u64,
) -> anyhow::Result<i64> {
    open_in_slices(conn, wallet, payees, now_unix_s).context("failed to write the payment")
}

fn open_in_slices(
    conn: &mut Connection,
    wallet: &str,
    payees: &[Payee],
    now_unix_s: u64,
) -> anyhow::Result<i64> {
    let now = signed_amount(now_unix_s)?;
    conn.execute(
        "INSERT INTO payments (wallet, state, created_at, changed_at)
         VALUES (?1, 'preparing', ?2, ?2)",
        params![wallet, now],
    )?;
    let id = conn.last_insert_rowid();
    for slice in payees.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
        let tx = immediate(conn)?;
        let mut insert =
            tx.prepare_cached("INSERT INTO payment_outputs VALUES (?1, ?2, ?3, ?4)")?;
        for payee in slice {
            let amount = signed_amount(payee.amount)?;
            insert.execute(params![id, payee.account_id, payee.address, amount])?;
        }
        drop(insert);
        tx.commit()?;
    }
    // Nobody else changes a balance while this process holds the payout lock.
    let overdrawn: i64 = conn.query_row(
        "SELECT count(*) FROM payment_outputs AS o JOIN balances AS b ON b.account = o.account
          WHERE o.payment = ?1 AND o.amount > b.balance",
        [id],
        |row| row.get(0),
    )?;
    if overdrawn != 0 {
        bail!("{overdrawn} accounts would be paid more than their balance");
    }
    let changed = conn.execute(
        "UPDATE payments SET state = 'open' WHERE id = ?1 AND state = 'preparing'",
        [id],
    )?;
    expect_one(changed)?;
    Ok(id)
}

/// Stores the transaction that pays. From here on the payment is never forgotten.
pub(super) fn store(
    conn: &Connection,
    id: i64,
    signed: &Signed,
    now_unix_s: u64,
) -> anyhow::Result<()> {
    let fee = signed_amount(signed.network_fee)?;
    let now = signed_amount(now_unix_s)?;
    let changed = conn
        .execute(
            "UPDATE payments SET state = 'signed', txid = ?2, raw = ?3, network_fee = ?4,
               changed_at = ?5
              WHERE id = ?1 AND state = 'open' AND raw IS NULL",
            params![id, signed.txid, signed.raw, fee, now],
        )
        .with_context(|| format!("failed to store the transaction of payment {id}"))?;
    expect_one(changed)
}

/// Records how far a signed payment has come.
pub(super) fn mark(
    conn: &Connection,
    id: i64,
    state: PaymentState,
    now_unix_s: u64,
) -> anyhow::Result<()> {
    let now = signed_amount(now_unix_s)?;
    let changed = conn
        .execute(
            "UPDATE payments SET state = ?2, changed_at = ?3
              WHERE id = ?1 AND state IN ('signed', 'sent')",
            params![id, state.name(), now],
        )
        .with_context(|| format!("failed to mark payment {id} as {}", state.name()))?;
    expect_one(changed)
}

fn expect_one(changed: usize) -> anyhow::Result<()> {
    if changed != 1 {
        bail!("somebody else has changed the payment");
    }
    Ok(())
}

fn signed_amount(amount: u64) -> anyhow::Result<i64> {
    i64::try_from(amount).with_context(|| format!("{amount} is more than a ledger can hold"))
}
