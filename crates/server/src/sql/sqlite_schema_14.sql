-- The ledger's file, from version 13 to 14: the best share of each worker.

-- Not money: the accepted share of each worker with the smallest hash. origin is as in statistics.
CREATE TABLE best_shares (
  worker     INTEGER NOT NULL REFERENCES workers,
  origin     INTEGER NOT NULL,
  difficulty REAL NOT NULL,                        -- the greatest that its hash meets
  at         INTEGER NOT NULL,                     -- Unix seconds
  PRIMARY KEY (worker, origin)
) STRICT, WITHOUT ROWID;
CREATE INDEX best_shares_by_difficulty ON best_shares (difficulty);

-- The same on its way to the shared ledger; 0: none.
ALTER TABLE pending_statistics ADD COLUMN best_share REAL NOT NULL DEFAULT 0;
ALTER TABLE pending_statistics ADD COLUMN best_share_at INTEGER NOT NULL DEFAULT 0;
