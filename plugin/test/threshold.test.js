'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {startNode} = require('./harness');

test('the operator sets from which balance an account is paid', async (t) => {
  const node = await startNode(t, {args: ['--stratum-threshold-min=0.5']});

  const refusal = async (...params) => {
    const {result, error} = await node.call('setstratumthreshold', params);
    assert.strictEqual(result, null);
    return error;
  };

  for (const hns of ['0.5', 25, 0.75, undefined]) {
    const params = ['alice', hns].filter(param => param != null);
    assert.strictEqual(await node.rpc('setstratumthreshold', params), true);
  }

  assert.match(await node.rpc('help', ['setstratumthreshold']).catch(String),
    /setstratumthreshold "account" \(hns\)/);
  assert.strictEqual((await refusal()).code, -1);
  assert.strictEqual((await refusal('alice', true)).code, -3);

  for (const [hns, why] of [
    [0.1, /^0\.100000 HNS is below threshold-min, which is 0\.500000 HNS$/],
    ['ten', /^not an amount of HNS: expected a number such as 2 or 0\.5$/],
    [-1, /^not an amount of HNS: /],
    ['0.0000001', /^not an amount of HNS: at most 6 decimals are taken$/]
  ]) {
    const {code, message} = await refusal('alice', hns);
    assert.strictEqual(code, -5);
    assert.match(message, why);
  }
});
