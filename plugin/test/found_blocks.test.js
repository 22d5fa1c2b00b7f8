'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {startNode, startPair} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');
const {Spender} = require('./spender');

const TXS = 300;

// Jobs for changes of the mempool come without much delay.
const FAST = ['--stratum-refresh=1'];

function found(hash) {
  return new RegExp(`block found: \\d+ ${hash}`);
}

/** hsd's own log line. */

function added(hash) {
  return new RegExp(`Block ${hash} \\(\\d+\\) added to chain`);
}

test('blocks found in quick succession reach the second node', async (t) => {
  const [first, second] = await startPair(t);
  const miners = [
    await Miner.start(t, first, 'alice.1'),
    await Miner.start(t, first, 'alice.2'),
    await Miner.start(t, first, 'bob')
  ];
  const users = ['alice.1', 'alice.2', 'bob'];

  for (let i = 0; i < 24; i++) {
    const miner = miners[i % miners.length];
    const tip = await first.tip();
    const job = await miner.waitJob((job) => {
      return job.prevBlock.toString('hex') === tip;
    });
    const {error, result, hash} = await miner.submit(users[i % users.length],
      miner.solve(job));

    assert.strictEqual(error, null);
    assert.strictEqual(result, true);
    await first.waitTip(hash);
  }

  assert.strictEqual(await first.height(), 24);
  await second.waitTip(await first.tip());
  assert.strictEqual(first.count(/block accepted: /), 24);
});

test('miners racing for one height do not disturb each other', async (t) => {
  const [first, second] = await startPair(t);
  const miners = [];

  for (const user of ['alice', 'bob', 'carol', 'dave'])
    miners.push(await Miner.start(t, first, user));

  const hashes = [];

  for (let round = 1; round <= 10; round++) {
    const tip = await first.tip();

    for (const miner of miners)
      await miner.waitJob(job => job.prevBlock.toString('hex') === tip);

    // All at once: one becomes the tip, the others siblings or stale.
    const replies = await Promise.all(miners.map((miner, i) => {
      return miner.submit(['alice', 'bob', 'carol', 'dave'][i]);
    }));

    for (const {error, result, hash} of replies) {
      assert.ok(result === true || error[0] === 21, JSON.stringify(error));
      hashes.push(hash);
    }

    await first.waitFor('the next height', async () => {
      return await first.height() === round;
    });
  }

  for (const hash of hashes) {
    await first.waitLog(found(hash));
    await first.waitFor(`block ${hash} in the database`, () => {
      return first.rpc('getblockheader', [hash]);
    });
  }

  await second.waitTip(await first.tip());
});

test('a peer has the block before the node has connected it', async (t) => {
  const {first, spender} = await startPrepared(t);

  await spender.flood([first], TXS);

  const observer = await Observer.connect(t, first);
  const {hash} = await mineFull(t, first, TXS);
  const {at, block} = await observer.waitBlock(hash);
  const connected = await first.waitLog(added(hash));

  assert.strictEqual(block.txs.length, TXS + 1);
  assert.ok(at < connected.at,
    `block at the peer ${at - connected.at} ms after the node connected it`);
  t.diagnostic(`${(connected.at - at).toFixed(1)} ms ahead of the node`);
});

test('a peer pushed a compact block gets its transactions', async (t) => {
  const {first, spender} = await startPrepared(t);

  await spender.flood([first], TXS);

  const observer = await Observer.connect(t, first, {compact: true});
  const {hash} = await mineFull(t, first, TXS);
  const {at, txs} = await observer.waitBlock(hash);
  const connected = await first.waitLog(added(hash));

  assert.strictEqual(txs.length, TXS + 1);
  assert.ok(at < connected.at,
    `transactions ${at - connected.at} ms after the node connected the block`);
});

test('a node without the transactions gets the whole block', async (t) => {
  const {first, spender} = await startPrepared(t);

  // Started late: hsd gets confused when many blocks are announced to it at
  // once while it still syncs.
  const second = await startNode(t, {plugin: false, peer: first});

  await second.waitTip(await first.tip());
  await spender.flood([first], TXS);

  const {hash} = await mineFull(t, first, TXS);

  await first.waitTip(hash);
  await second.waitTip(hash);
});

/** A node high enough for hsd's usual relay, and coins to fill its mempool. */

async function startPrepared(t) {
  const spender = new Spender();
  const first = await startNode(t,
    {listen: true, address: spender.address, args: FAST});

  await spender.prepare(first, TXS);
  await first.mine(20);

  return {first, spender};
}

/** Wait for a job that has all transactions, mine and submit it. */

async function mineFull(t, node, count) {
  const miner = await Miner.start(t, node);

  await miner.waitFor(`a job with ${count} transactions`, async () => {
    const id = miner.send('mining.get_transactions', [miner.job.id]);
    const {result} = await miner.reply(id);
    return Array.isArray(result) && result.length === count;
  });

  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  return {hash, miner};
}
