'use strict';

/*
 * Miners that count their shares, and every place that shows a number: all are
 * equal, and equal to the count.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {Payer} = require('./payer');
const {Postgres} = require('./postgres');
const {SECRET, startProxy} = require('./proxy');

/** Every hash is a share; half of all are a block. */
const DIFFICULTY = 2 ** -32;
const EASY = [`--stratum-difficulty=${DIFFICULTY}`,
  `--stratum-difficulty-min=${DIFFICULTY}`, '--stratum-dynamic=false'];

/** Only a block is a share. */
const HARD = 'x,fd=1';

/**
 * Statistics are recorded every ten seconds, shipped, and read now and then.
 */
const SHOWN_MS = 45000;

/** Pause between two comparisons of everything. */
const PAUSE_MS = 1000;

/** Tolerance of a time, in seconds. */
const CLOCK_S = 4;

const NOTHING = {accepted: 0, stale: 0, low: 0, duplicate: 0};

/** The shares that miners sent to servers, as they count them themselves. */

class Count {
  constructor() {
    this.workers = new Map();   // name → {shares, work, first, sent, last}
    this.servers = new Map();   // node → shares
    this.miners = new Map();    // miner → shares
    this.work = new Map();      // node → work
    this.round = new Map();     // account → work since the last block
    this.blocks = [];           // {node, height, hash, account}
  }

  of(user) {
    if (!this.workers.has(user)) {
      this.workers.set(user,
        {shares: {...NOTHING}, work: 0, first: 0, sent: 0, last: 0});
    }
    return this.workers.get(user);
  }

  /** Add a share sent at `sent`, in seconds, that was answered now. */

  add(miner, user, outcome, sent) {
    const one = this.of(user);
    const {node} = miner;

    one.shares[outcome]++;

    if (!this.servers.has(node))
      this.servers.set(node, {...NOTHING});

    this.servers.get(node)[outcome]++;

    if (!this.miners.has(miner))
      this.miners.set(miner, {...NOTHING});

    this.miners.get(miner)[outcome]++;

    if (outcome === 'accepted') {
      one.sent = sent;
      one.last = now();
      one.first = one.first || one.last;
      one.work += miner.difficulty;
      this.work.set(node, (this.work.get(node) || 0) + miner.difficulty);

      const [account] = user.split('.');

      this.round.set(account,
        (this.round.get(account) || 0) + miner.difficulty);
    }
  }

  names(account) {
    return [...this.workers.keys()].filter((name) => {
      return account === undefined || name.split('.')[0] === account;
    }).sort();
  }

  sum(names) {
    const sum = {...NOTHING};
    for (const name of names) {
      for (const [outcome, count] of Object.entries(this.of(name).shares))
        sum[outcome] += count;
    }
    return sum;
  }

  /** The sum of the open connections to a server. */

  on(node, user) {
    const sum = {...NOTHING};
    for (const [miner, sent] of this.miners) {
      if (miner.node === node && miner.user === user && !miner.closed) {
        for (const outcome of Object.keys(sum))
          sum[outcome] += sent[outcome];
      }
    }
    return sum;
  }

  /** Submit a share that is no block. */

  async submit(miner, user, outcome, share = miner.miss()) {
    const sent = now();
    const {error} = await miner.submit(user, share);
    const expected = {accepted: null, stale: 21, low: 23, duplicate: 22};
    assert.strictEqual(error && error[0], expected[outcome], outcome);
    this.add(miner, user, outcome, sent);
    return share;
  }

  async block(miner, user) {
    const tip = await miner.node.tip();
    await miner.waitJob(job => job.prevBlock.toString('hex') === tip);

    const height = await miner.node.height() + 1;
    const sent = now();
    const {error, hash} = await miner.submit(user);

    assert.strictEqual(error, null);
    this.add(miner, user, 'accepted', sent);
    this.blocks.push({node: miner.node, round: new Map(this.round), height, hash,
      account: user.split('.')[0]});
    this.round.clear();
    await miner.node.waitTip(hash);
    await miner.waitJob(job => job.prevBlock.toString('hex') === hash);
  }
}

