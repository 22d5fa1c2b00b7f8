'use strict';

/*
 * The effect of a server's end on miners behind a proxy: three real nodes,
 * `hstratum proxy`, and many miners that submit all the time.
 *
 *   node lab/proxy.js
 *
 * MINERS and RATE change the numbers, PARTS=failover,cost and
 * TROUBLES=kill,stop,drain,restart,takeover the selection. A proxy needs two
 * descriptors a miner.
 */

const assert = require('assert');
const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {median} = require('../bench/numbers');
const {makeNode} = require('../plugin/test/harness');
const {Proxy, SECRET} = require('../plugin/test/proxy');
const {Account} = require('./checks');
const {readLedger} = require('./ledger');
const {DIFFICULTY, exitWith, pause, play, report} = require('./rig');
const {Swarm} = require('./swarm');

const number = (name, value) => Number(process.env[name] || value);

const MINERS = number('MINERS', 1000);
const RATE = number('RATE', 2000);

const DEADLINE_MS = 15 * 60 * 1000;
const PARTS = (process.env.PARTS || 'failover,cost').split(',');

const COST_S = 10;
const ROUNDS = 5;
const QUIET_MS = 3000;
const HANG_MS = 5000;
/** Moves that are not urgent are spread over five seconds. */
const SPREAD_MS = 60000;

const PASSWORD = `x,fd=${DIFFICULTY}`;

async function startNodes(cleanup, dir) {
  const nodes = [];

  for (let i = 0; i < 3; i++) {
    const node = makeNode(cleanup, {
      prefix: path.join(dir, `node${i}`),
      listen: i === 0,
      peer: nodes[0] || null,
      args: ['--log-level=info', `--stratum-proxy-secret=${SECRET}`,
        `--stratum-difficulty-min=${DIFFICULTY}`,
        `--stratum-max-inbound=${MINERS + 100}`]
    });

    await node.spawn();
    await node.ready();
    nodes.push(node);
  }

  return nodes;
}

function swarmAt(cleanup, target, dir, name, args) {
  const swarm = new Swarm(target, path.join(dir, name), [
    `--connections=${MINERS}`, `--rate=${RATE}`, '--accounts=20',
    `--password=${PASSWORD}`, ...args
  ]);

  cleanup.after(() => swarm.child.kill('SIGKILL'));
  return swarm;
}

/** Processor seconds and resident bytes of a process. */

function usage(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
    resident: Number(fields[21]) * 4096
  };
}

/** Pin all threads of a process to one core. */

function pin(pid, core) {
  execFileSync('taskset', ['-acp', String(core % os.cpus().length),
    String(pid)], {stdio: 'ignore'});
}

/** Run a load for a while; gives the cost of a share. */

async function load(cleanup, target, dir, name, {node, proxy}) {
  const swarm = swarmAt(cleanup, target, dir, name, [`--seconds=${COST_S}`]);

  pin(swarm.child.pid, 1);
  await swarm.waitFor('the miners', ({working}) => working === MINERS, 60000);

  const {resident} = usage(proxy.child.pid);
  const pids = [node.child.pid, proxy.child.pid];
  const before = pids.map(pid => usage(pid).cpu);
  const {acknowledged} = swarm.read();
  await pause(COST_S * 600);
  const after = pids.map(pid => usage(pid).cpu);
  const shares = swarm.read().acknowledged - acknowledged;
  assert.ok(shares > 0, `${name}: no share was accepted`);

  await swarm.exited;
  swarm.read();

  const lines = swarm.output.trim().split('\n').map(line => JSON.parse(line));
  const {latency_ms: {p50, p99}} = lines.find(line => line.kind === 'summary');
  const [nodeCost, proxyCost] = pids.map((pid, at) => {
    return 1e6 * (after[at] - before[at]) / shares;
  });

  return {p50, p99, nodeCost, proxyCost, resident};
}

/**
 * Cost of the proxy: the same load to one server, directly and through a
 * proxy, in turn. Server and proxy share a core, the miners have the other.
 */

async function cost(cleanup, node, dir) {
  const proxy = new Proxy(dir, [node], [`--max-inbound=${MINERS}`]);
  cleanup.after(() => proxy.child.kill('SIGKILL'));
  await proxy.start();
  pin(node.child.pid, 0);
  pin(proxy.child.pid, 0);

  const {resident: empty} = usage(proxy.child.pid);
  const runs = {direct: [], proxied: []};

  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, target] of [['direct', node], ['proxied', proxy]]) {
      const run = await load(cleanup, target, dir, `cost-${name}-${round}`,
        {node, proxy});
      runs[name].push(run);
    }
  }

  const of = (name, key) => median(runs[name].map(run => run[key]));
  const row = (what, key, unit) => [`${what}: direct, by the proxy`,
    `${of('direct', key).toFixed(2)}, ${of('proxied', key).toFixed(2)} ${unit}`];
  const memory = (runs.proxied[0].resident - empty) / MINERS / 1024;

  return [
    row('reply p50', 'p50', 'ms'),
    row('reply p99', 'p99', 'ms'),
    row('processor time of the node a share', 'nodeCost', 'µs'),
    ['processor time of the proxy a share',
      `${of('proxied', 'proxyCost').toFixed(2)} µs`],
    ['memory of the proxy a miner', `${memory.toFixed(1)} KiB`]
  ];
}

/** Shares refused so far because their job was another server's. */

function refused(proxy) {
  const {shares, moves} = proxy.status();
  return {
    pid: proxy.child.pid,
    moved: moves.server_lost + moves.server_left,
    stale: shares.refused_stale,
    inFlight: shares.refused_in_flight
  };
}

/** Do something to a server and report its effect on miners. */

