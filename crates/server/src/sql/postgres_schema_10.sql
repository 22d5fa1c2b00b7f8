-- The shared ledger, from version 9 to 10: keys of accounts.

-- Keys by which programs ask in an account's name, and links that show the account.
CREATE TABLE account_keys (
  digest     TEXT PRIMARY KEY,                      -- BLAKE2b of the key, which is not kept
  account    BIGINT NOT NULL REFERENCES accounts,
  name       TEXT NOT NULL,                         -- chosen by the owner
  may        TEXT NOT NULL,                         -- 'read', 'settings', or 'link'
  created_at BIGINT NOT NULL,
  UNIQUE (account, name)
);

-- How often they have changed: whoever knows them reads them anew when it is another number.
CREATE TABLE key_changes (
  id     BIGINT PRIMARY KEY CHECK (id = 1),
  number BIGINT NOT NULL
);
INSERT INTO key_changes VALUES (1, 0);
