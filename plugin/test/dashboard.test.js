'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {PLUGIN, startNode, tempDir, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {Payer, Wallets} = require('./payer');
const {Postgres} = require('./postgres');

const MARKUP = '<img src=x onerror=window.hacked=1>';
const BACKWARDS = '\u202etxt.exe';
const QUOTES = '"\'&amp;/../%2f';
const SHARED_SCHEMA = path.join(__dirname,
  '../../crates/server/src/sql/postgres_schema.sql');
const CONNECTIONS = 10;
const USERS = 1000;

/** The text of an element, once it is as expected. */

function see(page, selector, pattern) {
  return waitFor(`${selector} ${pattern}`, async () => {
    const text = await page.locator(selector).first().textContent();
    return pattern.test(text) ? text : null;
  });
}

function rows(page, table) {
  return page.locator(`#${table} tbody tr`).count();
}

test('a miner, its account and its block appear by themselves', async (t) => {
  const node = await startNode(t, {args: [
    '--stratum-explorer=https://example.com/block/%h'
  ]});
  const browser = await launch(t);
  const page = await open(browser, node);

  await see(page, '#live', /^live$/);
  await see(page, '#workers .empty', /No miner yet/);
  await see(page, '#workers .empty', new RegExp(`:${node.ports.stratum}`));
  await see(page, '#connect .address', new RegExp(
    `^stratum\\+tcp://127\\.0\\.0\\.1:${node.ports.stratum}$`));

  await see(page, '#connect', /User: account\.worker, and the password: any/);
  await see(page, '#money', new RegExp(`Each block pays ${node.options.address}`));
  await see(page, '#money', /A balance is what the owner of that address owes/);

  const width = await page.locator('img.code').evaluate((code) => {
    return code.decode().then(() => code.naturalWidth);
  });

  assert.ok(width > 0);

  const miner = await Miner.start(t, node, 'alice.rig');
  const {hash} = await miner.submit('alice.rig');

  await node.waitTip(hash);
  await see(page, '#blocks tbody tr', /accepted/);
  await see(page, '#workers tbody tr', /alice.*rig/);
  await see(page, '.events li', /Block 1 (found|accepted)/);

  const link = page.locator('#blocks tbody a').first();

  assert.strictEqual(await link.getAttribute('href'),
    'https://example.com/block/1');

  await page.locator('#accounts a').first().click();
  await see(page, 'h1', /^alice$/);
  await see(page, '#blocks tbody tr', /accepted/);
  await see(page, '#workers tbody tr', /rig/);
  assert.match(page.url(), /\/account\/alice$/);
  page.check();
});

test('an account sees what it can expect, what it is owed and was paid',
  async (t) => {
    const node = await startNode(t, {
      wallet: true, address: null, args: ['--wallet-api-key=test',
        '--stratum-scheme=prop', '--stratum-fee=1', '--stratum-threshold=0.5']
    });
    const wallets = new Wallets(node);
    const payer = await Payer.start(t, node,
      ['--scheme', 'prop', '--fee', '1', '--threshold', '0.5']);
    const miner = await Miner.start(t, node, 'alice.rig');
    const browser = await launch(t);
    const pool = await open(browser, node);
    // An account without a share has no history: 404.
    const page = await open(browser, node, '/account/alice', {offline: true});

    // Nothing yet.
    await see(pool, '#money', /SchemePROP/);
    await see(pool, '#money', /Fee1 %Threshold0\.50 HNS/);
    await see(pool, '#money', /Owed to accounts0\.00 HNS.*none yet/);
    await see(page, '#credits .empty', /No block has brought anything yet\./);

    const {hash} = await miner.submit('alice.rig');

    await node.waitTip(hash);

    // Pending.
    await see(page, '#credits tbody tr', /pending1,980\.00 HNS/);
    await see(page, '.money', /Pending1,980\.00 HNS/);
    await see(pool, '#money', /Owed to accounts1,980\.00 HNS/);

    await payer.tool('ledger', 'address', '--ledger', payer.ledger, 'alice',
      await wallets.create('alice'));
    await bury(node, payer, wallets);

    const [sent] = (await payer.send()).out.steps;

    // On its way.
    assert.strictEqual(sent.step, 'sent');
    await see(page, '#credits tbody tr', new RegExp(
      `paying1,980\\.00 HNS.*${sent.txid.slice(-10)}`));
    await bury(node, payer, wallets);
    await payer.send();

    // Paid.
    await see(page, '#credits tbody tr', /paid1,980\.00 HNS/);
    await see(page, '.money', /Paid1,980\.00 HNS/);
    await see(pool, '#money', /Owed to accounts0\.00 HNS.*just now/);

    const [table] = await Promise.all([page.waitForEvent('download'),
      page.locator('#credits a').click()]);
    const text = fs.readFileSync(await table.path(), 'utf8');

    assert.match(text, /^account,height,.*\r\nalice,1,.*,paid,1980\.000000,/);
    pool.check();
    page.check();
  });

