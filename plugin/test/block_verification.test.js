'use strict';

const assert = require('assert');
const {test} = require('node:test');
const mrkl = require('bcrypto/lib/mrkl');
const blake2b = require('bcrypto/lib/blake2b');
const {flags: chainFlags} = require('hsd/lib/blockchain/common');
const Coin = require('hsd/lib/primitives/coin');
const {BlockEntry} = require('hsd/lib/mining/template');
const {
  TimeSlices, TransactionCache, createRoot, verifyBlock
} = require('../block_verification');
const {openMemoryNode} = require('./harness');
const {Spender} = require('./spender');

const HSD = {blake2b, chainFlags};

/** Blocks before the first spend; regtest's coinbases ripen after two. */
const BLOCKS = 10;

/** A node in memory whose blocks pay the spender. */

async function makeNode(t, spender) {
  const node = await openMemoryNode(
    {network: 'regtest', coinbaseAddress: [spender.address]});

  t.after(() => node.close());

  for (let i = 0; i < BLOCKS; i++)
    await mine(node);

  return node;
}

async function mine({chain, miner}) {
  assert(await chain.add(await miner.mineBlock()));
}

async function coinAt({chain}, height) {
  const block = await chain.getBlock(height);
  return Coin.fromTX(block.txs[0], 0, height);
}

function verdict({chain}, block, {
  slices = new TimeSlices(() => chain.locker.busy),
  cache = new TransactionCache()
} = {}) {
  return verifyBlock(HSD, chain, block, chain.tip, slices, cache);
}

/** hsd's own. */

async function reasonOf({chain}, block) {
  try {
    await chain.verifyBlock(block);
    return null;
  } catch (e) {
    return e.reason;
  }
}

async function blockOf(node, change = () => {}) {
  const attempt = await node.miner.createBlock();

  await change(attempt);

  return attempt.toBlock();
}

test('a root computed in slices is hsd\'s', async () => {
  const slices = {yield: () => new Promise(resolve => setImmediate(resolve))};

  for (let count = 0; count < 40; count++) {
    const leaves = Array.from({length: count}, (_, i) => Buffer.alloc(32, i));

    assert.deepStrictEqual(await createRoot(blake2b, leaves, slices),
      mrkl.createRoot(blake2b, leaves), `${count} leaves`);
  }
});

test('the verdict is hsd\'s, and nothing is changed by it', async (t) => {
  const spender = new Spender();
  const node = await makeNode(t, spender);
  const tip = node.chain.tip;

  const forged = spender.pay(await coinAt(node, 1));
  const parent = spender.pay(await coinAt(node, 2));
  const child = spender.pay(Coin.fromTX(parent, 0, -1));

  forged.inputs[0].witness.items[0][10] ^= 1;
  forged.refresh();
  await node.mempool.addTX(parent);
  await node.mempool.addTX(child);

  const push = tx => attempt => add(attempt, tx);
  const set = changes => attempt => Object.assign(attempt, changes);
  const wrong = Buffer.alloc(32, 1);

  for (const [reason, change] of [
    [null, () => {}],
    ['bad-txnmrklroot', set({merkleRoot: wrong})],
    ['bad-witnessroot', set({witnessRoot: wrong})],
    ['bad-tree-root', set({treeRoot: wrong})],
    ['bad-diffbits', set({bits: 0x207ffffe})],
    ['time-too-old', set({time: tip.time - 100000})],
    ['bad-cb-amount', (attempt) => {
      attempt.fees += 1;
      attempt.refresh();
    }],
    ['bad-txns-inputs-missingorspent', push(parent)],
    ['mandatory-script-verify-flag-failed', push(forged)]
  ]) {
    const block = await blockOf(node, change);

    assert.strictEqual(await reasonOf(node, block), reason);
    assert.strictEqual(await verdict(node, block), reason);
  }

  assert.strictEqual(node.chain.tip, tip);
  await mine(node);
  assert.strictEqual((await node.chain.getBlock(node.chain.tip.hash)).txs.length,
    3);
});

test('what a transaction remembers of itself is not believed', async (t) => {
  const spender = new Spender();
  const node = await makeNode(t, spender);
  const tx = spender.pay(await coinAt(node, 1));

  tx.hash = () => Buffer.alloc(32, 1);

  const block = await blockOf(node, attempt => add(attempt, tx));

  assert.strictEqual(await reasonOf(node, block), null);
  assert.strictEqual(await verdict(node, block), 'bad-txnmrklroot');
});

test('scripts are checked once, whatever the tip', async (t) => {
  const spender = new Spender();
  const node = await makeNode(t, spender);
  const tx = spender.pay(await coinAt(node, 1));
  const cache = new TransactionCache();

  await node.mempool.addTX(tx);
  assert.strictEqual(await verdict(node, await blockOf(node), {cache}), null);
  cache.dropUnused();

  const [copy] = [...cache.last.values()].filter(tx => !tx.isCoinbase());

  // Whoever checks it again would find out.
  copy.checkInput = () => assert.fail();
  assert.strictEqual(await verdict(node, await blockOf(node), {cache}), null);

  // With another signature it is another one.
  tx.inputs[0].witness.items[0][10] ^= 1;
  tx.refresh();

  const block = await blockOf(node, (attempt) => {
    attempt.items = [new BlockEntry(tx)];
    attempt.refresh();
  });

  assert.strictEqual(await verdict(node, block, {cache}),
    'mandatory-script-verify-flag-failed');
});

test('it ends at the next pause once it is stopped', async (t) => {
  const node = await makeNode(t, new Spender());
  const block = await blockOf(node);
  const slices = new TimeSlices(() => false);

  slices.stop();
  await assert.rejects(verdict(node, block, {slices}), {type: 'Stopped'});
});

test('it pauses while the chain is locked', async (t) => {
  const node = await makeNode(t, new Spender());
  const block = await blockOf(node);
  const unlock = await node.chain.locker.lock();
  let isDone = false;

  const verified = verdict(node, block).then(() => {
    isDone = true;
  });

  await new Promise(resolve => setTimeout(resolve, 50));
  assert.strictEqual(isDone, false);
  unlock();
  await verified;
});

function add(attempt, tx) {
  attempt.items.push(new BlockEntry(tx));
  attempt.refresh();
}
