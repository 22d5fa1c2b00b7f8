'use strict';

/*
 * A long time of main's or testnet's rules in minutes: blocks are found
 * through hstratum at a clock that is moved, by a hashrate that rises and
 * falls by a hundred. A second node, without the plugin, follows, at times
 * mines a branch of its own, and has the wallets of the pool and of others.
 * Names are auctioned, and the pool's node is restarted from its chain and
 * from none. Each job is compared with the node's own template; at the end the
 * ledger is compared with the chain. The order of all is random by a seed.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const Block = require('hsd/lib/primitives/block');
const {typesByVal} = require('hsd/lib/covenants/rules');
const common = require('hsd/lib/mining/common');
const Network = require('hsd/lib/protocol/network');
const {waitAnswered} = require('../../lab/checks');
const {readLiveLedger} = require('../../lab/ledger');
const {makeRandom} = require('../../lab/rig');
const {HSD_DIR, makeNode, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');
const {Payer, Wallets} = require('./payer');
const {Clock, environment} = require('./network_rules');

/** A block at the lowest difficulty takes 32 hashes on average. */
const BITS = 0x2007ffff;

/** July 2025, when a soft fork of main begins to be voted on. */
const GENESIS_TIME = 1751328000 - 2 * 86400;

const SPACING_S = 600;
const AHEAD_MAX_S = 7200;
const MATURITY = 100;
const TIP_AGE_MAX_S = 11 * 3600;

/** Hashes in ten minutes while the hashrate is lowest. */
const HASHES_MIN = 48;

/** Searches of a block, each of 100,000 hashes. */
const SEARCHES_MAX = 50;

/** Every hash is a share. */
const DIFFICULTY = String(2 ** -32);

const WAIT_MS = 30000;

/** Time for a wallet to see the last block. */
const WALLET_MS = 1000;

const DEPTH_MAX = 20;

/** Blocks that pay for names. */
const BIDDER_BLOCKS = 10;

/** Blocks from the opening of a name to its end. */
const AUCTION_BLOCKS = 36 + 72 + 72 + 60;

/** Steps of a wallet with a name, by the name's state. */
const STEPS = {
  BIDDING: [['bid', {bid: 1000000, lockup: 3000000}],
    ['bid again', {bid: 2000000, lockup: 3000000}]],
  REVEAL: [['reveal', {}]],
  CLOSED: [['redeem', {}], ['update', {data: {records: []}}],
    ['update again', {data: {records: [{type: 'TXT', txt: ['a']}]}}]]
};

/** Depth at which a payment is done, and another may follow. */
const PAYMENT_DEPTH = 12;

const TREE_INTERVAL = 36;

const ACCOUNTS = ['alice', 'bob', 'carol'];

/** Warnings that belong to what is done here. */
const BEARABLE = new RegExp('no job for (miners: (no peers|node is not synced)|15 s)'
  + '|the node knows less of the chain|block (orphaned|on a side chain), no reward');

/** A warning of a node that was killed with a block, and lost its chain. */
const OFFERED = /did not judge block .* its parent is unknown to the node/;

const TERMS = ['--scheme', 'prop', '--fee', '1', '--threshold', '0.5'];

/**
 * Main's rules, with names whose auction takes a day and a half, a halving
 * near, and votes that are counted each day.
 */

function rulesOf(network, blocks) {
  return {
    network,
    genesisTime: GENESIS_TIME,
    bits: BITS,
    halvingInterval: Math.floor(blocks * 0.45),
    txStart: 0,
    minerWindow: 144,
    activationThreshold: 137,
    names: {
      auctionStart: 0,
      noRollout: true,
      biddingPeriod: 72,
      revealPeriod: 72,
      renewalMaturity: 36,
      lockupPeriod: 36,
      transferLockup: 36
    }
  };
}

/** A miner that is woken by each line, so that it need not look. */

class QuickMiner extends Miner {
  constructor(node) {
    super(node);
    this.wakers = new Set();
  }

  handle(line) {
    super.handle(line);
    for (const wake of this.wakers)
      wake();
  }

