'use strict';

/*
 * A release's installer, which README.md, docs/day-one-solo.md,
 * docs/day-one-pool.md and docs/day-one-competitive.md begin with, in a copy
 * of this system that has nothing of hstratum and no systemd: what it refuses,
 * the first share, an upgrade, a removal. The release is of this build, with
 * this Node.js; `make installer` tries that of `make release` in fresh systems.
 */

const assert = require('assert');
const {execFile} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const {promisify} = require('util');
const {platform} = require('../platform_package');
const {version} = require('../package.json');
const {tempDir} = require('./harness');
const {installHsd, pack} = require('./packages');

const ROOT = path.join(__dirname, '..', '..');
const RUN_MS = 300000;

const execute = promisify(execFile);

test('the installer in a system that has nothing of hstratum',
  {skip: process.getuid() !== 0 && 'it needs root'}, async (t) => {
    const dir = tempDir(t);
    const dist = path.join(dir, 'dist');
    const name = `hstratum-node-${version}-${platform()}`;
    const tree = path.join(dir, name);
    const node = path.join(dir, 'node');
    const env = {...process.env, COMPRESSION: '1', DIST: dist};

    await pack(dist);
    await installHsd(tree);
    fs.rmSync(path.join(tree, 'bin'), {recursive: true});
    fs.mkdirSync(path.join(node, 'bin'), {recursive: true});
    fs.copyFileSync(process.execPath, path.join(node, 'bin', 'node'));
    fs.writeFileSync(path.join(node, 'LICENSE'), '');
    await execute(path.join(ROOT, 'scripts', 'release', 'node_tree.sh'),
      [tree, dist, platform(), node]);
    await execute('bash', ['-euc', '. scripts/release/common.sh; pack "$@"', 'pack',
      path.join(dist, `${name}.tar.gz`), dir, name], {cwd: ROOT, env});

    const {stdout} = await execute(path.join(ROOT, 'lab', 'installer.sh'), ['here'],
      {env, timeout: RUN_MS}).catch((e) => {
      throw new Error(`${e.stdout}${e.stderr}`);
    });

    assert.match(stdout, /^ok {4}done$/m);
  });
