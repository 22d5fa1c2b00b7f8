//! The rows of `payments`, from the plan to the confirmed transaction.
//!
//! A payment goes through its states in one direction, each step in one small transaction: preparing → open →
//! signed → sent → confirmed, or abandoned. A 'preparing' payment counts for nothing; from 'open' on its
//! amounts are deducted from the balances. Until it is 'signed' nobody has a transaction that could pay it,
//! so it may be deleted; after that it may not.

use anyhow::{Context, bail};

use super::payee::Payee;
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;
use crate::sql::inserted_rows::InsertedRows;
use crate::sql::{Db, Sql, Value};
use crate::values;
use hstratum_core::plural::counted;

/// State of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// Being written.
    Preparing,
    /// Its amounts are deducted from the balances.
    Open,
    /// Its transaction is stored.
    Signed,
    /// A node has accepted its transaction.
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

/// A signed transaction, as stored.
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
    /// Present from 'signed' on.
    pub(super) signed: Option<Signed>,
    /// Unix seconds.
    pub(super) created_at: u64,
}

/// The wallet's unfinished payment. There is at most one.
pub(super) fn unfinished(sql: &mut dyn Sql, wallet: &str) -> anyhow::Result<Option<Unfinished>> {
    let row = sql
        .query_opt(
            "SELECT id, state, txid, raw, network_fee, created_at FROM payments
              WHERE wallet = ?1 AND state IN ('preparing', 'open', 'signed', 'sent')",
            &values![wallet],
        )
        .context("failed to read the payments")?;
    let Some(row) = row else {
        return Ok(None);
    };
    let (id, state): (i64, String) = (row.get(0)?, row.get(1)?);
    let signed = match (row.get(2)?, row.get(3)?) {
        (Some(txid), Some(raw)) => Some(Signed {
            txid,
            raw,
            network_fee: row.get(4)?,
        }),
        _ => None,
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
        created_at: row.get(5)?,
    }))
}

/// Time at which the wallet's payment that is on its way was begun, Unix seconds.
///
/// # Errors
/// When the ledger cannot be read.
pub fn payment_under_way(sql: &mut dyn Sql, wallet: &str) -> anyhow::Result<Option<u64>> {
    let found = unfinished(sql, wallet)?.filter(|found| found.signed.is_some());
    Ok(found.map(|found| found.created_at))
}

/// Deletes a payment that has no transaction.
pub(super) fn discard(db: &mut Db, id: i64) -> anyhow::Result<()> {
    discard_in_slices(db, id).with_context(|| format!("failed to discard payment {id}"))
}

fn discard_in_slices(db: &mut Db, id: i64) -> anyhow::Result<()> {
    change_one(
        db,
        "UPDATE payments SET state = 'preparing'
          WHERE id = ?1 AND raw IS NULL AND state IN ('preparing', 'open')",
        &values![id],
    )?;
    loop {
        let slice = values![id, PAYOUT_ROWS_PER_TRANSACTION];
        let deleted = db.write(|sql: &mut dyn Sql| {
            sql.execute(
                "DELETE FROM payment_outputs WHERE payment = ?1 AND account IN
                   (SELECT account FROM payment_outputs WHERE payment = ?1 LIMIT ?2)",
                &slice,
            )
        })?;
        if deleted == 0 {
            break;
        }
    }
    let delete = "DELETE FROM payments WHERE id = ?1 AND state = 'preparing'";
    change_one(db, delete, &values![id])
}

/// Deducts the amounts from the balances of the payees; returns the payment's row id.
pub(super) fn open(
    db: &mut Db,
    wallet: &str,
    payees: &[Payee],
    now_unix_s: u64,
) -> anyhow::Result<i64> {
    open_in_slices(db, wallet, payees, now_unix_s).context("failed to write the payment")
}

fn open_in_slices(
    db: &mut Db,
    wallet: &str,
    payees: &[Payee],
    now_unix_s: u64,
) -> anyhow::Result<i64> {
    let now = signed_amount(now_unix_s)?;
    let row = db.write(|sql: &mut dyn Sql| {
        sql.query_one(
            "INSERT INTO payments (wallet, state, created_at, changed_at)
             VALUES (?1, 'preparing', ?2, ?2) RETURNING id",
            &values![wallet, now],
        )
    })?;
    let id: i64 = row.get(0)?;
    for slice in payees.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
        let mut outputs = InsertedRows::after(id);
        for payee in slice {
            let amount = signed_amount(payee.amount)?;
            outputs.add(values![payee.account_id, &payee.address, amount], |at| {
                format!("(?1, ?{at}, ?{}, ?{})", at + 1, at + 2)
            });
        }
        let insert = "INSERT INTO payment_outputs (payment, account, address, amount) VALUES ROWS";
        db.write(|sql: &mut dyn Sql| outputs.insert(sql, insert))?;
    }
    db.write(|sql| take(sql, id))?;
    Ok(id)
}

/// Puts the payment into force, unless an account would be paid more than its balance.
fn take(sql: &mut dyn Sql, id: i64) -> anyhow::Result<()> {
    let overdrawn: i64 = sql
        .query_one(
            "SELECT count(*) FROM payment_outputs AS o JOIN balances AS b ON b.account = o.account
              WHERE o.payment = ?1 AND o.amount > b.balance",
            &values![id],
        )?
        .get(0)?;
    if overdrawn != 0 {
        bail!(
            "a payment of more than the balance: {}",
            counted(overdrawn, "account")
        );
    }
    let open = "UPDATE payments SET state = 'open' WHERE id = ?1 AND state = 'preparing'";
    expect_one(sql.execute(open, &values![id])?)
}

/// Stores the signed transaction. From here on the payment is never deleted.
pub(super) fn store(db: &mut Db, id: i64, signed: &Signed, now_unix_s: u64) -> anyhow::Result<()> {
    let fee = signed_amount(signed.network_fee)?;
    let now = signed_amount(now_unix_s)?;
    change_one(
        db,
        "UPDATE payments SET state = 'signed', txid = ?2, raw = ?3, network_fee = ?4,
           changed_at = ?5
          WHERE id = ?1 AND state = 'open' AND raw IS NULL",
        &values![id, &signed.txid, &signed.raw, fee, now],
    )
    .with_context(|| format!("failed to store the transaction of payment {id}"))
}

/// Records the new state of a signed payment.
pub(super) fn mark(
    db: &mut Db,
    id: i64,
    state: PaymentState,
    now_unix_s: u64,
) -> anyhow::Result<()> {
    let now = signed_amount(now_unix_s)?;
    change_one(
        db,
        "UPDATE payments SET state = ?2, changed_at = ?3
          WHERE id = ?1 AND state IN ('signed', 'sent')",
        &values![id, state.name(), now],
    )
    .with_context(|| format!("failed to mark payment {id} as {}", state.name()))
}

fn change_one(db: &mut Db, statement: &str, params: &[Value]) -> anyhow::Result<()> {
    expect_one(db.write(|sql: &mut dyn Sql| sql.execute(statement, params))?)
}

fn expect_one(changed: u64) -> anyhow::Result<()> {
    if changed != 1 {
        bail!("somebody else has changed the payment");
    }
    Ok(())
}

fn signed_amount(amount: u64) -> anyhow::Result<i64> {
    i64::try_from(amount).with_context(|| format!("{amount} is more than a ledger can hold"))
}