/** Mine until the wallet can spend what was mined before. */

async function bury(node, payer, wallets) {
  await node.mine(3);

  const height = await node.height();

  await node.waitFor('the wallet to know the tip', async () => {
    const {result} = await wallets.call('POST', '/',
      {method: 'getwalletinfo', params: [], id: 1});
    return result.height === height;
  });
  await node.waitFor('the ledger to know it', async () => {
    const {tip, held} = await payer.plan();
    return tip.height === height && held.length === 0;
  });
}

test('what would lose a found block is shown', async (t) => {
  const file = path.join(tempDir(t), 'invalid');

  fs.writeFileSync(file, 'tree root');

  const plugins = [PLUGIN, require.resolve('./invalid_templates_plugin'),
    require.resolve('./wrong_block_plugin')];
  const node = await startNode(t, {
    env: {HSTRATUM_PLANT: file, HSTRATUM_WRONG_BLOCK: 'hash'},
    args: [`--plugins=${plugins.join(',')}`]
  });
  const browser = await launch(t);
  const page = await open(browser, node);

  await see(page, '.notes', /would refuse the block of the node's template: bad-tree-root\. Miners get what is valid of it\./);
  await see(page, '.notes', /A found block would be lost: the node built [0-9a-f]{64} instead\./);
  await see(page, 'ol.events', /would refuse the block of the node's template/);
  page.check();
});

test('names that miners choose are text and nothing else', async (t) => {
  const node = await startNode(t);
  const browser = await launch(t);

  for (const name of [MARKUP, BACKWARDS, QUOTES]) {
    const miner = await Miner.start(t, node, name);
    const {error} = await miner.submit(name);
    assert.ok(error === null || error[0] === 21, JSON.stringify(error));
  }

  const page = await open(browser, node);

  await waitFor('all three', async () => await rows(page, 'workers') === 3);

  // The text before the first dot is the account.
  const texts = await page.locator('#accounts bdi').allTextContents();

  for (const name of [MARKUP, BACKWARDS, QUOTES])
    assert.ok(texts.includes(name.split('.')[0]), `${name}: ${texts}`);

  const images = await page.locator('main img').count();

  assert.strictEqual(images, 1);
  assert.strictEqual(await page.evaluate(() => window.hacked), undefined);

  await page.getByRole('link', {name: MARKUP.split('.')[0], exact: true})
    .first().click();
  await waitFor('the account', async () => {
    return await page.locator('h1').textContent() === MARKUP.split('.')[0];
  });
  assert.strictEqual(await page.evaluate(() => window.hacked), undefined);
  page.check();
});

test('ten thousand workers are searched, sorted and turned', async (t) => {
  const node = await startNode(t);
  const browser = await launch(t);

  for (let i = 0; i < CONNECTIONS; i++) {
    const miner = await Miner.connect(t, node);
    const ids = [];

    await miner.subscribe();

    for (let j = 0; j < USERS; j++) {
      ids.push(miner.send('mining.authorize',
        [`account${i}.worker${String(j).padStart(4, '0')}`, 'x']));
    }

    await miner.reply(ids[USERS - 1]);
  }

  const page = await open(browser, node);

  await see(page, '#workers .count', /^10,000$/);
  await see(page, '#workers .where', /^1–25 of 10,000$/);
  assert.strictEqual(await rows(page, 'workers'), 25);

  await page.locator('#workers th button', {hasText: 'Account'}).click();
  await see(page, '#workers tbody tr', /account0.*worker0000/);
  await page.locator('#workers .pages button', {hasText: 'Next'}).click();
  await see(page, '#workers tbody tr', /account0.*worker0025/);
  await page.locator('#workers th button', {hasText: 'Account'}).click();
  await see(page, '#workers tbody tr', /account9/);

  await page.locator('#workers input').fill('WORKER0777');
  await see(page, '#workers .count', /^10$/);
  assert.strictEqual(await rows(page, 'workers'), 10);
  await page.locator('#workers input').fill('nobody has this');
  await see(page, '#workers .empty', /Nothing has that in its name/);
  page.check();
});

test('it fits a phone, and follows the colours of the system', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node, `${'w'.repeat(120)}.rig`);
  const browser = await launch(t);
  const papers = [];

  await miner.submit(`${'w'.repeat(120)}.rig`);

  for (const colorScheme of ['light', 'dark']) {
    for (const path of ['/', `/account/${'w'.repeat(120)}`]) {
      const page = await open(browser, node, path, {
        viewport: {width: 360, height: 740}, colorScheme
      });

      await see(page, '#workers tbody tr', /rig/);

      const [wide, paper] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        getComputedStyle(document.body).backgroundColor
      ]);

      assert.strictEqual(wide, 360);
      papers.push(paper);
      page.check();
    }
  }

  assert.strictEqual(papers[0], papers[1]);
  assert.notStrictEqual(papers[0], papers[2]);
});