function rejectRate({accepted, stale, low, duplicate}) {
  const refused = stale + low + duplicate;
  const all = refused + accepted;
  return all ? refused / all : null;
}

async function get(node, where) {
  const url = `http://127.0.0.1:${node.ports.dashboard}${where}`;
  const res = await fetch(url, {headers: {Connection: 'close'}});
  const text = await res.text();

  assert.strictEqual(res.status, 200, `${where}: ${text}`);
  return where === '/metrics' ? text : JSON.parse(text);
}

function now() {
  return Date.now() / 1000;
}

/**
 * Check the time of the last share, which came to be between its sending and
 * its answer. A commit may take long where the disk is busy.
 */

function isTimely(shown, {sent, last}, what) {
  if (!last) {
    assert.strictEqual(shown, null, what);
    return;
  }

  assert.ok(shown !== null && shown >= sent - CLOCK_S && shown <= last + CLOCK_S,
    `${what}: last share ${shown}, sent ${sent}, answered ${last}`);
}

/** Compare two readings of a value that fades within minutes. */

function isClose(a, b) {
  return a === b || Math.abs(a / b - 1) < 0.1;
}

function sumOf(points) {
  const sum = {...NOTHING};
  for (const point of points) {
    for (const outcome of Object.keys(sum))
      sum[outcome] += point[outcome];
  }
  return sum;
}

/** Check all numbers of the whole pool: the same on every server. */

async function checkPool(node, count, online, payer) {
  const {workers} = await get(node, '/api/v1/workers?limit=500');
  const names = count.names();
  const shown = new Map(workers.map((row) => {
    return [row.worker ? `${row.account}.${row.worker}` : row.account, row];
  }));

  assert.deepStrictEqual([...shown.keys()].sort(), names);

  for (const name of names) {
    const {shares} = count.of(name);
    const row = shown.get(name);
    assert.deepStrictEqual(row.shares, shares, name);
    assert.strictEqual(row.reject_rate, rejectRate(shares), name);
    isTimely(row.last_share_at, count.of(name), name);
  }

  const isOnline = workers.filter(row => row.servers.length > 0);

  assert.deepStrictEqual(isOnline.map(row => `${row.account}.${row.worker}`)
    .sort(), [...online].sort());

  const accounts = [...new Set(names.map(name => name.split('.')[0]))];
  const list = await get(node, '/api/v1/accounts?limit=500');

  assert.deepStrictEqual(list.accounts.map(row => row.name).sort(),
    accounts.sort());

  for (const row of list.accounts) {
    const {name} = row;
    const own = count.names(name);
    const sum = count.sum(own);
    const one = await get(node, `/api/v1/accounts/${name}`);
    const history = await get(node, `/api/v1/accounts/${name}/history`);

    for (const place of [row, one]) {
      assert.strictEqual(place.reject_rate, rejectRate(sum), name);
      assert.strictEqual(place.workers, own.length, name);
      assert.strictEqual(place.workers_online,
        own.filter(worker => online.includes(worker)).length, name);
      isTimely(place.last_share_at, own.map(worker => count.of(worker))
        .reduce((one, two) => one.last > two.last ? one : two), name);
    }

    assert.strictEqual(one.blocks,
      count.blocks.filter(block => block.account === name).length);
    assert.deepStrictEqual(sumOf(history.points), sum, `history of ${name}`);

    for (const worker of own) {
      const {points} = await get(node,
        `/api/v1/accounts/${name}/history?worker=${worker.split('.')[1]}`);
      assert.deepStrictEqual(sumOf(points), count.of(worker).shares, worker);
    }
  }

  const {points} = await get(node, '/api/v1/pool/history');

  assert.deepStrictEqual(sumOf(points), count.sum(names), 'the pool\'s chart');

  const pool = await get(node, '/api/v1/pool');

  assert.strictEqual(pool.workers, online.length);
  assert.strictEqual(pool.connections,
    [...count.miners.keys()].filter(miner => !miner.closed).length);
  assert.strictEqual(pool.accounts,
    new Set(online.map(name => name.split('.')[0])).size);

  const round = await get(node, '/api/v1/round');
  const work = [...count.round.values()].reduce((sum, one) => sum + one, 0);

  assert.strictEqual(round.work, work);
  assert.deepStrictEqual(new Map(round.accounts.map((row) => {
    return [row.account, row.work];
  })), count.round);

  for (const [name, own] of count.round) {
    const one = await get(node, `/api/v1/accounts/${name}`);
    assert.deepStrictEqual([one.round_work, one.round_share], [own, own / work]);
  }

  const info = await node.rpc('getstratuminfo');

  assert.strictEqual(info.round.work, work);

  const {blocks} = await get(node, '/api/v1/blocks?limit=500');

  assert.deepStrictEqual(blocks.map(block => block.hash).sort(),
    count.blocks.map(block => block.hash).sort());

  const report = await payer.tool('ledger', 'report', '--json', '--ledger',
    payer.ledger);

  // A worker that never had a share accepted is not in the ledger.
  const kept = names.filter(name => count.of(name).shares.accepted > 0);

  assert.deepStrictEqual(report.workers.map((row) => {
    return [`${row.account}.${row.worker}`, pick(row)];
  }).sort(), kept.map(name => [name, count.of(name).shares]));
  assert.strictEqual(report.blocks.length, count.blocks.length);
  assert.strictEqual(report.open_round.work, work);

  return shown;
}

