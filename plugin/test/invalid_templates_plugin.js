'use strict';

/*
 * A plugin beside ours that makes templates invalid, of the kind that is in
 * the file of the environment's HSTRATUM_PLANT; without that file they are
 * hsd's. Each is appended to the same name with `.log`, a line of JSON. With
 * the kind `hang` or `throw` the verification of templates does that.
 */

const fs = require('fs');
const path = require('path');
const {HSD_DIR} = require('./harness');

const load = name => require(path.join(HSD_DIR, 'lib', name));
const Address = load('primitives/address');
const Coin = load('primitives/coin');
const KeyRing = load('primitives/keyring');
const MTX = load('primitives/mtx');
const Output = load('primitives/output');
const rules = load('covenants/rules');
const {BlockEntry} = load('mining/template');

const FEE = 100000;

/** The key that the node's blocks must pay. */
const key = Buffer.alloc(32, 7);
const ring = KeyRing.fromPrivate(key);

/** Height of the first coinbase that only this plugin spends. */
const FIRST_HEIGHT = 10;

/** Coinbases for each kind. */
const COINS = 10;

/** Outputs of a transaction, of which a block takes four and not five. */
const MANY = 7000;

/** Kinds of invalid templates, in the order of their coinbases. */

const KINDS = {
  'merkle root': attempt => Object.assign(attempt, {merkleRoot: other()}),
  'witness root': attempt => Object.assign(attempt, {witnessRoot: other()}),
  'coinbase of another height': attempt => Object.assign(attempt,
    {height: attempt.height + 1}),
  'time before the median': attempt => Object.assign(attempt,
    {time: attempt.mtp}),
  'block of another tip': attempt => Object.assign(attempt,
    {prevBlock: other()}),
  'tree root': attempt => Object.assign(attempt, {treeRoot: other()}),
  'bits': attempt => attempt.setBits(0x207ffffe),
  'height': attempt => refresh(attempt, {height: attempt.height + 1}),
  'coinbase too rich': attempt => refresh(attempt,
    {fees: attempt.fees + 1}),
  'a fee that is none': async (attempt, coin) => {
    add(attempt, pay(await coin(0)), 2 * FEE);
  },
  'block too large': async (attempt, coin) => {
    for (let i = 0; i < 5; i++)
      add(attempt, pay(await coin(i), {outputs: MANY}));
  },
  'a transaction twice': async (attempt, coin) => {
    const tx = pay(await coin(0));
    add(attempt, tx);
    add(attempt, tx);
  },
  'a coin that is spent': async (attempt, coin) => {
    add(attempt, pay(await coin(0, 1)));
  },
  'a coin that is not ripe': async (attempt, coin, tip) => {
    add(attempt, pay(await coin(0, tip)));
  },
  'a script that fails': async (attempt, coin) => {
    add(attempt, pay(await coin(0), {isForged: true}));
  },
  'more out than in': async (attempt, coin) => {
    add(attempt, pay(await coin(0), {fee: -1}), 0);
  },
  'not final': async (attempt, coin) => {
    add(attempt, pay(await coin(0), {locktime: 1000000}));
  },
  'a name twice': async (attempt, coin) => {
    add(attempt, pay(await coin(0), {name: 'planted'}));
    add(attempt, pay(await coin(1), {name: 'planted'}));
  },
  'a bid that the rules fail on': async (attempt, coin) => {
    add(attempt, pay(await coin(0), {bid: 'unopened'}));
  },
  'another reward': attempt => refresh(attempt, {interval: 10}),
  'a hash that is another\'s': async (attempt, coin) => {
    const tx = pay(await coin(0));
    tx.hash = other;
    add(attempt, tx);
  }
};

exports.id = 'invalid_templates';
exports.KINDS = Object.keys(KINDS);
exports.address = ring.getAddress().toString('regtest');
exports.key = key;
exports.blocks = FIRST_HEIGHT + COINS * exports.KINDS.length;

exports.init = (node) => {
  const {chain, miner} = node;
  const {verifyInputs} = chain;
  const {createBlock} = miner;
  const file = process.env.HSTRATUM_PLANT;
  const read = () => fs.existsSync(file) && fs.readFileSync(file, 'utf8');

  chain.verifyInputs = function verify(...args) {
    const isOurs = this !== chain;

    if (isOurs && read() === 'hang')
      return new Promise(() => {});

    if (isOurs && read() === 'throw')
      throw new Error('planted');

    return verifyInputs.apply(this, args);
  };

  miner.createBlock = async (...args) => {
    const attempt = await createBlock.apply(miner, args);
    const kind = read();

    if (KINDS[kind]) {
      await plant(node, attempt, kind);
      fs.appendFileSync(`${file}.log`, `${JSON.stringify({
        at: Date.now(),
        merkleRoot: attempt.merkleRoot.toString('hex'),
        treeRoot: attempt.treeRoot.toString('hex'),
        bits: attempt.bits
      })}\n`);
    }

    return attempt;
  };

  return {open: async () => {}, close: async () => {}};
};

async function plant({chain}, attempt, kind) {
  const own = FIRST_HEIGHT + COINS * exports.KINDS.indexOf(kind);

  const coin = async (i, height = own + i) => {
    const block = await chain.getBlock(await chain.getHash(height));
    return Coin.fromTX(block.txs[0], 0, height);
  };

  await KINDS[kind](attempt, coin, chain.height);
}

function refresh(attempt, changes) {
  Object.assign(attempt, changes);
  attempt.refresh();
}

/** Add a transaction to a template, with the fee that its entry claims. */

function add(attempt, tx, fee = FEE) {
  const item = new BlockEntry(tx);

  item.fee = fee;
  attempt.items.push(item);
  attempt.fees += fee;
  attempt.refresh();
}

function pay(coin, {
  fee = FEE, locktime = 0, name = null, bid = null, outputs = 1,
  isForged = false
} = {}) {
  const mtx = new MTX();

  mtx.addCoin(coin);
  mtx.addOutput(ring.getAddress(), coin.value - fee);

  for (let i = 1; i < outputs; i++)
    mtx.outputs.push(new Output({address: Address.fromHash(other(20))}));

  if (name) {
    const raw = Buffer.from(name, 'ascii');
    const output = new Output({address: ring.getAddress(), value: 0});

    // hsd 6 has no setOpen.
    output.covenant.type = rules.types.OPEN;
    output.covenant.pushHash(rules.hashName(raw));
    output.covenant.pushU32(0);
    output.covenant.push(raw);
    mtx.outputs.push(output);
  }

  if (bid) {
    const output = new Output({address: ring.getAddress(), value: 0});

    // hsd looks for the name's state, and throws where there is none.
    output.covenant.type = rules.types.BID;
    output.covenant.pushHash(rules.hashName(Buffer.from(bid, 'ascii')));
    output.covenant.pushU32(1);
    output.covenant.push(Buffer.from(bid, 'ascii'));
    output.covenant.pushHash(other());
    mtx.outputs.push(output);
  }

  if (locktime > 0) {
    mtx.locktime = locktime;
    mtx.inputs[0].sequence = 0;
  }

  mtx.sign(ring);

  if (isForged)
    mtx.inputs[0].witness.items[0][10] ^= 1;

  return mtx.toTX();
}

function other(length = 32) {
  return Buffer.alloc(length, 5);
}
