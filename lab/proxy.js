'use strict';

/*
 * What miners notice of a server's end when a proxy is between them: three real
 * nodes, `hstratum proxy`, and many miners that submit all the time.
 *
 *   node lab/proxy.js
 *
 * MINERS and RATE change the numbers. A proxy needs two descriptors a miner.
 */

const fs = require('fs');
const os = require('os');
const path = require('path');
const {makeNode, waitFor} = require('../plugin/test/harness');
const {Proxy, SECRET} = require('../plugin/test/proxy');
const {Account} = require('./checks');
const {readLedger} = require('./ledger');
const {DIFFICULTY, exitWith, pause, play, report} = require('./rig');
const {Swarm} = require('./swarm');

const number = (name, value) => Number(process.env[name] || value);

const MINERS = number('MINERS', 1000);
const RATE = number('RATE', 2000);

const DEADLINE_MS = 15 * 60 * 1000;
const COST_S = 15;
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

/** What the hop costs: the same load to a server, and through the proxy. */

async function cost(cleanup, nodes, proxy, dir) {
  const rows = [];
  const ms = value => `${value.toFixed(2)} ms`;

  for (const [name, target] of [['direct', nodes[0]], ['proxy', proxy]]) {
    const swarm = swarmAt(cleanup, target, dir, `cost-${name}`,
      [`--seconds=${COST_S}`]);

    await swarm.waitFor('the miners', ({working}) => working === MINERS, 60000);

    const before = usage(proxy.child.pid);
    const {acknowledged} = swarm.read();
    await pause(COST_S * 800);
    const after = usage(proxy.child.pid);
    const shares = swarm.read().acknowledged - acknowledged;

    await swarm.exited;
    swarm.read();

    const lines = swarm.output.trim().split('\n').map(line => JSON.parse(line));
    const {latency_ms: latency} = lines.find(line => line.kind === 'summary');

    rows.push([`reply p50 / p99, ${name}`,
      `${ms(latency.p50)} / ${ms(latency.p99)}`]);

    if (name === 'proxy') {
      rows.push(['processor time of the proxy a share',
        `${(1e6 * (after.cpu - before.cpu) / shares).toFixed(1)} µs`]);
    }
  }

  return rows;
}

/** Shares refused so far since their job was another server's. */

function refused(proxy) {
  const {shares, moves} = proxy.status();
  return {
    pid: proxy.child.pid,
    moved: moves.server_lost + moves.server_left,
    stale: shares.refused_stale,
    inFlight: shares.refused_in_flight
  };
}

/** Does something to a server and says what miners noticed. */

async function trouble(name, {proxy, swarm}, act, settled) {
  const from = proxy.lines.length;
  const before = refused(proxy);

  await act();
  await proxy.waitFor(`the end of "${name}"`, settled, SPREAD_MS);
  await pause(QUIET_MS);
  await swarm.waitWell(MINERS, 20000);

  const after = refused(proxy);
  // A new process counts from the beginning.
  const since = name => after[name] - (after.pid === before.pid ? before[name] : 0);
  const lines = proxy.lines.slice(from)
    .filter(line => /miners have moved/.test(line))
    .map(line => line.replace(/^.* moved, without a job for /, ''));

  return [name, `${since('moved')} moves, jobless ${lines.join('; ') || 'none'}`
    + `; refused: ${since('stale')} stale, ${since('inFlight')} in flight`];
}

async function failover(cleanup, nodes, proxy, dir) {
  const {resident: empty} = usage(proxy.child.pid);
  const swarm = swarmAt(cleanup, proxy, dir, 'journal', []);
  const it = {proxy, swarm};
  const rows = [];
  const isOn = place => proxy.spread()[place] > 0;
  const isEven = () => proxy.spread().every(miners => miners > MINERS / 4);
  const isBack = () => isEven() && proxy.status().servers
    .every(server => server.state === 'up');
  const run = async (...args) => rows.push(await trouble(...args));

  await swarm.waitFor('the miners', ({working}) => working === MINERS, 60000);

  const {resident} = usage(proxy.child.pid);
  rows.push(['memory of the proxy a miner',
    `${((resident - empty) / MINERS / 1024).toFixed(1)} KiB`]);

  await run('kill -9 of a server', it, () => nodes[1].kill(), () => !isOn(1));
  await run('its return', it, () => restart(nodes[1]), isBack);
  await run('SIGSTOP of a server', it,
    () => nodes[2].child.kill('SIGSTOP'), () => !isOn(2));
  await pause(HANG_MS);
  await run('its SIGCONT', it, () => nodes[2].child.kill('SIGCONT'), isBack);
  await run('drain of a server', it,
    () => proxy.ask('drain', proxy.names[0]), () => !isOn(0));
  await run('its return', it, () => proxy.ask('fill', proxy.names[0]), isBack);

  for (const [place, node] of nodes.entries()) {
    await run(`restart of server ${place + 1}`, it, async () => {
      await node.signal('SIGTERM');
      await restart(node);
    }, isBack);
  }

  await run('a new proxy takes over', it, () => proxy.takeOver(), isBack);

  const {extranonces_changed: changed, reset} = proxy.status();
  const summary = await swarm.stop();

  rows.push(['miner connections dropped', summary.losses]);
  rows.push(['extranonces changed, miners reset', `${changed}, ${reset}`]);
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

async function main(cleanup) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-lab-'));
  cleanup.after(() => fs.rmSync(dir, {recursive: true, force: true}));

  const nodes = await startNodes(cleanup, dir);
  const proxy = new Proxy(dir, nodes, [`--max-inbound=${MINERS}`]);
  cleanup.after(() => proxy.child.kill('SIGKILL'));
  await proxy.start();

  const {swarm, summary, rows} = await failover(cleanup, nodes, proxy, dir);

  for (const node of nodes)
    await node.signal('SIGINT');

  const ledger = join(nodes.map(node => readLedger(node.stratumDir)));
  const account = new Account();
  // A share in flight when its server was lost is refused and may be recorded.
  const stale = summary.refusals['21 job not found'] || 0;
  const faults = account.check(swarm, ledger).filter((fault) => {
    return !/were never sent|refused shares are there/.test(fault);
  });
  const beyond = account.inLedger - account.acknowledged - account.inFlight;

  if (beyond > stale)
    faults.push(`${beyond} shares are in the ledgers beyond what was sent`);
  if (summary.losses > 0)
    faults.push(`${summary.losses} miner connections were dropped`);

  for (const node of nodes)
    await restart(node);

  await waitFor('the servers', () => {
    return proxy.status().servers.every(server => server.state === 'up');
  });

  const costs = await cost(cleanup, nodes, proxy, dir);

  return report([
    ['miners, shares a second', `${MINERS}, ${RATE}`],
    ...rows,
    ['shares acknowledged, in the ledgers',
      `${account.acknowledged}, ${account.inLedger}`],
    ['shares refused', Object.entries(summary.refusals)
      .map(([text, count]) => `${count} × ${text}`).join(', ') || 0],
    ['reply p50 / p99 / max of the whole', ['p50', 'p99', 'max']
      .map(key => `${summary.latency_ms[key].toFixed(1)} ms`).join(' / ')],
    ...costs
  ], faults);
}

exitWith(play(DEADLINE_MS, main));
