'use strict';

/*
 * `make run`, by its script: what it prints, and its exit code. Each
 * node has a prefix of its own.
 */

const assert = require('assert');
const {spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {ADDRESS, freePort, tempDir, waitFor} = require('./harness');

const SCRIPT = path.join(__dirname, '..', '..', 'scripts', 'run.sh');
const MAIN_ADDRESS = 'hs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpze958w';
const END_MS = 60000;
const NO_PASSWORD = 'it is empty: expected a password of 1 to 256 bytes, '
  + 'not "true", or no such option at all';

async function start(t, {env = {}, args = [], conf = null}) {
  const prefix = tempDir(t);

  if (conf !== null) {
    fs.mkdirSync(path.join(prefix, 'regtest'));
    fs.writeFileSync(path.join(prefix, 'regtest', 'stratum.conf'), conf);
  }

  const ports = [];

  for (const name of ['http-port', 'stratum-port', 'stratum-http-port'])
    ports.push(`--${name}=${await freePort()}`);

  const child = spawn(SCRIPT, [], {
    env: {
      PATH: process.env.PATH,
      HOME: prefix,
      ARGS: ['--no-wallet', '--only=127.0.0.1:1',
        ...ports, ...args].join(' '),
      HSTRATUM_RUN_PREFIX: prefix,
      ...env
    },
    stdio: ['ignore', 'pipe', 'pipe']
  });
  const run = {child, prefix, out: '', err: '', code: null};

  child.stdout.setEncoding('utf8').on('data', text => run.out += text);
  child.stderr.setEncoding('utf8').on('data', text => run.err += text);

  const ended = new Promise(resolve => child.once('close', resolve));

  run.end = async () => {
    if (run.child.exitCode === null)
      child.kill('SIGINT');

    await ended;
    return child.exitCode;
  };

  t.after(run.end);
  return run;
}

const WRONG = [
  ['a network that is none', {env: {NETWORK: 'mainnet'}},
    'make run: NETWORK=mainnet: expected main, testnet, simnet or regtest'],
  ['an address that is none', {env: {ADDRESS: 'foo'}},
    'make run: ADDRESS=foo: not an address of regtest'],
  ['an address of another network', {env: {ADDRESS: MAIN_ADDRESS}},
    `make run: ADDRESS=${MAIN_ADDRESS}: not an address of regtest`],
  ['one among the options',
    {args: [`--coinbase-address=${MAIN_ADDRESS}`]},
    `make run: coinbase-address: ${MAIN_ADDRESS} is not an address of `
    + 'regtest, whose begin with rs1'],
  ['an address among the options that is none',
    {args: ['--coinbase-address=foo']},
    'make run: coinbase-address: foo is not an address of regtest, '
    + 'whose begin with rs1'],
  ['one of which a character is missing',
    {args: [`--coinbase-address=${ADDRESS},${ADDRESS.slice(0, -1)}`]},
    `make run: coinbase-address: ${ADDRESS.slice(0, -1)} is not an address: `
    + 'a character is wrong or missing'],
  ['an unknown option', {args: ['--stratum-prot=1']},
    'make run: --stratum-prot: unknown option, did you mean --stratum-port?'],
  ['an unknown option as it was typed', {args: ['--stratum-tls-port=1']},
    'make run: --stratum-tls-port: unknown option, did you mean '
    + '--stratum-tls-cert?'],
  ['an option of stratum.conf with the prefix of flags',
    {conf: 'stratum-port: 3010\n'},
    'make run: stratum-port in stratum.conf: unknown option, did you mean '
    + 'port?'],
  ['a password that is empty', {args: ['--stratum-password=']},
    `make run: --stratum-password: ${NO_PASSWORD}`],
  ['one that is empty in the environment',
    {env: {HSD_STRATUM_PASSWORD: ''}},
    `make run: HSD_STRATUM_PASSWORD: ${NO_PASSWORD}`],
  ['one that is empty in stratum.conf', {conf: 'password:\n'},
    `make run: password in stratum.conf: ${NO_PASSWORD}`],
  ['a token that is empty', {args: ['--stratum-http-token=']},
    'make run: --stratum-http-token: it is empty: expected 16 to 256 visible '
    + 'characters without spaces, or no such option at all'],
  ['a port that is none', {args: ['--http-port=99999']},
    'make run: hsd says: Port must be a number.'],
  ['an unknown option on main',
    {env: {NETWORK: 'main'}, args: ['--no-dns', '--stratum-prot=1']},
    'make run: --stratum-prot: unknown option, did you mean --stratum-port?'],
  ['an address among the options of main that is none',
    {env: {NETWORK: 'main'}, args: ['--coinbase-address=foo']},
    'make run: coinbase-address: foo is not an address of main, whose begin '
    + 'with hs1']
];

for (const [what, wrong, line] of WRONG) {
  test(`make run says ${what} in one line`, async (t) => {
    const run = await start(t, wrong);

    await waitFor('the end', () => run.child.exitCode !== null, {ms: END_MS});
    await run.end();

    // On main the node's log is shown as it comes.
    const lines = `${run.out}${run.err}`.split('\n').filter((text) => {
      return text && !/^\[|^files: /.test(text);
    });

    assert.deepStrictEqual(lines, [line]);
    assert.strictEqual(run.child.exitCode, 1);
  });
}

test('make run mines, says who may mine, and stops', async (t) => {
  const run = await start(t, {env: {ADDRESS}});

  await waitFor('a block', () => /block accepted: 1 /.test(run.out),
    {ms: END_MS});
  assert.match(run.out, /^stratum {4}\S+ {3}any user, any password$/m);
  assert.strictEqual(await run.end(), 0);
  assert.strictEqual(run.err, '');
});

test('make run shows when its miner is refused', async (t) => {
  const run = await start(t,
    {env: {ADDRESS}, args: ['--stratum-password=secret']});

  await waitFor('the refusal', () => /the miner of make run/.test(run.out),
    {ms: END_MS});
  assert.match(run.out, /accounts only, and there is none yet: add one$/m);
  assert.match(run.out, /has ended: .*failed to authorize "alice"/);
  assert.strictEqual(await run.end(), 0);
});

test('a node of make run in a directory that is in use says so', async (t) => {
  const first = await start(t, {env: {ADDRESS}});

  await waitFor('a block', () => /block accepted: 1 /.test(first.out),
    {ms: END_MS});

  const dir = path.join(first.prefix, 'regtest');
  const log = fs.statSync(path.join(dir, 'console.log')).ino;
  const second = await start(t,
    {env: {ADDRESS, HSTRATUM_RUN_PREFIX: first.prefix}});

  await waitFor('the end', () => second.child.exitCode !== null, {ms: END_MS});
  await second.end();
  assert.strictEqual(second.err,
    'make run: another node is running in this directory\n');
  assert.strictEqual(second.child.exitCode, 1);
  assert.strictEqual(fs.statSync(path.join(dir, 'console.log')).ino, log);
  assert.deepStrictEqual(
    fs.readdirSync(dir).filter(name => /^console/.test(name)),
    ['console.log']);
});

test('make run says where it may not write', async (t) => {
  const file = path.join(tempDir(t), 'file');
  fs.writeFileSync(file, '');

  const run = await start(t, {env: {HSTRATUM_RUN_PREFIX: file}});

  await waitFor('the end', () => run.child.exitCode !== null, {ms: END_MS});
  await run.end();
  assert.strictEqual(run.err,
    `make run: failed to make ${file}/regtest: Not a directory\n`);
});

test('a start after one that failed need not wait', async (t) => {
  const run = await start(t, {args: ['--stratum-prot=1']});

  await waitFor('the end', () => run.child.exitCode !== null, {ms: END_MS});
  await run.end();
  assert.strictEqual(
    fs.existsSync(path.join(run.prefix, 'regtest', 'tree', 'lock')), false);
});

test('make run waits for the lock of a node that was killed', async (t) => {
  const run = await start(t, {env: {ADDRESS}});

  await waitFor('a block', () => /block accepted: 1 /.test(run.out),
    {ms: END_MS});
  await run.end();

  // As old as that of a node that was killed just now, and renewed so.
  const lock = path.join(run.prefix, 'regtest', 'tree', 'lock');
  fs.writeFileSync(lock, '');

  const touch = setInterval(() => {
    const now = new Date();
    fs.utimesSync(lock, now, now);
  }, 500);
  const again = await start(t,
    {env: {ADDRESS, HSTRATUM_RUN_PREFIX: run.prefix}});

  try {
    await waitFor('the line', () => {
      assert.match(again.out, /trying again in 4 seconds/);
      return true;
    }, {ms: END_MS});
  } finally {
    clearInterval(touch);
  }

  await waitFor('a block', () => /block accepted: /.test(again.out),
    {ms: END_MS});
});
