'use strict';

/*
 * A ledger that is copied while miners work, and put back: shares are accepted
 * at once, nothing that was copied is missing, the check finds nothing, and
 * payouts pay what is due. Tested for each way to make a copy, for a file and
 * for a database.
 */

const assert = require('assert');
const {execFile} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {promisify} = require('util');
const {startNode, tempDir} = require('./harness');
const {Miner} = require('./miner');
const {Payer, Wallets} = require('./payer');
const {Postgres, program} = require('./postgres');

const execute = promisify(execFile);

/** So low that every hash is a share; every second one is a block as well. */
const DIFFICULTY = 2 ** -32;
const ARGS = [`--stratum-difficulty=${DIFFICULTY}`,
  `--stratum-difficulty-min=${DIFFICULTY}`, '--stratum-dynamic=false',
  '--wallet-api-key=test'];
const TERMS = ['--scheme', 'prop', '--fee', '1', '--threshold', '0.5'];
const PARTS = ['', '-wal', '-shm'];

// SQLite's own copy, by its program or by Python's module, as available.
const SQLITE = ['sh', ['-c', `
if command -v sqlite3 >/dev/null; then sqlite3 "$1" ".backup '$2'"
else python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))' "$1" "$2"
fi`, 'sh']];

/** The ways to copy a pool's ledger to `to`. */
const COPIES = {
  'hstratum ledger backup': ({payer}, to) =>
    payer.tool('ledger', 'backup', '--ledger', payer.ledger, '--to', to),
  'SQLite\'s .backup': ({payer}, to) =>
    execute(SQLITE[0], [...SQLITE[1], payer.ledger, to]),
  'a cold copy after a kill': async ({pool, payer, load}, to) => {
    await load.stop();
    await pool.kill();
    for (const part of ['', '-wal'])
      fs.copyFileSync(payer.ledger + part, to + part);
    await pool.spawn();
    await pool.ready();
  },
  'a cold copy after a stop': async ({pool, payer, load}, to) => {
    await load.stop();
    await pool.signal('SIGTERM');
    // A stop leaves no log, unless somebody else reads the file meanwhile.
    for (const part of ['', '-wal']) {
      if (fs.existsSync(payer.ledger + part))
        fs.copyFileSync(payer.ledger + part, to + part);
    }
    await pool.spawn();
    await pool.ready();
  }
};

/** A miner that sends shares, none of them a block, until it is stopped. */

class Load {
  constructor(miner, user) {
    this.miner = miner;
    this.user = user;
    this.acknowledged = 0;
    this.stopped = false;
    this.running = this.run();
  }

  static async start(t, node, user) {
    return new this(await Miner.start(t, node, user), user);
  }

  async run() {
    while (!this.stopped) {
      const id = this.miner.send('mining.submit',
        [this.user, ...this.miner.miss().params]);
      const {error} = await this.miner.reply(id);

      if (error === null)
        this.acknowledged += 1;
    }
  }

  async until(count) {
    await this.miner.waitFor(`${count} shares`,
      () => this.acknowledged >= count);
  }

  async stop() {
    this.stopped = true;
    await this.running;
  }
}

async function startPool(t, database = null) {
  const args = database
    ? [...ARGS, `--stratum-database=${database.url}`] : ARGS;
  const pool = await startNode(t, {wallet: true, address: null, args});
  const wallets = new Wallets(pool);
  const alice = await wallets.create('alice');
  const payer = await Payer.start(t, pool, TERMS, database && database.url);

  return {pool, wallets, alice, payer};
}

async function mine(t, {pool, alice}, count) {
  const miner = await Miner.start(t, pool, alice);

  for (let i = 0; i < count; i++) {
    const tip = await pool.tip();

    await miner.waitJob(job => job.prevBlock.toString('hex') === tip);

    const {error, hash} = await miner.submit(alice);

    assert.strictEqual(error, null);
    await pool.waitTip(hash);
  }
}

async function check({payer}) {
  // A note says that TERMS are not the server's.
  assert.match(await payer.tool('ledger', 'check', '--ledger', payer.ledger),
    /^(note: .* by other terms .*\n)?all is well\n$/);
}

/** Check that all amounts due are paid once and arrive. */

async function pay(t, world) {
  const {pool, wallets, payer} = world;

  await mine(t, world, 3);
  await pool.waitFor('a block that can be spent', async () => {
    const {blocks, held} = await payer.plan();
    return blocks.length > 0 && held.every(one => one.height > 1);
  });

  const had = await wallets.confirmed('alice');
  const sent = await payer.send();

  assert.strictEqual(sent.code, 0, sent.err);

  const paid = sent.out.steps.find(({step}) => step === 'sent');

  assert.ok(paid, JSON.stringify(sent.out));
  // The next block may have been under way before the payment was known.
  await pool.waitFor('the payment in a block', async () => {
    await mine(t, world, 1);

    const last = await payer.send();

    assert.strictEqual(last.code, 0, last.err);
    return last.out.steps.some(({step}) => step === 'confirmed');
  });
  await pool.waitFor('the payment', async () => {
    return await wallets.confirmed('alice') > had;
  });
  await check(world);
}

