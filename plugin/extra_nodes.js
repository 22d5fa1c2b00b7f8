'use strict';

/*
 * Keeps the node connected to the nodes of option `extra-nodes`, as peers of
 * its own beyond max-outbound: hsd announces a found block to them with all
 * others, and no block reaches them over others first. Connecting, handshake
 * and pings, and their deadlines, are hsd's. Peers are not pushed whole blocks:
 * hsd drops a peer that sends one unasked.
 */

const {errorText} = require('./error_text');
const {isSynced} = require('./templates');

const TICK_MS = 1000;
const RETRY_MS = 5000;

/** Log lines of a node at first, and one more in each of these times. */
const LINES = 6;
const LINE_MS = 60000;

class ExtraNodes {
  constructor(node, hsd, server, calls, logger) {
    this.chain = node.chain;
    this.pool = node.pool;
    this.network = node.network;
    this.NetAddress = hsd.NetAddress;
    this.server = server;
    this.calls = calls;
    this.logger = logger;
    this.timer = null;
    this.told = [];          // {address, connected, reason}
    this.nodes = server.extraNodes.map(({name, host, port}) => ({
      name,
      host,
      port,
      attempts: 0,
      isConnecting: false,
      retryAt: 0,
      peer: null,
      error: '',             // the peer's first
      logged: null,          // what the last line of the log says
      lines: LINES,
      linesAt: performance.now(),
      connected: null,       // null before the first attempt has ended
      reason: ''
    }));
  }

  start() {
    if (this.nodes.length === 0)
      return;

    // hsd fills its own places as before.
    this.pool.options.maxOutbound += this.nodes.length;
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.timer.unref();
    this.tell();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  /** Look after all nodes. Never throws. */

  tick() {
    if (!this.timer)
      return;

    try {
      for (const node of this.nodes)
        this.look(node);
    } catch (e) {
      this.logger.error('failed to look after extra nodes: %s', errorText(e));
    }
  }

  look(node) {
    const {peer} = node;

    if (peer && !peer.destroyed) {
      if (peer.handshake)
        this.set(node, true, '');
      return;
    }

    if (peer) {
      node.peer = null;
      node.retryAt = performance.now() + RETRY_MS;
      this.set(node, false, node.error || 'it closed the connection');
    }

    // Until the node is synchronized it has no job, and syncs as it would.
    const isWanted = isSynced(this.chain) && this.pool.connected
      && !this.pool.disconnecting;

    if (!isWanted || node.isConnecting || performance.now() < node.retryAt)
      return;

    node.isConnecting = true;

    this.connect(node).catch((e) => {
      node.retryAt = performance.now() + RETRY_MS;
      this.set(node, false, errorText(e));
    }).finally(() => {
      node.isConnecting = false;
    });
  }

  async connect(node) {
    const {pool} = this;
    const addresses = await this.resolve(node.host);

    if (!this.timer || !pool.opened)
      return;

    // Each address of a name in turn.
    const host = addresses[node.attempts++ % addresses.length];
    const address = this.NetAddress.fromHost(host, node.port, null,
      this.network);

    if (pool.hosts.isBanned(address.host))
      throw new Error('the node has banned it');

    node.error = '';
    node.peer = pool.peers.get(address.hostname) || this.add(address);
    // The first one is the cause of others.
    node.peer.on('error', (e) => {
      node.error = node.error || errorText(e);
    });
  }

  /** By the native half: a name server that hangs holds no thread of libuv. */

  async resolve(host) {
    try {
      const {addresses} = await this.calls.order((id) => {
        this.server.resolve(id, host);
      });

      return addresses;
    } catch (e) {
      throw new Error(`failed to look ${host} up: ${errorText(e)}`);
    }
  }

  /**
   * As hsd does it (lib/net/pool.js, addOutbound), beyond its maximum. A wrong
   * port, or a node of another network, has not misbehaved: hsd would refuse
   * its whole host for a day.
   */

  add(address) {
    const {pool} = this;
    const peer = pool.createOutbound(address);
    const ban = peer.ban.bind(peer);

    peer.ban = () => {
      if (peer.handshake)
        ban();
      else
        peer.destroy();
    };

    pool.peers.add(peer);
    pool.emit('peer', peer);

    return peer;
  }

  /** Log and report a change. */

  set(node, connected, reason) {
    if (node.connected !== connected || node.reason !== reason) {
      node.connected = connected;
      node.reason = reason;
      this.tell();
    }

    if (node.logged !== connected && this.mayLog(node))
      this.log(node);
  }

  mayLog(node) {
    const now = performance.now();

    node.lines = Math.min(LINES, node.lines + (now - node.linesAt) / LINE_MS);
    node.linesAt = now;

    return node.lines >= 1;
  }

  log(node) {
    node.lines -= 1;
    node.logged = node.connected;

    if (node.connected)
      this.logger.info('extra node %s is connected', node.name);
    else
      this.logger.warning('extra node %s is not connected: %s', node.name,
        node.reason);
  }

  tell() {
    this.told = this.nodes.map(({name, connected, reason}) => {
      return {address: name, connected: connected === true, reason};
    });

    this.server.tellExtraNodes(this.told);
  }
}

exports.ExtraNodes = ExtraNodes;
