'use strict';

/*
 * The HTTP API against its OpenAPI document, asked as each kind of user, in
 * each mode of the option `dashboard`; and that no user sees or changes what
 * is another's. schemathesis asks (scripts/conformance.sh), and looks for the
 * others' secrets in each answer (conformance_hooks.py); after each run what
 * the ledger and users.json have of the others must be as it was.
 */

const {execFileSync, spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const Address = require('hsd/lib/primitives/address');
const {startNode, waitFor} = require('../plugin/test/harness');
const {Miner} = require('../plugin/test/miner');
const {startMail} = require('../plugin/test/receivers');
const {exitWith, play, report} = require('./rig');

const SCRIPT = path.join(__dirname, '..', 'scripts', 'conformance.sh');
const HOOKS = path.join(__dirname, 'conformance_hooks.py');
const DEADLINE_MS = 20 * 60e3;

const TOKEN = 'conformance-token-of-the-operator-51c07be9';
const MODES = words(process.env.MODES, 'public private');
// In an order in which nobody has yet lost what the next one needs: bob may
// revoke his key, and the operator do anything to everybody.
const USERS = words(process.env.USERS, 'nobody key bob alice operator');

function words(text, fallback) {
  return (text || fallback).split(/[ ,]+/);
}

/** An address that nobody else has. */

function address(byte) {
  return Address.fromHash(Buffer.alloc(20, byte), 0).toString('regtest');
}

/** A miner, all of whose names and values are found nowhere else. */

class Owner {
  constructor(node, mail, name, number) {
    this.node = node;
    this.mail = mail;
    this.name = `${name}-the-account-${number}7c3e5`;
    this.worker = `${name}-the-worker-${number}d94b1`;
    this.password = `${name}-the-password-${number}e860f`;
    this.address = address(number + 0x60);
    this.nextAddress = address(number + 0x70);
    this.contact = `${name}-the-contact@example.com`;
    this.headers = null;      // of a session
    this.keys = [];           // {id, name, key}
  }

  async ask(method, path, body = undefined, headers = this.headers) {
    const url = `http://127.0.0.1:${this.node.ports.dashboard}/api/v1/${path}`;
    const res = await fetch(url, {
      method, body: body && JSON.stringify(body),
      headers: {'Content-Type': 'application/json', ...headers}
    });
    const text = await res.text();
    const answer = text === '' ? null : JSON.parse(text);

    if (!res.ok)
      throw new Error(`${method} ${path}: ${res.status} ${text}`);

    return {answer, headers: res.headers};
  }

  /** Sign in, from an address whose guesses are its own. */

  async signIn() {
    const from = {'X-Forwarded-Proto': 'https', 'X-Forwarded-For': '192.0.2.1'};
    const {name, password} = this;
    const {answer, headers} = await this.ask('POST', 'session',
      {name, password}, from);
    const [cookie] = headers.get('set-cookie').split(';');

    return {'Cookie': cookie, 'X-CSRF-Token': answer.csrf_token};
  }

  /** Mine a block, and have one of everything. */

  async settle(t) {
    const {node, mail, name, worker, password} = this;

    await node.rpc('addstratumuser', [name, password, this.address]);
    this.miner = await Miner.start(t, node, `${name}.${worker}`, password);
    await this.miner.submit(`${name}.${worker}`);
    this.headers = await this.signIn();
    await this.ask('PUT', 'me/threshold', {threshold: 3000000});
    await this.ask('PUT', 'me/address', {address: this.nextAddress, password});

    for (const may of ['settings', 'read']) {
      const body = {name: `${may}-of-${this.worker}`, may};
      this.keys.push((await this.ask('POST', 'me/keys', body)).answer);
    }

    const {answer} = await this.ask('POST', 'me/links',
      {name: `link-of-${this.worker}`});
    const way = 'me/alerts/contacts/mail';

    this.keys.push({...answer, key: answer.url.split('#view=')[1]});
    await this.ask('PUT', way, {to: this.contact});

    const [, code] = /Code: (\d{8})/.exec(mail.messages.pop().text);

    await this.ask('POST', way, {code});
  }

  /** What nobody else is told in any mode, not even the operator. */

  get secrets() {
    const session = Object.values(this.headers).map(v => v.split('=').pop());

    return [this.password, this.contact, ...session,
      ...this.keys.flatMap(({id, name, key}) => [id, name, key])];
  }
}

/** What a run is told of its user and of the others. */

function userOf(name, mode, {alice, bob}) {
  const bearer = token => ({Authorization: `Bearer ${token}`});
  const [own, headers] = {
    nobody: [null, {}],
    alice: [alice, alice.headers],
    bob: [bob, bob.headers],
    key: [bob, bearer(bob.keys[0].key)],
    operator: [null, bearer(TOKEN)]
  }[name];
  const all = [alice, bob];
  const others = all.filter(one => one !== own);
  const isOperator = name === 'operator';
  const secrets = others.flatMap(one => one.secrets);

  if (!isOperator)
    secrets.push(TOKEN, ...others.map(one => one.nextAddress));
  if (!isOperator && mode !== 'public')
    secrets.push(...others.flatMap(one => [one.name, one.address]));
  // Where names are hidden, whoever knows an account's sees its workers.
  if (!isOperator && mode === 'private')
    secrets.push(...others.map(one => one.worker));

  return {
    headers, secrets, isOperator,
    own: own && own.name,
    // Values that exist, by the names of parameters.
    examples: {
      name: all.map(one => one.name),
      account: all.map(one => one.name),
      search: all.map(one => one.name.slice(0, 9)),
      way: ['mail'],
      // Not the key by which is asked.
      keys: all.map(one => one.keys[1].id),
      links: all.map(one => one.keys[2].id)
    },
    // The same, by the names of bodies and their fields.
    bodies: {
      ChallengeBody: {address: address(0x51)},
      AddressBody: {address: address(0x52)},
      NewAddressByPassword: {address: address(0x53),
        password: own ? own.password : ''}
    }
  };
}

const READ = `
import json, sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)
rows = lambda sql: sorted(db.execute(sql).fetchall(), key=repr)
of = lambda columns, table: (f'SELECT owner, {columns} FROM {table} AS t JOIN '
  '(SELECT id AS owner_id, name AS owner FROM accounts) '
  'ON owner_id = t.account')
print(json.dumps({table: rows(sql) for table, sql in {
  'accounts': 'SELECT name, * FROM accounts',
  'credit': of('t.height, t.difficulty, t.count', 'credit'),
  'account_keys': of('t.digest, t.may, t.created_at', 'account_keys'),
  'contacts': of('t.way, t.target, t.ended_at', 'contacts'),
  'alert_settings': of('t.*', 'alert_settings'),
  'payouts': "SELECT '', paused_at FROM payouts",
  'terms': "SELECT '', * FROM terms"
}.items()}))
`;

/** What the server keeps, as rows that begin with their account or ''. */

function kept(node) {
  const file = path.join(node.stratumDir, 'ledger.db');
  const text = execFileSync('python3', ['-c', READ, file], {encoding: 'utf8'});
  const lines = (name) => {
    const file = path.join(node.stratumDir, name);
    const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';

    return text.split('\n').filter(line => line !== '');
  };

  return {
    ...JSON.parse(text),
    users: lines('users.json').map(line => [JSON.parse(line).username, line]),
    bans: lines('bans.json').map(line => ['', line])
  };
}

/** Rows that the user may not change: the operator may change any. */

function others(rows, user) {
  return rows.filter(([name]) => !user.isOperator && name !== user.own);
}

/** Start a node with two miners' work. */

async function startPool(cleanup, mode) {
  const mail = await startMail(cleanup);
  const node = await startNode(cleanup, {args: ['--stratum-auth=users',
    `--stratum-dashboard=${mode}`, `--stratum-http-token=${TOKEN}`,
    `--stratum-smtp=smtp://127.0.0.1:${mail.port}`,
    '--stratum-smtp-from=pool@example.com']});
  const alice = new Owner(node, mail, 'alice', 1);
  const bob = new Owner(node, mail, 'bob', 2);

  for (const owner of [alice, bob]) {
    await owner.settle(cleanup);
    await waitFor('the share in the ledger', async () => {
      const {answer} = await owner.ask('GET', `accounts/${owner.name}`);
      return answer.round_work > 0 || answer.blocks > 0;
    });
  }

  return {node, alice, bob};
}

/** Run schemathesis; gives {code, output}. */

function attack(pool, mode, name, user) {
  const {node} = pool;
  const file = path.join(node.prefix, `${name}.json`);

  fs.writeFileSync(file, JSON.stringify(user));

  // Signing out would end the run.
  const args = user.own && !user.isOperator
    ? ['--exclude-name', 'DELETE /api/v1/session'] : [];
  const child = spawn(SCRIPT, args, {
    env: {...process.env, URL: `http://127.0.0.1:${node.ports.dashboard}`,
      CONFORMANCE_USER: file, SCHEMATHESIS_HOOKS: HOOKS},
    stdio: ['ignore', 'pipe', 'inherit']
  });
  let output = '';

  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text) => {
    output += text;
  });

  return new Promise((resolve) => {
    child.on('close', code => resolve({code, output}));
  });
}

