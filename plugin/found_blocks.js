'use strict';

/*
 * Brings found blocks to the network and into the chain, in that order: we
 * made the block and know it to be valid, while hsd takes up to seconds to
 * verify a full one. Reports the node's verdict for each.
 */

const {errorText} = require('./error_text');
const {BlockRaces} = require('./block_races');
const {hasPeer, isSynced} = require('./templates');

// Time for a peer nearby to ask for the block and be served, before its
// verification keeps the event loop busy.
const GETDATA_WAIT_MS = 25;

// Time after which the answer to a block is overdue. hsd verifies a full one
// in about a second, and may have a reorganisation before it.
const ADD_OVERDUE_MS = 60000;

// Time limit of the node's answer about another server's block, and time after
// which its answer about the place of ours is overdue.
const LOOK_MS = 10000;

// From this height on hsd ignores getblocktxn for a block that it has not
// stored (lib/net/pool.js, handleGetBlockTxn); below it answers by itself.
const HSD_ANSWERS_HEIGHT_MAX = 14;

// Attempts to read the main chain while it keeps changing.
const LOCATE_TRIES = 5;

const NONE = Buffer.alloc(0);

/** Pauses before a block on which the node gave no verdict is offered again. */
const RETRIES_MS = [1000, 5000, 30000, 60000, 120000, 240000];

class FoundBlocks {
  constructor(node, hsd, server, templates, waits, logger) {
    this.node = node;
    this.hsd = hsd;
    this.server = server;
    this.templates = templates;
    this.waits = waits;
    this.logger = logger;
    this.races = new BlockRaces(node, hsd, server);
    this.inflight = new hsd.BufferMap();   // announced, not yet connected
    this.pending = new Set();
    this.locating = false;
    this.isStopped = false;
  }

  /** Offer nothing again: the node is closing. */

  stop() {
    this.isStopped = true;
  }

  /**
   * Take a solution, or a block that another server of the pool has found,
   * which needs no answer. Never throws, never rejects.
   * @param {Object} solution
   */

  submit(solution) {
    this.take(solution, 0);
  }

  take(solution, retries) {
    solution.takenAt = performance.now();

    const task = this.offer(solution, retries).catch((e) => {
      this.logger.error('failed to report on a block: %s', errorText(e));
    }).finally(() => {
      this.pending.delete(task);
    });

    this.pending.add(task);
  }

  /**
   * Wait until each block taken so far has a verdict.
   */

  settle() {
    return Promise.all(this.pending);
  }

  async offer(solution, retries) {
    let verdict = 'failed';
    let reason = '';

    try {
      [verdict, reason] = await this.judge(solution);
    } catch (e) {
      reason = errorText(e);
    }

    if (solution.relayed) {
      this.logger.info('block of another server: %s%s: %x', verdict,
        reason && `, ${reason}`, solution.hash);
      return;
    }

    if (verdict === 'failed')
      this.retry(solution, retries);

    // A failure is reported once.
    if (verdict !== 'failed' || retries === 0)
      this.server.blockResult(solution.hash, verdict, reason);
  }

  /**
   * Offer a block again after a while, as if it were new: what failed may
   * work by then. After the last time it waits in the spool for the next start.
   */

  retry(solution, retries) {
    if (retries === RETRIES_MS.length || this.isStopped)
      return;

    const timer = setTimeout(() => {
      if (!this.isStopped)
        this.take(solution, retries + 1);
    }, RETRIES_MS[retries]);

    timer.unref();
  }

  async judge(solution) {
    const block = this.build(solution);
    const hash = block.hash();

    // Peers ban for a day a node that sends them an invalid block.
    if (!hash.equals(solution.hash))
      return ['failed', `built ${hash.toString('hex')} instead`];

    // Its template may be forgotten before it is offered again.
    solution.block = block;

    const wanted = solution.raw != null
      || solution.broadcast && !this.templates.isInvalid(solution.template);

    const {tip} = this.node.chain;
    const isOnTip = block.prevBlock.equals(tip.hash);

    try {
      // Found just now, by a miner of this server.
      const isRace = solution.template !== 0;

      if (wanted && isOnTip
          && (!solution.relayed || await this.isSound(block, tip))) {
        await this.announce(block, isRace ? solution.takenAt : null);
      } else if (isRace) {
        this.races.skip(hash);
      }

      return await this.add(block);
    } finally {
      this.inflight.delete(hash);
    }
  }

  /**
   * Check of a block that another server made: it has work at the network's
   * target, and its transactions are those that were mined. Making up such a
   * block costs as much as finding one.
   */

  async isSound(block, tip) {
    if (!block.verify())
      return false;

    // Without an answer of the node the block is added, but not announced.
    const target = this.waits.atMost('getTarget', LOOK_MS,
      this.node.chain.getTarget(block.time, tip));

    return block.bits === await target.catch(() => null);
  }

  build(solution) {
    const {Block} = this.hsd;

    if (solution.block)
      return solution.block;

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
   * broadcast; the promise of that is not awaited, since it takes at least a
   * second.
   * @param {Block} block
   * @param {Number|null} takenAt - when its solution was taken, if it is a
   * race: null for any other block.
   */

  announce(block, takenAt) {
    const isRace = takenAt != null;

    if (!hasPeer(this.node.pool)) {
      if (isRace)
        this.races.skip(block.hash());
      return undefined;
    }

    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GETDATA_WAIT_MS);

      // Other peers' requests that have arrived by now are served too.
      const onAsked = () => {
        clearTimeout(timer);
        setImmediate(resolve);
      };

      this.inflight.set(block.hash(), {block, onAsked, since: Date.now()});
      this.node.broadcast(block).catch(() => {});

      if (isRace)
        this.races.begin(block.hash(), takenAt);
    });
  }

  /**
   * The node's verdict is the only one, so it is awaited however long it
   * takes.
   */

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
      if (!e || e.type !== 'VerifyError')
        throw e;

      if (e.reason !== 'duplicate')
        return ['rejected', e.reason];

      // A peer has sent it back to us, and it may be under verification right
      // now: the lock is free only after that.
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
   * Report the node's view of the chain, and the blocks of the main chain at
   * these heights: all read at the same tip, or the tip alone while it keeps
   * changing. Does nothing while an earlier question is unanswered: the native
   * half asks again.
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
   * hsd itself answers for the block from now on.
   */

  onTip(entry) {
    if (this.inflight.size > 0)
      this.inflight.delete(entry.hash);
  }

  /**
   * A packet that hsd has handled.
   */

  onPacket(packet, peer) {
    this.races.onPacket(packet, peer);

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
 * The chain that a node knows, by its tip.
 */

function view(tip, synced) {
  return {
    height: tip.height,
    hash: tip.hash,
    work: Buffer.from(tip.chainwork.toString('hex', 64), 'hex'),
    synced
  };
}

exports.FoundBlocks = FoundBlocks;
