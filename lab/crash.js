'use strict';

/*
 * A test that acknowledged shares survive: a real node with the plugin on
 * regtest, hundreds of miners, and one of three faults:
 *
 *   node lab/crash.js               kill -9 of the node, again and again
 *   node lab/crash.js --disk-full   the ledger's file system is full for a while
 *   node lab/crash.js --stall       another process holds the ledger for 10 s
 *
 * ROUNDS, MINERS, ACCOUNTS, OUTSTANDING and SEED change the numbers.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {quantile} = require('../bench/numbers');
const {makeNode} = require('../plugin/test/harness');
const {Account, checkBlocks, checkDumps, waitAnswered} = require('./checks');
const {readLedger, readLiveLedger} = require('./ledger');
const {DIFFICULTY, exitWith, fill, holdLedger, makeRandom, mountTmpfs, pause,
  play, report} = require('./rig');
const {Swarm} = require('./swarm');

const number = (name, value) => Number(process.env[name] || value);

const ROUNDS = number('ROUNDS', 20);
const MINERS = number('MINERS', 500);
const ACCOUNTS = number('ACCOUNTS', 50);
const OUTSTANDING = number('OUTSTANDING', 4);
const SEED = number('SEED', Date.now() % 1e6);

/** Time limit of a scenario. */
const DEADLINE_MS = 20 * 60 * 1000;

/** Length of a round once all miners are back, at random between these. */
const ROUND_MS_MIN = 200;
const ROUND_MS_MAX = 3000;

const STALL_MS = 10000;
const TMPFS_BYTES = 32 << 20;
const RPC_MS_MAX = 2000;

