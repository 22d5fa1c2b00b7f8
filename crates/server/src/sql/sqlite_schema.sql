-- The ledger, version 1. docs/ledger.md explains it; keep the two alike.
-- Difficulties and sums of them are doubles; amounts are integers in base units (10^-6 HNS); times
-- are Unix seconds; hashes are 64 lower-case hex digits.

-- What the file is: one row.
CREATE TABLE meta (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  network    TEXT NOT NULL,                        -- main, testnet, regtest, simnet
  origin     BLOB NOT NULL CHECK (length(origin) = 16), -- random: tells this file from all others
  seq        INTEGER NOT NULL,                     -- the last share that is in credit
  created_at INTEGER NOT NULL
) STRICT;

-- Written and emptied again to see whether the disk takes a group of shares; empty otherwise.
CREATE TABLE probe (
  id     INTEGER PRIMARY KEY,
  filler BLOB NOT NULL
) STRICT;

-- Who is paid.
CREATE TABLE accounts (
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL UNIQUE,                    -- untrusted text
  address TEXT                                     -- where it is paid; none: the name, if that is an address
) STRICT;

-- Machines of an account.
CREATE TABLE workers (
  id      INTEGER PRIMARY KEY,
  account INTEGER NOT NULL REFERENCES accounts,
  name    TEXT NOT NULL,                           -- empty where a miner names no machine; untrusted text
  UNIQUE (account, name)
) STRICT;

-- What a block cost at each height that was mined: the network's difficulty.
CREATE TABLE heights (
  height     INTEGER PRIMARY KEY,
  difficulty REAL NOT NULL CHECK (difficulty > 0)
) STRICT;

-- Money: accepted shares, by the height that their job was mining. Work is difficulty x count.
CREATE TABLE credit (
  height     INTEGER NOT NULL,
  account    INTEGER NOT NULL REFERENCES accounts,
  difficulty REAL NOT NULL CHECK (difficulty > 0), -- as it was announced
  count      INTEGER NOT NULL CHECK (count > 0),
  PRIMARY KEY (height, account, difficulty)
) STRICT, WITHOUT ROWID;

-- Not money: what workers sent, in spans of ten minutes, of hours and of days.
CREATE TABLE statistics (
  span           INTEGER NOT NULL CHECK (span IN (600, 3600, 86400)),
  start          INTEGER NOT NULL,                 -- a multiple of span
  worker         INTEGER NOT NULL REFERENCES workers,
  accepted       INTEGER NOT NULL,
  accepted_work  REAL NOT NULL,
  stale          INTEGER NOT NULL,
  stale_work     REAL NOT NULL,
  low            INTEGER NOT NULL,
  low_work       REAL NOT NULL,
  duplicate      INTEGER NOT NULL,
  duplicate_work REAL NOT NULL,
  PRIMARY KEY (span, start, worker)
) STRICT, WITHOUT ROWID;

