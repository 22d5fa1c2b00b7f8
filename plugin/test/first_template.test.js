'use strict';

const assert = require('assert');
const {test} = require('node:test');
const Address = require('hsd/lib/primitives/address');
const {Spender} = require('./spender');
const {openMemoryNode, startNode} = require('./harness');
const {Miner} = require('./miner');
const {FirstTemplates, difference} = require('../first_template');

/** Simnet retargets from the 147th block on, by the 144 before. */
const BLOCKS = 170;

/** More than the five blocks between two changes of regtest's name tree. */
const TIPS = 7;

/** Times that are sometimes out of order. */
function spacing(height) {
  return 1 + (height * 7919) % 300;
}

test('all that makes a block valid is as hsd has it', async (t) => {
  const node = await openMemoryNode({network: 'simnet'});
  const {chain, miner} = node;
  const firsts = new FirstTemplates(node);
  let last = null;
  let first = null;

  t.after(() => node.close());
  miner.addAddress(Address.fromHash(Buffer.alloc(20, 1)));
  chain.on('tip', (tip) => {
    first = last && firsts.make(tip, last);
  });

  const bits = new Set();

  for (let i = 0; i < BLOCKS; i++) {
    const job = await miner.createJob();

    last = job.attempt;

    if (first) {
      assert.strictEqual(difference(first, last), null);
      assert.strictEqual(first.coinbase.inputs.length, 1);
      bits.add(first.bits);
    }

    last.time = last.mtp + spacing(i);
    assert(await chain.add(await job.mineAsync()));
    assert(first, `no template at height ${chain.height}`);
  }

  assert(bits.size > 5, 'the difficulty has not moved');
});

test('blocks are found on first templates, transactions follow', async (t) => {
  const spender = new Spender();
  const node = await startNode(t, {address: spender.address,
    args: ['--log-level=info']});

  await spender.prepare(node, 1);

  const miner = await Miner.start(t, node);
  const on = hash => miner.jobs.filter(job => hex(job.prevBlock) === hash);
  let [tip] = await node.mine(1);

  // It stays in the mempool while blocks without it are found.
  await spender.flood([node], 1);

  for (let i = 0; i < TIPS; i++) {
    await miner.waitFor('the first job', () => on(tip).length > 0);

    const {error, hash} = await miner.submit('alice', miner.solve(on(tip)[0]));

    assert.strictEqual(error, null);
    tip = hash;
    await node.waitFor('the block in the chain', async () => {
      return await node.rpc('getbestblockhash') === hash;
    });
    assert.strictEqual((await node.rpc('getblock', [hash])).tx.length, 1);
  }

  await miner.waitFor('the second job', () => on(tip).length === 2);

  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await node.waitFor('the block in the chain', async () => {
    return await node.rpc('getbestblockhash') === hash;
  });
  assert.strictEqual((await node.rpc('getblock', [hash])).tx.length, 2);
  assert(!node.lines.some(({text}) => /first template/.test(text)));
});

function hex(hash) {
  return hash.toString('hex');
}
