'use strict';

/*
 * Verification of a block that nobody has found yet, by the node's own rules
 * except proof of work, as if a peer had sent its bytes.
 *
 * hsd's chain.verifyBlock does that under the chain's lock and, without
 * workers, in one turn of the event loop: a second for a full block. Here the
 * same rules run without the lock, in slices of a millisecond, and wait while
 * anybody holds the lock. Nothing is written: the rules run on an object that
 * inherits from the chain, and on transactions decoded anew. A verdict read
 * from a chain that changes meanwhile is worthless: the caller stops the
 * verification at a new tip.
 */

/** Work at a time; an event meanwhile waits for half of it on average. */
const SLICE_MS = 1;

/** Pause between two slices, for events that have arrived. */
const PAUSE_MS = 1;

/** Pause between two looks at a node that is busy. */
const BUSY_MS = 5;

/** Longest wait for an idle node: what it is busy with may never end. */
const BUSY_MAX_MS = 15000;

/** Prefixes of a leaf and an inner node (bcrypto lib/mrkl.js). */
const LEAF = Buffer.from([0]);
const INTERNAL = Buffer.from([1]);

/** End of a verification whose outcome nobody needs any more. */

class Stopped extends Error {
  constructor() {
    super('the verification was stopped');
    this.type = 'Stopped';
  }
}

/** Slices of time in which a verification works. */

class TimeSlices {
  /** @param {Function} isBusy - whether the node has something to do. */

  constructor(isBusy) {
    this.isBusy = isBusy;
    this.isStopped = false;
    this.since = performance.now();
    this.stopped = new Promise((_, reject) => {
      this.reject = reject;
    });
    this.stopped.catch(() => {});
  }

  /** End the verification at its next pause, and the wait for it at once. */

  stop() {
    this.isStopped = true;
    this.reject(new Stopped());
  }

  /** Pause if the slice is used up. */

  async yield() {
    if (performance.now() - this.since >= SLICE_MS)
      await this.pause();
  }

  /**
   * Let the event loop go on, until the node is idle.
   * @throws Stopped
   */

  async pause() {
    const begun = performance.now();

    await sleep(PAUSE_MS);

    while (!this.isStopped && this.isBusy()
        && performance.now() - begun < BUSY_MAX_MS) {
      await sleep(BUSY_MS);
    }

    if (this.isStopped)
      throw new Stopped();

    this.since = performance.now();
  }
}

/**
 * Transactions of the last verifications, decoded, by their bytes. The script
 * flags under which one was found valid are kept with it: that depends on its
 * bytes and on those of the coins that it names, and not on the tip. The same
 * bytes are the same Buffer, since hsd keeps it.
 */

class TransactionCache {
  constructor() {
    this.last = new Map();
    this.current = new Map();
    this.validFlags = new WeakMap();
  }

  /** Decode a transaction, with its sanity, which takes hsd long for many. */

  decode(TX, raw) {
    let tx = this.current.get(raw) || this.last.get(raw);

    if (!tx) {
      tx = TX.decode(raw);

      const sanity = tx.checkSanity();

      tx.checkSanity = () => sanity;
    }

    this.current.set(raw, tx);

    return tx;
  }

  /** Drop those that were not used since the last call. */

  dropUnused() {
    this.last = this.current;
    this.current = new Map();
  }
}

/**
 * Verify a block, except its proof of work.
 * @param {Object} hsd - modules of the running node.
 * @param {Chain} chain
 * @param {Block} original - left as it is.
 * @param {ChainEntry} tip - the chain's, the block's parent.
 * @param {TimeSlices} slices
 * @param {TransactionCache} cache
 * @returns {Promise<String|null>} hsd's reason to refuse it.
 * @throws Stopped, and any error of hsd's that is no verdict.
 */

