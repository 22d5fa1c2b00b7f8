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
