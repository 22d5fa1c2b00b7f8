'use strict';

/*
 * Blocks with everything in them that a block can have: claims and airdrops,
 * names in every covenant, as much as the limits of a block allow. Each is
 * found by a miner, and a node without the plugin takes it.
 */

const assert = require('assert');
const {test} = require('node:test');
const rules = require('hsd/lib/covenants/rules');
const Address = require('hsd/lib/primitives/address');
const Block = require('hsd/lib/primitives/block');
const TX = require('hsd/lib/primitives/tx');
const consensus = require('hsd/lib/protocol/consensus');
const {HSD_DIR, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Names} = require('./name_auctions');
const {api} = require('./paying_blocks');
const {Wallets} = require('./payer');
const {Airdrop, Claims} = require('./coin_proofs');
const {environment} = require('./network_rules');
const {Spender} = require('./spender');

/** hsd takes so many claims, and so many airdrops, into a template. */
const PROOFS_MAX = 10;

const SENT_AT_ONCE = 50;

const CLAIM_FEE = 5e6;

/** An address of main that nobody has the key of. */
const MAIN_ADDRESS = 'hs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpze958w';

/** Another, of a miner. */
const PAYEE = Address.fromHash(Buffer.alloc(20, 7), 0).toString('main');

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

/**
 * The job on a node's tip that has claims or airdrops. A solo miner gets no
 * first job without them where the other was there before its turn came.
 */

async function jobWithProofs(miner, node, user) {
  const tip = await node.tip();
  const query = user === PAYEE ? `?payee=${PAYEE}` : '';

  return miner.waitFor('a job with claims or airdrops', async () => {
    const {job} = miner;
    const {coinbase} = await api(node, `jobs/${job.id}${query}`);

    return job.prevBlock.toString('hex') === tip && coinbase
      && TX.fromHex(coinbase).inputs.length > 1 && job;
  });
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

async function claimsAndAirdrops(t, args, user) {
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
    address: MAIN_ADDRESS, args: [...SLOW, ...args]});
  const second = await startNode(t, {network: 'main', env, plugin: false,
    address: MAIN_ADDRESS, peer: first});
  const nodes = [first, second];
  const miner = await Miner.start(t, first, user);
  const start = await mine(miner, miner.job, nodes, user);

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
  await mine(miner, miner.job, nodes, user);

  const counts = [];
  const coinbases = [];

  for (let i = 0; i < 2; i++) {
    const job = await jobWithProofs(miner, first, user);
    const {txs: [coinbase]} = await mine(miner, job, nodes, user);

    counts.push([
      coinbase.outputs.filter(({covenant}) => covenant.isClaim()).length,
      coinbase.inputs.length - 1
    ]);
    coinbases.push(coinbase);
  }

  // Each input has its output, and fees are the miner's.
  assert.deepStrictEqual(counts, [[10, 20], [2, 5]]);
  assert.strictEqual(await first.tip(), await second.tip());
  return coinbases;
}

test('claims and airdrops are in a block, as many as hsd takes', async (t) => {
  for (const {inputs, outputs} of await claimsAndAirdrops(t, [], 'alice'))
    assert.strictEqual(outputs.length, inputs.length);
});

test('claims and airdrops keep their places in a solo block', async (t) => {
  const args = ['--stratum-payout=solo', '--stratum-fee=2.5'];

  for (const {inputs, outputs} of await claimsAndAirdrops(t, args, PAYEE)) {
    const fee = outputs[inputs.length];
    const whole = outputs[0].value + fee.value;

    assert.strictEqual(outputs.length, inputs.length + 1);
    assert.strictEqual(outputs[0].address.toString('main'), PAYEE);
    assert.strictEqual(fee.address.toString('main'), MAIN_ADDRESS);
    assert.strictEqual(fee.value, Math.floor(whole * 0.025));
  }
});

/** Every covenant of a block's transactions, sorted. */

