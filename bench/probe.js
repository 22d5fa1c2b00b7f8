'use strict';

/*
 * A plugin for hsd that prints when a block passes each point of the node, as
 * lines `probe <point> <hash> <ms>` by the machine's monotonic clock. It
 * writes them a moment later, so that writing does not delay the measured
 * steps.
 */

const QUIET_MS = 25;

class Probe {
  constructor(node) {
    this.node = node;
    this.lines = [];
  }

  async open() {
    const {chain, pool} = this.node;
    const stratum = this.node.get('hstratum');

    if (stratum) {
      before(stratum.blocks, 'submit', (solution) => {
        this.mark('told', solution.hash);
      });
    }

    chain.prependListener('tip', entry => this.mark('tip', entry.hash));
    before(chain, '_add', block => this.mark('add', block.hash()));
    chain.on('connect', entry => this.mark('connected', entry.hash));

    // Written to the sockets of all peers when this returns.
    const announce = pool.announceBlock;

    pool.announceBlock = (block) => {
      announce.call(pool, block);
      this.mark('inv', block.hash());
    };

    const serve = pool.handleGetData;

    pool.handleGetData = async (peer, packet) => {
      const blocks = packet.items.filter(item => !item.isTX());

      for (const item of blocks)
        this.mark('asked', item.hash);

      await serve.call(pool, peer, packet);

      // The kernel may not have taken all; the rest needs the event loop.
      for (const item of blocks) {
        if (peer.socket.writableLength === 0)
          this.mark('written', item.hash);
        else
          peer.socket.once('drain', () => this.mark('written', item.hash));
      }
    };

    // All ways of a block end here: full, compact, completed.
    before(pool, 'addBlock', (peer, block) => {
      this.mark('whole', block.hash());
    });
  }

  async close() {}

  mark(point, hash) {
    const at = now();

    if (this.lines.length === 0)
      setTimeout(() => this.flush(), QUIET_MS);

    this.lines.push(`probe ${point} ${hash.toString('hex')} ${at}\n`);
  }

  flush() {
    process.stdout.write(this.lines.join(''));
    this.lines = [];
  }
}

function before(object, name, fn) {
  const method = object[name];

  object[name] = (...args) => {
    fn(...args);
    return method.apply(object, args);
  };
}

/**
 * Milliseconds by the monotonic clock, which all processes of the machine
 * share.
 */

function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

exports.id = 'probe';
exports.init = node => new Probe(node);
exports.now = now;
