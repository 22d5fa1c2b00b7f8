'use strict';

/*
 * The files of packaging/ that run the image: for compose, umbrelOS and
 * StartOS. Their options are known, what they mount is there, their images are
 * pinned, and hsd starts with what they set.
 */

const assert = require('assert');
const {execFile} = require('child_process');
const fs = require('fs');
const http = require('http');
const path = require('path');
const {test} = require('node:test');
const {promisify} = require('util');
const {version} = require('../package.json');
const {ADDRESS, startNode, waitFor} = require('./harness');
const {Postgres} = require('./postgres');

const execute = promisify(execFile);

const ROOT = path.join(__dirname, '..', '..');
const PACKAGING = path.join(ROOT, 'packaging');
const IMAGE = 'ghcr.io/hstratum/hstratum';

const COMPOSE = ['compose/compose.yaml', 'compose/three-servers.yaml'];
const UMBREL = 'umbrel/docker-compose.yml';
const STARTOS = ['index.ts', 'main.ts', 'manifest/index.ts', 'versions/index.ts']
  .map(name => `startos/startos/${name}`);

function read(name) {
  return fs.readFileSync(path.join(PACKAGING, name), 'utf8');
}

/** The groups of a pattern in each of its places. */

function all(pattern, text) {
  return [...text.matchAll(pattern)].map(([, ...groups]) => groups);
}

test('each option that is set is one of the page of options', () => {
  const page = fs.readFileSync(path.join(ROOT, 'docs', 'options.md'), 'utf8');
  const [servers, proxys] = page.split('## Options of `hstratum proxy`');
  const known = text => new Set(all(/^\| `([a-z-]+)`/gm, text).flat());
  const files = [...COMPOSE, UMBREL, ...STARTOS];
  let count = 0;

  for (const [prefix, options] of [['HSD_STRATUM', known(servers)],
    ['HSTRATUM_PROXY', known(proxys)]]) {
    for (const name of files) {
      for (const [variable] of all(RegExp(`\\b${prefix}_([A-Z_]+)`, 'g'), read(name))) {
        const option = variable.toLowerCase().replaceAll('_', '-');

        assert.ok(options.has(option), `${name}: ${prefix}_${variable}`);
        count++;
      }
    }
  }

  assert.ok(count > 20, `${count} options`);
});

