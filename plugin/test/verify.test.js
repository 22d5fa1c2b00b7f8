'use strict';

/*
 * `hstratum verify` and the API's jobs, before real nodes: honest ones, and
 * ones that lie by somebody between them and the miner.
 */

const assert = require('assert');
const http = require('http');
const net = require('net');
const {test} = require('node:test');
const Block = require('hsd/lib/primitives/block');
const consensus = require('hsd/lib/protocol/consensus');
const {run} = require('./doctor');
const {ADDRESS, freePort, startNode} = require('./harness');
const {Miner} = require('./miner');
const {address} = require('./paying_blocks');
const {startProxy} = require('./proxy');
const {Spender} = require('./spender');

/** Blocks between halvings on regtest (hsd lib/protocol/networks.js). */
const HALVING = 2500;

/** What a transaction of the spender pays to the network. */
const TX_FEE = 100000;

const MINE = address(1);
const OTHER = address(2);
const FEE_ADDRESS = address(200);

const SOLO = ['--stratum-payout=solo', '--stratum-fee=1',
  `--stratum-fee-address=${FEE_ADDRESS}`];

const LIE = 'the job is not what the API says:';

function hns(units) {
  return (units / 1e6).toFixed(6);
}

/** {code, lines, stderr} of a check by this name. */

async function verify(ports, user, args = []) {
  const {code, stdout, stderr} = await run(['verify',
    `--url=stratum+tcp://127.0.0.1:${ports.stratum}`,
    `--api=http://127.0.0.1:${ports.dashboard}`,
    `--user=${user}`, '--watch=0', ...args]);

  return {code, lines: stdout.split('\n').slice(0, -1), stderr};
}

function last({lines}) {
  return lines[lines.length - 1];
}

/** Check that the verdict has the one fault, and give it. */

function fault(result) {
  assert.strictEqual(result.code, 1, JSON.stringify(result));

  const at = result.lines.indexOf(LIE);

  assert.ok(at >= 0, JSON.stringify(result));

  const isUnknown = last(result).startsWith('whom its block pays');

  assert.strictEqual(result.lines.length, at + 2 + Number(isUnknown),
    JSON.stringify(result));
  return result.lines[at + 1].trim();
}

async function api(port, what) {
  const res = await fetch(`http://127.0.0.1:${port}/api/v1/${what}`);
  return {status: res.status, json: await res.json()};
}

/** An API between, which changes what jobs look like. Gives its port. */

async function lyingApi(t, node, change) {
  const server = http.createServer(async (req, res) => {
    const url = `http://127.0.0.1:${node.ports.dashboard}${req.url}`;
    const answer = await fetch(url);
    const json = await answer.json();
    const changed = answer.status === 200 ? await change(json) : json;

    res.writeHead(answer.status, {'Content-Type': 'application/json'});
    res.end(JSON.stringify(changed));
  });

  const port = await freePort();

  await new Promise(resolve => server.listen(port, '127.0.0.1', resolve));
  t.after(() => server.close());
  return port;
}

/** A server that treats its connections so. Gives its port. */

async function lyingServer(t, treat) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    treat(socket);
  });
  const port = await freePort();

  await new Promise(resolve => server.listen(port, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets)
      socket.destroy();
  });
  return port;
}

/** A port between, which changes each job on its way. Gives its port. */

function lyingPort(t, node, change) {
  return lyingServer(t, (miner) => {
    const pool = net.connect(node.minersPort, '127.0.0.1');
    let rest = '';

    pool.on('error', () => {});
    miner.pipe(pool);
    miner.on('close', () => pool.destroy());
    pool.on('close', () => miner.destroy());
    pool.setEncoding('utf8');
    pool.on('data', (text) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop();

      for (const line of parts) {
        const message = JSON.parse(line);

        if (message.method === 'mining.notify')
          change(message.params);

        miner.write(`${JSON.stringify(message)}\n`);
      }
    });
  });
}

/** The coinbase of the miner's newest job by the API, and that of its block. */

async function coinbases(node, miner, user, query = '') {
  const tip = await node.tip();
  const job = await miner.waitJob((job) => {
    return job.prevBlock.toString('hex') === tip;
  });
  const {json} = await api(node.ports.dashboard, `jobs/${job.id}${query}`);
  const {error, hash} = await miner.submit(user, miner.solve(job));

  assert.strictEqual(error, null, JSON.stringify(error));
  await node.waitTip(hash);

  const raw = await node.rpc('getblock', [hash, false]);
  const block = Block.decode(Buffer.from(raw, 'hex'));

  return [json.coinbase, block.txs[0].toHex()];
}

