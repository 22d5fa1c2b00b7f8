'use strict';

/*
 * Signing in to the dashboard by the key of an address, with signatures of
 * hsd's own wallet.
 */

const assert = require('assert');
const {test} = require('node:test');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {Wallets} = require('./payer');

class Page {
  constructor(node, host = '127.0.0.1') {
    this.url = `http://${host}:${node.ports.dashboard}/api/v1/session`;
  }

  async post(path, body) {
    const res = await fetch(this.url + path, {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify(body)
    });
    const cookie = res.headers.get('set-cookie');
    return {status: res.status, cookie, ...await res.json()};
  }

  async message(address) {
    const {status, message} = await this.post('/challenge', {address});
    assert.strictEqual(status, 200);
    return message;
  }

  signIn(address, signature) {
    return this.post('', {address, signature});
  }
}

class Signer {
  constructor(wallets) {
    this.wallets = wallets;
  }

  async sign(wallet, text) {
    await this.rpc('selectwallet', [wallet]);
    return this.rpc('signmessage', [await this.wallets.address(wallet), text]);
  }

  async rpc(method, params) {
    const {result, error} = await this.wallets.call('POST', '/',
      {method, params});
    assert.ok(!error, JSON.stringify(error));
    return result;
  }
}

test('the owner of an address signs in with its key, and nobody else does',
  async (t) => {
    const args = ['--wallet-api-key=test', '--stratum-auth=address',
      '--stratum-dashboard=private'];
    const node = await startNode(t, {wallet: true, args});
    const wallets = new Wallets(node);
    const signer = new Signer(wallets);
    const own = await wallets.create('own');
    const others = await wallets.create('others');
    const miner = await Miner.start(t, node, `${own}.rig`);

    await miner.submit(`${own}.rig`);

    const page = new Page(node);
    const message = await page.message(own);

    assert.match(message, new RegExp(
      `^Sign in to 127\\.0\\.0\\.1 \\(hstratum, regtest\\) as ${own}: [0-9a-f]{32}$`));
    assert.strictEqual(await page.message(own.toUpperCase()), message);

    const refuse = async (why, address, signature, text) => {
      const {status, error, cookie} = await page.signIn(address, signature);
      assert.deepStrictEqual([status, cookie], [401, null], why);
      assert.match(error, text, why);
    };
    const NOT_ITS = /not the address's signature of the message/;

    for (const rubbish of ['', 'x', '=', 'A'.repeat(87) + '=', 'é', '\0',
      'A'.repeat(3000)])
      await refuse(`rubbish ${rubbish}`, own, rubbish, NOT_ITS);

    await refuse('another key', own, await signer.sign('others', message),
      NOT_ITS);
    await refuse('of another address', others, await signer.sign('own', message),
      NOT_ITS);

    const elsewhere = await new Page(node, 'localhost').message(own);

    assert.notStrictEqual(elsewhere, message);

    for (const [why, text] of [
      ['of another host', elsewhere],
      ['of another network', message.replace('regtest', 'main')],
      ['with another nonce', message.slice(0, -1)
        + (message.endsWith('0') ? '1' : '0')],
      ['of a message of the signer\'s own', 'Sign in']
    ])
      await refuse(why, own, await signer.sign('own', text), NOT_ITS);

    const signature = await signer.sign('own', message);
    const signedIn = await page.signIn(own.toUpperCase(), signature);

    assert.deepStrictEqual([signedIn.status, signedIn.role, signedIn.name],
      [200, 'miner', own]);
    assert.match(signedIn.cookie, /HttpOnly; SameSite=Strict/);
    await refuse('the same signature again', own, signature, NOT_ITS);

    const session = {headers: {Cookie: signedIn.cookie.split(';')[0]}};
    const account = new URL(`/api/v1/accounts/${own}`, page.url);

    assert.strictEqual((await fetch(account, session)).status, 200);
    assert.strictEqual((await fetch(account)).status, 401);

    // Two at once with one signature: one is in.
    const next = await signer.sign('own', await page.message(own));
    const both = await Promise.all([page.signIn(own, next),
      page.signIn(own, next)]);

    assert.deepStrictEqual(both.map(({status}) => status).sort(), [200, 401]);

    // The owner is paid elsewhere by another signature, of a text that says so.
    const change = {headers: {...session.headers,
      'Content-Type': 'application/json', 'X-CSRF-Token': signedIn.csrf_token}};
    const payTo = async (address, proof) => {
      const body = JSON.stringify({address, signature: proof});
      const res = await fetch(new URL('/api/v1/me/address', page.url),
        {method: 'PUT', ...change, body});
      return res.status;
    };
    const textOf = async (address) => {
      const told = await page.post('/challenge', {address: own, pay_to: address});
      assert.strictEqual(told.status, 200);
      return told.message;
    };
    const text = await textOf(others);

    assert.match(text, new RegExp('^Have 127\\.0\\.0\\.1 \\(hstratum, regtest\\) '
      + `pay ${own} at ${others}: [0-9a-f]{32}$`));

    for (const [why, wallet, signed] of [
      ['to sign in', 'own', await page.message(own)],
      ['for another address', 'own', await textOf(own)],
      ['of another key', 'others', text]
    ])
      assert.strictEqual(await payTo(others, await signer.sign(wallet, signed)),
        403, why);

    const agreed = await signer.sign('own', text);

    await refuse('what is signed to be paid', own, agreed, NOT_ITS);
    assert.strictEqual(await payTo(others, agreed), 204);
    assert.strictEqual(await payTo(others, agreed), 403, 'again');
    await waitFor('it is to hold later', async () => {
      const shown = await (await fetch(account, session)).json();
      return shown.next_address && shown.next_address.address === others;
    });

    await refuse('whoever has not mined', others,
      await signer.sign('others', await page.message(others)),
      /nobody has mined here under that address/);

    for (const address of ['', 'alice', own.replace('rs', 'hs'),
      `${own.slice(0, -1)}x`]) {
      const {status} = await page.post('/challenge', {address});
      assert.strictEqual(status, 400, address);
    }

    const before = await signer.sign('own', await page.message(own));

    await node.restart({args});
    await refuse('of an earlier process', own, before, NOT_ITS);
  });

test('a flood of signatures leaves the node its time', async (t) => {
  const node = await startNode(t, {args: ['--stratum-auth=address']});
  const page = new Page(node);
  const address = node.options.address;
  const signature = Buffer.alloc(64, 1).toString('base64');
  const flood = Array.from({length: 100},
    () => page.signIn(address, signature));

  // One check at a time: the answers come one after the other, and the node
  // goes on meanwhile.
  await flood[0];
  await node.rpc('getblockcount');

  const answers = await Promise.all(flood);

  for (const {status} of answers)
    assert.ok(status === 401 || status === 503, String(status));

  assert.ok(answers.some(({status}) => status === 401));
});
