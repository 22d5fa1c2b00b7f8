'use strict';

/*
 * Templates after one that the network would refuse. From then on each is
 * verified before it goes out: first one without transactions, then as many
 * transactions as are valid. One that makes a template invalid is found by
 * halving and excluded. The first template of hsd's that is valid without the
 * excluded transactions ends this, unless invalid ones come again and again.
 */

const {ExcludedTransactions, assemble, partsOf} = require(
  './excluded_transactions');
const {FirstTemplates} = require('./first_template');

/** Time in one go for finding what is invalid, after which jobs go on. */
const SEARCH_MS = 10000;

/** Reasons about all transactions together, which no single one causes. */
const IS_SUM = /^bad-blk-(?!names)/;

/** Excluded transactions that are looked at again on one tip. */
const READMIT_MAX = 8;

/** So often invalid within this time, and each is verified before it is out. */
const OFTEN = 3;
const OFTEN_MS = 60 * 60 * 1000;

class FallbackTemplates {
  /**
   * @param {Object} node
   * @param {Object} server - the addon's.
   * @param {TemplateVerifier} verifier
   * @param {Templates} templates
   * @param {Object} logger
   */

  constructor(node, server, verifier, templates, logger) {
    this.node = node;
    this.server = server;
    this.verifier = verifier;
    this.templates = templates;
    this.logger = logger;
    this.firsts = new FirstTemplates(node);
    this.excluded = new ExcludedTransactions();
    this.isActive = false;
    this.told = null;          // the reason that was reported
    this.begun = [];           // times since when templates were invalid
    this.base = null;          // the last valid one without transactions
    this.isBlind = false;      // there was no verdict on the last of those
    this.fullOn = null;        // tip on which one with transactions is out
    this.readmittedOn = null;  // tip on which excluded ones were looked at
  }

  /**
   * Begin, since hsd would refuse the block of a template.
   * @param {BlockTemplate} attempt
   * @param {String} reason - hsd's.
   */

  begin(attempt, reason) {
    this.base = null;
    this.fullOn = null;
    this.isActive = true;
    this.tell(reason, attempt);
  }

  end() {
    if (this.told !== null)
      this.logger.info('templates are valid again');

    this.tell(null);

    const since = performance.now() - OFTEN_MS;

    this.begun = this.begun.filter(time => time > since);
    this.isActive = this.begun.length >= OFTEN;
  }

  /** Report why a template is not out, or that they are valid again. */

  tell(reason, attempt = null) {
    if (this.told === reason)
      return;

    if (this.told === null) {
      this.logger.error('the template at height %d would be refused by the '
        + 'network (%s): miners get jobs without transactions until one is '
        + 'valid', attempt.height, reason);
      this.begun.push(performance.now());
    }

    this.told = reason;
    this.server.templateInvalid(reason);
  }

  /**
   * Offer what is valid of a template of hsd's.
   * @param {BlockTemplate} attempt - on the tip.
   * @returns {Promise<Boolean>} false when there is a new tip.
   */

  async offerValid(attempt) {
    if (await this.offerEmpty(attempt))
      await this.offerFull(attempt);

    this.verifier.forget();

    return this.isOnTip(attempt);
  }

  /**
   * Offer a template without transactions, unless there was one on this tip.
   * @returns {Promise<Boolean>} true if one is valid.
   */

  async offerEmpty(attempt) {
    if (this.base && this.base.prevBlock.equals(attempt.prevBlock))
      return true;

    // Either the fields that are computed here may be wrong, or hsd's.
    const made = this.firsts.make(this.node.chain.tip, attempt);
    let refusal = null;

    // Nobody waits a second time for a verdict that does not come.
    if (this.isBlind && made)
      this.offer(assemble(made, []));

    for (const base of made ? [made, attempt] : [attempt]) {
      const empty = assemble(base, []);
      const {isValid, reason, failure} = await this.verifier.verify(empty);

      refusal = reason;

      if (reason)
        continue;

      if (failure)
        this.tell(`it cannot be verified: ${failure}`, empty);

      // Without a verdict it is still better than the refused one.
      if (isValid || !(this.isBlind && made))
        this.offer(empty);

      this.isBlind = !isValid && this.isOnTip(empty);

      if (isValid)
        this.base = empty;

      return isValid;
    }

    this.templates.withhold(`the node would refuse its own block: ${refusal}`);
    return false;
  }

