-- The ledger, version 6: the pool's terms for its miners over time, thresholds of accounts, and an index.

-- Rows are never changed or deleted. A block is divided under the row with the greatest from_height at or
-- below its height; of equals the newest counts.
CREATE TABLE terms (
  id            INTEGER PRIMARY KEY,
  from_height   INTEGER NOT NULL CHECK (from_height >= 0), -- 0 in the first row
  scheme        TEXT NOT NULL CHECK (scheme IN ('prop', 'pplns')),
  "window"      TEXT NOT NULL DEFAULT '',          -- of pplns, in network difficulties, a decimal number
  fee_ppm       INTEGER NOT NULL CHECK (fee_ppm BETWEEN 0 AND 1000000), -- the pool's fee, in millionths
  threshold     INTEGER NOT NULL,                  -- balance from which an account is paid
  threshold_min INTEGER NOT NULL,                  -- smallest one that an account may choose
  set_at        INTEGER NOT NULL,
  set_by        TEXT NOT NULL                      -- the server's name
) STRICT;

-- Balance from which the account is paid; none: the pool's.
ALTER TABLE accounts ADD COLUMN threshold INTEGER;

-- Whether a block is settled is asked for each block. SQLite does not see that `state = 'settled'` implies the
-- condition of settlements_once, as PostgreSQL does.
CREATE INDEX settlements_by_block ON settlements (block, state);
