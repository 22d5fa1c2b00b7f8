-- The ledger, version 3: what is known of the chain, so that a node that knows less decides nothing.

-- The end of the chain with the most work that anybody has shown this ledger; one row, or none yet.
CREATE TABLE highest_tip (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  height  INTEGER NOT NULL,
  hash    TEXT NOT NULL,
  work    TEXT NOT NULL,                           -- hsd's chainwork: 64 hex digits
  seen_at INTEGER NOT NULL
) STRICT;

-- Of an orphaned or refused block: since when another one at its height is known to be as deep as a
-- reward must be. Until then blocks above it are not settled.
ALTER TABLE blocks ADD COLUMN final_at INTEGER;
CREATE INDEX blocks_unproven ON blocks (height, hash)
  WHERE state IN ('orphaned', 'refused') AND final_at IS NULL;

-- Up to this height credit was deleted after it was divided; -1: none was.
ALTER TABLE meta ADD COLUMN pruned_to INTEGER NOT NULL DEFAULT -1;
UPDATE meta SET pruned_to = coalesce((
  SELECT max(b.height) FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
   WHERE s.state <> 'preparing' AND s.scheme <> 'elsewhere' AND s.shares > 0
     AND b.height < coalesce((SELECT min(height) FROM credit), b.height + 1)), -1);
