'use strict';

/*
 * `hstratum proxy` as a process, before real nodes.
 */

const {spawn, execFileSync} = require('child_process');
const path = require('path');
const {freePort, tempDir, waitFor} = require('./harness');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');

const SECRET = 'between servers and proxies';

class Proxy {
  constructor(dir, nodes, args) {
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

  async start() {
    this.ports.stratum = this.ports.stratum || await freePort();
    this.lines = [];
    this.exit = null;
    this.child = spawn(BINARY, [
      'proxy',
      `--listen=tcp://127.0.0.1:${this.ports.stratum}`,
      ...this.names.map(name => `--backend=${name}`),
      `--control=${this.control}`,
      ...this.args
    ], {
      env: {...process.env, HSTRATUM_PROXY_PROXY_SECRET: SECRET},
      stdio: ['ignore', 'ignore', 'pipe']
    });

    let rest = '';

    this.child.stderr.setEncoding('utf8');
    this.child.stderr.on('data', (text) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop();
      this.lines.push(...parts);
    });

    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.exit = {code, signal};
        resolve(this.exit);
      });
    });

    await this.waitFor('all servers up', () => {
      return this.status().servers.every(server => server.state === 'up');
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
    const text = execFileSync(BINARY,
      ['proxy', ...order, `--control=${this.control}`],
      {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});
    return JSON.parse(text);
  }

  status() {
    return this.ask('status');
  }

  /** How many miners each server has. */

  spread() {
    return this.status().servers.map(server => server.miners);
  }

  async stop() {
    this.child.kill('SIGTERM');
    return this.exited;
  }
}

/** A proxy before nodes; it ends with the test. */

async function startProxy(t, nodes, args = []) {
  const proxy = new Proxy(tempDir(t), nodes, args);

  t.after(async () => {
    if (proxy.child && !proxy.exit) {
      proxy.child.kill('SIGKILL');
      await proxy.exited;
    }
  });

  await proxy.start();
  return proxy;
}

module.exports = {BINARY, Proxy, SECRET, startProxy};
