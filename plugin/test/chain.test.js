'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {ADDRESS, startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

function on(tip) {
  return job => job.prevBlock.toString('hex') === tip;
}

test('after a reorganisation miners work on the new tip', async (t) => {
  const first = await startNode(t, {listen: true});
  const second = await startNode(t, {plugin: false});

  await first.mine(3);
  await second.mine(5);

  const miners = [
    await Miner.start(t, first, 'alice'),
    await Miner.start(t, first, 'bob')
  ];
  const fork = await first.tip();

  for (const miner of miners)
    await miner.waitJob(on(fork));

  const old = miners.map(miner => miner.solve());

  // A node asks a peer that has connected to it for blocks only once that peer
  // announces one.
  await second.restart({peer: first});
  await second.mine(1);

  const tip = await second.tip();

  await first.waitTip(tip);

  for (const [i, miner] of miners.entries()) {
    await miner.waitJob(on(tip));

    const {error} = await miner.submit(['alice', 'bob'][i], old[i]);
    assert.strictEqual(error[0], 21);
  }

  const {error, hash} = await miners[0].submit();

  assert.strictEqual(error, null);
  await first.waitTip(hash);
  await second.waitTip(hash);
});

test('after an invalidated block miners work on its parent', async (t) => {
  const node = await startNode(t);
  const [parent, tip] = await node.mine(2);
  const miner = await Miner.start(t, node);

  await miner.waitJob(on(tip));
  await node.rpc('invalidateblock', [tip]);
  await miner.waitJob(on(parent));

  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await node.waitTip(hash);
});

test('a new tip brings one job only', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node);

  for (let i = 0; i < 5; i++) {
    const [tip] = await node.mine(1);
    await miner.waitJob(on(tip));
  }

  // The reply comes after everything that was on its way.
  await miner.request('mining.get_transactions', [miner.job.id]);

  const parents = miner.jobs.map(job => job.prevBlock.toString('hex'));

  assert.strictEqual(parents.length, new Set(parents).size);
});

test('a block whose parent has just ceased to be the tip is kept as a branch',
  async (t) => {
    const node = await startNode(t, {listen: true});
    const miner = await Miner.start(t, node);
    const share = miner.solve();
    const [tip] = await node.mine(1);

    await miner.waitJob(on(tip));

    const {error, hash} = await miner.submit('alice', share);

    assert.deepStrictEqual(error.slice(0, 2), [21, 'stale-prevblk']);
    await node.waitFor('the branch', async () => {
      const tips = await node.rpc('getchaintips');
      return tips.some(entry => entry.hash === hash);
    });
    assert.strictEqual(await node.tip(), tip);

    const next = await miner.submit();

    assert.strictEqual(next.error, null);
    await node.waitTip(next.hash);
  });

test('without a coinbase address there is no job until one is set',
  async (t) => {
    const node = await startNode(t, {address: null});
    const miner = await Miner.connect(t, node);

    await miner.subscribe();
    assert.strictEqual((await miner.authorize('alice')).result, true);
    await node.waitLog(/no job for miners: no coinbase address/);
    assert.deepStrictEqual(miner.jobs, []);

    // After fifteen seconds miners should go elsewhere.
    await miner.waitClosed(25000);
    assert.strictEqual(miner.closed, 'reset');
    await waitFor('a refused connection', () => {
      return Miner.connect(t, node).then((late) => {
        late.socket.destroy();
        return false;
      }, e => e.code === 'ECONNREFUSED');
    }, {node});

    await node.restart({address: ADDRESS});

    const again = await Miner.start(t, node);
    const {error, hash} = await again.submit();

    assert.strictEqual(error, null);
    await node.waitTip(hash);
  });

test('the wallet gives an address where no other is set', async (t) => {
  const node = await startNode(t, {address: null, wallet: true});
  const miner = await Miner.start(t, node);
  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await node.waitTip(hash);
});
