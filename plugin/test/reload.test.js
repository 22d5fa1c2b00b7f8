'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const tls = require('tls');
const {test} = require('node:test');
const {startNode, tempDir} = require('./harness');
const {Miner} = require('./miner');

const DATA = path.join(__dirname, '..', '..', 'crates', 'server', 'tests',
  'tls');

function install(dir, name) {
  for (const ext of ['crt', 'key'])
    fs.copyFileSync(path.join(DATA, `${name}.${ext}`), path.join(dir, ext));
}

/** The name in the certificate of a new connection. */

function shown(port) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false
    }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });

    socket.once('error', reject);
  });
}

test('SIGHUP replaces the certificate and drops nobody', async (t) => {
  const dir = tempDir(t);

  install(dir, 'first');

  const node = await startNode(t, {args: [
    '--stratum-listen=tls://127.0.0.1:0',
    `--stratum-tls-cert=${path.join(dir, 'crt')}`,
    `--stratum-tls-key=${path.join(dir, 'key')}`
  ]});
  const {text} = await node.waitLog(/listening on tls:/);
  const [, port] = text.match(/tls:\/\/127\.0\.0\.1:(\d+)/);
  const miner = await Miner.start(t, node);

  assert.strictEqual(await shown(port), 'first.test');

  install(dir, 'second');
  node.child.kill('SIGHUP');
  await node.waitLog(/\(stratum\) certificate reloaded/);
  assert.strictEqual(await shown(port), 'second.test');

  const {error, hash} = await miner.submit();

  assert.strictEqual(error, null);
  await node.waitTip(hash);
});

test('SIGHUP without TLS is harmless', async (t) => {
  const node = await startNode(t);

  node.child.kill('SIGHUP');
  await node.waitLog(/\(stratum\) nothing to reload/);

  const {code} = await node.signal('SIGTERM');

  assert.strictEqual(code, 0, node.tail());
});
