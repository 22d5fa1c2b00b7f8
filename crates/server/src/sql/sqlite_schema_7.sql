-- The ledger, version 7: whether payouts are paused, and the end of the last one.

-- At most one row.
CREATE TABLE payouts (
  id        INTEGER PRIMARY KEY CHECK (id = 1),
  paused_at INTEGER,                -- begin of the pause; null unless payouts are paused
  paused_by TEXT,                   -- a server's name, or 'hstratum payout'
  runs      INTEGER NOT NULL,       -- number of runs so far
  ran_at    INTEGER,                -- begin of the last run
  ran_by    TEXT,                   -- a server's name, or 'hstratum payout'
  failure   TEXT                    -- the obstacle that the last run met; null if it came to its end
) STRICT;
