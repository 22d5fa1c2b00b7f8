'use strict';

/*
 * Verification of templates in the node's idle time: one at a time, the newest
 * first, on the chain's tip. A new tip ends it, and it pauses while found
 * blocks are on their way.
 */

const {TimeSlices, TransactionCache, verifyBlock} = require(
  './block_verification');

/** A full block takes a few seconds; more is a node that does not answer. */
const VERIFY_MS = 60000;

/** One without transactions takes milliseconds, and miners may wait for it. */
const EMPTY_MS = 5000;

/** No verdict: there is a new tip, or hsd did not answer, or failed. */
const UNKNOWN = {isValid: false, reason: null};

class TemplateVerifier {
  /**
   * @param {Object} node
   * @param {Object} hsd - modules of it.
   * @param {NodeTimeouts} waits
   * @param {Object} logger
   * @param {Function} hasBlocks - whether found blocks are on their way.
   */

  constructor(node, hsd, waits, logger, hasBlocks) {
    this.node = node;
    this.hsd = hsd;
    this.waits = waits;
    this.logger = logger;
    this.hasBlocks = hasBlocks;
    this.cache = new TransactionCache();
    this.next = null;          // the newest that waits: {attempt, onInvalid}
    this.isRunning = false;
    this.slices = null;        // of the verification that runs
    this.last = Promise.resolve();
    this.error = null;         // the last one that was logged
  }

  /**
   * Verify a template in idle time, unless a newer one is scheduled before.
   * @param {BlockTemplate} attempt
   * @param {Function} onInvalid - takes the template and hsd's reason.
   */

  schedule(attempt, onInvalid) {
    this.next = {attempt, onInvalid};

    if (!this.isRunning)
      this.run();
  }

  /** Never rejects. */

  async run() {
    this.isRunning = true;

    try {
      while (this.next)
        await this.verifyNext();
    } catch (e) {
      this.logOnce(e.message);
    } finally {
      this.isRunning = false;
    }
  }

  async verifyNext() {
    await this.newSlices().pause();

    // A newer one may have come while the node was busy, or a tip.
    if (!this.next)
      return;

    const {attempt, onInvalid} = this.next;

    this.next = null;

    const {reason} = await this.verify(attempt);

    if (attempt.items.length > 0)
      this.cache.dropUnused();

    if (reason)
      onInvalid(attempt, reason);
  }

  newSlices() {
    return new TimeSlices(() => this.node.chain.locker.busy
      || this.hasBlocks());
  }

  /** End at a new tip, or with the node: no verdict is needed any more. */

  stop() {
    this.next = null;

    if (this.slices)
      this.slices.stop();
  }

  /**
   * Verify a template: its block, and its height, which is in the block only
   * as the coinbase's.
   * @returns {Promise<Object>} see verifyBlock
   */

  async verify(attempt) {
    const ms = attempt.items.length > 0 ? VERIFY_MS : EMPTY_MS;
    const result = await this.verifyBlock(() => attempt.toBlock(),
      attempt.prevBlock, ms);

    if (result.isValid && attempt.height !== attempt.coinbase.locktime)
      return {isValid: false, reason: 'bad-cb-height'};

    return result;
  }

  /**
   * Verify a block on the tip, after those asked for before.
   * @param {Function} make - makes the block.
   * @param {Buffer} prevBlock
   * @param {Number} [ms] - time limit.
   * @returns {Promise<Object>} {isValid, reason}: reason is hsd's; null if it
   * is valid or there is no verdict. Never rejects.
   */

  verifyBlock(make, prevBlock, ms = VERIFY_MS) {
    this.last = this.last.then(() => this.verifyNow(make, prevBlock, ms));

    return this.last;
  }

  async verifyNow(make, prevBlock, ms) {
    const {chain} = this.node;
    const {tip} = chain;

    if (!prevBlock.equals(tip.hash))
      return UNKNOWN;

    const slices = this.newSlices();

    this.slices = slices;

    try {
      const reason = await this.waits.atMost('the verification of a template',
        ms, Promise.race([
          verifyBlock(this.hsd, chain, make(), tip, slices, this.cache),
          slices.stopped
        ]));

      this.error = null;

      if (chain.tip !== tip || slices.isStopped)
        return UNKNOWN;

      return {isValid: reason === null, reason};
    } catch (e) {
      if (!slices.isStopped)
        this.logOnce(e.message);

      slices.stop();

      return UNKNOWN;
    } finally {
      this.slices = null;
    }
  }

  /** Log why there is no verdict, once until there is one. */

  logOnce(message) {
    if (this.error === message)
      return;

    this.error = message;
    this.logger.warning('a template could not be verified: %s', message);
  }
}

exports.TemplateVerifier = TemplateVerifier;
