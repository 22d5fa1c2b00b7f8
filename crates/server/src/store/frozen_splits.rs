//! The split of a found block in the ledger: a settlement and a payment, written in the block's transaction as its
//! coinbase has them.
//!
//! They are 'preparing' and count for nothing until the block's reward can be spent. The look that says so puts
//! both into force, and the look that says that the block is lost for good takes both out, in its own transaction.
//! Nothing is divided anew, and a block that comes back brings both back. Until it is decided, what the coinbase
//! pays out of balances is promised: see `payout::promises`.

use std::sync::Arc;

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounting::terms::Scheme;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase_split::{SplitLine, SplitRecord};
use hstratum_core::units::Hash;

use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;
use crate::sql::inserted_rows::InsertedRows;
use crate::sql::{Row, Sql, SqlError};
use crate::values;

/// Writes the split of a block that was just inserted, by its hash and the id of its coinbase.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn write(
    sql: &mut dyn Sql,
    network: Network,
    (hash, txid): (&str, &str),
    record: &SplitRecord,
    unix_s: i64,
) -> Result<(), SqlError> {
    let row = sql.query_one(
        "INSERT INTO settlements (block, state, scheme, \"window\", fee_ppm, from_height, shares,
                                  reward, fee, remainder, settled_at, is_frozen)
         VALUES (?1, 'preparing', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1) RETURNING id",
        &values![
            hash,
            record.scheme.name(),
            record.scheme.window(),
            record.fee_part.get(),
            record.from_height,
            record.shares,
            record.reward,
            record.fee,
            record.remainder,
            unix_s,
        ],
    )?;
    let settlement: i64 = row.get(0)?;
    let is_paid = record.lines.iter().any(|line| line.output.is_some());
    let payment: Option<i64> = match is_paid {
        false => None,
        true => {
            let row = sql.query_one(
                "INSERT INTO payments (wallet, state, txid, created_at, changed_at, block)
                 VALUES (?1, 'preparing', ?2, ?3, ?3, ?4) RETURNING id",
                &values![format!("coinbase {hash}"), txid, unix_s, hash],
            )?;
            Some(row.get(0)?)
        }
    };
    for lines in record.lines.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
        write_lines(sql, network, (settlement, payment), lines)?;
    }
    Ok(())
}

fn write_lines(
    sql: &mut dyn Sql,
    network: Network,
    (settlement, payment): (i64, Option<i64>),
    lines: &[SplitLine],
) -> Result<(), SqlError> {
    let mut names = InsertedRows::default();
    let mut credits = InsertedRows::after(settlement);
    let mut outputs = InsertedRows::after(payment.unwrap_or_default());
    for line in lines {
        let account = &*line.account;
        names.add(values![account], |at| format!("(?{at})"));
        credits.add(values![account, line.part], |at| {
            format!("(?1, {}, ?{})", id_of(at), at + 1)
        });
        if let Some((address, value)) = &line.output {
            let address = address.encode(network);
            outputs.add(values![account, address, *value], |at| {
                format!("(?1, {}, ?{}, ?{})", id_of(at), at + 1, at + 2)
            });
        }
    }
    let new = "INSERT INTO accounts (name) VALUES ROWS ON CONFLICT (name) DO NOTHING";
    names.insert(sql, new)?;
    let credit = "INSERT INTO settlement_credits (settlement, account, amount) VALUES ROWS";
    credits.insert(sql, credit)?;
    let output = "INSERT INTO payment_outputs (payment, account, address, amount) VALUES ROWS";
    outputs.insert(sql, output)
}

/// SQL for the row id of the account whose name is a parameter.
fn id_of(parameter: usize) -> String {
    format!("(SELECT id FROM accounts WHERE name = ?{parameter})")
}

/// Reads the split of a block; `None` if the ledger has none of it.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn read(
    sql: &mut dyn Sql,
    network: Network,
    hash: &Hash,
) -> Result<Option<Arc<SplitRecord>>, SqlError> {
    let hash = hash.to_string();
    let settlement = sql.query_opt(
        "SELECT id, scheme, \"window\", fee_ppm, from_height, shares, reward, fee, remainder
           FROM settlements WHERE block = ?1 AND is_frozen = 1",
        &values![&hash],
    )?;
    let Some(row) = settlement else {
        return Ok(None);
    };
    let damaged =
        |what: &str| SqlError::Failed(format!("the split of block {hash} is damaged: {what}"));
    let (scheme, window): (String, String) = (row.get(1)?, row.get(2)?);
    let scheme = Scheme::from_stored(&scheme, &window).ok_or_else(|| damaged("its terms"))?;
    let fee_part = FeePpm::new(row.get(3)?).ok_or_else(|| damaged("its fee"))?;
    let lines = sql.query(
        "SELECT a.name, c.amount, o.address, o.amount
           FROM settlement_credits AS c JOIN accounts AS a ON a.id = c.account
           LEFT JOIN payments AS p ON p.block = ?2
           LEFT JOIN payment_outputs AS o ON o.payment = p.id AND o.account = c.account
          WHERE c.settlement = ?1 ORDER BY a.name",
        &values![row.get::<i64>(0)?, &hash],
    )?;
    let line = |row: &Row| {
        let name: String = row.get(0)?;
        let output = match (row.get::<Option<String>>(2)?, row.get(3)?) {
            (Some(address), Some(value)) => {
                let address = Address::parse_payable(&address, network);
                Some((address.ok_or_else(|| damaged("an address"))?, value))
            }
            _ => None,
        };
        Ok(SplitLine {
            account: name.into(),
            part: row.get(1)?,
            output,
        })
    };
    Ok(Some(Arc::new(SplitRecord {
        scheme,
        fee_part,
        from_height: row.get(4)?,
        shares: row.get(5)?,
        reward: row.get(6)?,
        fee: row.get(7)?,
        remainder: row.get(8)?,
        lines: lines.iter().map(line).collect::<Result<_, SqlError>>()?,
    })))
}

/// Puts the split of a block into force: its reward can be spent.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn enforce(sql: &mut dyn Sql, hash: &Hash, unix_s: i64) -> Result<(), SqlError> {
    set_states(sql, hash, ("settled", "confirmed"), unix_s)
}

/// Takes the split of a block out of force: the block is lost for good.
///
/// # Errors
/// See [`SqlError`].
pub(super) fn revoke(sql: &mut dyn Sql, hash: &Hash, unix_s: i64) -> Result<(), SqlError> {
    set_states(sql, hash, ("preparing", "preparing"), unix_s)
}

/// Sets the states of settlement and payment.
fn set_states(
    sql: &mut dyn Sql,
    hash: &Hash,
    (settlement, payment): (&str, &str),
    unix_s: i64,
) -> Result<(), SqlError> {
    let hash = hash.to_string();
    sql.execute(
        "UPDATE settlements SET state = ?2, settled_at = ?3
          WHERE block = ?1 AND is_frozen = 1 AND state <> ?2",
        &values![&hash, settlement, unix_s],
    )?;
    sql.execute(
        "UPDATE payments SET state = ?2, changed_at = ?3 WHERE block = ?1 AND state <> ?2",
        &values![&hash, payment, unix_s],
    )?;
    Ok(())
}
