'use strict';

/*
 * `hstratum-swarm submit` as a process, and its journal.
 */

const {spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const {waitFor} = require('../plugin/test/harness');

const RELEASE = path.join(__dirname, '..', 'target', 'release');
const BINARY = path.join(RELEASE, 'hstratum');
const SWARM = path.join(RELEASE, 'hstratum-swarm');

/** The code of a share that the ledger refuses. */
const LEDGER_FAILING = 20;

/** Longest age of an unanswered share of a miner that is well. */
const WELL_MS = 1000;

class Swarm {
  /**
   * @param {Node} node - the server of the miners.
   * @param {String} file - of the journal.
   * @param {String[]} args
   * @param {Object} [where] {host, netns: the process's namespace}
   */

  constructor(node, file, args, {host = '127.0.0.1', netns = null} = {}) {
    this.node = node;
    this.file = file;
    this.offset = 0;
    this.rest = '';
    this.accounts = new Map();    // name to its last line
    this.found = new Map();       // a block's hash to the answer
    this.progress = null;         // the last line
    this.output = '';
    this.exit = null;

    const command = netns ? ['ip', 'netns', 'exec', netns, SWARM] : [SWARM];

    // ip replaces itself by the swarm: there is no process between.
    this.child = spawn(command[0], [...command.slice(1),
      'submit',
      `--url=stratum+tcp://${host}:${node.ports.stratum}`,
      `--journal=${file}`,
      '--reconnect',
      '--json',
      ...args
    ], {stdio: ['ignore', 'pipe', 'pipe']});

    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        this.output += text;
      });
    }

    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.exit = {code, signal};
        resolve(this.exit);
      });
    });
  }

  /** Read the lines that were added to the journal. */

  read() {
    const size = fs.existsSync(this.file) ? fs.statSync(this.file).size : 0;

    if (size > this.offset) {
      const fd = fs.openSync(this.file, 'r');
      const buffer = Buffer.alloc(size - this.offset);
      this.offset += fs.readSync(fd, buffer, 0, buffer.length, this.offset);
      fs.closeSync(fd);
      this.rest += buffer.toString('utf8');
    }

    const lines = this.rest.split('\n');
    this.rest = lines.pop();

    for (const line of lines)
      this.handle(JSON.parse(line));

    return this.progress || {at: 0, acknowledged: 0, working: 0, refused: {}};
  }

  handle(line) {
    switch (line.kind) {
      case 'account':
        this.accounts.set(line.account, line);
        break;
      case 'block':
        this.found.set(line.hash, {answered: false, refused: null});
        break;
      case 'answer':
        this.found.set(line.hash, {answered: true, refused: line.refused});
        break;
      case 'progress':
        this.progress = line;
        break;
    }
  }

  /** Wait until the journal's last progress line is so; gives that line. */

  waitFor(what, isSo, ms) {
    return waitFor(what, () => {
      const progress = this.read();
      if (this.exit)
        throw new Error(`the swarm has ended: ${this.output}`);
      return isSo(progress) ? progress : null;
    }, {ms, node: this.node.exit ? null : this.node});
  }

  /**
   * Wait until all miners have work and so many more shares are acknowledged.
   */

  async waitMining(miners, shares) {
    const {acknowledged} = this.read();
    return this.waitFor(`${miners} miners and ${shares} shares`, (progress) => {
      return progress.working === miners
        && progress.acknowledged >= acknowledged + shares;
    }, 60000);
  }

  /** Wait until each miner has work, and answers to its shares; gives ms. */

  async waitWell(miners, ms) {
    const begun = Date.now();
    const {acknowledged} = this.read();

    await this.waitFor(`${miners} miners that are well`, (progress) => {
      return progress.at > begun
        && progress.working === miners
        && progress.acknowledged > acknowledged
        && progress.oldest_ms < WELL_MS;
    }, ms);

    return Date.now() - begun;
  }

  /**
   * Wait until the journal shows the end of all connections to a dead server.
   */

  waitLost(since) {
    return this.waitFor('the end of all connections', (progress) => {
      return progress.at > since
        && progress.working === 0
        && progress.outstanding === 0;
    });
  }

  /** End in order; after that the journal and the report are complete. */

  async stop() {
    this.child.kill('SIGTERM');
    const {code} = await this.exited;
    this.read();
    if (code !== 0)
      throw new Error(`the swarm failed: ${this.output}`);
    const lines = this.output.trim().split('\n').map(line => JSON.parse(line));
    return lines.find(line => line.kind === 'summary');
  }

  /**
   * Bounds of each account in the ledger.
   * @returns {Map} "account difficulty" to [acknowledged, unanswered, refused
   * because the ledger could not be written]
   */

  bounds() {
    const bounds = new Map();

    const add = (account, work, place) => {
      for (const [difficulty, count] of work) {
        const key = `${account} ${difficulty}`;
        if (!bounds.has(key))
          bounds.set(key, [0, 0, 0]);
        bounds.get(key)[place] += count;
      }
    };

    for (const [account, line] of this.accounts) {
      add(account, line.acknowledged, 0);
      add(account, line.unanswered, 1);
      add(account, line.outstanding, 1);
    }

    for (const [key, bound] of bounds) {
      const {refused} = this.accounts.get(key.slice(0, key.lastIndexOf(' ')));
      bound[2] = refused[LEDGER_FAILING] || 0;
    }

    return bounds;
  }
}

/**
 * Several swarms whose accounts have different names, as one for the checks.
 */

class Swarms {
  constructor(swarms) {
    this.swarms = swarms;
  }

  get found() {
    return new Map(this.swarms.flatMap(swarm => [...swarm.found]));
  }

  bounds() {
    return new Map(this.swarms.flatMap(swarm => [...swarm.bounds()]));
  }
}

module.exports = {BINARY, Swarm, Swarms};
