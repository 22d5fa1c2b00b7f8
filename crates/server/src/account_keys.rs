//! Keys by which programs ask in an account's name, and links that show the account to others: rows of `account_keys`.
//!
//! A key is 256 random bits, of which the ledger has the digest. No guess finds one, so that a fast hash without salt is
//! enough; what needs a slow one is a password, which somebody has chosen.

use std::collections::HashMap;
use std::sync::Arc;

use hstratum_core::units::Hash;

use crate::limits::{ACCOUNT_KEYS_MAX, KEYS_MAX};
use crate::sql::{Row, Sql, SqlError, Value};
use crate::values;

/// The beginning of every key, which tells it from other tokens.
pub(crate) const PREFIX: &str = "hsk_";

/// Hex digits of a key after that.
const KEY_DIGITS: usize = 64;

/// Hex digits of a digest by which its key is named.
const ID_DIGITS: usize = 16;

/// What the holder of a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRight {
    /// See what the account's owner sees.
    Read,
    /// The same, and change ordinary settings.
    Settings,
    /// Of a link: see of the account what everybody sees where the dashboard is public.
    Link,
}

/// What becomes of the keys of a user that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeysOfUser {
    /// They stay: there are none, or the password is the same.
    Kept,
    /// None outlives the password under which it was made.
    Revoked,
}

/// A key to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Digest of the key.
    pub digest: Hash,
    /// The owner's name for it.
    pub name: String,
    /// What it is for.
    pub right: KeyRight,
}

/// In whose name a request with a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyHolder {
    pub account: Arc<str>,
    pub right: KeyRight,
}

/// The keys of all accounts, for those who ask with them.
pub(crate) struct AllKeys {
    /// How often keys had changed.
    pub number: i64,
    /// By the keys' digests.
    pub holders: HashMap<Hash, KeyHolder>,
}

/// A key in the ledger, for its owner.
pub(crate) struct StoredKey {
    pub id: String,
    pub name: String,
    pub right: KeyRight,
    /// Unix seconds.
    pub created_at: i64,
}

impl KeyRight {
    /// Its name in the ledger and the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Settings => "settings",
            Self::Link => "link",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Read, Self::Settings, Self::Link];
        all.into_iter().find(|right| right.name() == name)
    }
}

/// The digest of a text that has the form of a key; `None` for another text.
pub(crate) fn digest(text: &[u8]) -> Option<Hash> {
    let digits = text.strip_prefix(PREFIX.as_bytes())?;
    (digits.len() == KEY_DIGITS).then(|| Hash::blake2b(&[text]))
}

/// The name by which the API revokes a key.
pub(crate) fn id(digest: &Hash) -> String {
    let mut id = digest.to_string();
    id.truncate(ID_DIGITS);
    id
}

/// The keys and links of an account, oldest first.
pub(crate) fn of_account(sql: &mut dyn Sql, account: &str) -> Result<Vec<StoredKey>, SqlError> {
    let query = "SELECT k.digest, k.may, k.name, k.created_at
                   FROM account_keys AS k JOIN accounts AS a ON a.id = k.account
                  WHERE a.name = ?1 ORDER BY k.created_at, k.digest";
    let rows = sql.query(query, &values![account])?;
    let stored = rows.iter().filter_map(|row| {
        let (digest, right) = known(row)?;
        Some(row.get(2).and_then(|name| {
            Ok(StoredKey {
                id: id(&digest),
                name,
                right,
                created_at: row.get(3)?,
            })
        }))
    });
    stored.collect()
}

/// All keys; `None` if they have changed as often as when they were `seen`.
pub(crate) fn all(sql: &mut dyn Sql, seen: Option<i64>) -> Result<Option<AllKeys>, SqlError> {
    let number = sql.query_one("SELECT number FROM key_changes", &[])?;
    let number: i64 = number.get(0)?;
    if seen == Some(number) {
        return Ok(None);
    }
    let mut holders = HashMap::new();
    let query = "SELECT k.digest, k.may, a.name
                   FROM account_keys AS k JOIN accounts AS a ON a.id = k.account";
    sql.each(query, &[], &mut |row| {
        let account: String = row.get(2)?;
        if let Some((digest, right)) = known(row) {
            let account = account.into();
            holders.insert(digest, KeyHolder { account, right });
        }
        Ok(())
    })?;
    Ok(Some(AllKeys { number, holders }))
}

/// Digest and right of a row that begins with them; `None` for what no version of this program writes.
fn known(row: &Row) -> Option<(Hash, KeyRight)> {
    let (digest, right): (String, String) = (row.get(0).ok()?, row.get(1).ok()?);
    Some((Hash::from_hex(&digest)?, KeyRight::from_name(&right)?))
}

