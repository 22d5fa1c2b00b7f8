'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {startNode} = require('./harness');
const {Miner} = require('./miner');

const ADDRESS = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u';

/** Make a call and give {code, message}; fails when the node accepts it. */

async function refusal(node, params) {
  const {result, error} = await node.call('setstratumaddress', params);
  assert.strictEqual(result, null);
  return error;
}

test('the operator sets where an account is paid', async (t) => {
  const node = await startNode(t);

  assert.strictEqual(
    await node.rpc('setstratumaddress', ['alice', ADDRESS]), true);
  assert.strictEqual(
    await node.rpc('setstratumaddress', ['alice', ADDRESS.toUpperCase()]),
    true);
});

test('what cannot be paid is no address', async (t) => {
  const node = await startNode(t);

  assert.match(await node.rpc('help', ['setstratumaddress']).catch(String),
    /setstratumaddress "account" "address"/);

  for (const params of [[], ['alice'], ['alice', ADDRESS, 1]])
    assert.strictEqual((await refusal(node, params)).code, -1);

  assert.strictEqual((await refusal(node, ['alice', 1])).code, -3);

  const main = await refusal(node,
    ['alice', 'hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy']);
  assert.strictEqual(main.code, -5);
  assert.match(main.message, /^not a payable regtest address: "hs1.*\(it is one of main\)$/);

  const name = await refusal(node, ['al\u0007ice', ADDRESS]);
  assert.strictEqual(name.code, -5);
  assert.match(name.message, /^not an account name: "al\\u\{7\}ice"$/);
});

test('the admin adds a user with an address', async (t) => {
  const node = await startNode(t, {args: ['--stratum-password=admin-pass']});
  const admin = await Miner.connect(t, node);

  await admin.request('mining.authorize_admin', ['admin-pass']);

  const bad = await admin.request('mining.add_user',
    ['alice', 'secret', ADDRESS.slice(1)]);
  assert.deepStrictEqual(bad.error.slice(0, 2), [0, 'invalid address']);

  const added = await admin.request('mining.add_user',
    ['alice', 'secret', ADDRESS]);
  assert.strictEqual(added.result, true);

  const miner = await Miner.start(t, node, 'alice', 'secret');
  assert.strictEqual((await miner.submit()).error, null);
});
