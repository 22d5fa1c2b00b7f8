'use strict';

/*
 * Verification of a block that nobody has found yet, by the node's own rules,
 * proof of work aside, as if a peer had sent its bytes.
 *
 * hsd has that as chain.verifyBlock, which holds the chain's lock and, without
 * workers, the event loop for as long as it takes: a second for a full block.
 * Here it runs without the lock, in pieces of a millisecond, and rests while
 * anybody holds the lock. Nothing is written: the rules run on a view of the
 * chain (an object that inherits from it) and on transactions decoded anew.
 * What was read of a chain that changes meanwhile is worth nothing: whoever
 * asks stops the verification at a new tip.
 */

/** Work at a time; what arrives meanwhile waits for half of it on average. */
const SLICE_MS = 1;

/** Between two pieces, so that what has arrived is done first. */
const REST_MS = 1;

/** Between two looks at a chain that is locked. */
const LOCKED_MS = 5;

const LEAF = Buffer.from([0]);
const INTERNAL = Buffer.from([1]);

/** Nobody needs the outcome any more. */

class Stopped extends Error {
  constructor() {
    super('the verification was stopped');
    this.type = 'Stopped';
  }
}

/** When a verification works, and when it lets others work. */

class Pace {
  /** @param {Function} isBusy - whether the node has something to do. */

  constructor(isBusy) {
    this.isBusy = isBusy;
    this.isStopped = false;
    this.since = performance.now();
    this.stopped = new Promise((_, reject) => {
      this.end = reject;
    });
    this.stopped.catch(() => {});
  }

  /** End the verification at its next rest; whoever waits for it does not. */

  stop() {
    this.isStopped = true;
    this.end(new Stopped());
  }

  isDue() {
    return performance.now() - this.since >= SLICE_MS;
  }

  /**
   * Let others work.
   * @throws Stopped
   */

  async rest() {
    await sleep(REST_MS);

    while (!this.isStopped && this.isBusy())
      await sleep(LOCKED_MS);

    if (this.isStopped)
      throw new Stopped();

    this.since = performance.now();
  }
}

/**
 * Transactions of the last verifications, by their bytes, and the flags under
 * which their scripts were found valid: they are as long as the bits of the
 * transaction and of the coins that it names stay the same, whatever the tip.
 */

class Known {
  constructor() {
    this.before = new Map();
    this.now = new Map();
    this.valid = new WeakMap();
  }

  /**
   * A transaction read from these bytes, with what hsd would take long to work
   * out in one piece. The same bytes are the same Buffer: hsd keeps it.
   */

  read(TX, raw) {
    let tx = this.now.get(raw) || this.before.get(raw);

    if (!tx) {
      tx = TX.decode(raw);

      const sanity = tx.checkSanity();

      tx.checkSanity = () => sanity;
    }

    this.now.set(raw, tx);

    return tx;
  }

  /** Forget those that were in no verification since the last call. */

  forget() {
    this.before = this.now;
    this.now = new Map();
  }
}

/**
 * Judge a block, proof of work aside.
 * @param {Object} hsd - modules of the running node.
 * @param {Chain} chain
 * @param {Block} original - left as it is.
 * @param {ChainEntry} tip - the chain's, the block's parent.
 * @param {Pace} pace
 * @param {Known} known
 * @returns {Promise<String|null>} hsd's reason to refuse it.
 * @throws Stopped, and whatever hsd throws that is no verdict.
 */

async function judge(hsd, chain, original, tip, pace, known) {
  const {DEFAULT_FLAGS, flags} = hsd.chainCommon;

  await pace.rest();

  try {
    const block = await copyBlock(hsd, original, pace, known);
    const view = viewOf(chain, pace, known);

    await view.verifyContext(block, tip, DEFAULT_FLAGS & ~flags.VERIFY_POW);

    return null;
  } catch (e) {
    if (e.type !== 'VerifyError')
      throw e;

    // It has read a block that is half in the chain, if there is a new tip.
    await pace.rest();

    return e.reason;
  }
}

/**
 * The block, its transactions read from their bytes: nothing that they
 * remember of themselves is believed. Work that takes hsd long in one piece is
 * done here in small ones, and its outcome kept for hsd's rules.
 */

async function copyBlock(hsd, original, pace, known) {
  const block = Object.assign(new original.constructor(), original);
  const txs = [];
  const ids = [];
  const witnessHashes = [];

  for (const own of original.txs) {
    const tx = known.read(own.constructor, own.encode());

    txs.push(tx);
    ids.push(tx.hash());
    witnessHashes.push(tx.witnessHash());

    if (pace.isDue())
      await pace.rest();
  }

  const merkleRoot = await root(hsd.blake2b, ids, pace);
  const witnessRoot = await root(hsd.blake2b, witnessHashes, pace);

  block.txs = txs;
  block.createMerkleRoot = () => merkleRoot;
  block.createWitnessRoot = () => witnessRoot;

  return block;
}

/** The root of a tree of leaves (bcrypto lib/mrkl.js, createTree). */

async function root(blake2b, leaves, pace) {
  const sentinel = blake2b.digest(Buffer.alloc(0));
  let level = [];

  for (const leaf of leaves) {
    level.push(blake2b.multi(LEAF, leaf));

    if (pace.isDue())
      await pace.rest();
  }

  while (level.length > 1) {
    const above = [];

    for (let i = 0; i < level.length; i += 2) {
      above.push(blake2b.multi(INTERNAL, level[i], level[i + 1] || sentinel));

      if (pace.isDue())
        await pace.rest();
    }

    level = above;
  }

  return level[0] || sentinel;
}

/**
 * The chain with its own rules, which rest between two transactions and have
 * scripts checked one after the other.
 */

function viewOf(chain, pace, known) {
  const view = Object.create(chain);

  view.workers = new Scripts(chain.workers, pace, known);

  view.verifyCovenants = async (...args) => {
    if (pace.isDue())
      await pace.rest();

    return chain.verifyCovenants.apply(view, args);
  };

  return view;
}

/**
 * Stands where hsd has its workers, which are for blocks of the network: a
 * queue of ours there would delay the next one.
 */

class Scripts {
  constructor(workers, pace, known) {
    this.workers = workers;
    this.pace = pace;
    this.known = known;
    this.last = Promise.resolve();
    this.isOver = false;    // one has failed: the others do not matter
  }

  /** hsd lib/workers/workerpool.js, check. */

  check(tx, view, flags) {
    const done = this.last.then(() => this.checkNow(tx, view, flags));

    this.last = done.catch(() => {
      this.isOver = true;
    });

    return done;
  }

  async checkNow(tx, view, flags) {
    if (this.isOver)
      return;

    // Proofs of claims and airdrops take long, and are few.
    if (tx.isCoinbase()) {
      if (this.workers && tx.inputs.length > 1)
        await this.workers.check(tx, view, flags);
      else
        tx.check(view, flags);
      return;
    }

    if (this.known.valid.get(tx) === flags)
      return;

    for (let i = 0; i < tx.inputs.length; i++) {
      if (this.pace.isDue())
        await this.pace.rest();

      tx.checkInput(i, view.getOutput(tx.inputs[i].prevout), flags);
    }

    this.known.valid.set(tx, flags);
  }
}

function sleep(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

exports.Known = Known;
exports.Pace = Pace;
exports.judge = judge;
exports.root = root;