/// Adds a key to an account that is there; returns 0 if its name is taken, or there are as many as there may be.
pub(crate) fn add(sql: &mut dyn Sql, account: &str, key: &NewKey) -> Result<u64, SqlError> {
    let insert = "INSERT INTO account_keys (digest, account, name, may, created_at)
                  SELECT CAST(?2 AS TEXT), a.id, CAST(?3 AS TEXT), CAST(?4 AS TEXT), c.unix_s
                    FROM accounts AS a CROSS JOIN clock AS c
                   WHERE a.name = ?1 AND (SELECT count(*) FROM account_keys) < ?6
                     AND (SELECT count(*) FROM account_keys AS k WHERE k.account = a.id) < ?5
                  ON CONFLICT DO NOTHING";
    let (digest, right) = (key.digest.to_string(), key.right.name());
    let row = values![
        account,
        digest,
        &key.name,
        right,
        ACCOUNT_KEYS_MAX,
        KEYS_MAX
    ];
    change(sql, insert, &row)
}

/// Revokes a key of an account; returns 0 if it is not there.
pub(crate) fn revoke(sql: &mut dyn Sql, account: &str, id: &str) -> Result<u64, SqlError> {
    let delete = format!(
        "DELETE FROM account_keys WHERE substr(digest, 1, {ID_DIGITS}) = ?2
            AND account = (SELECT id FROM accounts WHERE name = ?1)"
    );
    change(sql, &delete, &values![account, id])
}

/// Revokes all keys and links of an account.
pub(crate) fn revoke_all(sql: &mut dyn Sql, account: &str) -> Result<u64, SqlError> {
    let delete =
        "DELETE FROM account_keys WHERE account = (SELECT id FROM accounts WHERE name = ?1)";
    change(sql, delete, &values![account])
}

fn change(sql: &mut dyn Sql, change: &str, parameters: &[Value]) -> Result<u64, SqlError> {
    let changed = sql.execute(change, parameters)?;
    if changed > 0 {
        sql.execute("UPDATE key_changes SET number = number + 1", &[])?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sql::sqlite_schema;

    fn key(number: u8, name: &str) -> NewKey {
        NewKey {
            digest: Hash([number; 32]),
            name: name.to_owned(),
            right: KeyRight::Read,
        }
    }

    #[test]
    fn an_account_and_the_pool_have_so_many_keys() {
        let conn = Connection::open_in_memory().expect("memory");
        sqlite_schema::create(&conn, "regtest", [0; 16], 7).expect("tables");
        let people =
            "INSERT INTO accounts (id, name) VALUES (1, 'alice'), (2, 'bob'), (3, 'carol')";
        conn.execute_batch(people).expect("accounts");
        let mut sql = &conn;
        for (number, added) in (0..).zip([1; ACCOUNT_KEYS_MAX as usize].into_iter().chain([0])) {
            let key = key(number, &number.to_string());
            assert_eq!(
                add(&mut sql, "alice", &key).expect("asked"),
                added,
                "{number}"
            );
        }
        assert_eq!(add(&mut sql, "nobody", &key(99, "a")).expect("asked"), 0);
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYS_MAX} - 17)
             INSERT INTO account_keys SELECT printf('%064x', i), 2, i, 'read', 0 FROM n"
        );
        conn.execute_batch(&fill).expect("filled");
        let mut add = |number| add(&mut sql, "carol", &key(number, &number.to_string()));
        assert_eq!(
            [add(100), add(101)].map(|added| added.expect("asked")),
            [1, 0]
        );
        let AllKeys { number, holders } = all(&mut sql, None).expect("read").expect("new");
        assert_eq!(holders.len() as u64, KEYS_MAX);
        assert_eq!(number, 17, "of those that were added here");
        assert!(all(&mut sql, Some(number)).expect("read").is_none());

        let id = id(&Hash([3; 32]));
        assert_eq!(revoke(&mut sql, "bob", &id).expect("asked"), 0, "hers");
        assert_eq!(revoke(&mut sql, "alice", &id).expect("asked"), 1);
        assert_eq!(revoke_all(&mut sql, "alice").expect("asked"), 15);
        assert_eq!(of_account(&mut sql, "alice").expect("read").len(), 0);
        assert_eq!(of_account(&mut sql, "carol").expect("read").len(), 1);
        let read = all(&mut sql, Some(number)).expect("read").expect("new");
        assert_eq!(read.number, 19);
    }
}
