-- The ledger's file, from version 12 to 13: who has changed what.

-- Changes by the operator and by owners of accounts. One of the ledger is written with it; another, of users, bans or
-- drains, before it is made, and its outcome after.
CREATE TABLE audit (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,                       -- Unix seconds
  server   TEXT NOT NULL,                          -- server-id; of a command empty
  account  TEXT,                                   -- whose owner has made it; none: the operator
  via      TEXT NOT NULL,                          -- session, token, key, rpc, wire, command
  origin   TEXT,                                   -- the client's address; of a command the user of the machine
  change   TEXT NOT NULL,                          -- set-address, ban, …
  subject  TEXT NOT NULL,                          -- the account, address or server; untrusted text
  detail   TEXT NOT NULL,                          -- what it is now, without secrets; untrusted text
  outcome  TEXT CHECK (outcome IN ('done', 'refused')),  -- none: not known
  reason   TEXT                                    -- why it was refused, or is not known
) STRICT;
CREATE INDEX audit_of_accounts ON audit (account, change, id);
CREATE INDEX audit_of_subjects ON audit (subject, id);