function pick({accepted, stale, low, duplicate}) {
  return {accepted, stale, low, duplicate};
}

/** Check the numbers of one server alone. */

async function checkServer(node, count, miners) {
  const sent = count.servers.get(node) || NOTHING;
  const {shares, hashrate, servers} = await get(node, '/api/v1/pool');
  const metrics = await get(node, '/metrics');
  const info = await node.rpc('getstratuminfo');

  const metric = (name) => {
    const line = metrics.split('\n').find(line => line.startsWith(`${name} `));
    return Number(line.split(' ').pop());
  };

  const outcome = name => metric(`hstratum_shares_total{outcome="${name}"}`);
  const own = miners.filter(miner => miner.node === node && !miner.closed);
  const users = [...new Set(own.map(miner => miner.user))].sort();

  assert.deepStrictEqual(pick(shares), sent);
  assert.deepStrictEqual(Object.fromEntries(Object.keys(sent).map((outcome) => {
    return [outcome, info.shares[outcome].count];
  })), sent);
  assert.deepStrictEqual({
    accepted: outcome('accepted'),
    stale: outcome('stale') + outcome('unknown_job'),
    low: outcome('above_target'),
    duplicate: outcome('duplicate')
  }, sent);

  const hashes = (count.work.get(node) || 0) * 2 ** 32;

  const block = count.blocks.filter(block => block.node === node).pop();

  assert.strictEqual(info.lastblock && info.lastblock.hash,
    block ? block.hash : null);

  for (const rate of servers === 1 ? [hashrate, info.hashrate] : [info.hashrate])
    assert.ok(isClose(metric('hstratum_hashrate'), rate), `${rate}`);

  // Powers of two: the sums are exact.
  assert.strictEqual(metric('hstratum_hashes_total'), hashes);
  assert.strictEqual(info.shares.accepted.difficulty * 2 ** 32, hashes);
  assert.strictEqual(metric('hstratum_blocks_found_total'),
    count.blocks.filter(block => block.node === node).length);
  assert.strictEqual(metric('hstratum_workers'), users.length);
  assert.strictEqual(metric('hstratum_connections'), own.length);
  assert.strictEqual(info.workers, users.length);
  assert.strictEqual(info.connections, own.length);

  const {workers, total} = await node.rpc('listworkers');

  assert.strictEqual(total, users.length);
  assert.deepStrictEqual(workers.map(one => `${one.account}.${one.worker}`)
    .sort(), users);
  assert.strictEqual(workers.reduce((sum, one) => sum + one.connections, 0),
    own.length);

  for (const one of workers) {
    const user = `${one.account}.${one.worker}`;
    assert.deepStrictEqual(pick(one), count.on(node, user), user);
  }

}

