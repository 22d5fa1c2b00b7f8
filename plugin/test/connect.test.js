'use strict';

/*
 * The page to connect a miner: what it says of each listener, the lines to
 * type, and how the reader's miner does, with a real node and miners.
 */

const assert = require('assert');
const {execFile} = require('child_process');
const path = require('path');
const {test} = require('node:test');
const {promisify} = require('util');
const {launch, open} = require('./browser');
const {freePort, startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

const PROGRAM = path.join(__dirname, '../../target/release/hstratum');

/** The text of an element, once it is as expected. */

function see(page, selector, pattern) {
  return waitFor(`${selector} ${pattern}`, async () => {
    const text = await page.locator(selector).first().innerText();
    return pattern.test(text) ? text : null;
  });
}

/** A listener's card, by its place. */

function card(page, place) {
  return page.locator('section', {
    has: page.locator(`#listener-${place}`)
  });
}

/** The line below a title in a listener's card. */

function line(page, place, title) {
  return card(page, place).locator('div.lines > div > div', {
    has: page.locator('.label').getByText(title, {exact: true})
  }).locator('code').innerText();
}

test('each listener has its lines, and a miner arrives by them', async (t) => {
  const port = await freePort();
  const node = await startNode(t, {args: [
    `--stratum-listen=tcp://127.0.0.1:${port}?payout=solo&difficulty=1024`
  ]});
  const browser = await launch(t);
  const page = await open(browser, node);
  const url = `stratum+tcp://127.0.0.1:${node.ports.stratum}`;

  await page.getByRole('link', {name: /What to type into a miner/}).click();
  await see(page, 'h1', /^Connect a miner$/);
  await see(page, '#main', /User: account\.worker, and the password: any/);
  await see(page, '#main', /for miners on the machine of the server/);
  await see(page, '#listener-0', new RegExp(`^Port ${node.ports.stratum}$`));

  const width = await page.locator('img.code').evaluate((code) => {
    return code.decode().then(() => code.naturalWidth);
  });

  assert.ok(width > 0);
  assert.match(await card(page, 0).innerText(),
    /plain TCP\s+Difficulty\s+starts at .*, then follows the speed/);
  assert.match(await card(page, 1).innerText(),
    /Pays\s+its finder: the user is an address/);
  assert.strictEqual(await line(page, 1, 'User'), 'YOUR-ADDRESS');

  await see(page, '.events', /With an account typed here/);
  await page.getByLabel('Account').fill('it\'s me');
  await waitFor('the line', async () => {
    return (await line(page, 0, 'Command')).includes('--user \'it\'\\\'\'s me\'');
  });

  await page.getByLabel('Account').fill('alice');
  await page.getByLabel('Machine').fill('rig1');
  await see(page, '.events', /No miner of alice is connected/);
  assert.deepStrictEqual([await line(page, 0, 'URL'),
    await line(page, 0, 'User'), await line(page, 0, 'Password')],
  [url, 'alice.rig1', 'x']);
  assert.deepStrictEqual(
    JSON.parse(`{${await line(page, 0, 'config.json')}}`), {
      mode: 'pool', host: '127.0.0.1', port: String(node.ports.stratum),
      stratum_user: 'alice.rig1', stratum_pass: 'x', poolDifficulty: '-1'
    });

  const miner = await Miner.start(t, node, 'alice.rig1');

  await see(page, '.events', /^rig1: connected \d+ s ago, no share yet$/);
  await miner.submit('alice.rig1');
  await see(page, '.events',
    /^rig1: connected \d+ s ago, last share accepted \d+ s ago$/);

  // The command is what it says.
  await page.getByLabel('Machine').fill('rig2');
  await waitFor('the line', async () => {
    return (await line(page, 0, 'Command')).endsWith('rig2');
  });

  const [, ...args] = (await line(page, 0, 'Command')).split(' ');

  await promisify(execFile)(PROGRAM, [...args, '--threads', '1', '--blocks',
    '1']);
  await node.waitFor('its block', async () => await node.height() >= 2);

  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await card(page, 0).getByRole('button', {name: 'Copy: URL'}).click();
  await waitFor('the clipboard', async () => {
    return await page.evaluate(() => navigator.clipboard.readText()) === url;
  });
  page.check();
});

test('a refused login is told to whom it concerns', async (t) => {
  const args = ['--stratum-auth=users'];
  const node = await startNode(t, {args});
  const browser = await launch(t);

  await node.rpc('addstratumuser', ['alice', 'first password']);

  const refuse = async (name) => {
    const miner = await Miner.connect(t, node);

    await miner.subscribe();

    const {error} = await miner.authorize(name, 'wrong');

    assert.strictEqual(error[0], 24);
  };

  await refuse('alice.rig');

  const page = await open(browser, node, '/connect');

  await page.getByLabel('Account').fill('alice');
  await see(page, '.events', /^alice\.rig was refused \d+ s ago: wrong password$/);
  assert.strictEqual(await line(page, 0, 'Password'), 'YOUR-PASSWORD');

  const miner = await Miner.start(t, node, 'alice.rig', 'first password');

  await see(page, '.events', /^rig: connected \d+ s ago, no share yet$/);
  page.check();
  await page.context().close();
  miner.socket.destroy();

  // Where names are hidden a stranger learns nothing, and the owner all.
  for (const dashboard of ['names-hidden', 'private']) {
    await node.restart({args: [...args, `--stratum-dashboard=${dashboard}`]});
    await Miner.start(t, node, 'alice.rig', 'first password');

    const asked = [];
    // An account without a share has no history: 404.
    const hidden = await open(browser, node, '/connect', {offline: true});

    hidden.on('request', request => asked.push(request.url()));
    await hidden.getByLabel('Account').fill('alice');
    await see(hidden, '.events', /^Sign in to see/);
    await see(hidden, '#live', /^live$/);
    assert.deepStrictEqual(asked.filter(url => /workers|refusals/.test(url)),
      []);
    await hidden.getByRole('link', {name: /Sign in to see/}).click();
    await hidden.getByLabel('Account').fill('alice');
    await hidden.getByLabel('Password').fill('first password');
    await hidden.getByRole('button', {name: 'Sign in'}).first().click();
    await see(hidden, '#session', /alice/);
    await hidden.goto(new URL('/connect', hidden.url()).href);
    await see(hidden, '.events', /^rig: connected/);
    await refuse('alice.other');
    await see(hidden, '.events', /^alice\.other was refused .*: wrong password/);
    hidden.check();
    await hidden.context().close();
  }
});

test('what a server does not know of its proxy it does not say', async (t) => {
  const secret = '--stratum-proxy-secret=0123456789abcdef';
  const node = await startNode(t, {args: [secret]});
  const browser = await launch(t);
  const page = await open(browser, node, '/connect');

  await see(page, '#main', /Miners come to this pool by a proxy/);
  await see(page, '#main', new RegExp(
    `port ${node.ports.stratum} of this server`));
  assert.doesNotMatch(await page.locator('#main').innerText(), /stratum\+tcp/);
  await page.getByRole('link', {name: '← Pool'}).click();
  await see(page, '#connect', /port \d+ of this server/);
  page.check();
  await page.context().close();

  await node.restart({args: [secret, '--stratum-public-host=pool.example']});

  const named = await open(browser, node, '/connect');

  await see(named, '.address',
    new RegExp(`^stratum\\+tcp://pool\\.example:${node.ports.stratum}$`));
  named.check();
});
