'use strict';

/*
 * Brings found blocks to the network and into the chain, in that order: we
 * made the block and know it to be valid, while hsd takes up to seconds to
 * verify a full one. Reports the node's verdict for each.
 */

const {hasPeer, isSynced} = require('./templates');

// Long enough for a peer nearby to ask for the block and be served, before
// its verification keeps the event loop.
const GETDATA_WAIT_MS = 25;

// After which the answer to a block is overdue; hsd verifies a full one in
// about a second, and may have a reorganisation before it.
const ADD_OVERDUE_MS = 60000;

// How long a block of another server waits to be told from one made up, and
// the question where ours are for its answer.
const LOOK_MS = 10000;

// From this height on hsd ignores getblocktxn for a block that it has not
// stored (lib/net/pool.js, handleGetBlockTxn); below it answers by itself.
const HSD_ANSWERS_HEIGHT_MAX = 14;

// How often the chain may change while it is looked at.
const LOCATE_TRIES = 5;

const NONE = Buffer.alloc(0);

class Blocks {
  constructor(node, hsd, server, templates, waits, logger) {
    this.node = node;
    this.hsd = hsd;
    this.server = server;
    this.templates = templates;
    this.waits = waits;
    this.logger = logger;
    this.inflight = new hsd.BufferMap();   // announced, not yet connected
    this.pending = new Set();
    this.locating = false;
  }

  /**
   * Take a solution, or a block that another server of the pool has found and
   * nobody here waits for. Never throws, never rejects.
   * @param {Object} solution
   */

  submit(solution) {
    const task = this.offer(solution).catch((e) => {
      this.logger.error('failed to report on a block: %s', e.message);
    }).finally(() => {
      this.pending.delete(task);
    });

    this.pending.add(task);
  }

  /**
   * Wait until there is a verdict on each block taken so far.
   */

  settle() {
    return Promise.all(this.pending);
  }

  async offer(solution) {
    let verdict = 'failed';
    let reason = '';

    try {
      [verdict, reason] = await this.judge(solution);
    } catch (e) {
      reason = e.message;
    }

    if (solution.relayed) {
      this.logger.info('block of another server: %s%s: %x', verdict,
        reason && `, ${reason}`, solution.hash);
      return;
    }

    this.server.blockResult(solution.hash, verdict, reason);
  }

  async judge(solution) {
    const block = this.build(solution);
    const hash = block.hash();

    // Peers ban for a day whoever sends them a block that is not one.
    if (!hash.equals(solution.hash))
      return ['failed', `built ${hash.toString('hex')} instead`];

    const wanted = solution.broadcast || solution.raw != null;

    const {tip} = this.node.chain;
    const isOnTip = block.prevBlock.equals(tip.hash);

    try {
      if (wanted && isOnTip
          && (!solution.relayed || await this.isSound(block, tip))) {
        await this.announce(block);
      }

      return await this.add(block);
    } finally {
      this.inflight.delete(hash);
    }
  }

  /**
   * Of a block that we did not make: what it costs to have made it up. Its
   * transactions are those that somebody has mined at the network's target.
   */

  async isSound(block, tip) {
    if (!block.verify())
      return false;

    // Where the node does not say it is added without being announced.
    const target = this.waits.atMost('getTarget', LOOK_MS,
      this.node.chain.getTarget(block.time, tip));

    return block.bits === await target.catch(() => null);
  }

  build(solution) {
    const {Block} = this.hsd;

    if (solution.raw)
      return Block.decode(solution.raw);

    const template = this.templates.get(solution.template);

    if (!template)
      throw new Error(`template ${solution.template} is no longer kept`);

    // The template's own transactions have their hashes at hand: a block
    // decoded from bytes would compute them all again.
    const TX = template.coinbase.constructor;
    const attempt = Object.create(template);

    attempt.coinbase = TX.decode(solution.coinbase);
    attempt.merkleRoot = solution.merkleRoot;
    attempt.witnessRoot = solution.witnessRoot;

    return attempt.commit({
      nonce: solution.nonce,
      time: solution.time,
      extraNonce: solution.extraNonce,
      mask: solution.mask
    });
  }

