'use strict';

/*
 * Keeps the native half supplied with templates: for every new tip at once,
 * first without transactions; now and then for changes of the mempool; and a
 * reason when there can be none. Remembers the last few, since a solution
 * names its own.
 */

const {errorText} = require('./error_text');
const {FallbackTemplates} = require('./fallback_templates');
const {FirstTemplates, difference} = require('./first_template');
const {DeploymentSignal} = require('./deployment_signal');

const TEMPLATES_MAX = 32;

/**
 * Time after which a template on the tip is overdue. hsd makes one in tens of
 * milliseconds, after at most a few seconds of a block's verification.
 */
const OVERDUE_MS = 15000;

const TICK_MS = 1000;
const TIME_MAX = 0xffffffff;

class Templates {
  /**
   * @param {Object} node
   * @param {Object} server - the addon's.
   * @param {NodeTimeouts} waits
   * @param {Object} logger
   * @param {TemplateVerifier|null} verifier - null under `verify: off`.
   */

  constructor(node, server, waits, logger, verifier = null) {
    this.node = node;
    this.server = server;
    this.waits = waits;
    this.logger = logger;
    this.verifier = verifier;
    this.fallback = new FallbackTemplates(node, server, verifier, this,
      logger);
    this.invalid = new WeakSet();   // templates that hsd would refuse
    this.signal = new DeploymentSignal(node, server, waits, logger);
    this.firsts = new FirstTemplates(node);
    this.suspected = null;   // {attempt: hsd's, firsts: that it contradicted}
    this.first = null;       // the first template, while it is the current one
    this.last = null;        // the last that hsd made
    this.whole = null;       // the same, with what is excluded from it
    this.byId = new Map();
    this.lastId = 0;
    this.current = null;     // {prevBlock, timeMax, madeAt} of the current one
    this.withheld = null;    // the reason why there is none
    this.changed = false;    // the mempool has changed since
    this.busy = false;
    this.active = false;
    this.timer = null;
  }

  get(id) {
    return this.byId.get(id) || null;
  }

  /** True if hsd would refuse the block of this template. */

  isInvalid(id) {
    return this.invalid.has(this.byId.get(id));
  }

  /**
   * Begin, once the node is open: the wallet's address and the peers are there
   * only then.
   */

  start() {
    this.active = true;
    this.timer = setInterval(() => this.guard(() => this.tick()), TICK_MS);
    this.timer.unref();
    this.tellTip();
  }

  stop() {
    this.active = false;
    clearInterval(this.timer);

    if (this.verifier)
      this.verifier.stop();
  }

  guard(fn) {
    try {
      fn();
    } catch (e) {
      this.logger.error('failed to prepare work: %s', errorText(e));
    }
  }

  /**
   * A new tip, seen before the node has finished with its block. hsd's own
   * template is asked for here: hsd queues that behind the chain's lock, so
   * it is made as soon as the block, or the whole reorganisation, is done.
   * @param {ChainEntry} entry
   */

  onTip(entry) {
    this.server.tip(entry.hash, entry.height);

    if (this.verifier)
      this.verifier.stop();

    this.guard(() => this.offerFirst(entry));
    this.refresh();
  }

  /**
   * Report the tip at the start and when the node is synchronized, from when
   * on it counts.
   */

  tellTip() {
    const {tip} = this.node.chain;
    this.server.tip(tip.hash, tip.height);
    this.refresh();
  }

  /**
   * Offer a template without transactions, so that miners need not wait for
   * them. Not while the chain reorganises: such a tip would not last.
   * @param {ChainEntry} tip
   */

  offerFirst(tip) {
    if (!this.active || !this.firsts || !this.current || this.obstacle())
      return;

    // Each is verified first, and hsd is busy with the tip's block.
    if (this.fallback.isActive)
      return;

    if (!tip.prevBlock.equals(this.current.prevBlock))
      return;

    const attempt = this.firsts.make(tip, this.last);

    if (attempt) {
      this.offer(attempt);
      this.first = attempt;
    }
  }

  /**
   * Note that fees have changed. That can wait, since every job makes ASICs
   * drop the work they have.
   */

  onMempool() {
    this.changed = true;
  }

  /**
   * Check, once a second, conditions that no event announces, and offer
   * changes that have waited long enough.
   */

