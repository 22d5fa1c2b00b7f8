'use strict';

/*
 * Some days of main's and of testnet's rules; `make year` has a month.
 */

const assert = require('assert');
const {test} = require('node:test');
const {notProxied, tempDir} = require('./harness');
const {Year, summary} = require('./year');

const SEED = Number(process.env.SEED || 7);

const DIRECT = notProxied('the clock is that of the node alone');

async function live(t, options) {
  const dir = tempDir(t);
  const counts = await new Year(t, {seed: SEED, dir, ...options}).run();

  t.diagnostic(summary(counts));
  return counts;
}

test('days of main: each job is as the node\'s, the ledger adds up', DIRECT,
  async (t) => {
    const counts = await live(t, {
      network: 'main', blocks: 400, rateSpan: 90, auctions: true,
      reorganisations: [1, 4, 20], restarts: 1, resyncs: 1, payouts: 2
    });

    assert.ok(counts.retargets > 50);
    assert.ok(counts.commits > 0);
    assert.ok(counts.firsts > 0);
    assert.ok(counts.covenants.REGISTER > 0);
    assert.ok(counts.reorganisations + counts.abandoned === 3);
  });

test('days of testnet: twenty minutes after a block the difficulty is the '
  + 'lowest', DIRECT, async (t) => {
  const counts = await live(t, {
    network: 'testnet', blocks: 200, rateSpan: 50, auctions: false,
    reorganisations: [2, 9], restarts: 1, resyncs: 1, payouts: 1
  });

  assert.ok(counts.retargets > 20);
  assert.ok(counts.resets > 0);
});
