'use strict';

/*
 * Transactions, claims and airdrops that are left out of templates, since the
 * network would refuse a block that has them: until the next start, until they
 * are found valid, and a transaction also until a block of the main chain has
 * it. What spends an excluded transaction is left out with it.
 */

/** The oldest is dropped for a new one. */
const EXCLUDED_MAX = 1000;

class ExcludedTransactions {
  constructor() {
    this.keys = new Set();
  }

  get size() {
    return this.keys.size;
  }

  add(key) {
    if (this.keys.size === EXCLUDED_MAX)
      this.keys.delete(this.keys.values().next().value);

    this.keys.add(key);
  }

  delete(key) {
    this.keys.delete(key);
  }

  /** Those that are in a template, the ones added first. */

  of(attempt) {
    const there = new Set(partsOf(attempt).map(({key}) => key));

    return [...this.keys].filter(key => there.has(key));
  }

  /** A block of the main chain has these. */

  onBlock(block) {
    if (this.keys.size === 0)
      return;

    for (const tx of block.txs)
      this.keys.delete(tx.hash().toString('hex'));
  }

  /**
   * Remove from a template what is excluded.
   * @param {BlockTemplate} attempt
   * @param {String|null} [but] - this one is kept.
   * @returns {BlockTemplate} the same one if nothing of it is.
   */

  filter(attempt, but = null) {
    if (this.keys.size === 0)
      return attempt;

    const parts = partsOf(attempt);
    const rest = this.without(parts, but);

    return rest.length < parts.length ? assemble(attempt, rest) : attempt;
  }

  /** Parts of a template that are not excluded, in their order. */

  without(parts, but) {
    const removed = new Set();

    return parts.filter(({key, kind, entry}) => {
      const spends = kind === 'items' && entry.tx.inputs.some(({prevout}) => {
        return removed.has(prevout.hash.toString('hex'));
      });

      if (!spends && (key === but || !this.keys.has(key)))
        return true;

      removed.add(key);
      return false;
    });
  }
}

/**
 * Everything in a template's block but its own reward, in its order, each with
 * a name for the log.
 */

function partsOf({claims, airdrops, items}) {
  return [
    ...claims.map(entry => ({
      kind: 'claims', entry, key: `claim of ${entry.name.toString('latin1')}`
    })),
    ...airdrops.map(entry => ({
      kind: 'airdrops', entry, key: `airdrop ${entry.position}`
    })),
    ...items.map(entry => ({
      kind: 'items', entry, key: entry.hash.toString('hex')
    }))
  ];
}

/** Make a template with these parts in place of its own. */

function assemble(base, parts) {
  const attempt = Object.assign(new base.constructor(), base,
    {claims: [], airdrops: [], items: [], fees: 0});

  for (const {kind, entry} of parts) {
    attempt[kind].push(entry);

    // Only a name's first claim pays its fee to the miner (hsd
    // lib/mining/miner.js, assemble).
    if (kind !== 'claims' || entry.commitHeight === 1)
      attempt.fees += entry.fee;
  }

  attempt.refresh();

  return attempt;
}

exports.ExcludedTransactions = ExcludedTransactions;
exports.assemble = assemble;
exports.partsOf = partsOf;
