'use strict';

const assert = require('assert');
const {test} = require('node:test');
const Address = require('hsd/lib/primitives/address');
const {startNode} = require('./harness');
const {Miner} = require('./miner');
const {Payer, Wallets} = require('./payer');
const {Postgres} = require('./postgres');

const BLOCKS = 25;
const MATURITY = 2;
const TERMS = ['--scheme', 'pplns', '--window', '10', '--fee', '1',
  '--threshold', '0.5'];
const PASSPHRASE = 'correct horse';
const WALLET_KEY = ['--wallet-api-key=test'];

// Half of the work, three tenths, two tenths.
const PATTERN = ['alice', 'bob', 'alice', 'carol', 'alice', 'bob', 'alice',
  'carol', 'alice', 'bob'];

/**
 * A pool with a wallet that gets its coinbases, and a second node that has the
 * wallets of its miners. An account is paid at the address that is its name,
 * but alice's is set. With a database both are servers of one pool.
 */

async function startPool(t, database = null) {
  const args = (label) => {
    return database
      ? [...WALLET_KEY, `--stratum-database=${database.url}`,
        `--stratum-server-id=${label}`]
      : WALLET_KEY;
  };
  const pool = await startNode(t, {
    listen: true, wallet: true, address: null, args: args('first')
  });
  const other = await startNode(t, {
    plugin: database != null, wallet: true, peer: pool, args: args('second'),
    address: await new Wallets(pool).address('primary')
  });
  const theirs = new Wallets(other);
  const names = {};

  for (const id of ['alice', 'bob', 'carol'])
    names[id] = await theirs.create(id);

  const payer = await Payer.start(t, pool, TERMS, database && database.url);
  const address = names.alice;
  names.alice = 'alice';
  return {pool, other, theirs, names, payer, address, ours: new Wallets(pool)};
}

/** Mine one share each, which on regtest is a block. */

async function mineBlocks(t, {pool, names}, count) {
  const miners = {};
  const hashes = [];

  for (const id of ['alice', 'bob', 'carol'])
    miners[id] = await Miner.start(t, pool, names[id]);

  for (let i = 0; i < count; i++) {
    const id = PATTERN[i % PATTERN.length];
    const tip = await pool.tip();

    await miners[id].waitJob(job => job.prevBlock.toString('hex') === tip);

    const {error, hash} = await miners[id].submit(names[id]);

    assert.strictEqual(error, null);
    await pool.waitTip(hash);
    hashes.push(hash);
  }

  return hashes;
}

/** Mine blocks that pay the pool nothing, known to all nodes concerned. */

async function bury(world, count = MATURITY) {
  const {pool, other, ours, theirs} = world;
  await pool.mine(count);

  const height = await pool.height();

  await other.waitTip(await pool.tip());
  for (const wallets of [ours, theirs]) {
    await wallets.node.waitFor('the wallet to know the tip', async () => {
      const auth = Buffer.from('x:test').toString('base64');
      const res = await fetch(
        `http://127.0.0.1:${wallets.node.ports.wallet}/`, {
          method: 'POST',
          headers: {Authorization: `Basic ${auth}`, Connection: 'close'},
          body: JSON.stringify({method: 'getwalletinfo', params: [], id: 1})
        });
      return (await res.json()).result.height === height;
    });
  }
}

function steps({out}) {
  return out.steps.map(({step}) => step);
}

async function received({theirs}) {
  const got = {};
  for (const id of ['alice', 'bob', 'carol'])
    got[id] = await theirs.confirmed(id);
  return got;
}

/** The amounts that the plan pays, by wallet. */

function planned({names}, plan) {
  const due = {};
  for (const id of ['alice', 'bob', 'carol']) {
    const account = plan.accounts.find(one => one.account === names[id]);
    due[id] = account ? account.pays : 0;
  }
  return due;
}

/** Wait until so many blocks can be spent and all others are final too. */

