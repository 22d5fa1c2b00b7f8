'use strict';

/*
 * Two hundred miners on a solo listener, each of whom finds a block. The
 * blocks are checked by a program that shares no code with hstratum or hsd.
 */

const assert = require('assert');
const {spawnSync} = require('child_process');
const path = require('path');
const {test} = require('node:test');
const {Airdrop, Claims} = require('./coin_proofs');
const {HSD_DIR, startNode} = require('./harness');
const {Miner} = require('./miner');
const {environment} = require('./network_rules');
const {address, api} = require('./paying_blocks');
const {Spender} = require('./spender');

const MINERS = 200;
const FEE = '1';

/** Outputs of a coinbase without claims and airdrops. */
const PAID = 2;

/** Blocks between halvings on regtest (hsd lib/protocol/networks.js). */
const HALVING = 2500;

/** Each of so many blocks has a transaction. */
const TX_EVERY = 10;

/** The miner who finds the block before those with airdrops. */
const AIRDROPS_AT = 25;

/** Proofs of addresses and of keys: more than hsd takes into one block. */
const FAUCET = 9;
const KEYS = 4;

const CHECKER = path.join(__dirname, 'solo_blocks.py');

/** Blocks of a node as the checker reads them. */

async function read(node, found, paid) {
  const blocks = [];

  for (const {hash, finder} of found) {
    const {height, tx} = await node.rpc('getblock', [hash, true]);
    const fees = tx.slice(1).map(txid => paid.get(txid));

    blocks.push({hash, height, finder,
      raw: await node.rpc('getblock', [hash, false]),
      fees: fees.reduce((sum, fee) => sum + fee, 0)});
  }

  return blocks;
}

/** True if the block of a solo job has a transaction or an airdrop. */

async function isFull(node, {id}, payee) {
  const job = await api(node, `jobs/${id}?payee=${payee}`);

  return job.merkle_branch.length > 0 || job.outputs.length > PAID;
}

/** Python compiles hsd's native modules, so it is here. */

function check(rules) {
  const {status, stdout, stderr} = spawnSync('python3', [CHECKER], {
    encoding: 'utf8', input: JSON.stringify({hrp: 'rs', halving: HALVING,
      fee: FEE, ...rules})});

  return {status, text: stdout + stderr};
}

test('two hundred miners are paid by their own blocks', async (t) => {
  const spender = new Spender();
  const operator = address(0);
  const airdrop = new Airdrop(FAUCET, KEYS);
  const env = environment({network: 'regtest', anchor: new Claims().anchor,
    roots: airdrop.roots}, HSD_DIR);
  const node = await startNode(t, {env, listen: true,
    address: spender.address, args: ['--stratum-payout=solo',
      `--stratum-fee=${FEE}`, `--stratum-fee-address=${operator}`,
      '--stratum-refresh=3600']});
  const other = await startNode(t, {env, plugin: false, peer: node});

  await spender.prepare(node, MINERS);

  const finders = Array.from({length: MINERS}, (_, i) => address(i + 1));
  const miners = await Promise.all(finders.map(finder => {
    return Miner.start(t, node, finder);
  }));
  const paid = new Map();
  const found = [];
  let full = 0;         // blocks still to come that have what is sent

  for (const [i, finder] of finders.entries()) {
    const miner = miners[i];
    const tip = await node.tip();
    const on = ({prevBlock}) => prevBlock.toString('hex') === tip;

    // The first job on a tip is without transactions and airdrops. A solo miner
    // does not get it where the second was there before its turn came.
    await miner.waitFor('its job on the tip', async () => {
      return on(miner.job) && (full === 0 || isFull(node, miner.job, finder));
    });
    full = Math.max(0, full - 1);

    if (i % TX_EVERY === 0) {
      const fee = 100000 + i;

      paid.set(await spender.spend(node, fee), fee);
      full = Math.max(full, 1);
    }

    if (i === AIRDROPS_AT) {
      for (const proof of airdrop.make())
        await node.rpc('sendrawairdrop', [proof]);

      // hsd answers before the mempool has them.
      await node.waitFor('the airdrops', () => {
        return node.count(/Added airdrop proof/) === FAUCET + KEYS;
      });
      full = 2;
    }

    const {error, hash} = await miner.submit(finder, miner.solve());

    assert.strictEqual(error, null, JSON.stringify(error));
    await node.waitTip(hash);
    found.push({hash, finder});
  }

  // A node without the plugin has verified all of them.
  await other.waitTip(found[MINERS - 1].hash);
  assert.strictEqual(await other.tip(), await node.tip());

  const blocks = await read(other, found, paid);
  const {status, text} = check({operator, blocks});

  assert.strictEqual(status, 0, text);

  const {rounded, ...counts} = JSON.parse(text);

  assert.deepStrictEqual(counts, {blocks: MINERS, finders: MINERS,
    airdrops: FAUCET + KEYS, transactions: MINERS / TX_EVERY});
  assert.ok(rounded > 0, 'no fee was rounded');

  // The checker sees what is wrong.
  for (const [wrong, fault] of [
    [{operator: finders[0], blocks}, /^height \d+: outputs /],
    [{operator, blocks, fee: '1.01'}, /^height \d+: outputs /],
    [{operator, blocks: blocks.slice(0, 1).concat(blocks.slice(2))},
      /^height \d+: another parent$/m],
    [{operator, blocks: [{...blocks[0], finder: finders[1]}]},
      /^height \d+: outputs /]
  ]) {
    const refused = check(wrong);

    assert.strictEqual(refused.status, 1, refused.text);
    assert.match(refused.text, fault);
  }
});
