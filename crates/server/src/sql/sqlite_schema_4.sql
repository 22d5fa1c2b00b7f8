-- The ledger, version 4: which heights' credit was merged.

-- Spans of heights whose credit was merged: that from first on is at last.
CREATE TABLE spans (
  last  INTEGER PRIMARY KEY,
  first INTEGER NOT NULL
) STRICT;
INSERT INTO spans (last, first)
SELECT last, min(height) FROM (
  SELECT height, (SELECT min(c.height) FROM credit AS c WHERE c.height > heights.height) AS last
  FROM heights WHERE NOT EXISTS (SELECT 1 FROM credit AS c WHERE c.height = heights.height)
) AS moved WHERE last IS NOT NULL GROUP BY last;
