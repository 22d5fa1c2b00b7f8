'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {
  PLUGIN, bareLines, makeNode, runNode, startNode, tempDir
} = require('./harness');
const {Miner} = require('./miner');

const CLOSE_MS = 10000;

function write(node, name, text) {
  const file = path.join(node.dir, name);
  fs.mkdirSync(path.dirname(file), {recursive: true});
  fs.writeFileSync(file, text);
}

test('the documented command line works', async (t) => {
  const node = await startNode(t, {args: [
    '--stratum-public-host', 'pool.example.com',
    '--stratum-public-port', '3008',
    '--stratum-max-inbound', '1000',
    '--stratum-difficulty', '8',
    '--stratum-dynamic',
    '--stratum-password=admin-pass'
  ]});
  const miner = await Miner.connect(t, node);

  await miner.subscribe();

  const {result} = await miner.request('mining.authorize_admin',
    ['admin-pass']);

  assert.strictEqual(result, true);
});

test('options come from the environment, stratum.conf and hsd.conf',
  async (t) => {
    const node = makeNode(t, {env: {HSD_STRATUM_MAX_INBOUND: '7'}});

    write(node, 'stratum.conf', 'password: from-stratum-conf\n');
    write(node, 'hsd.conf', 'stratum-password: from-hsd-conf\n'
      + 'stratum-public-host: pool.example.com\n');
    await node.spawn();
    await node.ready();

    const miner = await Miner.connect(t, node);
    const {result} = await miner.request('mining.authorize_admin',
      ['from-stratum-conf']);

    assert.strictEqual(result, true);

    const browser = await Miner.connect(t, node);

    browser.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await browser.waitFor('the redirect', () => {
      return browser.lines.some(line => /pool\.example\.com/.test(line));
    });
  });

const WRONG = [
  ['an unknown flag', {args: ['--stratum-prot=3008']}, /prot/],
  ['a port that is none', {args: ['--stratum-port=abc']}, /port.*abc/],
  ['a port out of range', {env: {HSD_STRATUM_PORT: '99999'}, noPort: true},
    /port.*99999/],
  ['a negative difficulty', {args: ['--stratum-difficulty=-1']},
    /difficulty.*-1/],
  ['a switch that is neither', {args: ['--stratum-dynamic=maybe']},
    /dynamic.*maybe/],
  ['an unknown line in stratum.conf', {conf: 'prot: 3008\n'}, /prot/],
  ['a malformed line in stratum.conf', {conf: 'port: 3008\nport = 3008\n'},
    /stratum\.conf.*line 2/],
  ['an unknown line in hsd.conf', {hsdConf: 'stratum-prot: 3008\n'}, /prot/],
  ['a configuration file that is not there',
    {args: ['--stratum-config=/nonexistent/stratum.conf']},
    /\/nonexistent\/stratum\.conf/],
  ['a malformed line in users.json', {users: '{"username": "alice", '
    + '"password": "' + '00'.repeat(32) + '"}\n{"username": \n'
    + '{"username": "bob", "password": "' + '00'.repeat(32) + '"}\n'},
  /users\.json.*\b2\b/]
];

for (const [what, wrong, pattern] of WRONG) {
  test(`${what} stops the start with one line`, async (t) => {
    const {args = [], env = {}, conf, hsdConf, users, noPort} = wrong;
    const draft = makeNode(t);

    if (conf)
      write(draft, 'stratum.conf', conf);

    if (hsdConf)
      write(draft, 'hsd.conf', hsdConf);

    if (users)
      write(draft, 'stratum/users.json', users);

    const {code, output} = await runNode(t,
      {prefix: draft.prefix, args, env, noPort});
    const lines = bareLines(output);

    assert.strictEqual(code, 1);
    assert.strictEqual(lines.length, 1, lines.join('\n'));
    assert.match(lines[0], pattern);
  });
}

test('an SPV node is refused with one line', async (t) => {
  const {code, output} = await runNode(t, {spv: true});
  const lines = bareLines(output);

  assert.strictEqual(code, 1);
  assert.strictEqual(lines.length, 1, lines.join('\n'));
  assert.match(lines[0], /SPV/);
});

