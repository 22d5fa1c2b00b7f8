'use strict';

/*
 * The npm packages of this tree, and an hsd beside them, in a prefix of their
 * own.
 */

const {execFile} = require('child_process');
const fs = require('fs');
const path = require('path');
const {promisify} = require('util');
const {version: hsdVersion} = require('hsd/package.json');

const ROOT = path.join(__dirname, '..', '..');
const MODULES = path.join(ROOT, 'node_modules');
const INSTALL_MS = 600000;

const execute = promisify(execFile);

/** Make the tarballs. */

async function pack(dir) {
  await execute(process.execPath, [path.join(ROOT, 'scripts', 'dist.js'),
    '--out', dir]);

  return fs.readdirSync(dir).map(name => path.join(dir, name));
}

/**
 * Install a copy of the repository's hsd; with DIST_HSD=install that of npm.
 */

async function installHsd(prefix) {
  if (process.env.DIST_HSD === 'install') {
    await npm(prefix, '--allow-scripts=bcrypto,bdb,goosig', `hsd@${hsdVersion}`);
    return;
  }

  const to = path.join(prefix, 'lib', 'node_modules', 'hsd');
  const copy = (name, dir) => fs.cpSync(fs.realpathSync(path.join(MODULES,
    name)), path.join(dir, name), {recursive: true});

  fs.mkdirSync(path.dirname(to), {recursive: true});
  copy('hsd', path.dirname(to));

  for (const name of fs.readdirSync(MODULES)) {
    if (!name.startsWith('.') && !['hsd', 'hstratum'].includes(name))
      copy(name, path.join(to, 'node_modules'));
  }

  const bin = path.join(prefix, 'bin');

  fs.mkdirSync(bin, {recursive: true});

  for (const name of ['hsd', 'hsd-cli', 'hsd-rpc', 'hsw-cli', 'hsw-rpc'])
    fs.symlinkSync(`../lib/node_modules/hsd/bin/${name}`, path.join(bin, name));
}

function npm(prefix, ...args) {
  return execute('npm', ['install', '--global', '--prefix', prefix,
    '--no-audit', '--no-fund', ...args], {timeout: INSTALL_MS});
}

module.exports = {installHsd, npm, pack};
