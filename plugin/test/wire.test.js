'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const hash256 = require('bcrypto/lib/hash256');
const {makeNode, notProxied, startNode} = require('./harness');
const {Miner} = require('./miner');

const ADMIN = ['--stratum-password=admin-pass'];
const OWN = notProxied('a proxy has options of its own for that');

function readUsers(node) {
  return fs.readFileSync(path.join(node.stratumDir, 'users.json'), 'utf8')
    .split('\n').filter(Boolean).map(line => JSON.parse(line));
}

test('the admin adds a user, who mines with the password', async (t) => {
  const node = await startNode(t, {args: ADMIN});
  const admin = await Miner.connect(t, node);

  const early = await admin.request('mining.add_user', ['alice', 'secret']);
  assert.deepStrictEqual(early.error.slice(0, 2),
    [0, 'only admin can add user']);

  const wrong = await admin.request('mining.authorize_admin', ['guess']);
  assert.deepStrictEqual(wrong.error.slice(0, 2), [0, 'invalid password']);

  const right = await admin.request('mining.authorize_admin', ['admin-pass']);
  assert.strictEqual(right.result, true);

  const added = await admin.request('mining.add_user', ['alice', 'secret']);
  assert.strictEqual(added.result, true);

  const again = await admin.request('mining.add_user', ['alice', 'other']);
  assert.deepStrictEqual(again.error.slice(0, 2),
    [0, 'User already exists.']);

  const [user] = readUsers(node).filter(user => user.username === 'alice');
  assert.match(user.password, /^\$argon2id\$/);

  const miner = await Miner.start(t, node, 'alice.rig', 'secret');
  const {error, hash} = await miner.submit('alice.rig');
  assert.strictEqual(error, null);
  await node.waitTip(hash);

  const thief = await Miner.connect(t, node);
  await thief.subscribe();
  assert.notStrictEqual((await thief.authorize('alice', 'guess')).result, true);

  const stranger = await Miner.connect(t, node);
  await stranger.subscribe();
  assert.notStrictEqual((await stranger.authorize('mallory')).result, true);
});

test('users outlive a restart', async (t) => {
  const node = await startNode(t, {args: ADMIN});
  const admin = await Miner.connect(t, node);

  await admin.request('mining.authorize_admin', ['admin-pass']);
  await admin.request('mining.add_user', ['alice', 'secret']);
  await node.restart();

  const miner = await Miner.start(t, node, 'alice', 'secret');
  assert.strictEqual((await miner.submit()).error, null);
});

test('a user of an old users.json logs in', async (t) => {
  const node = makeNode(t, {args: ADMIN});
  const password = hash256.digest(Buffer.from('secret')).toString('hex');

  fs.mkdirSync(node.stratumDir, {recursive: true});
  fs.writeFileSync(path.join(node.stratumDir, 'users.json'),
    `${JSON.stringify({username: 'alice', password})}\n`);
  await node.spawn();
  await node.ready();

  const miner = await Miner.connect(t, node);

  await miner.subscribe();
  assert.notStrictEqual((await miner.authorize('alice', 'guess')).result, true);

  const again = await Miner.start(t, node, 'alice', 'secret');
  assert.strictEqual((await again.submit()).error, null);
});

const MALFORMED = [
  '{}', '[]', 'null', '1', '"text"', '{', 'nonsense', '\u0000', '{"id":1}',
  '{"id":1,"method":1,"params":[]}',
  '{"id":1,"method":"mining.submit","params":{}}',
  '{"id":1,"method":"mining.submit","params":[1,2,3,4,5]}',
  '{"id":1,"method":"mining.submit","params":["a","b","zz","zz","zz"]}',
  '{"id":{},"method":"mining.subscribe","params":null}',
  '{"id":1,"method":"mining.authorize","params":[]}',
  '{"id":1,"method":"mining.authorize","params":[{},[]]}',
  '{"id":1,"method":"no.such.method","params":[]}',
  '{"id":1e999,"method":"mining.subscribe","params":[]}',
  `{"id":1,"method":"mining.authorize","params":["${'x'.repeat(500)}","x"]}`,
  '['.repeat(500)
];

test('malformed lines are answered and kill nothing', async (t) => {
  const node = await startNode(t);
  const other = await Miner.start(t, node);

  for (const line of MALFORMED) {
    const miner = await Miner.connect(t, node);

    miner.write(`${line}\n`);
    await miner.waitFor(`an answer to ${line.slice(0, 60)}`, () => {
      return miner.lines.length > 0 || miner.closed;
    });
    assert.ok(miner.lines.length > 0, `no answer to ${line.slice(0, 60)}`);
  }

  const {error, hash} = await other.submit();

  assert.strictEqual(error, null);
  await node.waitTip(hash);
});

test('what is no object is answered as invalid params', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.connect(t, node);

  miner.write('nonsense\n');
  await miner.waitFor('the answer', () => miner.lines.length > 0);
  assert.deepStrictEqual(miner.lines[0],
    {id: null, result: null, error: [0, 'invalid params', false]});
});

test('a flood without a newline ends its own connection only', async (t) => {
  const node = await startNode(t);
  const other = await Miner.start(t, node);
  const miner = await Miner.connect(t, node);

  miner.write('x'.repeat(4 << 20));
  await miner.waitClosed();

  const {error, hash} = await other.submit();

  assert.strictEqual(error, null);
  await node.waitTip(hash);
});

test('an HTTP request is sent to the public address', OWN, async (t) => {
  const node = await startNode(t, {args: [
    '--stratum-public-host=pool.example.com', '--stratum-public-port=3009'
  ]});
  const miner = await Miner.connect(t, node);

  miner.write('POST / HTTP/1.1\r\nHost: localhost\r\n'
    + 'Content-Length: 2\r\n\r\n{}');
  await miner.waitFor('the redirect', () => {
    return miner.lines.some((line) => {
      return /^X-Stratum: stratum\+tcp:\/\/pool\.example\.com:3009\r?$/i
        .test(line);
    });
  });
  assert.match(String(miner.lines[0]), /^HTTP\/1\.1 200 /);
});

test('shares are judged in the documented order', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.connect(t, node);

  const unsubscribed = await miner.request('mining.submit', []);
  assert.deepStrictEqual(unsubscribed.error.slice(0, 2),
    [25, 'not subscribed']);

  await miner.subscribe();

  const invalid = await miner.request('mining.submit', []);
  assert.deepStrictEqual(invalid.error.slice(0, 2), [0, 'invalid params']);

  const unauthorized = await miner.request('mining.submit',
    ['alice', 'ffffffff', '00000000', '00000000', '00000000']);
  assert.deepStrictEqual(unauthorized.error.slice(0, 2),
    [24, 'unauthorized user']);

  await miner.authorize('alice');
  await miner.waitJob();

  const unknown = await miner.request('mining.submit',
    ['alice', 'ffffffff', '00000000', '00000000', '00000000']);
  assert.deepStrictEqual(unknown.error.slice(0, 2), [21, 'job not found']);

  const old = await miner.request('mining.submit',
    ['alice', miner.job.id, '00000000', '00000001', '00000000']);
  assert.deepStrictEqual(old.error.slice(0, 2), [20, 'time too old']);

  const high = await miner.request('mining.submit',
    ['alice', ...miner.miss().params]);
  assert.deepStrictEqual(high.error.slice(0, 2), [23, 'high-hash']);
});
