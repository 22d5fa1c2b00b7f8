-- The shared ledger, from version 12 to 13: the best share of each worker.

-- Not money: the accepted share of each worker with the smallest hash, on each server. Each writes rows of its own, so
-- that none waits for another.
CREATE TABLE best_shares (
  worker     BIGINT NOT NULL REFERENCES workers,
  origin     BIGINT NOT NULL,
  difficulty DOUBLE PRECISION NOT NULL,            -- the greatest that its hash meets
  at         BIGINT NOT NULL,                      -- Unix seconds
  PRIMARY KEY (worker, origin)
);
CREATE INDEX best_shares_by_difficulty ON best_shares (difficulty);