async function start(cleanup, prepare = () => {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-lab-'));

  cleanup.after(() => fs.rmSync(dir, {recursive: true, force: true}));

  const node = makeNode(cleanup, {
    prefix: path.join(dir, 'node'),
    args: [
      '--log-level=info',
      `--stratum-difficulty=${DIFFICULTY}`,
      `--stratum-difficulty-min=${DIFFICULTY}`,
      '--stratum-dynamic=false'
    ]
  });

  await prepare(node);
  await node.spawn();
  await node.ready();

  const swarm = new Swarm(node, path.join(dir, 'journal'), [
    `--connections=${MINERS}`,
    `--accounts=${ACCOUNTS}`,
    `--outstanding=${OUTSTANDING}`,
    '--blocks=1'
  ]);

  cleanup.after(() => swarm.child.kill('SIGKILL'));
  return {node, swarm};
}

/** End everything in order and check it; gives the table's last rows. */

async function finish({node, swarm}, account, faults) {
  const summary = await swarm.stop();

  await waitAnswered(node);

  const live = readLiveLedger(node.stratumDir);
  const blocks = await checkBlocks(swarm, live, node);

  await node.signal('SIGINT');

  const ledger = readLedger(node.stratumDir);
  const dumps = checkDumps(ledger, node.stratumDir);

  faults.push(...account.check(swarm, ledger), ...blocks.faults,
    ...dumps.faults);

  return [
    ['shares submitted', summary.submitted],
    ['shares acknowledged', account.acknowledged],
    ['shares in the ledger', account.inLedger],
    ['shares refused', Object.entries(summary.refusals)
      .map(([text, count]) => `${count} × ${text}`).join(', ') || 0],
    ['shares in flight at the end of a connection',
      `${account.inFlight}, of which ${account.inFlightKept} recorded`],
    ['reply p50 / p99 / max', ['p50', 'p99', 'max']
      .map(key => `${summary.latency_ms[key].toFixed(1)} ms`).join(' / ')],
    ['blocks found', swarm.found.size],
    ['blocks on the chain', blocks.onChain],
    ['blocks recorded', blocks.recorded],
    ['blocks that never reached the server', blocks.neverCame],
    ['dumps', dumps.files]
  ];
}

async function crash(cleanup) {
  const random = makeRandom(SEED);
  const account = new Account();
  const faults = [];
  const {node, swarm} = await start(cleanup);

  for (let round = 1; round <= ROUNDS; round++) {
    await swarm.waitMining(MINERS, MINERS);
    await pause(ROUND_MS_MIN + random() * (ROUND_MS_MAX - ROUND_MS_MIN));
    await node.kill();
    await swarm.waitLost(Date.now());

    const before = {...account};
    const found = account.check(swarm, readLedger(node.stratumDir));

    faults.push(...found.map(fault => `round ${round}: ${fault}`));
    console.log('round %s: %s acknowledged, %s in the ledger, %s in flight, '
      + '%s faults', pad(round, 2),
      pad(account.acknowledged - before.acknowledged, 7),
      pad(account.inLedger - before.inLedger, 7),
      pad(account.inFlight - before.inFlight, 5), found.length);

    await node.spawn();
    await node.ready();
  }

  await swarm.waitMining(MINERS, MINERS);

  const rows = await finish({node, swarm}, account, faults);
  return {faults, rows: [['rounds (kill -9)', ROUNDS], ...rows]};
}

async function diskFull(cleanup) {
  const account = new Account();
  const faults = [];
  const it = await start(cleanup, (node) => {
    fs.mkdirSync(node.stratumDir, {recursive: true});
    mountTmpfs(node.stratumDir, TMPFS_BYTES);
    cleanup.after(async () => {
      await node.kill();
      execFileSync('umount', [node.stratumDir]);
    });
  });
  const {node, swarm} = it;

  await swarm.waitMining(MINERS, MINERS);

  const filler = path.join(node.stratumDir, 'filler');
  const refusals = ({refused}) => {
    return Object.entries(refused).filter(([text]) => /ledger/.test(text))
      .reduce((sum, [, count]) => sum + count, 0);
  };

  fill(filler);
  await swarm.waitFor('refused shares', progress => refusals(progress) > 0);
  await node.waitLog(/\[error\] \(stratum\) /);

  const slowest = Math.max(...await timeRpc(node, 3000));

  if (slowest > RPC_MS_MAX)
    faults.push(`an RPC took ${slowest} ms while the disk was full`);

  fs.rmSync(filler);
  await swarm.waitMining(MINERS, MINERS);

  const rows = await finish(it, account, faults);

  return {faults, rows: [
    ['slowest RPC while the disk was full', `${slowest.toFixed(0)} ms`],
    ...rows
  ]};
}

async function stall(cleanup) {
  const account = new Account();
  const faults = [];
  const it = await start(cleanup);
  const {node, swarm} = it;

  await swarm.waitMining(MINERS, MINERS);

  const busy = quantile(await timeRpc(node, STALL_MS), 0.99);
  const holder = await holdLedger(node, STALL_MS);
  const during = quantile(await timeRpc(node, STALL_MS / 2), 0.99);
  const held = swarm.read();

  await holder.exited;

  const {refused} = await swarm.waitMining(MINERS, MINERS);

  for (const [text, count] of Object.entries(refused)) {
    if (/ledger/.test(text))
      faults.push(`${count} shares were refused: ${text}`);
  }

  if (during > 2 * busy + 20)
    faults.push(`RPC p99 was ${during} ms during the stall, ${busy} before`);

  const rows = await finish(it, account, faults);

  return {faults, rows: [
    ['RPC p99 before the stall', `${busy.toFixed(1)} ms`],
    ['RPC p99 during the stall', `${during.toFixed(1)} ms`],
    ['shares waiting during the stall', held.outstanding],
    ...rows
  ]};
}

/** Time many calls, one after the other; gives their milliseconds. */

async function timeRpc(node, ms) {
  const end = Date.now() + ms;
  const times = [];

  while (Date.now() < end) {
    const begun = performance.now();
    await node.rpc('getblockcount');
    times.push(performance.now() - begun);
    await pause(5);
  }

  return times;
}

function pad(value, width) {
  return String(value).padStart(width);
}

async function main() {
  const scenarios = {'--disk-full': diskFull, '--stall': stall};
  const [name] = process.argv.slice(2);
  const scenario = name === undefined ? crash : scenarios[name];

  if (!scenario) {
    console.error('usage: node lab/crash.js [--disk-full | --stall]');
    return 2;
  }

  console.log('%s miners, %s accounts, %s shares outstanding each, seed %s',
    MINERS, ACCOUNTS, OUTSTANDING, SEED);

  return play(DEADLINE_MS, async (cleanup) => {
    const {faults, rows} = await scenario(cleanup);
    return report(rows, faults);
  });
}

exitWith(main());
