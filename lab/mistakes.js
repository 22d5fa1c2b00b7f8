#!/usr/bin/env node

'use strict';

/*
 * Prints the output and the exit code for common mistakes of users:
 *
 *   node lab/mistakes.js > mistakes.md
 *
 * It checks nothing: its output is for reading. Needs `make build`.
 */

const {execFile} = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const {ADDRESS, freePort} = require('../plugin/test/harness');

const ROOT = path.join(__dirname, '..');
const HSD = path.join(ROOT, 'node_modules', '.bin', 'hsd');
const BINARY = path.join(ROOT, 'target', 'release', 'hstratum');
const CERT = path.join(ROOT, 'crates', 'server', 'tests', 'tls', 'first.crt');
const OTHER_KEY = path.join(ROOT, 'crates', 'server', 'tests', 'tls',
  'second.key');
const MAIN = 'hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy';
const LIMIT_MS = 20000;

function run(file, args, env = {}) {
  return new Promise((resolve) => {
    execFile(file, args, {
      env: {...process.env, ...env}, timeout: LIMIT_MS, killSignal: 'SIGKILL'
    }, (error, stdout, stderr) => {
      let code = error ? error.code : 0;

      if (error && error.killed)
        code = `none within ${LIMIT_MS / 1000} s`;
      resolve({code, text: `${stdout}${stderr}`});
    });
  });
}

/** A start of a node in a directory of its own, with a mistake. */

async function start({flags = [], files = {}, network = 'regtest'}) {
  const prefix = fs.mkdtempSync(path.join(os.tmpdir(), 'mistake-'));

  for (const [name, text] of Object.entries(files)) {
    const file = path.join(prefix, 'regtest', name);
    fs.mkdirSync(path.dirname(file), {recursive: true});
    fs.writeFileSync(file, text);
  }

  try {
    return await run(HSD, [`--network=${network}`, `--prefix=${prefix}`,
      '--plugins=hstratum', '--no-dns', '--no-wallet', '--log-level=warning',
      `--http-port=${await freePort()}`, `--only=127.0.0.1:${await freePort()}`,
      `--coinbase-address=${ADDRESS}`, '--stratum-host=127.0.0.1',
      `--stratum-port=${await freePort()}`, '--stratum-http-port=0', ...flags]);
  } finally {
    fs.rmSync(prefix, {recursive: true, force: true});
  }
}

function hstratum(...args) {
  return run(BINARY, args);
}

/** [name of the mistake, function that runs it] */

function mistakes(dir, taken) {
  const flag = (...flags) => () => start({flags});
  const tool = (...args) => () => hstratum(...args);
  const ledger = path.join(dir, 'ledger.db');
  const there = path.join(dir, 'there');
  const toml = path.join(dir, 'proxy.toml');
  const plan = (...args) => tool('payout', 'plan', '--ledger', ledger, ...args);

  fs.writeFileSync(there, 'something');
  fs.writeFileSync(toml, 'listen = true\n');

  return [
    ['a flag with a typo', flag('--stratum-prot=3008')],
    ['a port that is none', flag('--stratum-port=99999')],
    ['a port that is taken', flag(`--stratum-port=${taken}`)],
    ['another machine\'s address', flag('--stratum-host=192.0.2.1')],
    ['a dashboard\'s port that is taken', flag(`--stratum-http-port=${taken}`)],
    ['a boolean', flag('--stratum-dynamic=perhaps')],
    ['who may mine', flag('--stratum-auth=everybody')],
    ['a TLS port without certificate',
      flag('--stratum-listen=tls://127.0.0.1:0')],
    ['a certificate that is not there',
      flag('--stratum-listen=tls://127.0.0.1:0', '--stratum-tls-cert=/nowhere',
        `--stratum-tls-key=${OTHER_KEY}`)],
    ['another certificate\'s key',
      flag('--stratum-listen=tls://127.0.0.1:0', `--stratum-tls-cert=${CERT}`,
        `--stratum-tls-key=${OTHER_KEY}`)],
    ['a database that is none', flag('--stratum-database=mysql://pool')],
    ['an address that is none', flag('--coinbase-address=hs1qnonsense')],
    ['an address of another network', flag(`--coinbase-address=${MAIN}`)],
    ['a network that is none', () => start({network: 'mainnet'})],
    ['a line of stratum.conf',
      () => start({files: {'stratum.conf': 'port = 3008\n'}})],
    ['a value in stratum.conf',
      () => start({files: {'stratum.conf': 'max-inbound: many\n'}})],
    ['a ledger that is none',
      () => start({files: {'stratum/ledger.db': 'something'}})],
    ['a log without its ledger',
      () => start({files: {'stratum/ledger.db-wal': 'something'}})],
    ['a users.json that is none',
      () => start({files: {'stratum/users.json': 'alice\n'}})],
    ['a file where a directory belongs',
      () => start({files: {'stratum/spool': 'something'}})],
    ['a ledger that is not there', plan('--scheme', 'prop')],
    ['a payout without a ledger', tool('payout', 'plan')],
    ['PPLNS without a window', plan('--scheme', 'pplns')],
    ['a fee above all', plan('--scheme', 'prop', '--fee', '101')],
    ['a database without a password', tool('payout', 'plan', '--ledger',
      'postgres://pool@127.0.0.1:1/pool', '--scheme', 'prop')],
    ['a backup over a file', tool('ledger', 'backup', '--ledger', there, '--to',
      there)],
    ['a ledger that is no ledger', tool('ledger', 'check', '--ledger', there)],
    ['a miner at a closed port', tool('mine', '--url',
      'stratum+tcp://127.0.0.1:1', '--user', 'alice', '--blocks', '1')],
    ['a URL of another kind', tool('mine', '--url', 'http://127.0.0.1:3008',
      '--user', 'alice')],
    ['doctor at a closed port', tool('doctor', '--url',
      'stratum+tcp://127.0.0.1:1')],
    ['a proxy without anything', tool('proxy')],
    ['a value in proxy.toml', tool('proxy', '--config', toml)],
    ['a proxy that does not run', tool('proxy', 'status', '--control',
      path.join(dir, 'control'))]
  ];
}

async function main() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mistakes-'));
  const server = net.createServer().listen(await freePort(), '127.0.0.1');

  await new Promise(resolve => server.once('listening', resolve));

  for (const [what, fn] of mistakes(dir, server.address().port)) {
    const {code, text} = await fn();
    const lines = text.trim().split('\n');
    const shown = lines.length > 6 ? [...lines.slice(0, 6), '…'] : lines;

    console.log(`## ${what}\n\nExit code ${code}, lines: ${lines.length}\n`);
    console.log(`\`\`\`text\n${shown.join('\n')}\n\`\`\`\n`);
  }

  server.close();
  fs.rmSync(dir, {recursive: true});
}

main();
