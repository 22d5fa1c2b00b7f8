-- The ledger's file, from version 11 to 12: what accounts are told, and where.

-- What an account wants to be told. It is written with its first contact.
CREATE TABLE alert_settings (
  account        INTEGER PRIMARY KEY REFERENCES accounts,
  language       TEXT NOT NULL,                    -- en, zh
  silent_minutes INTEGER,                          -- none: silence is not told
  drop_percent   INTEGER,                          -- none: a fall of the hashrate is not told
  blocks         INTEGER NOT NULL,                 -- these: 1 or 0
  payments       INTEGER NOT NULL,
  sign_ins       INTEGER NOT NULL,
  changes        INTEGER NOT NULL
) STRICT;

-- Where accounts are told, since that was confirmed. One that was replaced or removed hears of changes only, for a
-- while.
CREATE TABLE contacts (
  id       INTEGER PRIMARY KEY,
  account  INTEGER NOT NULL REFERENCES accounts,
  way      TEXT NOT NULL CHECK (way IN ('mail', 'telegram', 'ntfy')),
  target   TEXT NOT NULL,                          -- untrusted text
  added_at INTEGER NOT NULL,
  ended_at INTEGER,                                -- when it was replaced or removed
  told_at  INTEGER,                                -- when the last message was taken
  try_at   INTEGER NOT NULL,                       -- earliest time of the next message
  tries    INTEGER NOT NULL,                       -- that failed since
  failure  TEXT,                                   -- why the last one was not taken
  given_up INTEGER NOT NULL                        -- alerts that it was never told
) STRICT;
CREATE UNIQUE INDEX contacts_now ON contacts (account, way) WHERE ended_at IS NULL;

-- What there is to tell. Kept for some days, so that nothing is told twice.
CREATE TABLE alerts (
  id      INTEGER PRIMARY KEY,
  account INTEGER NOT NULL REFERENCES accounts,
  at      INTEGER NOT NULL,
  kind    TEXT NOT NULL,                           -- silent, drop, block, payment, sign-in, change
  subject TEXT NOT NULL,                           -- of a kind and subject there is one
  event   TEXT NOT NULL,                           -- JSON
  UNIQUE (account, kind, subject)
) STRICT;

-- Whom that is still to be told.
CREATE TABLE alert_deliveries (
  contact INTEGER NOT NULL REFERENCES contacts,
  alert   INTEGER NOT NULL REFERENCES alerts,
  PRIMARY KEY (contact, alert)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (alert);
