-- The shared ledger, from version 3 to 4: when a worker's shares came within a span, and what was told late.

-- Unix seconds of the first and the last accepted share in the span; 0: none, or not known.
ALTER TABLE statistics ADD COLUMN first_share BIGINT NOT NULL DEFAULT 0;
ALTER TABLE statistics ADD COLUMN last_share BIGINT NOT NULL DEFAULT 0;

-- Hours whose statistics grew when they were long over: who remembers their sums reads them anew.
CREATE TABLE late_statistics (
  start   BIGINT NOT NULL,                         -- a multiple of 3600
  origin  BIGINT NOT NULL,
  changes BIGINT NOT NULL,
  PRIMARY KEY (start, origin)
);
