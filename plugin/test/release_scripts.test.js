'use strict';

/*
 * The scripts of .github/workflows/release.yml, up to where they need the
 * services outside: certificates are of an authority made here instead of
 * sigstore's, packages go to a registry on loopback.
 */

const assert = require('assert');
const {execFile, execFileSync, spawnSync} = require('child_process');
const fs = require('fs');
const http = require('http');
const path = require('path');
const {test} = require('node:test');
const {promisify} = require('util');
const {tempDir} = require('./harness');
const plugin = require('../package.json');

const ROOT = path.join(__dirname, '..', '..');
const SCRIPTS = path.join(ROOT, 'scripts', 'release');
const REPOSITORY = 'https://github.com/hstratum/hstratum';
const IDENTITY = `${REPOSITORY}/.github/workflows/release.yml@refs/tags/v1.2.3`;

const execute = promisify(execFile);

/** A tree that can be released as 1.2.3, but for the files that are given. */

function tree(t, files = {}) {
  const dir = tempDir(t);
  const all = {
    'Cargo.toml': '[workspace.package]\nversion = "1.2.3"\n',
    'package.json': '{"dependencies": {"hstratum": "1.2.3"}}',
    'plugin/package.json': '{"version": "1.2.3"}',
    'Cargo.lock': '[[package]]\nname = "hstratum"\nversion = "1.2.3"\n',
    'package-lock.json': '{"packages": {"plugin": {"version": "1.2.3"}}}',
    'CHANGELOG.md': '# Changelog\n\n## Unreleased\n\n## 1.2.3\n\n- It mines.\n',
    ...files
  };

  for (const [name, text] of Object.entries(all)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), {recursive: true});
    fs.writeFileSync(path.join(dir, name), text);
  }

  fs.cpSync(SCRIPTS, path.join(dir, 'scripts', 'release'), {recursive: true});
  return dir;
}

function version(dir, ...args) {
  return spawnSync(path.join(dir, 'scripts', 'release', 'version.sh'), args,
    {encoding: 'utf8'});
}

test('a version is printed where all that names it agrees', (t) => {
  for (const args of [[], ['v1.2.3']]) {
    const {status, stdout, stderr} = version(tree(t), ...args);

    assert.deepStrictEqual([status, stdout, stderr], [0, '1.2.3\n', '']);
  }
});

test('a release is refused, in a line, where something names another version', (t) => {
  const cases = [
    [{}, ['v1.2.4'], 'the tag is "v1.2.4", but the version is 1.2.3: its tag is v1.2.3'],
    [{}, ['1.2.3'], 'the tag is "1.2.3", but the version is 1.2.3: its tag is v1.2.3'],
    [{'plugin/package.json': '{"version": "1.2.2"}'}, [],
      'Cargo.toml has version 1.2.3, plugin/package.json 1.2.2'],
    [{'package.json': '{"dependencies": {"hstratum": "1.2.2"}}'}, [],
      'Cargo.toml has version 1.2.3, package.json depends on hstratum 1.2.2'],
    [{'Cargo.lock': '[[package]]\nname = "hstratum"\nversion = "1.2.2"\n'}, [],
      'Cargo.lock has another version of hstratum than 1.2.3: cargo update --workspace'],
    [{'package-lock.json': '{"packages": {"plugin": {"version": "1.2.2"}}}'}, [],
      'Cargo.toml has version 1.2.3, package-lock.json 1.2.2: npm install'],
    [{'CHANGELOG.md': '# Changelog\n\n## Unreleased\n\n## 1.2.30\n'}, [],
      'CHANGELOG.md has no section "## 1.2.3"'],
    [{'Cargo.toml': 'version = "1.2.3-rc.1"\n'}, [],
      'Cargo.toml has version "1.2.3-rc.1", which is not of the form X.Y.Z']
  ];

  for (const [files, args, message] of cases) {
    const {status, stdout, stderr} = version(tree(t, files), ...args);

    assert.deepStrictEqual([status, stdout, stderr], [1, '', `${message}\n`]);
  }
});

/** A directory of a release, with its sums. */

function release(t) {
  const dir = tempDir(t);

  fs.writeFileSync(path.join(dir, 'install.sh'), '#!/bin/sh\n');
  fs.writeFileSync(path.join(dir, 'hstratum-1.2.3.tgz'), 'a package');
  fs.writeFileSync(path.join(dir, 'SHA256SUMS'), execFileSync('sha256sum',
    ['hstratum-1.2.3.tgz', 'install.sh'], {cwd: dir}));
  return dir;
}

/**
 * A cosign that has its certificate from an authority of this test, in DIR/ca.pem,
 * and makes bundles by a template.
 */

