'use strict';

/*
 * The scenarios: each gives numbers by name for one run against one server.
 * `table` has their meaning and bounds.
 */

const http = require('http');
const os = require('os');
const path = require('path');
const {execFile} = require('child_process');
const {promisify} = require('util');
const Coin = require('hsd/lib/primitives/coin');
const {PLUGIN, startNode} = require('../plugin/test/harness');
const {Miner} = require('../plugin/test/miner');
const {Spender} = require('../plugin/test/spender');
const {quantile} = require('./numbers');
const {API_KEY, LOAD_CORE, ON_SERVER_CORE, SERVER_CORE, swarm, syncTime}
  = require('./rig');
const {now} = require('./probe');

const PROBE = path.join(__dirname, 'probe.js');

const MINERS = 1000;
const OUTSTANDING = 8;
const RATE = 4000;
const SECONDS = 4;

/** Shares a second beyond any server's reach: so many are prepared. */
const RATE_MOST = 500000;
const RATE_ONE_MOST = 150000;

/** Idle time before memory is measured. */
const HOLD_S = 2;
const JOBS = 5;

/** Calls of the node's RPC, and the interval between two. */
const CALLS = 400;
const CALL_MS = 10;

const TIP_ROUNDS = 10;
const TIP_TXS = 3000;
const TIP_ROUNDS_FULL = 3;
const BLOCK_MS = 300000;
const QUIET_MS = 100;

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Submit as fast as the server takes shares. */

async function submit(server, rate, args, seconds = SECONDS, options = {}) {
  const ahead = Math.ceil(rate * seconds / MINERS);
  const {summary: [all]} = await swarm(server, 'submit', [
    `--connections=${MINERS}`,
    `--seconds=${seconds}`,
    ...await server.submitArgs(ahead),
    ...args
  ], options);

  if (all.ready !== MINERS || all.losses > 0
      || Object.keys(all.refusals).length > 0) {
    throw new Error(`submit against ${server.name}: ${all.ready} miners, `
      + `${all.losses} lost, refused: ${JSON.stringify(all.refusals)}`);
  }

  return {
    rate: all.acknowledged_per_s,
    each: 1e6 / all.server.cpu_us_per_share,
    cpu: all.server.cpu_us_per_share,
    p50: all.latency_ms.p50,
    p99: all.latency_ms.p99,
    load: 100 * all.load_cpu_s / all.submitting_s,
    busy: 100 * all.server.cpu_s / all.submitting_s
  };
}

function flatOut(server, args = []) {
  return submit(server, RATE_MOST, [`--outstanding=${OUTSTANDING}`, ...args]);
}

function oneOutstanding(server) {
  return submit(server, RATE_ONE_MOST, ['--outstanding=1']);
}

async function steady(server, args = []) {
  const fsync = syncTime(os.tmpdir());
  return {...await submit(server, RATE, [`--rate=${RATE}`, ...args],
    2 * SECONDS),
    fsync50: fsync.p50, fsync99: fsync.p99};
}

/** Many miners connect at once, stay idle, and get jobs for new blocks. */

async function crowd(server, connections) {
  const {connect: [came], fanout: [told], round} = await swarm(server,
    'fanout', [`--connections=${connections}`, '--at-once=all',
      `--hold=${HOLD_S}`, `--rounds=${JOBS}`, ...server.triggerArgs]);

  return {
    storm: came.gathering_s,
    memory: came.server.resident_bytes_per_connection,
    connect: own(came.server, 'cpu_us_per_connection'),
    fanout: told.first_to_last_ms,
    notify: own(told.server, 'cpu_us_per_notify'),
    first: round[round.length >> 1].first_ms,
    again: Math.max(...round.map(({again}) => again))
  };
}

/**
 * The processor time of hstratum's threads alone where the server is a node,
 * which makes the block meanwhile.
 */

function own(usage, name) {
  return usage[`threads_${name}`] || usage[name];
}

/**
 * Calls of the node's RPC, idle and while miners submit as fast as they can.
 */

