'use strict';

/*
 * Everything that can hang is made to hang, one after the other, while a miner
 * finds blocks: nothing may delay a block, a call or the stop of the node.
 */

const assert = require('assert');
const {execFileSync, spawn} = require('child_process');
const dgram = require('dgram');
const fs = require('fs');
const net = require('net');
const path = require('path');
const {test} = require('node:test');
const {freePort, makeNode, startNode, tempDir} = require('./harness');
const {Miner} = require('./miner');
const {Postgres} = require('./postgres');

const CALLS = 12;

/**
 * Limit for one step. Hanging parts hang for longer; without one a node takes
 * a tenth of it, and more on a busy machine.
 */
const SOON_MS = 3000;

/** A call without an answer fails within its deadline. */
const CALL_MS = 12500;

/**
 * A stop tries the ledger for four seconds and waits two for other threads.
 */
const STOP_MS = 9000;

/** True while there is a connection to a port of this machine. */

function isConnected(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return new RegExp(`0100007F:[0-9A-F]{4} 0100007F:${hex} 01`)
    .test(fs.readFileSync('/proc/net/tcp', 'utf8'));
}

async function timed(work) {
  const from = performance.now();
  const value = await work();
  return [performance.now() - from, value];
}

/** Find the miner's next block and wait until it is the node's tip. */

async function findBlock(node, miner) {
  const tip = await node.tip();
  const job = await miner.waitJob((job) => {
    return job.prevBlock.toString('hex') === tip;
  });
  const share = miner.solve(job);

  const [took] = await timed(() => {
    miner.send('mining.submit', ['alice', ...share.params]);
    return node.waitTip(share.hash);
  });

  return took;
}

/**
 * Check blocks, calls and the stop while something hangs.
 * @param {Function} call - of a number: a call that waits for the hanging
 * part.
 */

async function check(t, node, miner, call) {
  const calls = [];

  for (let i = 0; i < CALLS; i++)
    calls.push(timed(() => call(i)));

  const blocks = [];
  const infos = [];
  const others = [];

  for (let i = 0; i < 3; i++) {
    blocks.push(await findBlock(node, miner));
    const [info, {result}] = await timed(() => node.call('getstratuminfo', []));
    assert.ok(result.job, JSON.stringify(result));
    infos.push(info);
    const [other] = await timed(() => node.rpc('getblockcount'));
    others.push(other);
  }

  const answers = await Promise.all(calls);
  const waits = answers.map(([took]) => took);

  // Some calls hang at the moment of the stop.
  for (let i = 0; i < CALLS; i++)
    call(CALLS + i).catch(() => {});

  await findBlock(node, miner);

  const [stop, exit] = await timed(() => node.signal('SIGTERM'));

  const show = times => times.map(ms => ms.toFixed(0)).join(', ');

  t.diagnostic(`ms: blocks ${show(blocks)}; getstratuminfo ${show(infos)}; `
    + `getblockcount ${show(others)}; calls at most ${
      show([Math.max(...waits)])}; stop ${show([stop])}`);

  assert.ok(Math.max(...blocks, ...infos, ...others) < SOON_MS);
  assert.ok(Math.max(...waits) < CALL_MS);
  assert.ok(stop < STOP_MS, node.tail());
  assert.strictEqual(exit.code, 0, node.tail());

  return answers.map(([, answer]) => answer);
}

test('PostgreSQL that is stopped holds up nothing', async (t) => {
  const database = await Postgres.start(t);
  const node = await startNode(t, {args: [
    `--stratum-database=${database.url}`, '--stratum-server-id=a'
  ]});
  const miner = await Miner.start(t, node);

  await node.waitFor('the shared ledger', async () => {
    const {shared} = await node.rpc('getstratuminfo');
    return shared && shared.state === 'up';
  });

  database.signalAll('SIGSTOP');
  t.after(() => database.signalAll('SIGCONT'));

  const answers = await check(t, node, miner, (i) => {
    return node.call(i % 2 ? 'setstratumaddress' : 'addstratumuser',
      i % 2 ? ['alice', node.options.address] : [`user${i}`, 'x']);
  });

  for (const {error} of answers)
    assert.match(error.message, /shared ledger/);
});

