'use strict';

/*
 * Reads a server's ledger. That of a server that is gone is read from a copy
 * of the file and its log, so that the server itself repairs what a crash
 * left; that of a running one as any other process would read it.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const OUTPUT_MAX = 256 << 20;

// Node has no SQLite before version 22; Python has it everywhere.
const READ = `
import json, sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '?mode=' + sys.argv[2], uri=True)
rows = lambda sql: db.execute(sql).fetchall()
print(json.dumps({
  'integrity': rows('PRAGMA integrity_check')[0][0],
  'broken': len(rows('PRAGMA foreign_key_check')),
  'credit': rows('SELECT height, name, difficulty, count FROM credit'
    ' JOIN accounts ON accounts.id = account ORDER BY height, name, difficulty'),
  'blocks': rows('SELECT hash, height, state, reason, closed_at, round_from,'
    ' dumped_at FROM blocks ORDER BY height, hash'),
}))
`;

/**
 * @param {String} dir - the directory of a server that does not run.
 * @returns {Object} {integrity, broken, credit: [{height, account,
 *   difficulty, count}], blocks: [{hash, height, state, reason, closedAt,
 *   roundFrom, dumpedAt}]}
 */

function readLedger(dir) {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-ledger-'));

  try {
    for (const name of ['ledger.db', 'ledger.db-wal']) {
      if (fs.existsSync(path.join(dir, name)))
        fs.copyFileSync(path.join(dir, name), path.join(copy, name));
    }

    return read(path.join(copy, 'ledger.db'), 'rw');
  } finally {
    fs.rmSync(copy, {recursive: true, force: true});
  }
}

/** Read the ledger of a running server. */

function readLiveLedger(dir) {
  return read(path.join(dir, 'ledger.db'), 'ro');
}

function read(file, mode) {
  const text = execFileSync('python3', ['-c', READ, file, mode],
    {encoding: 'utf8', maxBuffer: OUTPUT_MAX});
  const {integrity, broken, credit, blocks} = JSON.parse(text);

  return {
    integrity,
    broken,
    credit: credit.map(([height, account, difficulty, count]) => {
      return {height, account, difficulty, count};
    }),
    blocks: blocks.map((row) => {
      const [hash, height, state, reason, closedAt, roundFrom, dumpedAt] = row;
      return {hash, height, state, reason, closedAt, roundFrom, dumpedAt};
    })
  };
}

/** Shares by account and difficulty: Map of "account difficulty" to count. */

function countCredit(ledger) {
  const counts = new Map();

  for (const {account, difficulty, count} of ledger.credit) {
    const key = `${account} ${difficulty}`;
    counts.set(key, (counts.get(key) || 0) + count);
  }

  return counts;
}

/** The work of each account in a round, summed as the server does. */

function sumRound(ledger, from, to) {
  const rows = new Map();

  for (const {height, account, difficulty, count} of ledger.credit) {
    if (height < from || height > to)
      continue;
    if (!rows.has(account))
      rows.set(account, new Map());
    const counts = rows.get(account);
    counts.set(difficulty, (counts.get(difficulty) || 0) + count);
  }

  const sums = new Map();

  for (const [account, counts] of rows) {
    const parts = [...counts].sort(([a], [b]) => a - b);
    sums.set(account, parts.reduce((sum, [d, n]) => sum + d * n, 0));
  }

  return sums;
}

module.exports = {countCredit, readLedger, readLiveLedger, sumRound};
