'use strict';

/*
 * A node that loses its chain decides nothing about money: not while it
 * downloads it again, not after `POST /reset`, not as one of two servers.
 */

const assert = require('assert');
const {execFile} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {Payer, Wallets} = require('./payer');
const {Postgres} = require('./postgres');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');
const BLOCKS = 12;
const TERMS = ['--scheme', 'prop', '--fee', '1', '--threshold', '0.5'];
const BEHIND = /knows less of the chain than this ledger was shown/;
const CAUGHT_UP = /the node has caught up with the chain that this ledger/;

/**
 * A node that keeps the chain, with the wallets of pool and miners, and
 * servers that get the chain from it.
 */

async function startPool(t, labels, database = null) {
  const keeper = await startNode(t, {
    plugin: false, listen: true, wallet: true
  });
  const wallets = new Wallets(keeper);
  const address = await wallets.address('primary');
  const names = [await wallets.create('alice'), await wallets.create('bob')];
  const servers = [];

  for (const label of labels) {
    const args = database ? [`--stratum-database=${database.url}`,
      `--stratum-server-id=${label}`] : [];
    servers.push(await startNode(t, {peer: keeper, address, args}));
  }

  const ledger = database && database.url;
  const payer = await Payer.start(t, keeper, TERMS,
    ledger || path.join(servers[0].stratumDir, 'ledger.db'));
  return {keeper, servers, names, payer};
}

/** Blocks of the pool, by its servers in turn, known to all of them. */

async function mineBlocks(t, {keeper, servers, names}) {
  const miners = [];

  for (const [i, server] of servers.entries())
    miners.push(await Miner.start(t, server, names[i % 2]));

  const other = await Miner.start(t, servers[0], names[1]);

  for (let i = 0; i < BLOCKS; i++) {
    const at = i % servers.length;
    const isOther = i % 5 === 4;
    const miner = isOther ? other : miners[at];
    const tip = await servers[isOther ? 0 : at].tip();

    await miner.waitJob(job => job.prevBlock.toString('hex') === tip);

    const name = names[isOther ? 1 : at % 2];
    const {error, hash} = await miner.submit(name);

    assert.strictEqual(error, null);
    for (const node of [...servers, keeper])
      await node.waitTip(hash);
  }
}

async function bury({keeper, servers}, count = 2) {
  await keeper.mine(count);

  for (const server of servers)
    await server.waitTip(await keeper.tip());
}

/** All amounts in the ledger. */

async function money({payer}) {
  const {accounts, blocks, reversals, held} = await payer.plan();
  const report = await payer.tool('ledger', 'report', '--ledger',
    payer.ledger, '--json');
  const states = report.blocks.map(({hash, state, settled}) => {
    return [hash, state, settled];
  });
  return {accounts, blocks, reversals, held, states};
}

/** Wait until all is confirmed, settled and paid, and the payment is deep. */

async function settleUp(world) {
  const {payer} = world;

  await waitFor('all to be confirmed', async () => {
    const {blocks, held} = await payer.plan();
    return blocks.length === BLOCKS && held.length === 0;
  });

  // The wallet must have seen them too.
  const sent = await waitFor('a payment', async () => {
    const sent = await payer.send();
    return sent.code === 0 && sent;
  });
  assert.ok(sent.out.steps.some(({step}) => step === 'sent'), sent.err);

  await bury(world);
  await waitFor('the payment to be confirmed', async () => {
    const {out} = await payer.send();
    return out && out.steps.some(({step}) => step === 'confirmed');
  });

  const before = await money(world);
  assert.deepStrictEqual(before.states.map(([, state]) => state),
    Array(BLOCKS).fill('confirmed'));
  assert.ok(before.states.every(([, , settled]) => settled));
  return before;
}

/** Stop a node and remove its chain; no peer gives it back. */

async function loseFiles(node, meanwhile = () => {}) {
  await node.kill();

  for (const name of ['blocks', 'chain', 'tree'])
    fs.rmSync(path.join(node.dir, name), {recursive: true});

  meanwhile();
  await node.restart({peer: null});
}

