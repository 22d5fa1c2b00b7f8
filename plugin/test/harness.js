'use strict';

/*
 * Real hsd processes for the tests: on loopback, free ports and directories of
 * their own. Nothing here sleeps: each wait names its subject, has a deadline,
 * and shows the node's log when that passes.
 */

const {spawn} = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

/** The hsd under test: the repository's, or that of `make compat`. */
const HSD_DIR = process.env.HSTRATUM_TEST_HSD
  || path.dirname(require.resolve('hsd/package.json'));
const HSD = path.join(HSD_DIR, 'bin', 'node');
const HSD_SPV = path.join(HSD_DIR, 'bin', 'spvnode');
/** The plugin under test: the repository's, or another that a bench measures. */
const PLUGIN = process.env.HSTRATUM_TEST_PLUGIN
  || path.join(__dirname, '..', 'index.js');

/** True when miners connect through a proxy: `make proxied` runs suites so. */
const PROXIED = process.env.HSTRATUM_TEST_PROXIED === '1';

/** Options of a test that makes no sense behind a proxy, with the reason. */

function notProxied(why) {
  return {skip: PROXIED && why};
}

const START_MS = 60000;
const WAIT_MS = 30000;
const POLL_MS = 20;
const LOG_TAIL = 60;

const PORTS = [
  'http', 'wallet', 'p2p', 'brontide', 'stratum', 'dashboard', 'none'
];

const API_KEY = 'test';

/** An address that nobody has the key of. */
const ADDRESS = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u';

// Below the ports that outgoing connections get, so that none takes one
// between its choice and its use.
const PORT_MIN = 15000;
const PORT_MAX = 32000;

async function freePort() {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));

    if (await isFree(port))
      return port;
  }
}

/**
 * A full node in this process and in memory, with no port but a free one for
 * its HTTP: the ports of hsd's resolvers are fixed, and on simnet outgoing
 * connections get them.
 * @param {Object} options - more of hsd's own.
 */

async function openMemoryNode(options) {
  const FullNode = require('hsd/lib/node/fullnode');
  const node = new FullNode({memory: true, workers: false, listen: false,
    noDns: true, httpPort: await freePort(), ...options});

  await node.open();
  return node;
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => {
      server.close(() => resolve(true));
    });
  });
}

/**
 * Wait until fn gives something true; give that.
 * @param {String} what - for the failure message.
 * @param {Function} fn - may be async; an exception counts as not yet.
 * @param {Object} [options] {ms, node}
 */

async function waitFor(what, fn, {ms = WAIT_MS, node = null} = {}) {
  const end = Date.now() + ms;
  let error = null;

  for (;;) {
    try {
      const value = await fn();
      if (value)
        return value;
      error = null;
    } catch (e) {
      error = e;
    }

    const gone = node && node.exit;

    if (gone || Date.now() > end) {
      const why = error ? `: ${error.message}` : '';
      const exit = gone ? `\nthe node has exited: ${JSON.stringify(gone)}` : '';
      const log = node ? `\n${node.tail()}` : '';
      throw new Error(`waited for ${what}${why}${exit}${log}`);
    }

    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
}

function makeDir() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-test-'));
}

function removeDir(dir) {
  fs.rmSync(dir, {recursive: true, force: true, maxRetries: 5});
}

function tempDir(t) {
  const dir = makeDir();
  t.after(() => removeDir(dir));
  return dir;
}

class Node {
  constructor(options) {
    this.options = options;
    this.prefix = options.prefix;
    this.child = null;
    this.lines = [];        // {at, text}
    this.exited = null;     // promise of {code, signal}
    this.exit = null;       // its value, once it is there
    this.ports = {};
    this.front = null;      // the proxy before it, if miners go through one
  }

  get dir() {
    const {network} = this.options;
    return network === 'main' ? this.prefix : path.join(this.prefix, network);
  }

  get stratumDir() {
    return path.join(this.dir, 'stratum');
  }

  /**
   * Choose ports, kept over a restart so that miners and peers find the node.
   */

  async choosePorts() {
    for (const name of PORTS) {
      if (!this.ports[name])
        this.ports[name] = await freePort();
    }
  }

