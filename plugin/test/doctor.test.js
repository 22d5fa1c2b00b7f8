'use strict';

/*
 * `hstratum doctor` on correct set-ups and on broken ones.
 */

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const path = require('path');
const {test} = require('node:test');
const {examine, run} = require('./doctor');
const {freePort, makeNode, startNode} = require('./harness');

const API_KEY = 'test';

/**
 * Write options, which the harness gives hsd as flags, to files for doctor.
 */

function configure(node, {hsd = '', stratum = '', page = 0} = {}) {
  const write = (name, text) => {
    fs.writeFileSync(path.join(node.dir, name), text, {mode: 0o600});
  };

  fs.mkdirSync(node.dir, {recursive: true});
  write('hsd.conf', `api-key: ${API_KEY}\nhttp-host: 127.0.0.1\n`
    + `http-port: ${node.ports.http}\n${hsd}`);
  write('stratum.conf', `host: 127.0.0.1\nport: ${node.ports.stratum}\n`
    + `http-port: ${page || node.ports.dashboard}\n${stratum}`);
}

/** Exactly one problem, with this text and this advice. */

function assertProblem({code, findings}, text, advice) {
  const problems = findings.filter(found => found.severity === 'problem');
  const shown = JSON.stringify(findings, null, 2);

  assert.strictEqual(problems.length, 1, shown);
  assert.match(problems[0].text, text, shown);
  assert.match(problems[0].advice, advice, shown);
  assert.strictEqual(code, 1);
}

async function prepare(t, options = {}, files = {}) {
  const node = makeNode(t, options);

  await node.choosePorts();
  configure(node, files);

  return node;
}

async function start(t, options = {}, files = {}) {
  const node = await prepare(t, options, files);

  await node.spawn();
  await node.ready();

  return node;
}

// Before there is a job the page answers, with 503.
async function haveJob(node) {
  if (node.ports.dashboard === 0)
    return;

  await node.waitFor('a job', async () => {
    const url = `http://127.0.0.1:${node.ports.dashboard}/healthz`;
    return (await fetch(url)).ok;
  });
}

test('a healthy set-up: both miners get work and mine a block', async (t) => {
  const node = await start(t);

  await haveJob(node);

  // Nothing is left behind unless that is asked for.
  const look = await examine(node);

  assert.deepStrictEqual([look.code, look.problems, look.warnings], [0, 0, 0],
    JSON.stringify(look.findings, null, 2));
  assert.strictEqual(await node.height(), 0);
  assert.match(look.findings.at(-1).text, /a job of difficulty [^,]*$/);
  assert.doesNotMatch((await run(['ledger', 'report',
    `--ledger=${node.stratumDir}/ledger.db`])).stdout, /doctor/);

  const {code, findings, problems, warnings} = await examine(node,
    ['--mine', '--user=alice']);
  const shown = JSON.stringify(findings, null, 2);

  assert.deepStrictEqual([code, problems, warnings], [0, 0, 0], shown);

  const page = findings.find(({part}) => part === 'dashboard');

  assert.match(page.text, node.ports.dashboard === 0
    ? /there is none: http-port is 0/ : /answers$/, shown);

  for (const miner of ['Goldshell HS1', 'HandyMiner']) {
    const found = findings.find(found => found.text.includes(miner));

    assert.match(found.text, /a job of difficulty .* a share accepted/, shown);
  }

  assert.ok(findings.some(found => /blocks pay rs1/.test(found.text)), shown);
  assert.ok(findings.some(found => /ledger\.db: .*no errors/.test(found.text)),
    shown);
  await node.waitFor('a block', async () => await node.height() > 0);
});

test('from elsewhere, only the port is looked at', async (t) => {
  const node = await startNode(t);
  const url = `stratum+tcp://127.0.0.1:${node.ports.stratum}`;
  const {code, stdout} = await run(['doctor', '--network=regtest',
    `--url=${url}`]);

  assert.strictEqual(code, 0, stdout);
  assert.match(stdout, /^miners\n {2}ok {6}as a Goldshell HS1: /);
  assert.match(stdout, /\n\nall is well\n$/);
});

test('a solo listener: its miners have addresses', async (t) => {
  const node = await start(t, {args: ['--stratum-payout=solo',
    '--stratum-fee=1']}, {stratum: 'payout: solo\nfee: 1\n'});

  await haveJob(node);

  const {code, findings, problems, warnings} = await examine(node);
  const shown = JSON.stringify(findings, null, 2);

  assert.deepStrictEqual([code, problems, warnings], [0, 0, 0], shown);
  assert.match(findings.at(-1).text, /a job of difficulty/, shown);
  assert.ok(findings.some(({text}) => text === 'blocks of tcp://127.0.0.1:'
    + `${node.ports.stratum} pay their finder, less 1 %, which goes to the `
    + 'address of the node\'s blocks'), shown);
});