function waitConfirmed({pool, payer}, count) {
  return pool.waitFor(`${count} blocks that can be spent`, async () => {
    const {blocks, held} = await payer.plan();
    return blocks.length === count && held.length === 0;
  });
}

/** Check that the next run pays, and after its transaction none does. */

async function settleUp(world, payer) {
  const sent = await payer.send();
  assert.strictEqual(sent.code, 0, sent.err);
  await bury(world);
  const last = await payer.send();
  assert.strictEqual(last.code, 0, last.err);
  return [sent, last];
}

test('accounts are paid to the base unit, once, wherever it is killed',
  async (t) => {
    const world = await startPool(t);
    const {pool, other, payer, address} = world;
    const hashes = await mineBlocks(t, world, BLOCKS);

    // The last block is lost.
    await other.waitTip(hashes[BLOCKS - 1]);
    for (const node of [other, pool])
      await node.rpc('invalidateblock', [hashes[BLOCKS - 1]]);
    await bury(world, MATURITY + 1);
    await waitConfirmed(world, BLOCKS - 1);
    await payer.tool('ledger', 'address', '--ledger', payer.ledger, 'alice',
      address);

    const plan = await payer.plan();
    const due = planned(world, plan);
    let reward = 0;
    let credited = 0;

    for (const block of plan.blocks) {
      assert.strictEqual(block.credited + block.fee + block.remainder,
        block.reward);
      assert.strictEqual(block.fee, block.reward / 100);
      reward += block.reward;
      credited += block.credited;
    }

    assert.strictEqual(reward, (BLOCKS - 1) * 2000e6);
    assert.strictEqual(due.alice + due.bob + due.carol, credited);
    for (const [id, share] of [['alice', 5], ['bob', 3], ['carol', 2]])
      assert.ok(Math.abs(due[id] / credited - share / 10) < 0.06, id);

    // A dry run changes nothing.
    const dry = await payer.send({args: ['--dry-run']});
    assert.strictEqual(dry.code, 0, dry.err);
    assert.strictEqual(dry.out.first, null);
    assert.deepStrictEqual(planned(world, dry.out), due);
    assert.deepStrictEqual(await payer.plan(), plan);

    // Killed when the payment is written, and when its transaction is made,
    // stored, locked, and broadcast.
    const {wallet, node} = payer;
    await payer.sendKilled(wallet, 'before', /^POST \/wallet\/primary\/create/);
    await payer.sendKilled(wallet, 'after', /^POST \/wallet\/primary\/create/);
    await payer.sendKilled(wallet, 'before', /^PUT \/wallet\/primary\/locked/);
    await payer.sendKilled(wallet, 'after', /^PUT \/wallet\/primary\/locked/);
    assert.deepStrictEqual(await pool.rpc('getrawmempool'), []);

    const seen = await payer.send({args: ['--dry-run']});
    const {txid} = seen.out.first;
    assert.strictEqual(seen.out.first.step, 'waiting');
    assert.strictEqual(seen.out.would_pay, false);

    await payer.sendKilled(node, 'before', /^POST \/broadcast/);
    assert.deepStrictEqual(await pool.rpc('getrawmempool'), []);
    await payer.sendKilled(node, 'after', /^POST \/broadcast/);
    assert.deepStrictEqual(await pool.rpc('getrawmempool'), [txid]);
    await payer.sendKilled(node, 'after', /getmempoolentry/);

    for (let i = 0; i < 2; i++) {
      const waiting = await payer.send();
      assert.strictEqual(waiting.code, 0, waiting.err);
      assert.deepStrictEqual(waiting.out.steps,
        [{step: 'waiting', payment: 1, txid, depth: 0, needed: MATURITY}]);
    }
    assert.deepStrictEqual(await pool.rpc('getrawmempool'), [txid]);

    await bury(world);
    const last = await payer.send();
    assert.strictEqual(last.code, 0, last.err);
    assert.deepStrictEqual(steps(last), ['confirmed', 'nobody due']);
    assert.deepStrictEqual(await received(world), due);

    // Every requested signature was for one of two transactions: the one whose
    // answer was lost, and the one that was paid.
    const made = wallet.seen.filter(text => text.includes('/create'));
    assert.strictEqual(made.length, 3);
    await payer.tool('ledger', 'check', '--ledger', payer.ledger);
  });

