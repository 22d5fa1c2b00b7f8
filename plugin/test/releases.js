'use strict';

/*
 * What a node of an earlier release has left behind, in `releases/VERSION/`:
 * written by scripts/release/fixture.js, read by upgrade.test.js.
 */

const {execFile} = require('child_process');
const fs = require('fs');
const path = require('path');
const {promisify} = require('util');
const zlib = require('zlib');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');
const RELEASES = path.join(__dirname, 'releases');

/** Accounts of a fixture with their passwords; carol is disabled. */
const PASSWORDS = {
  alice: 'alices password', bob: 'bobs password', carol: 'carols password'
};

/** So low that every hash is a share; every second one is a block as well. */
const DIFFICULTY = 2 ** -32;

/** An address of this machine that a fixture has banned for good. */
const BANNED = '127.0.0.9';

/** Run a command; gives {code, stdout, stderr}. */

async function run(...args) {
  try {
    return {code: 0, ...await promisify(execFile)(BINARY, args)};
  } catch (error) {
    if (typeof error.code !== 'number')
      throw error;
    return error;
  }
}

/**
 * What of a ledger must outlive an upgrade for good, in names that do not
 * change with those of the commands. Statistics are deleted after a year.
 */

async function figures(ledger) {
  const json = async (...args) => {
    const {code, stdout, stderr} = await run(...args, '--ledger', ledger,
      '--json');

    if (code !== 0)
      throw new Error(stderr);

    return JSON.parse(stdout);
  };

  const {accounts, blocks, pool_balance: pool} = await json('ledger', 'report');
  const {changes} = await json('ledger', 'audit');

  return {
    accounts: accounts.map(({account, address, threshold, credited, paid,
      balance}) => {
      return {account, address, threshold, credited, paid, balance};
    }),
    blocks: blocks.map(({hash, height, reward, settled}) => {
      return {hash, height, reward, settled};
    }),
    pool,
    audit: changes.map(({at, via, subject, change, detail, outcome}) => {
      return {at, via, subject, change, detail, outcome};
    })
  };
}

/** Names of all releases that have left something behind. */

function versions() {
  return fs.readdirSync(RELEASES).sort();
}

/**
 * Copy what a version has left behind into a prefix. Gives what is expected of
 * it, with the chain's blocks in hex.
 */

function putBack(version, prefix) {
  const from = path.join(RELEASES, version);
  const read = name => fs.readFileSync(path.join(from, name));
  const stratum = path.join(prefix, 'regtest', 'stratum');

  fs.cpSync(path.join(from, 'regtest'), path.join(prefix, 'regtest'),
    {recursive: true});
  fs.writeFileSync(path.join(stratum, 'ledger.db'),
    zlib.gunzipSync(read('ledger.db.gz')));

  return {
    ...JSON.parse(read('expected.json')),
    chain: read('chain.hex').toString().trim().split('\n'),
    ledger: path.join(stratum, 'ledger.db'),
    shares: path.join(stratum, 'shares'),
    spool: path.join(stratum, 'spool')
  };
}

module.exports = {BANNED, DIFFICULTY, PASSWORDS, RELEASES, figures, putBack,
  run, versions};