  waitFor(what, fn, ms = WAIT_MS) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this.wakers.delete(look);
        settle(value);
      };
      const timer = setTimeout(() => done(reject,
        new Error(`waited for ${what}\n${this.node.tail()}`)), ms);
      const look = () => {
        const value = fn();
        if (value)
          done(resolve, value);
      };

      this.wakers.add(look);
      look();
    });
  }
}

class Year {
  /**
   * @param {Object} t - whose `after` cleans up.
   * @param {Object} options {seed, blocks, network, dir, reorganisations:
   *   their depths, restarts: from the chain, resyncs: from none, auctions}
   */

  constructor(t, options) {
    this.t = t;
    this.begun = performance.now();
    this.options = options;
    this.random = makeRandom(options.seed);
    this.clock = new Clock(options.dir, GENESIS_TIME + SPACING_S);
    this.rate = 1;            // the hashrate, over the lowest
    this.pool = null;
    this.rival = null;
    this.miners = new Map();  // account to its connection
    this.observer = null;
    this.accepted = new Map();  // account to its shares
    this.found = [];          // {hash, height}, all that were acknowledged
    this.tip = null;          // {hash, height, time} of the pool's node
    this.names = [];          // {name, step}
    this.counts = {
      blocks: 0, jobs: 0, retargets: 0, lowest: 0, hardest: 0, rivals: 0,
      reorganisations: 0, depth: 0, abandoned: 0, late: 0, commits: 0, transactions: 0,
      auctioned: 0, impossible: 0, payments: 0, firsts: 0, restarts: 0, resyncs: 0,
      refused: 0, resets: 0
    };
    this.bits = BITS;
    this.votes = votes(options.network);
    this.settled = [];        // what payouts said of each block
    this.linked = null;       // who has connected to whom, [node, target]
    this.isNew = false;       // the pool's node began without a chain
    this.left = false;        // a block before left transactions out
  }

  async run() {
    await this.setUp();

    const plan = this.plan();

    try {
      while (this.tip.height < this.options.blocks) {
        if (this.counts.blocks % this.options.rateSpan === 0)
          this.changeRate();

        await this.block();

        while (plan.length > 0 && plan[0].at <= this.counts.blocks)
          await plan.shift().happen();
      }

      await this.finish();
    } catch (e) {
      e.message = `at height ${this.tip.height}, seed ${this.options.seed}: `
        + `${e.message}\n${this.pool.tail()}`;
      throw e;
    }

    this.counts.seconds = Math.round((performance.now() - this.begun) / 1000);
    this.counts.perMinute = Math.round(60 * this.counts.blocks
      / this.counts.seconds);
    return this.counts;
  }

  /** What happens after which block, by the number of blocks found. */

  plan() {
    const {blocks, reorganisations, restarts, resyncs, payouts} = this.options;
    const plan = [];
    const add = (events, what) => events.forEach((event, i) => {
      const at = blocks * 0.8 * (i + this.random()) / events.length;

      plan.push({at, happen: () => what(event)});
    });

    add(shuffle(reorganisations, this.random), depth => this.branch(depth));
    add(Array(restarts).fill(), () => this.restart());
    add(Array(payouts).fill(), () => this.pay());
    add(Array(resyncs).fill(), () => this.resync());
    return plan.sort((a, b) => a.at - b.at);
  }

  async setUp() {
    const {t, clock, options: {dir, network, blocks}} = this;
    const env = {...clock.env,
      ...environment(rulesOf(network, blocks), HSD_DIR)};
    const common = {network, env, listen: true};

    t.after(() => clock.close());

    this.rival = makeNode(t, {...common, plugin: false, wallet: true,
      prefix: path.join(dir, 'rival'), address: null,
      args: ['--wallet-api-key=test', '--log-level=warning']});
    await this.rival.spawn();
    await this.rival.ready();

    this.wallets = new Wallets(this.rival);
    this.rival.options.address = await this.wallets.create('bidder');
    this.pool = makeNode(t, {...common, prefix: path.join(dir, 'pool'),
      address: await this.wallets.address('primary'),
      args: [`--stratum-difficulty=${DIFFICULTY}`,
        `--stratum-difficulty-min=${DIFFICULTY}`, '--stratum-dynamic=false',
        '--stratum-refresh=1', '--log-level=info']});
    await this.pool.spawn();
    await this.pool.ready();

    for (const account of ACCOUNTS) {
      const paid = await this.wallets.create(account);
      this.accepted.set(paid, 0);
    }

    const url = name => ({url: `http://127.0.0.1:${name}`});

    this.payer = new Payer(path.join(this.pool.stratumDir, 'ledger.db'), TERMS,
      url(this.pool.ports.http), url(this.rival.ports.wallet));
    await this.connect();
    await this.link();

    for (let i = 0; i < BIDDER_BLOCKS; i++)
      await this.rivalBlock();

    const hash = await this.rival.tip();

    await this.pool.waitTip(hash);
    await this.atTip(hash, BIDDER_BLOCKS);
  }

