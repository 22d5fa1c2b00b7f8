'use strict';

/*
 * The operator's console in a browser, on a real node: each section with what
 * it is for, and nothing for whoever is not the operator.
 */

const assert = require('assert');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

const TOKEN = '0123456789abcdef';
const PASSWORD = 'first password';
const PATHS = ['alarms', 'log', 'doctor', 'payout/plan'];

function see(page, selector, pattern) {
  return waitFor(`${selector} ${pattern}`, async () => {
    const text = await page.locator(selector).first().textContent();
    return pattern.test(text) ? text : null;
  });
}

async function statuses(page) {
  return page.evaluate(paths => Promise.all(paths.map(async (path) => {
    return (await fetch(`/api/v1/admin/${path}`)).status;
  })), PATHS);
}

test('the operator sees what is wrong, what waits, findings and the log',
  async (t) => {
    const node = await startNode(t, {args: [`--stratum-http-token=${TOKEN}`,
      '--stratum-auth=users', '--stratum-extra-nodes=127.0.0.1:1']});

    await node.rpc('addstratumuser', ['alice', PASSWORD]);

    const miner = await Miner.start(t, node, 'alice.rig', PASSWORD);
    const {hash} = await miner.submit('alice.rig');

    await node.waitTip(hash);

    const browser = await launch(t);
    const page = await open(browser, node, '/console', {offline: true});

    // Nobody, then a miner.
    await see(page, 'main', /This page is for the owner of the pool.*Sign in/);
    assert.deepStrictEqual(await statuses(page), [401, 401, 401, 401]);
    await page.locator('main a').click();
    await page.locator('input[name=name]').fill('alice');
    await page.locator('input[name=password]').fill(PASSWORD);
    await page.locator('input[name=password]').press('Enter');
    await see(page, '#session', /alice/);
    assert.strictEqual(await page.locator('#session a[href="/console"]').count(),
      0);
    await page.goto(new URL('/console', page.url()).href);
    await see(page, 'main', /This page is for the owner of the pool/);
    assert.deepStrictEqual(await statuses(page), [401, 401, 401, 401]);
    assert.strictEqual(await page.locator('#alarms, #log').count(), 0);

    // The operator.
    await page.context().clearCookies();
    await page.goto(new URL('/sign-in', page.url()).href);
    await page.getByText('I own the pool').click();
    await page.getByLabel(/The token/).fill(TOKEN);
    await page.getByLabel(/The token/).press('Enter');
    await page.locator('#session a[href="/console"]').click();

    await see(page, '#conditions', new RegExp('infoAn extra node is not '
      + 'connected127\\.0\\.0\\.1:1.*look at that node.*See docs/operating\\.md, "Races"'));
    await see(page, '#last-alarms', /Block 1 is (found|accepted|on the main)/);
    await see(page, '#servers tbody tr', /\d/);
    await see(page, '#log li', /info/);
    await see(page, '#log', /listening on 127\.0\.0\.1/);
    await page.locator('#log select').selectOption('warning');
    await page.locator('#log li', {hasText: 'listening on'})
      .waitFor({state: 'detached'});
    await page.locator('#log select').selectOption('info');
    await see(page, '#log', new RegExp(`block found: 1 ${hash} by "alice"`));
    await see(page, '#payouts', /The server does not pay by itself/);
    await see(page, '#plan', /Due now0\.00 HNS to 0 accounts/);
    await see(page, '#plan', /Blocks that wait1its reward cannot be spent yet2,?000\.00 HNS/);

    await page.getByRole('button', {name: 'Look now'}).click();
    await see(page, '#doctor', /okNodehsd \d.*height 1/);
    await see(page, '#doctor', /okDashboardhttp:\/\/127\.0\.0\.1:\d+\/ answers/);
    await see(page, '#doctor', /Port of miners.*Goldshell/);
    await see(page, '#doctor button', /Look again/);

    // The block can be spent, and its finder has no address. The log follows.
    await node.mine(2);
    await node.rpc('banminer', ['192.0.2.1']);
    await see(page, '#plan', /Balances that waitno address: 1 account/);
    await see(page, '#plan', /Blocks to be divided1to 1 account/);
    await see(page, '#log', /192\.0\.2\.1/);
    page.check();
  });
