'use strict';

/*
 * A bare peer on the Handshake network: shakes hands, asks for every block
 * that is announced, and records when it has come.
 */

const crypto = require('crypto');
const net = require('net');
const Framer = require('hsd/lib/net/framer');
const Parser = require('hsd/lib/net/parser');
const packets = require('hsd/lib/net/packets');
const InvItem = require('hsd/lib/primitives/invitem');
const {TXRequest} = require('hsd/lib/net/bip152');
const {waitFor} = require('./harness');

class Observer {
  constructor(node) {
    this.node = node;
    this.framer = new Framer(node.options.network);
    this.parser = new Parser(node.options.network);
    this.socket = null;
    this.ready = false;
    this.announced = new Map();   // hash → time
    this.received = new Map();    // hash → {at, block}
  }

  /**
   * Connect and shake hands.
   * @param {Object} [options] {compact: ask for compact blocks unasked}
   */

  static async connect(t, node, options = {}) {
    const observer = new this(node);
    observer.compact = Boolean(options.compact);
    observer.open();
    t.after(() => observer.socket.destroy());
    await waitFor('the handshake', () => observer.ready, {node});
    return observer;
  }

  open() {
    this.socket = net.connect(this.node.ports.p2p, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.on('error', () => {});
    this.socket.on('data', data => this.parser.feed(data));
    this.parser.on('packet', packet => this.handle(packet));
    this.parser.on('error', () => this.socket.destroy());
    this.socket.once('connect', () => {
      this.send(new packets.VersionPacket({
        services: 1, time: Math.floor(Date.now() / 1000), height: 0,
        agent: '/observer:1.0/', noRelay: false,
        nonce: crypto.randomBytes(8)
      }));
    });
  }

  send(packet) {
    this.socket.write(this.framer.packet(packet.type, packet.encode()));
  }

  handle(packet) {
    const {types} = packets;

    switch (packet.type) {
      case types.VERSION:
        this.send(new packets.VerackPacket());
        break;
      case types.VERACK:
        if (this.compact)
          this.send(new packets.SendCmpctPacket(1, 1));
        // The answer shows that everything before it has been handled.
        this.send(new packets.PingPacket(Buffer.alloc(8, 1)));
        break;
      case types.PONG:
        this.ready = true;
        break;
      case types.PING:
        this.send(new packets.PongPacket(packet.nonce));
        break;
      case types.INV:
        this.onInv(packet.items);
        break;
      case types.BLOCK:
        // The parser leaves a block's transactions undecoded.
        this.received.set(packet.block.hash().toString('hex'),
          {at: performance.now(), block: packet.block.toBlock()});
        break;
      case types.CMPCTBLOCK:
        this.onCompact(packet.block);
        break;
      case types.BLOCKTXN:
        this.received.set(packet.response.hash.toString('hex'),
          {at: performance.now(), txs: packet.response.txs});
        break;
    }
  }

  onInv(items) {
    const blocks = items.filter(item => item.isBlock());

    for (const item of blocks)
      this.announced.set(item.hash.toString('hex'), performance.now());

    if (blocks.length > 0) {
      this.send(new packets.GetDataPacket(blocks.map((item) => {
        return new InvItem(InvItem.types.BLOCK, item.hash);
      })));
    }
  }

  /** Ask for all transactions, as a peer that knows none of them. */

  onCompact(block) {
    const request = new TXRequest();

    request.hash = block.hash();
    request.indexes = Array.from({length: block.totalTX}, (_, i) => i);
    this.announced.set(request.hash.toString('hex'), performance.now());
    this.send(new packets.GetBlockTxnPacket(request));
  }

  waitBlock(hash) {
    return waitFor(`block ${hash} at the observer`,
      () => this.received.get(hash), {node: this.node});
  }
}

module.exports = {Observer};
