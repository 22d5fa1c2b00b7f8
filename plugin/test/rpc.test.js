'use strict';

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const path = require('path');
const {test} = require('node:test');
const {notProxied, startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');

const HIDDEN = notProxied('this one hides the miners\' addresses');
const OWN = notProxied('its own connections are seen as well');

const ADDRESS = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u';

/** The help of each call, as `hsd-rpc help NAME` shows it. */

const HELP = {
  getstratuminfo: '',
  listworkers: '("account") (count) (from)',
  addstratumuser: '"user" "password" ("address")',
  setstratumpassword: '"user" "password"',
  disablestratumuser: '"user"',
  enablestratumuser: '"user"',
  setstratumaddress: '"account" "address"',
  setstratumthreshold: '"account" (hns)',
  banminer: '"address" (seconds) ("reason")',
  unbanminer: '"address"',
  liststratumbans: '',
  drainstratum: '"start|stop" (seconds) ("server")'
};

async function refusal(node, method, params) {
  const {result, error} = await node.call(method, params);
  assert.strictEqual(result, null);
  return error;
}

async function check(node, method, params, code, message) {
  const error = await refusal(node, method, params);
  assert.strictEqual(error.code, code, `${method}: ${error.message}`);
  assert.match(error.message, message);
}

/** True if a miner is let in. */

async function mayLogIn(t, node, user, password) {
  const miner = await Miner.connect(t, node);
  const {result} = await miner.request('mining.authorize', [user, password]);
  return result === true;
}

/** True if a connection to the stratum port is accepted and stays open. */

function isTaken(node) {
  return new Promise((resolve) => {
    const socket = net.connect(node.ports.stratum, '127.0.0.1');
    const end = (taken) => {
      socket.destroy();
      resolve(taken);
    };
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    socket.on('data', () => end(true));
    socket.on('connect', () => {
      socket.write('{"id":1,"method":"mining.ping","params":[]}\n');
    });
  });
}

test('each call has its help and minds its arguments', async (t) => {
  const node = await startNode(t);

  for (const [method, help] of Object.entries(HELP)) {
    const text = `${method} ${help}`.trim();
    const shown = await refusal(node, 'help', [method]);
    assert.deepStrictEqual(shown, {code: -1, message: text});

    const many = await refusal(node, method, [1, 2, 3, 4]);
    assert.deepStrictEqual(many, {code: -1, message: text});
  }

  await check(node, 'addstratumuser', ['alice', 1], -3, /^password must be/);
  await check(node, 'addstratumuser', [null, 'x'], -3, /^user must be/);
  await check(node, 'addstratumuser', ['alice', 'd=5'], -8, /^not a password/);
  await check(node, 'addstratumuser', ['al\u0007', 'x'], -8, /^not an account name/);
  await check(node, 'addstratumuser', ['alice', 'x', 'hs1q'], -8,
    /^not a payable address of this network/);
  await check(node, 'setstratumpassword', ['bob', 'x'], -1, /^no such user/);
  await check(node, 'disablestratumuser', ['bob'], -1, /^no such user/);
  await check(node, 'banminer', ['pool.example.com'], -5, /^not an IP address/);
  await check(node, 'banminer', ['192.0.2.1', -1], -3, /^seconds must be/);
  await check(node, 'banminer', ['192.0.2.1', 'x'], -3, /^seconds must be/);
  await check(node, 'banminer', ['192.0.2.1', 5, 'x'.repeat(300)], -8,
    /^the reason is longer/);
  await check(node, 'unbanminer', ['192.0.2.1'], -1, /is not banned/);
  await check(node, 'drainstratum', ['now'], -8, /start or stop/);
  await check(node, 'drainstratum', ['start', 1e9], -8, /^a drain takes/);
  await check(node, 'drainstratum', ['start', 1.5], -3, /^seconds must be/);
  assert.strictEqual(node.exit, null);
});

test('a user is added, disabled and enabled, over a restart', async (t) => {
  const node = await startNode(t, {args: ['--stratum-auth=users']});

  await node.rpc('addstratumuser', ['alice', 'secret-one', ADDRESS]);
  await check(node, 'addstratumuser', ['alice', 'x'], -1, /already exists/);

  const alice = await Miner.start(t, node, 'alice', 'secret-one');
  assert.strictEqual((await alice.submit()).error, null);

  await node.rpc('setstratumpassword', ['alice', 'secret-two']);
  assert.strictEqual(await mayLogIn(t, node, 'alice', 'secret-one'), false);
  assert.strictEqual((await alice.submit()).error, null);

  await node.rpc('disablestratumuser', ['alice']);
  await waitFor('the connection to end', () => alice.closed, {node});
  assert.strictEqual(await mayLogIn(t, node, 'alice', 'secret-two'), false);

  // An older reader, which does not know the field, lets nobody in either.
  const file = path.join(node.stratumDir, 'users.json');
  const last = fs.readFileSync(file, 'utf8').trim().split('\n').pop();
  assert.strictEqual(JSON.parse(last).password, '0'.repeat(64));

  await node.restart();
  assert.strictEqual(await mayLogIn(t, node, 'alice', 'secret-two'), false);

  await node.rpc('enablestratumuser', ['alice']);
  assert.strictEqual(await mayLogIn(t, node, 'alice', 'secret-two'), true);

  const log = node.lines.map(line => line.text).join('\n');
  assert.doesNotMatch(log, /secret-/);
});

test('an address is banned and unbanned, over a restart', HIDDEN, async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node, 'alice', 'x');

  assert.deepStrictEqual(await node.rpc('liststratumbans', []), []);
  await node.rpc('banminer', ['192.0.2.1', 0]);
  await node.rpc('banminer', ['127.0.0.1', 3600, 'a test']);
  await waitFor('the connection to end', () => miner.closed, {node});
  assert.strictEqual(await isTaken(node), false);

  await node.restart();
  assert.strictEqual(await isTaken(node), false);

  const bans = await node.rpc('liststratumbans', []);
  const [ban] = bans.filter(ban => ban.address === '127.0.0.1');
  assert.strictEqual(bans.length, 2);
  assert.strictEqual(ban.until - ban.since, 3600);
  assert.deepStrictEqual([ban.reason, ban.by], ['a test', 'operator']);
  assert.strictEqual(bans.find(other => other !== ban).until, null);

  await node.rpc('unbanminer', ['127.0.0.1']);
  assert.strictEqual(await isTaken(node), true);
});