test('under --memory nothing is written', async (t) => {
  const node = await startNode(t, {args: ['--memory']});
  const miner = await Miner.start(t, node);
  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await node.waitTip(hash);
  assert.strictEqual(fs.existsSync(node.stratumDir), false);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} stops the node cleanly while miners work`, async (t) => {
    const node = await startNode(t);
    const miners = [];

    for (let i = 0; i < 5; i++)
      miners.push(await Miner.start(t, node, `user${i}`));

    const {hash} = await miners[0].submit('user0');

    await node.waitTip(hash);

    const since = Date.now();
    const {code} = await node.signal(signal);

    assert.strictEqual(code, 0, node.tail());
    assert.ok(Date.now() - since < CLOSE_MS);
    assert.ok(node.find(/\(stratum\) stopped/), node.tail());
    assert.ok(node.find(/Closing FileBlockStore/), node.tail());

    for (const miner of miners)
      await miner.waitClosed();
  });
}

test('SIGTERM while the node opens closes it once it has', async (t) => {
  const dir = tempDir(t);
  const slow = path.join(dir, 'slow.js');

  // Another plugin, opened after ours, that takes its time.
  fs.writeFileSync(slow, `exports.init = () => ({
    open: () => new Promise(resolve => setTimeout(resolve, 1500))
  });`);

  const node = makeNode(t, {args: [`--plugins=${PLUGIN},${slow}`]});

  await node.spawn();
  await node.waitLog(/\(stratum\) listening on /);
  assert.ok(!node.find(/Node is loaded/), 'the node was faster than the test');
  node.child.kill('SIGTERM');

  const {code} = await node.exited;

  assert.strictEqual(code, 0, node.tail());
  assert.ok(node.find(/\(stratum\) stopped/), node.tail());
  assert.deepStrictEqual(bareLines(node.lines.map(line => line.text)), []);
});

test('a second SIGTERM changes nothing', async (t) => {
  const node = await startNode(t);

  node.child.kill('SIGTERM');
  node.child.kill('SIGTERM');

  const {code} = await node.exited;

  assert.strictEqual(code, 0, node.tail());
});

const NOBODY = 65534;

/** The start's own lines, of a node that must not start. */

async function refusal(t, options, prepare) {
  const node = makeNode(t, options);

  fs.mkdirSync(node.stratumDir, {recursive: true});
  prepare(node);
  await node.spawn();
  await node.waitFor('the exit', () => node.exit);
  assert.notStrictEqual(node.exit.code, 0);
  return bareLines(node.lines.map(line => line.text)).join('\n');
}

function give(dir) {
  fs.chownSync(dir, NOBODY, NOBODY);
  for (const entry of fs.readdirSync(dir, {withFileTypes: true})) {
    if (entry.isDirectory())
      give(path.join(dir, entry.name));
    else
      fs.chownSync(path.join(dir, entry.name), NOBODY, NOBODY);
  }
}

test('a directory that cannot be written is told from a damaged ledger',
  {skip: process.getuid() !== 0 && 'root only, to run as somebody else'},
  async (t) => {
    const owner = {uid: NOBODY, gid: NOBODY};
    const whole = await startNode(t);

    await whole.signal('SIGTERM');

    const ledger = fs.readFileSync(path.join(whole.stratumDir, 'ledger.db'));

    for (const content of [null, ledger, 'no ledger']) {
      const text = await refusal(t, {owner}, (node) => {
        const file = path.join(node.stratumDir, 'ledger.db');
        // Directories that a start has made before it opens the ledger.
        for (const name of ['spool', 'shares'])
          fs.mkdirSync(path.join(node.stratumDir, name));
        if (content !== null)
          fs.writeFileSync(file, content);
        give(node.prefix);
        if (content !== null)
          fs.chmodSync(file, 0o400);
        fs.chmodSync(node.stratumDir, 0o500);
      });

      assert.match(text, /ledger\.db/);
      if (content === 'no ledger') {
        assert.match(text, /put a backup in its place/);
      } else {
        assert.match(text, /its directory can be written and has room/);
        assert.doesNotMatch(text, /backup/);
      }
    }
  });

test('a key with a passphrase is named as such', async (t) => {
  const {privateKey} = crypto.generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    publicKeyEncoding: {type: 'spki', format: 'pem'},
    privateKeyEncoding: {
      type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x'
    }
  });
  const dir = tempDir(t);
  const key = path.join(dir, 'key');
  const cert = path.join(__dirname, '..', '..', 'crates', 'server', 'tests',
    'tls', 'first.crt');

  fs.writeFileSync(key, privateKey);

  const {code, output} = await runNode(t, {args: [
    '--stratum-listen=tls://127.0.0.1:0', `--stratum-tls-cert=${cert}`,
    `--stratum-tls-key=${key}`
  ]});
  const text = bareLines(output).join('\n');

  assert.notStrictEqual(code, 0);
  assert.match(text, /the key is encrypted/);
  assert.ok(text.includes(key), text);
});

test('a users.json that begins with a byte-order mark is read and kept',
  async (t) => {
    const args = ['--stratum-auth=users'];
    const node = await startNode(t, {args});
    const file = path.join(node.stratumDir, 'users.json');

    await node.rpc('addstratumuser', ['alice', 'x']);
    await node.signal('SIGTERM');
    fs.writeFileSync(file, `\ufeff${fs.readFileSync(file, 'utf8')}`);
    await node.restart();
    await Miner.start(t, node, 'alice', 'x');
    await node.rpc('addstratumuser', ['bob', 'x']);
    await node.restart();

    for (const user of ['alice', 'bob'])
      await Miner.start(t, node, user, 'x');
  });
