'use strict';

/*
 * Work for miners after a template that the network would refuse. From then on
 * only templates go out that were verified before: first one without
 * transactions, then as many as are valid. The transaction that spoils a
 * template is found by halving and left out until the next start, or until
 * somebody has mined it. The first template of hsd's that is valid without what
 * is left out ends this.
 */

const {FirstTemplates} = require('./first_template');

/** Transactions found in one go, each by a dozen verifications. */
const ROUNDS_MAX = 8;
const SETTLE_MS = 30000;

/** The oldest goes for a new one. */
const LEFT_OUT_MAX = 1000;

/** Reasons that are about all transactions together, and about no single one. */
const IS_SUM = /^bad-blk-(?!names)/;

class Fallback {
  /**
   * @param {Object} node
   * @param {Object} server - the addon's.
   * @param {Verifier} verifier
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
    this.reason = null;        // hsd's, for the template that was refused
    this.base = null;          // valid without transactions, on its tip
    this.leftOut = new Set();
  }

  /** Whether only verified templates go out. */

  get isActive() {
    return this.reason !== null;
  }

  /**
   * A template would be refused.
   * @param {BlockTemplate} attempt
   * @param {String} reason - hsd's.
   */

  begin(attempt, reason) {
    this.logger.error('the template at height %d would be refused by the '
      + 'network (%s): miners get jobs without transactions until one is valid',
    attempt.height, reason);
    this.base = null;
    this.reason = reason;
    this.server.templateInvalid(reason);
  }

  end() {
    this.logger.info('templates are valid again');
    this.base = null;
    this.reason = null;
    this.server.templateInvalid(null);
  }

  /**
   * Offer of a template of hsd's what is valid.
   * @param {BlockTemplate} attempt - on the tip.
   * @returns {Promise<Boolean>} false when the tip has changed.
   */

  async settle(attempt) {
    if (!await this.offerBase(attempt))
      return this.isOnTip(attempt);

    const until = performance.now() + SETTLE_MS;
    let parts = partsOf(attempt);

    for (let i = 0; i < ROUNDS_MAX && performance.now() < until; i++) {
      parts = this.without(parts);

      const own = this.filter(attempt);

      if ((await this.verifier.check(own)).isValid) {
        if (parts.length > 0)
          this.templates.offerValid(own);
        this.end();
        return true;
      }

      // Its transactions may be right, and only the rest of it wrong.
      const whole = assemble(this.base, parts);
      const {isValid, reason} = await this.verifier.check(whole);

      if (isValid && parts.length > 0)
        this.templates.offerValid(whole);

      if (!reason)
        break;

      const found = await this.search(parts, reason);

      if (!found)
        break;

      if (found.valid)
        this.templates.offerValid(found.valid);

      if (IS_SUM.test(found.reason))
        break;

      this.leaveOut(found.part, found.reason);
    }

    return this.isOnTip(attempt);
  }

  /**
   * Have a template without transactions out on this tip.
   * @returns {Promise<Boolean>} whether one is.
   */

  async offerBase(attempt) {
    if (this.base && this.base.prevBlock.equals(attempt.prevBlock))
      return true;

    // What hsd's has wrong beside its transactions, this one need not have.
    const {tip} = this.node.chain;
    const base = assemble(this.firsts.make(tip, attempt) || attempt, []);
    const {isValid, reason} = await this.verifier.check(base);

    if (reason) {
      this.templates.withhold(`the node would refuse its own block: ${reason}`);
      return false;
    }

    // Where nobody can say, it is better than what was out.
    if (this.isOnTip(base))
      this.templates.offerValid(base);

    if (isValid)
      this.base = base;

    return isValid;
  }

  /**
   * Find the first part with which a template is no longer valid.
   * @param {Object[]} parts - not valid together, for this reason.
   * @param {String} reason
   * @returns {Promise<Object|null>} {part, reason, valid: the template of all
   * before it}
   */

  async search(parts, reason) {
    let valid = null;
    let [low, high] = [0, parts.length];

    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const attempt = assemble(this.base, parts.slice(0, middle));
      const result = await this.verifier.check(attempt);

      if (result.isValid)
        [low, valid] = [middle, attempt];
      else if (result.reason)
        [high, reason] = [middle, result.reason];
      else
        return null;
    }

    return high > 0 ? {part: parts[high - 1], reason, valid} : null;
  }

  leaveOut(part, reason) {
    this.logger.error('left out of templates: %s (%s)', part.key, reason);

    if (this.leftOut.size === LEFT_OUT_MAX)
      this.leftOut.delete(this.leftOut.values().next().value);

    this.leftOut.add(part.key);
  }

  /** A block of the main chain: what it has in it is somebody else's problem. */

  onBlock(block) {
    if (this.leftOut.size === 0)
      return;

    for (const tx of block.txs)
      this.leftOut.delete(hex(tx.hash()));
  }

  /**
   * A template of hsd's without what is left out.
   * @param {BlockTemplate} attempt
   * @returns {BlockTemplate}
   */

  filter(attempt) {
    if (this.leftOut.size === 0)
      return attempt;

    const all = partsOf(attempt);
    const parts = this.without(all);

    return parts.length < all.length ? assemble(attempt, parts) : attempt;
  }

  /** These without what is left out and what spends of it. */

  without(parts) {
    const gone = new Set();

    return parts.filter(({key, kind, entry}) => {
      const spends = kind === 'items' && entry.tx.inputs.some(({prevout}) => {
        return gone.has(hex(prevout.hash));
      });

      if (!spends && !this.leftOut.has(key))
        return true;

      gone.add(key);
      return false;
    });
  }

  isOnTip(attempt) {
    return attempt.prevBlock.equals(this.node.chain.tip.hash);
  }
}

/** All that a template has beside its coinbase's first output, in its order. */

function partsOf({claims, airdrops, items}) {
  return [
    ...claims.map(entry => ({
      kind: 'claims', entry, key: `claim of ${entry.name.toString('latin1')}`
    })),
    ...airdrops.map(entry => ({
      kind: 'airdrops', entry, key: `airdrop ${entry.position}`
    })),
    ...items.map(entry => ({
      kind: 'items', entry, key: hex(entry.hash)
    }))
  ];
}

/** The template with these parts in place of its own. */

function assemble(base, parts) {
  const of = kind => parts.filter(part => part.kind === kind)
    .map(part => part.entry);
  const attempt = Object.assign(new base.constructor(), base, {
    claims: of('claims'), airdrops: of('airdrops'), items: of('items'), fees: 0
  });

  // hsd lib/mining/miner.js, assemble: a claim's fee counts if it is the first.
  for (const {kind, entry} of parts) {
    if (kind !== 'claims' || entry.commitHeight === 1)
      attempt.fees += entry.fee;
  }

  attempt.refresh();

  return attempt;
}

function hex(hash) {
  return hash.toString('hex');
}

exports.Fallback = Fallback;