  /**
   * Offer valid transactions of a template: at once if there are none yet on
   * the tip, and then when all that make it invalid are found, since each job
   * makes miners begin anew.
   */

  async offerFull(attempt) {
    const begun = performance.now();
    let best = null;
    let goesOn = true;

    while (goesOn && performance.now() - begun < SEARCH_MS) {
      const step = await this.excludeOne(attempt);

      best = step.valid || best;
      goesOn = step.goesOn;

      if (best && !this.isFull(attempt)) {
        this.offer(best);
        this.fullOn = attempt.prevBlock;
        best = null;
      }
    }

    if (best)
      this.offer(best);
  }

  isFull({prevBlock}) {
    return this.fullOn !== null && this.fullOn.equals(prevBlock);
  }

  /**
   * Find a valid template: hsd's without what is excluded, or, if it is not,
   * the transactions before the first that makes it so, and exclude that one.
   * @returns {Promise<Object>} {valid: the template, if it has any of them,
   * goesOn: one was excluded}
   */

  async excludeOne(attempt) {
    const own = this.excluded.filter(attempt);
    const parts = partsOf(own);
    const some = template => (parts.length > 0 ? template : null);
    const {isValid, reason, failure} = await this.verifier.verify(own);

    if (isValid) {
      this.end();
      return {valid: some(own), goesOn: false};
    }

    if (!this.isOnTip(attempt))
      return {valid: null, goesOn: false};

    this.tell(reason || failure, attempt);

    // Its transactions may be valid, and only the rest of it wrong.
    const whole = assemble(this.base, parts);
    const result = await this.verifier.verify(whole);

    if (result.isValid)
      return {valid: some(whole), goesOn: false};

    const found = refusal(result) && await this.search(parts, refusal(result));

    if (!found)
      return {valid: null, goesOn: false};

    if (IS_SUM.test(found.reason) && !await this.isTooMuch(found.part))
      return {valid: found.valid, goesOn: false};

    this.logger.error('left out of templates: %s (%s)', found.part.key,
      found.reason);
    this.excluded.add(found.part.key);

    return {valid: found.valid, goesOn: true};
  }

  /** True if a part is more than a block can have, alone. */

  async isTooMuch(part) {
    const {reason} = await this.verifier.verify(assemble(this.base, [part]));

    return reason !== null && IS_SUM.test(reason);
  }

  /**
   * Find the first part with which a template is not valid.
   * @param {Object[]} parts - not valid together, for this reason.
   * @param {String} reason
   * @returns {Promise<Object|null>} {part, reason, valid: the template of all
   * before it, if there are any}; null without a verdict.
   */

  async search(parts, reason) {
    let valid = null;
    let [low, high] = [0, parts.length];

    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const attempt = assemble(this.base, parts.slice(0, middle));
      const result = await this.verifier.verify(attempt);

      if (result.isValid)
        [low, valid] = [middle, attempt];
      else if (refusal(result))
        [high, reason] = [middle, refusal(result)];
      else
        return null;
    }

    return high > 0 ? {part: parts[high - 1], reason, valid} : null;
  }

  /**
   * Look, once on each tip, whether excluded transactions are valid by now.
   * @param {BlockTemplate} attempt - hsd's, the rest of which is valid.
   */

  async readmit(attempt) {
    const {excluded} = this;
    const {prevBlock} = attempt;

    if (this.readmittedOn && this.readmittedOn.equals(prevBlock))
      return;

    this.readmittedOn = prevBlock;

    for (const key of excluded.of(attempt).slice(0, READMIT_MAX)) {
      const whole = excluded.filter(attempt, key);
      const {isValid} = await this.verifier.verify(whole);

      if (!this.isOnTip(attempt))
        return;

      excluded.delete(key);

      if (isValid) {
        this.logger.info('in templates again: %s', key);
        this.templates.onMempool();
      } else {
        // Others have their turn first.
        excluded.add(key);
      }
    }
  }

  offer(attempt) {
    if (this.isOnTip(attempt))
      this.templates.offerVerified(attempt);
  }

  isOnTip(attempt) {
    return attempt.prevBlock.equals(this.node.chain.tip.hash);
  }
}

/**
 * The reason why a template with more transactions than a valid one is not: hsd
 * refuses its block, or fails on it.
 * @returns {String|null}
 */

function refusal({reason, failure, isLate}) {
  return reason || (isLate ? null : failure);
}

exports.FallbackTemplates = FallbackTemplates;
