'use strict';

/*
 * A month of main (BLOCKS) in minutes, and then some days of testnet, at a
 * clock that is moved: see lab/README.md and plugin/test/year.js. Each run is
 * of a SEED; it ends at the first difference, which it tells with its height.
 */

const fs = require('fs');
const {DEPTH_MAX, Year, summary} = require('../plugin/test/year');
const {exitWith, play} = require('./rig');
const {makeDir} = require('./surroundings');

const number = (name, value) => Number(process.env[name] || value);

const BLOCKS = number('BLOCKS', 4000);
const TESTNET_BLOCKS = number('TESTNET_BLOCKS', 600);
const SEED = number('SEED', Date.now() % 1e6);

/** Time limit of a run. */
const DEADLINE_MS = 55 * 60 * 1000;

/** Each depth, and again for as long as there are blocks for it. */

function depths(blocks) {
  const count = Math.max(4, Math.floor(blocks / 100));
  return Array.from({length: count}, (_, i) => DEPTH_MAX - i % DEPTH_MAX);
}

async function live(cleanup, network, blocks) {
  const dir = makeDir();

  cleanup.after(() => fs.rmSync(dir, {recursive: true, force: true}));

  const year = new Year(cleanup, {
    seed: SEED, dir, network, blocks, rateSpan: 150,
    auctions: network === 'main', reorganisations: depths(blocks),
    restarts: Math.ceil(blocks / 500), resyncs: Math.ceil(blocks / 1000),
    payouts: Math.ceil(blocks / 200)
  });
  const progress = setInterval(() => {
    console.log('height %s: %s', year.tip.height, summary(year.counts));
  }, 30000);

  cleanup.after(() => clearInterval(progress));

  try {
    console.log(`${network}, seed ${SEED}: ${summary(await year.run())}`);
  } finally {
    clearInterval(progress);
  }
}

async function both(cleanup) {
  await live(cleanup, 'main', BLOCKS);
  await live(cleanup, 'testnet', TESTNET_BLOCKS);
  return 0;
}

exitWith(play(DEADLINE_MS, both));
