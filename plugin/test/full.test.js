'use strict';

/*
 * Blocks with everything in them that a block can have: claims and airdrops,
 * names in every covenant, as much as the limits of a block allow. Each is
 * found by a miner, and a node without the plugin takes it.
 */

const assert = require('assert');
const {test} = require('node:test');
const Block = require('hsd/lib/primitives/block');
const {HSD_DIR, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Airdrop, Claims} = require('./proofs');
const {environment} = require('./rules');

/** hsd takes so many claims, and so many airdrops, into a template. */
const PROOFS_MAX = 10;

const CLAIM_FEE = 5e6;

/** An address of main that nobody has the key of. */
const MAIN_ADDRESS = 'hs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpze958w';

/** A job that was made before a change of the mempool stays as it is. */
const SLOW = ['--stratum-refresh=3600'];

/**
 * The job on a node's tip that has what hsd's own template has: it follows the
 * first one, which is without transactions.
 */

async function fullJob(miner, node) {
  const tip = await node.tip();
  const on = job => job.prevBlock.toString('hex') === tip;

  await miner.waitFor('two jobs on the tip',
    () => miner.jobs.filter(on).length > 1);
  return miner.job;
}

/** Mine a job; both nodes must take the block. Gives it. */

async function mine(miner, job, nodes, user = 'alice') {
  const {error, hash} = await miner.submit(user, miner.solve(job));

  assert.strictEqual(error, null);

  for (const node of nodes)
    await node.waitTip(hash);

  const raw = await nodes[1].rpc('getblock', [hash, false]);

  return Block.decode(Buffer.from(raw, 'hex'));
}

test('claims and airdrops are in a block, as many as hsd takes', async (t) => {
  const claims = new Claims();
  const airdrop = new Airdrop(9, 4);
  const env = environment({
    network: 'main',
    genesisTime: Math.floor(Date.now() / 1000) - 3600,
    bits: 0x207fffff,
    txStart: 0,
    anchor: claims.anchor,
    roots: airdrop.roots
  }, HSD_DIR);
  const first = await startNode(t, {network: 'main', env, listen: true,
    address: MAIN_ADDRESS, args: SLOW});
  const second = await startNode(t, {network: 'main', env, plugin: false,
    address: MAIN_ADDRESS, peer: first});
  const nodes = [first, second];
  const miner = await Miner.start(t, first);
  const start = await mine(miner, miner.job, nodes);

  await miner.waitJob(job => job.prevBlock.equals(start.hash()));

  for (const claim of claims.make(12, start.hash(), CLAIM_FEE))
    await first.rpc('sendrawclaim', [claim]);

  for (const proof of airdrop.make())
    await first.rpc('sendrawairdrop', [proof]);

  await first.waitFor('a template that is full of them', async () => {
    const own = await first.rpc('getblocktemplate', [{rules: []}]);
    return own.claims.length === PROOFS_MAX
      && own.airdrops.length === PROOFS_MAX;
  });

  // Made before them; its successor has them.
  await mine(miner, miner.job, nodes);

  const counts = [];

  for (let i = 0; i < 2; i++) {
    const {txs: [coinbase]} = await mine(miner, await fullJob(miner, first),
      nodes);

    counts.push([
      coinbase.outputs.filter(({covenant}) => covenant.isClaim()).length,
      coinbase.inputs.length - 1
    ]);
  }

  // Each input has its output, and fees are the miner's.
  assert.deepStrictEqual(counts, [[10, 20], [2, 5]]);
  assert.strictEqual(await first.tip(), await second.tip());
});
