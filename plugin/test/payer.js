'use strict';

/*
 * `hstratum payout send` under a test's control: run against a real node and
 * wallet through proxies that can interrupt it at one exact call.
 */

const {execFile, spawn} = require('child_process');
const http = require('http');
const path = require('path');
const {promisify} = require('util');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');
const KEY = 'test';

/**
 * Passes HTTP on to a port. A trap fires once, at the first request whose
 * text, `METHOD path body`, matches: before the request is passed on, or after
 * it was answered and before the answer is passed back. That request never
 * gets an answer.
 */

class Proxy {
  constructor(port) {
    this.port = port;
    this.trap = null;
    this.seen = [];
    this.server = http.createServer((req, res) => {
      this.handle(req, res).catch(() => req.socket.destroy());
    });
  }

  static async start(t, port) {
    const proxy = new this(port);
    await new Promise((resolve) => {
      proxy.server.listen(0, '127.0.0.1', resolve);
    });
    t.after(() => {
      proxy.server.closeAllConnections();
      proxy.server.close();
    });
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  async handle(req, res) {
    const body = await read(req);
    const text = `${req.method} ${req.url} ${body}`;
    const trap = this.trap && this.trap.pattern.test(text) ? this.trap : null;

    this.seen.push(text);

    if (trap)
      this.trap = null;

    if (trap && trap.when === 'before')
      return this.spring(trap, req);

    const {status, answer} = await pass(this.port, req, body);

    if (trap)
      return this.spring(trap, req);

    res.writeHead(status, {'Content-Type': 'application/json'});
    res.end(answer);
    return undefined;
  }

  async spring(trap, req) {
    await trap.then();
    req.socket.destroy();
  }
}

function read(stream) {
  return new Promise((resolve, reject) => {
    const parts = [];
    stream.on('data', part => parts.push(part));
    stream.on('end', () => resolve(Buffer.concat(parts).toString()));
    stream.on('error', reject);
  });
}

function pass(port, req, body) {
  return new Promise((resolve, reject) => {
    const headers = {...req.headers, 'content-length': Buffer.byteLength(body)};
    const {method} = req;
    const out = http.request(
      {host: '127.0.0.1', port, method, path: req.url, headers}, (res) => {
        read(res).then(
          answer => resolve({status: res.statusCode, answer}), reject);
      });
    out.on('error', reject);
    out.end(body);
  });
}

/** The wallets of a node, over HTTP. */

class Wallets {
  constructor(node) {
    this.node = node;
  }

  async call(method, url, body) {
    const {port} = {port: this.node.ports.wallet};
    const auth = Buffer.from(`x:${KEY}`).toString('base64');
    const res = await fetch(`http://127.0.0.1:${port}${url}`, {
      method,
      headers: {
        'Content-Type': 'application/json',
        'Authorization': `Basic ${auth}`,
        'Connection': 'close'
      },
      body: body ? JSON.stringify(body) : undefined
    });
    const answer = await res.json();

    if (res.status !== 200)
      throw new Error(`${method} ${url}: ${JSON.stringify(answer)}`);

    return answer;
  }

  async create(id) {
    await this.call('PUT', `/wallet/${id}`, {});
    return this.address(id);
  }

  async address(id) {
    const account = await this.call('GET', `/wallet/${id}/account/default`);
    return account.receiveAddress;
  }

  async confirmed(id) {
    return (await this.call('GET', `/wallet/${id}/balance`)).confirmed;
  }

  async unlockCoins(id) {
    const coins = await this.call('GET', `/wallet/${id}/locked`);
    for (const {hash, index} of coins)
      await this.call('DELETE', `/wallet/${id}/locked/${hash}/${index}`);
    return coins.length;
  }
}

/** The command, with a proxy before the node and one before the wallet. */

class Payer {
  constructor(ledger, terms, node, wallet) {
    this.ledger = ledger;
    this.terms = terms;
    this.node = node;
    this.wallet = wallet;
    this.child = null;
  }

  /** Start one for a server's ledger, or for one that servers share. */

  static async start(t, pool, terms, shared = null) {
    const node = await Proxy.start(t, pool.ports.http);
    const wallet = await Proxy.start(t, pool.ports.wallet);
    const ledger = shared || path.join(pool.stratumDir, 'ledger.db');
    return new this(ledger, terms, node, wallet);
  }

  /** Run any command of the binary; gives its output, of JSON the value. */

  async tool(...args) {
    const {stdout} = await promisify(execFile)(BINARY, args, {
      env: {...process.env, HSTRATUM_NODE_API_KEY: KEY}
    });

    return args.includes('--json') ? JSON.parse(stdout) : stdout;
  }

  plan() {
    return this.tool('payout', 'plan', '--ledger', this.ledger, '--json',
      ...this.terms);
  }

  /** Run `payout send`; gives {code, signal, out, err}. */

  send({args = [], env = {}, wallet = 'primary'} = {}) {
    this.child = spawn(BINARY, [
      'payout', 'send', '--ledger', this.ledger, ...this.terms, '--json',
      '--node-url', this.node.url, '--wallet-url', this.wallet.url,
      '--wallet', wallet, ...args
    ], {
      env: {
        ...process.env,
        HSTRATUM_NODE_API_KEY: KEY,
        HSTRATUM_WALLET_API_KEY: KEY,
        ...env
      },
      stdio: ['ignore', 'pipe', 'pipe']
    });

    const {child} = this;
    const ended = new Promise(resolve => child.once('close',
      (code, signal) => resolve({code, signal})));

    return Promise.all([read(child.stdout), read(child.stderr), ended])
      .then(([stdout, err, end]) => {
        return {...end, err, out: stdout ? JSON.parse(stdout) : null};
      });
  }

  /** Run it and kill it at a call, as a power failure would. */

  async sendKilled(proxy, when, pattern) {
    const then = () => new Promise((resolve) => {
      this.child.once('exit', resolve);
      this.child.kill('SIGKILL');
    });

    proxy.trap = {pattern, when, then};

    const {signal, err, code} = await this.send();

    if (signal !== 'SIGKILL')
      throw new Error(`not killed at ${pattern}: ${code} ${err}`);
  }
}

module.exports = {Payer, Wallets};
