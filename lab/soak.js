'use strict';

/*
 * An hour of faults (MINUTES) for a real node with the plugin, real sockets
 * and hundreds of miners, some of them in a network of their own; a second
 * node mines against it. The order is random by a SEED: each trouble of
 * lab/troubles.js comes about as often as each other. After each one all
 * miners must be well again in time, and at the end every share and block is
 * accounted for. Needs root: see lab/README.md.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {makeNode} = require('../plugin/test/harness');
const {Spender} = require('../plugin/test/spender');
const {Account, checkBlocks, checkDumps, waitAnswered} = require('./checks');
const {readLedger, readLiveLedger} = require('./ledger');
const {DIFFICULTY, exitWith, makeRandom, pause, play, report} =
  require('./rig');
const {Clock, Disk, Network, Watch, makeDir} = require('./surroundings');
const {BINARY, Swarm, Swarms} = require('./swarm');
const troubles = require('./troubles');

const number = (name, value) => Number(process.env[name] || value);

const MINUTES = number('MINUTES', 60);
const MINERS = number('MINERS', 200);
const FAR_MINERS = number('FAR_MINERS', 50);
const RATE = number('RATE', 400);
const SEED = number('SEED', Date.now() % 1e6);

/** Longest time after a trouble until all miners have work and answers. */
const WELL_MS_MAX = 20000;
const GIVE_UP_MS = 90000;

/** Pause between two troubles, once all miners are well. */
const QUIET_MS_MIN = 500;
const QUIET_MS_MAX = 5000;

/** Time that a run may take beyond its minutes. */
const OVERTIME_MS = 10 * 60 * 1000;

const DISK_BYTES = 64 << 20;
const RSS_BYTES_MAX = 512 << 20;
const SPEND_MS = 1000;

/** Refusals of shares that honest miners may get. */
const BEARABLE = /stale-prevblk|ledger unavailable/;

/**
 * A further one behind a dead cable: a share that TCP repeats until it arrives
 * may be for a template that is gone, since a block comes every other second.
 */
const TOO_LATE = /job not found/;

/** All parts of a run, and the results so far. */

class Stage {
  constructor(dir) {
    this.dir = dir;
    this.begun = Date.now();
    this.random = makeRandom(SEED);
    this.node = null;
    this.other = null;        // the node that mines against it
    this.swarms = [];
    this.network = null;
    this.disk = null;
    this.clock = Clock.find(dir);
    this.watch = null;
    this.account = new Account();
    this.excused = new Set(); // blocks that nothing could record
    this.faults = [];
    this.told = new Map();    // errors and warnings in the log, and how often
    this.counts = new Map();  // trouble to {times, well: longest ms}
  }

  between(least, most) {
    return Math.round(least + this.random() * (most - least));
  }

  fault(text) {
    const seconds = Math.round((Date.now() - this.begun) / 1000);
    this.faults.push(`at ${seconds} s: ${text}`);
    console.log(`FAULT: ${text}`);
  }

  all() {
    return new Swarms(this.swarms);
  }

  findings() {
    this.swarms.forEach(swarm => swarm.read());
    return this.all().found;
  }

  checkShares(ledger, refused) {
    for (const fault of this.account.check(this.all(), ledger, refused))
      this.fault(fault);
  }

  /** Collect the errors and warnings of the node's present process. */

  readLog() {
    for (const {text} of this.node.lines) {
      if (/panicked|uncaught|unhandled/i.test(text))
        this.fault(`in the node's log: ${text}`);

      if (!/^\[(error|warning)\]/.test(text))
        continue;

      const kind = text.replace(/\[[\d:]{5,}\]/, '')
        .replace(/[0-9a-f]{64}/g, '#').replace(/\d[\d.:]*/g, '#');
      this.told.set(kind, (this.told.get(kind) || 0) + 1);
    }
  }
}