  tick() {
    if (!this.active)
      return;

    const {current} = this;

    if (this.obstacle() || !current || !this.isTip(current.prevBlock)) {
      this.refresh();
      return;
    }

    const age = (performance.now() - current.madeAt) / 1000;

    if (this.changed && age >= this.server.refreshSeconds)
      this.refresh();
    else if (this.node.network.now() > current.timeMax)
      this.refresh();
  }

  /**
   * Make a template, one at a time: changes of the chain meanwhile are noticed
   * when it is done.
   */

  refresh() {
    if (!this.active || this.busy)
      return;

    const obstacle = this.obstacle();

    if (obstacle) {
      this.withhold(obstacle);
      return;
    }

    this.busy = true;

    this.make().catch((e) => {
      this.guard(() => this.withhold(`template failed: ${errorText(e)}`));
    }).finally(() => {
      this.busy = false;
    });
  }

  async make() {
    while (this.active) {
      const {tip} = this.node.chain;
      const attempt = await this.waits.watch('createBlock', OVERDUE_MS,
        this.node.miner.createBlock());

      // The node may have closed, or lost something that a job needs, in
      // between.
      if (!this.active)
        return;

      const obstacle = this.obstacle();

      if (obstacle) {
        this.withhold(obstacle);
        return;
      }

      if (this.isTip(attempt.prevBlock)) {
        if (await this.takeValid(attempt))
          return;
      } else if (this.node.chain.tip === tip) {
        throw new Error('it is not on the tip');
      } else if (!this.current || !this.isTip(this.current.prevBlock)) {
        // Kept if the first template on the new tip is the current one.
        this.withhold('tip is changing');
      }
    }
  }

  /**
   * Take a template of hsd's, on the tip, or what is valid of it.
   * @returns {Promise<Boolean>} false when there is a new tip.
   */

  async takeValid(attempt) {
    const {fallback} = this;

    if (!fallback.isActive) {
      this.whole = attempt;
      this.take(fallback.excluded.filter(attempt));
      return true;
    }

    this.last = attempt;

    const isOnTip = await fallback.offerValid(attempt);

    // The mempool may have changed since hsd made it.
    this.changed = true;

    return isOnTip;
  }

  /**
   * Take a template of hsd's, on the tip. One without transactions adds
   * nothing to the first.
   */

  take(attempt) {
    const first = this.first && this.isTip(this.first.prevBlock)
      ? this.first : null;
    const wrong = first && difference(first, attempt);

    this.last = attempt;

    if (wrong) {
      this.suspected = {attempt, firsts: this.firsts};
      this.firsts = null;
      this.logger.error('the first template at height %d had another %s than '
        + 'the node\'s: from now on miners wait for the node\'s',
      attempt.height, wrong);
    }

    // At the first block of a vote it has the version of the one before.
    const isSame = first && !wrong && isEmpty(attempt)
      && first.version === this.signal.clear(attempt.version);

    if (isSame) {
      this.current.madeAt = performance.now();
      this.changed = false;
    } else {
      this.offer(attempt);
    }

    if (this.firsts) {
      this.firsts.prepare().catch((e) => {
        this.logger.error('failed to look back from the tip: %s', errorText(e));
      });
    }
  }

  /**
   * @param {BlockTemplate} attempt
   * @param {Boolean} isValid
   * @param {String|null} reason - why its block would be lost.
   */

  onVerdict(attempt, isValid, reason) {
    if (reason)
      this.onInvalid(attempt, reason);
    else if (isValid && this.whole && this.fallback.excluded.size > 0)
      this.readmit(this.whole);
  }

  readmit(whole) {
    if (!this.isTip(whole.prevBlock))
      return;

    this.fallback.readmit(whole).catch((e) => {
      this.logger.error('failed to look at what is left out: %s', errorText(e));
    });
  }

  /** Replace a template, since its block would be lost. */

  onInvalid(attempt, reason) {
    this.invalid.add(attempt);

    // The first template that it contradicted was right.
    if (this.suspected && this.suspected.attempt === attempt)
      this.firsts = this.suspected.firsts;

    // Nobody mines on it any more.
    if (!this.active || !this.isTip(attempt.prevBlock))
      return;

    this.fallback.begin(attempt, reason);
    this.fallback.offerEmpty(attempt).then(() => this.refresh()).catch((e) => {
      this.logger.error('failed to replace a template: %s', errorText(e));
    });
  }

