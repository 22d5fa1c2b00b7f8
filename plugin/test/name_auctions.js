'use strict';

/*
 * Hundreds of names that go through their auctions together, without a wallet:
 * each transaction is of twenty names, all of a test's key.
 */

const random = require('bcrypto/lib/random');
const rules = require('hsd/lib/covenants/rules');
const Coin = require('hsd/lib/primitives/coin');
const MTX = require('hsd/lib/primitives/mtx');

const BATCH = 20;
const BID = 1000;
const FEE = 100000;
const NO_DATA = Buffer.alloc(0);

class Names {
  /**
   * @param {Spender} spender - whose coins pay.
   * @param {Number} count - a multiple of twenty.
   */

  constructor(spender, count) {
    this.spender = spender;
    this.names = Array.from({length: count}, (_, i) => {
      const raw = Buffer.from(`name-${i}-of-test`);
      return {raw, hash: rules.hashName(raw), nonce: random.randomBytes(32),
        height: 0, coin: null};
    });
  }

  /** Transactions that do the same with each name. */

  open() {
    return this.each((covenant, {hash, raw}) => covenant.setOpen(hash, raw));
  }

  bid() {
    return this.each((covenant, {hash, height, raw, nonce}) => {
      covenant.setBid(hash, height, raw, rules.blind(BID, nonce));
    }, BID);
  }

  reveal() {
    return this.each((covenant, {hash, height, nonce}) => {
      covenant.setReveal(hash, height, nonce);
    }, BID);
  }

  /** @param {Buffer} old - hash of a block that is old enough. */

  register(old) {
    return this.each((covenant, {hash, height}) => {
      covenant.setRegister(hash, height, NO_DATA, old);
    });
  }

  update() {
    return this.each((covenant, {hash, height}) => {
      covenant.setUpdate(hash, height, NO_DATA);
    });
  }

  renew(old) {
    return this.each((covenant, {hash, height}) => {
      covenant.setRenew(hash, height, old);
    });
  }

  each(set, value = 0) {
    const txs = [];

    for (let i = 0; i < this.names.length; i += BATCH)
      txs.push(this.batch(this.names.slice(i, i + BATCH), set, value));

    return txs;
  }

  /** A name's coin is spent by the input that stands where its output does. */

  batch(names, set, value) {
    const {ring, coins} = this.spender;
    const mtx = new MTX();
    const fund = coins.pop();
    let change = fund.value - FEE;

    for (const name of names) {
      if (name.coin) {
        mtx.addCoin(name.coin);
        change += name.coin.value;
      }

      mtx.addOutput(ring.getAddress(), value);
      set(mtx.outputs[mtx.outputs.length - 1].covenant, name);
      change -= value;
    }

    mtx.addCoin(fund);
    mtx.addOutput(ring.getAddress(), change);
    mtx.sign(ring);

    return mtx.toTX();
  }

  /** Note what a block has done with names: opened them, or moved their coins. */

  confirm(block, height) {
    const byHash = new Map(this.names.map((name) => {
      return [name.hash.toString('hex'), name];
    }));

    for (const tx of block.txs) {
      for (const [i, {covenant}] of tx.outputs.entries()) {
        const name = covenant.isName()
          && byHash.get(covenant.getHash(0).toString('hex'));

        if (name && covenant.isOpen())
          name.height = height;
        else if (name)
          name.coin = Coin.fromTX(tx, i, height);
      }
    }
  }
}

module.exports = {Names};