/** Rows of the page: [name, title of rejects, rejects] of each worker. */

async function readPage(page) {
  return page.locator('#workers tbody tr').evaluateAll(rows => rows.map((row) => {
    const cells = [...row.children];
    const rejects = row.querySelector('[title$="of the last hour"]');
    return [
      `${cells[0].textContent}.${cells[1].textContent}`,
      rejects.getAttribute('title').replace(/ of the last hour$/, ''),
      rejects.textContent
    ];
  }).sort());
}

function onPage(count) {
  return count.names().map((name) => {
    const {shares} = count.of(name);
    const {stale, low, duplicate} = shares;
    const part = rejectRate(shares);
    return [name, `${stale} stale, ${low} low, ${duplicate} duplicate`, part];
  });
}

async function checkPage(page, count, online) {
  const rows = await readPage(page);
  const expected = onPage(count);

  assert.deepStrictEqual(rows.map(([name, title]) => [name, title]),
    expected.map(([name, title]) => [name, title]));

  for (const [place, [name, , part]] of expected.entries()) {
    const text = rows[place][2];
    assert.ok(part === null ? !/\d/.test(text)
      : Math.abs(parseFloat(text) - 100 * part) < 0.6, `${name}: ${text}`);
  }

  const workers = await page.locator('.stats').first().innerText();

  assert.match(workers, new RegExp(`WORKERS\\s+${online.length}\\s`, 'i'));
}

/** Check that each share is in exactly one dump, by account. */

function checkDumps(nodes, count) {
  const sums = {};

  for (const block of count.blocks) {
    const name = `${block.height}-${block.hash}.json`;
    const files = nodes.map(node => path.join(node.stratumDir, 'shares', name));
    const file = files.find(file => fs.existsSync(file));
    assert.ok(file, `no dump ${name}`);
    const {shares} = JSON.parse(fs.readFileSync(file, 'utf8'));
    for (const [account, work] of Object.entries(shares))
      sums[account] = (sums[account] || 0) + work;
  }

  for (const account of Object.keys(sums)) {
    const own = count.names(account).map(name => count.of(name).work);
    assert.strictEqual(sums[account], own.reduce((sum, work) => sum + work),
      account);
  }
}

/** Check that each reward is divided by the counted work, to the base unit. */

async function checkPlan(node, count, payer) {
  await node.mine(4);

  const plan = await waitFor('all blocks in the plan', async () => {
    const plan = await payer.plan();
    return plan.blocks.length === count.blocks.length && plan;
  }, {node});

  for (const block of plan.blocks) {
    const {round} = count.blocks.find(one => one.hash === block.hash);
    const all = [...round.values()].reduce((sum, work) => sum + work);

    assert.strictEqual(block.credited, block.reward);
    assert.deepStrictEqual(block.credits.map(one => one.account).sort(),
      [...round.keys()].sort());

    for (const {account, amount} of block.credits) {
      const exact = block.reward * round.get(account) / all;
      assert.ok(Math.abs(amount - exact) < 1, `${account}: ${amount} ${exact}`);
    }
  }
}

async function start(t, node, user, password = 'x') {
  const miner = await Miner.start(t, node, user, password);
  miner.user = user;
  return miner;
}

/** Wait until every place agrees with the count. */

