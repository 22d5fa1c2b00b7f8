-- The ledger's file, from version 10 to 11: keys of accounts.

-- Keys by which programs ask in an account's name, and links that show the account.
CREATE TABLE account_keys (
  digest     TEXT PRIMARY KEY,                      -- BLAKE2b of the key, which is not kept
  account    INTEGER NOT NULL REFERENCES accounts,
  name       TEXT NOT NULL,                         -- chosen by the owner
  may        TEXT NOT NULL,                         -- 'read', 'settings', or 'link'
  created_at INTEGER NOT NULL,
  UNIQUE (account, name)
) STRICT;

-- How often they have changed: whoever knows them reads them anew when it is another number.
CREATE TABLE key_changes (
  id     INTEGER PRIMARY KEY CHECK (id = 1),
  number INTEGER NOT NULL
) STRICT;
INSERT INTO key_changes VALUES (1, 0);
