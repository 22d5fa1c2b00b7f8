'use strict';

/*
 * Verification of templates in the node's idle time: one at a time, the newest
 * first, on the chain's tip. A tip or a found block interrupts it.
 */

const {Known, Pace, judge} = require('./proof');

/** A full block takes a few seconds; more is a node that does not answer. */
const VERIFY_MS = 60000;

/** One without transactions takes milliseconds, and miners may wait for it. */
const EMPTY_MS = 5000;

const WHAT = 'the verification of a template';

class Verifier {
  /**
   * @param {Object} node
   * @param {Object} hsd - modules of it.
   * @param {Waits} waits
   * @param {Object} logger
   * @param {Function} isBusy - whether found blocks are on their way.
   */

  constructor(node, hsd, waits, logger, isBusy) {
    this.node = node;
    this.hsd = hsd;
    this.waits = waits;
    this.logger = logger;
    this.isBusy = isBusy;
    this.known = new Known();
    this.paces = new Set();  // of those that run
    this.waiting = null;     // the newest that has not been verified
    this.isRunning = false;
    this.last = Promise.resolve();
    this.unproven = null;    // why the last could not be judged
  }

  /**
   * Verify a template when there is time, unless a newer one comes first.
   * @param {BlockTemplate} attempt
   * @param {Function} onInvalid - told the template and hsd's reason.
   */

  want(attempt, onInvalid) {
    this.waiting = {attempt, onInvalid};

    if (!this.isRunning)
      this.run();
  }

  async run() {
    this.isRunning = true;

    while (this.waiting) {
      // A newer one may come while the node is busy.
      await this.newPace().rest();

      if (!this.waiting)
        break;

      const {attempt, onInvalid} = this.waiting;

      this.waiting = null;

      const {reason} = await this.check(attempt);

      if (attempt.items.length > 0)
        this.known.forget();

      if (reason)
        onInvalid(attempt, reason);
    }

    this.isRunning = false;
  }

  newPace() {
    return new Pace(() => this.node.chain.locker.busy || this.isBusy());
  }

  /** A new tip, or the end: what runs is about nothing any more. */

  stop() {
    this.waiting = null;

    for (const pace of this.paces)
      pace.stop();
  }

  /** The same of a template; its height is in no block, and in ours of it. */

  async check(attempt) {
    const result = await this.checkBlock(() => attempt.toBlock(),
      attempt.prevBlock, attempt.items.length > 0 ? VERIFY_MS : EMPTY_MS);

    if (result.isValid && attempt.height !== attempt.coinbase.locktime)
      return {isValid: false, reason: 'bad-cb-height'};

    return result;
  }

  /**
   * Judge a block on the tip.
   * @param {Function} make - the block.
   * @param {Buffer} prevBlock
   * @param {Number} [ms] - after which nobody can say.
   * @returns {Promise<Object>} {isValid, reason}: valid, hsd's reason to
   * refuse it, or neither when nobody can say.
   */

  checkBlock(make, prevBlock, ms = VERIFY_MS) {
    this.last = this.last.then(() => this.checkNow(make, prevBlock, ms));

    return this.last;
  }

  /** Never rejects. */

  async checkNow(make, prevBlock, ms) {
    const {chain} = this.node;
    const {tip} = chain;

    if (!prevBlock.equals(tip.hash))
      return {isValid: false, reason: null};

    const pace = this.newPace();

    this.paces.add(pace);

    try {
      const reason = await this.waits.atMost(WHAT, ms, Promise.race([
        judge(this.hsd, chain, make(), tip, pace, this.known), pace.stopped
      ]));

      this.unproven = null;

      if (chain.tip !== tip || pace.isStopped)
        return {isValid: false, reason: null};

      return {isValid: reason === null, reason};
    } catch (e) {
      if (!pace.isStopped)
        this.tell(e.message);

      pace.stop();

      return {isValid: false, reason: null};
    } finally {
      this.paces.delete(pace);
    }
  }

  /** A verification without a verdict, once until there is another. */

  tell(message) {
    if (this.unproven === message)
      return;

    this.unproven = message;
    this.logger.warning('a template could not be verified: %s', message);
  }
}

exports.Verifier = Verifier;
