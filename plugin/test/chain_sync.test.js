'use strict';

/*
 * A node that is not synchronized: a newcomer's first page. The chain is one
 * of main's rules and forty days, of which a peer whose clock the test moves
 * mines a block now and then.
 */

const assert = require('assert');
const fs = require('fs');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {HSD_DIR, startNode, tempDir, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {Clock, environment} = require('./network_rules');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const ADDRESS = 'hs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpze958w';
const DAY = 86400;
const DAYS = 40;
const BITS = 0x207fffff;

/** The text of an element, once it is as expected. */

function see(page, selector, pattern) {
  return waitFor(`${selector} ${pattern}`, async () => {
    const text = await page.locator(selector).first().textContent();
    return pattern.test(text) ? text : null;
  });
}

/** A node without a chain, and a peer that has ten days of it. */

async function startPair(t) {
  const now = Math.floor(Date.now() / 1000);
  const clock = new Clock(tempDir(t), now - 30 * DAY);
  const env = environment({network: 'main', genesisTime: now - DAYS * DAY,
    bits: BITS, txStart: 0}, HSD_DIR);
  const common = {network: 'main', address: ADDRESS};
  const peer = await startNode(t, {...common, plugin: false, listen: true,
    env: {...env, ...clock.env}});

  t.after(() => clock.close());
  await peer.mine(3);

  return {peer, clock, node: await startNode(t, {...common, env})};
}

/** Metrics of the download by their last word. */

async function metrics(node) {
  const answer = await fetch(
    `http://127.0.0.1:${node.ports.dashboard}/metrics`);
  const lines = (await answer.text()).split('\n');

  return Object.fromEntries(lines.map((line) => {
    return /^hstratum_node_sync(?:_|)(\w+) (.*)$/.exec(line);
  }).filter(Boolean).map(([, name, value]) => [name, Number(value)]));
}

async function judge(page) {
  await page.evaluate(AXE);

  const {violations} = await page.evaluate(() => window.axe.run());

  assert.deepStrictEqual(violations.map(({id, nodes}) => [id, nodes[0].html]),
    []);
}

test('the download of the chain is the first page, until miners have a job',
  async (t) => {
    const {peer, clock, node} = await startPair(t);
    const browser = await launch(t);
    const page = await open(browser, node, '/', {offline: true,
      locale: 'en', viewport: {width: 360, height: 740}});
    const chinese = await open(browser, node, '/', {offline: true,
      locale: 'zh-CN', colorScheme: 'dark'});

    await see(page, '#sync', /Chain downloaded0 %.*Height0Newest.*Peers0/);
    await see(page, '#sync .note:visible', /no peers, so nothing is downloaded/);
    assert.strictEqual(await page.locator('.notes .bad').count(), 0);
    assert.strictEqual(await page.locator('.stats:visible').count(), 0);
    await see(chinese, '#sync .note:visible', /节点没有对等节点/);
    await judge(page);
    await judge(chinese);
    assert.deepStrictEqual((await metrics(node)).peers, 0);

    await node.restart({peer});
    await see(page, '#sync', /Chain downloaded25\.\d %.*Height3Newest.*Peers1/);
    await see(page, '#sync p:last-child', /newest is too old to be the last/);
    await see(page, 'title', /^25\.\d % · hstratum$/);
    assert.strictEqual(await page.locator('#sync .note:visible').count(), 0);

    const bar = page.getByRole('progressbar', {name: /Chain downloaded/});

    assert.strictEqual(await bar.getAttribute('aria-valuenow'), '25');

    const {ing, progress, height, peers, tip_seconds: tip} = await metrics(node);

    assert.deepStrictEqual([ing, height, peers], [1, 3, 1]);
    assert.ok(progress > 0.25 && progress < 0.26, String(progress));
    assert.ok(Math.abs(tip - clock.time) < 60, String(tip));

    // It moves while it is looked at.
    clock.move(20 * DAY);
    await peer.mine(1);
    await see(page, '#sync', /Chain downloaded75\.\d %.*Height4Newest/);
    await see(chinese, '#sync', /已下载75\.\d%.*高度4最新区块/);
    await judge(chinese);
    assert.strictEqual(await page.evaluate(
      () => document.documentElement.scrollWidth), 360);

    // Ends by itself.
    clock.move(10 * DAY);
    await peer.mine(1);
    await page.locator('.stats:visible').waitFor();
    await see(page, '.stats', /Mining height6/);
    assert.strictEqual(await page.locator('#sync:visible').count(), 0);
    assert.deepStrictEqual(await metrics(node), {ing: 0});
    await Miner.start(t, node, 'alice.rig');
    await see(page, '#workers tbody tr', /alice.*rig/);
    page.check();
    chinese.check();
  });

test('a peer tells how long the chain is, and what else is missing is told too',
  async (t) => {
    const {peer, node} = await startPair(t);
    const browser = await launch(t);

    // One that knows of blocks and gives none.
    await node.restart({peer, address: null, env: {...node.options.env,
      NODE_OPTIONS: `${node.options.env.NODE_OPTIONS} --require=${deaf(t)}`}});

    const page = await open(browser, node);

    await see(page, '#sync', /Chain downloaded0 %.*Height0 of about 3Newest/);
    await see(page, '#sync p:last-child', /goes on where it was/);
    await see(page, '.notes .bad', /no job for miners: no coinbase address/);
    page.check();
  });

/** A module that has a node take no block. */

function deaf(t) {
  const file = `${tempDir(t)}/deaf.js`;
  const pool = require.resolve('hsd/lib/net/pool', {paths: [HSD_DIR]});

  fs.writeFileSync(file, `require(${JSON.stringify(pool)})
    .prototype.addBlock = async () => {};`);

  return file;
}
