'use strict';

/*
 * What must hold between a swarm's journal, a ledger, the chain and the dumps.
 * Each check gives the faults it found, as lines to read.
 */

const fs = require('fs');
const path = require('path');
const {countCredit, readLiveLedger, sumRound} = require('./ledger');

const ANSWERED_MS = 60000;

/**
 * Compares a ledger with what the miners know, since the last time: what was
 * acknowledged is in it, and nothing that was not sent. Between kills the
 * server is known to be quiet, so that earlier slack is none now.
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
   * @param {Number} [refused] - of the shares that the ledger refused, how many
   *   may be in it all the same (docs/ledger.md): those since the disk was full,
   *   if the server was killed before it was not.
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

/** Wait until no block waits for the node and no dump for the disk. */

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
 * Every block that a miner has sent and had an answer to is recorded, and what
 * is on the chain is recorded as that.
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

/** Each round that was closed has exactly one dump, with the ledger's sums. */

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
