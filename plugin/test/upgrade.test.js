'use strict';

/*
 * Upgrade and downgrade: this version goes on with what each release has left
 * behind, and a ledger of a newer version, a file or a shared one, is refused,
 * unchanged, by the node and by every command, until the copy from before the
 * upgrade is put back as docs/ledger.md says.
 */

const assert = require('assert');
const {execFile} = require('child_process');
const fs = require('fs');
const net = require('net');
const path = require('path');
const {test} = require('node:test');
const {promisify} = require('util');
const {Client} = require('./client');
const {bareLines, runNode, startNode, tempDir} = require('./harness');
const {Miner} = require('./miner');
const {Postgres} = require('./postgres');
const {BANNED, DIFFICULTY, PASSWORDS, figures, putBack, run, versions}
  = require('./releases');
const {version: THIS} = require('../package.json');

/** Another address of this machine. */
const NOT_BANNED = '127.0.0.10';

/** Offset and bytes of a ledger's version in its file, big-endian. */
const VERSION_AT = 60;

/** What each command needs beside the ledger. */
const COMMANDS = {
  ledger: {
    address: ['alice', '--clear'],
    audit: [],
    backup: ['--to', 'copy.db'],
    check: [],
    dump: ['1', '--dir', '.'],
    import: ['none.json'],
    prune: [],
    report: [],
    threshold: ['alice', '--clear']
  },
  payout: {
    pause: [],
    plan: [],
    resume: [],
    send: ['--wallet', 'primary'],
    status: []
  }
};

for (const version of versions()) {
  test(`all that ${version} left behind is there`, async (t) => {
    const prefix = tempDir(t);
    const expected = putBack(version, prefix);
    const node = await startNode(t, {prefix, plugin: false});

    for (const block of expected.chain)
      assert.strictEqual(await node.rpc('submitblock', [block]), null);

    await node.restart({plugin: true});
    await seeBlockTaken(node, expected);
    await seeUsers(node, expected);
    await seeBan(node);
    await seeMoney(expected);
    await seeCreditOnTop(t, node, expected);
    await check(expected);
  });
}

/** The block that was found and not answered is in the chain. */

async function seeBlockTaken(node, {spooled, round, spool, shares}) {
  await node.waitTip(spooled);
  await node.waitFor('an empty spool', () => {
    return !fs.existsSync(path.join(spool, `${spooled}.block`));
  });
  assert.deepStrictEqual(await sharesOf(node, shares, spooled), round);
}

async function seeUsers(node, {key}) {
  await Client.signIn(node, 'alice', PASSWORDS.alice);
  await Client.withKey(node, key).expect(200, 'GET', 'accounts/alice');

  const nobody = new Client(node, {});

  for (const [name, password] of [['carol', PASSWORDS.carol],
    ['alice', PASSWORDS.bob]])
    await nobody.expect(401, 'POST', 'session', {name, password});
}

async function seeBan(node) {
  assert.strictEqual(await isServed(node, NOT_BANNED), true);
  assert.strictEqual(await isServed(node, BANNED), false);
}

/** True if whoever connects from that address is answered. */

function isServed(node, localAddress) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({host: '127.0.0.1', port: node.minersPort,
      localAddress});

    socket.setTimeout(10000, () => reject(new Error('no answer')));
    socket.once('data', () => resolve(true));
    socket.once('error', error => error.code === 'ECONNRESET'
      ? resolve(false) : reject(error));
    socket.once('close', () => resolve(false));
    socket.write('{"id":1,"method":"mining.subscribe","params":[]}\n');
    socket.on('data', () => socket.destroy());
  });
}

async function seeMoney({ledger, shares, ...expected}) {
  const {accounts, blocks, pool, audit} = await figures(ledger);

  assert.deepStrictEqual(accounts, expected.accounts);
  assert.deepStrictEqual(blocks, expected.blocks);
  assert.strictEqual(pool, expected.pool);
  // Whoever has signed in since is there as well.
  assert.deepStrictEqual(audit.slice(-expected.audit.length), expected.audit);
}

/**
 * Old credit is divided with the block in whose round it is, and new credit
 * with the next.
 */

async function seeCreditOnTop(t, node, expected) {
  const {ledger, shares, spooled, round} = expected;
  const miner = await Miner.start(t, node, 'bob.rig', PASSWORDS.bob);
  let hash = null;

  await miner.waitJob(job => job.prevBlock.toString('hex') === spooled);

  for (const share of [miner.miss(), miner.solve()]) {
    const reply = await miner.submit('bob.rig', share);

    assert.strictEqual(reply.error, null);
    hash = reply.hash;
  }

  await node.waitTip(hash);

  assert.deepStrictEqual(await sharesOf(node, shares, hash), {bob: 2});
  await node.mine(2);

  const plan = await node.waitFor('both blocks to be due', async () => {
    const {stdout} = await run('payout', 'plan', '--json', '--ledger', ledger);
    const plan = JSON.parse(stdout);
    return plan.blocks.length === 2 && plan;
  });
  const [first, second] = [spooled, hash].map((hash) => {
    return 0.99 * plan.blocks.find(block => block.hash === hash).reward;
  });
  const credited = Object.fromEntries(plan.accounts
    .map(({account, credited}) => [account, credited]));
  const {alice, bob} = round;
  const part = Math.floor(first * alice / (alice + bob));

  assert.deepStrictEqual(credited,
    {alice: part, bob: first - part + second});
}

/** Number of shares of each account in a block's share dump. */

async function sharesOf(node, dir, hash) {
  const name = await node.waitFor(`the share dump of ${hash}`,
    () => fs.readdirSync(dir).find(name => name.endsWith(`-${hash}.json`)));
  const {shares} = JSON.parse(fs.readFileSync(path.join(dir, name)));

  return Object.fromEntries(Object.entries(shares).map(([account, work]) => {
    return [account, work / DIFFICULTY];
  }));
}