-- Blocks that the pool found.
CREATE TABLE blocks (
  hash       TEXT PRIMARY KEY,
  height     INTEGER NOT NULL,
  time       INTEGER NOT NULL,                     -- its header's
  found_at   INTEGER NOT NULL,
  account    INTEGER REFERENCES accounts,          -- whose share it was, where that is known
  txid       TEXT NOT NULL,                        -- of the coinbase
  address    TEXT NOT NULL,                        -- of coinbase output 0
  reward     INTEGER NOT NULL,                     -- value of coinbase output 0
  difficulty REAL NOT NULL,                        -- the network's
  state      TEXT NOT NULL CHECK (state IN ('found', 'accepted', 'confirmed', 'orphaned', 'refused')),
  reason     TEXT NOT NULL DEFAULT '',             -- why it was refused
  changed_at INTEGER NOT NULL,                     -- when the state last changed
  closed_at  INTEGER,                              -- when it first was on the main chain
  round_from INTEGER,                              -- first height of its round, as it was then
  effort     REAL,                                 -- work of that round over the work expected; luck is its inverse
  dumped_at  INTEGER                               -- when its file in shares/ was known to be there
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_by_height ON blocks (height);
CREATE INDEX blocks_open ON blocks (height) WHERE state IN ('found', 'accepted');
CREATE INDEX blocks_owed ON blocks (height) WHERE closed_at IS NOT NULL AND dumped_at IS NULL;

-- A block's reward divided among accounts. What is being written is 'preparing' and counts for nothing.
CREATE TABLE settlements (
  id         INTEGER PRIMARY KEY,
  block      TEXT NOT NULL REFERENCES blocks,
  state      TEXT NOT NULL CHECK (state IN ('preparing', 'settled', 'reversed')),
  scheme     TEXT NOT NULL CHECK (scheme IN ('prop', 'pplns', 'elsewhere')), -- elsewhere: paid by other means
  window     TEXT NOT NULL DEFAULT '',             -- of pplns, in network difficulties, a decimal number
  fee_ppm    INTEGER NOT NULL,                     -- the pool's fee, in millionths
  from_height INTEGER NOT NULL,                    -- the first height with work in it
  shares     INTEGER NOT NULL,                     -- number of shares in it
  reward     INTEGER NOT NULL,                     -- = sum of settlement_credits + fee + remainder
  fee        INTEGER NOT NULL,
  remainder  INTEGER NOT NULL,                     -- what nobody had earned; the pool's
  settled_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX settlements_once ON settlements (block) WHERE state <> 'reversed';

CREATE TABLE settlement_credits (
  settlement INTEGER NOT NULL REFERENCES settlements,
  account    INTEGER NOT NULL REFERENCES accounts,
  amount     INTEGER NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (settlement, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX settlement_credits_by_account ON settlement_credits (account, settlement, amount);

-- Transactions that pay accounts. One is open for a wallet at a time.
CREATE TABLE payments (
  id          INTEGER PRIMARY KEY,
  wallet      TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('preparing', 'open', 'signed', 'sent', 'confirmed', 'abandoned')),
  txid        TEXT,
  raw         TEXT,                                -- the signed transaction, hex; stored before it is sent
  network_fee INTEGER,                             -- out of the pool's fees
  created_at  INTEGER NOT NULL,
  changed_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX payments_open ON payments (wallet) WHERE state IN ('preparing', 'open', 'signed', 'sent');

CREATE TABLE payment_outputs (
  payment INTEGER NOT NULL REFERENCES payments,
  account INTEGER NOT NULL REFERENCES accounts,
  address TEXT NOT NULL,
  amount  INTEGER NOT NULL CHECK (amount > 0),
  PRIMARY KEY (payment, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_outputs_by_account ON payment_outputs (account, payment, amount);

-- What each account is owed.
CREATE VIEW balances AS
SELECT accounts.id AS account, accounts.name AS name, credited, paid, credited - paid AS balance
FROM (
  SELECT id, name,
    (SELECT coalesce(sum(amount), 0) FROM settlement_credits AS c JOIN settlements AS s ON s.id = c.settlement
      WHERE c.account = accounts.id AND s.state = 'settled') AS credited,
    (SELECT coalesce(sum(amount), 0) FROM payment_outputs AS o JOIN payments AS p ON p.id = o.payment
      WHERE o.account = accounts.id AND p.state NOT IN ('preparing', 'abandoned')) AS paid
  FROM accounts
) AS accounts;

-- What is the pool's own: fees and remainders, less the network's fees.
CREATE VIEW pool_entries AS
  SELECT settled_at AS at, 'fee' AS kind, id AS settlement, NULL AS payment, fee AS amount
    FROM settlements WHERE state = 'settled' AND fee <> 0
UNION ALL
  SELECT settled_at, 'remainder', id, NULL, remainder FROM settlements WHERE state = 'settled' AND remainder <> 0
UNION ALL
  SELECT created_at, 'network fee', NULL, id, -network_fee
    FROM payments WHERE network_fee IS NOT NULL AND state NOT IN ('preparing', 'abandoned');
