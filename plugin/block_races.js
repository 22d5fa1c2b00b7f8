'use strict';

/*
 * Reports which peers ask for a found block within a second of its
 * announcement. The native half measures the times. Nothing in here throws: a
 * block must be announced and added whatever happens to its measurement.
 */

const SPREAD_MS = 1000;

/** Blocks watched at a time. Further ones are announced without. */
const OPEN_MAX = 16;

class BlockRaces {
  constructor(node, hsd, server) {
    this.node = node;
    this.server = server;
    this.types = hsd.packetTypes;
    this.open = new hsd.BufferMap();   // the peers that have asked, by hash
  }

  /** A block was announced just now, whose solution was taken at `takenAt`. */

  begin(hash, takenAt) {
    guard(() => {
      this.server.blockAnnounced(hash, countPeers(this.node.pool),
        performance.now() - takenAt);
    });

    // A block may be offered anew while it is announced.
    if (this.open.size >= OPEN_MAX || this.open.has(hash))
      return;

    const peers = new Set();
    const timer = setTimeout(() => {
      this.open.delete(hash);
      guard(() => this.server.blockSpread(hash, peers.size));
    }, SPREAD_MS);

    this.open.set(hash, peers);
    timer.unref();
  }

  /** A block is not announced: nobody is there, or another is on the tip. */

  skip(hash) {
    guard(() => this.server.blockSpread(hash, 0));
  }

  onPacket(packet, peer) {
    if (this.open.size === 0)
      return;

    guard(() => {
      if (packet.type === this.types.GETDATA) {
        for (const item of packet.items) {
          if (item.isBlock())
            this.onAsked(item.hash, peer);
        }
      } else if (packet.type === this.types.GETBLOCKTXN) {
        this.onAsked(packet.request.hash, peer);
      }
    });
  }

  onAsked(hash, peer) {
    const peers = this.open.get(hash);

    if (!peers)
      return;

    if (peers.size === 0)
      this.server.blockAsked(hash);

    peers.add(peer.id);
  }
}

function guard(fn) {
  try {
    fn();
  } catch (e) {
    ;
  }
}

function countPeers(pool) {
  let count = 0;

  for (let peer = pool.peers.head(); peer; peer = peer.next) {
    if (peer.handshake)
      count += 1;
  }

  return count;
}

exports.BlockRaces = BlockRaces;
