'use strict';

/*
 * One pool on several servers under faults: three real nodes with the plugin
 * and one shared ledger, `hstratum proxy` before them, a PostgreSQL primary
 * with a synchronous standby in a network of their own, and thousands of
 * miners. For some MINUTES servers are killed and stopped, the primary is
 * killed and its standby promoted, hangs, has a table locked, is restored in
 * place from a copy, and the network to it is cut, in an order that follows a
 * SEED. No miner may lose its connection, and at the end the ledger has all
 * acknowledged shares exactly, and each round was closed once.
 *
 *   node lab/servers.js
 *
 * MINUTES, MINERS, RATE and SEED change the numbers; TROUBLES is a regular
 * expression that selects the faults. Needs root.
 */

const fs = require('fs');
const os = require('os');
const path = require('path');
const {freePort, makeNode, waitFor} = require('../plugin/test/harness');
const {Proxy, SECRET} = require('../plugin/test/proxy');
const {Account, checkBlocks, checkDumps} = require('./checks');
const {Cluster} = require('./cluster');
const {DIFFICULTY, exitWith, makeRandom, pause, play, report} =
  require('./rig');
const {Network} = require('./surroundings');
const {Swarm} = require('./swarm');

const number = (name, value) => Number(process.env[name] || value);

const MINUTES = number('MINUTES', 10);
const MINERS = number('MINERS', 3000);
const RATE = number('RATE', 2000);
const SEED = number('SEED', Date.now() % 1e6);
const WANTED = new RegExp(process.env.TROUBLES || '^(?!chain lost)');

const SERVERS = 3;
const ACCOUNTS = 100;

const OVERTIME_MS = 15 * 60 * 1000;
const WELL_MS = 30000;
const SHIPPED_MS = 120000;
const QUIET_MS = 2000;

class Pool {
  constructor(dir) {
    this.dir = dir;
    this.random = makeRandom(SEED);
    this.nodes = [];
    this.cluster = null;
    this.network = null;
    this.proxy = null;
    this.swarm = null;
    this.counts = new Map();    // trouble to {times, well: longest ms}
    this.faults = [];
  }

  between(least, most) {
    return Math.round(least + this.random() * (most - least));
  }

  anyNode() {
    return this.nodes[this.between(0, SERVERS - 1)];
  }
}

async function setUp(cleanup) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-servers-'));

  // The database runs as another user.
  fs.chmodSync(dir, 0o755);
  cleanup.after(() => fs.rmSync(dir, {recursive: true, force: true}));

  const pool = new Pool(dir);

  pool.network = new Network(cleanup);
  pool.cluster = new Cluster(cleanup, path.join(dir, 'database'),
    pool.network, [await freePort(), await freePort()]);
  await pool.cluster.start();

  for (let i = 0; i < SERVERS; i++) {
    const node = makeNode(cleanup, {
      prefix: path.join(dir, `node${i}`),
      listen: i === 0,
      peer: pool.nodes[0] || null,
      args: [
        '--log-level=info',
        `--stratum-database=${pool.cluster.url}`,
        `--stratum-server-id=server-${i}`,
        `--stratum-proxy-secret=${SECRET}`,
        `--stratum-max-inbound=${MINERS + 100}`,
        `--stratum-difficulty=${DIFFICULTY}`,
        `--stratum-difficulty-min=${DIFFICULTY}`,
        '--stratum-dynamic=false'
      ]
    });

    await node.spawn();
    await node.ready();
    pool.nodes.push(node);
  }

  pool.proxy = new Proxy(dir, pool.nodes, [`--max-inbound=${MINERS}`]);
  cleanup.after(() => pool.proxy.child.kill('SIGKILL'));
  await pool.proxy.start();

  pool.swarm = new Swarm(pool.proxy, path.join(dir, 'journal'), [
    `--connections=${MINERS}`, `--rate=${RATE}`, `--accounts=${ACCOUNTS}`,
    '--blocks=2'
  ]);
  cleanup.after(() => pool.swarm.child.kill('SIGKILL'));
  await pool.swarm.waitFor('the miners', ({working}) => working === MINERS,
    60000);
  return pool;
}

async function revive(node) {
  await node.spawn();
  await node.ready();
}

