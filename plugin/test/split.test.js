'use strict';

/*
 * Blocks that pay the accounts of the window, with real nodes: each is taken
 * by a node without the plugin, its outputs are read there by hsd's own code,
 * and a program that shares nothing with the project computes them from the
 * ledger's credit.
 */

const assert = require('assert');
const {execFileSync} = require('child_process');
const path = require('path');
const {test} = require('node:test');
const consensus = require('hsd/lib/protocol/consensus');
const {run} = require('./doctor');
const {ADDRESS, startPair} = require('./harness');
const {Miner} = require('./miner');
const {address, ledgerOf, mine, outputsOf, report}
  = require('./paying_blocks');
const {BINARY, startProxy} = require('./proxy');
const {Spender} = require('./spender');

const HNS = 1000000;
const REWARD = 2000 * HNS;

const OUTPUT_MIN = 300 * HNS;

const SPLIT = ['--stratum-payout=split', '--stratum-fee=20',
  '--stratum-window=12', `--stratum-output-min=${OUTPUT_MIN / HNS}`,
  '--stratum-refresh=1'];

/** Accounts of a large pool, and transactions that fill a block. */
const ACCOUNTS = 1000;
const FANS = 70;

/** Who mines each of twelve blocks. */
const TURNS = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 2];

/** Outputs by block, as the credit in the ledger has them. */

function computed(node, outputMin = OUTPUT_MIN, outputsMax = 400) {
  return JSON.parse(execFileSync('python3', [
    path.join(__dirname, 'check_splits.py'), ledgerOf(node), outputMin,
    outputsMax
  ]));
}

/** `hstratum verify` as this user. */

function verify(node, user) {
  return run(['verify', `--user=${user}`, '--watch=0',
    `--url=stratum+tcp://127.0.0.1:${node.ports.stratum}`,
    `--api=http://127.0.0.1:${node.ports.dashboard}`]);
}

function check(node) {
  const args = ['ledger', 'check', '--ledger', ledgerOf(node)];

  return execFileSync(BINARY, args).toString();
}

/** The outputs of the accounts; the first output must be the operator's. */

function paidBy(block) {
  const [[operator], ...paid] = outputsOf(block);

  assert.strictEqual(operator, ADDRESS);

  return paid;
}

function sum(outputs) {
  return outputs.reduce((sum, [, value]) => sum + value, 0);
}

for (const way of ['directly', 'through a proxy']) {
  test(`accounts are paid by each block, and balances ride along, ${way}`,
    async (t) => {
      const nodes = await startPair(t, {args: SPLIT});
      const [node] = nodes;
      const target = way === 'directly' ? node : await startProxy(t, [node]);
      const users = [1, 2, 3].map(number => address(number));
      const miners = [];

      for (const user of users)
        miners.push(await Miner.start(t, target, user));

      const blocks = new Map();

      for (let i = 0; i < 36; i++) {
        const turn = TURNS[i % TURNS.length];
        const block = await mine(miners[turn], users[turn], nodes);

        assert.strictEqual(sum(outputsOf(block)), REWARD);
        blocks.set(block.hashHex(), block);
      }

      // A miner sees its own part in the job that it has.
      const own = await verify(node, users[0]);

      assert.strictEqual(own.code, 0, own.stdout + own.stderr);
      t.diagnostic(own.stdout);

      const expected = computed(node);
      const split = report(node).blocks.filter(({payout}) => payout === 'split');

      // The first blocks came before anybody had work.
      assert.ok(split.length >= 30, `${split.length} blocks are split`);
      assert.strictEqual(Object.keys(expected).length, split.length);

      for (const {hash} of split) {
        assert.deepStrictEqual(paidBy(blocks.get(hash)).sort(),
          expected[hash], `the outputs of ${hash}`);
      }

      // The third has a twelfth of the work, which is too little by itself.
      const third = split.filter(({hash}) => {
        return expected[hash].some(([user]) => user === users[2]);
      });

      assert.ok(third.length > 0, 'no balance has ridden along');

      await node.mine(2);
      await node.waitFor('all blocks to be confirmed', () => {
        return report(node).blocks.every(({state}) => state === 'confirmed');
      });

      const {accounts} = report(node);

      for (const {account: name, credited, paid, balance} of accounts) {
        const onChain = split.reduce((total, {hash}) => {
          return total + sum(paidBy(blocks.get(hash))
            .filter(([user]) => user === name));
        }, 0);

        assert.strictEqual(paid, onChain, `what ${name} was paid`);
        assert.strictEqual(credited - paid, balance);
        assert.ok(balance >= 0, `${name} owes`);
      }

      assert.match(check(node), /all is well/);
    });
}

test('a full block pays a thousand accounts', async (t) => {
  const spender = new Spender();
  const [node, second] = await startPair(t, {
    address: spender.address,
    args: ['--stratum-payout=split', '--stratum-fee=1',
      '--stratum-window=9000000000', '--stratum-output-min=0.1',
      `--stratum-outputs-max=${ACCOUNTS}`, '--stratum-refresh=1']
  });
  const users = Array.from({length: ACCOUNTS}, (_, i) => address(i));

  await spender.prepare(node, FANS);
  await second.waitTip(await node.tip());
  const height = await node.height();

  await node.signal('SIGTERM');
  execFileSync('python3', [path.join(__dirname, 'seed_credit.py'),
    ledgerOf(node), height, ...users]);
  await node.restart();

  const miner = await Miner.start(t, node, users[0]);
  const first = await mine(miner, users[0], [node, second]);

  assert.strictEqual(first.txs[0].outputs.length, ACCOUNTS + 1);

  const fans = spender.coins.splice(0, FANS).map(coin => spender.split(coin));

  for (const fan of fans)
    await node.rpc('sendrawtransaction', [fan.toHex()]);

  // The first job on a tip is without transactions.
  const empty = await mine(miner, users[0], [node, second]);
  const onTip = job => job.prevBlock.toString('hex') === empty.hashHex();

  await miner.waitFor('a job with transactions',
    () => miner.jobs.filter(onTip).length > 1);

  const block = await mine(miner, users[0], [node, second]);
  const {reward} = report(node).blocks.find((found) => {
    return found.hash === block.hashHex();
  });

  assert.strictEqual(block.txs[0].outputs.length, ACCOUNTS + 1);
  assert.strictEqual(sum(outputsOf(block)), reward);
  assert.ok(reward > REWARD, 'the fees of the transactions are in it');
  t.diagnostic(`weight ${block.getWeight()}, ${block.txs.length} transactions`);
  assert.ok(block.getWeight() > 0.95 * consensus.MAX_BLOCK_WEIGHT);

  const expected = computed(node, HNS / 10, ACCOUNTS);

  for (const one of [first, empty, block]) {
    const [, ...paid] = outputsOf(one);

    assert.deepStrictEqual(paid.sort(), expected[one.hashHex()]);
  }
});
