#!/usr/bin/env node

'use strict';

/*
 * Writes plugin/test/releases/VERSION: what a node of this tree's version
 * leaves behind when it is killed with a found block in its hands, and beside
 * it, in expected.json, what of it a later version must still have.
 *
 *   node scripts/release/fixture.js      after make build
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const zlib = require('zlib');
const {Client} = require('../../plugin/test/client');
const {ADDRESS, PLUGIN, startNode, tempDir}
  = require('../../plugin/test/harness');
const {Miner} = require('../../plugin/test/miner');
const {Payer} = require('../../plugin/test/payer');
const {address} = require('../../plugin/test/paying_blocks');
const {BANNED, DIFFICULTY, PASSWORDS, RELEASES, figures, run}
  = require('../../plugin/test/releases');
const {version} = require('../../plugin/package.json');

const CONF = `server-id: pool
auth: users
dashboard: private
difficulty: ${DIFFICULTY}
difficulty-min: ${DIFFICULTY}
dynamic: false
scheme: prop
fee: 1
threshold: 0.5
`;

/** Shares in the round of the block that is not answered. */
const ROUND = {alice: 3, bob: 2};

const README = `Left behind by a node of hstratum ${version}: \
written by scripts/release/fixture.js, and never changed.
plugin/test/upgrade.test.js starts each later version on a copy of it.
`;
const NEVER = require.resolve('../../plugin/test/wrong_block_plugin');
const WALLET = ['--wallet-api-key=test'];

async function main() {
  const after = [];

  try {
    await make({after: fn => after.push(fn)});
  } finally {
    for (const fn of after.reverse())
      await fn();
  }
}

async function make(t) {
  const out = path.join(RELEASES, version);

  if (fs.existsSync(out))
    throw new Error(`${out} is there, and once it is released never changed`);

  const node = await startPool(t);
  const ledger = path.join(node.stratumDir, 'ledger.db');
  const payer = await Payer.start(t, node, []);

  for (const user of ['alice.rig', 'bob.rig', 'bob.other'])
    await mine(t, node, user);

  await pay(t, node, payer);

  const {key} = await (await Client.signIn(node, 'alice', PASSWORDS.alice))
    .expect(201, 'POST', 'me/keys', {name: 'monitor', may: 'read'});

  await node.restart({env: {HSTRATUM_WRONG_BLOCK: 'never'},
    args: [...WALLET, `--plugins=${PLUGIN},${NEVER}`]});

  const chain = await blocks(node);
  const spooled = await leaveBlock(t, node);
  const expected = {key, spooled, round: ROUND, ...await figures(ledger)};

  await keep(node, out, chain, expected);
}

/** A pool whose blocks its wallet gets, with its users and their settings. */

async function startPool(t) {
  const prefix = tempDir(t);

  fs.mkdirSync(path.join(prefix, 'regtest'));
  fs.writeFileSync(path.join(prefix, 'regtest', 'stratum.conf'), CONF);

  const node = await startNode(t, {prefix, wallet: true, address: null,
    args: WALLET});

  for (const [name, password] of Object.entries(PASSWORDS))
    await node.rpc('addstratumuser', [name, password]);

  await node.rpc('disablestratumuser', ['carol']);
  await node.rpc('banminer', [BANNED, 0, 'a ban for good']);

  return node;
}

/** Mine a block, and before it a share that is none. */

async function mine(t, node, user) {
  const miner = await login(t, node, user);
  const tip = await node.tip();

  await miner.waitJob(job => job.prevBlock.toString('hex') === tip);

  await accept(miner, user, miner.miss());
  await accept(miner, user, miner.solve());

  await node.waitFor('the block', async () => await node.tip() !== tip);
}

async function accept(miner, user, share) {
  const {error} = await miner.submit(user, share);
  assert.strictEqual(error, null);
}

function login(t, node, user) {
  return Miner.start(t, node, user, PASSWORDS[user.split('.')[0]]);
}

/** Pay alice what is due, and bob, whose threshold is higher, nothing. */

async function pay(t, node, payer) {
  await node.rpc('setstratumaddress', ['alice', ADDRESS]);
  await node.rpc('setstratumaddress', ['bob', address(1)]);
  await node.rpc('setstratumthreshold', ['bob', 100000]);
  await node.mine(2);

  const step = name => node.waitFor(`the payment to be ${name}`, async () => {
    const {code, out, err} = await payer.send();

    assert.strictEqual(code, 0, err);
    return out.steps.some(one => one.step === name);
  });

  await step('sent');
  await node.waitFor('the payment in a block', async () => {
    await mine(t, node, 'bob.rig');
    return (await node.rpc('getrawmempool')).length === 0;
  });
  await node.mine(2);
  await step('confirmed');
}

/** All blocks of the chain in hex. */

async function blocks(node) {
  const all = [];
  const tip = await node.height();

  for (let height = 1; height <= tip; height++)
    all.push(await node.rpc('getblockbyheight', [height, false]));

  return all;
}

/** Have a block found that the node has not answered when it is killed. */

async function leaveBlock(t, node) {
  const miner = await login(t, node, 'alice.rig');
  const bob = await login(t, node, 'bob.rig');

  for (let i = 0; i < ROUND.bob; i++)
    await accept(bob, 'bob.rig', bob.miss());
  for (let i = 1; i < ROUND.alice; i++)
    await accept(miner, 'alice.rig', miner.miss());

  const share = miner.solve();
  const spool = path.join(node.stratumDir, 'spool', `${share.hash}.block`);
  const ledger = path.join(node.stratumDir, 'ledger.db');

  await accept(miner, 'alice.rig', share);
  await node.waitFor('the block in the spool', () => fs.existsSync(spool));
  await node.waitFor('the block in the ledger', async () => {
    return (await figures(ledger)).blocks
      .some(({hash}) => hash === share.hash);
  });
  await node.kill();

  return share.hash;
}

/** Write all of it to `out`. */

async function keep(node, out, chain, expected) {
  const stratum = path.join(out, 'regtest', 'stratum');
  const write = (name, text) => fs.writeFileSync(path.join(out, name), text);

  fs.mkdirSync(path.join(stratum, 'spool'), {recursive: true});
  write('regtest/stratum.conf', CONF);

  for (const name of ['users.json', 'bans.json', 'shares',
    `spool/${expected.spooled}.block`]) {
    fs.cpSync(path.join(node.stratumDir, name), path.join(stratum, name),
      {recursive: true});
  }

  // One file without a log, and nearly empty pages.
  const copy = path.join(node.prefix, 'copy.db');
  const {code, stderr} = await run('ledger', 'backup', '--ledger',
    path.join(node.stratumDir, 'ledger.db'), '--to', copy);

  assert.strictEqual(code, 0, stderr);
  write('ledger.db.gz', zlib.gzipSync(fs.readFileSync(copy)));
  write('chain.hex', `${chain.join('\n')}\n`);
  write('expected.json', `${JSON.stringify(expected, null, 2)}\n`);
  write('README.md', README);
}

main().catch((error) => {
  console.error(error.stack);
  process.exitCode = 1;
});