test('servers with one ledger are paid for from it, once', async (t) => {
  const database = await Postgres.start(t);
  const world = await startPool(t, database);
  const {pool, other, payer} = world;
  const found = [];

  for (const server of [pool, other, pool]) {
    found.push(...await mineBlocks(t, {...world, pool: server}, 4));
    for (const node of [pool, other])
      await node.waitTip(found[found.length - 1]);
  }

  await bury(world);
  await waitConfirmed(world, found.length);
  await payer.tool('ledger', 'address', '--ledger', payer.ledger, 'alice',
    world.address);

  const plan = await payer.plan();
  const due = planned(world, plan);

  assert.deepStrictEqual(plan.blocks.map(block => block.hash).sort(),
    [...found].sort());

  // A run that ends when its transaction is made, and a database that ends
  // when it is broadcast, pay nobody twice.
  await payer.sendKilled(payer.wallet, 'after',
    /^POST \/wallet\/primary\/create/);
  await payer.sendKilled(payer.node, 'before', /^POST \/broadcast/);
  await database.kill();

  const away = await payer.send();
  assert.strictEqual(away.code, 1);
  assert.match(away.err, /failed to connect to .*: Connection refused/);

  await database.resume();
  const [sent, last] = await settleUp(world, payer);
  assert.deepStrictEqual(steps(sent), ['waiting']);
  assert.deepStrictEqual(steps(last), ['confirmed', 'nobody due']);
  assert.deepStrictEqual(await received(world), due);
  await payer.tool('ledger', 'check', '--ledger', payer.ledger);
});

// A stranger chooses the name that he mines under, and so the address.
test('nobody holds up the payments to others by the address of his name',
  async (t) => {
    const world = await startPool(t);
    const {pool, payer, ours, names} = world;
    const zeros = Address.fromHash(Buffer.alloc(20), 0).toString('regtest');
    const strangers = [zeros, await ours.address('primary')];

    for (const name of strangers) {
      const miner = await Miner.start(t, pool, name);
      const {error, hash} = await miner.submit(name);

      assert.strictEqual(error, null);
      await pool.waitTip(hash);
    }

    await mineBlocks(t, world, 4);
    await bury(world);
    await waitConfirmed(world, 6);

    const plan = await payer.plan();
    const due = planned(world, plan);
    const [sent, last] = await settleUp(world, payer);

    assert.deepStrictEqual(steps(sent), ['sent'], JSON.stringify(sent.out));
    assert.deepStrictEqual(steps(last), ['confirmed', 'nobody due']);
    assert.strictEqual(
      plan.accounts.find(one => one.account === zeros).pays, 0);
    assert.ok(due.bob > 0);
    assert.strictEqual((await received(world)).bob, due.bob, names.bob);
    await payer.tool('ledger', 'check', '--ledger', payer.ledger);
  });

