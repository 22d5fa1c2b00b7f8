'use strict';

const assert = require('assert');
const {execFile} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {PLUGIN, startNode, tempDir} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');

const DONE = /\(stratum\) block path (checked|broken): (.*)/;

test('the way of a found block is tried at the start', async (t) => {
  const node = await startNode(t, {listen: true});
  const observer = await Observer.connect(t, node);
  const {text} = await node.waitLog(DONE);

  assert.match(text, /block path checked: 1 transactions, \d+ bytes; checked in [\d.]+ ms, written in [\d.]+ ms, built in [\d.]+ ms, compared in [\d.]+ ms, verified in [\d.]+ ms$/);

  // Nobody has been told.
  const {blockpath} = await node.rpc('getstratuminfo');

  assert.strictEqual(blockpath, 'ok');
  assert.strictEqual(await node.height(), 0);
  assert.deepStrictEqual(spooled(node), []);
  assert.strictEqual(node.find(/block found|Competing chain/), null);

  // And the first block that is one goes the same way.
  const miner = await Miner.start(t, node);
  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await observer.waitBlock(hash);
  assert.strictEqual(observer.announced.size, 1);
  await node.waitTip(hash);
});

test('one that fails is an alarm, and doctor says so', async (t) => {
  const file = path.join(tempDir(t), 'wrong_block');

  fs.writeFileSync(file, '');

  const node = await startNode(t, {
    env: {HSTRATUM_WRONG_BLOCK: file},
    args: [`--plugins=${PLUGIN},${require.resolve('./wrong_block_plugin')}`]
  });
  const {text} = await node.waitLog(DONE);

  assert.match(text, /block path broken: a found block would be lost: the node built [0-9a-f]{64} instead/);
  await node.waitFor('it in the RPC', async () => {
    return /instead/.test((await node.rpc('getstratuminfo')).blockpath);
  });

  const url = `http://127.0.0.1:${node.ports.dashboard}`;
  const health = await (await fetch(`${url}/healthz`)).json();

  assert.match(health.degraded, /a found block would be lost: the node built/);
  assert.match(await (await fetch(`${url}/metrics`)).text(),
    /^hstratum_block_path_broken 1$/m);

  const findings = await doctor(node);
  const found = findings.find(({text}) => /would be lost/.test(text));

  assert.strictEqual(found.severity, 'problem');
});

function spooled(node) {
  return fs.readdirSync(path.join(node.stratumDir, 'spool'))
    .filter(name => !name.startsWith('.'));
}

/** All that it finds. */

function doctor(node) {
  return new Promise((resolve) => {
    execFile(BINARY, ['doctor', '--network=regtest', `--prefix=${node.prefix}`,
      '--json', `--node-url=http://127.0.0.1:${node.ports.http}`], {
      env: {...process.env, HSTRATUM_NODE_API_KEY: 'test'}
    }, (error, stdout) => resolve(JSON.parse(stdout).findings));
  });
}
