'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {PLUGIN, startNode, tempDir, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {address, mine} = require('./paying_blocks');
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

function see(page, selector, pattern, options) {
  return waitFor(`${selector} ${pattern}`, async () => {
    const text = await page.locator(selector).first().textContent();
    return pattern.test(text) ? text : null;
  }, options);
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

  await see(page, '#money', new RegExp(`Each block pays ${node.options.address}`));
  await see(page, '#money', /A balance is what the owner of that address owes/);

  // What is needed before there is something to see, as it is sent.
  const bytes = await page.evaluate(() => performance
    .getEntriesByType('resource').map(({name, encodedBodySize}) => {
      return new URL(name).pathname.startsWith('/api/') ? 0 : encodedBodySize;
    }).reduce((sum, size) => sum + size));

  assert.ok(bytes > 0 && bytes < 100e3, String(bytes));

  const miner = await Miner.start(t, node, 'alice.rig');
  const {hash} = await miner.submit('alice.rig');

  await node.waitTip(hash);
  await see(page, '#blocks tbody tr', /accepted/);
  await see(page, '#workers tbody tr', /alice.*rig/);
  await see(page, '.events', /Block 1 (found|accepted)/);

  await see(page, 'dl:visible', /Luckiest block[\d,.]+ %, Block 1Unluckiest block[\d,.]+ %, Block 1/);
  await see(page, '#blocks tbody tr', /accepted, 1/);
  await node.mine(1);
  await see(page, '#blocks tbody tr', /confirmed/);

  const own = page.locator('#blocks tbody td:first-child a').first();
  const explorer = page.locator('#blocks tbody a[rel=noreferrer]').first();

  assert.strictEqual(await own.getAttribute('href'), `/block/${hash}`);
  assert.strictEqual(await explorer.getAttribute('href'),
    'https://example.com/block/1');

  await page.locator('#accounts a').first().click();
  await see(page, 'h1', /^alice$/);
  await see(page, '#blocks tbody tr', /confirmed/);
  await see(page, '#workers tbody tr', /rig/);
  assert.match(page.url(), /\/account\/alice$/);

  // Links, back and forward load nothing anew, and lose no event.
  await page.evaluate(() => {
    window.isSame = true;
  });
  await page.locator('#blocks tbody a').first().click();
  await see(page, 'h1', /^Block 1$/);
  await see(page, 'main', /The reward was not divided|Confirmations/);
  assert.match(await page.title(), /^Block/);
  assert.strictEqual(await page.evaluate(() => document.activeElement.id),
    'main');
  await page.goBack();
  await see(page, 'h1', /^alice$/);
  await see(page, 'main', /Best share\d/);
  await see(page, 'main', /Luck, last 30 days\d/);

  // Each worker has a chart of its own.
  await page.locator('#workers tbody a').first().click();
  await see(page, 'h1', /^rig$/);
  await see(page, '.stats', /Hashrate\d.*Best share\d.*Last share/);
  await see(page, '#hashrate', /The first ten minutes of mining|H\/s/);
  assert.match(page.url(), /\/account\/alice\?worker=rig$/);
  await page.reload();
  await see(page, '.stats', /Hashrate\d/);
  await page.evaluate(() => {
    window.isSame = true;
  });
  await page.goBack();
  await see(page, 'h1', /^alice$/);
  await page.goBack();
  await see(page, '#workers tbody tr', /alice.*rig/);
  await see(page, '.events', /Block 1 (found|accepted)/);
  await see(page, 'dl:visible', /Best share\d[^a-z]*(e-\d+)?, alice/);
  await page.locator('nav a').first().click();
  assert.match(page.url(), /\/#hashrate$/);
  await page.locator('#accounts a').first().click();
  await see(page, 'h1', /^alice$/);
  assert.ok(await page.evaluate(() => window.isSame));
  page.check();
});

test('who is paid by a block is shown once there are solo blocks',
  async (t) => {
    const payee = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u';
    const node = await startNode(t);
    const browser = await launch(t);
    const heads = page => page.locator('#blocks th:visible').allTextContents();
    const find = async (user) => {
      const miner = await Miner.start(t, node, user);
      const {hash} = await miner.submit(user);

      await node.waitTip(hash);
    };

    await find('alice');

    const before = await open(browser, node);

    await see(before, '#blocks tbody tr', /accepted/);
    assert.deepStrictEqual(await heads(before), ['Height', 'State', 'Found',
      'By', 'Effort', 'Reward', 'Hash', 'First asked']);
    await node.restart({args: ['--stratum-payout=solo']});

    // A solo listener is enough.
    const listening = await open(browser, node);

    await see(listening, '#blocks tbody tr', /accepted, 1operator/);
    assert.deepStrictEqual((await heads(listening)).slice(0, 4),
      ['Height', 'State', 'Pays', 'Found']);
    await find(payee);
    await node.restart({args: []});

    // So is a solo block, on an account's page too.
    const page = await open(browser, node);
    const own = await open(browser, node, '/account/alice');

    await see(page, '#blocks tbody tr', /accepted, 1solo/);
    await see(own, '#blocks tbody tr', /confirmedoperator/);
    assert.deepStrictEqual(await page.locator('#blocks tbody tr td:nth-child(3)')
      .allTextContents(), ['solo', 'operator']);
    page.check();
    own.check();
  });

