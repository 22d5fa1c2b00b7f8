-- The shared ledger, from version 8 to 9: payout addresses that hold from a time on.

-- Where the account is paid from next_address_at (Unix seconds) on, instead of at its address. Read `payees` for what
-- holds now.
ALTER TABLE accounts ADD COLUMN next_address TEXT;
ALTER TABLE accounts ADD COLUMN next_address_at BIGINT;

-- The time by which that is decided, the same for all servers.
CREATE VIEW clock AS SELECT floor(extract(epoch FROM now()))::BIGINT AS unix_s;

-- The accounts, and where they are paid now; no address: at the name, if that is one. The next address is there until
-- it holds.
CREATE VIEW payees AS
  SELECT a.id, a.name, a.threshold,
         CASE WHEN a.next_address_at <= c.unix_s THEN a.next_address ELSE a.address END AS address,
         CASE WHEN a.next_address_at > c.unix_s THEN a.next_address END AS next_address,
         CASE WHEN a.next_address_at > c.unix_s THEN a.next_address_at END AS next_address_at
    FROM accounts AS a CROSS JOIN clock AS c;