test('each file that is mounted is there, and each directory of umbrelOS\'s', () => {
  const mounted = COMPOSE.flatMap(name => all(/(\.{1,2}\/[^:' ]+):\//g, read(name)).flat());

  assert.ok(mounted.length >= 5, `${mounted}`);

  for (const name of mounted)
    assert.ok(fs.existsSync(path.join(PACKAGING, 'compose', name)), name);

  for (const [name] of all(/\$\{APP_DATA_DIR\}\/([^:]+):/g, read(UMBREL)))
    assert.ok(fs.existsSync(path.join(PACKAGING, 'umbrel', name, '.gitkeep')), name);
});

test('images are of one version each, ours of this one', () => {
  for (const name of [...COMPOSE, UMBREL, 'startos/startos/manifest/index.ts']) {
    const images = all(/(?:image|dockerTag): '?([a-z./-]+):([a-z0-9.-]+)/g, read(name));

    assert.ok(images.length > 0, name);

    for (const [image, tag] of images) {
      assert.match(tag, /\d+\.\d+/, `${name}: ${image}`);
      assert.ok(image !== IMAGE || tag === version, `${name}: ${image}:${tag}`);
    }
  }

  assert.match(read('umbrel/umbrel-app.yml'), RegExp(`^version: "${version}"$`, 'm'));
  assert.match(read('startos/startos/versions/index.ts'), RegExp(`version: '${version}:\\d+'`));
});

test('what has to be set has a place in the example, without a value, and says what to do', () => {
  const example = new Map(all(/^([A-Z_]+)=(.*)$/gm, read('compose/env.example')));

  for (const name of COMPOSE) {
    const text = read(name);

    for (const [variable, otherwise = ''] of all(/\$\{([A-Z_]+)(:[^}]*)?\}/g, text)) {
      assert.ok(example.has(variable), `${name}: ${variable}`);

      if (example.get(variable))
        assert.strictEqual(otherwise, `:-${example.get(variable)}`, variable);
      else
        assert.match(text, RegExp(`\\{${variable}:\\?set it in \\.env to `), `${name}: ${variable}`);
    }
  }
});

test('Prometheus asks services of its file, Grafana has the dashboard and the source of its files', () => {
  for (const [prometheus, compose] of [['compose/prometheus.yml', COMPOSE[0]],
    ['compose/prometheus.three-servers.yml', COMPOSE[1]]]) {
    const targets = all(/'([a-z]+):\d+'/g, read(prometheus)).flat();

    assert.ok(targets.length > 0);

    for (const service of targets) {
      assert.match(read(compose), RegExp(`^  ${service}:$`, 'm'), prometheus);
      assert.match(read(compose), RegExp(`HOST_NAMES: (.*, )?${service}$`, 'm'), prometheus);
    }
  }

  const [[dashboards]] = all(/path: (.*)/g, read('grafana/provisioning/dashboards/hstratum.yml'));
  const text = read(COMPOSE[0]);

  assert.ok(text.includes(`../grafana/hstratum.json:${dashboards}/hstratum.json:ro`));

  for (const name of ['datasources/prometheus.yml', 'dashboards/hstratum.yml'])
    assert.ok(text.includes(`../grafana/provisioning/${name}:/etc/grafana/provisioning/${name}:ro`));

  assert.match(text, /^  prometheus:$/m);
  assert.match(read('grafana/provisioning/datasources/prometheus.yml'), /http:\/\/prometheus:9090$/m);
});

test('umbrelOS finds the service that its proxy is to ask', () => {
  const manifest = read('umbrel/umbrel-app.yml');
  const compose = read(UMBREL);
  const [[id]] = all(/^id: ([a-z-]+)$/gm, manifest);
  const [[app, service]] = all(/APP_HOST: ([a-z-]+)_([a-z]+)_1$/gm, compose);

  assert.strictEqual(app, id);
  assert.match(compose, RegExp(`^  ${service}:$`, 'm'));
  assert.match(compose, /APP_PORT: 3080$/m);

  for (const field of ['manifestVersion', 'id', 'category', 'name', 'version', 'tagline',
    'description', 'releaseNotes', 'developer', 'website', 'dependencies', 'repo', 'support',
    'port', 'gallery', 'path', 'submitter', 'submission'])
    assert.match(manifest, RegExp(`^${field}:`, 'm'), field);
});

/** What lines set for hsd, with values for their variables. */

function environment(text, values) {
  const fill = value => value.replace(/\$\{([A-Z_]+)[^}]*\}/g, (_, variable) => values[variable]);

  return Object.fromEntries(all(/^ +(HSD_[A-Z_]+): (?:&[a-z]+ )?'?([^'\n]*)/gm, text)
    .map(([key, value]) => [key, fill(value)]));
}

/** The answer of a node's dashboard that is asked by a name. */

function ask(node, host, target) {
  return new Promise((resolve, reject) => {
    http.get({host: '127.0.0.1', port: node.ports.dashboard, path: target, headers: {host}},
      async (response) => {
        let body = '';

        for await (const chunk of response)
          body += chunk;

        resolve({status: response.statusCode, body});
      }).on('error', reject);
  });
}

test('hsd starts as compose starts it, and Prometheus may ask it', async (t) => {
  const env = environment(read(COMPOSE[0]), {
    ADDRESS,
    API_KEY: 'key',
    PUBLIC_HOST: '192.168.1.10'
  });

  assert.strictEqual(env.HSD_COINBASE_ADDRESS, ADDRESS);

  const node = await startNode(t, {address: null, env});

  for (const host of ['hstratum:3080', '127.0.0.1:3080', '192.168.1.10:3080'])
    assert.strictEqual((await ask(node, host, '/metrics')).status, 200, host);

  const {body} = await ask(node, 'hstratum', '/api/v1/listeners');

  assert.match(body, /192\.168\.1\.10/);
  assert.strictEqual((await ask(node, 'grafana', '/metrics')).status, 421);
});

test('each of three servers joins the pool as compose starts it', async (t) => {
  const postgres = await Postgres.start(t);
  const [options, ...services] = read(COMPOSE[1]).split(/^  (?=[a-z]+:$)/m);
  const values = {DATABASE_PASSWORD: 'password', PROXY_SECRET: '0123456789abcdef'};
  const servers = services.filter(text => text.includes('*server'));
  const nodes = [];

  for (const text of servers) {
    const {HSD_STRATUM_DATABASE, ...env} = environment(options + text, values);
    const url = HSD_STRATUM_DATABASE.replace('hstratum:', 'pool:')
      .replace('@database/', `@127.0.0.1:${postgres.port}/`);

    nodes.push(await startNode(t, {
      env: {...env, HSD_STRATUM_DATABASE: url, HSD_LISTEN: 'false'}
    }));
  }

  const name = /^[a-z]+/.exec(servers[0])[0];

  await waitFor('all servers', async () => {
    const {body} = await ask(nodes[0], name, '/api/v1/servers');

    return ['east', 'north', 'west'].every(id => body.includes(`"${id}"`));
  });
});

const UMBREL_VALUES = {
  APP_SEED: '00ff',
  DEVICE_DOMAIN_NAME: 'umbrel.local',
  NETWORK_IP: '10.21.0.0'
};

test('on umbrelOS blocks pay the address that is the miner\'s name', async (t) => {
  const env = environment(read(UMBREL), UMBREL_VALUES);
  const node = await startNode(t, {address: null, wallet: true, env});
  const {body} = await ask(node, 'umbrel.local:3080', '/api/v1/listeners');

  assert.match(body, /"payout":"solo"/);
});

/**
 * A container of a network, without the container.
 * @returns {Function} what it gets from the node when it asks by a host: the
 * status, as text.
 */

async function container(t, network) {
  // Of the namespace and of the interface that leads to it.
  const name = `${network}-${process.pid}`;
  const [near, far] = [`${network}.1`, `${network}.2`];
  const ip = line => execute('ip', line.split(' '));

  await ip(`netns add ${name}`);
  // The interfaces go with it.
  t.after(() => ip(`netns del ${name}`));
  await ip(`link add ${name} type veth peer name eth0 netns ${name}`);
  await ip(`address add ${near}/30 dev ${name}`);
  await ip(`link set ${name} up`);
  await ip(`-n ${name} address add ${far}/30 dev eth0`);
  await ip(`-n ${name} link set eth0 up`);

  return async (node, host) => {
    const {stdout} = await execute('ip', ['netns', 'exec', name, 'curl', '--silent',
      '--output', '/dev/null', '--write-out', '%{http_code}', '--header', `Host: ${host}`,
      `http://${near}:${node.ports.dashboard}/api/v1/pool`]);

    return stdout;
  };
}

test('on umbrelOS the app proxy, and nothing else, may ask by any name of the device',
  {skip: process.getuid() !== 0 && 'it needs root, for a network'}, async (t) => {
    const env = environment(read(UMBREL), UMBREL_VALUES);
    const node = await startNode(t, {
      address: null,
      wallet: true,
      env: {...env, HSD_STRATUM_HTTP_HOST: '0.0.0.0'}
    });
    const proxy = await container(t, '10.21.0');
    const stranger = await container(t, '10.22.0');

    for (const host of ['umbrel.local', 'garage.local', '192.168.1.99', '[fd00::2]:3080'])
      assert.strictEqual(await proxy(node, host), '200', host);

    for (const asker of [stranger, async (...args) => `${(await ask(...args, '/')).status}`]) {
      assert.strictEqual(await asker(node, 'umbrel.local'), '200');
      assert.strictEqual(await asker(node, 'garage.local'), '421');
    }
  });