test('the operator sees how the pool does and who mines', OWN, async (t) => {
  const node = await startNode(t);
  const empty = await node.rpc('getstratuminfo', []);
  assert.deepStrictEqual(empty.addresses,
    [`127.0.0.1:${node.ports.stratum}`]);
  assert.match(empty.version, /^\d+\.\d+\.\d+$/);
  assert.strictEqual(empty.ledger, 'ok');
  assert.deepStrictEqual([empty.connections, empty.workers, empty.bans,
    empty.draining, empty.lastblock], [0, 0, 0, false, null]);
  assert.deepStrictEqual(empty.round,
    {fromheight: 0, shares: 0, work: 0, effort: 0, age: 0});
  assert.deepStrictEqual([empty.roundfailing, empty.node], [null, 'ok']);
  assert.deepStrictEqual(await node.rpc('listworkers', []),
    {total: 0, workers: []});

  const alice = await Miner.start(t, node, 'alice', 'x');
  await Miner.start(t, node, 'bob.2', 'x');
  await Miner.start(t, node, 'bob.1', 'x');
  assert.strictEqual((await alice.submit()).error, null);

  const info = await node.waitFor('the share to be told', async () => {
    const info = await node.rpc('getstratuminfo', []);
    return info.shares.accepted.count === 1 && info.job?.height === 2 && info;
  });
  assert.deepStrictEqual([info.connections, info.mining, info.workers],
    [3, 3, 3]);
  assert.strictEqual(info.lastblock.height, 1);
  assert.strictEqual(info.job.height, 2);
  assert.ok(info.job.age >= 0 && info.hashrate > 0);
  // The share was a block, which closed its round.
  await node.waitFor('a new round', async () => {
    const {round} = await node.rpc('getstratuminfo', []);
    return round.fromheight === 2 && round.shares === 0
      && round.effort === 0;
  });

  const {total, workers} = await node.rpc('listworkers', [null, 1, 1]);
  assert.strictEqual(total, 3);
  assert.deepStrictEqual(workers.map(one => [one.account, one.worker,
    one.connections]), [['bob', '1', 1]]);
  const bob = await node.rpc('listworkers', ['bob']);
  assert.deepStrictEqual(bob.workers.map(one => one.worker), ['1', '2']);
  await check(node, 'listworkers', [1], -3, /account must be a string/);
});

test('a drain moves miners away, and its end takes them back', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node, 'alice', 'x');

  await node.rpc('drainstratum', ['start', 1]);
  assert.strictEqual(await isTaken(node), false);
  await waitFor('the connection to end', () => miner.closed, {node});
  await node.waitLog(/drained: no miner is connected/);

  await node.rpc('drainstratum', ['stop']);
  assert.strictEqual(await isTaken(node), true);
});

test('getstratuminfo says why when the ledger is gone', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node);
  const {hash} = await miner.submit();

  await node.waitTip(hash);

  for (const name of fs.readdirSync(node.stratumDir)) {
    if (name.startsWith('ledger.db'))
      fs.unlinkSync(path.join(node.stratumDir, name));
  }

  await node.waitFor('the reason', async () => {
    const {roundfailing} = await node.rpc('getstratuminfo');
    return /ledger\.db/.test(roundfailing);
  });

  // The next share is refused, and the reason is shown there too.
  await miner.waitJob(job => job.prevBlock.toString('hex') === hash);
  miner.send('mining.submit', ['alice', ...miner.solve().params]);
  await node.waitFor('the ledger\'s reason', async () => {
    const {ledger} = await node.rpc('getstratuminfo');
    return ledger !== 'ok' && ledger;
  });
});