async function verifyBlock(hsd, chain, original, tip, slices, cache) {
  await slices.pause();

  try {
    const block = await copyBlock(hsd, original, slices, cache);
    const sliced = slicedChain(chain, slices, cache);

    await sliced.verifyContext(block, tip, hsd.chainFlags.VERIFY_BODY);

    return null;
  } catch (e) {
    if (!e || e.type !== 'VerifyError')
      throw e;

    // A block that is being connected has changed what was read: there is a
    // new tip, and this throws.
    await slices.pause();

    return e.reason;
  }
}

/**
 * Copy a block, with transactions decoded from their bytes: hashes that the
 * original objects keep are not trusted. Work that hsd does in one long turn
 * is done here in slices, and its results kept for hsd's rules.
 */

async function copyBlock(hsd, original, slices, cache) {
  const block = Object.assign(new original.constructor(), original);
  const txs = [];
  const txids = [];
  const witnessHashes = [];

  for (const tx of original.txs) {
    const copy = cache.decode(tx.constructor, tx.encode());

    txs.push(copy);
    txids.push(copy.hash());
    witnessHashes.push(copy.witnessHash());
    await slices.yield();
  }

  const merkleRoot = await createRoot(hsd.blake2b, txids, slices);
  const witnessRoot = await createRoot(hsd.blake2b, witnessHashes, slices);

  block.txs = txs;
  block.createMerkleRoot = () => merkleRoot;
  block.createWitnessRoot = () => witnessRoot;

  return block;
}

/** Compute the root of a tree of leaves (bcrypto lib/mrkl.js, createTree). */

async function createRoot(blake2b, leaves, slices) {
  const sentinel = blake2b.digest(Buffer.alloc(0));
  let level = [];

  for (const leaf of leaves) {
    level.push(blake2b.multi(LEAF, leaf));
    await slices.yield();
  }

  while (level.length > 1) {
    const above = [];

    for (let i = 0; i < level.length; i += 2) {
      above.push(blake2b.multi(INTERNAL, level[i], level[i + 1] || sentinel));
      await slices.yield();
    }

    level = above;
  }

  return level[0] || sentinel;
}

/**
 * Make an object with the chain's rules that pauses between two transactions
 * and checks scripts one after the other.
 */

function slicedChain(chain, slices, cache) {
  const sliced = Object.create(chain);

  sliced.workers = new ScriptQueue(chain.workers, slices, cache);

  sliced.verifyCovenants = async (...args) => {
    await slices.yield();

    return chain.verifyCovenants.apply(sliced, args);
  };

  return sliced;
}

/**
 * Checks of scripts in place of hsd's workers, which are for the network's
 * blocks: a queue of ours there would delay the next one.
 */

class ScriptQueue {
  constructor(workers, slices, cache) {
    this.workers = workers;
    this.slices = slices;
    this.cache = cache;
    this.last = Promise.resolve();
  }

  /**
   * Check a transaction's scripts after those before it; after a failure the
   * rest are not checked (hsd lib/workers/workerpool.js, check).
   */

  check(tx, view, flags) {
    this.last = this.last.then(() => this.checkNow(tx, view, flags));
    // hsd awaits all of them together.
    this.last.catch(() => {});

    return this.last;
  }

  async checkNow(tx, view, flags) {
    // Proofs of claims and airdrops take long, and are few.
    if (tx.isCoinbase()) {
      if (this.workers && tx.inputs.length > 1)
        await this.workers.check(tx, view, flags);
      else
        tx.check(view, flags);
      return;
    }

    if (this.cache.validFlags.get(tx) === flags)
      return;

    for (let i = 0; i < tx.inputs.length; i++) {
      await this.slices.yield();
      tx.checkInput(i, view.getOutput(tx.inputs[i].prevout), flags);
    }

    this.cache.validFlags.set(tx, flags);
  }
}

function sleep(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

exports.TimeSlices = TimeSlices;
exports.TransactionCache = TransactionCache;
exports.createRoot = createRoot;
exports.verifyBlock = verifyBlock;