test('a job is shown as it becomes a block', async (t) => {
  const port = await freePort();
  const node = await startNode(t, {listen: true, args: [
    `--stratum-listen=tcp://127.0.0.1:${port}?payout=solo`
  ]});
  const door = {minersPort: port, waitFor: node.waitFor.bind(node)};
  const pool = await Miner.start(t, node, 'alice');
  const solo = await Miner.start(t, door, MINE);

  // The first job is of one connection, the second of all.
  for (let i = 0; i < 2; i++) {
    for (const [miner, user, query] of [
      [pool, 'alice', ''],
      [solo, MINE, `?payee=${MINE}`]
    ]) {
      const [shown, found] = await coinbases(node, miner, user, query);
      assert.strictEqual(shown, found);
    }
  }
});

test('the operator is named where the operator is paid', async (t) => {
  const node = await startNode(t);
  const reward = hns(consensus.getReward(1, HALVING));

  for (const ports of [node.ports, {
    stratum: (await startProxy(t, [node])).minersPort,
    dashboard: node.ports.dashboard
  }]) {
    const alice = await verify(ports, 'alice');

    assert.strictEqual(alice.code, 1, alice.stderr);
    assert.strictEqual(last(alice), 'the job is what the API says; it pays '
      + `the operator ${ADDRESS}, who owes alice its part`);
    assert.ok(alice.lines.includes(`  ${reward}  ${ADDRESS}  -`),
      alice.lines.join('\n'));

    const operator = await verify(ports, 'alice', [`--address=${ADDRESS}`]);

    assert.strictEqual(operator.code, 0, operator.lines.join('\n'));
    assert.strictEqual(last(operator),
      `the job is what the API says, and pays alice ${reward} of ${reward} HNS `
        + '(100.00 %)');
  }
});

test('a finder sees its part of a block with transactions', async (t) => {
  const spender = new Spender();
  const node = await startNode(t, {
    address: spender.address,
    args: [...SOLO, '--stratum-refresh=1']
  });

  await spender.prepare(node, 5);

  const miner = await Miner.start(t, node, MINE);

  for (const txs of [0, 1]) {
    if (txs > 0) {
      const {merkleRoot} = miner.job;
      await spender.spend(node);
      await miner.waitJob(job => !job.merkleRoot.equals(merkleRoot));
    }

    const height = await node.height() + 1;
    const whole = consensus.getReward(height, HALVING) + txs * TX_FEE;
    const fee = Math.floor(whole / 100);
    const result = await verify(node.ports, `${MINE}.rig`);

    assert.strictEqual(result.code, 0, result.lines.join('\n'));
    assert.strictEqual(result.lines[2], `height          ${height}`);
    assert.deepStrictEqual(result.lines.slice(3), [
      'pays',
      `  ${'HNS'.padStart(hns(whole).length)}  ${'address'.padEnd(42)}  for`,
      `  ${hns(whole - fee)}  ${MINE}  you`,
      `  ${hns(fee).padStart(hns(whole).length)}  ${FEE_ADDRESS}  -`,
      '',
      'the job is what the API says, and pays '
        + `${MINE}.rig ${hns(whole - fee)} of ${hns(whole)} HNS (99.00 %)`
    ]);

    // What is no address of one's own is not one's own.
    const stranger = await verify(node.ports, MINE, [`--address=${OTHER}`]);

    assert.strictEqual(stranger.code, 1);
    assert.strictEqual(last(stranger),
      `the job is what the API says, and pays ${MINE} nothing`);
  }

  // An account with an address beside its name.
  await node.rpc('setstratumaddress', ['alice', OTHER]);
  await node.waitFor('the address to count', async () => {
    return (await verify(node.ports, 'alice', [`--payee=${OTHER}`])).code === 0;
  });

  const {code, stderr} = await verify(node.ports, 'alice');

  assert.strictEqual(code, 2);
  assert.match(stderr, /payee: blocks pay their finder here/);
});

