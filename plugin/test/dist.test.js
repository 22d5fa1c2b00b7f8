'use strict';

/*
 * The packages as npm installs them: into an empty prefix, beside an hsd. It
 * is a copy of the repository's own; with DIST_HSD=install (make dist-test)
 * npm installs it anew, and compiles its modules, which takes a minute.
 */

const assert = require('assert');
const {spawn} = require('child_process');
const path = require('path');
const {test} = require('node:test');
const {platform} = require('../platform_package');
const {ADDRESS, freePort, tempDir, waitFor} = require('./harness');
const {installHsd, npm, pack} = require('./packages');

const START_MS = 60000;

/**
 * The environment of a user's shell: without the repository and its settings.
 */

function environment(prefix) {
  const {HOME, PATH} = process.env;

  return {HOME, PATH: `${path.join(prefix, 'bin')}${path.delimiter}${PATH}`};
}

function start(t, prefix, command, args) {
  const child = spawn(path.join(prefix, 'bin', command), args,
    {env: environment(prefix), cwd: prefix, stdio: ['ignore', 'pipe', 'pipe']});
  const run = {child, output: '', exit: null};

  for (const stream of [child.stdout, child.stderr])
    stream.on('data', text => run.output += text);

  child.once('close', (code, signal) => run.exit = {code, signal});
  t.after(() => child.kill('SIGKILL'));

  return run;
}

/** Wait for something that a process does, and fail when it ends first. */

function expect(run, what, fn, ms = START_MS) {
  return waitFor(what, () => {
    if (run.exit)
      throw new Error(`it has exited: ${run.output}`);
    return fn();
  }, {ms});
}

function waitEnd(run, ms = START_MS) {
  return waitFor(`an end of\n${run.output}`, () => run.exit, {ms});
}

test('installed into an empty prefix, a node with hstratum mines a block',
  async (t) => {
    const prefix = tempDir(t);
    const tarballs = await pack(path.join(prefix, 'dist'));

    assert.strictEqual(tarballs.length, 2);
    await installHsd(prefix);
    await npm(prefix, '--offline', ...tarballs);

    const data = path.join(prefix, 'data');
    const port = await freePort();
    const node = start(t, prefix, 'hsd', ['--network=regtest',
      `--prefix=${data}`, '--plugins=hstratum', '--no-dns', '--no-wallet',
      `--http-port=${await freePort()}`, `--only=127.0.0.1:${await freePort()}`,
      `--coinbase-address=${ADDRESS}`, '--stratum-host=127.0.0.1',
      `--stratum-port=${port}`]);

    await expect(node, 'the port', () => /listening on /.test(node.output));

    const url = `stratum+tcp://127.0.0.1:${port}`;
    const miner = start(t, prefix, 'hstratum', ['mine', '--url', url, '--user',
      'alice', '--threads', '1', '--blocks', '1']);

    assert.deepStrictEqual(await waitEnd(miner), {code: 0, signal: null},
      miner.output);
    await expect(node, 'a block', () => /block accepted: 1 /.test(node.output));

    const patient = start(t, prefix, 'hstratum', ['mine', '--url', url,
      '--user', 'alice', '--threads', '1', '--pause', '100']);

    await expect(patient, 'a share', () => /accepted/.test(patient.output));
    patient.child.kill('SIGTERM');
    assert.deepStrictEqual(await waitEnd(patient),
      {code: null, signal: 'SIGTERM'}, patient.output);

    node.child.kill('SIGTERM');
    assert.deepStrictEqual(await waitEnd(node), {code: 0, signal: null},
      node.output);
  });

test('without the files of this platform, both say what to do', async (t) => {
  const prefix = tempDir(t);
  const tarballs = await pack(path.join(prefix, 'dist'));
  const main = tarballs.find(name => !name.includes(platform()));

  await npm(prefix, '--offline', '--omit=optional', main);

  const command = start(t, prefix, 'hstratum', ['--version']);
  const {code} = await waitEnd(command);

  assert.strictEqual(code, 1);
  assert.match(command.output, new RegExp(`^hstratum: no hstratum for `
    + `${platform()}: install .*@hstratum/${platform()} .*make build`));

  const binding = path.join(prefix, 'lib', 'node_modules', 'hstratum',
    'binding.js');

  assert.throws(() => require(binding).load(), /no hstratum\.node for/);
});