  /** Connections that end with the pool's process. */

  async connect() {
    // A peer that stays also while the rival is away: without any there is no
    // job on this network.
    this.observer = await Observer.connect(this.t, this.pool);

    for (const account of this.accepted.keys()) {
      this.miners.set(account,
        await QuickMiner.start(this.t, this.pool, account));
    }
  }

  /** Connect the two nodes: the one that has to learn asks the other. */

  async link(from = this.rival, to = this.pool) {
    const target = `127.0.0.1:${to.ports.p2p}`;

    this.linked = [from, target];

    // One connection to a host at a time: an attempt may still be ending.
    await from.waitFor('a connection of the nodes', async () => {
      const peers = await from.rpc('getpeerinfo');

      if (peers.some(peer => peer.addr === target && peer.version > 0))
        return true;

      await from.rpc('addnode', [target, 'onetry']);
      return false;
    });
  }

  async unlink() {
    const [from, target] = this.linked;

    this.linked = null;

    await from.rpc('disconnectnode', [target]);
    await this.pool.waitFor('the end of that connection', async () => {
      return (await this.pool.rpc('getpeerinfo')).length === 1;
    });
  }

  /** An account, by chance. */

  get account() {
    const accounts = [...this.accepted.keys()];
    return accounts[Math.floor(this.random() * accounts.length)];
  }

  /** Let the hashrate rise or fall, by a hundred at most. */

  changeRate() {
    const isHigh = this.rate > 10;

    this.rate = 100 ** (this.random() * 0.3 + (isHigh ? 0 : 0.7));
  }

  /** Move the clock to when the next block is found. */

  wait(bits) {
    const mean = SPACING_S * hashes(bits) / (HASHES_MIN * this.rate);

    this.clock.move(Math.round(-Math.log(1 - this.random()) * mean));
  }

  /** Find one block through hstratum, and see the next job. */

  async block() {
    const account = this.account;
    const miner = this.miners.get(account);

    this.wait(this.bits);

    const own = await this.ownTemplate();
    const job = await this.jobLike(miner, own);
    const time = this.timeOf(job, own);

    await this.shares(job, own);

    const share = solve(miner, {...job, time});
    const {error, result, hash} = await miner.submit(account, share);

    assert.strictEqual(error, null, `${JSON.stringify(error)} at time ${time}, `
      + `${this.bounds(own)}`);
    assert.strictEqual(result, true);
    this.accepted.set(account, this.accepted.get(account) + 1);
    this.found.push({hash, height: own.height});
    this.counts.blocks += 1;
    this.counts.transactions += own.transactions.length;
    await this.atTip(hash, own.height);
    if (this.linked && !this.left)
      await this.auction();
  }

  ownTemplate() {
    return this.pool.rpc('getblocktemplate', [{rules: []}]);
  }

  /** Wait for the first job on a tip; any other first is a fault. */

  async atTip(hash, height) {
    for (const miner of this.miners.values()) {
      await miner.waitFor(`a job on block ${height} ${hash}`,
        () => miner.jobs.some(job => isOn(job, hash)));
    }

    const {time} = await this.pool.rpc('getblockheader', [hash]);

    for (const miner of this.miners.values())
      miner.jobs = miner.jobs.filter(job => isOn(job, hash));

    this.tip = {hash, height, time};
  }

  /**
   * Compare each job on the tip with the node's own template. Gives the last,
   * most of the time with the transactions that blocks before left out.
   */

