'use strict';

/*
 * Keys of an account for programs, and links that show it to others: over
 * HTTP, and in a browser.
 */

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {Client} = require('./client');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

const ARGS = ['--stratum-auth=users', '--stratum-dashboard=private',
  '--stratum-threshold-min=1'];
const FLOOD = 100000;
const SOCKETS = 4;
const AT_ONCE = 100;
const RSS_MB_MAX = 32;
const REPLY_MS_MAX = 10000;

/** A node where alice and bob mine. */

async function startPool(t) {
  const node = await startNode(t, {args: ARGS});

  for (const name of ['alice', 'bob']) {
    await node.rpc('addstratumuser', [name, `${name}s password`]);

    const miner = await Miner.start(t, node, `${name}.${name}s-rig`,
      `${name}s password`);

    await miner.submit(`${name}.${name}s-rig`);
  }

  return node;
}

test('a key asks in the name of its account, and ends with the password',
  async (t) => {
    const node = await startPool(t);
    const alice = await Client.signIn(node, 'alice', 'alices password');
    const make = async (name, may) => {
      const made = await alice.expect(201, 'POST', 'me/keys', {name, may});

      return {id: made.id, client: Client.withKey(node, made.key)};
    };
    const reader = await make('reader', 'read');
    const settings = await make('settings', 'settings');
    const nobody = new Client(node, {});

    await waitFor('the account is there', async () => {
      const {status} = await reader.client.ask('GET', 'accounts/alice');
      return status === 200;
    });

    // What the owner sees, and nothing of others.
    await nobody.expect(401, 'GET', 'accounts/alice');
    await reader.client.expect(401, 'GET', 'accounts/bob');

    const seen = await reader.client.expect(200, 'GET',
      'workers?account=alice');

    assert.strictEqual(seen.workers[0].worker, 'alices-rig');

    // Changes.
    const threshold = {threshold: 3000000};

    assert.match((await reader.client.expect(403, 'PUT', 'me/threshold',
      threshold)).error, /this key may read, and change nothing/);
    await settings.client.expect(204, 'PUT', 'me/threshold', threshold);
    await waitFor('it is set', async () => {
      const {body} = await reader.client.ask('GET', 'accounts/alice');
      return body.threshold === threshold.threshold;
    });

    const password = {password: 'alices password', new_password: 'long enough'};
    const address = {password: 'alices password',
      address: node.options.address};

    for (const client of [reader.client, settings.client]) {
      await client.expect(403, 'PUT', 'me/password', password);
      await client.expect(403, 'PUT', 'me/address', address);
      await client.expect(403, 'GET', 'me/keys');
      await client.expect(403, 'POST', 'me/links', {name: 'more'});
      await client.expect(403, 'DELETE', `me/keys/${reader.id}`);
    }

    // One is revoked, the other outlives a restart but not the password.
    await alice.expect(204, 'DELETE', `me/keys/${reader.id}`);
    await reader.client.expect(401, 'GET', 'pool');
    await settings.client.expect(200, 'GET', 'pool');
    await node.restart({args: ARGS});
    await waitFor('the key is known again', async () => {
      const {status} = await settings.client.ask('GET', 'session');
      return status === 200;
    });

    const again = await Client.signIn(node, 'alice', 'alices password');
    const [left] = await again.expect(200, 'GET', 'me/keys');

    assert.strictEqual(left.name, 'settings');
    await again.expect(204, 'PUT', 'me/password', password);
    await settings.client.expect(401, 'GET', 'pool');

    const anew = await Client.signIn(node, 'alice', 'long enough');

    assert.deepStrictEqual(await anew.expect(200, 'GET', 'me/keys'), []);
  });

/** Send requests with wrong keys on one connection. */

function flood(node, count, begin) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(node.ports.dashboard, '127.0.0.1');
    const refused = 'HTTP/1.1 401 ';
    let sent = 0;
    let answered = 0;
    let rest = '';

    const send = () => {
      let text = '';

      for (let i = 0; i < AT_ONCE && sent < count; i++) {
        const digits = (begin + sent++).toString(16).padStart(64, '0');

        text += 'GET /api/v1/pool HTTP/1.1\r\n'
          + `Host: 127.0.0.1:${node.ports.dashboard}\r\n`
          + `Authorization: Bearer hsk_${digits}\r\n\r\n`;
      }

      socket.write(text);
    };

    socket.setEncoding('latin1');
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`ended after ${answered}`)));
    socket.on('data', (chunk) => {
      const parts = (rest + chunk).split(refused);

      rest = parts.pop().slice(-refused.length);
      answered += parts.length;

      if (answered === count) {
        resolve();
        socket.destroy();
      } else if (answered === sent) {
        send();
      }
    });
  });
}

