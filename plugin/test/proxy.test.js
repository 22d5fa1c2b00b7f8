'use strict';

/*
 * `hstratum proxy` before real nodes: its miners when their server dies,
 * hangs, or is emptied.
 */

const assert = require('assert');
const {spawn} = require('child_process');
const http = require('http');
const net = require('net');
const path = require('path');
const {test} = require('node:test');
const tls = require('tls');
const {isDeepStrictEqual} = require('util');
const {freePort, startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {BINARY, SECRET, startProxy} = require('./proxy');

const ARGS = [`--stratum-proxy-secret=${SECRET}`,
  '--stratum-password=admin-pass', '--stratum-auth=users'];

async function startNodes(t, count, args = ARGS) {
  const first = await startNode(t, {listen: true, args});
  const nodes = [first];

  while (nodes.length < count)
    nodes.push(await startNode(t, {listen: true, args, peer: first}));

  return nodes;
}

/** Add a user to one server: accounts are each server's own. */

async function addUser(t, node, user) {
  const admin = await Miner.connect(t, node);
  const right = await admin.request('mining.authorize_admin', ['admin-pass']);
  assert.strictEqual(right.result, true);
  const added = await admin.request('mining.add_user', [user, 'x']);
  assert.strictEqual(added.result, true);
}

/** The index of the server that has miners. */

function serverOf(proxy) {
  return proxy.spread().findIndex(miners => miners > 0);
}

/**
 * Submit a share, which is a block, and wait for its consequences: the nodes
 * have the block, and the miner its next job.
 */

async function mines(miner, nodes) {
  const {error, hash} = await miner.submit();
  assert.strictEqual(error, null);

  for (const node of nodes)
    await node.waitTip(hash);

  await miner.waitJob(job => job.prevBlock.toString('hex') === hash);
}

/**
 * Do something that moves the miner to a server, and wait for its job there.
 */

async function goesTo(place, proxy, miner, act) {
  const jobs = miner.jobs.length;

  await act();
  await proxy.waitFor(`the miner at server ${place + 1}`, () => {
    return serverOf(proxy) === place && miner.jobs.length > jobs;
  });
}

test('a miner does not notice that its server dies, hangs or is emptied',
  async (t) => {
    const nodes = await startNodes(t, 2);

    // A server does not let in a user that it does not know, whatever the
    // proxy says.
    for (const node of nodes)
      await addUser(t, node, 'alice');

    const proxy = await startProxy(t, nodes);
    let miner;

    // Until the proxy deals an id that belongs to the first server.
    for (;;) {
      miner = await Miner.connect(t, proxy);
      await miner.subscribe();
      const {result} = await miner.authorize('alice', 'x');
      assert.strictEqual(result, true);
      if (serverOf(proxy) === 0)
        break;
      miner.socket.destroy();
      await proxy.waitFor('it to be gone', () => serverOf(proxy) === -1);
    }

    await miner.waitJob();
    await mines(miner, nodes);

    const session = miner.extraNonce1;
    assert.match(session, /^01/);
    assert.strictEqual(serverOf(proxy), 0);

    // The server dies.
    await goesTo(1, proxy, miner, () => nodes[0].kill());
    await mines(miner, [nodes[1]]);

    // The server comes back, and has its miner again.
    await goesTo(0, proxy, miner, () => {
      // hsd downloads missing blocks from a peer that it connects to.
      return nodes[0].restart({peer: nodes[1]});
    });
    await mines(miner, nodes);

    // The server hangs.
    const begun = Date.now();
    await goesTo(1, proxy, miner, () => nodes[0].child.kill('SIGSTOP'));
    t.diagnostic(`after a SIGSTOP it was elsewhere in ${Date.now() - begun} ms`);
    await mines(miner, [nodes[1]]);
    await goesTo(0, proxy, miner, () => nodes[0].child.kill('SIGCONT'));
    await mines(miner, nodes);

    // The server is emptied.
    await goesTo(1, proxy, miner, () => proxy.ask('drain', proxy.names[0]));
    await mines(miner, nodes);
    await goesTo(0, proxy, miner, () => proxy.ask('fill', proxy.names[0]));
    await mines(miner, nodes);

    assert.strictEqual(miner.closed, null);
    assert.strictEqual(miner.extraNonce1, session);

    const {reset, extranonces_changed: changed, moves} = proxy.status();
    assert.strictEqual(reset, 0);
    assert.strictEqual(changed, 0);
    assert.strictEqual(moves.server_lost, 2);
    assert.strictEqual(moves.server_left, 4);
  });

test('a server that is terminated moves its miners away one by one first',
  async (t) => {
    const nodes = await startNodes(t, 2);
    const [first, second] = nodes;

    for (const node of nodes)
      await addUser(t, node, 'alice');

    const proxy = await startProxy(t, nodes);
    const miners = [];

    while (miners.length < 12 || proxy.spread().some(count => count < 3))
      miners.push(await Miner.start(t, proxy));

    const before = proxy.spread();
    const direct = await Miner.start(t, first);
    const seen = new Set();
    const begun = Date.now();

    first.child.kill('SIGTERM');
    await proxy.waitFor('the end of the server', () => {
      seen.add(proxy.spread()[0]);
      return first.exit;
    });

    assert.deepStrictEqual(first.exit, {code: 0, signal: null});
    assert(Date.now() - begun < 10000);
    assert.strictEqual(direct.closed, 'reset');
    assert(seen.size > 2, `miners left at once: ${[...seen]}`);
    assert.deepStrictEqual(proxy.spread(), [0, miners.length]);

    const {moves, reset} = proxy.status();
    assert.strictEqual(moves.server_left, before[0]);
    assert.strictEqual(moves.server_lost, 0);
    assert.strictEqual(reset, 0);
    assert(miners.every(miner => miner.closed === null));
    // All of them have work of the other server.
    await mines(miners[0], [second]);
    for (const {jobs} of miners.slice(1)) {
      await proxy.waitFor('its job', () => {
        return jobs[jobs.length - 1].prevBlock.equals(miners[0].job.prevBlock);
      });
    }
  });

test('a new process takes over, and no miner notices', async (t) => {
  const nodes = await startNodes(t, 2, []);
  const proxy = await startProxy(t, nodes);

  assert.strictEqual(proxy.tell('drain', proxy.names[1]),
    `${proxy.names[1]} gets no more miners; its own move away\n`);

  const miner = await Miner.start(t, proxy);

  await mines(miner, nodes);

  const jobs = miner.jobs.length;
  const {code} = await proxy.takeOver();

  assert.strictEqual(code, 0);
  await proxy.waitLog(/taken over: 1 miner$/);
  assert.strictEqual(miner.jobs.length, jobs);
  assert.deepStrictEqual(proxy.spread(), [1, 0]);
  // A server that the operator has taken out stays out.
  assert.deepStrictEqual(
    proxy.status().servers.map(server => server.drained), [false, true]);
  await mines(miner, nodes);
  assert.strictEqual(miner.closed, null);

  // The new one listens as well.
  const other = await Miner.start(t, proxy);
  await mines(other, nodes);
  assert.strictEqual((await proxy.stop()).code, 0);
});

test('miners without a server wait, or are sent away', async (t) => {
  for (const [noBackend, waits] of [['wait:3s', true], ['close', false]]) {
    const [node] = await startNodes(t, 1, []);
    const proxy = await startProxy(t, [node], [`--no-backend=${noBackend}`]);
    const miner = await Miner.start(t, proxy);

    const begun = Date.now();
    await node.kill();
    // Without the option it would be half a minute.
    await miner.waitClosed(20000);
    assert.strictEqual(miner.closed, 'reset');
    assert(!waits || Date.now() - begun > 2500);
  }
});

test('servers see the address of each miner, and a proxy that ends resets it',
  async (t) => {
    const [node] = await startNodes(t, 1,
      ['--stratum-proxy-protocol=127.0.0.1']);
    const proxy = await startProxy(t, [node], ['--send-proxy']);
    const miner = await Miner.start(t, proxy);

    await mines(miner, [node]);
    await node.waitLog(/mines from 127\.0\.0\.1/);

    const {code} = await proxy.stop();
    assert.strictEqual(code, 0);
    await waitFor('the end of the connection', () => miner.closed);
    assert.strictEqual(miner.closed, 'reset');
  });

/** An answer over HTTP: {status, text}, which grows if it is endless. */

function get(port, path, host = `127.0.0.1:${port}`) {
  return new Promise((resolve, reject) => {
    const request = http.get({port, path, headers: {host}, agent: false});

    request.once('error', reject);
    request.once('response', (response) => {
      const answer = {status: response.statusCode, text: ''};

      response.setEncoding('utf8');
      response.on('data', (text) => {
        answer.text += text;
      });
      response.on('error', () => {});
      answer.ended = new Promise(done => response.once('close', done));
      answer.end = () => request.destroy();
      resolve(answer);
    });
  });
}

async function getWhole(...args) {
  const answer = await get(...args);
  await answer.ended;
  return answer;
}

test('a proxy tells over HTTP how it is and what happens', async (t) => {
  const [node] = await startNodes(t, 1, []);
  const port = await freePort();
  const proxy = await startProxy(t, [node], [`--http=${port}`]);
  const miner = await Miner.start(t, proxy);
  const [name] = proxy.names;
  const metrics = async () => (await getWhole(port, '/metrics')).text;

  await mines(miner, [node]);

  const events = await get(port, '/api/v1/events');
  t.after(() => events.end());

  assert.strictEqual((await getWhole(port, '/healthz')).status, 200);
  await proxy.waitFor('the share', async () => {
    return /proxy_shares_total\{outcome="accepted"\} 1\n/.test(await metrics());
  });
  assert.match(await metrics(),
    new RegExp(`hstratum_proxy_server_miners\\{server="${name}"\\} 1\n`));

  const status = async () => {
    return JSON.parse((await getWhole(port, '/api/v1/status')).text);
  };

  // The share may have been a block: both show the next height, not at the
  // same moment.
  await proxy.waitFor('the same over HTTP as on its line', async () => {
    return isDeepStrictEqual((await status()).servers, proxy.status().servers);
  });
  assert.strictEqual((await getWhole(port, '/', 'evil.example.com')).status,
    421);

  // It goes on in another process.
  await proxy.takeOver();
  const later = await get(port, '/api/v1/events');
  t.after(() => later.end());

  await node.kill();
  await proxy.waitFor('the event', () => {
    return later.text.includes(`"kind":"down","server":"${name}"`);
  });
  await proxy.waitFor('what a balancer sees', async () => {
    return (await getWhole(port, '/healthz')).status === 503;
  });
  assert(events.text.includes(`"kind":"up","server":"${name}"`));
});

/** Send a line over TLS; gives the line that comes back. */

function askOverTls(port, line) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false
    }, () => socket.write(`${line}\n`));

    socket.setEncoding('utf8');
    socket.once('data', (text) => {
      socket.destroy();
      resolve(JSON.parse(text.split('\n')[0]));
    });
    socket.once('error', reject);
  });
}

test('TLS ends at the proxy, and sockets may be another\'s', async (t) => {
  const [node] = await startNodes(t, 1, []);
  const data = path.join(__dirname, '..', '..', 'crates', 'server', 'tests',
    'tls');

  // As systemd does: descriptor 3 listens already.
  const given = net.createServer();
  await new Promise(resolve => given.listen(0, '127.0.0.1', resolve));

  const {port} = given.address();
  const child = spawn('/bin/sh', ['-c', `LISTEN_PID=$$ LISTEN_FDS=1 \
    exec "$0" proxy "$@"`, BINARY,
    `--listen=tls://127.0.0.1:${port}`,
    `--backend=127.0.0.1:${node.ports.stratum}`,
    `--tls-cert=${path.join(data, 'first.crt')}`,
    `--tls-key=${path.join(data, 'first.key')}`
  ], {stdio: ['ignore', 'ignore', 'inherit', given._handle.fd]});
  t.after(() => child.kill('SIGKILL'));

  // Otherwise it would take connections as well.
  given.close();

  const line = '{"id":1,"method":"mining.subscribe","params":["test/1.0"]}';
  const {result} = await askOverTls(port, line);

  assert.match(result[1], /^01[0-9a-f]{6}$/);
});