function cosign(t, bundle = `{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
  "verificationMaterial": {"certificate": {"rawBytes": "$certificate"}},
  "messageSignature": {"signature": "$signature"}}`) {
  const dir = tempDir(t);
  const openssl = (...args) => execFileSync('openssl', args,
    {cwd: dir, stdio: ['ignore', 'pipe', 'pipe']});
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

  openssl('req', '-x509', ...key, '-subj', '/CN=authority', '-keyout', 'ca.key',
    '-out', 'ca.pem');
  openssl('req', ...key, '-subj', '/', '-keyout', 'key', '-out', 'request');
  fs.writeFileSync(path.join(dir, 'extensions'), `subjectAltName=critical,URI:${IDENTITY}\n`);
  openssl('x509', '-req', '-in', 'request', '-CA', 'ca.pem', '-CAkey', 'ca.key',
    '-CAcreateserial', '-extfile', 'extensions', '-outform', 'DER', '-out', 'certificate');
  fs.writeFileSync(path.join(dir, 'cosign'), `#!/bin/sh -e
[ "$1 $2 $3" = 'sign-blob --yes --bundle' ]
certificate=$(base64 -w0 ${dir}/certificate)
signature=$(openssl dgst -sha256 -sign ${dir}/key "$5" | base64 -w0)
cat >"$4" <<END
${bundle}
END
`, {mode: 0o755});
  return dir;
}

function sign(dir, bin, identity = IDENTITY) {
  return spawnSync(process.execPath, [path.join(SCRIPTS, 'sign.js'), dir, identity], {
    encoding: 'utf8',
    env: {...process.env, PATH: `${bin}:${process.env.PATH}`}
  });
}

test('openssl alone says whose the signature of the sums is, and that it is right', (t) => {
  const dir = release(t);
  const bin = cosign(t);
  const {status, stderr} = sign(dir, bin);

  assert.deepStrictEqual([status, stderr], [0, '']);

  const openssl = (...args) => execFileSync('openssl', args, {cwd: dir, encoding: 'utf8'});

  openssl('verify', '-CAfile', path.join(bin, 'ca.pem'), 'SHA256SUMS.pem');
  assert.match(openssl('x509', '-in', 'SHA256SUMS.pem', '-noout', '-ext', 'subjectAltName'),
    /URI:https:\/\/github\.com\/hstratum\/hstratum\/\S+@refs\/tags\/v1\.2\.3\n/);
  fs.writeFileSync(path.join(dir, 'public'),
    openssl('x509', '-in', 'SHA256SUMS.pem', '-noout', '-pubkey'));
  openssl('dgst', '-sha256', '-verify', 'public', '-signature', 'SHA256SUMS.sig', 'SHA256SUMS');
  fs.appendFileSync(path.join(dir, 'SHA256SUMS'), '0');
  assert.throws(() => openssl('dgst', '-sha256', '-verify', 'public', '-signature',
    'SHA256SUMS.sig', 'SHA256SUMS'));
});

test('nothing is signed that has another sum, or none', (t) => {
  const cases = [
    [dir => fs.appendFileSync(path.join(dir, 'install.sh'), 'exit'),
      'install.sh has another sum than SHA256SUMS says'],
    [dir => fs.writeFileSync(path.join(dir, 'more'), ''), 'SHA256SUMS has no line for more'],
    [dir => fs.rmSync(path.join(dir, 'install.sh')),
      'SHA256SUMS names install.sh, which is not there']
  ];

  for (const [change, message] of cases) {
    const dir = release(t);

    change(dir);

    const {status, stderr} = sign(dir, cosign(t));

    assert.deepStrictEqual([status, stderr], [1, `${message}\n`]);
    assert.ok(!fs.existsSync(path.join(dir, 'SHA256SUMS.sigstore.json')));
  }
});

test('a signature that the installer would refuse ends the release', (t) => {
  const other = `${IDENTITY}.1`;
  const dir = release(t);

  assert.strictEqual(sign(dir, cosign(t), other).stderr,
    `the certificate is of "URI:${IDENTITY}", not of "URI:${other}"\n`);

  // The signature of other bytes.
  const wrong = cosign(t);
  const script = path.join(wrong, 'cosign');

  fs.writeFileSync(script, fs.readFileSync(script, 'utf8').replace('"$5" |', '"$0" |'));
  assert.match(sign(dir, wrong).stderr, /^the signature in \S+ is not of \S+SHA256SUMS\n$/);

  // A bundle as cosign 2 made it.
  assert.match(sign(dir, cosign(t, '{"base64Signature": "$signature", "cert": "$certificate"}')).stderr,
    /has no messageSignature with a signature.*cosign 3 or newer/);
  assert.ok(!fs.existsSync(path.join(dir, 'SHA256SUMS.sig')));
});