function covenantsOf({txs}) {
  return [...new Set(txs.flatMap(({outputs}) => {
    return outputs.map(({covenant}) => rules.typesByVal[covenant.type]);
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

/** A node with coins of the test, one without the plugin, and a miner. */

async function startFunded(t, coins, blocks) {
  const spender = new Spender();
  const first = await startNode(t, {listen: true, address: spender.address,
    args: SLOW});

  await spender.prepare(first, coins);
  await first.mine(blocks);

  // Started late: hsd gets confused when many blocks are announced to it at
  // once while it still syncs.
  const second = await startNode(t, {plugin: false, peer: first});

  await second.waitTip(await first.tip());

  const miner = await Miner.start(t, first);

  return {spender, nodes: [first, second], miner};
}

async function send(node, txs) {
  for (let i = 0; i < txs.length; i += SENT_AT_ONCE) {
    await Promise.all(txs.slice(i, i + SENT_AT_ONCE).map((tx) => {
      return node.rpc('sendrawtransaction', [tx.toHex()]);
    }));
  }
}

/** Mine until the mempool is empty; gives the blocks with transactions. */

async function drain({miner, nodes}) {
  const [first] = nodes;
  const blocks = [];
  const tip = await first.tip();

  // Made before the transactions.
  await mine(miner, await miner.waitJob((job) => {
    return job.prevBlock.toString('hex') === tip;
  }), nodes);

  while ((await first.rpc('getmempoolinfo')).size > 0)
    blocks.push(await mine(miner, await fullJob(miner, first), nodes));

  return blocks;
}

function most(blocks, count) {
  return Math.max(...blocks.map(({txs}) => {
    return txs.reduce((sum, tx) => sum + count(tx), 0);
  }));
}

test('a block is full of opened, of updated and of renewed names', async (t) => {
  const count = consensus.MAX_BLOCK_UPDATES + 40;
  const world = await startFunded(t, count / 20 * 6, 120);
  const {nodes: [first]} = world;
  const names = new Names(world.spender, count);
  const old = Buffer.from(await first.rpc('getblockhash', [20]), 'hex');

  /** Send them all, mine them, and look at the fullest of the blocks. */

  const step = async (txs, counting, limit) => {
    await send(first, txs);

    const blocks = await drain(world);
    const height = await first.height();

    for (const [i, block] of blocks.entries())
      names.confirm(block, height - blocks.length + 1 + i);

    if (limit)
      assert.strictEqual(most(blocks, counting), limit);
  };
  const {countOpens, countRenewals, countUpdates} = rules;

  await step(names.open(), countOpens, consensus.MAX_BLOCK_OPENS);
  await first.mine(4);
  await step(names.bid());
  await first.mine(4);
  await step(names.reveal());
  await first.mine(12);
  await step(names.register(old), countRenewals,
    consensus.MAX_BLOCK_RENEWALS);
  await step(names.update(), countUpdates, consensus.MAX_BLOCK_UPDATES);
  await first.mine(5);
  await step(names.renew(old), countRenewals, consensus.MAX_BLOCK_RENEWALS);
});

test('a block is full by weight, of thousands of transactions', async (t) => {
  const small = 2500;
  const large = 60;
  const world = await startFunded(t, small + large, 20);
  const {spender, nodes: [first]} = world;
  const coins = spender.coins.splice(0, small + large);
  const txs = [
    ...coins.slice(0, small).map(coin => spender.pay(coin)),
    ...coins.slice(small).map(coin => spender.split(coin))
  ];

  await send(first, txs);

  const blocks = await drain(world);
  const [block] = blocks;

  assert.ok(block.txs.length > 1000, `${block.txs.length} transactions`);
  assert.ok(block.getWeight() > consensus.MAX_BLOCK_WEIGHT * 0.98,
    `a weight of ${block.getWeight()}`);
  assert.ok(blocks.length > 1);
  t.diagnostic(`${block.txs.length} transactions, weight ${block.getWeight()}`);
});