test('what blocks pay to whom is shown, for the next and for each',
  async (t) => {
    const node = await startNode(t, {args: ['--stratum-payout=split',
      '--stratum-fee=1', '--stratum-refresh=1']});
    const users = [1, 2].map(number => address(number));
    const miners = [];
    const browser = await launch(t);
    const blocks = [];

    for (const user of users)
      miners.push(await Miner.start(t, node, user));

    for (let i = 0; i < 4; i++)
      blocks.push(await mine(miners[i % 2], users[i % 2], [node]));

    const page = await open(browser, node);
    const line = new RegExp(`${users[0]}990\\.00 HNS990\\.00 HNS${users[0]}`);

    await see(page, '#split', /Of 2,000\.00 HNS of block 5, 1,980\.00 HNS to accounts; fee 20\.00 HNS/);
    await see(page, '#split tbody', line);
    await see(page, '#money', /Each block pays the accounts directly, and its fee/);
    await page.locator('#blocks tbody td:first-child a').first().click();
    await see(page, 'h1', /^Block 4$/);
    await see(page, '#split tbody', /HNS.*HNS.*rs1/);
    await see(page, 'dl', /Paysspl.*Reward2,000\.00 HNS.*Confirmations1.*Fee20\.00 HNS/);
    await see(page, 'dl', new RegExp(`Hash${blocks[3].hashHex()}`));
    await page.setViewportSize({width: 360, height: 740});
    assert.strictEqual(await page.evaluate(
      () => document.documentElement.scrollWidth), 360);
    page.check();

    const none = await open(browser, node, `/block/${'0'.repeat(64)}`,
      {offline: true});

    await see(none, '#split .empty', /no block of this pool has that hash/);
  });