  /** Offer a template on the tip that was verified. */

  offerVerified(attempt) {
    if (!this.active)
      return;

    const obstacle = this.obstacle();

    if (obstacle)
      this.withhold(obstacle);
    else
      this.offer(attempt);
  }

  /**
   * The reason why there can be no job now.
   * @returns {String|null}
   */

  obstacle() {
    const {chain, miner, network, pool} = this.node;

    // hsd would pay the block to nobody.
    if (miner.addresses.length === 0)
      return 'no coinbase address';

    // An output to another version could be spent by nobody or by anybody.
    if (miner.addresses.some(address => address.version !== 0))
      return 'a coinbase address that nobody can be paid at (its version is not 0)';

    if (!isSynced(chain))
      return 'node is not synced';

    if (!network.selfConnect && !hasPeer(pool))
      return 'no peers';

    return null;
  }

  isTip(hash) {
    return hash.equals(this.node.chain.tip.hash);
  }

  withhold(reason) {
    this.current = null;

    if (this.withheld === reason)
      return;

    this.withheld = reason;
    this.server.noTemplate(reason);
  }

  offer(attempt) {
    const madeAt = performance.now();
    const id = this.lastId + 1;
    const [timeMin, timeMax] = this.timeBounds(attempt);
    const txs = attempt.items.map(item => item.tx);

    this.signal.apply(attempt);

    const leaves = [];

    for (const tx of txs)
      leaves.push(tx.hash(), tx.witnessHash());

    this.server.template({
      id,
      height: attempt.height,
      version: attempt.version,
      bits: attempt.bits,
      time: attempt.time,
      mtp: attempt.mtp,
      timeMin,
      timeMax,
      prevBlock: attempt.prevBlock,
      treeRoot: attempt.treeRoot,
      reservedRoot: attempt.reservedRoot,
      merkleRoot: attempt.merkleRoot,
      witnessRoot: attempt.witnessRoot,
      coinbase: attempt.coinbase.encode(),
      leaves: Buffer.concat(leaves),
      ageMs: performance.now() - madeAt
    });

    this.first = null;
    this.lastId = id;
    this.byId.set(id, attempt);
    this.byId.delete(id - TEMPLATES_MAX);

    this.current = {
      prevBlock: attempt.prevBlock,
      timeMax,
      madeAt
    };
    this.withheld = null;
    this.changed = false;

    if (this.verifier && !this.fallback.isActive) {
      this.verifier.schedule(attempt, (...verdict) => {
        this.guard(() => this.onVerdict(...verdict));
      });
    }

    // Only the spool needs them: miners do not wait.
    setImmediate(() => this.guard(() => {
      if (this.active)
        this.server.transactions(id, Buffer.concat(txs.map(tx => tx.encode())));
    }));
  }

  /**
   * The header times for which the template's bits hold.
   * @param {BlockTemplate} attempt - on the chain's tip.
   * @returns {Number[]} first and last.
   */

  timeBounds(attempt) {
    const {pow} = this.node.network;
    const first = attempt.mtp + 1;

    if (!pow.targetReset || pow.noRetargeting)
      return [first, TIME_MAX];

    // hsd lib/blockchain/chain.js, getTarget: twenty minutes after its
    // parent a block may, and must, have the lowest difficulty.
    const limit = this.node.chain.tip.time + pow.targetSpacing * 2;

    if (attempt.time > limit)
      return [Math.max(first, limit + 1), TIME_MAX];

    if (attempt.bits === pow.bits)
      return [first, TIME_MAX];

    return [first, limit];
  }
}

function isEmpty(attempt) {
  return attempt.items.length + attempt.claims.length
    + attempt.airdrops.length === 0;
}

/**
 * True once the node has caught up with the network, as far as it knows: then
 * miners get work, and its answers about blocks count.
 */

function isSynced(chain) {
  return chain.synced;
}

function hasPeer(pool) {
  for (let peer = pool.peers.head(); peer; peer = peer.next) {
    if (peer.handshake)
      return true;
  }

  return false;
}

exports.Templates = Templates;
exports.hasPeer = hasPeer;
exports.isSynced = isSynced;