const TROUBLES = {
  'server killed': async (pool) => {
    const node = pool.anyNode();
    await node.kill();
    await pause(pool.between(0, 5000));
    await revive(node);
  },

  'server stopped in order': async (pool) => {
    const node = pool.anyNode();
    const {code} = await node.signal('SIGTERM');
    if (code !== 0)
      pool.faults.push(`SIGTERM: exit ${code}`);
    await revive(node);
  },

  'primary killed, standby promoted': async (pool) => {
    await pool.cluster.failOver();
    await pause(pool.between(1000, 5000));
    await pool.cluster.addStandby();
  },

  'primary killed and back': async ({cluster}) => {
    await cluster.primary.kill();
    await cluster.primary.start();
  },

  'connections cut': async (pool) => {
    for (let times = pool.between(1, 3); times > 0; times--) {
      await pool.cluster.primary.cut();
      await pause(pool.between(0, 3000));
    }
  },

  'table locked': async (pool) => {
    const tables = ['batches', 'blocks', 'credit', 'origins', 'accounts'];
    const table = tables[pool.between(0, tables.length - 1)];
    // Sometimes longer than a statement may take.
    await pool.cluster.primary.lock(table, pool.between(1000, 36000));
  },

  'database put back in place': async (pool) => {
    await pool.cluster.primary.restoreInPlace(
      () => pause(pool.between(0, 5000)));
  },

  'database hangs': async (pool) => {
    const {primary} = pool.cluster;
    primary.hang('SIGSTOP');
    await pause(pool.between(1000, 20000));
    primary.hang('SIGCONT');
  },

  // Only when TROUBLES names it.
  'chain lost': async (pool) => {
    const node = pool.nodes[pool.between(1, SERVERS - 1)];
    const chain = path.join(node.prefix, 'regtest');
    await node.signal('SIGTERM');
    for (const name of ['blocks', 'chain', 'tree'])
      fs.rmSync(path.join(chain, name), {recursive: true, force: true});
    await revive(node);
  },

  'database unplugged': async (pool) => {
    pool.network.unplug();
    await pause(pool.between(1000, 20000));
    pool.network.plug();
  },

  'database in a black hole': async (pool) => {
    pool.network.blackhole();
    await pause(pool.between(1000, 20000));
    pool.network.unblackhole();
  },

  'server killed while the database is away': async (pool) => {
    const node = pool.anyNode();
    pool.network.unplug();
    await pause(pool.between(500, 3000));
    await node.kill();
    await revive(node);
    pool.network.plug();
  }
};

/** Apply faults for the minutes, each about as often as each other. */

async function goThrough(pool) {
  const end = Date.now() + MINUTES * 60000;
  let names = [];

  while (Date.now() < end) {
    if (names.length === 0)
      names = Object.keys(TROUBLES).filter(name => WANTED.test(name));

    const [name] = names.splice(pool.between(0, names.length - 1), 1);

    await TROUBLES[name](pool);

    const well = await pool.swarm.waitWell(MINERS, WELL_MS);
    const count = pool.counts.get(name) || {times: 0, well: 0};

    pool.counts.set(name,
      {times: count.times + 1, well: Math.max(count.well, well)});
    console.log(`${name}: all well after ${well} ms`);
    await pause(pool.between(0, QUIET_MS));
  }
}

/** Read the shared ledger in the form that the checks of a file take. */

async function readShared({cluster: {primary}}) {
  const credit = await primary.ask(
    'SELECT height, name, difficulty, sum(count) FROM credit'
    + ' JOIN accounts ON accounts.id = account GROUP BY 1, 2, 3');
  const blocks = await primary.ask(
    'SELECT hash, height, state, reason, closed_at, round_from, dumped_at,'
    + ' label FROM blocks JOIN origins ON origins.id = blocks.origin'
    + ' ORDER BY height, hash');
  const orNull = text => text === '' ? null : Number(text);

  return {
    integrity: 'ok',
    broken: 0,
    credit: credit.map(([height, account, difficulty, count]) => {
      return {height: Number(height), account, difficulty: Number(difficulty),
        count: Number(count)};
    }),
    blocks: blocks.map((row) => {
      const [hash, height, state, reason, closed, from, dumped, label] = row;
      return {hash, height: Number(height), state, reason,
        closedAt: orNull(closed), roundFrom: orNull(from),
        dumpedAt: orNull(dumped), label};
    })
  };
}

