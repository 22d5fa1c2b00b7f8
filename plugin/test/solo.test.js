'use strict';

/*
 * Blocks that pay their finder, with real nodes: each is taken by a node
 * without the plugin, and its outputs are read there by hsd's own code.
 */

const assert = require('assert');
const {execFileSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const Address = require('hsd/lib/primitives/address');
const consensus = require('hsd/lib/protocol/consensus');
const {ADDRESS, freePort, runNode, startNode, startPair}
  = require('./harness');
const {Miner} = require('./miner');
const {address, api, mine, outputsOf, report} = require('./paying_blocks');
const {BINARY, startProxy} = require('./proxy');
const {Spender} = require('./spender');

/** Blocks between halvings on regtest (hsd lib/protocol/networks.js). */
const HALVING = 2500;

/** What a transaction of the spender pays to the network. */
const TX_FEE = 100000;

const MINERS = 20;

const FEE_ADDRESS = address(200);

const SOLO = ['--stratum-payout=solo', '--stratum-fee=1',
  `--stratum-fee-address=${FEE_ADDRESS}`, '--stratum-refresh=1'];

/** The outputs that a solo block with these transactions must have. */

function expected(payee, height, txs) {
  const whole = consensus.getReward(height, HALVING) + txs * TX_FEE;
  const fee = Math.floor(whole / 100);

  return [[payee, whole - fee], [FEE_ADDRESS, fee]];
}

for (const way of ['directly', 'through a proxy']) {
  test(`twenty miners are paid by their own blocks, ${way}`, async (t) => {
    const spender = new Spender();
    const nodes = await startPair(t, {address: spender.address, args: SOLO});
    const [node] = nodes;
    const target = way === 'directly' ? node : await startProxy(t, [node]);

    await spender.prepare(node, 50);

    const users = Array.from({length: MINERS}, (_, i) => address(i + 1));
    const miners = [];

    for (const user of users)
      miners.push(await Miner.start(t, target, user));

    const hashes = [];

    for (let i = 0; i < MINERS; i++) {
      // Every other block has transactions, as soon as the job has them.
      if (i % 2 === 1) {
        const tip = await node.tip();

        await spender.spend(node);
        // The first job on a tip, which may come late, has none.
        await miners[i].waitFor('a job with a transaction', async () => {
          const {id} = miners[i].job;
          const job = await api(node, `jobs/${id}?payee=${users[i]}`);

          return job.prev_block === tip && job.merkle_branch.length > 0;
        });
      }

      const block = await mine(miners[i], users[i], nodes);
      const {height} = await node.rpc('getblockheader', [block.hashHex()]);
      const txs = block.txs.length - 1;

      assert.deepStrictEqual(outputsOf(block), expected(users[i], height, txs));
      hashes.push([block.hashHex(), txs]);
    }

    assert.ok(hashes.filter(([, txs]) => txs > 0).length >= MINERS / 2);

    // All are confirmed once they are deep enough.
    await node.mine(2);
    await node.waitFor('all blocks to be confirmed', () => {
      const {blocks} = report(node);
      return blocks.length === MINERS
        && blocks.every(({state}) => state === 'confirmed');
    });

    const {blocks, accounts} = report(node);

    for (const block of blocks) {
      assert.strictEqual(block.payout, 'solo');
      assert.strictEqual(block.settled, false);
      assert.strictEqual(block.effort, null);
    }

    // Their shares are statistics: counted, and no credit.
    await node.waitFor('shares to be counted', async () => {
      const {accounts} = await api(node, 'accounts?limit=100');
      return accounts.length === MINERS;
    });
    assert.deepStrictEqual(accounts.filter(({balance}) => balance !== 0), []);
    assert.strictEqual((await api(node, 'round')).shares, 0);
    assert.ok(!fs.existsSync(path.join(node.stratumDir, 'shares'))
      || fs.readdirSync(path.join(node.stratumDir, 'shares')).length === 0);
    assert.deepStrictEqual(fs.readdirSync(path.join(node.stratumDir, 'spool'))
      .filter(name => name.endsWith('.block')), []);

    // Nothing to divide, and the ledger keeps its promises.
    const file = path.join(node.stratumDir, 'ledger.db');

    execFileSync(BINARY, ['ledger', 'check', '--ledger', file]);
    assert.deepStrictEqual(JSON.parse(execFileSync(BINARY, ['payout', 'plan',
      '--json', '--ledger', file])).blocks, []);
  });
}

test('a solo port beside the pool\'s takes nothing of its rounds', async (t) => {
  const port = await freePort();
  const nodes = await startPair(t, {args: [
    `--stratum-listen=tcp://127.0.0.1:${port}?payout=solo`,
    '--stratum-scheme=prop'
  ]});
  const [node] = nodes;
  const door = {minersPort: port, waitFor: node.waitFor.bind(node)};
  const pool = await Miner.start(t, node, 'alice');
  const solo = await Miner.start(t, door, address(1));

  // Alice works at height 1, where the other finds the block.
  const missed = pool.miss();
  const tip = await node.tip();
  assert.ok(missed && tip);

  const first = await mine(solo, address(1), nodes);
  const whole = consensus.getReward(1, HALVING);

  // Without a fee there is one output.
  assert.deepStrictEqual(outputsOf(first), [[address(1), whole]]);

  const second = await mine(pool, 'alice', nodes);

  assert.deepStrictEqual(outputsOf(second), [[ADDRESS, whole]]);
  await node.mine(2);
  await node.waitFor('both to be confirmed', () => {
    return report(node).blocks.every(({state}) => state === 'confirmed');
  });

  const file = path.join(node.stratumDir, 'ledger.db');
  const plan = JSON.parse(execFileSync(BINARY, ['payout', 'plan', '--json',
    '--ledger', file]));

  assert.deepStrictEqual(plan.blocks.map(({hash}) => hash), [second.hashHex()]);
  assert.strictEqual(plan.blocks[0].from_height, 2);

  const {blocks} = await api(node, 'blocks');

  assert.deepStrictEqual(blocks.map(({payout}) => payout),
    ['operator', 'solo']);
  execFileSync(BINARY, ['ledger', 'check', '--ledger', file]);
});

test('who cannot be paid is told why', async (t) => {
  const node = await startNode(t, {args: SOLO});

  for (const [user, text] of [
    ['alice', 'no address to be paid at: use one as the user name'],
    [address(1, 'main'), 'the address is of another network'],
    [`${address(1).slice(0, -1)}.rig`, 'the user name is not a valid address'],
    [Address.fromHash(Buffer.alloc(20, 1), 1).toString('regtest'),
      'the address cannot be paid']
  ]) {
    const miner = await Miner.connect(t, node);

    await miner.subscribe();
    const {error} = await miner.authorize(user);
    assert.deepStrictEqual(error, [24, text, false], user);
  }

  const miner = await Miner.start(t, node, address(1));
  const {error} = await miner.authorize(address(2));

  assert.deepStrictEqual(error,
    [24, 'another address than that of this connection', false]);
});

test('options that are wrong stop the start by name', async (t) => {
  for (const [arg, text] of [
    ['--stratum-payout=Split',
      '--stratum-payout: expected operator, solo or split, found "Split"'],
    [`--stratum-fee-address=${address(1, 'main')}`,
      `fee-address: not a payable regtest address: "${address(1, 'main')}" `
      + '(it is one of main)'],
    ['--stratum-listen=tcp://127.0.0.1:4001?payout=Split',
      '--stratum-listen: expected up to 15 of']
  ]) {
    const {code, output} = await runNode(t, {args: [arg]});

    assert.notStrictEqual(code, 0);
    assert.ok(output.some(line => line.includes(text)), output.join('\n'));
  }
});