async function isWell({pool}) {
  await pool.waitFor('a page that says that all is well', async () => {
    const res = await fetch(
      `http://127.0.0.1:${pool.ports.dashboard}/healthz`);
    return res.status === 200;
  });
  assert.strictEqual(pool.count(/cannot be written|its log is gone/), 0);
}

for (const [name, copy] of Object.entries(COPIES)) {
  test(`a ledger that is put back from ${name} goes on`, async (t) => {
    const world = await startPool(t);
    const {pool, alice, payer} = world;
    const dir = tempDir(t);
    const to = path.join(dir, 'copy.db');

    await mine(t, world, 2);

    // All of it is work of the round that begins now.
    const load = await Load.start(t, pool, alice);

    await load.until(50);

    const before = load.acknowledged;

    await copy({...world, load}, to);

    // A block and shares that are missing in the copy.
    await mine(t, world, 1);
    await load.stop();

    const shares = path.join(pool.stratumDir, 'shares');
    const lost = await pool.waitFor('the share dump',
      () => fs.readdirSync(shares).find(one => one.startsWith('3-')));

    await pool.signal('SIGTERM');

    for (const part of PARTS) {
      if (fs.existsSync(payer.ledger + part))
        fs.renameSync(payer.ledger + part, path.join(dir, `damaged.db${part}`));
    }
    for (const part of PARTS) {
      if (fs.existsSync(to + part))
        fs.copyFileSync(to + part, payer.ledger + part);
    }

    await pool.spawn();
    await pool.ready();
    await isWell(world);
    await check(world);

    const {open_round: open} = await payer.tool('ledger', 'report', '--ledger',
      payer.ledger, '--json');

    assert.ok(open.shares >= before, `${open.shares} of ${before}`);

    // Its block is taken in as paid; otherwise part of its work would count
    // twice.
    const take = (...args) => payer.tool('ledger', 'import', '--ledger',
      payer.ledger, ...args, path.join(shares, lost));

    await assert.rejects(take(), error => error.stderr.includes(lost)
      || error.stdout.includes(lost));
    await take('--paid');
    await mine(t, world, 1);
    await pay(t, world);
  });
}

test('a copy beside the old log stops the start until that is moved away',
  async (t) => {
    const world = await startPool(t);
    const {pool, alice, payer} = world;
    const dir = tempDir(t);
    const to = path.join(dir, 'copy.db');

    await mine(t, world, 2);
    await COPIES['hstratum ledger backup'](world, to);

    const load = await Load.start(t, pool, alice);

    await load.until(50);
    await load.stop();
    await pool.kill();
    fs.copyFileSync(to, payer.ledger);
    await pool.spawn();
    assert.strictEqual((await pool.exited).code, 1, pool.tail());
    assert.match(pool.tail(), /ledger\.db-wal beside it is of another file/);
    assert.strictEqual(pool.count(/listening on .*stratum/), 0);
    assert.deepStrictEqual(fs.readFileSync(payer.ledger), fs.readFileSync(to));
    await assert.rejects(payer.tool('ledger', 'check', '--ledger',
      payer.ledger), /of another file/);

    for (const part of ['-wal', '-shm'])
      fs.renameSync(payer.ledger + part, path.join(dir, `old.db${part}`));

    await pool.spawn();
    await pool.ready();
    await check(world);
    await pay(t, world);
  });

test('a database that is put back while servers run goes on', async (t) => {
  const database = await Postgres.start(t);
  const world = await startPool(t, database);
  const {pool, alice} = world;
  const to = path.join(tempDir(t), 'pool.dump');
  const at = ['-h', '127.0.0.1', '-p', String(database.port), '-U', 'pool'];

  await mine(t, world, 2);

  const load = await Load.start(t, pool, alice);

  await load.until(50);
  await pool.waitFor('a block in the database',
    async () => await database.ask('SELECT count(*) FROM blocks') === '2');
  await execute(program('pg_dump'), [...at, '-Fc', '-f', to, 'pool']);
  await mine(t, world, 1);
  await pool.waitFor('the third block in the database',
    async () => await database.ask('SELECT count(*) FROM blocks') === '3');

  // A server may hold a lock for a moment.
  await pool.waitFor('the copy to be put back', async () => {
    await execute(program('pg_restore'), [...at, '--clean', '--if-exists',
      '--single-transaction', '-d', 'pool', to]);
    return true;
  });
  await load.stop();

  // The server ships again what is missing in the copy.
  await pool.waitFor('the third block once more',
    async () => await database.ask('SELECT count(*) FROM blocks') === '3');
  await pool.waitFor('all shares', async () => {
    const sum = await database.ask('SELECT sum(count) FROM credit');
    return Number(sum) >= load.acknowledged + 3;
  });
  await isWell(world);
  await check(world);
  assert.strictEqual(Number(await database.ask(
    'SELECT sum(count) FROM credit')), load.acknowledged + 3);
  await pay(t, world);
});
