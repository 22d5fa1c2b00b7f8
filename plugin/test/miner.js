'use strict';

/*
 * A stratum client for the tests: sends any line, keeps every notification,
 * and solves jobs with hsd's own header code.
 */

const net = require('net');
const Headers = require('hsd/lib/primitives/headers');
const {getTarget} = require('hsd/lib/mining/common');
const {waitFor} = require('./harness');

const HASHES_MAX = 100000;
const ZERO = Buffer.alloc(32);

class Miner {
  constructor(node) {
    this.node = node;
    this.socket = null;
    this.sent = 0;
    this.replies = new Map();
    this.lines = [];          // all that came, parsed where it is JSON
    this.jobs = [];
    this.difficulty = null;
    this.extraNonce1 = null;
    this.closed = null;       // 'end', 'reset' or 'close' once it is
    this.extraNonce2 = 0;
  }

  static async connect(t, node) {
    const miner = new this(node);
    await miner.open();
    t.after(() => miner.socket.destroy());
    return miner;
  }

  /** A miner that is connected, subscribed, authorized, and has a job. */

  static async start(t, node, user = 'alice', password = 'x') {
    const miner = await this.connect(t, node);
    await miner.subscribe();
    await miner.authorize(user, password);
    await miner.waitJob();
    return miner;
  }

  open() {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.node.minersPort, '127.0.0.1');
      let rest = '';

      this.socket = socket;
      socket.setNoDelay(true);
      socket.setEncoding('utf8');
      socket.once('connect', () => resolve(this));
      socket.once('error', reject);
      socket.on('error', () => {
        this.closed = this.closed || 'reset';
      });
      socket.on('end', () => {
        this.closed = this.closed || 'end';
      });
      socket.on('close', () => {
        this.closed = this.closed || 'close';
      });
      socket.on('data', (text) => {
        const parts = (rest + text).split('\n');
        rest = parts.pop();
        for (const line of parts)
          this.handle(line);
      });
    });
  }

  handle(line) {
    let message;

    try {
      message = JSON.parse(line);
    } catch (e) {
      this.lines.push(line);
      return;
    }

    this.lines.push(message);

    if (message.method === 'mining.notify')
      this.jobs.push({...decodeJob(message.params), at: Date.now()});
    else if (message.method === 'mining.set_difficulty')
      [this.difficulty] = message.params;
    else if (message.id != null)
      this.replies.set(message.id, message);
  }

  write(text) {
    this.socket.write(text);
  }

  /** Send a request without waiting; gives its id. */

  send(method, params) {
    const id = ++this.sent;
    this.write(`${JSON.stringify({id, method, params})}\n`);
    return id;
  }

  waitFor(what, fn, ms) {
    return waitFor(what, fn, {ms, node: this.node});
  }

  reply(id) {
    return this.waitFor(`the reply to request ${id}`, () => {
      return this.replies.get(id);
    });
  }

  request(method, params) {
    return this.reply(this.send(method, params));
  }

  async subscribe(params = ['test/1.0']) {
    const {result, error} = await this.request('mining.subscribe', params);

    if (error)
      throw new Error(`subscribe: ${JSON.stringify(error)}`);

    this.extraNonce1 = result[1];
    return result;
  }

  authorize(user, password = 'x') {
    return this.request('mining.authorize', [user, password]);
  }

  get job() {
    return this.jobs[this.jobs.length - 1] || null;
  }

  waitJob(test = () => true, ms) {
    return this.waitFor('a job', () => {
      return this.job && test(this.job) ? this.job : null;
    }, ms);
  }

  waitClosed(ms) {
    return this.waitFor('the end of the connection', () => this.closed, ms);
  }

  /**
   * Find a share for a job that is a block.
   * @returns {Object} {params for mining.submit but the user, hash}
   */

  solve(job = this.job) {
    return this.search(job, (hash, target) => hash.compare(target) <= 0);
  }

  /**
   * Find one that is no block: on regtest the block target is every share's.
   */

  miss(job = this.job) {
    return this.search(job, (hash, target) => hash.compare(target) > 0);
  }

  search(job, test) {
    const extraNonce1 = Buffer.from(this.extraNonce1, 'hex');
    const extraNonce2 = Buffer.alloc(4);

    // No header is tried twice on one connection.
    extraNonce2.writeUInt32BE(this.extraNonce2++);
    return search(job, extraNonce1, extraNonce2, test);
  }

  /** Solve and submit; gives the reply with the block's hash. */

  async submit(user = 'alice', share = this.solve()) {
    const {error, result} = await this.request('mining.submit',
      [user, ...share.params]);
    return {error, result, hash: share.hash};
  }
}

function decodeJob(params) {
  const [id, ...rest] = params;
  const [prevBlock, merkleRoot, witnessRoot, treeRoot, reservedRoot]
    = rest.slice(0, 5).map(hex => Buffer.from(hex, 'hex'));
  const [version, bits, time] = rest.slice(5, 8).map(hex => parseInt(hex, 16));

  return {id, prevBlock, merkleRoot, witnessRoot, treeRoot, reservedRoot,
    version, bits, time, params};
}

function search(job, extraNonce1, extraNonce2, test) {
  const target = getTarget(job.bits);
  const headers = new Headers();

  Object.assign(headers, {
    version: job.version,
    prevBlock: job.prevBlock,
    merkleRoot: job.merkleRoot,
    witnessRoot: job.witnessRoot,
    treeRoot: job.treeRoot,
    reservedRoot: job.reservedRoot,
    time: job.time,
    bits: job.bits,
    extraNonce: Buffer.concat([extraNonce1, extraNonce2, Buffer.alloc(16)]),
    mask: ZERO
  });

  for (let nonce = 0; nonce < HASHES_MAX; nonce++) {
    headers.nonce = nonce;

    const hash = headers.shareHash();

    if (test(hash, target)) {
      return {
        params: [job.id, extraNonce2.toString('hex'), hex32(job.time),
          hex32(nonce)],
        hash: hash.toString('hex')
      };
    }
  }

  throw new Error('nothing found');
}

function hex32(num) {
  return num.toString(16).padStart(8, '0');
}

module.exports = {Miner};
