'use strict';

/*
 * What the operator changes on the console, on a real node: it is so
 * afterwards, and the list of changes tells of it.
 */

const assert = require('assert');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

const TOKEN = '0123456789abcdef';
const PASSWORD = 'first password';
/** A name that is markup, a formula and a mark of direction. */
const HOSTILE = '=<img src=x onerror=alert(1)>\u202e"&';
const ADDRESS = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u';

class Console {
  constructor(page) {
    this.page = page;
  }

  /** Open it as the operator. */
  static async open(browser, node, options = {}) {
    const page = await open(browser, node, '/sign-in', options);

    await page.locator('details:has(input[name=token]) summary').click();
    await page.locator('input[name=token]').fill(TOKEN);
    await page.locator('input[name=token]').press('Enter');
    await page.locator('#session a[href="/console"]').click();
    await page.locator('#audit').waitFor();

    return new Console(page);
  }

  see(selector, pattern) {
    return waitFor(`${selector} ${pattern}`, async () => {
      const text = await this.page.locator(selector).first().textContent();
      return pattern.test(text);
    });
  }

  /** The row of a user, opened. */
  async user(name) {
    await this.page.getByRole('button', {name, exact: true}).click();
    await this.see('#user h3', new RegExp(name.replace(/[^\w ]/g, '.')));
  }

  /** Fill the only field of that name in the opened user's forms, and send. */
  async set(field, value) {
    const input = this.page.locator(`#user input[name=${field}]`);

    await input.fill(value);
    await input.press('Enter');
  }

  press(name) {
    return this.page.getByRole('button', {name, exact: true}).click();
  }

  /** The newest change, as "who change of to outcome". */
  changed(text) {
    return waitFor(`the change ${text}`, async () => {
      const row = this.page.locator('#audit tbody tr').first();
      const cells = await row.locator(
        'td:nth-child(2) > div > :first-child, .change strong, .change bdi, '
        + 'td:last-child').allTextContents();
      return cells.map(cell => cell || '–').join(' | ') === text;
    });
  }
}

test('the operator runs the pool from the console, and each change is told',
  async (t) => {
    const node = await startNode(t, {args: [`--stratum-http-token=${TOKEN}`,
      '--stratum-auth=users']});

    await node.rpc('addstratumuser', ['alice', PASSWORD]);

    const miner = await Miner.start(t, node, 'alice.rig', PASSWORD);

    await miner.submit('alice.rig');

    const browser = await launch(t);
    const seen = await Console.open(browser, node, {offline: true});
    const {page} = seen;
    const OWNER = 'The owner of the pool';

    // Users.
    await page.locator('#users input[name=name]').last().fill(HOSTILE);
    await page.locator('#users input[name=password]').fill(PASSWORD);
    await page.locator('#users input[name=password]').press('Enter');
    await seen.changed(`${OWNER} | User added | ${HOSTILE} | – | Done`);
    await seen.user(HOSTILE);
    await seen.user('alice');
    await seen.set('address', 'hs1qwrong');
    await seen.see('#user', /not a payable regtest address: "hs1qwrong"/);
    await seen.set('address', ADDRESS);
    await seen.see('#user dl', new RegExp(`Paid at${ADDRESS}`));
    await seen.changed(`${OWNER} | Payout address | alice | ${ADDRESS} | Done`);
    await seen.set('threshold', '12.5');
    await seen.see('#user dl', /Threshold12\.50 HNS/);
    await seen.set('password', 'another password');
    await seen.changed(`${OWNER} | Password | alice | – | Done`);
    await seen.press('Disable: it mines no more');
    await seen.see('#user dl', /StateDisabled/);
    await seen.see('#users-table tbody', /aliceDisabled/);
    await miner.waitClosed();
    await seen.press('Enable again');
    await seen.see('#user dl', /StateMay mine/);
    await Miner.start(t, node, 'alice.rig', 'another password');

    await page.locator('#users input[name=name]').first().fill('nobody');
    await page.locator('#users input[name=name]').first().press('Enter');
    await seen.see('#users', /no such account/);
    await page.locator('#users-table input').fill('ALIC');
    await seen.see('#users-table .count', /^1$/);

    // Bans.
    await page.locator('#bans input[name=address]').fill('192.0.2.9');
    await page.locator('#bans input[name=minutes]').fill('90');
    await page.locator('#bans input[name=reason]').fill('<b>loud</b>');
    await seen.press('Ban');
    await seen.see('#bans li', /192\.0\.2\.9By the owner, ends .*<b>loud<\/b>/);
    await seen.changed(`${OWNER} | Ban | 192.0.2.9 | 5400 s: <b>loud</b> | Done`);
    await seen.press('Unban 192.0.2.9');
    await seen.see('#bans .empty', /No address is banned/);

    // Drains and payouts.
    await page.locator('#drains button').click();
    await seen.see('#drains li', /drains/);
    assert.strictEqual((await node.rpc('getstratuminfo')).draining, true);
    await page.locator('#drains button').click();
    await seen.see('#drains li', /takes miners/);
    await seen.changed(`${OWNER} | Drain ended | – | – | Done`);
    await seen.press('Pause payouts');
    await seen.see('#payouts', /Payouts are paused/);
    await seen.changed(`${OWNER} | Payouts paused | – | – | Done`);
    await seen.press('Resume payouts');
    await seen.see('#payouts', /The server does not pay by itself/);

    // What was done elsewhere is told too, with how.
    await node.rpc('disablestratumuser', ['alice']);
    await seen.changed(`${OWNER} | Disabled | alice | – | Done`);
    await seen.see('#audit tbody tr td:nth-child(2)', /RPC/);
    await page.locator('#audit input').fill('192.0.2');
    await seen.see('#audit .count', /^2$/);
    page.check();
    await page.context().close();

    // In the other language, on a phone.
    const phone = await Console.open(browser, node, {locale: 'zh-CN',
      viewport: {width: 360, height: 740}});

    await phone.see('#audit tbody', /停用/);
    await phone.see('#bans', /没有被封禁的地址/);
    phone.page.check();

    // A session of another page cannot be used: its token is missing.
    const status = await phone.page.evaluate(async () => {
      const ban = {address: '192.0.2.1'};
      const response = await fetch('/api/v1/admin/bans', {method: 'POST',
        headers: {'Content-Type': 'application/json'},
        body: JSON.stringify(ban)});
      return response.status;
    });

    assert.strictEqual(status, 403);
  });