test('fee-address: of this network, used, and given where needed',
  async (t) => {
    const address = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u';
    const of = async (stratum, hsd = '') => {
      const {findings} = await examine(await prepare(t, {}, {stratum, hsd}));
      return findings.filter(({text}) => /fee|finder/.test(text))
        .map(({severity, text}) => `${severity} ${text}`);
    };
    const solo = 'payout: solo\nfee: 1\n';
    const wrong = 'hs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpze958w';

    for (const [stratum, hsd, expected] of [
      ['fee: 1\n', '', []],
      [solo, '', [/^ok blocks of tcp.* less 1 %, .*of the node's blocks$/,
        /^warning the fee of solo blocks has no address: neither /]],
      [solo, `coinbase-address: ${address}\n`, [/^ok blocks of tcp/]],
      [`${solo}fee-address: ${address}\n`, '',
        [new RegExp(`^ok blocks of tcp.* less 1 %, which goes to ${address}$`)]],
      [`${solo}fee-address: ${wrong}\n`, '', [/^problem fee-address: .*of main/]],
      [`fee: 1\nfee-address: ${address}\n`, '',
        [/^warning fee-address is not used: no listener pays finders$/]],
      [`payout: solo\nfee-address: ${address}\n`, '',
        [/^warning fee-address is not used: fee is 0$/,
          /^ok blocks of tcp.* pay their finder, without a fee$/]],
      [`listen: tcp://127.0.0.1:3999?payout=solo\nfee: 1\n`, '',
        [/^ok blocks of tcp:\/\/127\.0\.0\.1:3999 pay their finder, less/,
          /^warning the fee of solo blocks has no address/]]
    ]) {
      const found = await of(stratum, hsd);

      assert.strictEqual(found.length, expected.length, found.join('\n'));
      expected.forEach((pattern, place) => {
        assert.match(found[place], pattern);
      });
    }
  });

test('accounts: unknown ones are a warning, known ones get work', async (t) => {
  const node = await start(t, {}, {stratum: 'password: secret\n'});

  await haveJob(node);

  const before = await examine(node);

  assert.deepStrictEqual([before.code, before.problems, before.warnings],
    [0, 0, 2], JSON.stringify(before.findings, null, 2));
  assert.match(before.findings.at(-1).advice, /--user/);

  const after = await examine(node, ['--user=admin'],
    {HSTRATUM_PASSWORD: 'secret'});

  assert.strictEqual(after.warnings, 0,
    JSON.stringify(after.findings, null, 2));

  const wrong = await examine(node, ['--user=admin'],
    {HSTRATUM_PASSWORD: 'wrong'});

  assert.strictEqual(wrong.problems, 2);
  assert.match(wrong.findings.at(-1).text, /"admin" is refused/);
});

test('a node that is stopped', async (t) => {
  const node = await prepare(t);
  const found = await examine(node);

  assertProblem(found, /^no node runs/, /start hsd/);
  assert.match(found.findings.at(-1).text, /is free for hstratum/);
});

test('a stopped node whose port another program has', async (t) => {
  const node = await prepare(t);
  const other = net.createServer(socket => socket.destroy());

  t.after(() => other.close());
  await new Promise((resolve) => {
    other.listen(node.ports.stratum, '127.0.0.1', resolve);
  });

  const {problems, findings} = await examine(node);

  assert.strictEqual(problems, 2, JSON.stringify(findings, null, 2));
  assert.match(findings.at(-1).text, /is in use/);
  assert.match(findings.at(-1).advice, /ss -ltnp/);
});

test('a stopped node whose http-port another program has', async (t) => {
  const node = await prepare(t);
  const other = net.createServer(socket => socket.destroy());

  t.after(() => other.close());
  await new Promise(resolve => other.listen(0, '127.0.0.1', resolve));
  configure(node, {page: other.address().port});

  const {findings} = await examine(node);
  const found = findings.find(({part}) => part === 'dashboard');

  assert.strictEqual(found.severity, 'problem');
  assert.match(found.text, /cannot be listened on/);
  assert.match(found.advice, /http-port/);
});

test('a node without hstratum in it', async (t) => {
  const node = await start(t, {plugin: false});

  assertProblem(await examine(node), /hstratum is not in this node/,
    /--plugins hstratum/);
});

test('a node that would pay nobody', async (t) => {
  const node = await start(t, {address: null});

  // Until miners are sent away they are let in, and wait.
  const {code, findings} = await examine(node);
  const problems = findings.filter(found => found.severity === 'problem');
  const shown = JSON.stringify(findings, null, 2);

  assert.strictEqual(code, 1);
  assert.strictEqual(problems.length, 2, shown);
  assert.match(problems[0].text, /pay nobody/, shown);
  assert.match(problems[0].advice, /--coinbase-address/, shown);
  assert.match(problems[1].text, /no job|takes no connections/, shown);
});

