'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const KeyRing = require('hsd/lib/primitives/keyring');
const {problems} = require('./doctor');
const {PLUGIN, startNode, tempDir} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');
const {Spender} = require('./spender');
const planted = require('./invalid_templates_plugin');

/** Enough for a transaction to spend with each kind. */
const COINS = 100;

const BLOCKS_MAX = 10;

/** hstratum's own checks refuse it before it is a job. */
const BEFORE = /template (?:refused|failed): (.*)/;

/** hsd's rules refuse it after it has become one. */
const AFTER = /would be refused by the network \((.*)\)/;

/** Kinds of which no job was ever out. */
const NEVER_OUT = [
  'merkle root', 'witness root', 'coinbase of another height',
  'time before the median', 'block of another tip'
];

/** Kinds of which the template is right once it is made anew. */
const MADE_ANEW = [
  ...NEVER_OUT, 'tree root', 'bits', 'height', 'coinbase too rich'
];

/** A node whose templates are invalid as soon as a file says how. */

async function start(t, options = {}) {
  const file = path.join(tempDir(t), 'plant');
  const spender = new Spender(KeyRing.fromPrivate(planted.key));
  const node = await startNode(t, {
    address: planted.address,
    env: {HSTRATUM_PLANT: file},
    ...options,
    args: [`--plugins=${PLUGIN},${require.resolve('./invalid_templates_plugin')}`,
      '--stratum-refresh=1', ...options.args || []]
  });

  await spender.prepare(node, COINS);
  await node.mine(planted.blocks);

  return {file, node, spender, miner: await Miner.start(t, node)};
}

test('invalid templates are caught, and miners go on', async (t) => {
  const {file, node, spender, miner} = await start(t);

  for (const kind of planted.KINDS)
    await t.test(kind, () => check(node, miner, spender, file, kind));

  console.log('| planted | caught | jobs of it | ms until a good job |');
  console.log('|---|---|---|---|');

  for (const row of table)
    console.log(`| ${row.join(' | ')} |`);
});

const table = [];

async function check(node, miner, spender, file, kind) {
  const from = node.lines.length;
  const log = `${file}.log`;

  fs.rmSync(log, {force: true});
  await spender.spend(node);
  fs.writeFileSync(file, kind);

  await node.waitFor('the template', () => plantedIn(log).length > 0);

  const isBad = job => isPlanted(job, log);

  if (kind === 'block of another tip')
    fs.rmSync(file);

  const [{at}] = plantedIn(log);
  const good = await miner.waitFor('a good job',
    () => miner.jobs.find(job => job.at >= at && !isBad(job)));
  const bad = () => miner.jobs.filter(job => job.at >= at && isBad(job));
  const net = node.find(BEFORE, from) || await node.waitLog(AFTER, {from});

  // Blocks are found, and what is valid is in them.
  await mineTransactions(node, miner);
  assert.strictEqual(node.find(/block refused|rejected/, from), null);

  if (NEVER_OUT.includes(kind))
    assert.strictEqual(bad().length, 0);

  const leftOut = node.find(/left out of templates/, from);

  if (MADE_ANEW.includes(kind))
    assert.strictEqual(leftOut, null);

  const count = bad().length;
  const before = BEFORE.exec(net.text);
  const after = AFTER.exec(net.text);

  table.push([kind, before ? `before it was out: ${before[1]}`
    : `after: ${after[1]}`, count, good.at - at]);

  // The next kind begins with a template that is right.
  const end = node.lines.length;

  fs.rmSync(file, {force: true});
  await spender.spend(node);
  await node.waitLog(/Created block tmpl .*txs=[2-9]/, {from: end});
  await node.waitFor('valid templates', async () => {
    const {has_job: hasJob, template_invalid: reason} = await shown(node);
    return hasJob && reason === null;
  });
}

async function shown(node) {
  const url = `http://127.0.0.1:${node.ports.dashboard}/api/v1/pool`;
  return (await fetch(url)).json();
}

test('a block of a refused template goes to no peer', async (t) => {
  const {file, node, spender, miner} = await start(t, {listen: true});
  const observer = await Observer.connect(t, node);
  const log = `${file}.log`;

  await spender.spend(node);
  fs.writeFileSync(file, 'tree root');
  await node.waitLog(AFTER);

  const job = miner.jobs.find(job => isPlanted(job, log));
  const {error, hash} = await miner.submit('alice', miner.solve(job));

  assert.strictEqual(error, null);
  await node.waitLog(new RegExp(`block refused: .* ${hash}: bad-tree-root`));

  const tip = await node.tip();
  const good = await miner.submit('alice', miner.solve(await miner.waitJob(
    job => job.prevBlock.toString('hex') === tip && !isPlanted(job, log))));

  await observer.waitBlock(good.hash);
  assert.strictEqual(observer.announced.has(hash), false);

  const [{text}] = await problems(node);

  assert.strictEqual(text,
    'the network would refuse the block of the node\'s template: bad-tree-root');
});

test('a verification that hangs or throws harms nobody', async (t) => {
  const {file, node, spender, miner} = await start(t);

  for (const kind of ['hang', 'throw']) {
    fs.writeFileSync(file, kind);

    for (let i = 0; i < 3; i++) {
      await spender.spend(node);
      await mineTransactions(node, miner);
    }
  }

  assert.strictEqual(node.find(AFTER), null);
  assert.strictEqual(node.count(/could not be verified: planted/), 1);
});

test('verify: off leaves it out', async (t) => {
  const {file, node, spender, miner} = await start(t,
    {args: ['--stratum-verify=off']});
  const log = `${file}.log`;

  await spender.spend(node);
  fs.writeFileSync(file, 'tree root');
  await miner.waitJob(job => fs.existsSync(log) && isPlanted(job, log));
  fs.rmSync(file);
  await spender.spend(node);
  await miner.waitJob(job => !isPlanted(job, log));
  assert.strictEqual(node.find(AFTER), null);
});

/** True if a miner's job is of an invalid template. */

function isPlanted(job, log) {
  return plantedIn(log).some(({merkleRoot, treeRoot, bits}) => {
    return job.merkleRoot.toString('hex') === merkleRoot
      && job.treeRoot.toString('hex') === treeRoot && job.bits === bits;
  });
}

function plantedIn(log) {
  // The last may be half written.
  return fs.readFileSync(log, 'utf8').split('\n').slice(0, -1)
    .map(line => JSON.parse(line));
}

/** Find blocks until one has more in it than its coinbase. */

async function mineTransactions(node, miner) {
  for (let i = 0; i < BLOCKS_MAX; i++) {
    const tip = await node.tip();
    const next = await node.height() + 1;

    // What is shown of the job is up to a second old.
    await node.waitFor('a job with transactions', async () => {
      const {height, transactions} = await shown(node);
      return height === next && transactions > 0;
    });

    const job = await miner.waitJob(
      job => job.prevBlock.toString('hex') === tip);
    const {error, hash} = await miner.submit('alice', miner.solve(job));

    assert.strictEqual(error, null);
    await node.waitTip(hash);

    if ((await node.rpc('getblock', [hash])).tx.length > 1)
      return;
  }

  assert.fail('no block has transactions');
}
