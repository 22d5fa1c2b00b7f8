'use strict';

const assert = require('assert');
const net = require('net');
const {test} = require('node:test');
const {freePort, makeNode, startNode} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');

/** From this height on hsd relays blocks as on other networks. */
const HEIGHT = 20;

/** Far above what it takes, and far below any timeout of hsd's. */
const SOON_MS = 2000;

/** A name that is known to be none without asking a name server. */
const NO_NAME = 'a..b:1';

/** A peer that hears of blocks and asks for none. */

class SlowPeer extends Observer {
  onInv(items) {
    for (const item of items)
      this.announced.set(item.hash.toString('hex'), performance.now());
  }
}

test('extra nodes get found blocks, and those that are away delay nobody',
  async (t) => {
    const near = makeNode(t, {plugin: false, listen: true});
    const away = makeNode(t, {plugin: false, listen: true});
    const hung = await hang(t);

    await near.spawn();
    await near.ready();
    await away.choosePorts();

    const names = [`localhost:${near.ports.p2p}`,
      `127.0.0.1:${away.ports.p2p}`, `127.0.0.1:${hung}`, NO_NAME];
    const pool = await startNode(t, {listen: true, args: [
      `--stratum-extra-nodes=${names.join(',')}`
    ]});

    await pool.mine(HEIGHT);
    await pool.waitLog(said(names[0], 'connected'));
    await pool.waitLog(said(names[1], 'not connected: .*ECONNREFUSED.*'));
    await pool.waitLog(said(names[2], 'not connected: .+'));
    await pool.waitLog(said(names[3], 'not connected: failed to look a\\.\\.b up: .+'));
    await copyChain(pool, near);

    const slow = await SlowPeer.connect(t, pool);
    const miner = await Miner.start(t, pool);

    await findAt(t, near, pool, miner);
    assert.ok(slow.announced.size > 0);

    const line = await pool.waitLog(/block race: /);

    // By the extra node alone: the other peer never asks.
    assert.match(line.text, /announced to 2 peers .*, by 1 within 1 s/);
    await see(pool, names, [true, false, false, false]);

    // One that comes up later and hangs, and one that goes.
    await away.spawn();
    await away.ready();
    await pool.waitLog(said(names[1], 'connected'));
    await copyChain(pool, away);
    away.child.kill('SIGSTOP');
    await findAt(t, near, pool, miner);
    away.child.kill('SIGCONT');
    await away.waitTip(await pool.tip());
    await near.kill();
    await pool.waitLog(said(names[0], 'not connected: .+'));
    await findAt(t, away, pool, miner);
    await see(pool, names, [false, true, false, false]);

    // Retries of those that stay away are not logged.
    assert.strictEqual(pool.count(/extra node/), 6);
  });

test('an extra node of another network is told of, and not banned',
  async (t) => {
    // Another magic number, and a header's length of zeros.
    const other = await hang(t, Buffer.concat([Buffer.from('5b6ef2d3', 'hex'),
      Buffer.alloc(2000)]));
    const name = `127.0.0.1:${other}`;
    const node = await startNode(t, {listen: true, args: [
      `--stratum-extra-nodes=${name}`
    ]});

    await node.waitLog(said(name, 'not connected: .*magic.*'));
    assert.deepStrictEqual(await node.rpc('listbanned'), []);
  });

for (const text of ['127.0.0.1', 'a.example:0', '::1:14038', 'a b:1']) {
  test(`extra-nodes=${text} stops the start`, async (t) => {
    const node = makeNode(t, {args: [`--stratum-extra-nodes=${text}`]});

    await node.spawn();
    assert.strictEqual((await node.exited).code, 1);
    assert.ok(node.find(/^hstratum: --stratum-extra-nodes: expected up to 8 of HOST:PORT/),
      node.tail());
  });
}

function said(name, text) {
  return new RegExp(`extra node ${name} is ${text}$`);
}

/** Give a node the chain of another: it asks no peer that has connected to it. */

async function copyChain(from, to) {
  const height = await from.height();

  for (let i = 1; i <= height; i++) {
    const hash = await from.rpc('getblockhash', [i]);
    await to.rpc('submitblock', [await from.rpc('getblock', [hash, false])]);
  }

  await to.waitTip(await from.tip());
}

/** Find a block, and see it in the chain of another node soon. */

async function findAt(t, there, pool, miner) {
  const tip = await pool.tip();
  const job = await miner.waitJob((job) => {
    return job.prevBlock.toString('hex') === tip;
  });
  const share = miner.solve(job);
  const since = performance.now();
  const {error, hash} = await miner.submit('alice', share);

  assert.strictEqual(error, null);

  const added = await there.waitLog(
    new RegExp(`Block ${hash} \\(\\d+\\) added to chain`));

  assert.ok(added.at - since < SOON_MS, `${added.at - since} ms`);
  t.diagnostic(`in the extra node's chain ${(added.at - since).toFixed(1)} ms `
    + 'after the submit');
  await pool.waitTip(hash);
}

/** What getstratuminfo, the API, the metrics and the doctor say. */

async function see(pool, names, connected) {
  const {extranodes} = await pool.waitFor('the extra nodes', async () => {
    const info = await pool.rpc('getstratuminfo');
    return info.extranodes.every((node, i) => node.connected === connected[i])
      && info;
  });

  assert.deepStrictEqual(extranodes.map(node => node.address), names);

  const url = `http://127.0.0.1:${pool.ports.dashboard}`;
  const status = await (await fetch(`${url}/api/v1/pool`)).json();

  assert.deepStrictEqual(status.extra_nodes.map(node => node.is_connected),
    connected);

  const metrics = await (await fetch(`${url}/metrics`)).text();

  for (const [i, name] of names.entries()) {
    assert.ok(metrics.includes(`hstratum_extra_node_connected{node="${name}"} `
      + `${Number(connected[i])}\n`), metrics);
  }
}

/** A port that accepts connections and says no more than that. */

async function hang(t, greeting = '') {
  const sockets = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write(greeting);
  });
  const port = await freePort();

  t.after(() => {
    server.close();
    for (const socket of sockets)
      socket.destroy();
  });
  await new Promise(resolve => server.listen(port, '127.0.0.1', resolve));

  return port;
}