/** A user's run in a mode; gives its row of the report and its faults. */

async function run(pool, mode, name) {
  const user = userOf(name, mode, pool);
  const before = kept(pool.node);
  const began = Date.now();
  const {code, output} = await attack(pool, mode, name, user);
  const faults = [];
  const [count] = /\d+ generated[^\n]*/.exec(output) || ['?'];
  const seconds = Math.round((Date.now() - began) / 1000);

  if (code !== 0) {
    console.log(output);
    faults.push('schemathesis found something, see above');
  }

  const after = kept(pool.node);

  for (const table of Object.keys(before)) {
    const [was, is] = [before, after].map(all => JSON.stringify(
      others(all[table], user)));

    if (was !== is)
      faults.push(`${table} changed: ${was} → ${is}`);
  }

  // What the operator has done to them is right.
  for (const owner of user.isOperator ? [] : [pool.alice, pool.bob]) {
    await owner.ask('GET', 'me/keys').catch(e => faults.push(e.message));
    await owner.signIn().catch(e => faults.push(e.message));
  }

  return {row: [`${mode}, ${name}`, `${count} in ${seconds} s`],
    faults: faults.map(text => `${mode}, ${name}: ${text}`)};
}

/** All runs in a mode; gives their rows and faults. */

async function runMode(cleanup, mode) {
  const pool = await startPool(cleanup, mode);
  const done = [];

  for (const name of USERS)
    done.push(await run(pool, mode, name));

  return done;
}

async function main(cleanup) {
  const done = await Promise.all(MODES.map(mode => runMode(cleanup, mode)));
  const all = done.flat();

  return report(all.map(one => one.row), all.flatMap(one => one.faults));
}

exitWith(play(DEADLINE_MS, main));