  async jobLike(miner, own) {
    assert.strictEqual(own.previousblockhash, this.tip.hash);

    const {network} = this.options;
    // Transactions that were there before the tip are in the node's first own
    // template on it; later ones come with the next.
    const whole = this.left && this.random() < 0.9;
    const isReset = network === 'testnet' && own.bits !== miner.job.params[7];

    // On testnet, twenty minutes after a block, there is another job.
    if (isReset) {
      await miner.waitFor('a job with the lowest difficulty',
        () => miner.job.params[7] === own.bits);
      this.counts.resets += 1;
    }

    if (whole)
      await this.wholeJob(miner, own.transactions.length);

    const {jobs} = miner;

    if (whole && jobs.length > 1)
      this.counts.firsts += 1;

    this.left = own.transactions.length > 0 && !whole;

    for (const job of isReset ? jobs.slice(-1) : jobs)
      this.compare(job, own);

    this.count(own);
    return miner.job;
  }

  async wholeJob(miner, count) {
    await waitFor(`a job with ${count} transactions`, async () => {
      const id = miner.send('mining.get_transactions', [miner.job.id]);
      const {result} = await miner.reply(id);
      return Array.isArray(result) && result.length === count;
    }, {node: this.pool});
  }

  compare(job, own) {
    const theirs = {
      height: own.height,
      bits: own.bits,
      version: own.version & ~this.votes,
      treeRoot: own.treeroot,
      reservedRoot: own.reservedroot
    };
    const ours = {
      height: this.tip.height + 1,
      bits: job.params[7],
      version: job.version & ~this.votes,
      treeRoot: job.treeRoot.toString('hex'),
      reservedRoot: job.reservedRoot.toString('hex')
    };

    assert.deepStrictEqual(ours, theirs);
    assert.ok(job.time >= own.mintime, `time ${job.time} of a job is before `
      + `${own.mintime}`);
    assert.ok(job.time <= this.clock.time + AHEAD_MAX_S);
    this.counts.jobs += 1;
  }

  count(own) {
    const {counts} = this;
    const bits = parseInt(own.bits, 16);
    const hardest = hashes(bits) / hashes(BITS);

    if (bits !== this.bits)
      counts.retargets += 1;

    if (bits === BITS)
      counts.lowest += 1;

    counts.hardest = Math.max(counts.hardest, Math.round(hardest));
    this.bits = bits;
  }

  /** First and last time of a header on hsd's template, as hsd judges it. */

  bounds(own) {
    const last = this.clock.time + AHEAD_MAX_S;

    if (this.options.network !== 'testnet' || own.bits === BITS.toString(16)
        .padStart(8, '0') && !this.isLate())
      return [own.mintime, last];

    const limit = this.tip.time + 2 * SPACING_S;

    return this.isLate() ? [Math.max(own.mintime, limit + 1), last]
      : [own.mintime, Math.min(limit, last)];
  }

  /** True when a block on the tip has the lowest difficulty, on testnet. */

  isLate() {
    return this.clock.time > this.tip.time + 2 * SPACING_S;
  }

  /** A header's time as miners set it: now, the job's, early, or ahead. */

  timeOf(job, own) {
    const [least, most] = this.bounds(own);
    const dice = this.random();

    if (dice < 0.75)
      return Math.min(Math.max(this.clock.time, least), most);
    if (dice < 0.85)
      return job.time;
    if (dice < 0.97)
      return least;
    return most;
  }

  /**
   * Submit shares that are no blocks, so that there is something to divide;
   * now and then with a time that is out of bounds by a second.
   */

  async shares(job, own) {
    const account = this.account;
    const miner = this.miners.get(account);
    const [least, most] = this.bounds(own);

    if (!sameJob(miner.job, job))
      return;

    for (let i = Math.floor(this.random() * 3); i > 0; i--) {
      const {error} = await miner.submit(account, miner.miss());

      assert.strictEqual(error, null, JSON.stringify(error));
      this.accepted.set(account, this.accepted.get(account) + 1);
    }

    if (this.random() < 0.1) {
      const wrong = this.random() < 0.5
        ? [least - 1, 'time-too-old'] : [most + 1, 'time-too-new'];
      const {error} = await miner.submit(account,
        miner.miss({...miner.job, time: wrong[0]}));

      assert.ok(error, `a share of time ${wrong[0]} was accepted`);
      assert.match(error[1].replace(/ /g, '-'), new RegExp(wrong[1]));
      this.counts.refused += 1;
    }
  }