async function check({ledger, shares}) {
  const {code, stdout} = await run('ledger', 'check', '--ledger', ledger,
    '--shares', shares);

  assert.strictEqual(stdout, 'all is well\n');
  assert.strictEqual(code, 0);
}

test('a ledger of a newer version is refused by name, and left as it is',
  async (t) => {
    const {prefix, ledger, spool, spooled} = await putNewer(t);
    const before = fs.readFileSync(ledger);
    const version = before.readInt32BE(VERSION_AT);
    const refusal = new RegExp(`${ledger}.*install the newer hstratum again, `
      + `or put back a copy .* ledger-of-${THIS.replaceAll('.', '\\.')}\\.db `
      + `.*version ${version}, this program knows ${version - 1}`);
    const refused = (text, what) => {
      assert.match(text, refusal, what);
      assert.strictEqual(text.trim().split('\n').length, 1, text);
      assert.deepStrictEqual(fs.readFileSync(ledger), before, what);
    };

    await seeRefusals(ledger, refused);

    const {stdout} = await run('doctor', '--network', 'regtest', '--prefix',
      prefix);

    assert.match(stdout, refusal);

    const {code, output} = await runNode(t, {prefix});

    assert.strictEqual(code, 1);
    refused(bareLines(output).join('\n'), 'the node');
    assert.ok(fs.existsSync(path.join(spool, `${spooled}.block`)));
  });

/** All commands refuse that ledger; `refused` gets what each says, and its name. */

async function seeRefusals(ledger, refused) {
  for (const [group, commands] of Object.entries(COMMANDS)) {
    assert.deepStrictEqual(await subcommands(group), Object.keys(commands));

    for (const [name, args] of Object.entries(commands)) {
      const {code, stderr} = await run(group, name, '--ledger', ledger,
        ...args);

      assert.strictEqual(code, 1, name);
      await refused(stderr, name);
    }
  }
}

test('a shared ledger of a newer version is refused by name, and left as it is',
  async (t) => {
    const postgres = await Postgres.start(t);
    const args = [`--stratum-database=${postgres.url}`];
    const node = await startNode(t, {args});

    await node.signal('SIGTERM');

    const version = await postgres.ask('SELECT version FROM meta');
    const newer = Number(version) + 1;

    await postgres.ask(`UPDATE meta SET version = ${newer}`);

    const contents = async () => {
      return [await postgres.ask('SELECT meta::text FROM meta'),
        await postgres.ask('SELECT count(*) FROM pg_class')];
    };
    const before = await contents();
    const refusal = new RegExp(`shared ledger 127\\.0\\.0\\.1:${postgres.port}/pool`
      + '.*install the newer hstratum again, or restore a dump .*'
      + `version ${newer}, this program knows ${version}`);
    const refused = async (text, what) => {
      assert.match(text, what === 'backup' ? /copied by pg_dump/ : refusal, what);
      assert.strictEqual(text.trim().split('\n').length, 1, text);
      assert.deepStrictEqual(await contents(), before, what);
    };

    await seeRefusals(postgres.url, refused);

    const {code, output} = await runNode(t, {prefix: node.prefix, args});

    assert.strictEqual(code, 1);
    await refused(bareLines(output).join('\n'), 'the node');
  });

test('the copy from before an upgrade is put back as the page says',
  async (t) => {
    const {prefix, ...files} = await putNewer(t);

    await promisify(execFile)('sh', ['-ec', pageCommands(prefix)]);

    await startNode(t, {prefix});
    await check(files);
    await seeMoney(files);
    assert.ok(fs.existsSync(path.join(prefix, 'newer', 'ledger.db')));
  });

/**
 * The files of the last release, upgraded to this version, copied as the
 * installer does, and raised to the next version.
 */

async function putNewer(t) {
  const prefix = tempDir(t);
  const files = putBack(versions().at(-1), prefix);
  const {ledger} = files;
  const node = await startNode(t, {prefix});
  const {code, stderr} = await run('ledger', 'backup', '--ledger', ledger,
    '--to', path.join(node.stratumDir, `ledger-of-${THIS}.db`));

  assert.strictEqual(code, 0, stderr);
  await node.signal('SIGTERM');
  // Whoever closes the file last writes a log that a stop has left into it.
  await check(files);
  assert.ok(!fs.existsSync(`${ledger}-wal`));

  const bytes = fs.readFileSync(ledger);

  bytes.writeInt32BE(bytes.readInt32BE(VERSION_AT) + 1, VERSION_AT);
  fs.writeFileSync(ledger, bytes);
  return {...files, prefix};
}

/** Names of a command's subcommands, as its help has them. */

async function subcommands(group) {
  const {stdout} = await run(group, '--help');
  const [, list] = /Commands:\n((?: {2}.*\n)+)/.exec(stdout);

  return list.match(/^ {2}\w+/gm).map(name => name.trim())
    .filter(name => name !== 'help').sort();
}

/** Commands of the page for the ledger of that prefix, without the system's. */

function pageCommands(prefix) {
  const page = fs.readFileSync(
    path.join(__dirname, '..', '..', 'docs', 'ledger.md'), 'utf8');
  const [, block] = /### Back to an older release[^]*?```sh\n([^]*?)```/
    .exec(page);

  return block.split('\n').filter(line => line.includes('/var/lib/hsd'))
    .join('\n').replaceAll('/var/lib/hsd/stratum', `${prefix}/regtest/stratum`)
    .replaceAll('/var/lib/hsd', prefix).replace('-o hsd -g hsd ', '')
    .replaceAll('0.1.0', THIS);
}
