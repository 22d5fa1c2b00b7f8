'use strict';

/*
 * Templates after one that the network would refuse. From then on each is
 * verified before it goes out: first one without transactions, then as many
 * transactions as are valid. One that makes a template invalid is found by
 * halving and excluded. The first template of hsd's that is valid without the
 * excluded transactions ends this.
 */

const {ExcludedTransactions, assemble, partsOf} = require(
  './excluded_transactions');
const {FirstTemplates} = require('./first_template');

/** Transactions excluded in one go, each after a dozen verifications. */
const SEARCHES_MAX = 8;

/** Reasons about all transactions together, which no single one causes. */
const IS_SUM = /^bad-blk-(?!names)/;

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
    this.base = null;          // the last valid one without transactions
  }

  /**
   * Begin, since hsd would refuse the block of a template.
   * @param {BlockTemplate} attempt
   * @param {String} reason - hsd's.
   */

  begin(attempt, reason) {
    this.logger.error('the template at height %d would be refused by the '
      + 'network (%s): miners get jobs without transactions until one is valid',
    attempt.height, reason);
    this.base = null;
    this.isActive = true;
    this.server.templateInvalid(reason);
  }

  end() {
    this.logger.info('templates are valid again');
    this.isActive = false;
    this.server.templateInvalid(null);
  }

  /**
   * Offer what is valid of a template of hsd's.
   * @param {BlockTemplate} attempt - on the tip.
   * @returns {Promise<Boolean>} false when there is a new tip.
   */

  async offerValid(attempt) {
    if (await this.offerEmpty(attempt)) {
      for (let i = 0; i < SEARCHES_MAX; i++) {
        if (!await this.excludeOne(attempt))
          break;
      }
    }

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

    for (const base of made ? [made, attempt] : [attempt]) {
      const empty = assemble(base, []);
      const {isValid, reason} = await this.verifier.verify(empty);

      refusal = reason;

      if (reason)
        continue;

      // Without a verdict it is still better than the refused one.
      if (this.isOnTip(empty))
        this.templates.offerVerified(empty);

      if (isValid)
        this.base = empty;

      return isValid;
    }

    this.templates.withhold(`the node would refuse its own block: ${refusal}`);
    return false;
  }

  /**
   * Offer hsd's template without what is excluded, or, if it is not valid, the
   * transactions before the first that makes it so, and exclude that one.
   * @returns {Promise<Boolean>} true if one was excluded.
   */

  async excludeOne(attempt) {
    const own = this.excluded.filter(attempt);
    const parts = partsOf(own);

    if ((await this.verifier.verify(own)).isValid) {
      if (parts.length > 0)
        this.templates.offerVerified(own);
      this.end();
      return false;
    }

    // Its transactions may be valid, and only the rest of it wrong.
    const whole = assemble(this.base, parts);
    const {isValid, reason} = await this.verifier.verify(whole);

    if (isValid && parts.length > 0)
      this.templates.offerVerified(whole);

    const found = reason && await this.search(parts, reason);

    if (!found)
      return false;

    if (found.valid)
      this.templates.offerVerified(found.valid);

    if (IS_SUM.test(found.reason))
      return false;

    this.logger.error('left out of templates: %s (%s)', found.part.key,
      found.reason);
    this.excluded.add(found.part);

    return true;
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
      else if (result.reason)
        [high, reason] = [middle, result.reason];
      else
        return null;
    }

    return high > 0 ? {part: parts[high - 1], reason, valid} : null;
  }

  isOnTip(attempt) {
    return attempt.prevBlock.equals(this.node.chain.tip.hash);
  }
}

exports.FallbackTemplates = FallbackTemplates;