  /**
   * Let the rival mine a branch of its own from here, while the pool's node
   * mines so many blocks; the one with more work stays.
   */

  async branch(depth) {
    const {pool, rival, counts} = this;
    const loses = this.random() < 0.25;

    await this.together();
    await this.unlink();

    const first = this.found.length;

    for (let i = 0; i < depth; i++) {
      await this.block();

      if (i > 0)
        await this.rivalBlock();
    }

    if (loses && await this.work(rival) < await this.work(pool)) {
      await this.link();
      await this.block();
      await this.together();
      counts.abandoned += 1;
      return;
    }

    const margin = BigInt(Math.ceil(2 * hashes(this.bits)));

    while (await this.work(rival) <= await this.work(pool) + margin)
      await this.rivalBlock();

    const account = this.account;
    const miner = this.miners.get(account);
    const old = miner.miss();
    const share = solve(miner, miner.job);

    // A node asks for a branch when one of its blocks is announced to it. A
    // miner finds one more block on the tip that is lost, before or after.
    await this.link();

    if (this.random() < 0.5) {
      await Promise.all([this.rivalBlock(), this.race(account, share)]);
    } else {
      await this.rivalBlock();
      await pool.waitTip(await rival.tip());
      await this.race(account, share);
    }

    const hash = await rival.tip();

    await pool.waitTip(hash);
    await this.atTip(hash, await rival.height());

    for (const {hash} of this.found.slice(first)) {
      const {confirmations} = await pool.waitFor(`the lost block ${hash}`,
        () => pool.rpc('getblockheader', [hash]));

      assert.ok(confirmations < 1, `block ${hash} is on the chain`);
    }

    const {error} = await miner.submit(account, old);

    assert.strictEqual(error && error[0], 21, JSON.stringify(error));
    counts.reorganisations += 1;
    counts.depth = Math.max(counts.depth, depth);
  }

  /**
   * Submit a block whose parent may just have ceased to be the tip: then it is
   * no share, and the node is given it all the same.
   */

  async race(account, share) {
    const miner = this.miners.get(account);
    const {error, hash} = await miner.submit(account, share);

    if (error)
      assert.strictEqual(error[0], 21, JSON.stringify(error));
    else
      this.accepted.set(account, this.accepted.get(account) + 1);

    this.found.push({hash, height: this.tip.height + 1});
    this.counts.blocks += 1;
    this.counts.late += error ? 1 : 0;
  }

  async rivalBlock() {
    const {bits} = await this.rival.rpc('getblockheader',
      [await this.rival.tip()]);

    this.wait(parseInt(bits, 16));
    await this.rival.mine(1);
    this.counts.rivals += 1;
  }

  async work(node) {
    const {chainwork} = await node.rpc('getblockheader', [await node.tip()]);
    return BigInt(`0x${chainwork}`);
  }

  /** Wait until both nodes have the same tip. */

  async together() {
    await this.rival.waitTip(this.tip.hash);
  }

  /** Go on until hsd would take the tip for new: it does so for half a day. */

  async beNew() {
    while (this.tip.time < this.clock.time - TIP_AGE_MAX_S)
      await this.block();

    await this.together();
  }

  async restart() {
    await this.beNew();
    await this.end();
    this.isNew = false;
    await this.pool.spawn();
    await this.pool.ready();
    await this.link();
    await this.connect();
    await this.atTip(this.tip.hash, this.tip.height);
    this.counts.restarts += 1;
  }

  /** Begin the pool's node without a chain; it gets the rival's. */

  async resync() {
    const {pool, rival} = this;

    await this.beNew();
    await this.end();

    for (const name of ['blocks', 'chain', 'tree'])
      fs.rmSync(path.join(pool.dir, name), {recursive: true, force: true});

    this.isNew = true;
    await pool.spawn();
    await pool.ready();
    await this.link(pool, rival);
    await pool.waitTip(this.tip.hash, 300000);
    await this.connect();
    await this.atTip(this.tip.hash, this.tip.height);
    this.counts.resyncs += 1;
  }