async function settle(what, nodes, check) {
  const until = Date.now() + SHOWN_MS;

  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > until) {
        error.message += `\n${what}: not so in time\n${nodes[0].tail()}`;
        throw error;
      }
    }

    await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
  }
}

async function end(miner) {
  miner.socket.destroy();
  await miner.waitClosed();
}

async function refused(count, miner, user) {
  for (let i = 0; i < 4; i++)
    await count.submit(miner, user, 'low');
}

test('one server: every place shows what miners counted', async (t) => {
  const node = await startNode(t, {args: EASY});
  const count = new Count();
  const payer = await Payer.start(t, node, ['--scheme', 'prop']);
  const rig = await start(t, node, 'alice.rig');
  const bad = await start(t, node, 'carol.bad', HARD);
  const late = await start(t, node, 'dave.late', HARD);
  const twin = await start(t, node, 'alice.rig');
  const miners = [rig, bad, late, twin];

  for (let i = 0; i < 20; i++)
    await count.submit(rig, 'alice.rig', 'accepted');

  await count.submit(rig, 'alice.rig', 'duplicate',
    await count.submit(rig, 'alice.rig', 'accepted'));
  await refused(count, bad, 'carol.bad');
  await refused(count, late, 'dave.late');
  await count.submit(twin, 'alice.rig', 'accepted');

  const old = rig.miss();
  const old2 = bad.miss();

  await count.block(rig, 'alice.rig');
  await count.submit(rig, 'alice.rig', 'stale', old);
  await count.submit(bad, 'carol.bad', 'stale', old2);

  const browser = await launch(t);
  const page = await open(browser, node);
  const online = ['alice.rig', 'carol.bad', 'dave.late'];

  await settle('the same everywhere', [node], async () => {
    await checkPool(node, count, online, payer);
    await checkServer(node, count, miners);
    await checkPage(page, count, online);
  });

  // One leaves that had nothing but refused submits; another has its first
  // share after the refused ones were recorded.
  await end(bad);
  await count.block(late, 'dave.late');
  online.splice(1, 1);

  const gone = await open(browser, node, '/account/carol');
  const found = await open(browser, node, '/account/dave');

  await settle('the same after one left', [node], async () => {
    assert.match(await gone.locator('.stats').first().innerText(),
      /ONLINE\s+0\s+of 1\s+REJECTED[^0-9]+100(\.0+)?\s/i);
    assert.match(await found.locator('.stats').first().innerText(),
      /ONLINE\s+1\s+of 1\s+REJECTED[^0-9]+80(\.0+)?\s/i);

    await checkPool(node, count, online, payer);
    await checkServer(node, count, miners);
    await checkPage(page, count, online);
    checkDumps([node], count);
  });

  await checkPlan(node, count, payer);

  for (const one of [page, gone, found])
    one.check();
});

