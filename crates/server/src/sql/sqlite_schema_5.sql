-- The ledger, version 5: when a worker's shares came within a span, and what was told late.

-- Unix seconds of the first and the last accepted share in the span; 0: none, or not known.
ALTER TABLE statistics ADD COLUMN first_share INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statistics ADD COLUMN last_share INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pending_statistics ADD COLUMN first_share INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pending_statistics ADD COLUMN last_share INTEGER NOT NULL DEFAULT 0;

-- Hours whose statistics grew when they were long over: who remembers their sums reads them anew.
CREATE TABLE late_statistics (
  start   INTEGER NOT NULL,                        -- a multiple of 3600
  origin  INTEGER NOT NULL,
  changes INTEGER NOT NULL,
  PRIMARY KEY (start, origin)
) STRICT, WITHOUT ROWID;