  /** End the node's process, in order or not, without a block in its way. */

  async end() {
    this.readLog();

    if (this.random() < 0.5)
      await this.pool.signal('SIGTERM');
    else
      await this.pool.kill();

    this.miners.clear();
  }

  /** Look for what hstratum complains of in the log of the pool's process. */

  readLog() {
    for (const {text} of this.pool.lines) {
      assert.ok(!/^\[(error|warning)\] .*\(stratum\)|panicked/.test(text)
        || BEARABLE.test(text) || this.isNew && OFFERED.test(text), text);
    }
  }

  /** Make one step of one name's auction, if there is one to make now. */

  async auction() {
    const {height} = this.tip;
    const {names} = this;

    if (!this.options.auctions || height < MATURITY + 10 || height % 3 > 0)
      return;

    await this.together();

    if (height % 24 === 0 && height < this.options.blocks - AUCTION_BLOCKS) {
      const name = `name${names.length}`;

      await this.name(name, 'open', {});
      names.push({name, steps: new Set(['open'])});
      return;
    }

    if (names.length === 0)
      return;

    const one = names[Math.floor(this.random() * names.length)];
    const {info} = await this.rival.rpc('getnameinfo', [one.name]);

    for (const [step, body] of STEPS[info ? info.state : 'NONE'] || []) {
      if (!one.steps.has(step)) {
        one.steps.add(step);
        await this.name(one.name, step.split(' ')[0], body);
        return;
      }
    }
  }

  /**
   * Have the rival's wallet make a transaction, and give it to the pool. It may
   * not be possible: a bid may have been too late for its auction.
   */

  async name(name, path, body) {
    let tx;

    try {
      tx = await waitFor(`${path} of ${name}`, () => {
        return this.wallets.call('POST', `/wallet/bidder/${path}`,
          {name, ...body});
      }, {ms: WALLET_MS});
    } catch (e) {
      this.counts.impossible += 1;
      return;
    }

    // It may have come there from the rival already.
    await this.pool.rpc('sendrawtransaction', [tx.hex]).catch((e) => {
      if (!/already|duplicate/i.test(e.message))
        throw e;
    });
    this.counts.auctioned += 1;
  }

  async finish() {
    while (this.tip.height < this.options.blocks + MATURITY)
      await this.block();

    await this.pay();

    for (let i = 0; i < PAYMENT_DEPTH; i++)
      await this.block();

    // A payment that is deep enough is followed by the next one.
    await this.pay();

    for (let i = 0; i < PAYMENT_DEPTH; i++)
      await this.block();

    await this.together();
    await waitAnswered(this.pool);

    const chain = await this.readChain();

    this.readLog();
    await this.checkLedger(chain);
    await this.checkSums(chain);
  }

  /** Divide what can be divided, and pay it. */

  async pay() {
    await this.together();

    const {code, err, out} = await this.payer.send();

    assert.strictEqual(code, 0, err);
    this.settled.push(...out.settled);

    if (out.steps.some(({step}) => step === 'sent'))
      this.counts.payments += 1;
  }

  /** The pool's node's chain: what each block pays, by height. */

  async readChain() {
    const chain = [];

    for (let height = 0; height <= this.tip.height; height++) {
      const hash = await this.pool.rpc('getblockhash', [height]);
      const raw = await this.pool.rpc('getblock', [hash, false]);
      const block = Block.decode(Buffer.from(raw, 'hex'));

      chain.push({hash, block});
    }

    return chain;
  }

  /** Compare the ledger with the chain and with what miners were told. */

  async checkLedger(chain) {
    const ledger = readLiveLedger(this.pool.stratumDir);
    const states = new Map(ledger.blocks.map(({hash, state}) => [hash, state]));

    assert.strictEqual(ledger.integrity, 'ok');
    assert.strictEqual(ledger.blocks.length, this.found.length);

    for (const {hash, height} of this.found) {
      const isMain = chain[height].hash === hash;
      const depth = chain.length - height;
      const state = !isMain ? 'orphaned'
        : depth >= MATURITY ? 'confirmed' : 'accepted';

      assert.strictEqual(states.get(hash), state, `block ${height} ${hash}`);
    }

    for (const [account, count] of this.accepted) {
      const rows = ledger.credit.filter(row => row.account === account);

      assert.strictEqual(sum(rows, 'count'), count, `shares of ${account}`);
    }

    // A note says that TERMS are not the server's.
    assert.match(await this.payer.tool('ledger', 'check', '--ledger',
      this.payer.ledger, '--shares', path.join(this.pool.stratumDir, 'shares')),
    /^(note: .* by other terms .*\n)?all is well\n$/);
  }