async function setUp(cleanup) {
  const dir = makeDir();

  cleanup.after(() => fs.rmSync(dir, {recursive: true, force: true}));

  const stage = new Stage(dir);
  const spender = new Spender();

  stage.network = new Network(cleanup);
  stage.node = makeNode(cleanup, {
    prefix: path.join(dir, 'node'),
    listen: true,
    address: spender.address,
    env: stage.clock ? stage.clock.env : {}
  });

  const {node} = stage;

  stage.disk = new Disk(cleanup, node.stratumDir, DISK_BYTES);
  cleanup.after(() => node.child && node.kill());
  await node.choosePorts();
  node.options.args.push(
    '--log-level=info',
    '--stratum-refresh=2',
    `--stratum-listen=tcp://${stage.network.host}:${node.ports.stratum}`,
    `--stratum-difficulty=${DIFFICULTY}`,
    `--stratum-difficulty-min=${DIFFICULTY}`,
    '--stratum-dynamic=false'
  );
  await node.spawn();
  await node.ready();
  await spender.prepare(node, MINUTES * 60000 / SPEND_MS);

  stage.other = makeNode(cleanup, {
    prefix: path.join(dir, 'other'),
    plugin: false,
    peer: node,
    args: ['--log-level=warning']
  });
  await stage.other.spawn();
  await stage.other.ready();

  stage.swarms = startSwarms(stage);
  for (const swarm of stage.swarms)
    cleanup.after(() => swarm.child.kill('SIGKILL'));

  // Independent of the seed's order: it comes whenever the node answers.
  const spending = setInterval(() => spender.spend(node).catch(() => {}),
    SPEND_MS);

  cleanup.after(() => clearInterval(spending));
  stage.watch = new Watch(cleanup, node);
  return stage;
}

function startSwarms({node, dir, network}) {
  const start = (name, miners, where) => {
    const rate = Math.ceil(RATE * miners / (MINERS + FAR_MINERS));
    const swarm = new Swarm(node, path.join(dir, `journal-${name}`), [
      `--connections=${miners}`,
      `--accounts=${Math.ceil(miners / 10)}`,
      `--user-prefix=${name}`,
      `--rate=${rate}`,
      '--blocks=3'
    ], where);

    swarm.miners = miners;
    return swarm;
  };

  return [
    start('near', MINERS, {}),
    start('far', FAR_MINERS, network)
  ];
}

/** Wait until the last miner is well; gives the time that took. */

async function waitWell(stage) {
  const times = await Promise.all(stage.swarms.map((swarm) => {
    return swarm.waitWell(swarm.miners, GIVE_UP_MS);
  }));

  return Math.max(...times);
}

/** Apply one trouble after another, each as often as each other. */

async function suffer(stage) {
  const end = stage.begun + MINUTES * 60000;
  const names = Object.keys(troubles)
    .filter(name => stage.clock || !/clock/.test(name));
  let deck = [];

  if (!stage.clock)
    console.log('clocks are not shifted: there is no libfaketime (faketime)');

  while (Date.now() < end) {
    if (deck.length === 0)
      deck = shuffle([...names], stage.random);

    const name = deck.pop();
    const count = stage.counts.get(name) || {times: 0, well: 0};

    await pause(stage.between(QUIET_MS_MIN, QUIET_MS_MAX));

    const at = (Date.now() - stage.begun) / 1000;
    const words = await troubles[name](stage);
    const well = await waitWell(stage);

    count.times += 1;
    count.well = Math.max(count.well, well);
    stage.counts.set(name, count);
    console.log('%s s  %s  %s; all well after %s s', at.toFixed(0).padStart(5),
      name.padEnd(26), words, (well / 1000).toFixed(1));

    if (well > WELL_MS_MAX)
      stage.fault(`${name}: miners had no work or answers for ${well} ms`);
  }
}