async function reset(node) {
  await node.restart({peer: null});

  const res = await fetch(`http://127.0.0.1:${node.ports.http}/reset`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Authorization': `Basic ${Buffer.from('x:test').toString('base64')}`,
      'Connection': 'close'
    },
    body: JSON.stringify({height: 0})
  });
  assert.strictEqual(res.status, 200);
}

/** Check that a payout which asks this node is refused, with the reason. */

async function assertRefused(t, {payer}, node) {
  const asking = await Payer.start(t, node, TERMS, payer.ledger);
  asking.wallet = payer.wallet;
  asking.wallet.seen = [];

  // A plan, which changes nothing, says so too.
  const plan = await asking.tool('payout', 'plan', '--ledger', asking.ledger,
    ...asking.terms, '--node-url', asking.node.url);

  assert.match(plan, /payout send would pay nothing now: /);
  assert.match(plan, BEHIND);

  const {code, err, out} = await asking.send();

  assert.strictEqual(code, 1);
  assert.match(err, BEHIND);
  assert.ok(err.includes(asking.node.url), err);
  assert.deepStrictEqual(out.settled, []);
  assert.deepStrictEqual(out.steps, []);
  assert.deepStrictEqual(asking.wallet.seen, [], 'the node is asked first');
}

const NO_JOB = /no job for miners: the node knows less of the chain than the/;

/** Findings of a doctor; problems make its exit code 1. */

function examine(node) {
  const args = ['doctor', '--network=regtest', `--prefix=${node.prefix}`,
    '--json', `--node-url=http://127.0.0.1:${node.ports.http}`];
  const env = {...process.env, HSTRATUM_NODE_API_KEY: 'test'};

  return new Promise((resolve, reject) => {
    execFile(BINARY, args, {env}, (error, stdout) => {
      if (error && error.code !== 1)
        reject(error);
      else
        resolve(JSON.parse(stdout).findings);
    });
  });
}

/** Check that nobody gets work from a node, and that every place says why. */

async function assertIdle(t, node) {
  await node.waitLog(NO_JOB);

  const info = await node.rpc('getstratuminfo', []);
  const text = /knows less of the chain than the ledger was shown/;

  assert.strictEqual(info.job, null);
  assert.match(info.nojob, text);

  await node.waitFor('the node to be called behind', async () => {
    return text.test((await node.rpc('getstratuminfo', [])).node);
  });

  const page = path => fetch(
    `http://127.0.0.1:${node.ports.dashboard}${path}`,
    {headers: {'Connection': 'close'}});

  // The page may be a moment old.
  await node.waitFor('a sick health', async () => {
    const health = await page('/healthz');
    return health.status === 503 && text.test((await health.json()).status);
  });

  const shown = await (await page('/api/v1/pool')).json();
  assert.match(shown.node_behind, text);

  const metrics = await (await page('/metrics')).text();
  assert.match(metrics, /^hstratum_node_behind 1$/m);
  assert.match(metrics, /^hstratum_job_fresh 0$/m);

  const found = await examine(node);
  assert.ok(found.some(({severity, text: said, advice}) => {
    return severity === 'problem' && text.test(said)
      && /begin a new ledger/.test(advice);
  }), JSON.stringify(found));

  let miner;

  try {
    miner = await Miner.connect(t, node);
  } catch (e) {
    // After fifteen seconds miners should go elsewhere.
    assert.strictEqual(e.code, 'ECONNREFUSED');
    return;
  }

  await miner.subscribe();
  await miner.authorize('mallory');
  // The reply comes after everything that was on its way.
  await miner.request('mining.extranonce.subscribe', []);
  assert.deepStrictEqual(miner.jobs, []);
}