test('a wallet that cannot pay loses nothing', async (t) => {
  const world = await startPool(t);
  const {payer, ours} = world;

  await mineBlocks(t, world, 6);
  await bury(world);
  await waitConfirmed(world, 6);
  await payer.tool('ledger', 'address', '--ledger', payer.ledger, 'alice',
    world.address);

  const due = planned(world, await payer.plan());
  const fails = async (pattern, options) => {
    const {code, err, out} = await payer.send(options);
    assert.strictEqual(code, 1);
    assert.match(err, pattern);
    assert.match(out.error, pattern);
    assert.ok(!err.includes('test:') && !err.includes(PASSPHRASE));
    // The balances are as the plan has promised.
    assert.deepStrictEqual(planned(world, await payer.plan()), due);
  };

  await ours.create('poor');
  await fails(/HNS are owed to \d+ accounts? and the wallet "poor" has 0.000000 HNS/,
    {wallet: 'poor'});
  await fails(/no wallet "nobody" with an account "default"/,
    {wallet: 'nobody'});
  await fails(/no wallet "primary" with an account "other"/,
    {args: ['--account', 'other']});
  await fails(/hsd refuses the API key/, {env: {HSTRATUM_NODE_API_KEY: 'x'}});
  await fails(/hsd refuses the API key/,
    {env: {HSTRATUM_WALLET_API_KEY: 'wrong'}});
  await fails(/Fee/, {args: ['--max-fee', '0.000001']});

  await ours.call('POST', '/wallet/primary/passphrase',
    {passphrase: PASSPHRASE});
  await ours.call('POST', '/wallet/primary/lock', {});
  await fails(/is locked: set HSTRATUM_WALLET_PASSPHRASE/, {});
  await fails(/passphrase in HSTRATUM_WALLET_PASSPHRASE is not that of/,
    {env: {HSTRATUM_WALLET_PASSPHRASE: 'wrong'}});

  const sent = await payer.send({env: {HSTRATUM_WALLET_PASSPHRASE: PASSPHRASE}});
  assert.strictEqual(sent.code, 0, sent.err);
  assert.deepStrictEqual(steps(sent), ['sent']);
  await bury(world);
  assert.deepStrictEqual(steps(await payer.send()), ['confirmed', 'nobody due']);
  assert.deepStrictEqual(await received(world), due);
});

test('a payment is made anew only when another has its coins for good',
  async (t) => {
    const world = await startPool(t);
    const {pool, payer, ours} = world;

    await mineBlocks(t, world, 6);
    await bury(world);
    await waitConfirmed(world, 6);
    await payer.tool('ledger', 'address', '--ledger', payer.ledger, 'alice',
      world.address);

    const due = planned(world, await payer.plan());

    await payer.sendKilled(payer.node, 'before', /^POST \/broadcast/);

    // hsd forgets its locks; the next run sets them again.
    await pool.restart();
    payer.node.port = pool.ports.http;
    payer.wallet.port = pool.ports.wallet;
    assert.strictEqual(await ours.unlockCoins('primary'), 0);
    await payer.sendKilled(payer.node, 'before', /^POST \/broadcast/);
    assert.ok(await ours.unlockCoins('primary') > 0);

    await mineBlocks(t, world, 1);
    await bury(world, 1);

    // The operator sends everything away by hand, and mines more.
    const rival = await ours.call('POST', '/wallet/primary/send', {
      selection: 'all', subtractFee: true,
      outputs: [{
        address: await ours.address('primary'),
        value: (await ours.call('GET', '/wallet/primary/balance')).confirmed
      }]
    });

    const refused = async (pattern) => {
      const {code, err, out} = await payer.send();
      assert.strictEqual(code, 1);
      assert.match(err, pattern);
      assert.match(err, /it is kept and sent again by the next run/);
      return out;
    };

    // A payment that is held up holds up no settlement.
    await waitConfirmed(world, 1);
    const {settled} = await refused(/has not taken payment 1/);
    assert.strictEqual(settled.length, 1);
    assert.deepStrictEqual(await pool.rpc('getrawmempool'), [rival.hash]);
    await bury(world, 1);
    await refused(new RegExp(
      `${rival.hash} has spent an input of it and is 1 of 2 blocks deep`));
    await bury(world, 1);

    const [sent, last] = await settleUp(world, payer);
    assert.deepStrictEqual(steps(sent), ['abandoned', 'sent']);
    assert.strictEqual(sent.out.steps[0].by, rival.hash);
    assert.deepStrictEqual(steps(last), ['confirmed', 'nobody due']);

    const got = await received(world);

    assert.strictEqual(sum(got), sum(due) + settled[0].credited);
    for (const id of ['alice', 'bob', 'carol'])
      assert.ok(got[id] >= due[id], id);
    await payer.tool('ledger', 'check', '--ledger', payer.ledger);
  });

function sum(amounts) {
  return Object.values(amounts).reduce((all, amount) => all + amount, 0);
}
