'use strict';

/*
 * The first template on a new tip: without transactions, made inside hsd's
 * event of the tip. Before hsd makes one itself it takes the block's
 * transactions out of the mempool, which keeps it busy for tens of
 * milliseconds after a full block. The fields of a block are computed from the
 * entries in hsd's cache as hsd does it (lib/mining/miner.js, _createBlock).
 */

/** hsd lib/protocol/consensus.js, MEDIAN_TIMESPAN. */
const MEDIAN_SPAN = 11;

/** Entries that getTarget looks at besides those of a day (hsd chain.js). */
const SUITABLE_SPAN = 3;

class FirstTemplates {
  constructor(node) {
    this.node = node;
  }

  /**
   * Load the entries that a template on the next tip needs into hsd's cache.
   */

  async prepare() {
    const {chain, network} = this.node;
    let entry = chain.tip;

    for (let i = network.pow.blocksPerDay + SUITABLE_SPAN; i > 0; i--) {
      if (entry.height === 0)
        return;

      entry = chain.getPrevCache(entry) || await chain.getPrevious(entry);
    }
  }

  /**
   * Make a template on a tip whose parent has had one.
   * @param {ChainEntry} tip
   * @param {BlockTemplate} last - hsd's own, on the parent.
   * @returns {BlockTemplate|null} null when entries are not in the cache.
   */

  make(tip, last) {
    const {chain, miner, network} = this.node;
    const mtp = this.medianTime(tip);
    const bits = this.bits(tip);

    if (mtp === null || bits === null)
      return null;

    // The class of the node's own hsd: the plugin has no second copy.
    const attempt = new last.constructor({
      prevBlock: tip.hash,
      treeRoot: chain.db.treeRoot(),
      reservedRoot: last.reservedRoot,
      height: tip.height + 1,
      version: last.version,
      time: Math.max(network.now(), mtp + 1),
      bits,
      mtp,
      address: miner.getAddress(),
      coinbaseFlags: miner.options.coinbaseFlags,
      interval: network.halvingInterval,
      weight: miner.options.reservedWeight,
      sigops: miner.options.reservedSigops
    });

    attempt.refresh();

    return attempt;
  }

  medianTime(tip) {
    const times = [];

    for (let entry = tip; entry; entry = this.parent(entry)) {
      times.push(entry.time);

      if (times.length === MEDIAN_SPAN || entry.height === 0)
        return times.sort((a, b) => a - b)[times.length >>> 1];
    }

    return null;
  }

  /** hsd lib/blockchain/chain.js, getTarget. */

  bits(tip) {
    const {chain} = this.node;
    const {pow} = this.node.network;

    if (pow.noRetargeting)
      return pow.bits;

    // On such a network the bits depend on the block's time.
    if (pow.targetReset)
      return null;

    if (tip.height < pow.blocksPerDay + 2)
      return pow.bits;

    const last = this.suitable(tip);
    const first = this.suitable(this.ancestor(tip, pow.blocksPerDay));

    return last && first && chain.retarget(first, last);
  }

  /** hsd lib/blockchain/chain.js, getSuitableBlock: of three by time. */

  suitable(entry) {
    let z = entry;
    let y = z && this.parent(z);
    let x = y && this.parent(y);

    if (!x)
      return null;

    if (x.time > z.time)
      [x, z] = [z, x];

    if (x.time > y.time)
      [x, y] = [y, x];

    if (y.time > z.time)
      [y, z] = [z, y];

    return y;
  }

  ancestor(entry, depth) {
    for (let i = 0; i < depth && entry; i++)
      entry = this.parent(entry);

    return entry;
  }

  parent(entry) {
    return this.node.chain.getPrevCache(entry);
  }
}

/**
 * The first field that hsd has otherwise in a template on the same tip, of all
 * that make a block valid.
 * @returns {String|null}
 */

function difference(first, own) {
  for (const name of ['height', 'bits', 'mtp']) {
    if (first[name] !== own[name])
      return name;
  }

  for (const name of ['prevBlock', 'treeRoot', 'reservedRoot']) {
    if (!first[name].equals(own[name]))
      return name;
  }

  return null;
}

exports.FirstTemplates = FirstTemplates;
exports.difference = difference;