async function survive(t, lose) {
  const world = await startPool(t, ['one']);
  const {keeper, servers: [pool], names, payer} = world;

  await mineBlocks(t, world);
  await bury(world);

  const before = await settleUp(world);

  payer.wallet.seen = [];
  await lose(pool);
  assert.strictEqual(await pool.height(), 0);
  await pool.waitLog(BEHIND);

  // One block arrives. The node is asked again after a restart, with that
  // block.
  await pool.mine(1);
  await assertIdle(t, pool);
  await pool.restart();
  await pool.waitLog(BEHIND);
  await assertIdle(t, pool);
  assert.strictEqual(pool.count(/block orphaned/), 0);
  assert.deepStrictEqual(await money(world), before);
  await assertRefused(t, world, pool);
  assert.deepStrictEqual(await money(world), before);

  // The chain comes back from the other node.
  await pool.restart({peer: keeper});
  await pool.waitTip(await keeper.tip());
  await bury(world, 1);
  await pool.waitLog(CAUGHT_UP);

  const miner = await Miner.start(t, pool, names[0]);
  assert.strictEqual(miner.job.prevBlock.toString('hex'), await pool.tip());

  const {code, out, err} = await payer.send();

  assert.strictEqual(code, 0, err);
  assert.deepStrictEqual(out.settled, []);
  assert.deepStrictEqual(out.steps.map(({step}) => step), ['nobody due']);
  assert.strictEqual(pool.count(/block orphaned/), 0);
  assert.deepStrictEqual(await money(world), before);
  assert.match(await payer.tool('ledger', 'check', '--ledger', payer.ledger),
    /all is well/);
}

test('money stays as it is while a node downloads its chain again',
  t => survive(t, node => loseFiles(node)));

test('money stays as it is after a node was reset', t => survive(t, reset));

test('a server that lost its chain is no judge when the others are silent',
  async (t) => {
    const database = await Postgres.start(t);
    const world = await startPool(t, ['one', 'two'], database);
    const {keeper, servers: [one, two], payer} = world;

    await mineBlocks(t, world);
    await bury(world);

    const before = await settleUp(world);

    payer.wallet.seen = [];
    await one.kill();
    await loseFiles(two);
    await two.mine(1);
    await two.waitLog(BEHIND);
    await assertIdle(t, two);

    // The other server's lease is over, and this one could have taken it.
    const now = 'extract(epoch FROM clock_timestamp()) * 1000';
    await waitFor('the lease to be over', async () => {
      return await database.ask(`SELECT until_ms + 2000 < ${now} FROM leases
        WHERE name = 'judge'`) === 't';
    });
    const seen = await database.ask(
      'SELECT max(seen_at_ms) FROM origins WHERE label = \'two\'');
    await waitFor('two seconds of its life', async () => {
      return await database.ask(`SELECT seen_at_ms > ${seen} + 2000
        FROM origins WHERE label = 'two'`) === 't';
    });
    assert.deepStrictEqual(await money(world), before);
    await assertRefused(t, world, two);
    assert.deepStrictEqual(await money(world), before);

    await two.restart({peer: keeper});
    await two.waitTip(await keeper.tip());
    await waitFor('a judge', async () => {
      return await database.ask(`SELECT label FROM leases JOIN origins
        ON origins.id = holder WHERE name = 'judge'
        AND until_ms > ${now}`) === 'two';
    });
    world.servers = [two];
    await bury(world, 1);

    const {code, out, err} = await payer.send();

    assert.strictEqual(code, 0, err);
    assert.deepStrictEqual(out.settled, []);
    assert.deepStrictEqual(await money(world), before);
    assert.match(await payer.tool('ledger', 'check', '--ledger', payer.ledger),
      /all is well/);
  });

test('a found block is kept until the node knows its parent', async (t) => {
  const keeper = await startNode(t, {plugin: false, listen: true});
  const pool = await startNode(t, {peer: keeper});
  const spool = path.join(pool.stratumDir, 'spool');

  await keeper.mine(2);
  const hash = await keeper.tip();
  const raw = Buffer.from(await keeper.rpc('getblock', [hash, false]), 'hex');
  const file = path.join(spool, `${hash}.block`);
  const unknown = /did not judge block 2 [0-9a-f]+: its parent is unknown/;

  // As after a power failure, with a chain that has to be downloaded again.
  await pool.waitTip(hash);
  await loseFiles(pool, () => fs.writeFileSync(file, raw));
  await pool.waitLog(/offered again from the spool/);
  await pool.waitLog(unknown);
  assert.ok(fs.existsSync(file));

  // The block is offered at each start, until the node has answered.
  await pool.restart();
  await pool.waitLog(unknown);
  assert.ok(fs.existsSync(file));

  await pool.restart({peer: keeper});
  await pool.waitTip(hash);
  await pool.waitFor('an empty spool', () => !fs.existsSync(file));
});
