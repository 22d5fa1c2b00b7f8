'use strict';

/*
 * Invariants between a swarm's journal, a ledger, the chain and the dumps.
 * Each check gives the faults that it found, as lines to read.
 */

const fs = require('fs');
const path = require('path');
const {countCredit, readLiveLedger, sumRound} = require('./ledger');

const ANSWERED_MS = 60000;

/**
 * Compares a ledger with the miners' journal, since the last comparison: each
 * acknowledged share is in it, and none that was not sent. The server is known
 * to be quiet between kills, so that unanswered shares of earlier runs allow
 * nothing now.
 */

class Account {
  constructor() {
    this.counts = new Map();
    this.bounds = new Map();
    this.acknowledged = 0;
    this.inLedger = 0;
    this.inFlight = 0;        // sent, and the connection ended first
    this.inFlightKept = 0;    // of those, recorded all the same
  }

  /**
   * @param {Number} [refused] - of the shares that the ledger refused, the
   * number that may be in it all the same (docs/ledger.md): those since the
   * disk was full, if the server was killed before there was room.
   */

  check(swarm, ledger, refused = 0) {
    const counts = countCredit(ledger);
    const bounds = swarm.bounds();
    const faults = [];
    let beyond = 0;

    if (ledger.integrity !== 'ok' || ledger.broken > 0)
      faults.push(`the file is damaged: ${ledger.integrity}`);

    for (const key of new Set([...counts.keys(), ...bounds.keys()])) {
      const count = (counts.get(key) || 0) - (this.counts.get(key) || 0);
      const now = bounds.get(key) || [0, 0, 0];
      const before = this.bounds.get(key) || [0, 0, 0];
      const [least, unanswered, no] = now.map((n, i) => n - before[i]);
      const most = least + unanswered;

      if (count < least)
        faults.push(`${key}: ${least - count} acknowledged shares are lost`);
      if (count > most + Math.min(refused, no))
        faults.push(`${key}: ${count - most} shares were never sent`);

      beyond += Math.max(0, count - most);

      this.acknowledged += least;
      this.inFlight += most - least;
      this.inFlightKept += count - least;
      this.inLedger += count;
    }

    if (beyond > refused)
      faults.push(`${beyond} refused shares are there, ${refused} may be`);

    this.counts = counts;
    this.bounds = bounds;
    return faults;
  }
}

/** Wait until each block has its answer and each dump is written. */

function waitAnswered(node) {
  return node.waitFor('all blocks answered and all dumps written', () => {
    const {blocks} = readLiveLedger(node.stratumDir);
    return blocks.every((block) => {
      return block.state !== 'found'
        && (block.closedAt == null || block.dumpedAt != null);
    });
  }, ANSWERED_MS);
}

/**
 * Check that every block whose share was answered is recorded, and that blocks
 * on the chain are recorded as such.
 * @param {Set} [excused] - hashes of blocks that nothing could record.
 * @param {Set} [late] - hashes of blocks whose job was forgotten.
 */

async function checkBlocks(swarm, ledger, node, excused = new Set(),
  late = new Set()) {
  const recorded = new Map(ledger.blocks.map(block => [block.hash, block]));
  const faults = [];
  let onChain = 0;
  let neverCame = 0;
  let unrecorded = 0;
  let tooLate = 0;

  for (const [hash, {answered, refused}] of swarm.found) {
    const block = recorded.get(hash);
    const isMain = await isOnMain(node, hash);

    onChain += isMain ? 1 : 0;

    if (!block && excused.has(hash))
      unrecorded++;
    else if (!block && !isMain && late.has(hash))
      tooLate++;
    else if (!block && !isMain && !answered)
      neverCame++;
    else if (!block)
      faults.push(`block ${hash} is not recorded (answer: ${refused})`);
    else if (isMain !== /^(accepted|confirmed)$/.test(block.state))
      faults.push(`block ${hash} is ${block.state}, on chain: ${isMain}`);
  }

  for (const {hash, state} of ledger.blocks) {
    if (state === 'found')
      faults.push(`block ${hash} was never answered`);
    if (!swarm.found.has(hash))
      faults.push(`block ${hash} is nobody's`);
  }

  return {
    faults, onChain, neverCame, unrecorded, tooLate,
    recorded: ledger.blocks.length
  };
}

async function isOnMain(node, hash) {
  try {
    const {confirmations} = await node.rpc('getblockheader', [hash]);
    return confirmations > 0;
  } catch (e) {
    if (/not found/i.test(e.message))
      return false;
    throw e;
  }
}

/**
 * Check that each closed round has exactly one dump, with the ledger's sums.
 */

function checkDumps(ledger, dir) {
  const shares = path.join(dir, 'shares');
  const names = new Set(fs.existsSync(shares) ? fs.readdirSync(shares) : []);
  const files = names.size;
  const faults = [];

  for (const block of ledger.blocks) {
    if (block.closedAt == null)
      continue;

    const name = `${block.height}-${block.hash}.json`;

    if (!names.delete(name)) {
      faults.push(`dump ${name} is missing`);
      continue;
    }

    if (block.dumpedAt == null)
      faults.push(`dump ${name} is there and still owed`);

    const dump = JSON.parse(fs.readFileSync(path.join(shares, name), 'utf8'));
    const sums = sumRound(ledger, block.roundFrom, block.height);

    for (const account of new Set([...sums.keys(),
      ...Object.keys(dump.shares)])) {
      if (dump.shares[account] !== sums.get(account)) {
        faults.push(`dump ${name} has ${dump.shares[account]} of ${account}, `
          + `the ledger ${sums.get(account)}`);
      }
    }
  }

  for (const name of names)
    faults.push(`file ${name} belongs to no closed round`);

  return {faults, files};
}

module.exports = {Account, checkBlocks, checkDumps, waitAnswered};
