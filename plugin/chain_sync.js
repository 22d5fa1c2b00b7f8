'use strict';

/*
 * The download of the chain: reported to the native half, which shows it,
 * until the node is synchronized.
 */

const {errorText} = require('./error_text');
const {isSynced} = require('./templates');

const TELL_MS = 3000;

class ChainSync {
  constructor(node, server, logger) {
    this.node = node;
    this.server = server;
    this.logger = logger;
    this.isTold = false;     // the native half has a report
    this.timer = null;
  }

  /** Begin, once the node is open. */

  start() {
    this.timer = setInterval(() => this.tell(), TELL_MS);
    this.timer.unref();
    this.tell();
  }

  tell() {
    const {chain, pool} = this.node;

    try {
      const isDone = isSynced(chain);

      if (!isDone)
        this.server.chainSync(report(chain, pool));
      else if (this.isTold)
        this.server.chainSync(null);

      this.isTold = !isDone;
    } catch (e) {
      this.logger.error('failed to report the download of the chain: %s',
        errorText(e));
    }
  }

  stop() {
    clearInterval(this.timer);
  }
}

function report(chain, pool) {
  const heights = [];

  for (let peer = pool.peers.head(); peer; peer = peer.next) {
    if (peer.handshake)
      heights.push(peer.height);
  }

  heights.sort((a, b) => a - b);

  return {
    height: chain.height,
    progress: chain.getProgress(),
    peers: heights.length,
    tipTime: chain.tip.time,
    // A peer may claim any height: the lower median is not moved by fewer
    // than half of them.
    peerHeight: heights[Math.ceil(heights.length / 2) - 1]
  };
}

exports.ChainSync = ChainSync;