test('an API that lies is found out, and the lie is named', async (t) => {
  const node = await startNode(t, {args: SOLO});
  const whole = consensus.getReward(1, HALVING);
  const own = whole - Math.floor(whole / 100);
  const old = await Miner.start(t, node, MINE);
  const {json: older}
    = await api(node.ports.dashboard, `jobs/${old.job.id}?payee=${MINE}`);

  async function lie(change) {
    const dashboard = await lyingApi(t, node, change);
    return verify({...node.ports, dashboard}, MINE);
  }

  assert.strictEqual((await lie(job => job)).code, 0);

  // Another address, as if the operator were paid less openly.
  assert.strictEqual(fault(await lie((job) => {
    job.outputs[1].address = OTHER;
    return job;
  })), `output 2: the API says that it pays "${OTHER}", the coinbase pays `
    + FEE_ADDRESS);

  assert.strictEqual(fault(await lie((job) => {
    job.outputs[0].value /= 2;
    return job;
  })), `output 1: the API says ${hns(own / 2)} HNS, the coinbase has `
    + `${hns(own)} HNS`);

  // Another's job, told by its id and not.
  assert.strictEqual(fault(await lie((job) => {
    return {...job, id: older.id};
  })), `the API answers about another job: "${older.id}"`);

  const swapped = await lie(job => ({...older, id: job.id}));

  assert.strictEqual(swapped.code, 1);
  // Where the template is another since, the merkle root is another as well.
  assert.match(swapped.lines.at(-2),
    /^ {2}witness root: the API's coinbase and branch give \w{64}, the job has/);

  // What miners of another payee have: every root differs.
  const other = await lie(async (job) => {
    return (await api(node.ports.dashboard,
      `jobs/${job.id}?payee=${OTHER}`)).json;
  });

  assert.strictEqual(other.code, 1);
  assert.deepStrictEqual(other.lines.slice(3).map(line => line.split(':')[0]),
    ['  merkle root', '  witness root', 'whom its block pays cannot be known']);

  // An address that is in the list alone, while the coinbase pays another.
  const promised = await lie(async (job) => {
    const {json} = await api(node.ports.dashboard,
      `jobs/${job.id}?payee=${OTHER}`);
    return {...json, outputs: job.outputs};
  });

  assert.strictEqual(promised.code, 1);
  assert.ok(promised.lines.includes(
    `  output 1: the API says that it pays "${MINE}", the coinbase pays ${OTHER}`),
  promised.lines.join('\n'));

  const unknown = await lie(() => ({}));

  assert.strictEqual(unknown.code, 2);
  assert.match(unknown.stderr, /the answer is no job/);
});

test('a job that is not the one shown is found out', async (t) => {
  const node = await startNode(t, {args: SOLO});
  const wrong = 'ff'.repeat(32);

  for (const [at, name] of [
    [1, 'previous block'],
    [2, 'merkle root'],
    [3, 'witness root'],
    [4, 'tree root'],
    [5, 'reserved root']
  ]) {
    const stratum = await lyingPort(t, node, (params) => {
      params[at] = wrong;
    });
    const said = fault(await verify({...node.ports, stratum}, MINE));

    assert.ok(said.startsWith(`${name}: the API`), said);
    assert.ok(said.endsWith(`the job has ${wrong}`), said);
  }

  // A job that the API does not have.
  const stratum = await lyingPort(t, node, (params) => {
    params[0] = `${params[0]}0`;
  });

  assert.strictEqual(fault(await verify({...node.ports, stratum}, MINE)),
    'the API does not know the job: "no such job, or it is too old"');
});

test('what cannot be checked ends with 2', async (t) => {
  const node = await startNode(t, {args: ['--stratum-auth=users']});
  const nowhere = await freePort();

  for (const [ports, args, text] of [
    [{...node.ports, stratum: nowhere}, [], /failed to connect to 127\.0\.0\.1/],
    [node.ports, [], /failed to authorize: 24 /],
    [node.ports, ['--payee=alice'], /expected a Handshake address/]
  ]) {
    const {code, stderr} = await verify(ports, 'alice', args);

    assert.strictEqual(code, 2, stderr);
    assert.match(stderr, text);
  }

  await node.rpc('addstratumuser', ['alice', 'secret']);

  // Servers that take connections and say nothing, on either side.
  const silent = await lyingServer(t, () => {});

  for (const [{code, stderr}, text] of await Promise.all([
    verify({...node.ports, stratum: silent}, 'alice'),
    verify({...node.ports, dashboard: silent}, 'alice', ['--password=secret'])
  ]).then(([stratum, dashboard]) => [
    [stratum, /gave no job within 10 s/],
    [dashboard, /failed to get .*: timeout: global/]
  ])) {
    assert.strictEqual(code, 2, stderr);
    assert.match(stderr, text);
  }

  const {code, stderr} = await verify({...node.ports, dashboard: nowhere},
    'alice', ['--password=secret']);

  assert.strictEqual(code, 2);
  assert.match(stderr, /failed to get http:\/\/127\.0\.0\.1:\d+\/api\/v1\/jobs/);
});