  /**
   * Tell all peers. hsd serves a block that it has not stored only if it was
   * broadcast; the promise of that is not waited for, since it takes at
   * least a second.
   */

  announce(block) {
    if (!hasPeer(this.node.pool))
      return undefined;

    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GETDATA_WAIT_MS);

      const onAsked = () => {
        clearTimeout(timer);
        resolve();
      };

      this.inflight.set(block.hash(), {block, onAsked, since: Date.now()});
      this.node.broadcast(block).catch(() => {});
    });
  }

  /** There is no other verdict than the node's, however long it takes. */

  add(block) {
    return this.waits.watch('the answer to a block', ADD_OVERDUE_MS,
      this.addNow(block));
  }

  async addNow(block) {
    const {chain} = this.node;
    const hash = block.hash();

    let entry;

    try {
      entry = await chain.add(block);
    } catch (e) {
      if (e.type !== 'VerifyError')
        throw e;

      if (e.reason !== 'duplicate')
        return ['rejected', e.reason];

      // A peer has sent it back to us, and it may be under verification
      // right now: the lock is free only after that.
      const unlock = await chain.locker.lock();
      unlock();

      if (await chain.isMainHash(hash))
        return ['accepted', ''];

      return ['duplicate', e.score > 0 ? 'known as invalid' : ''];
    }

    if (!entry)
      return ['orphan', ''];

    return [await chain.isMainHash(hash) ? 'accepted' : 'side', ''];
  }

  /**
   * Say what the node knows of the chain, and which blocks the main chain has
   * at these heights: all of one moment, or the tip alone while it changes. Not
   * while the node is being asked already and does not answer: this is asked
   * again.
   * @param {Buffer[]} hashes
   * @param {Number[]} heights
   */

  async locate(hashes, heights) {
    if (this.locating)
      return;

    this.locating = true;

    const looking = this.locateNow(hashes, heights).finally(() => {
      this.locating = false;
    });

    await this.waits.watch('the place of a block', LOOK_MS, looking);
  }

  async locateNow(hashes, heights) {
    const {chain} = this.node;

    for (let i = 0; i < LOCATE_TRIES; i++) {
      const {tip} = chain;
      const there = [];

      for (const height of heights) {
        const hash = height <= tip.height ? await chain.getHash(height) : null;
        there.push(hash || NONE);
      }

      if (chain.tip === tip) {
        this.server.located(view(tip, isSynced(chain)), hashes, there);
        return;
      }
    }

    this.server.located(view(chain.tip, false), [], []);
  }

  /**
   * From here on hsd itself answers for the block.
   */

  onTip(entry) {
    if (this.inflight.size > 0)
      this.inflight.delete(entry.hash);
  }

  /**
   * A packet that hsd has dealt with.
   */

  onPacket(packet, peer) {
    if (this.inflight.size === 0)
      return;

    const types = this.hsd.packetTypes;

    if (packet.type === types.GETDATA) {
      for (const item of packet.items) {
        const entry = item.isBlock() && this.inflight.get(item.hash);

        if (entry) {
          this.logger.debug('block sent to %s %d ms after its announcement: %x',
            peer.hostname(), Date.now() - entry.since, item.hash);
          entry.onAsked();
        }
      }
    } else if (packet.type === types.GETBLOCKTXN) {
      const {request} = packet;
      const entry = this.inflight.get(request.hash);

      if (entry && this.node.chain.height > HSD_ANSWERS_HEIGHT_MAX) {
        const {BlockTxnPacket, TXResponse} = this.hsd;
        const response = TXResponse.fromBlock(entry.block, request);
        peer.send(new BlockTxnPacket(response));
      }
    }
  }
}

/**
 * What a node knows whose main chain ends here.
 */

function view(tip, synced) {
  return {
    height: tip.height,
    hash: tip.hash,
    work: Buffer.from(tip.chainwork.toString('hex', 64), 'hex'),
    synced
  };
}

exports.Blocks = Blocks;
