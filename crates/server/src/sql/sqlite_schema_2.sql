-- The ledger, version 2: where several servers share one, rows say which server they are of. In a
-- file that is always 0.

CREATE TABLE credit_2 (
  height     INTEGER NOT NULL,
  account    INTEGER NOT NULL REFERENCES accounts,
  difficulty REAL NOT NULL CHECK (difficulty > 0), -- as it was announced
  origin     INTEGER NOT NULL,
  count      INTEGER NOT NULL CHECK (count > 0),
  PRIMARY KEY (height, account, difficulty, origin)
) STRICT, WITHOUT ROWID;
INSERT INTO credit_2 SELECT height, account, difficulty, 0, count FROM credit;
DROP TABLE credit;
ALTER TABLE credit_2 RENAME TO credit;

CREATE TABLE statistics_2 (
  span           INTEGER NOT NULL CHECK (span IN (600, 3600, 86400)),
  start          INTEGER NOT NULL,                 -- a multiple of span
  worker         INTEGER NOT NULL REFERENCES workers,
  origin         INTEGER NOT NULL,
  accepted       INTEGER NOT NULL,
  accepted_work  REAL NOT NULL,
  stale          INTEGER NOT NULL,
  stale_work     REAL NOT NULL,
  low            INTEGER NOT NULL,
  low_work       REAL NOT NULL,
  duplicate      INTEGER NOT NULL,
  duplicate_work REAL NOT NULL,
  PRIMARY KEY (span, start, worker, origin)
) STRICT, WITHOUT ROWID;
INSERT INTO statistics_2
  SELECT span, start, worker, 0, accepted, accepted_work, stale, stale_work, low, low_work,
    duplicate, duplicate_work
  FROM statistics;
DROP TABLE statistics;
ALTER TABLE statistics_2 RENAME TO statistics;

ALTER TABLE blocks ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;

-- And what is on its way to the shared ledger. docs/ledger.md explains it; keep the two alike. Empty
-- without --stratum-database.

-- As which files this one is known there. The last takes what is new; another begins where the shared
-- ledger has more of this file than the file itself.
CREATE TABLE outbox_origins (
  id       INTEGER PRIMARY KEY,
  origin   BLOB NOT NULL UNIQUE CHECK (length(origin) = 16), -- random; the first is that of meta
  sequence INTEGER NOT NULL,                       -- the last batch
  digest   BLOB NOT NULL,                          -- of that batch and of all before it
  shipped  INTEGER NOT NULL,                       -- the last batch that is known to be there
  life     BLOB NOT NULL CHECK (length(life) = 16) -- the run of the server that gathers what is pending
) STRICT;

-- Shares, as in credit, that are in no batch yet.
CREATE TABLE pending_credit (
  height     INTEGER NOT NULL,
  account    INTEGER NOT NULL REFERENCES accounts,
  difficulty REAL NOT NULL CHECK (difficulty > 0),
  count      INTEGER NOT NULL CHECK (count > 0),
  PRIMARY KEY (height, account, difficulty)
) STRICT, WITHOUT ROWID;

-- What workers sent, as in statistics, that is in no batch yet.
CREATE TABLE pending_statistics (
  span           INTEGER NOT NULL,
  start          INTEGER NOT NULL,
  worker         INTEGER NOT NULL REFERENCES workers,
  accepted       INTEGER NOT NULL,
  accepted_work  REAL NOT NULL,
  stale          INTEGER NOT NULL,
  stale_work     REAL NOT NULL,
  low            INTEGER NOT NULL,
  low_work       REAL NOT NULL,
  duplicate      INTEGER NOT NULL,
  duplicate_work REAL NOT NULL,
  PRIMARY KEY (span, start, worker)
) STRICT, WITHOUT ROWID;

-- Batches: sealed, they never change. Kept for a week after they were shipped.
CREATE TABLE outbox (
  id         INTEGER PRIMARY KEY,
  origin     INTEGER NOT NULL REFERENCES outbox_origins,
  sequence   INTEGER NOT NULL,                     -- from 1
  life       BLOB NOT NULL,                        -- the run of the server that gathered it
  digest     BLOB NOT NULL,                        -- of it and of all before it
  sealed_at  INTEGER NOT NULL,
  shipped_at INTEGER,                              -- when it was known to be in the shared ledger
  bytes      INTEGER NOT NULL,                     -- of its body
  UNIQUE (origin, sequence)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (origin, sequence, sealed_at, bytes) WHERE shipped_at IS NULL;

-- What is in them (crates/server/src/store/body.rs). Apart, so that a mark does not write it anew.
CREATE TABLE outbox_bodies (
  id   INTEGER PRIMARY KEY REFERENCES outbox,
  body BLOB NOT NULL
) STRICT;
