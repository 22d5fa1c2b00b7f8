'use strict';

/*
 * Verification of templates in the node's idle time: one at a time, the newest
 * first, on the chain's tip. A new tip ends it, and it pauses while found
 * blocks are on their way.
 */

const {errorText} = require('./error_text');
const {TimeSlices, TransactionCache, verifyBlock} = require(
  './block_verification');
const {assemble, partsOf} = require('./excluded_transactions');

/** A full block takes a few seconds; more is a node that does not answer. */
const VERIFY_MS = 60000;

/** One without transactions takes milliseconds, and miners may wait for it. */
const EMPTY_MS = 5000;

/** No verdict, since there is a new tip. */
const UNKNOWN = {isValid: false, reason: null, failure: null, isLate: false};

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
    this.next = null;          // the newest that waits: {attempt, onVerdict}
    this.isRunning = false;
    this.slices = null;        // of the verification that runs
    this.last = Promise.resolve();
    this.error = null;         // the last one that was logged
  }

  /**
   * Verify a template in idle time, unless a newer one is scheduled before.
   * @param {BlockTemplate} attempt
   * @param {Function} onVerdict - takes the template, whether it is valid, and
   * hsd's reason if it is not; neither without a verdict.
   */

  schedule(attempt, onVerdict) {
    this.next = {attempt, onVerdict};

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
      this.logOnce(errorText(e));
    } finally {
      this.isRunning = false;
    }
  }

  async verifyNext() {
    await this.newSlices().pause();

    // A newer one may have come while the node was busy, or a tip.
    if (!this.next)
      return;

    const {attempt, onVerdict} = this.next;

    this.next = null;

    const result = await this.verify(attempt);

    if (attempt.items.length > 0)
      this.forget();

    onVerdict(attempt, result.isValid, await this.refusal(attempt, result));
  }

  /**
   * The reason to replace a template. hsd's rules may also fail on a block, for
   * lack of what they look for: then it would fail on the found one. It is not
   * the block's fault if they fail on one without its transactions too.
   */

  async refusal(attempt, result) {
    const {reason, failure, isLate} = result;

    if (reason || !failure || isLate || partsOf(attempt).length === 0)
      return reason;

    const empty = await this.verify(assemble(attempt, []));

    return empty.isValid ? failure : null;
  }

  /** Drop what verifications before the last ones have decoded. */

  forget() {
    this.cache.dropUnused();
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
   * Verify a template: its block, and what it says of its coinbase.
   * @returns {Promise<Object>} see verifyBlock
   */

  async verify(attempt) {
    const ms = attempt.items.length > 0 ? VERIFY_MS : EMPTY_MS;
    const result = await this.verifyBlock(() => attempt.toBlock(),
      attempt.prevBlock, ms);
    const reason = result.isValid && this.coinbaseFault(attempt);

    return reason ? {...UNKNOWN, reason} : result;
  }

  /**
   * What is wrong with a template's coinbase though the network would take it:
   * its height, which is in the block only as the coinbase's, and whom it pays
   * how much.
   * @returns {String|null}
   */

  coinbaseFault({height, fees, coinbase}) {
    const {miner, network} = this.node;
    const [{address, value}] = coinbase.outputs;
    const reward = this.hsd.consensus.getReward(height, network.halvingInterval);

    if (height !== coinbase.locktime)
      return 'bad-cb-height';

    if (!miner.addresses.some(own => own.equals(address)))
      return 'its coinbase pays another address';

    return value === reward + fees ? null : 'its coinbase has another value';
  }

  /**
   * Verify a block on the tip, after those asked for before.
   * @param {Function} make - makes the block.
   * @param {Buffer} prevBlock
   * @param {Number} [ms] - time limit.
   * @returns {Promise<Object>} {isValid, reason, failure, isLate}: reason is
   * hsd's to refuse it; failure, that there is no verdict and why, isLate if
   * hsd has not answered. Neither after a new tip. Never rejects.
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

      return {...UNKNOWN, isValid: reason === null, reason};
    } catch (e) {
      if (slices.isStopped)
        return UNKNOWN;

      const failure = errorText(e);

      this.logOnce(failure);
      slices.stop();

      return {...UNKNOWN, failure, isLate: e != null && e.code === 'ETIMEDOUT'};
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
