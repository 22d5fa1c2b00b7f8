'use strict';

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const path = require('path');
const {test} = require('node:test');
const {problems} = require('./doctor');
const {PLUGIN, freePort, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');

const DONE = /\(stratum\) block path (checked|broken): (.*)/;

/** Outcomes of a drill by the kind of wrong block. */
const BROKEN = {
  hash: /^the node built [0-9a-f]{64} instead$/,
  bytes: /^the spool would have another block than the node$/,
  rules: /^the node would refuse it: bad-tree-root$/
};

test('the path of a found block is checked at the start', async (t) => {
  const node = await startNode(t, {listen: true});
  const observer = await Observer.connect(t, node);
  const {text} = await node.waitLog(DONE);

  assert.match(text, /block path checked: 1 transaction, \d+ bytes; checked in [\d.]+ ms, encoded in [\d.]+ ms, built in [\d.]+ ms, compared in [\d.]+ ms, verified in [\d.]+ ms$/);

  // It is in no chain, ledger or spool.
  const info = await node.rpc('getstratuminfo');

  assert.strictEqual(info.blockpath, 'ok');
  assert.strictEqual(info.lastblock, null);
  assert.deepStrictEqual([info.round.shares, info.round.work], [0, 0]);
  assert.deepStrictEqual((await api(node, 'api/v1/blocks')).blocks, []);
  assert.deepStrictEqual(spooled(node), []);
  assert.deepStrictEqual(await node.rpc('getchaintips'), [{
    height: 0,
    hash: await node.tip(),
    branchlen: 0,
    status: 'active'
  }]);
  assert.strictEqual(node.find(/block found|Competing chain/), null);

  // The first block that a peer hears of is one that a miner has found.
  const miner = await Miner.start(t, node);
  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await observer.waitBlock(hash);
  assert.strictEqual(observer.announced.size, 1);
  await node.waitTip(hash);
});

for (const [kind, reason] of Object.entries(BROKEN)) {
  test(`a drill that fails by its ${kind} is told of`, async (t) => {
    const alarms = await Receiver.start(t);
    const node = await startNode(t, {
      env: {HSTRATUM_WRONG_BLOCK: kind},
      args: ['--stratum-verify=off', `--stratum-webhook=${alarms.url}`,
        `--plugins=${PLUGIN},${require.resolve('./wrong_block_plugin')}`]
    });
    const {text} = await node.waitLog(DONE);
    const [, told] = /block path broken: a found block would be lost: (.*)/
      .exec(text);

    assert.match(told, reason);

    const alarm = await node.waitFor('the alarm', () => {
      return alarms.bodies.find(({event}) => event === 'block_path_broken');
    });

    assert.strictEqual(alarm.severity, 'error');
    assert.strictEqual(alarm.reason, told);
    assert.strictEqual((await node.rpc('getstratuminfo')).blockpath, told);
    assert.strictEqual((await api(node, 'api/v1/pool')).block_path_broken,
      told);
    assert.strictEqual((await api(node, 'healthz')).degraded,
      `a found block would be lost: ${told}`);

    const [{text: found, advice}] = await problems(node);

    assert.strictEqual(found, `a found block would be lost: ${told}`);
    assert.match(advice, /start the node again/);
  });
}

test('a block on which the node fails is offered again', async (t) => {
  const alarms = await Receiver.start(t);
  const node = await startNode(t, {
    env: {HSTRATUM_WRONG_BLOCK: 'once'},
    args: [`--stratum-webhook=${alarms.url}`,
      `--plugins=${PLUGIN},${require.resolve('./wrong_block_plugin')}`]
  });
  const miner = await Miner.start(t, node);
  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await node.waitLog(new RegExp(`did not judge block 1 ${hash}: planted; it `
    + 'stays in the spool and is offered again$'));
  await node.waitLog(new RegExp(`block accepted: 1 ${hash}`));
  assert.strictEqual(await node.tip(), hash);
  await node.waitFor('the alarms', () => {
    const events = alarms.bodies.map(({event}) => event);
    return events.includes('block_unjudged')
      && events.includes('block_accepted');
  });
  await node.waitFor('an empty spool', () => spooled(node).length === 0);
});

async function api(node, name) {
  const url = `http://127.0.0.1:${node.ports.dashboard}/${name}`;
  return (await fetch(url)).json();
}

function spooled(node) {
  return fs.readdirSync(path.join(node.stratumDir, 'spool'))
    .filter(name => !name.startsWith('.'));
}

/** A receiver of alarms. */

class Receiver {
  static async start(t) {
    const receiver = new Receiver();
    const port = await freePort();

    receiver.bodies = [];
    receiver.url = `http://127.0.0.1:${port}/`;

    const server = http.createServer(async (request, response) => {
      let body = '';

      for await (const text of request)
        body += text;

      receiver.bodies.push(JSON.parse(body));
      response.end();
    });

    t.after(() => server.close());
    await new Promise(resolve => server.listen(port, '127.0.0.1', resolve));

    return receiver;
  }
}
