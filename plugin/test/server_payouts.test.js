'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {PLUGIN, notProxied, runNode, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Payer, Wallets} = require('./payer');

const MATURITY = 2;
const PASSPHRASE = 'correct horse';
const PAYS = ['--stratum-payout-wallet=primary', '--stratum-payout-every=1m',
  '--stratum-threshold=0.5', '--stratum-threshold-min=0.5',
  '--wallet-api-key=test'];

// Half of the work, three tenths, two tenths.
const PATTERN = ['alice', 'bob', 'alice', 'carol', 'alice', 'bob', 'alice',
  'carol', 'alice', 'bob'];

/** Terms by the number of the block from which they are the pool's. */

const TERMS = [
  {from: 0, feePpm: 10000, args: ['--stratum-scheme=pplns',
    '--stratum-window=10', '--stratum-fee=1']},
  {from: 9, feePpm: 20000, args: ['--stratum-scheme=prop', '--stratum-fee=2']},
  {from: 17, feePpm: 5000, args: ['--stratum-scheme=pplns',
    '--stratum-window=4', '--stratum-fee=0.5']}
];
const BLOCKS = 25;

/** Each of them ends the server in the midst of a payment. */

const KILLS = [
  ['before', '^POST /wallet/primary/create'],
  ['after', '^POST /wallet/primary/create'],
  ['before', '^PUT /wallet/primary/locked'],
  ['after', '^PUT /wallet/primary/locked'],
  ['before', '^POST /broadcast'],
  ['after', '^POST /broadcast'],
  ['after', '^RPC getmempoolentry']
];

function argsOf({args}) {
  return [`--plugins=${PLUGIN},${require.resolve('./killing_plugin')}`,
    ...PAYS, ...args];
}

async function startPool(t) {
  const pool = await startNode(t, {
    listen: true, wallet: true, address: null, args: argsOf(TERMS[0])
  });
  const other = await startNode(t, {
    plugin: false, wallet: true, peer: pool, args: ['--wallet-api-key=test'],
    address: await new Wallets(pool).address('primary')
  });
  const theirs = new Wallets(other);
  const names = {};

  for (const id of ['alice', 'bob', 'carol'])
    names[id] = await theirs.create(id);

  return {pool, other, theirs, names, ours: new Wallets(pool),
    payer: await Payer.start(t, pool, [])};
}

/** Mine blocks, with the pool's terms changed twice on the way. */

async function mineBlocks(t, {pool, names}) {
  let miners = {};
  const mined = [];

  for (let i = 0; i < BLOCKS; i++) {
    const terms = TERMS.find(({from}) => from === i);

    if (terms) {
      if (i > 0)
        await pool.restart({args: argsOf(terms)});

      miners = {};
      for (const id of ['alice', 'bob', 'carol'])
        miners[id] = await Miner.start(t, pool, names[id]);
    }

    const id = PATTERN[i % PATTERN.length];
    const tip = await pool.tip();

    await miners[id].waitJob(job => job.prevBlock.toString('hex') === tip);

    const {error, hash} = await miners[id].submit(names[id]);

    assert.strictEqual(error, null);
    await pool.waitTip(hash);
    mined.push({hash, height: await pool.height()});
  }

  return mined;
}

async function bury({pool, other}, count = MATURITY) {
  await pool.mine(count);
  await other.waitTip(await pool.tip());
}

async function get({ports}, url) {
  const res = await fetch(`http://127.0.0.1:${ports.dashboard}/api/v1${url}`);
  return res.json();
}

