'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {startNode} = require('./harness');
const {Miner} = require('./miner');

/** So low that every hash is a share. */
const DIFFICULTY = 2 ** -32;
const EASY = [`--stratum-difficulty=${DIFFICULTY}`,
  `--stratum-difficulty-min=${DIFFICULTY}`, '--stratum-dynamic=false'];

function on(tip) {
  return job => job.prevBlock.toString('hex') === tip;
}

async function readDump(node, height, hash) {
  const file = path.join(node.stratumDir, 'shares', `${height}-${hash}.json`);
  await node.waitFor(`the share dump ${file}`, () => fs.existsSync(file));
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

test('acknowledged shares survive kill -9, each of them once', async (t) => {
  const node = await startNode(t, {args: EASY});
  let acknowledged = 0;

  for (let round = 0; round < 3; round++) {
    const miner = await Miner.start(t, node);
    const ids = [];

    for (let i = 0; i < 50; i++)
      ids.push(miner.send('mining.submit', ['alice', ...miner.miss().params]));

    // Some are acknowledged, and some are on their way.
    await miner.reply(ids[20]);
    await node.kill();

    const replies = ids.map(id => miner.replies.get(id)).filter(Boolean);
    assert.ok(replies.every(reply => reply.error === null));
    acknowledged += replies.length;

    await node.spawn();
    await node.ready();
  }

  const miner = await Miner.start(t, node, 'bob');
  const {error, hash} = await miner.submit('bob');

  assert.strictEqual(error, null);
  await node.waitTip(hash);

  const {shares} = await readDump(node, 1, hash);
  const counted = Math.round(shares.alice / DIFFICULTY);

  assert.ok(counted >= acknowledged, `${counted} of ${acknowledged}`);
  assert.ok(counted <= 150, `${counted} of 150 sent`);
  assert.strictEqual(Math.round(shares.bob / DIFFICULTY), 1);
});

test('a block is confirmed when its reward can be spent', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node);
  const {hash} = await miner.submit();

  await node.waitLog(new RegExp(`block accepted: 1 ${hash}`));
  await node.mine(1);
  await node.waitLog(new RegExp(`block confirmed: 1 ${hash}`));
  assert.strictEqual(node.count(/block confirmed/), 1);
});

test('a block that leaves the main chain is orphaned, its shares go to the next',
  async (t) => {
    const node = await startNode(t);
    const [parent] = await node.mine(1);
    const alice = await Miner.start(t, node, 'alice');

    await alice.waitJob(on(parent));

    const first = await alice.submit('alice');

    await node.waitLog(new RegExp(`block accepted: 2 ${first.hash}`));
    assert.deepStrictEqual(
      Object.keys((await readDump(node, 2, first.hash)).shares), ['alice']);
    await node.rpc('invalidateblock', [first.hash]);

    const bob = await Miner.start(t, node, 'bob');

    await bob.waitJob(on(parent));

    const second = await bob.submit('bob');

    await node.waitLog(new RegExp(`block accepted: 2 ${second.hash}`));
    // The node decides nothing until its chain has more work than the one
    // before.
    assert.strictEqual(node.count(/block orphaned/), 0);
    await node.mine(1);
    await node.waitLog(new RegExp(`block orphaned, no reward: 2 ${first.hash}`));

    const dump = await readDump(node, 2, second.hash);

    assert.deepStrictEqual(Object.keys(dump.shares), ['alice', 'bob']);
  });
