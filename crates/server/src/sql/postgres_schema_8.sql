-- The shared ledger, from version 7 to 8: blocks whose coinbase pays accounts directly.

-- 1: it was written with its block, as the block's coinbase has it. It is 'preparing' until the block's reward can
-- be spent, then 'settled', and 'preparing' again if the block is lost for good.
ALTER TABLE settlements ADD COLUMN is_frozen BIGINT NOT NULL DEFAULT 0;

-- The block whose coinbase this is; none: a transaction of the wallet. 'preparing' and 'confirmed' with the
-- settlement of the block.
ALTER TABLE payments ADD COLUMN block TEXT REFERENCES blocks;
CREATE UNIQUE INDEX payments_by_block ON payments (block) WHERE block IS NOT NULL;

-- What jobs of a server have paid of an account's balance, and the last height for which they did: until a block at
-- that height is as deep as a reward must be, nobody else pays that much of it.
CREATE TABLE split_offers (
  server  TEXT NOT NULL,                           -- the server's name; untrusted text
  account BIGINT NOT NULL REFERENCES accounts,
  height  BIGINT NOT NULL,
  amount  BIGINT NOT NULL,                         -- the most of it that a job has paid, base units
  PRIMARY KEY (server, account)
);
CREATE INDEX split_offers_by_account ON split_offers (account, height);