test('two servers: every place of both shows what miners counted',
  async (t) => {
    const database = await Postgres.start(t);
    const options = name => [...EASY, `--stratum-database=${database.url}`,
      `--stratum-server-id=${name}`];
    const east = await startNode(t, {listen: true, args: options('east')});
    const west = await startNode(t, {peer: east, args: options('west')});
    const nodes = [east, west];
    const count = new Count();
    const payer = await Payer.start(t, east, ['--scheme', 'prop'], database.url);
    const rig = await start(t, east, 'alice.rig');
    const both = [
      await start(t, east, 'bob.both'), await start(t, west, 'bob.both')
    ];
    const bad = await start(t, west, 'carol.bad', HARD);
    const gone = await start(t, east, 'carol.gone', HARD);
    let mover = await start(t, east, 'alice.mover');
    const miners = [rig, ...both, bad, gone, mover];

    for (let i = 0; i < 10; i++) {
      await count.submit(rig, 'alice.rig', 'accepted');
      await count.submit(mover, 'alice.mover', 'accepted');
      await count.submit(both[i % 2], 'bob.both', 'accepted');
    }

    await refused(count, bad, 'carol.bad');
    await refused(count, gone, 'carol.gone');
    await end(gone);

    const old = both[0].miss();

    await count.block(rig, 'alice.rig');
    await west.waitTip(await east.tip());
    await count.submit(both[0], 'bob.both', 'stale', old);

    await end(mover);
    mover = await start(t, west, 'alice.mover');
    miners.push(mover);

    for (let i = 0; i < 30; i++)
      await count.submit(mover, 'alice.mover', 'accepted');

    const browser = await launch(t);
    const online = ['alice.mover', 'alice.rig', 'bob.both', 'carol.bad'];
    const pages = [await open(browser, east), await open(browser, west)];

    await settle('the same everywhere', nodes, async () => {
      const shown = [];

      for (const [place, node] of nodes.entries()) {
        shown.push(await checkPool(node, count, online, payer));
        await checkServer(node, count, miners);
        await checkPage(pages[place], count, online);
      }

      const pools = await Promise.all(
        nodes.map(node => get(node, '/api/v1/pool')));
      const own = await Promise.all(
        nodes.map(node => node.rpc('getstratuminfo')));

      assert.ok(isClose(pools[0].hashrate, pools[1].hashrate));
      assert.ok(isClose(pools[0].hashrate, own[0].hashrate + own[1].hashrate));

      // A hash a share, over the time since the first one.
      for (const name of ['alice.rig', 'alice.mover', 'bob.both']) {
        const {work, first} = count.of(name);
        const hashes = work * 2 ** 32;
        const seconds = Math.max(60, Date.now() / 1000 - first);
        const rates = shown.map(rows => rows.get(name).hashrate);
        for (const rate of rates) {
          assert.ok(Math.abs(rate * seconds / hashes - 1) < 0.25,
            `${name}: ${rates} for ${hashes} in ${seconds} s`);
        }
      }
    });

    await count.block(both[1], 'bob.both');
    await settle('the dumps', nodes, () => checkDumps(nodes, count));
    await checkPlan(east, count, payer);

    for (const page of pages)
      page.check();
  });

test('behind a proxy: every place shows what miners counted, moves included',
  async (t) => {
    const database = await Postgres.start(t);
    const options = name => [...EASY, `--stratum-database=${database.url}`,
      `--stratum-server-id=${name}`, `--stratum-proxy-secret=${SECRET}`];
    const east = await startNode(t, {listen: true, args: options('east')});
    const west = await startNode(t, {peer: east, args: options('west')});
    const nodes = [east, west];
    const proxy = await startProxy(t, nodes);
    const count = new Count();
    const payer = await Payer.start(t, east, ['--scheme', 'prop'],
      database.url);
    const users = ['alice.a', 'alice.b', 'bob.a', 'bob.b', 'bob.c', 'carol.a'];
    const miners = [];

    for (const user of users)
      miners.push(await start(t, proxy, user));

    const bad = await start(t, proxy, 'dave.bad', HARD);

    const mineAll = async () => {
      for (const miner of miners) {
        for (let i = 0; i < 5; i++)
          await count.submit(miner, miner.user, 'accepted');
      }
      await refused(count, bad, 'dave.bad');
    };

    await mineAll();

    const [left] = proxy.names;

    await proxy.ask('drain', left);
    await proxy.waitFor('all miners at the other server',
      () => proxy.spread()[0] === 0 && proxy.spread()[1] === miners.length + 1);
    await mineAll();

    const online = [...users, 'dave.bad'];

    await settle('the same on both', nodes, async () => {
      for (const node of nodes)
        await checkPool(node, count, online, payer);

      const pools = await Promise.all(
        nodes.map(node => get(node, '/api/v1/pool')));

      // Each server shows its own part.
      for (const outcome of Object.keys(NOTHING)) {
        assert.strictEqual(pools[0].shares[outcome] + pools[1].shares[outcome],
          count.sum(online)[outcome], outcome);
      }
    });
  });
