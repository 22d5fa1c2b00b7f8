'use strict';

const assert = require('assert');
const util = require('util');
const {test} = require('node:test');
const {Templates} = require('../templates');

const POW_BITS = 0x1d00ffff;
const HARD_BITS = 0x1b00ffff;
const SPACING = 600;

/** NodeTimeouts without a time limit. */
const PATIENT = {watch: (what, ms, promise) => promise};

/** A node whose state the tests can set. */

function makeNode() {
  const peers = [];

  const node = {
    now: 5000,
    attempts: [],
    chain: {synced: true, tip: makeTip(1)},
    network: {
      selfConnect: false,
      now: () => node.now,
      pow: {targetReset: true, noRetargeting: false, bits: POW_BITS,
        targetSpacing: SPACING}
    },
    pool: {peers: {head: () => peers[0] || null}},
    miner: {
      addresses: [{version: 0}],
      createBlock: () => new Promise((resolve) => {
        const tip = node.chain.tip;
        node.attempts.push(change => resolve(makeAttempt(tip, node, change)));
      })
    },
    setPeers(count) {
      peers.length = 0;
      for (let i = 0; i < count; i++)
        peers.push({handshake: true, next: null});
    }
  };

  node.setPeers(1);

  return node;
}

function makeTip(id) {
  return {hash: Buffer.alloc(32, id), height: id, time: 4000};
}

function makeAttempt(tip, node, change) {
  const hash = Buffer.alloc(32);
  return {
    height: tip.height + 1, version: 0, bits: HARD_BITS, time: node.now,
    mtp: 3000, prevBlock: tip.hash, treeRoot: hash, reservedRoot: hash,
    merkleRoot: hash, witnessRoot: hash, items: [], claims: [], airdrops: [],
    coinbase: {encode: () => hash}, ...change
  };
}

function start(t, node = makeNode()) {
  const server = {refreshSeconds: 60, tips: [], templates: [], reasons: []};

  server.tip = (hash, height) => server.tips.push(height);
  server.template = template => server.templates.push(template);
  server.transactions = () => {};
  server.noTemplate = reason => server.reasons.push(reason);

  const logger = {error: (...args) => assert.fail(args.join(' '))};
  const templates = new Templates(node, server, PATIENT, logger);

  // Only hsd's templates here; first templates have tests of their own below.
  templates.firsts = {make: () => null, prepare: async () => {}};
  templates.start();
  t.after(() => templates.stop());

  return {node, server, templates};
}

function settled() {
  return new Promise(resolve => setImmediate(resolve));
}

test('a tip that changes meanwhile has the template made again', async (t) => {
  const {node, server, templates} = start(t);

  node.chain.tip = makeTip(2);
  templates.onTip(node.chain.tip);
  node.chain.tip = makeTip(3);
  templates.onTip(node.chain.tip);
  assert.strictEqual(node.attempts.length, 1);
  assert.deepStrictEqual(server.tips, [1, 2, 3]);

  node.attempts[0]();
  await settled();
  assert.deepStrictEqual(server.reasons, ['tip is changing']);
  assert.strictEqual(node.attempts.length, 2);

  node.attempts[1]();
  await settled();
  assert.deepStrictEqual(server.templates.map(({height}) => height), [4]);
  assert.strictEqual(node.attempts.length, 2);
});

test('what is in the way is said once, and looked for again', async (t) => {
  const node = makeNode();
  node.miner.addresses = [];

  const {server, templates} = start(t, node);

  templates.tick();
  node.miner.addresses = [{version: 0}];
  node.chain.synced = false;
  templates.tick();
  node.chain.synced = true;
  node.setPeers(0);
  templates.tick();
  templates.tick();
  assert.deepStrictEqual(server.reasons,
    ['no coinbase address', 'node is not synced', 'no peers']);
  assert.strictEqual(node.attempts.length, 0);

  node.setPeers(1);
  templates.tick();
  node.attempts[0]();
  await settled();
  assert.strictEqual(server.templates.length, 1);

  node.setPeers(0);
  templates.tick();
  assert.strictEqual(server.reasons.length, 4);
});

test('a failed template is tried again', async (t) => {
  const {node, server, templates} = start(t);

  server.template = () => {
    throw new Error('inconsistent');
  };
  node.attempts[0]();
  await settled();
  assert.deepStrictEqual(server.reasons, ['template failed: inconsistent']);
  assert.strictEqual(templates.get(1), null);

  templates.tick();
  assert.strictEqual(node.attempts.length, 2);
});

test('the mempool brings a new job only when it is time', async (t) => {
  const {node, server, templates} = start(t);

  node.attempts[0]();
  await settled();
  templates.onMempool();
  templates.tick();
  assert.strictEqual(node.attempts.length, 1);

  server.refreshSeconds = 0;
  templates.tick();
  assert.strictEqual(node.attempts.length, 2);
  node.attempts[1]();
  await settled();

  templates.tick();
  assert.strictEqual(node.attempts.length, 2);
});