test('the server pays by itself to the base unit, wherever it is killed',
  notProxied('miners are not its matter'), async (t) => {
    const world = await startPool(t);
    const {pool, other, payer, ours, theirs, names} = world;

    // Nobody is paid before all blocks are there.
    const {state, paused_at: at} = await pool.rpc('stratumpayout', ['pause']);
    assert.strictEqual(state, 'paused');
    assert.ok(at > 0);

    const mined = await mineBlocks(t, world);
    const lost = mined[BLOCKS - 1].hash;

    await other.waitTip(lost);
    for (const node of [other, pool])
      await node.rpc('invalidateblock', [lost]);
    await bury(world, MATURITY + 1);

    const plan = await pool.waitFor('all blocks to be decided', async () => {
      const seen = await payer.plan();
      return seen.blocks.length === BLOCKS - 1 && seen.held.length === 0
        && seen;
    });

    // Each was divided under the terms of its time: the one that was mined when
    // new ones came, under the old ones.
    let due = 0;

    for (const block of plan.blocks) {
      const number = mined.findIndex(({hash}) => hash === block.hash);
      const {feePpm} = TERMS.filter(({from}) => from < number || from === 0)
        .pop();
      assert.strictEqual(block.fee, block.reward * feePpm / 1e6, `${number}`);
      assert.strictEqual(block.credited + block.fee + block.remainder,
        block.reward);
      due += block.credited;
    }

    const pays = {};
    for (const id of ['alice', 'bob', 'carol']) {
      const account = plan.accounts.find(one => one.account === names[id]);
      pays[id] = account.pays;
    }
    assert.strictEqual(pays.alice + pays.bob + pays.carol, due);

    // The wallet is locked: said before a payment is due, and a failure then.
    await ours.call('POST', '/wallet/primary/passphrase',
      {passphrase: PASSPHRASE});
    await ours.call('POST', '/wallet/primary/lock', {});
    await pool.restart();
    await pool.waitFor('the wallet to be examined', async () => {
      const {wallet} = await get(pool, '/pool');
      return wallet && /is locked/.test(wallet.trouble || '');
    });
    await pool.rpc('stratumpayout', ['resume']);
    await pool.waitLog(/The payout failed, .* wallet "primary" is locked/,
      {ms: 100000});

    const failed = await pool.waitFor('the failure on the page', async () => {
      const seen = await get(pool, '/pool');
      return seen.payout_state === 'failed' && seen;
    });
    assert.match(failed.payout_reason, /HSTRATUM_WALLET_PASSPHRASE/);
    assert.strictEqual(failed.next_payment_at, null);

    const status = await payer.tool('payout', 'status', '--ledger',
      payer.ledger, '--json');
    assert.match(status.failure, /is locked/);
    assert.strictEqual(pool.count(/The payout failed/), 1);

    // The wallet is opened, and the server killed at each step.
    const kill = path.join(pool.dir, 'kill');
    const env = {HSTRATUM_WALLET_PASSPHRASE: PASSPHRASE};

    for (const [when, pattern] of KILLS) {
      fs.writeFileSync(kill, JSON.stringify({when, pattern}));
      await pool.kill();
      Object.assign(pool.options, {env});
      await pool.spawn();
      const end = await Promise.race([pool.exited, new Promise((resolve) => {
        setTimeout(resolve, 100000, null).unref();
      })]);
      assert.strictEqual(end && end.signal, 'SIGKILL',
        `${when} ${pattern}\n${pool.tail()}`);
      fs.rmSync(kill);
    }

    await pool.restart();
    const [txid] = await pool.waitFor('the payment', async () => {
      const pending = await pool.rpc('getrawmempool');
      return pending.length === 1 && pending;
    });
    const waits = await pool.waitFor('a run that ends well', async () => {
      const seen = await pool.rpc('stratumpayout', ['status']);
      return seen.state === 'scheduled' && seen.failure === null && seen;
    });
    assert.ok(waits.next_run_at > waits.last_run_at);
    assert.strictEqual(waits.every_s, 60);

    await bury(world);
    await pool.waitLog(new RegExp(`payment 1 confirmed: ${txid}`), {ms: 100000});

    for (const id of ['alice', 'bob', 'carol']) {
      await other.waitFor(`${id} to be paid`, async () => {
        return await theirs.confirmed(id) === pays[id];
      });
      const account = await get(pool, `/accounts/${names[id]}`);
      assert.strictEqual(account.paid, pays[id]);
      assert.strictEqual(account.balance, 0);
    }

    const {last_payment_at: last, terms} = await get(pool, '/pool');
    assert.ok(last > 0);
    assert.strictEqual(terms.payout_every, 60);
    await payer.tool('ledger', 'check', '--ledger', payer.ledger);
  });

test('a pause holds for the server and for the command', async (t) => {
  const pool = await startNode(t, {
    listen: true, wallet: true, address: null, args: argsOf(TERMS[0])
  });
  const payer = await Payer.start(t, pool, []);
  const tool = (...args) => payer.tool('payout', ...args, '--ledger',
    payer.ledger);

  // Before, nobody is paid for another reason.
  await pool.waitFor('the ledger to be shown the chain', async () => {
    return !(await tool('plan')).includes('No node has shown');
  });
  assert.match(await tool('pause'), /^Payouts are paused, for 0 s by /);

  const {code, err} = await payer.send();
  assert.strictEqual(code, 1);
  assert.match(err, /payouts are paused by "hstratum payout"/);

  const seen = await pool.rpc('stratumpayout', ['status']);
  assert.strictEqual(seen.state, 'paused');
  assert.match(await tool('resume'), /^Payouts are not paused/);
  assert.strictEqual((await payer.send()).code, 0);
  assert.match(await tool('status'), /^Payouts are not paused\n.*\nIt came to/);

  const wrong = await pool.call('stratumpayout', ['stop']);
  assert.match(wrong.error.message, /must be pause, resume or status/);
});

test('a node that asks for no key is spoken to without one', async (t) => {
  const pool = await startNode(t, {
    wallet: true, args: [...PAYS, ...TERMS[0].args, '--no-auth',
      '--wallet-no-auth']
  });

  await pool.waitFor('the wallet to be examined', async () => {
    const {wallet} = await get(pool, '/pool');
    return wallet && wallet.balance === 0;
  });
});

test('payments need a ledger', async (t) => {
  const {code, output} = await runNode(t, {
    wallet: true, args: [...PAYS, ...TERMS[0].args, '--memory']
  });

  assert.strictEqual(code, 1);
  assert.match(output.pop(),
    /^hstratum: payout-every needs a ledger, and a node in memory keeps none$/);
});

test('a wallet that does not get the coinbases, or is none, is told',
  async (t) => {
    const args = [...PAYS, ...TERMS[0].args];
    const pool = await startNode(t, {wallet: true, args});
    const trouble = pattern => pool.waitFor('the trouble', async () => {
      const {wallet} = await get(pool, '/pool');
      return wallet && pattern.test(wallet.trouble || '');
    });

    await trouble(/which is not of the wallet "primary"/);
    await pool.restart({args: [...args, '--stratum-payout-wallet=nobody']});
    await trouble(/no wallet "nobody" with an account "default"/);
  });