/** Wait until all servers have shipped all data and every block is final. */

function waitShipped(pool, acknowledged) {
  return waitFor('everything in the shared ledger', async () => {
    const {credit, blocks} = await readShared(pool);
    const count = credit.reduce((sum, row) => sum + row.count, 0);
    const open = blocks.filter((block) => {
      return block.state === 'found'
        || (block.closedAt != null && block.dumpedAt == null);
    });

    // The error contains the missing part.
    if (count < acknowledged || open.length > 0) {
      throw new Error(`${count} of ${acknowledged} shares, and of the blocks `
        + `${JSON.stringify(open.slice(0, 3))}`);
    }

    return true;
  }, {ms: SHIPPED_MS});
}

/** Check that each server has the dumps of its own blocks, and no others. */

function checkAllDumps(pool, ledger) {
  const faults = [];
  let files = 0;

  pool.nodes.forEach((node, i) => {
    const own = {...ledger,
      blocks: ledger.blocks.filter(({label}) => label === `server-${i}`)};
    const dumps = checkDumps(own, node.stratumDir);

    faults.push(...dumps.faults.map(fault => `server-${i}: ${fault}`));
    files += dumps.files;
  });

  return {faults, files};
}

async function main(cleanup) {
  const pool = await setUp(cleanup);

  await goThrough(pool);

  const {reset} = pool.proxy.status();
  const summary = await pool.swarm.stop();
  const acknowledged = summary.acknowledged
    .reduce((sum, [, count]) => sum + count, 0);

  await waitShipped(pool, acknowledged);

  // A job is lost with its server: no other has the transactions of its block.
  const gone = [...pool.swarm.found]
    .filter(([, {refused}]) => /job not found/.test(refused))
    .map(([hash]) => hash);
  const blocks = await checkBlocks(pool.swarm, await readShared(pool),
    pool.nodes[0], new Set(), new Set(gone));

  for (const node of pool.nodes)
    await node.signal('SIGTERM');

  const ledger = await readShared(pool);
  const dumps = checkAllDumps(pool, ledger);
  const account = new Account();
  // A share in flight to a lost server is refused and may be recorded.
  const moved = summary.refusals['21 job not found'] || 0;
  const shares = account.check(pool.swarm, ledger).filter((fault) => {
    return !/were never sent|refused shares are there/.test(fault);
  });
  const beyond = account.inLedger - account.acknowledged - account.inFlight;
  const faults = [...pool.faults, ...shares, ...blocks.faults, ...dumps.faults];

  if (beyond > moved)
    faults.push(`${beyond} shares are in the ledger beyond what was sent`);
  if (summary.losses > 0 || reset > 0)
    faults.push(`${summary.losses} miner connections were dropped`);

  return report([
    ['seed, minutes', `${SEED}, ${MINUTES}`],
    ['servers, miners, shares a second', `${SERVERS}, ${MINERS}, ${RATE}`],
    ...[...pool.counts].sort().map(([name, {times, well}]) => {
      return [name, `${times} times, all well after at most ${well} ms`];
    }),
    ['shares acknowledged', account.acknowledged],
    ['shares in the shared ledger', account.inLedger],
    ['shares in flight at the end of a connection', account.inFlight],
    ['shares refused', Object.entries(summary.refusals)
      .map(([text, count]) => `${count} × ${text}`).join(', ') || 0],
    ['miner connections dropped', summary.losses],
    ['reply p50 / p99 / max', ['p50', 'p99', 'max']
      .map(key => `${summary.latency_ms[key].toFixed(1)} ms`).join(' / ')],
    ['blocks found, recorded, on the chain',
      `${pool.swarm.found.size}, ${blocks.recorded}, ${blocks.onChain}`],
    ['rounds closed, dumps', `${ledger.blocks
      .filter(block => block.closedAt != null).length}, ${dumps.files}`]
  ], faults);
}

exitWith(play(MINUTES * 60000 + OVERTIME_MS, main));
