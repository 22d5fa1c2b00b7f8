'use strict';

const assert = require('assert');
const util = require('util');
const {test} = require('node:test');
const {NodeTimeouts} = require('../node_timeouts');
const {TemplateVerifier} = require('../template_verifier');

/** In place of a minute. */
const LATE_MS = 50;

const HSD = {
  consensus: {getReward: () => 2000},
  blake2b: {digest: () => Buffer.alloc(32), multi: () => Buffer.alloc(32)},
  chainFlags: {VERIFY_BODY: 2}
};

class Block {
  constructor() {
    this.txs = [];
  }
}

/** A template on the tip of that number. */

function makeTemplate(tip, items = []) {
  return {
    prevBlock: Buffer.alloc(32, tip),
    height: 2,
    coinbase: {locktime: 2, outputs: [{address: 'own', value: 2010}]},
    fees: 10,
    items,
    claims: [],
    airdrops: [],
    toBlock: () => new Block()
  };
}

/** @param {Function} verifyContext - in place of the chain's. */

function start(t, verifyContext, late = LATE_MS) {
  const node = {chain: {tip: {hash: Buffer.alloc(32, 1)},
    locker: {busy: false}, verifyContext},
  miner: {addresses: [{equals: address => address === 'own'}]},
  network: {halvingInterval: 170000}};
  const waits = new NodeTimeouts({nodeOverdue: () => {}});
  const lines = [];
  const verifier = new TemplateVerifier(node, HSD, {
    atMost: (what, ms, promise) => waits.atMost(what, late, promise)
  }, {warning: (...args) => lines.push(util.format(...args))}, () => false);

  // Nothing of ours keeps a process.
  const alive = setInterval(() => {}, 1000);

  t.after(() => {
    waits.stop();
    clearInterval(alive);
  });

  return {node, verifier, lines};
}

/** Wait for the verification of those that are scheduled. */

async function idle(verifier) {
  while (verifier.isRunning)
    await new Promise(resolve => setTimeout(resolve, 1));
}

test('one that hangs or throws refuses nothing, and is said once', async (t) => {
  let answer = () => new Promise(() => {});
  const {verifier, lines} = start(t, () => answer());
  const check = () => verifier.verify(makeTemplate(1));
  const silent = {isValid: false, reason: null, isLate: true,
    failure: 'the verification of a template takes longer than 0.05 s'};
  const failed = {isValid: false, reason: null, isLate: false,
    failure: 'inconsistent'};

  assert.deepStrictEqual(await check(), silent);
  assert.deepStrictEqual(await check(), silent);

  answer = () => {
    throw new Error('inconsistent');
  };
  assert.deepStrictEqual(await check(), failed);
  assert.deepStrictEqual(await check(), failed);
  assert.strictEqual(lines.length, 2);
  assert.match(lines[0], /takes longer than/);
  assert.match(lines[1], /inconsistent/);

  answer = async () => {};
  assert.strictEqual((await check()).isValid, true);

  // Whatever is thrown.
  answer = () => {
    throw undefined;
  };
  assert.strictEqual((await check()).failure, 'undefined');
});

test('a coinbase that pays another, or not all, is refused', async (t) => {
  const {verifier} = start(t, async () => {});
  const pay = (address, value) => verifier.verify(Object.assign(
    makeTemplate(1), {coinbase: {locktime: 2, outputs: [{address, value}]}}));

  assert.strictEqual((await pay('own', 2010)).isValid, true);
  assert.strictEqual((await pay('other', 2010)).reason,
    'its coinbase pays another address');
  assert.strictEqual((await pay('own', 2009)).reason,
    'its coinbase has another value');
});

test('the newest is verified, those before it are not', async (t) => {
  let count = 0;
  let told = 0;
  const {verifier} = start(t, async () => {
    count++;
  });

  for (let i = 0; i < 5; i++)
    verifier.schedule(makeTemplate(1), () => told++);

  await idle(verifier);
  assert.deepStrictEqual([count, told], [1, 1]);
});

test('one that is refused is told with the reason', async (t) => {
  const {verifier} = start(t, async () => {
    throw Object.assign(new Error(), {type: 'VerifyError', reason: 'bad'});
  });
  const template = makeTemplate(1);
  const told = [];

  verifier.schedule(template, (...args) => told.push(args));
  await idle(verifier);
  assert.deepStrictEqual(told, [[template, false, 'bad']]);
});

test('a caller that throws ends nothing', async (t) => {
  let reason = 'bad';
  const {verifier, lines} = start(t, async () => {
    if (reason)
      throw Object.assign(new Error(), {type: 'VerifyError', reason});
  });

  verifier.schedule(makeTemplate(1), () => {
    throw new Error('no server');
  });
  await idle(verifier);
  assert.match(lines[0], /no server/);
  reason = null;
  assert((await verifier.verify(makeTemplate(1))).isValid);
  verifier.schedule(makeTemplate(1), () => {});
  await idle(verifier);
  assert.strictEqual(lines.length, 1);
});

test('a new tip takes a verdict\'s worth away', async (t) => {
  const {node, verifier} = start(t, async () => {
    node.chain.tip = {hash: Buffer.alloc(32, 2)};
    verifier.stop();
    throw Object.assign(new Error(), {type: 'VerifyError', reason: 'bad'});
  });

  assert.deepStrictEqual(await verifier.verify(makeTemplate(1)),
    {isValid: false, reason: null, failure: null, isLate: false});
  assert.deepStrictEqual(await verifier.verify(makeTemplate(1)),
    {isValid: false, reason: null, failure: null, isLate: false});
});

test('nobody waits at a new tip for one that hangs', async (t) => {
  let answer = () => new Promise(() => {});
  const {node, verifier, lines} = start(t, () => answer(), 1000000);
  const checks = [1, 1].map(tip => verifier.verify(makeTemplate(tip)));

  await new Promise(resolve => setTimeout(resolve, 20));
  node.chain.tip = {hash: Buffer.alloc(32, 2)};
  verifier.stop();
  await Promise.all(checks);
  answer = async () => {};
  assert((await verifier.verify(makeTemplate(2))).isValid);
  assert.deepStrictEqual(lines, []);
});

test('there is one at a time', async (t) => {
  let running = 0;
  const {verifier} = start(t, async () => {
    assert.strictEqual(++running, 1);
    await new Promise(resolve => setTimeout(resolve, 5));
    running--;
  });

  const results = await Promise.all([1, 2, 3].map(
    () => verifier.verify(makeTemplate(1))));

  assert(results.every(({isValid}) => isValid));
});