test('on testnet times are bound to the bits', async (t) => {
  const {node, server, templates} = start(t);
  const limit = node.chain.tip.time + 2 * SPACING;

  node.attempts[0]();
  await settled();
  assert.deepStrictEqual(bounds(server.templates[0]), [3001, limit]);

  node.now = limit;
  templates.tick();
  assert.strictEqual(node.attempts.length, 1);

  node.now = limit + 1;
  templates.tick();
  node.attempts[1]({bits: POW_BITS});
  await settled();
  assert.deepStrictEqual(bounds(server.templates[1]), [limit + 1, 0xffffffff]);
});

test('where the bits are the lowest anyway all times will do', async (t) => {
  const {node, server} = start(t);

  node.attempts[0]({bits: POW_BITS});
  await settled();
  assert.deepStrictEqual(bounds(server.templates[0]), [3001, 0xffffffff]);
});

test('the last 32 templates are kept', async (t) => {
  const {node, templates} = start(t);

  for (let i = 0; i < 34; i++) {
    templates.refresh();
    node.attempts[i]();
    await settled();
  }

  assert.strictEqual(templates.get(2), null);
  assert.notStrictEqual(templates.get(3), null);
  assert.notStrictEqual(templates.get(34), null);
});

/** On a tip whose parent's template is out, with the first template on it. */

async function startFirst(t) {
  const started = start(t);
  const {node, templates} = started;

  node.attempts[0]();
  await settled();
  node.chain.tip = {...makeTip(2), prevBlock: node.chain.tip.hash};
  templates.firsts.make = tip => makeAttempt(tip, node);

  return started;
}

test('the first template on a tip does not wait for hsd', async (t) => {
  const {node, server, templates} = await startFirst(t);

  templates.onTip(node.chain.tip);
  assert.deepStrictEqual(server.templates.map(({height}) => height), [2, 3]);

  // hsd's template has nothing more in it.
  node.attempts[1]();
  await settled();
  assert.strictEqual(server.templates.length, 2);

  // Then there is something to add.
  templates.onMempool();
  server.refreshSeconds = 0;
  templates.tick();
  node.attempts[2]({items: [{tx: makeTX()}]});
  await settled();
  assert.strictEqual(server.templates.length, 3);
});

test('hsd\'s template follows where it has transactions', async (t) => {
  const {node, server, templates} = await startFirst(t);

  templates.onTip(node.chain.tip);
  node.attempts[1]({items: [{tx: makeTX()}]});
  await settled();
  assert.deepStrictEqual(server.templates.map(({leaves}) => leaves.length),
    [0, 0, 64]);
});

test('an old template does not take the first one away', async (t) => {
  const {node, server, templates} = await startFirst(t);
  const {tip} = node.chain;

  node.chain.tip = makeTip(1);
  templates.refresh();
  node.chain.tip = tip;
  templates.onTip(tip);
  node.attempts[1]();
  await settled();
  assert.deepStrictEqual(server.reasons, []);
  assert.strictEqual(server.templates.length, 2);
});

test('a tip of a reorganisation gets no template of its own', async (t) => {
  const {node, server, templates} = await startFirst(t);

  node.chain.tip.prevBlock = Buffer.alloc(32, 9);
  templates.onTip(node.chain.tip);
  assert.strictEqual(server.templates.length, 1);
});

test('a first template that is wrong is the last of them', async (t) => {
  const {node, server, templates} = await startFirst(t);
  const errors = [];

  templates.logger = {error: (...args) => errors.push(util.format(...args))};
  templates.onTip(node.chain.tip);
  node.attempts[1]({bits: POW_BITS});
  await settled();
  assert.match(errors.join(), /height 3 had another bits than the node's/);
  assert.strictEqual(server.templates.length, 3);

  node.chain.tip = {...makeTip(3), prevBlock: node.chain.tip.hash};
  templates.onTip(node.chain.tip);
  assert.strictEqual(server.templates.length, 3);
});

test('it was right if hsd refuses its own', async (t) => {
  const {node, server, templates} = await startFirst(t);
  const {firsts} = templates;
  let refuse;

  templates.logger = {error: () => {}};
  templates.verifier = {stop: () => {}, schedule: (attempt, onVerdict) => {
    refuse = () => onVerdict(attempt, false, 'bad-diffbits');
  }};
  templates.fallback.logger = templates.logger;
  templates.fallback.offerEmpty = async () => true;
  server.templateInvalid = reason => server.reasons.push(reason);

  templates.onTip(node.chain.tip);
  node.attempts[1]({bits: POW_BITS});
  await settled();
  assert.strictEqual(templates.firsts, null);
  refuse();
  assert.strictEqual(templates.firsts, firsts);
  assert.deepStrictEqual(server.reasons, ['bad-diffbits']);
  assert.strictEqual(templates.isInvalid(3), true);
});

function makeTX() {
  const hash = Buffer.alloc(32);
  return {hash: () => hash, witnessHash: () => hash, encode: () => hash};
}

function bounds({timeMin, timeMax}) {
  return [timeMin, timeMax];
}
