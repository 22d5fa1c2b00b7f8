'use strict';

/*
 * Fills a node's mempool with valid transactions, without a wallet: coinbases
 * are paid to a key of the test, one transaction fans them out, and each of
 * the many spends one of its outputs.
 */

const KeyRing = require('hsd/lib/primitives/keyring');
const MTX = require('hsd/lib/primitives/mtx');
const Coin = require('hsd/lib/primitives/coin');
const Block = require('hsd/lib/primitives/block');

const OUTPUTS_MAX = 500;
const MATURITY = 2;
const FEE = 100000;
const BATCH = 50;

class Spender {
  constructor(ring = KeyRing.generate()) {
    this.ring = ring;
    this.address = this.ring.getAddress().toString('regtest');
    this.coins = [];
  }

  /**
   * Prepare outputs to spend, confirmed in the node's chain. The node must
   * mine to this spender's address.
   */

  async prepare(node, count) {
    const fans = Math.ceil(count / OUTPUTS_MAX);
    const hashes = await node.mine(fans);

    await node.mine(MATURITY);

    for (const hash of hashes) {
      const raw = await node.rpc('getblock', [hash, false]);
      const block = Block.decode(Buffer.from(raw, 'hex'));
      const fan = this.split(Coin.fromTX(block.txs[0], 0, 1));

      await node.rpc('sendrawtransaction', [fan.toHex()]);

      for (let i = 0; i < OUTPUTS_MAX; i++)
        this.coins.push(Coin.fromTX(fan, i, 1));
    }

    await node.mine(1);
  }

  /** Make many coins of one. */

  split(coin) {
    const mtx = new MTX();
    const value = Math.floor((coin.value - FEE * 10) / OUTPUTS_MAX);

    mtx.addCoin(coin);

    for (let i = 0; i < OUTPUTS_MAX; i++)
      mtx.addOutput(this.ring.getAddress(), value);

    mtx.sign(this.ring);
    return mtx.toTX();
  }

  pay(coin, fee = FEE) {
    const mtx = new MTX();
    mtx.addCoin(coin);
    mtx.addOutput(this.ring.getAddress(), coin.value - fee);
    mtx.sign(this.ring);
    return mtx.toTX();
  }

  /** Send one transaction, as long as there are coins; gives its id. */

  async spend(node, fee) {
    const coin = this.coins.pop();

    if (!coin)
      return null;

    const raw = this.pay(coin, fee).toHex();

    return node.rpc('sendrawtransaction', [raw]);
  }

  /** Send so many transactions to each of the nodes. */

  async flood(nodes, count) {
    const txs = this.coins.splice(0, count).map(coin => this.pay(coin));

    if (txs.length < count)
      throw new Error('not enough coins prepared');

    for (const node of nodes) {
      for (let i = 0; i < txs.length; i += BATCH) {
        await Promise.all(txs.slice(i, i + BATCH).map((tx) => {
          return node.rpc('sendrawtransaction', [tx.toHex()]);
        }));
      }

      await node.waitFor(`${count} transactions in the mempool`, async () => {
        return (await node.rpc('getmempoolinfo')).size >= count;
      });
    }

    return txs;
  }
}

module.exports = {Spender};