test('a node that wants another API key', async (t) => {
  const node = await start(t);
  const found = await examine(node, [], {HSTRATUM_NODE_API_KEY: 'wrong'});

  assertProblem(found, /refuses the API key/, /HSTRATUM_NODE_API_KEY/);
});

test('a misspelt option', async (t) => {
  const node = await prepare(t, {}, {stratum: 'max-inbond: 5\n'});
  const {code, findings} = await examine(node);

  assert.strictEqual(code, 1);
  assert.match(findings[0].text, /^max-inbond .*did you mean max-inbound/);
  assert.match(findings[0].advice, /stratum\.conf/);
});

test('a damaged ledger, users.json and an address of another network',
  async (t) => {
    const node = await prepare(t, {}, {
      hsd: 'coinbase-address: hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy\n'
    });

    fs.mkdirSync(node.stratumDir, {recursive: true});
    fs.writeFileSync(path.join(node.stratumDir, 'ledger.db'), 'no ledger');
    fs.writeFileSync(path.join(node.stratumDir, 'users.json'), '{}\n',
      {mode: 0o644});

    const {findings} = await examine(node);
    const problems = findings.filter(found => found.severity === 'problem')
      .map(found => found.text);

    assert.strictEqual(problems.length, 4, problems.join('\n'));
    assert.match(problems[0], /users\.json: line 1/);
    assert.match(problems[1], /ledger\.db/);
    assert.match(problems[2], /no node runs/);
    assert.match(problems[3], /not a payable regtest address/);
    assert.ok(findings.some((found) => {
      return found.severity === 'warning' && /chmod 600/.test(found.advice);
    }));
  });

test('a server that is not there, and one that speaks no stratum',
  async (t) => {
    const port = await freePort();
    const url = `--url=stratum+tcp://127.0.0.1:${port}`;
    const closed = await run(['doctor', url]);

    assert.strictEqual(closed.code, 1);
    assert.match(closed.stdout, /takes no connections/);

    const other = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end('220 mail.example.com ESMTP\r\n');
    });

    t.after(() => other.close());
    await new Promise(resolve => other.listen(port, '127.0.0.1', resolve));

    const mail = await run(['doctor', url]);

    assert.strictEqual(mail.code, 1);
    assert.match(mail.stdout, /expected a line of stratum, found "220 mail/);
  });

test('a node that was given flags tells what is in force', async (t) => {
  const node = await startNode(t);

  await haveJob(node);

  const {code, findings, problems, warnings} = await examine(node,
    [`--node-url=http://127.0.0.1:${node.ports.http}`],
    {HSTRATUM_NODE_API_KEY: API_KEY});
  const shown = JSON.stringify(findings, null, 2);
  const of = part => findings.filter(found => found.part === part)
    .map(found => found.text).join('\n');

  assert.deepStrictEqual([code, problems, warnings], [0, 0, 0], shown);
  assert.match(of('configuration'), new RegExp(
    `the node listens on tcp://127\\.0\\.0\\.1:${node.ports.stratum}`), shown);
  assert.doesNotMatch(of('configuration'), /3008|unless/, shown);
  assert.match(of('dashboard'), node.ports.dashboard === 0
    ? /there is none/ : /answers$/, shown);
  assert.match(of('miners'), /as a HandyMiner: a job of difficulty/, shown);
});

test('what cannot be known of a stopped node is said so', async (t) => {
  const node = await prepare(t);
  const {findings} = await examine(node);
  const told = findings.filter(found => found.part === 'configuration');

  assert.match(told[0].text, /unless flags given to hsd.* say otherwise/);
  assert.match(told[1].text, /anybody may mine.*unless flags/);
});

/** A server that calls each share stale, or the first `count`. */

async function staleServer(t, count) {
  const zeros = '00'.repeat(32);
  let jobs = 0;
  let stale = 0;
  const server = net.createServer((socket) => {
    const say = what => socket.write(`${JSON.stringify(what)}\n`);
    const notify = () => say({id: null, method: 'mining.notify', params: [
      `job${jobs++}`, zeros, zeros, zeros, zeros, zeros, '00000000',
      '207fffff', '65000000'
    ]});

    let rest = '';

    socket.on('error', () => {});
    socket.on('data', (data) => {
      const lines = (rest + data).split('\n');

      rest = lines.pop();

      for (const line of lines) {
        const {id, method} = JSON.parse(line);

        switch (method) {
          case 'mining.subscribe':
            say({id, result: [[['mining.notify', '00000001'],
              ['mining.set_difficulty', '00000001']], '00000001', 4],
            error: null});
            break;
          case 'mining.authorize':
            say({id, result: true, error: null});
            say({id: null, method: 'mining.set_difficulty', params: [1e-9]});
            notify();
            break;
          case 'mining.submit':
            if (stale++ < count) {
              say({id, result: null, error: [21, 'stale-prevblk', false]});
              notify();
            } else {
              say({id, result: true, error: null});
            }
            break;
          default:
            say({id, result: null, error: [0, 'unknown method', false]});
        }
      }
    });
  });

  t.after(() => server.close());
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));

  return `--url=stratum+tcp://127.0.0.1:${server.address().port}`;
}

