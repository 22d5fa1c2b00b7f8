-- The shared ledger, from version 2 to 3.

-- What a connection that remembers something wrote last, for each that a server has: a database that was
-- put back from a copy has another.
CREATE TABLE marks (
  origin BIGINT NOT NULL REFERENCES origins,
  duty   TEXT NOT NULL,                            -- ship, blocks
  mark   BYTEA NOT NULL,
  PRIMARY KEY (origin, duty)
);

-- The same server's later file, where it goes on from this one and no server runs with this one.
ALTER TABLE origins ADD COLUMN successor BIGINT REFERENCES origins;

-- Spans of heights whose credit was merged: that from first on is at last.
CREATE TABLE spans (
  last  BIGINT PRIMARY KEY,
  first BIGINT NOT NULL
);
INSERT INTO spans (last, first)
SELECT last, min(height) FROM (
  SELECT height, (SELECT min(c.height) FROM credit AS c WHERE c.height > heights.height) AS last
  FROM heights WHERE NOT EXISTS (SELECT 1 FROM credit AS c WHERE c.height = heights.height)
) AS moved WHERE last IS NOT NULL GROUP BY last;

-- The run that gathered a batch is known for ever: by the first batch of each.
CREATE INDEX batches_by_life ON batches (origin, life, sequence);
