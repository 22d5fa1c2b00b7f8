'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {ADDRESS, makeNode, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Spender} = require('./spender');

const RETRY_MS = 90000;

function dumpOf(node, height, hash) {
  return path.join(node.stratumDir, 'shares', `${height}-${hash}.json`);
}

async function readDump(node, height, hash, ms) {
  const file = dumpOf(node, height, hash);
  await node.waitFor(`the share dump ${file}`, () => fs.existsSync(file), ms);
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

test('the share dump of a block has exactly the documented fields',
  async (t) => {
    const node = await startNode(t);
    const users = ['alice.rig1', 'bob'];

    for (const [i, user] of users.entries()) {
      const miner = await Miner.start(t, node, user);
      const tip = await node.tip();

      await miner.waitJob(job => job.prevBlock.toString('hex') === tip);

      const {error, hash} = await miner.submit(user);

      assert.strictEqual(error, null);
      await node.waitTip(hash);

      const height = i + 1;
      const block = await node.rpc('getblock', [hash, true, true]);
      const [coinbase] = block.tx;
      const dump = await readDump(node, height, hash);
      const account = user.split('.')[0];

      assert.deepStrictEqual(Object.keys(dump).sort(), [
        'address', 'block', 'height', 'network', 'payout', 'reward', 'shares', 'size',
        'time', 'total', 'ts', 'txid'
      ]);
      assert.strictEqual(dump.network, 'regtest');
      assert.strictEqual(dump.payout, 'operator');
      assert.strictEqual(dump.height, height);
      assert.strictEqual(dump.block, hash);
      assert.strictEqual(dump.ts, block.time);
      assert.ok(Math.abs(dump.time - Date.now() / 1000) < 60);
      assert.strictEqual(dump.txid, coinbase.txid);
      assert.strictEqual(dump.address, ADDRESS);
      assert.strictEqual(dump.reward, 2000e6);
      assert.deepStrictEqual(Object.keys(dump.shares), [account]);
      assert.strictEqual(dump.size, 1);
      assert.ok(dump.shares[account] > 0);
      assert.strictEqual(dump.total, dump.shares[account]);
    }
  });

test('a share directory that can not be written holds nothing up',
  async (t) => {
    const node = makeNode(t);
    const shares = path.join(node.stratumDir, 'shares');

    fs.mkdirSync(node.stratumDir, {recursive: true});
    fs.writeFileSync(shares, 'in the way');
    await node.spawn();
    await node.ready();

    const miner = await Miner.start(t, node);
    const {error, hash} = await miner.submit();

    assert.strictEqual(error, null);
    await node.waitTip(hash);
    await node.waitLog(/failed to write the share dump/);

    const next = await Miner.start(t, node, 'bob');
    const tip = await node.tip();

    await next.waitJob(job => job.prevBlock.toString('hex') === tip);
    assert.strictEqual((await next.submit('bob')).error, null);

    fs.rmSync(shares);

    const dump = await readDump(node, 1, hash, RETRY_MS);

    assert.deepStrictEqual(Object.keys(dump.shares), ['alice']);
  });

test('a block in flight at a power failure is offered again', async (t) => {
  const spender = new Spender();
  const node = await startNode(t,
    {address: spender.address, args: ['--stratum-refresh=1']});

  // Enough to keep hsd busy with verification while the power fails.
  await spender.prepare(node, 1000);
  await spender.flood([node], 1000);

  const miner = await Miner.start(t, node);

  await miner.waitFor('a full job', async () => {
    const {result} = await miner.request('mining.get_transactions',
      [miner.job.id]);
    return result && result.length === 1000;
  });

  const share = miner.solve();
  const height = await node.height();

  miner.send('mining.submit', ['alice', ...share.params]);
  await spooled(node);
  await node.kill();

  assert.strictEqual(node.find(/block accepted/), null,
    'the node was faster than the test');

  await node.spawn();
  await node.ready();
  await node.waitLog(new RegExp(`offered again from the spool: ${share.hash}`));
  await node.waitTip(share.hash);
  assert.strictEqual(await node.height(), height + 1);
  await node.waitLog(new RegExp(`block accepted: ${height + 1} ${share.hash}`));
  await node.waitFor('an empty spool', () => spool(node).length === 0);
  await readDump(node, height + 1, share.hash);
});

test('a winning share submitted a thousand times is one block', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node);
  const share = miner.solve();
  const ids = [];

  for (let i = 0; i < 1000; i++)
    ids.push(miner.send('mining.submit', ['alice', ...share.params]));

  // A miner that repeats a share so often is dropped before the thousandth.
  await miner.waitFor('the end of the connection', () => miner.closed);

  const [first, ...others] = ids.map(id => miner.replies.get(id));
  const errors = others.filter(Boolean).map(({error}) => error[0]);

  assert.strictEqual(first.error, null);
  assert.ok(errors.length >= 90, `${errors.length} errors`);
  assert.ok(errors.every(code => code === 22), errors.join());

  await node.waitTip(share.hash);
  await node.waitLog(new RegExp(`block accepted: 1 ${share.hash}`));
  assert.strictEqual(node.count(/block found: /), 1);
  assert.strictEqual(await node.height(), 1);
});

function spool(node) {
  try {
    // Files under temporary names are still being written.
    return fs.readdirSync(path.join(node.stratumDir, 'spool'))
      .filter(name => /^[0-9a-f-]+(\.[a-z]+)?$/.test(name)
        && !name.endsWith('.tmp'));
  } catch (e) {
    if (e.code === 'ENOENT')
      return [];
    throw e;
  }
}

/** Polls without a pause: hsd needs a moment only. */

async function spooled(node) {
  const end = Date.now() + 10000;

  while (spool(node).length === 0) {
    assert.ok(Date.now() < end, 'nothing was spooled');
    await new Promise(resolve => setImmediate(resolve));
  }
}