/** A registry of npm's on loopback, as far as `npm view` and `npm publish` ask it. */

async function registry(t) {
  const packages = new Map();
  const published = [];
  const server = http.createServer(async (request, response) => {
    const name = decodeURIComponent(request.url.slice(1).split('?')[0]);
    let body = '';

    for await (const chunk of request)
      body += chunk;

    if (request.method === 'PUT' && request.headers.authorization === 'Bearer secret') {
      packages.set(name, JSON.parse(body));
      published.push(name);
      response.writeHead(201).end('{}');
    } else if (request.method === 'GET' && packages.has(name)) {
      response.writeHead(200, {'Content-Type': 'application/json'})
        .end(JSON.stringify(packages.get(name)));
    } else {
      response.writeHead(request.method === 'GET' ? 404 : 401).end('{}');
    }
  });

  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return {published, url: `http://127.0.0.1:${server.address().port}/`};
}

/** Tarballs of a release, with changes of their manifests. */

function packages(t, changes = {}) {
  const dir = tempDir(t);
  const manifests = {
    'hstratum': {optionalDependencies: {'@hstratum/linux-x64-gnu': '1.2.3'}},
    '@hstratum/linux-x64-gnu': {os: ['linux']}
  };

  for (const [name, fields] of Object.entries(manifests)) {
    const stage = tempDir(t);

    fs.mkdirSync(path.join(stage, 'package'));
    fs.writeFileSync(path.join(stage, 'package', 'package.json'), JSON.stringify({
      name,
      version: '1.2.3',
      repository: plugin.repository,
      ...fields,
      ...changes[name]
    }));
    execFileSync('tar', ['--mtime=@0', '-czf', path.join(dir, `${path.basename(name)}.tgz`),
      'package'], {cwd: stage});
  }

  return dir;
}

async function publish(dir, {url = 'http://127.0.0.1:1/', token = 'secret'} = {}) {
  const result = await execute(process.execPath, [path.join(SCRIPTS, 'publish_npm.js'),
    dir, '1.2.3', REPOSITORY], {
    env: {...process.env, NPM_CONFIG_REGISTRY: url, NPM_CONFIG_FETCH_RETRIES: 0, NPM_TOKEN: token}
  }).catch(e => e);

  return {code: result.code ?? 0, stdout: result.stdout, stderr: result.stderr};
}

test('packages of platforms are published before the one that names them, once', async (t) => {
  const {published, url} = await registry(t);
  const dir = packages(t);
  const first = await publish(dir, {url});

  assert.strictEqual(first.code, 0, first.stderr);
  assert.deepStrictEqual(published, ['@hstratum/linux-x64-gnu', 'hstratum']);

  const again = await publish(dir, {url});

  assert.strictEqual(again.stdout, '@hstratum/linux-x64-gnu@1.2.3 was published\n'
    + 'hstratum@1.2.3 was published\n');
  assert.strictEqual(published.length, 2);

  const other = packages(t, {hstratum: {description: 'another'}});

  assert.deepStrictEqual(await publish(other, {url}), {
    code: 1,
    stdout: '@hstratum/linux-x64-gnu@1.2.3 was published\n',
    stderr: 'the registry has hstratum@1.2.3 with other bytes\n'
  });
});

test('no package is published where one does not fit, or nobody may', async (t) => {
  const {published, url} = await registry(t);
  const platform = '@hstratum/linux-x64-gnu';
  const cases = [
    [{hstratum: {optionalDependencies: {[platform]: '1.2.2'}}},
      `hstratum needs ${platform} 1.2.2, which is not there`],
    [{hstratum: {optionalDependencies: {}}}, `hstratum does not name ${platform}`],
    [{hstratum: {optionalDependencies: undefined}},
      'there is no package hstratum with optionalDependencies'],
    [{[platform]: {version: '1.2.2'}}, `${platform} has version 1.2.2, not 1.2.3`],
    [{[platform]: {repository: undefined}}, `${platform} has repository undefined, `
      + 'not git+https://github.com/hstratum/hstratum.git']
  ];

  for (const [changes, message] of cases) {
    assert.deepStrictEqual(await publish(packages(t, changes), {url}),
      {code: 1, stdout: '', stderr: `${message}\n`});
  }

  const dir = packages(t);

  assert.strictEqual((await publish(dir, {url, token: 'wrong'})).code, 1);
  assert.strictEqual((await publish(dir, {url, token: ''})).code, 1);
  assert.match((await publish(dir)).stderr, /^failed to look for @hstratum\/linux-x64-gnu@1\.2\.3: /);
  assert.deepStrictEqual(published, []);
});