async function trouble(name, {proxy, swarm}, act, settled) {
  const from = proxy.lines.length;
  const before = refused(proxy);

  await act();
  await proxy.waitFor(`the end of "${name}"`, settled, SPREAD_MS);
  await pause(QUIET_MS);
  await swarm.waitWell(MINERS, 20000);

  const after = refused(proxy);
  // A new process counts from zero.
  const since = name => after[name] - (after.pid === before.pid ? before[name] : 0);
  const lines = proxy.lines.slice(from)
    .filter(line => /moved \d+ miners?, without a job/.test(line))
    .map(line => line.replace(/^.* moved \d+ miners?, without a job for /, ''));

  return [name, `${since('moved')} moves, jobless ${lines.join('; ') || 'none'}`
    + `; refused: ${since('stale')} stale, ${since('inFlight')} in flight`];
}

async function failover(cleanup, nodes, proxy, dir) {
  const swarm = swarmAt(cleanup, proxy, dir, 'journal', []);
  const it = {proxy, swarm};
  const rows = [];
  const isOn = place => proxy.spread()[place] > 0;
  const isEven = () => proxy.spread().every(miners => miners > MINERS / 4);
  const isBack = () => isEven() && proxy.status().servers
    .every(server => server.state === 'up');
  const run = async (name, act, settled) => {
    rows.push(await trouble(name, it, act, settled));
  };

  const troubles = {
    kill: async () => {
      await run('kill -9 of a server', () => nodes[1].kill(), () => !isOn(1));
      await run('its return', () => restart(nodes[1]), isBack);
    },
    stop: async () => {
      await run('SIGSTOP of a server', () => nodes[2].child.kill('SIGSTOP'),
        () => !isOn(2));
      await pause(HANG_MS);
      await run('its SIGCONT', () => nodes[2].child.kill('SIGCONT'), isBack);
    },
    drain: async () => {
      await run('drain of a server', () => proxy.ask('drain', proxy.names[0]),
        () => !isOn(0));
      await run('its return', () => proxy.ask('fill', proxy.names[0]), isBack);
    },
    restart: async () => {
      for (const [place, node] of nodes.entries()) {
        await run(`SIGTERM of server ${place + 1}`,
          () => node.signal('SIGTERM'), () => !isOn(place));
        await run('its return', () => restart(node), isBack);
      }
    },
    takeover: () => {
      return run('a new proxy takes over', () => proxy.takeOver(), isBack);
    }
  };

  await swarm.waitFor('the miners', ({working}) => working === MINERS, 60000);

  for (const [name, play] of Object.entries(troubles)) {
    if (!process.env.TROUBLES || process.env.TROUBLES.split(',').includes(name))
      await play();
  }

  const {extranonces_changed: changed, reset} = proxy.status();
  const summary = await swarm.stop();

  rows.push(['miner connections dropped', summary.losses]);
  rows.push(['extranonces changed, miners reset', `${changed}, ${reset}`]);
  rows.push(['reply p50 / p99 / max of the whole', ['p50', 'p99', 'max']
    .map(key => `${summary.latency_ms[key].toFixed(1)} ms`).join(' / ')]);
  return {swarm, summary, rows};
}

async function restart(node) {
  await node.spawn();
  await node.ready();
}

/** The shares of several ledgers as one. */

function join(ledgers) {
  return {
    integrity: ledgers.every(({integrity}) => integrity === 'ok') ? 'ok'
      : 'damaged',
    broken: ledgers.reduce((sum, {broken}) => sum + broken, 0),
    credit: ledgers.flatMap(({credit}) => credit)
  };
}

/**
 * Measure the effect on miners, and check that every acknowledged share is in
 * a ledger.
 */

async function outlive(cleanup, nodes, dir) {
  const proxy = new Proxy(dir, nodes, [`--max-inbound=${MINERS}`]);
  cleanup.after(() => proxy.child.kill('SIGKILL'));
  await proxy.start();

  const {swarm, summary, rows} = await failover(cleanup, nodes, proxy, dir);

  await proxy.stop();
  for (const node of nodes)
    await node.signal('SIGINT');

  const ledger = join(nodes.map(node => readLedger(node.stratumDir)));
  const account = new Account();
  // A share in flight to a lost server is refused and may be recorded.
  const stale = summary.refusals['21 job not found'] || 0;
  const faults = account.check(swarm, ledger).filter((fault) => {
    return !/were never sent|refused shares are there/.test(fault);
  });
  const beyond = account.inLedger - account.acknowledged - account.inFlight;

  if (beyond > stale)
    faults.push(`${beyond} shares are in the ledgers beyond what was sent`);
  if (summary.losses > 0)
    faults.push(`${summary.losses} miner connections were dropped`);

  rows.push(['shares acknowledged, in the ledgers',
    `${account.acknowledged}, ${account.inLedger}`]);
  rows.push(['shares refused', Object.entries(summary.refusals)
    .map(([text, count]) => `${count} × ${text}`).join(', ') || 0]);
  return {rows, faults};
}

async function main(cleanup) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-lab-'));
  cleanup.after(() => fs.rmSync(dir, {recursive: true, force: true}));

  const rows = [['miners, shares a second', `${MINERS}, ${RATE}`]];
  const faults = [];
  const nodes = await startNodes(cleanup, dir);

  if (PARTS.includes('failover')) {
    const played = await outlive(cleanup, nodes, dir);
    rows.push(...played.rows);
    faults.push(...played.faults);
  }

  if (PARTS.includes('cost')) {
    for (const node of nodes)
      await node.kill();
    await restart(nodes[0]);
    rows.push(...await cost(cleanup, nodes[0], dir));
  }

  return report(rows, faults);
}

exitWith(play(DEADLINE_MS, main));