test('a share that the tip has overtaken is no problem of the port',
  async (t) => {
    const once = await run(['doctor', '--network=regtest', '--mine',
      '--user=alice', await staleServer(t, 1)]);

    assert.strictEqual(once.code, 0, once.stdout);
    assert.match(once.stdout, /a share accepted/);

    const always = await run(['doctor', '--network=regtest', '--mine',
      '--user=alice', await staleServer(t, Infinity)]);

    assert.strictEqual(always.code, 0, always.stdout);
    assert.match(always.stdout, /warning .*each share was stale/);
  });

test('a directory of another network is found', async (t) => {
  const node = await startNode(t);
  const {stdout} = await run(['doctor', `--prefix=${node.prefix}`,
    `--node-url=http://127.0.0.1:${node.ports.none}`]);

  assert.match(stdout, /did you mean --network regtest\?/);
});

test('a port that speaks TLS is tried with TLS', async (t) => {
  const tls = path.join(__dirname, '..', '..', 'crates', 'server', 'tests',
    'tls');
  const port = await freePort();
  const node = await startNode(t, {args: [
    `--stratum-listen=tls://127.0.0.1:${port}`,
    `--stratum-tls-cert=${path.join(tls, 'first.crt')}`,
    `--stratum-tls-key=${path.join(tls, 'first.key')}`
  ]});

  await haveJob(node);

  const url = `--url=stratum+tls://127.0.0.1:${port}`;
  const found = await run(['doctor', url]);

  assert.strictEqual(found.code, 0, found.stdout);
  assert.match(found.stdout, /as a HandyMiner: a job of difficulty/);

  const miner = await run(['mine', url, '--user=alice', '--threads=1',
    '--blocks=1']);

  assert.strictEqual(miner.code, 0, miner.stderr);
  assert.match(miner.stdout, /share accepted: a block/);

  // The plain port speaks no TLS, and doctor says so.
  const plain = `--url=stratum+tls://127.0.0.1:${node.ports.stratum}`;
  const wrong = await run(['doctor', plain]);

  assert.strictEqual(wrong.code, 1);
  assert.match(wrong.stdout, /no TLS there/);
});

test('a pool that is full is said to be', async (t) => {
  const node = await start(t, {}, {stratum: 'max-inbound: 1\n'});

  await haveJob(node);

  const socket = net.connect(node.ports.stratum, '127.0.0.1');

  t.after(() => socket.destroy());
  socket.on('error', () => {});
  await node.waitFor('its place', async () => {
    return (await node.rpc('getstratuminfo')).places.taken === 1;
  });

  const {findings} = await examine(node);

  assert.ok(findings.some(({text}) => /^the pool is full: 1 of 1/.test(text)),
    JSON.stringify(findings, null, 2));
});

test('extra nodes are named, and which of them is not connected', async (t) => {
  const near = await startNode(t, {plugin: false, listen: true});
  const here = `127.0.0.1:${near.ports.p2p}`;
  const away = `127.0.0.1:${near.ports.none}`;
  const node = await start(t, {},
    {stratum: `extra-nodes: ${here},${away}\n`});

  await haveJob(node);
  await node.waitLog(/extra node \S+ is connected/);
  await node.waitLog(/extra node \S+ is not connected/);

  const {code, findings, problems, warnings} = await examine(node);
  const shown = JSON.stringify(findings, null, 2);
  const said = text => findings.find(found => found.text.startsWith(text));

  assert.deepStrictEqual([code, problems, warnings], [0, 0, 1], shown);
  assert.strictEqual(said(`extra node ${here} is connected`).severity, 'ok');
  assert.match(said(`extra node ${away} is not connected: `).text,
    /ECONNREFUSED/);
});

test('a port that hangs is not taken for TLS, and TLS is', async (t) => {
  const says = async (bytes) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => bytes && socket.end(bytes));
    });

    t.after(() => server.close());
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));

    const {code, stdout} = await run(['doctor',
      `--url=stratum+tcp://127.0.0.1:${server.address().port}`]);

    assert.strictEqual(code, 1);
    return stdout;
  };

  const silent = await says(null);

  assert.match(silent, /does not reply/);
  assert.doesNotMatch(silent, /TLS/);
  // A TLS alert: unexpected message.
  assert.match(await says(Buffer.from([0x15, 3, 3, 0, 2, 2, 10])),
    /it speaks TLS/);
});