test('a start that hangs does not keep the node from its end', async (t) => {
  const database = await Postgres.start(t);

  database.signalAll('SIGSTOP');

  const node = makeNode(t, {args: [
    `--stratum-database=${database.url}`, '--stratum-server-id=a'
  ]});

  await node.spawn();
  await node.waitLog(/Mempool loaded/);
  await node.waitFor('the start to wait', () => isConnected(database.port));

  const [stop, {code}] = await timed(() => node.signal('SIGTERM'));

  t.diagnostic(`ms: stop ${stop.toFixed(0)}`);
  assert.strictEqual(code, 0, node.tail());
  assert.ok(stop < STOP_MS, node.tail());
});

test('another process that holds the ledger holds up nothing', async (t) => {
  const node = await startNode(t);
  const miner = await Miner.start(t, node);
  const holder = spawn('sqlite3', [path.join(node.stratumDir, 'ledger.db')],
    {stdio: ['pipe', 'pipe', 'inherit']});

  t.after(() => holder.kill('SIGKILL'));
  // The server may be writing at that moment.
  holder.stdin.write('.bail on\n.timeout 10000\nBEGIN IMMEDIATE;\n'
    + 'SELECT \'held\';\n');
  await new Promise(resolve => holder.stdout.once('data', resolve));

  const answers = await check(t, node, miner, () => {
    return node.call('setstratumaddress', ['alice', node.options.address]);
  });

  for (const {error} of answers) {
    assert.strictEqual(error.code, -20);
    assert.match(error.message, /the ledger does not answer/);
  }
});

/** The reason why a test that mounts something cannot run, or false. */

const NO_ROOT = process.getuid() !== 0 && 'only root can mount';

/** A node whose directory is a small file system of its own. */