test('what is hidden is shown to the operator, who signs in', async (t) => {
  const token = '0123456789abcdef';
  const args = [`--stratum-http-token=${token}`];
  const node = await startNode(t, {
    args: [...args, '--stratum-dashboard=names-hidden']
  });
  const miner = await Miner.start(t, node, 'confidential.rig');
  const browser = await launch(t);

  await miner.submit('confidential.rig');

  const page = await open(browser, node);
  const text = () => page.locator('body').textContent();

  await see(page, '#workers tbody tr', /conf….*r…/);
  await see(page, '#blocks tbody tr', /conf…/);
  await see(page, '.notes', /Names are cut\. Sign in, or open \/account\//);
  assert.doesNotMatch(await text(), /confidential/);
  assert.strictEqual(await page.locator('#accounts a').count(), 0);
  assert.strictEqual(await page.locator('input[type=search]').count(), 0);

  // Whoever knows the whole name.
  const own = await open(browser, node, '/account/confidential');

  await see(own, '#workers tbody tr', /rig/);
  own.check();

  await page.getByRole('link', {name: 'Sign in'}).click();
  await page.getByText('I own the pool').click();
  await page.getByLabel(/The token/).fill('wrong');
  // A refusal is an error of the page's network log.
  page.removeAllListeners('console');
  await page.getByLabel(/The token/).press('Enter');
  await see(page, '.bad', /wrong token/);
  await page.getByLabel(/The token/).fill(token);
  await page.getByLabel(/The token/).press('Enter');
  await see(page, '#workers tbody tr', /confidential.*rig/);
  await see(page, '.events', /Block 1 .*confidential/);
  await page.getByRole('button', {name: 'Sign out'}).click();
  await see(page, '#workers tbody tr', /conf….*r…/);

  // A session that ends unseen: the next link tells.
  await page.getByRole('link', {name: 'Sign in'}).click();
  await page.getByText('I own the pool').click();
  await page.getByLabel(/The token/).fill(token);
  await page.getByLabel(/The token/).press('Enter');
  await see(page, '#session', /The owner of the pool/);
  await page.context().clearCookies();
  await page.locator('#blocks tbody a').first().click();
  await see(page, 'h1', /^Block 1$/);
  await see(page, '#session', /Sign in/);

  await node.restart({args: [...args, '--stratum-dashboard=private']});

  const locked = await open(browser, node);

  await see(locked, '.notes', /shown to their miners, who sign in, and to the owner/);
  await see(locked, '#blocks tbody tr', /1.*accepted|1.*confirmed/);
  assert.strictEqual(await locked.locator('#workers:visible').count(), 0);
  assert.doesNotMatch(await locked.locator('body').textContent(), /confidential|conf…/);
  locked.check();
});

test('a miner signs in, sees the own account, and changes what is its own',
  async (t) => {
    const node = await startNode(t, {args: ['--stratum-auth=users',
      '--stratum-dashboard=private', '--stratum-threshold-min=1']});

    await node.rpc('addstratumuser', ['alice', 'first password']);

    const miner = await Miner.start(t, node, 'alice.rig', 'first password');
    const browser = await launch(t);

    await miner.submit('alice.rig');

    const page = await open(browser, node, '/account/alice', {offline: true});
    const signIn = async (password) => {
      await page.getByLabel('Account').fill('alice.rig');
      await page.getByLabel('Password').fill(password);
      await page.getByRole('button', {name: 'Sign in'}).first().click();
    };

    await see(page, '.empty:visible', /to whose account it is/);
    page.removeAllListeners('console');
    await page.getByRole('link', {name: 'Sign in'}).click();
    await signIn('wrong password');
    await see(page, '.bad', /wrong name or password/);
    await signIn('first password');
    await see(page, '#workers tbody tr', /rig/);
    await see(page, '#session', /alice.*Sign out/);

    // What is wrong is said beside the button, and nothing is changed.
    const threshold = page.getByLabel(/Pay me from/);

    for (const [text, problem] of [['ten', /An amount has digits/],
      ['0.5', /0\.500000 HNS is below threshold-min/]]) {
      await threshold.fill(text);
      await threshold.press('Enter');
      await see(page, '#settings .bad', problem);
    }

    await threshold.fill('12.5');
    await threshold.press('Enter');
    await see(page, '#settings', /The threshold is set/);
    await page.reload();
    await see(page, '.stats.money', /Threshold12\.50/);

    // Another payout address holds later, and is cancelled.
    const part = page.locator('#payout-address');
    const own = node.options.address;
    const set = async (address, password) => {
      await part.getByLabel('New payout address').fill(address);
      await part.getByLabel('Password').fill(password);
      await part.getByRole('button', {name: 'Set the payout address'}).click();
    };

    await set(own, 'wrong password');
    await see(page, '#payout-address .bad', /wrong password/);
    await set(`${own}x`, 'first password');
    await see(page, '#payout-address .bad', /not a payable regtest address/);
    await set(own, 'first password');
    await see(page, '#payout-address', new RegExp(
      `\\(in (1 d 0 h|23 h 59 min)\\) you are paid at ${own}`));

    await page.setViewportSize({width: 360, height: 740});
    assert.strictEqual(await page.evaluate(
      () => document.documentElement.scrollWidth), 360);

    await part.getByRole('button', {name: 'Cancel that'}).click();
    await waitFor('it is gone', async () => {
      return !await part.getByText(own).isVisible();
    });

    await page.locator('form', {hasText: 'Change the password'})
      .getByLabel('Password', {exact: true}).fill('first password');
    await page.getByLabel(/New password/).fill('second password');
    await page.getByRole('button', {name: 'Change the password'}).click();
    await page.waitForURL(/sign-in/);
    await signIn('first password');
    await see(page, '.bad', /wrong name or password/);
    await signIn('second password');
    await see(page, '#workers tbody tr', /rig/);

    // The pool's own page has nothing of others, and links the own account.
    await page.goto(new URL('/', page.url()).href);
    await see(page, '#session a', /alice/);
    assert.strictEqual(await page.locator('#workers:visible').count(), 0);
    await page.getByRole('button', {name: 'Sign out'}).click();
    await see(page, '#session', /Sign in/);
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

test('a payment that fails is shown, and who is paid when', async (t) => {
  const node = await startNode(t, {
    wallet: true, address: null, args: ['--wallet-api-key=test',
      '--stratum-scheme=prop', '--stratum-threshold=0.5', '--stratum-fee=1',
      '--stratum-payout-wallet=primary', '--stratum-payout-every=1m']
  });
  const wallets = new Wallets(node);
  const payer = await Payer.start(t, node, []);

  await node.rpc('stratumpayout', ['pause']);

  const miner = await Miner.start(t, node, 'alice.rig');
  const {hash} = await miner.submit('alice.rig');

  await node.waitTip(hash);

  const browser = await launch(t);
  const pool = await open(browser, node);
  const page = await open(browser, node, '/account/alice');

  await see(pool, '.notes', /Payouts are paused by .*: nobody is paid before/);
  await see(page, '.payment', /Payouts are paused by the owner/);
  await see(pool, '#money', /The server divides blocks and pays every 1 min/);

  await payer.tool('ledger', 'address', '--ledger', payer.ledger, 'alice',
    await wallets.create('alice'));
  await bury(node, payer, wallets);
  await wallets.call('POST', '/wallet/primary/passphrase',
    {passphrase: 'correct horse'});
  await wallets.call('POST', '/wallet/primary/lock', {});
  await node.rpc('stratumpayout', ['resume']);

  const long = {ms: 100000};

  await see(pool, '.notes', /The payout failed: .*is locked/, long);
  await see(pool, '.notes', /The wallet "primary" that pays: .*is locked/);
  await see(pool, '#money', /Next paymentnot known/);
  await see(page, '.payment', /The last payout failed\. Nothing is lost/);

  await wallets.call('POST', '/wallet/primary/unlock',
    {passphrase: 'correct horse', timeout: 600});
  await see(page, '#credits tbody tr', /paying1,980\.00 HNS/, long);
  await see(page, '.payment', /Next payment in .*stays below its threshold/);
  await see(pool, '#money', /Next paymentin /);
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

  assert.strictEqual(images, 0);
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

test('it can be installed as an app', async (t) => {
  const node = await startNode(t);
  const browser = await launch(t);
  const page = await open(browser, node);
  const devtools = await page.context().newCDPSession(page);
  const {url, errors, data} = await devtools.send('Page.getAppManifest');
  const {installabilityErrors: obstacles}
    = await devtools.send('Page.getInstallabilityErrors');

  assert.deepStrictEqual(errors, []);
  // The browser's contexts keep nothing.
  assert.deepStrictEqual(obstacles.map(({errorId}) => errorId)
    .filter(id => id !== 'in-incognito'), []);

  const {name, display, start_url: start, icons} = JSON.parse(data);
  const {headers} = await fetch(url);

  assert.deepStrictEqual([name, display, start],
    ['hstratum', 'standalone', '/']);
  assert.strictEqual(headers.get('content-type'), 'application/manifest+json');
  assert.match(headers.get('content-security-policy'), /manifest-src 'self';/);

  for (const {src, type} of icons) {
    const icon = await fetch(new URL(src, url));

    assert.strictEqual(icon.headers.get('content-type'), type);
  }

  page.check();
});

test('it has the language of the browser, or the one that is chosen',
  async (t) => {
    const node = await startNode(t);
    const miner = await Miner.start(t, node, 'alice.rig');
    const browser = await launch(t);
    const is = (page, locale, title) => {
      return Promise.all([see(page, '#workers h2', new RegExp(`^${title} 1$`)),
        waitFor(locale, () => page.evaluate(
          wanted => document.documentElement.lang === wanted, locale))]);
    };

    await miner.submit('alice.rig');

    const page = await open(browser, node, '/', {locale: 'zh-CN'});

    await is(page, 'zh-CN', '矿工');
    await see(page, '.skip', /^跳到正文$/);
    await see(page, '#blocks tbody tr', /已接受，1刚刚alice/);
    await see(page, '.events', /alice 的区块 1 已/);
    assert.deepStrictEqual(await page.evaluate(() => performance
      .getEntriesByType('resource').map(({name}) => new URL(name).pathname)
      .filter(path => path.startsWith('/lang/'))), ['/lang/zh.js']);
    assert.doesNotMatch(await page.locator('body').innerText(), /undefined/);

    await page.getByLabel('语言').selectOption('English');
    await is(page, 'en', 'Workers');
    await page.reload();
    await is(page, 'en', 'Workers');
    await page.locator('#accounts a').first().click();
    await is(page, 'en', 'Workers');
    await page.getByLabel('Language').selectOption('简体中文');
    await is(page, 'zh-CN', '矿工');
    page.check();

    const unknown = await open(browser, node, '/', {locale: 'fi-FI'});

    await is(unknown, 'en', 'Workers');

    // Where nothing is kept, it is chosen for the page.
    await unknown.addInitScript(() => Object.defineProperty(window,
      'localStorage', {get: () => { throw new Error('none'); }}));
    await unknown.reload();
    await unknown.getByLabel('Language').selectOption('简体中文');
    await is(unknown, 'zh-CN', '矿工');
    await unknown.goto(new URL('/', unknown.url()).href);
    await is(unknown, 'en', 'Workers');
    unknown.check();
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
