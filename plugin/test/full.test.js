'use strict';

/*
 * Blocks with everything in them that a block can have: claims and airdrops,
 * names in every covenant, as much as the limits of a block allow. Each is
 * found by a miner, and a node without the plugin takes it.
 */

const assert = require('assert');
const {test} = require('node:test');
const {typesByVal} = require('hsd/lib/covenants/rules');
const Block = require('hsd/lib/primitives/block');
const {HSD_DIR, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Wallets} = require('./payer');
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

/** Every covenant of a block's transactions, sorted. */

function covenantsOf({txs}) {
  return [...new Set(txs.flatMap(({outputs}) => {
    return outputs.map(({covenant}) => typesByVal[covenant.type]);
  }))].sort();
}

test('names in every covenant are in one block', async (t) => {
  const first = await startNode(t, {listen: true, wallet: true, address: null,
    args: [...SLOW, '--wallet-api-key=test']});
  const second = await startNode(t, {plugin: false, peer: first});
  const wallets = new Wallets(first);

  first.options.address = await wallets.address('primary');

  /** Have the wallet make a transaction for each of the names. */

  const make = async (step, names, body = {}) => {
    for (const name of names) {
      await first.waitFor(`${step} of ${name}`, () => {
        return wallets.call('POST', `/wallet/primary/${step}`,
          {name, ...body});
      });
    }
  };

  /** Mine by the node until the name is in that state. */

  const until = async (name, state) => {
    for (let i = 0; i < 40; i++) {
      const {info} = await first.rpc('getnameinfo', [name]);

      if (info && info.state === state)
        return;

      await first.mine(1);
    }

    throw new Error(`${name} does not come to ${state}`);
  };

  const owned = ['finalized', 'revoked', 'transferred', 'renewed', 'updated'];
  const bought = [...owned, 'registered', 'redeemed'];
  const bid = {bid: 1000000, lockup: 2000000};
  const data = {data: {records: []}};
  const receiver = {address: first.options.address};

  // All names are rolled out by then.
  await first.mine(120);
  await make('open', bought);
  await until('redeemed', 'BIDDING');
  await make('bid', [...bought, 'redeemed'], bid);
  await until('redeemed', 'REVEAL');
  await make('reveal', bought);
  await until('redeemed', 'CLOSED');
  await make('update', owned, data);
  await make('open', ['revealed']);
  await first.mine(1);
  await make('transfer', ['finalized'], receiver);
  await until('revealed', 'BIDDING');
  await make('bid', ['revealed'], bid);
  await make('open', ['bidden']);
  await until('revealed', 'REVEAL');
  await until('bidden', 'BIDDING');
  await second.waitTip(await first.tip());

  const miner = await Miner.start(t, first);

  await make('finalize', ['finalized']);
  await make('revoke', ['revoked']);
  await make('transfer', ['transferred'], receiver);
  await make('renewal', ['renewed']);
  await make('update', ['updated', 'registered'], data);
  await make('redeem', ['redeemed']);
  await make('reveal', ['revealed']);
  await make('bid', ['bidden'], bid);
  await make('open', ['opened']);

  const nodes = [first, second];

  await mine(miner, miner.job, nodes);

  const block = await mine(miner, await fullJob(miner, first), nodes);

  assert.deepStrictEqual(covenantsOf(block), ['BID', 'FINALIZE', 'NONE', 'OPEN',
    'REDEEM', 'REGISTER', 'RENEW', 'REVEAL', 'REVOKE', 'TRANSFER', 'UPDATE']);
});