async function startInRoom(t) {
  let node = null;

  // Before the node removes its directory.
  t.after(async () => {
    await node.kill();
    execFileSync('umount', [node.stratumDir]);
  });

  node = makeNode(t);
  fs.mkdirSync(node.stratumDir, {recursive: true});
  execFileSync('mount',
    ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', node.stratumDir]);
  await node.spawn();
  await node.ready();

  // The disk is filled once there is room for found blocks.
  await node.waitFor('room for blocks', () => {
    return spool(node).filter(name => /^\.reserve/.test(name)).length === 4;
  });

  return node;
}

function spool(node) {
  return fs.readdirSync(path.join(node.stratumDir, 'spool'));
}

test('a full disk holds up nothing', {skip: NO_ROOT}, async (t) => {
  const node = await startInRoom(t);
  const miner = await Miner.start(t, node);

  // A block that is kept frees some room, which other files may take.
  await check(t, node, miner, (i) => {
    fill(node);
    return node.call(i % 2 ? 'setstratumaddress' : 'addstratumuser',
      i % 2 ? ['alice', node.options.address] : [`user${i}`, 'x']);
  });
});

test('blocks that are found on a full disk outlive a stop', {
  skip: NO_ROOT
}, async (t) => {
  const node = await startInRoom(t);
  const miner = await Miner.start(t, node);
  const hashes = [];

  for (let i = 0; i < 4; i++) {
    fill(node);
    await findBlock(node, miner);
    hashes.push(await node.tip());
    await node.waitFor('the block to be kept', () => {
      return spool(node).includes(`${hashes[i]}.block`)
        || inLedger(node).includes(hashes[i]);
    });
  }

  fill(node);
  assert.strictEqual((await node.signal('SIGTERM')).code, 0, node.tail());
  fs.rmSync(path.join(node.stratumDir, 'filler'));
  await node.restart();

  for (const hash of hashes) {
    await node.waitFor('the block in the ledger',
      () => inLedger(node).includes(hash));
  }

  await node.waitFor('an empty spool',
    () => !spool(node).some(name => name.endsWith('.block')));
});

/** The blocks of the ledger that the node has on its main chain. */

function inLedger(node) {
  return execFileSync('sqlite3', ['-readonly',
    path.join(node.stratumDir, 'ledger.db'),
    'SELECT hash FROM blocks WHERE state IN (\'accepted\', \'confirmed\')'
  ], {encoding: 'utf8'});
}

/** Write until nothing more fits. */

function fill(node) {
  const fd = fs.openSync(path.join(node.stratumDir, 'filler'), 'a');

  for (let size = 1 << 20; size > 0; size >>= 1) {
    try {
      for (;;)
        fs.writeSync(fd, Buffer.alloc(size));
    } catch (e) {
      assert.strictEqual(e.code, 'ENOSPC');
    }
  }
  fs.closeSync(fd);
}

/**
 * A name server that receives every question and answers none, and the command
 * that makes a process ask it.
 */

async function silentNames(t) {
  const server = dgram.createSocket('udp4');
  const asked = [];

  server.on('message', question => asked.push(question.toString('latin1')));
  await new Promise(resolve => server.bind(53, '127.0.0.153', resolve));
  t.after(() => server.close());

  const dir = tempDir(t);
  const file = path.join(dir, 'resolv.conf');

  fs.writeFileSync(file,
    'nameserver 127.0.0.153\noptions timeout:30 attempts:5\n');

  return {
    asked,
    within: ['unshare', '--mount', 'sh', '-c',
      'mount --bind "$0" /etc/resolv.conf && exec "$@"', file]
  };
}

test('a silent name server holds up nothing', {skip: NO_ROOT}, async (t) => {
  const {asked, within} = await silentNames(t);
  const node = await startNode(t, {within, args: [
    '--stratum-webhook=http://alarms.hstratum.invalid/'
  ]});
  const miner = await Miner.start(t, node);

  await check(t, node, miner, () => node.call('liststratumbans', []));
  assert.ok(asked.some(question => question.includes('alarms')), 'was asked');
});

test('a start that waits for a name does not keep the node from its end', {
  skip: NO_ROOT
}, async (t) => {
  const {asked, within} = await silentNames(t);
  const node = makeNode(t, {within, args: [
    '--stratum-database=postgres://pool@database.hstratum.invalid/pool',
    '--stratum-server-id=a'
  ]});

  await node.spawn();
  await node.waitLog(/Mempool loaded/);
  await node.waitFor('the start to wait', () => {
    return asked.some(question => question.includes('database'));
  });

  const [stop, {code}] = await timed(() => node.signal('SIGTERM'));

  t.diagnostic(`ms: stop ${stop.toFixed(0)}`);
  assert.strictEqual(code, 0, node.tail());
  assert.ok(stop < STOP_MS, node.tail());
});

test('a receiver of alarms that hangs holds up nothing', async (t) => {
  const sockets = new Set();
  const receiver = net.createServer(socket => sockets.add(socket));
  const port = await freePort();

  t.after(() => {
    for (const socket of sockets)
      socket.destroy();
    receiver.close();
  });
  await new Promise(resolve => receiver.listen(port, '127.0.0.1', resolve));

  const node = await startNode(t, {args: [
    `--stratum-webhook=http://127.0.0.1:${port}/`
  ]});
  const miner = await Miner.start(t, node);

  const answers = await check(t, node, miner, () => {
    return node.call('liststratumbans', []);
  });

  for (const {result} of answers)
    assert.deepStrictEqual(result, []);
  assert.ok(sockets.size > 0);
});

test('a node that never answers is told of', async (t) => {
  const plugin = path.join(__dirname, 'stuck_plugin.js');
  const node = await startNode(t, {args: [
    `--plugins=${[path.join(__dirname, '..'), plugin].join(',')}`
  ]});
  const miner = await Miner.start(t, node);
  const health = async () => {
    const url = `http://127.0.0.1:${node.ports.dashboard}/healthz`;
    return (await fetch(url)).json();
  };

  await node.waitFor('health', async () => (await health()).status === 'ok');
  assert.strictEqual((await node.rpc('getstratuminfo')).node, 'ok');

  // From now on createBlock does not return.
  fs.writeFileSync(path.join(node.prefix, 'stuck'), '');
  await findBlock(node, miner);
  await node.waitLog(/node does not answer: createBlock/, {ms: 30000});

  assert.match((await health()).degraded, /createBlock/);
  assert.match((await node.rpc('getstratuminfo')).node, /createBlock/);

  const metrics = await fetch(
    `http://127.0.0.1:${node.ports.dashboard}/metrics`);
  assert.match(await metrics.text(), /^hstratum_node_overdue 1$/m);

  // Blocks are found all the same, on first templates.
  await findBlock(node, miner);

  const [stop, {code}] = await timed(() => node.signal('SIGTERM'));

  assert.strictEqual(code, 0, node.tail());
  assert.ok(stop < STOP_MS);
});
