-- The shared ledger, from version 5 to 6: whether payouts are paused, and the end of the last one.

-- At most one row.
CREATE TABLE payouts (
  id        BIGINT PRIMARY KEY CHECK (id = 1),
  paused_at BIGINT,                 -- begin of the pause; null unless payouts are paused
  paused_by TEXT,                   -- a server's name, or 'hstratum payout'
  runs      BIGINT NOT NULL,        -- number of runs so far
  ran_at    BIGINT,                 -- begin of the last run
  ran_by    TEXT,                   -- a server's name, or 'hstratum payout'
  failure   TEXT                    -- the obstacle that the last run met; null if it came to its end
);
