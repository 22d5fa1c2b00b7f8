'use strict';

/*
 * The servers and the load that the table measures: servers on one core, the
 * load on another. A whole hsd is on the server's core, with all threads of
 * the plugin.
 */

const {execFile, execFileSync, spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const {promisify} = require('util');
const {freePort, startNode, waitFor} = require('../plugin/test/harness');
const {quantile} = require('./numbers');

const SWARM = path.join(__dirname, '..', 'target', 'release', 'hstratum-swarm');
const ADDON = path.join(__dirname, '..', 'plugin', 'hstratum.node');
const API_KEY = 'test';

const SERVER_CORE = 0;
const LOAD_CORE = 1;

/** The longest that a run of the load may take. */
const SWARM_MS = 180000;
const OUTPUT_MAX = 64 << 20;

/** Attempts to find two free ports in a row. */
const PORT_TRIES = 50;

/** Size of a ledger of years: accounts times heights rows of credit. */
const OLD_ACCOUNTS = 1000;
const OLD_HEIGHTS = 5000;

// Node has no SQLite before version 22; Python has it everywhere.
const AGE = `
import sqlite3, sys
accounts, heights = int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(sys.argv[1])
db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
  " WHERE i < ?) INSERT INTO accounts (name) SELECT 'old' || i FROM n",
  [accounts])
ids = [id for id, in db.execute("SELECT id FROM accounts WHERE name LIKE 'old%'")]
# Above the tip: what is far below it is merged.
for height in range(1000, 1000 + heights):
    db.executemany('INSERT INTO credit (height, account, difficulty, origin,'
      ' count) VALUES (?, ?, 1.0, 0, 100)', [(height, id) for id in ids])
db.commit()
`;

/** Every hash is a share, and the difficulty stays. */
const NODE_ARGS = [
  '--log-level=info',
  `--stratum-difficulty=${2 ** -32}`, `--stratum-difficulty-min=${2 ** -32}`,
  '--stratum-dynamic=false',
  '--stratum-max-inbound=20000'
];

/** A command that becomes a server's process, with one core for all of it. */
const ON_SERVER_CORE = ['taskset', '-c', String(SERVER_CORE)];

/** What is measured: a name, and the plugin of a tree. */
const OWN_TREE = {name: 'hstratum', plugin: true};

function pin(pid, core) {
  execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)],
    {stdio: 'ignore'});
}

/** The limit server. */

class Limit {
  constructor(child, port) {
    this.name = 'limit';
    this.child = child;
    this.pid = child.pid;
    this.port = port;
    this.triggerArgs = [`--trigger=127.0.0.1:${port + 1}`];
    this.env = {};
  }

  static async start(t) {
    for (let i = 0; i < PORT_TRIES; i++) {
      const port = await freePort();
      const child = spawn('taskset', ['-c', String(SERVER_CORE), SWARM,
        `--limit-server=127.0.0.1:${port}`],
      {stdio: ['ignore', 'pipe', 'ignore']});
      let output = '';
      let ended = false;

      child.once('close', () => {
        ended = true;
      });
      child.stdout.setEncoding('utf8');
      child.stdout.on('data', (text) => {
        output += text;
      });
      await waitFor('the limit server', () => output.includes('\n') || ended);

      if (ended)
        continue;

      const limit = new this(child, port);
      t.after(() => limit.end());
      return limit;
    }
    throw new Error('no two free ports in a row');
  }

  /** None of its hashes is a block, so the load need not hash. */

  async submitArgs() {
    return ['--no-hash'];
  }

  end() {
    if (this.child.exitCode != null || this.child.signalCode != null)
      return undefined;
    return new Promise((resolve) => {
      this.child.once('close', resolve);
      this.child.kill('SIGKILL');
    });
  }
}

/** A node with the plugin. */

class Hstratum {
  constructor(node, name) {
    this.name = name;
    this.node = node;
    this.pid = node.child.pid;
    this.port = node.ports.stratum;
    this.triggerArgs = [`--node-url=http://127.0.0.1:${node.ports.http}`];
    this.env = {HSTRATUM_NODE_API_KEY: API_KEY};
  }

  /**
   * @param {Object} [options] - of the node; `tree`: whose plugin it has;
   * `within`: [] for a server that may use all cores.
   */

  static async start(t, {args = [], tree = OWN_TREE, within = ON_SERVER_CORE, ...options} = {}) {
    const node = await startNode(t, {...options, plugin: tree.plugin,
      within, args: [...NODE_ARGS, ...args]});

    await node.mine(1);
    return new this(node, tree.name);
  }

  /** Start again with a ledger that holds the credit of years. */

  async age() {
    await this.node.signal('SIGTERM');
    execFileSync('python3', ['-c', AGE,
      path.join(this.node.stratumDir, 'ledger.db'), String(OLD_ACCOUNTS),
      String(OLD_HEIGHTS)]);
    await this.node.restart();
    this.pid = this.node.child.pid;
  }

  /** Prepare shares for each miner, since every second hash is a block. */

  async submitArgs(shares) {
    // A job that has had millions of shares is replaced.
    await this.node.mine(1);
    return [`--ahead=${shares}`];
  }

  end() {
    return this.node.kill();
  }
}

/** Run `hstratum-swarm` against a server; gives its JSON lines by kind. */

async function swarm(server, mode, args, {nice = 0} = {}) {
  const argv = ['-c', String(LOAD_CORE), 'nice', '-n', String(nice), SWARM,
    mode, '--json', `--url=stratum+tcp://127.0.0.1:${server.port}`,
    `--pid=${server.pid}`, ...args];
  let output;

  try {
    output = await promisify(execFile)('taskset', argv, {timeout: SWARM_MS,
      maxBuffer: OUTPUT_MAX, env: {...process.env, ...server.env}});
  } catch (e) {
    throw new Error(`swarm ${mode} against ${server.name}: `
      + `${e.stderr || e.message}`);
  }

  const kinds = {};

  for (const line of output.stdout.trim().split('\n')) {
    const value = JSON.parse(line);
    (kinds[value.kind] = kinds[value.kind] || []).push(value);
  }

  return kinds;
}

/** Time that the disk takes to sync 4 kB at a file's end, in ms. */

function syncTime(dir) {
  const file = path.join(dir, 'sync');
  const fd = fs.openSync(file, 'w');
  const page = Buffer.alloc(4096, 1);
  const times = [];

  try {
    for (let i = 0; i < 300; i++) {
      const start = process.hrtime.bigint();
      fs.writeSync(fd, page);
      fs.fdatasyncSync(fd);
      times.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
  } finally {
    fs.closeSync(fd);
    fs.unlinkSync(file);
  }

  return {p50: quantile(times, 0.5), p99: quantile(times, 0.99)};
}

module.exports = {ADDON, API_KEY, Hstratum, LOAD_CORE, Limit, ON_SERVER_CORE, OWN_TREE,
  SERVER_CORE, SWARM, pin, swarm, syncTime};