function shuffle(items, random) {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/** End everything in order and check it; gives the report's rows. */

async function finish(stage) {
  const {node, swarms} = stage;

  if (stage.clock)
    stage.clock.shift(0);

  const summaries = [];

  for (const swarm of swarms)
    summaries.push(await swarm.stop());

  // With each new tip the node is asked where blocks are.
  await node.mine(1);
  await waitAnswered(node);

  const all = stage.all();
  const blocks = await settle(stage, all);

  await node.signal('SIGINT');
  stage.readLog();

  const ledger = readLedger(node.stratumDir);
  const dumps = checkDumps(ledger, node.stratumDir);

  stage.checkShares(ledger);
  [...blocks.faults, ...dumps.faults].forEach(fault => stage.fault(fault));
  checkFiles(stage);
  checkRefusals(stage, summaries);
  checkMemory(stage);
  return summarize(stage, summaries, blocks, dumps, ledger);
}

/** Wait a moment until the ledger follows the chain. */

async function settle({node, excused, swarms}, all) {
  const [, far] = swarms;
  const late = new Set([...far.found].filter(([, {refused}]) => {
    return TOO_LATE.test(refused);
  }).map(([hash]) => hash));
  let blocks;

  await node.waitFor('the ledger and the chain to agree', async () => {
    blocks = await checkBlocks(all, readLiveLedger(node.stratumDir), node,
      excused, late);
    return blocks.faults.length === 0;
  }).catch(() => {});

  return blocks;
}

function checkFiles(stage) {
  const dir = stage.node.stratumDir;
  const spool = path.join(dir, 'spool');
  const left = fs.existsSync(spool) ? fs.readdirSync(spool) : [];

  for (const name of left)
    stage.fault(`${name} is left in the spool`);

  try {
    execFileSync(BINARY, ['ledger', 'check', '--ledger',
      path.join(dir, 'ledger.db'), '--shares', path.join(dir, 'shares')],
      {stdio: 'pipe', encoding: 'utf8'});
  } catch (e) {
    stage.fault(`hstratum ledger check: ${e.stdout}${e.stderr}`);
  }
}

function checkRefusals(stage, [near, far]) {
  for (const {refusals} of [near, far]) {
    for (const [text, count] of Object.entries(refusals)) {
      const isLate = refusals === far.refusals && TOO_LATE.test(text);

      if (!BEARABLE.test(text) && !isLate)
        stage.fault(`${count} shares of honest miners were refused: ${text}`);
    }
  }
}

function checkMemory(stage) {
  const {watch} = stage;

  if (watch.max() > RSS_BYTES_MAX)
    stage.fault(`the node used ${mega(watch.max())} of memory`);
}

function summarize(stage, summaries, blocks, dumps, ledger) {
  const {account, watch} = stage;
  const sum = fn => summaries.reduce((total, it) => total + fn(it), 0);
  const long = watch.lives.reduce((a, b) => a.samples > b.samples ? a : b);
  const states = {};

  for (const {state} of ledger.blocks)
    states[state] = (states[state] || 0) + 1;

  return [
    ...[...stage.counts].sort().map(([name, {times, well}]) => [name,
      `${times} times, all well after ${(well / 1000).toFixed(1)} s at most`]),
    ['shares submitted', sum(it => it.submitted)],
    ['shares acknowledged', account.acknowledged],
    ['shares in the ledger', account.inLedger],
    ['shares refused', summaries.flatMap(it => Object.entries(it.refusals))
      .map(([text, count]) => `${count} × ${text}`).join(', ') || 0],
    ['shares in flight at the end of a connection',
      `${account.inFlight}, of which ${account.inFlightKept} recorded`],
    ['blocks found', stage.all().found.size],
    ['blocks on the chain', blocks.onChain],
    ['blocks recorded', Object.entries(states)
      .map(([state, count]) => `${count} ${state}`).join(', ')],
    ['blocks that never reached the server', blocks.neverCame],
    ['blocks of a node killed on a full disk',
      `${blocks.unrecorded} of ${stage.excused.size} that may be lost`],
    ['blocks that came too late for their job', blocks.tooLate],
    ['dumps', dumps.files],
    ['memory: at start / most / at end', [watch.lives[0].first, watch.max(),
      watch.lives[watch.lives.length - 1].last].map(mega).join(' / ')],
    ['memory of the process that lived longest',
      `${mega(long.first)} to ${mega(long.last)} in ${long.samples} s`],
    ['most descriptors', watch.files],
    ...[...stage.told].sort(([, a], [, b]) => b - a).slice(0, 20)
      .map(([text, count]) => [`log, ${count} times`, text])
  ];
}

function mega(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

async function soak(cleanup) {
  const stage = await setUp(cleanup);
  let rows = [];

  try {
    await waitWell(stage);
    stage.begun = Date.now();
    await suffer(stage);
    rows = await finish(stage);
  } catch (e) {
    if (cleanup.running)
      return 1;
    stage.fault(e.stack);
    stage.readLog();
  }

  return report(rows, stage.faults);
}

function main() {
  console.log('%s minutes, %s miners, %s more behind a cable, %s shares/s, '
    + 'seed %s', MINUTES, MINERS, FAR_MINERS, RATE, SEED);

  return play(MINUTES * 60000 + OVERTIME_MS, soak);
}

exitWith(main());
