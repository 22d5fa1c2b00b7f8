-- The ledger, version 8: blocks that pay their finder.

-- 'operator': the reward is divided. 'solo': the coinbase has paid the finder; the block closes no round.
ALTER TABLE blocks ADD COLUMN payout TEXT NOT NULL DEFAULT 'operator';
