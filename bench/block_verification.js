'use strict';

/*
 * The verification of templates, in a node in memory without a network: how
 * long hsd's own holds the chain's lock and the event loop, and ours the loop.
 * `node bench/block_verification.js`.
 */

const blake2b = require('bcrypto/lib/blake2b');
const {flags: chainFlags} = require('hsd/lib/blockchain/common');
const Coin = require('hsd/lib/primitives/coin');
const KeyRing = require('hsd/lib/primitives/keyring');
const MTX = require('hsd/lib/primitives/mtx');
const {
  TimeSlices, TransactionCache, verifyBlock
} = require('../plugin/block_verification');
const {openMemoryNode} = require('../plugin/test/harness');

const HSD = {blake2b, chainFlags};
const SIZES = [0, 1000, 3000];
const RUNS = Number(process.env.RUNS || 10);
const OUTPUTS = 500;
const FEE = 100000;

main().catch((e) => {
  console.error(e);
  process.exit(1);
});

async function main() {
  console.log('| transactions | verification | ms until the verdict | longest '
    + 'turn of the event loop, ms | mean wait of an event, ms | lock held, ms |');
  console.log('|---|---|---|---|---|---|');

  for (const workers of [false, true]) {
    const {node, block: blocks} = await prepare(workers);
    const {chain} = node;

    for (const size of SIZES) {
      const block = await blocks(size);
      const name = workers ? 'with workers' : 'without workers';

      report(size, `hsd's, ${name}`, await measure(async () => {
        const begun = performance.now();
        await chain.verifyBlock(copy(block));
        return performance.now() - begun;
      }));

      if (workers)
        continue;

      const cache = new TransactionCache();
      const ours = cache => verifyBlock(HSD, chain, block, chain.tip,
        new TimeSlices(() => chain.locker.busy), cache);

      report(size, 'ours', await measure(async () => {
        await ours(new TransactionCache());
        return 0;
      }));
      await ours(cache);
      report(size, 'ours, transactions known', await measure(async () => {
        await ours(cache);
        return 0;
      }));
      report(size, 'none', await measure(async () => {
        await new Promise(resolve => setTimeout(resolve, 500));
        return 0;
      }));
    }

    await node.close();
  }

  process.exit(0);
}

/** hsd's verification finds nothing worked out before. */

function copy(block) {
  return block.constructor.decode(block.encode());
}

/**
 * The loop's turns, in time of the processor, since other programs want it too.
 */

async function measure(run) {
  const times = [];
  const locks = [];
  const turns = [];
  let longest = 0;

  for (let i = 0; i < RUNS; i++) {
    let last = cpu();
    let isOver = false;

    const turn = () => {
      const now = cpu();
      turns.push(now - last);
      longest = Math.max(longest, now - last);
      last = now;
      if (!isOver)
        setImmediate(turn);
    };

    setImmediate(turn);

    const begun = performance.now();

    locks.push(await run());
    times.push(performance.now() - begun);
    isOver = true;
    await new Promise(resolve => setTimeout(resolve, 20));
  }

  // An event comes at any time: to a long turn more often than to a short one.
  const total = turns.reduce((sum, ms) => sum + ms, 0);
  const wait = turns.reduce((sum, ms) => sum + ms * ms / 2, 0) / total;

  return {ms: median(times), longest, wait, lock: median(locks)};
}

function cpu() {
  const {user, system} = process.cpuUsage();
  return (user + system) / 1000;
}

function report(size, what, {ms, longest, wait, lock}) {
  const round = value => value.toFixed(2);

  console.log(`| ${size} | ${what} | ${round(ms)} | ${round(longest)} `
    + `| ${round(wait)} | ${lock ? round(lock) : 'no'} |`);
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >>> 1];
}

/** A node with coins, and blocks of as many transactions as are asked for. */

async function prepare(workers) {
  const ring = KeyRing.generate();
  const node = await openMemoryNode({network: 'regtest', workers,
    coinbaseAddress: [ring.getAddress().toString('regtest')]});
  const {chain, miner, mempool} = node;
  const mine = async () => chain.add(await miner.mineBlock());
  const most = Math.max(...SIZES);
  const coins = [];

  for (let i = 0; i < most / OUTPUTS + 3; i++)
    await mine();

  for (let height = 1; coins.length < most; height++) {
    const block = await chain.getBlock(await chain.getHash(height));
    const fan = pay(ring, Coin.fromTX(block.txs[0], 0, height), OUTPUTS);

    await mempool.addTX(fan);
    for (let i = 0; i < OUTPUTS; i++)
      coins.push(Coin.fromTX(fan, i, height + 1));
  }

  await mine();

  let added = 0;

  return {node, block: async (size) => {
    for (; added < size; added++)
      await mempool.addTX(pay(ring, coins[added], 1));

    return (await miner.createBlock()).toBlock();
  }};
}

function pay(ring, coin, outputs) {
  const mtx = new MTX();
  const value = Math.floor((coin.value - FEE * outputs) / outputs);

  mtx.addCoin(coin);
  for (let i = 0; i < outputs; i++)
    mtx.addOutput(ring.getAddress(), value);
  mtx.sign(ring);

  return mtx.toTX();
}