  /** Compare what was divided and paid with coinbases and wallets. */

  async checkSums(chain) {
    const {settled, found, counts} = this;
    const mature = found.filter(({hash, height}) => {
      return chain[height].hash === hash;
    });
    const rewards = new Map(mature.map(({hash, height}) => {
      return [hash, chain[height].block.txs[0].outputs[0].value];
    }));

    for (const {block, reward, credited, fee, remainder} of settled) {
      assert.strictEqual(reward, rewards.get(block), `reward of ${block}`);
      assert.strictEqual(credited + fee + remainder, reward);
    }

    const due = mature.filter(({height}) => {
      return chain.length - PAYMENT_DEPTH - height >= MATURITY;
    });

    assert.strictEqual(settled.length, due.length);

    const {accounts} = await this.payer.tool('ledger', 'report', '--ledger',
      this.payer.ledger, '--json');

    assert.strictEqual(sum(accounts, 'credited'), sum(settled, 'credited'));

    for (const [i, account] of [...this.accepted.keys()].entries()) {
      const {paid} = accounts.find(row => row.account === account);

      assert.strictEqual(await this.wallets.confirmed(ACCOUNTS[i]), paid,
        `what ${ACCOUNTS[i]} has`);
    }

    counts.rewards = sum(settled, 'reward');
    counts.credited = sum(settled, 'credited');
    counts.paid = sum(accounts, 'paid');
    this.countChain(chain);
  }

  /** Check that the tree's root changes only when it may, and count. */

  countChain(chain) {
    const {counts} = this;
    const covenants = {};

    for (const [height, {block}] of chain.entries()) {
      const before = chain[Math.max(0, height - 1)].block;

      if (!block.treeRoot.equals(before.treeRoot)) {
        assert.strictEqual(height % TREE_INTERVAL, 1);
        counts.commits += 1;
      }

      for (const {covenant} of block.txs.flatMap(tx => tx.outputs)) {
        const name = typesByVal[covenant.type];
        covenants[name] = (covenants[name] || 0) + 1;
      }
    }

    counts.height = chain.length - 1;
    counts.covenants = covenants;
    counts.shares = sum([...this.accepted.values()], count => count);
  }
}

/** The numbers of a run as one line. */

function summary(counts) {
  const parts = Object.entries(counts).map(([name, value]) => {
    const text = typeof value === 'object'
      ? Object.entries(value).map(([key, n]) => `${n} ${key}`).join(' ')
      : value;
    return `${name} ${text}`;
  });

  return parts.join(', ');
}

function solve(miner, job) {
  for (let i = 0; i < SEARCHES_MAX; i++) {
    try {
      return miner.solve(job);
    } catch (e) {
      if (e.message !== 'nothing found')
        throw e;
    }
  }

  throw new Error(`no block found at bits ${job.bits.toString(16)}`);
}

/** Sum of a property of objects, or of a function's values. */

function sum(items, of) {
  return items.reduce((total, item) => {
    return total + (typeof of === 'string' ? item[of] : of(item));
  }, 0);
}

/** The bits of the version that softforks are voted on with. */

/** Bits of a version that are votes on a network. */

function votes(network) {
  return Network.get(network).deploys
    .reduce((bits, {bit}) => bits | 1 << bit, 0);
}

function isOn(job, hash) {
  return job.prevBlock.toString('hex') === hash;
}

function sameJob(a, b) {
  return a.params.slice(1, 8).join() === b.params.slice(1, 8).join();
}

/** Expected hashes of a block. */

function hashes(bits) {
  const target = common.getTarget(bits);
  return 2 ** 32 / (target.readUInt32BE(0) + 1);
}

function shuffle(items, random) {
  const out = [...items];

  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }

  return out;
}

module.exports = {DEPTH_MAX, Year, summary};