test('a lost connection is said and comes back by itself', async (t) => {
  const node = await startNode(t);
  const browser = await launch(t);
  const page = await open(browser, node, '/', {offline: true});

  await see(page, '#live', /^live$/);
  await node.kill();
  await page.locator('#banner').waitFor({state: 'visible'});
  await see(page, '#live', /^not connected$/);
  await node.spawn();
  await node.ready();
  await page.locator('#banner').waitFor({state: 'hidden'});
  await see(page, '#live', /^live$/);
  page.check();
});

test('it is used by keyboard, and says what things are', async (t) => {
  const node = await startNode(t);
  const browser = await launch(t);
  const page = await open(browser, node);

  await see(page, '#live', /^live$/);
  await page.keyboard.press('Tab');
  assert.strictEqual(
    await page.evaluate(() => document.activeElement.textContent),
    'Skip to content');

  const unnamed = await page.evaluate(() => {
    const all = document.querySelectorAll('button, a, input, img');
    return [...all].filter((element) => {
      const name = element.getAttribute('aria-label')
        || element.getAttribute('alt') || element.textContent.trim();
      return !name && element.getAttribute('alt') !== '';
    }).map(element => element.outerHTML);
  });

  assert.deepStrictEqual(unnamed, []);

  const sorted = page.locator('#workers th[aria-sort="descending"]');

  // Without a worker the table has only its headings.
  assert.strictEqual(await sorted.count(), 1);
  page.check();
});

test('the servers of one pool are shown, and what goes on without their ledger',
  async (t) => {
    const postgres = await Postgres.start(t);

    await postgres.ask(fs.readFileSync(SHARED_SCHEMA, 'utf8'));
    // Another server, seen during the whole test.
    await postgres.ask(`
      INSERT INTO meta VALUES (1, 1, 'regtest', 0);
      INSERT INTO origins (origin, label, sequence, seen_at_ms, tip, report)
        VALUES ('there', '${MARKUP}', 1, 1000 * extract(epoch FROM now()) + 1e7,
        7, '{"hashrate": 2e12, "workers": 1, "accounts": 1, "has_job": true}');
      INSERT INTO accounts (name) VALUES ('alice');
      INSERT INTO workers (account, name) VALUES (1, 'far');
      INSERT INTO statistics VALUES (600, extract(epoch FROM now())::bigint
        / 600 * 600, 1, 1, 8, 8, 0, 0, 0, 0, 0, 0);`);

    const node = await startNode(t, {args: [
      `--stratum-database=${postgres.url}`, '--stratum-server-id=here'
    ]});
    const browser = await launch(t);
    // A query of the ledger while it is away is answered with 503.
    const page = await open(browser, node, '/', {offline: true});

    await see(page, '#live', /^live$/);
    await waitFor('the other server', async () => {
      const names = await page.locator('#servers bdi').allTextContents();
      return names.includes(MARKUP);
    });
    await see(page, '#servers tbody', /2(\.00)? TH/);
    await see(page, '#workers tbody tr', /alice.*far/);

    const worker = page.locator('#workers tbody tr .with-dot').first();

    assert.strictEqual(await worker.getAttribute('title'), MARKUP);
    assert.strictEqual(await page.evaluate(() => window.hacked), undefined);

    await postgres.kill();
    await see(page, '.note', /shared ledger cannot be read/);
    await see(page, '#live', /^live$/);

    await postgres.resume();
    await waitFor('the ledger again', async () => {
      const notes = await page.locator('.note').allTextContents();
      return !notes.some(note => /shared ledger/.test(note));
    });
    page.check();
  });