  /** Start the process; `ready` waits for it. */

  async spawn() {
    const {plugin, network, args, env, peer, listen, address, wallet, spv,
      within} = this.options;
    const {ports} = this;

    await this.choosePorts();

    const argv = [
      spv ? HSD_SPV : HSD,
      `--network=${network}`,
      `--prefix=${this.prefix}`,
      '--no-dns',
      '--log-level=debug',
      '--http-host=127.0.0.1',
      `--http-port=${ports.http}`,
      `--api-key=${API_KEY}`,
      // Without --only it would connect to regtest's usual ports, where a
      // foreign node may be.
      `--only=127.0.0.1:${peer ? peer.ports.p2p : ports.none}`
    ];

    if (listen) {
      argv.push('--listen', '--host=127.0.0.1', `--port=${ports.p2p}`,
        `--brontide-port=${ports.brontide}`);
    }

    if (wallet) {
      argv.push('--wallet-http-host=127.0.0.1',
        `--wallet-http-port=${ports.wallet}`);
    } else {
      argv.push('--no-wallet');
    }

    if (address)
      argv.push(`--coinbase-address=${address}`);

    if (plugin) {
      argv.push(`--plugins=${plugin === true ? PLUGIN : plugin}`,
        '--stratum-host=127.0.0.1',
        `--stratum-http-port=${ports.dashboard}`);
    }

    // A flag would override the environment or a file.
    if (plugin && !this.options.noPort)
      argv.push(`--stratum-port=${ports.stratum}`);

    const clean = {};

    for (const key of Object.keys(process.env)) {
      if (!key.startsWith('HSD_') && !key.startsWith('NODE_TEST_'))
        clean[key] = process.env[key];
    }

    // hsd's tree takes four seconds to believe that the owner of its lock is
    // dead, and gives up after three.
    if (this.child)
      fs.rmSync(path.join(this.dir, 'tree', 'lock'), {force: true});

    this.lines = [];
    this.exit = null;
    const [command, ...rest] = [...within, process.execPath, ...argv, ...args];

    this.child = spawn(command, rest, {
      env: {...clean, ...env},
      stdio: ['ignore', 'pipe', 'pipe'],
      ...this.options.owner
    });

    this.capture(this.child.stdout);
    this.capture(this.child.stderr);

    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.exit = {code, signal};
        resolve(this.exit);
      });
    });
  }

  capture(stream) {
    let rest = '';

    stream.setEncoding('utf8');
    stream.on('data', (text) => {
      const at = performance.now();
      const parts = (rest + text).split('\n');
      rest = parts.pop();
      for (const line of parts)
        this.lines.push({at, text: line});
    });
    stream.on('end', () => {
      if (rest)
        this.lines.push({at: performance.now(), text: rest});
    });
  }

  async ready() {
    await this.waitFor('RPC', () => this.rpc('getblockcount').then(() => true),
      START_MS);

    if (this.options.plugin)
      await this.waitLog(/\(stratum\) listening on /);

    if (this.options.peer)
      await this.waitFor('its peer', () => this.handshakes(), START_MS);

    if (PROXIED && this.options.plugin)
      await this.readyFront();
  }

  /**
   * Start a proxy that tells the node nothing of its miners, and wait until it
   * knows that the node is up.
   */

  async readyFront() {
    // That module requires this one.
    const {Proxy} = require('./proxy');

    if (!this.front) {
      this.front = new Proxy(this.prefix, [this],
        ['--probe-timeout=2000', '--prefix=0a'], null);
      await this.front.begin();
    }

    // Without an address there is no job, and the node never counts as up.
    if (this.options.address)
      await this.front.waitUp();
  }

  /** The port to which miners connect. */

  get minersPort() {
    return this.front ? this.front.ports.stratum : this.ports.stratum;
  }

  handshakes() {
    return this.rpc('getpeerinfo').then((peers) => {
      return peers.some(peer => peer.version > 0);
    });
  }

  waitFor(what, fn, ms = WAIT_MS) {
    return waitFor(what, fn, {ms, node: this});
  }

  find(pattern, from = 0) {
    return this.lines.slice(from).find(line => pattern.test(line.text)) || null;
  }

  count(pattern) {
    return this.lines.filter(line => pattern.test(line.text)).length;
  }

  /** Wait for a log line; gives {at, text}. */

  waitLog(pattern, {from = 0, ms = WAIT_MS} = {}) {
    return this.waitFor(`a log line ${pattern}`,
      () => this.find(pattern, from), ms);
  }

  tail() {
    const lines = this.lines.slice(-LOG_TAIL).map(line => line.text);
    return `--- the node's last lines\n${lines.join('\n')}`;
  }

  async rpc(method, params = []) {
    const {result, error} = await this.call(method, params);

    if (error)
      throw new Error(`${method}: ${error.message}`);

    return result;
  }

  /** Call the node's RPC; gives its answer {result, error}. */

  call(method, params) {
    return this.fetch({
      method: 'POST',
      body: JSON.stringify({method, params, id: 1})
    });
  }

  /** The node's information over HTTP. */

  info() {
    return this.fetch({method: 'GET'});
  }

  async fetch(request) {
    const auth = Buffer.from(`x:${API_KEY}`).toString('base64');
    const res = await fetch(`http://127.0.0.1:${this.ports.http}/`, {
      ...request,
      headers: {
        'Content-Type': 'application/json',
        'Authorization': `Basic ${auth}`,
        'Connection': 'close'
      }
    });

    return res.json();
  }

  height() {
    return this.rpc('getblockcount');
  }

  tip() {
    return this.rpc('getbestblockhash');
  }

  mine(count) {
    return this.rpc('generatetoaddress',
      [count, this.options.address || ADDRESS]);
  }

  waitTip(hash, ms = WAIT_MS) {
    return this.waitFor(`the tip ${hash}`,
      async () => await this.tip() === hash, ms);
  }

  signal(name) {
    this.child.kill(name);
    return this.exited;
  }

  /** End the process at once, as a power failure would. */

  kill() {
    return this.exit ? this.exit : this.signal('SIGKILL');
  }

  async restart(changes = {}) {
    await this.kill();
    Object.assign(this.options, changes);
    await this.spawn();
    await this.ready();
  }
}

