'use strict';

/*
 * `hstratum proxy` as a process, before real nodes.
 */

const assert = require('assert');
const {spawn, execFileSync} = require('child_process');
const path = require('path');
const {freePort, tempDir, waitFor} = require('./harness');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');

const SECRET = 'between servers and proxies';

class Proxy {
  constructor(dir, nodes, args, secret = SECRET) {
    this.secret = secret;
    this.nodes = nodes;
    this.args = args;
    this.control = path.join(dir, 'control');
    this.ports = {};
    this.lines = [];
    this.child = null;
    this.exit = null;
  }

  get names() {
    return this.nodes.map(node => `127.0.0.1:${node.ports.stratum}`);
  }

  /** The port to which miners connect. */

  get minersPort() {
    return this.ports.stratum;
  }

  async start() {
    await this.begin();
    await this.waitUp();
  }

  async begin() {
    this.ports.stratum = this.ports.stratum || await freePort();
    this.spawn([]);
    await this.waitLog(/listening on /);
  }

  /** Have a new process take everything over; gives how the old one ended. */

  async takeOver() {
    const {child, exited} = this;

    // The exit of the old process is awaited; `child` is the new one from here
    // on.
    this.spawn(['--take-over']);
    const exit = await exited;
    assert.notStrictEqual(this.child.pid, child.pid);
    await this.waitUp();
    return exit;
  }

  waitUp() {
    return this.waitFor('all servers up', () => {
      return this.status().servers.every(server => server.state === 'up');
    });
  }

  spawn(more) {
    const child = spawn(BINARY, [
      'proxy',
      `--listen=tcp://127.0.0.1:${this.ports.stratum}`,
      ...this.names.map(name => `--backend=${name}`),
      `--control=${this.control}`,
      ...this.args,
      ...more
    ], {
      env: this.secret
        ? {...process.env, HSTRATUM_PROXY_PROXY_SECRET: this.secret}
        : process.env,
      stdio: ['ignore', 'ignore', 'pipe']
    });

    let rest = '';

    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop();
      this.lines.push(...parts);
    });

    this.child = child;
    this.exit = null;
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        const exit = {code, signal};
        if (this.child === child)
          this.exit = exit;
        resolve(exit);
      });
    });
  }

  tail() {
    return `--- the proxy's last lines\n${this.lines.slice(-40).join('\n')}`;
  }

  waitFor(what, fn, ms) {
    return waitFor(what, fn, {ms, node: this});
  }

  waitLog(pattern, ms) {
    return this.waitFor(`a log line ${pattern}`,
      () => this.lines.find(line => pattern.test(line)), ms);
  }

  ask(...order) {
    return JSON.parse(this.tell(...order, '--json'));
  }

  /** Give an order and get the text for people. */

  tell(...order) {
    return execFileSync(BINARY,
      ['proxy', ...order, `--control=${this.control}`],
      {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});
  }

  status() {
    return this.ask('status');
  }

  /** The number of miners on each server. */

  spread() {
    return this.status().servers.map(server => server.miners);
  }

  async stop() {
    this.child.kill('SIGTERM');
    return this.exited;
  }

  async kill() {
    if (this.child && !this.exit) {
      this.child.kill('SIGKILL');
      await this.exited;
    }
  }
}

/**
 * Start a proxy before nodes, until the test ends. Its time limit for a
 * hanging server allows for a busy machine.
 */

async function startProxy(t, nodes, args = []) {
  const proxy = new Proxy(tempDir(t), nodes,
    ['--probe-timeout=2000', ...args]);

  t.after(() => proxy.kill());

  await proxy.start();
  return proxy;
}

module.exports = {BINARY, Proxy, SECRET, startProxy};
