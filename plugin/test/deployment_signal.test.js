'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {bareLines, runNode, startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

/** hsd lib/protocol/networks.js: regtest's window, and what it votes on. */
const WINDOW = 144;
const TESTDUMMY = 1 << 28;

const CASES = [
  [[], TESTDUMMY],
  [['--stratum-signal=all'], TESTDUMMY],
  [['--stratum-signal=none'], 0],
  [['--stratum-signal=testdummy'], TESTDUMMY],
  [['--stratum-signal=airstop, hardening'], 0]
];

test('found blocks signal for the deployments of option signal', async (t) => {
  const node = await startNode(t);

  await node.mine(WINDOW);

  for (const [args, version] of CASES) {
    await node.restart({args});

    const miner = await Miner.start(t, node);
    const tip = await node.tip();
    const job = await miner.waitJob((job) => {
      return job.prevBlock.toString('hex') === tip;
    });
    const hsds = await node.rpc('getblocktemplate', [{rules: []}]);
    const {error, hash} = await miner.submit('alice', miner.solve(job));

    assert.strictEqual(hsds.version, TESTDUMMY);
    assert.strictEqual(job.version, version, String(args));
    assert.strictEqual(error, null);
    await node.waitTip(hash);
    assert.strictEqual((await node.rpc('getblockheader', [hash])).version,
      version);
    await seeVotes(node, version === TESTDUMMY);
  }
});

test('the first job of a new vote has the node\'s version in the end',
  async (t) => {
    const node = await startNode(t);

    await node.mine(WINDOW - 2);

    const miner = await Miner.start(t, node);

    await node.mine(1);

    const tip = await node.tip();

    await miner.waitJob((job) => {
      return job.prevBlock.toString('hex') === tip && job.version === TESTDUMMY;
    });
  });

/** What getstratuminfo and the API say, and hsd says of the states. */

async function seeVotes(node, isSignalled) {
  const {deployments} = await node.waitFor('the deployments', async () => {
    const info = await node.rpc('getstratuminfo');
    return info.deployments.length > 0 && info;
  });
  const {softforks} = await node.rpc('getblockchaininfo');
  const testdummy = {name: 'testdummy', bit: 28, state: 'started',
    signalled: isSignalled};

  assert.deepStrictEqual(deployments.find(({bit}) => bit === 28), testdummy);

  for (const {name, state, bit} of deployments) {
    assert.strictEqual(softforks[name].status, state);
    assert.strictEqual(softforks[name].bit, bit);
  }

  const pool = await waitFor('the pool', async () => {
    const answer = await fetch(
      `http://127.0.0.1:${node.ports.dashboard}/api/v1/pool`);
    return answer.ok && answer.json();
  }, {node});

  assert.strictEqual(pool.deployments.length, deployments.length);
  assert.deepStrictEqual(pool.deployments.find(({bit}) => bit === 28),
    {name: 'testdummy', bit: 28, state: 'started', is_signalled: isSignalled});
}

test('a deployment that the network does not have stops the start',
  async (t) => {
    const {code, output} = await runNode(t,
      {args: ['--stratum-signal=airstop,testdumy']});

    assert.strictEqual(code, 1);
    assert.deepStrictEqual(bareLines(output), ['hstratum: signal: regtest has '
      + 'no deployment "testdumy": expected all, none or names of hardening, '
      + 'icannlockup, airstop, testdummy']);
  });