function makeNode(t, options = {}) {
  const node = new Node({
    plugin: true,     // false: none; a path: that one
    network: 'regtest',
    args: [],
    env: {},
    peer: null,       // the node to connect to
    listen: false,
    address: ADDRESS, // null: none
    wallet: false,
    spv: false,
    noPort: false,    // do not pass --stratum-port
    within: [],       // a command that becomes the node's process
    owner: {},        // {uid, gid} to run as
    ...options,
    prefix: options.prefix || makeDir()
  });

  t.after(async () => {
    if (node.child)
      await node.kill();
    if (node.front)
      await node.front.kill();
    removeDir(node.prefix);
  });

  return node;
}

/** Start a node and wait until it serves. */

async function startNode(t, options) {
  const node = makeNode(t, options);
  await node.spawn();
  await node.ready();
  return node;
}

/** Run a node that should stop by itself; gives {code, output}. */

async function runNode(t, options) {
  const node = makeNode(t, options);
  await node.spawn();
  await node.waitFor('the exit', () => node.exit, START_MS);
  return {...node.exit, node, output: node.lines.map(line => line.text)};
}

/** Start a node with the plugin and a plain one, connected. */

async function startPair(t, options = {}) {
  const first = await startNode(t, {listen: true, ...options});
  const second = await startNode(t, {plugin: false, peer: first});
  return [first, second];
}

/** Lines that are not the logger's: the user sees them of a failed start. */

function bareLines(output) {
  return output.filter((text) => {
    return text !== '' && !/^\[(error|warning|info|debug)\] /.test(text);
  });
}

module.exports = {
  ADDRESS,
  HSD_DIR,
  PLUGIN,
  bareLines,
  freePort,
  makeNode,
  notProxied,
  openMemoryNode,
  runNode,
  startNode,
  startPair,
  tempDir,
  waitFor
};