async function rpc(server) {
  const {node} = server;

  await pause(QUIET_MS);

  const idle = await callTimes(node);
  const seconds = Math.ceil(CALLS * CALL_MS / 1000) * 2 + 2;
  // The calls are timed on the core of the load, and have priority over it.
  const load = submit(server, 0, [`--outstanding=${OUTSTANDING}`], seconds,
    {nice: 10});

  // A failure of the load shows when it is awaited at the end.
  load.catch(() => {});
  await pause(1500);

  const loaded = await callTimes(node);
  const {rate} = await load;

  return {
    idle50: quantile(idle, 0.5),
    idle99: quantile(idle, 0.99),
    p50: quantile(loaded, 0.5),
    p99: quantile(loaded, 0.99),
    rate
  };
}

async function callTimes(node) {
  const agent = new http.Agent({keepAlive: true, maxSockets: 1});
  const times = [];

  try {
    await call(agent, node);
    for (let i = 0; i < CALLS; i++) {
      const start = now();
      await call(agent, node);
      times.push(now() - start);
      await pause(CALL_MS);
    }
  } finally {
    agent.destroy();
  }

  return times;
}

function call(agent, node) {
  const body = JSON.stringify({method: 'getblockcount', params: [], id: 1});

  return new Promise((resolve, reject) => {
    const req = http.request({agent, host: '127.0.0.1', port: node.ports.http,
      method: 'POST', auth: `x:${API_KEY}`, timeout: 30000,
      headers: {'Content-Length': Buffer.byteLength(body)}}, (res) => {
      res.resume();
      res.once('end', resolve);
      res.once('error', reject);
    });

    req.once('error', reject);
    req.once('timeout', () => req.destroy(new Error('no answer')));
    req.end(body);
  });
}

/** A miner that records when the first job on each tip came. */

class TimedMiner extends Miner {
  constructor(node) {
    super(node);
    this.told = new Map();
  }

  handle(line) {
    const at = now();
    const jobs = this.jobs.length;

    super.handle(line);

    if (this.jobs.length > jobs) {
      const tip = this.job.prevBlock.toString('hex');
      if (!this.told.has(tip))
        this.told.set(tip, at);
    }
  }
}

/**
 * Time from the node's `tip` event until a miner has read the job, by the
 * clock that both processes share. The new block has the mempool's
 * transactions in it.
 */

async function tips(t, {plugin}) {
  const spender = new Spender();
  const file = plugin === true ? PLUGIN : plugin;
  const node = await startNode(t, {plugin, address: spender.address, within: ON_SERVER_CORE, args: [
    '--log-level=info', '--stratum-refresh=1', `--plugins=${file},${PROBE}`
  ]});

  await spender.prepare(node, TIP_TXS);

  const miner = await TimedMiner.start(t, node);
  const empty = [];
  const full = [];

  for (let i = 0; i < TIP_ROUNDS; i++)
    empty.push(await tip(node, miner));

  for (let i = 0; i < TIP_ROUNDS_FULL; i++) {
    const sent = await spender.flood([node], TIP_TXS);
    full.push(await tip(node, miner));
    // Outputs that are confirmed can be spent again.
    for (const tx of sent)
      spender.coins.push(Coin.fromTX(tx, 0, 1));
  }

  await node.kill();
  return {empty, full};
}

async function tip(node, miner) {
  await pause(QUIET_MS);

  const [hash] = await node.mine(1);
  const mark = `probe tip ${hash} `;

  return node.waitFor('the job and the time of its tip', () => {
    const line = node.lines.find(({text}) => text.startsWith(mark));
    const told = miner.told.get(hash);
    return line && told && told - Number(line.text.slice(mark.length));
  });
}

/** Run bench/block.js: from a solution until a peer holds the whole block. */

async function block(rounds, {plugin}) {
  const script = path.join(__dirname, 'block.js');
  const env = plugin === true ? process.env
    : {...process.env, HSTRATUM_TEST_PLUGIN: plugin};
  // Two nodes and their miner use both cores.
  const {stdout} = await promisify(execFile)('taskset', ['-c',
    `${SERVER_CORE},${LOAD_CORE}`, process.execPath, script, '--json',
    '--sizes=1000', '--peers=observer', `--rounds=${rounds}`],
  {env, timeout: BLOCK_MS, maxBuffer: 16 << 20});
  const {samples} = JSON.parse(stdout);
  const of = way => samples.filter(sample => sample.way === way)
    .map(sample => sample.ms.peer);

  return {ours: of('hstratum'), theirs: of('submitblock')};
}

module.exports = {block, crowd, flatOut, oneOutstanding, rpc, steady,
  tips};