test('a flood of wrong keys leaves nothing, and miners their answers',
  async (t) => {
    const node = await startPool(t);
    const alice = await Client.signIn(node, 'alice', 'alices password');
    const {key} = await alice.expect(201, 'POST', 'me/keys',
      {name: 'reader', may: 'read'});
    const rss = () => {
      const status = fs.readFileSync(`/proc/${node.child.pid}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)[1]) / 1024;
    };
    const floods = each => Promise.all(Array.from({length: SOCKETS},
      (_, i) => flood(node, each, i * each)));
    const miner = await Miner.start(t, node, 'bob.bobs-rig', 'bobs password');

    // Memory that is taken once is not counted.
    await floods(1000);

    const before = {rss: rss(), lines: node.lines.length};
    let isOver = false;
    let slowest = 0;
    let answers = 0;
    const all = floods(FLOOD / SOCKETS).finally(() => isOver = true);

    while (!isOver) {
      const sent = Date.now();

      await miner.authorize('bob.bobs-rig', 'bobs password');
      slowest = Math.max(slowest, Date.now() - sent);
      answers += 1;
    }

    await all;
    t.diagnostic(`${answers} answers, the slowest after ${slowest} ms; `
      + `${Math.round(rss() - before.rss)} MB more`);
    assert.ok(answers > 0 && slowest < REPLY_MS_MAX, String(slowest));
    assert.ok(rss() - before.rss < RSS_MB_MAX, `${before.rss} → ${rss()} MB`);

    // Of the block that the miner found, and not of keys.
    const lines = node.lines.slice(before.lines)
      .filter(({text}) => text.includes('(stratum)'));

    assert.ok(lines.length < 10, JSON.stringify(lines));
    await Client.withKey(node, key).expect(200, 'GET', 'accounts/alice');
  });

/** The text of an element, once it is as expected. */

function see(page, selector, pattern) {
  return waitFor(`${selector} ${pattern}`, async () => {
    const text = await page.locator(selector).first().textContent();
    return pattern.test(text) ? text : null;
  });
}

async function width(page) {
  return page.evaluate(() => document.documentElement.scrollWidth);
}

test('a link shows the account in another browser until it is revoked',
  async (t) => {
    const node = await startPool(t);
    const browser = await launch(t);
    const page = await open(browser, node, '/sign-in');

    await page.getByLabel('Account').fill('alice');
    await page.getByLabel('Password').fill('alices password');
    await page.getByRole('button', {name: 'Sign in'}).first().click();
    await see(page, '#workers tbody tr', /alices-rig/);
    await see(page, '#links', /No link yet/);

    const links = page.locator('#links');
    const keys = page.locator('#keys');

    await links.getByLabel('Name').fill('<b>');
    await links.getByRole('button', {name: 'Make a link'}).click();
    await see(page, '#links .bad:not(:empty)', /expected 1 to 40 letters/);
    await links.getByLabel('Name').fill('for friends');
    await links.getByRole('button', {name: 'Make a link'}).click();

    const url = await see(page, '#links code', /#view=hsk_[0-9a-f]{64}$/);

    await see(page, '#links li', /for friends.*made/);
    await keys.getByLabel('Name').fill('home');
    await keys.getByLabel('It may').selectOption('settings');
    await keys.getByRole('button', {name: 'Make a key'}).click();

    const key = await see(page, '#keys code', /^hsk_[0-9a-f]{64}$/);

    await see(page, '#keys li', /home.*read, and set the threshold/);
    await Client.withKey(node, key).expect(200, 'GET', 'accounts/alice');
    await page.setViewportSize({width: 360, height: 740});
    assert.strictEqual(await width(page), 360);

    // Shown once.
    await page.reload();
    await see(page, '#links li', /for friends/);
    assert.ok(!(await page.content()).includes('hsk_'));

    // One that is not whole.
    const cut = await open(browser, node, '/#view=hsk_zz', {offline: true});

    await see(cut, 'h1', /This link has ended/);
    await cut.close();

    // Elsewhere: the account, and nothing of its settings.
    const {pathname, hash} = new URL(url);
    const other = await open(browser, node, pathname + hash, {offline: true});

    await see(other, 'h1', /^alice$/);
    await see(other, '.note', /by a link from its owner/);
    await see(other, '#workers tbody tr', /alices-rig/);
    assert.strictEqual(await other.locator('#settings').count(), 0);
    assert.deepStrictEqual(await other.context().cookies(), []);
    await other.locator('#blocks tbody a').first().click();
    await see(other, 'h1', /Block/);
    await other.getByRole('link', {name: '← Pool'}).click();
    await see(other, '#session', /alice.*Leave/);
    await other.locator('#session a').click();
    await see(other, '#workers tbody tr', /alices-rig/);

    // The owner is not signed out by it.
    const tab = await page.context().newPage();

    await tab.goto(url);
    await see(tab, '#session', /alice.*Leave/);
    await tab.getByRole('button', {name: 'Leave'}).click();
    await see(tab, '#session', /alice.*Sign out/);
    await tab.close();

    await links.getByRole('button', {name: 'Revoke for friends'}).click();
    await see(page, '#links', /No link yet/);
    await see(other, 'h1', /This link has ended/);
    await other.goto(url);
    await see(other, 'h1', /This link has ended/);
    await other.goto(new URL('/account/alice', url).href);
    await see(other, '.empty:visible', /to whose account it is/);
    other.check();
  });
