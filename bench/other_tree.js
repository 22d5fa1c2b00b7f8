'use strict';

/*
 * Another commit's plugin, to be measured beside this one: its tree is a git
 * worktree in target/against/, kept for the next time by the commit's hash,
 * where it is built with a target directory of its own and the settings of
 * this build, and anew when these change. hsd and the load are this tree's.
 */

const {spawnSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {PlainError} = require('./command');

const ROOT = path.join(__dirname, '..');
const HASH_LENGTH = 12;

/**
 * @param {String} rev - as git knows it.
 * @returns {Object} its name, and its plugin: the path of `index.js`.
 */

function build(rev) {
  const commit = run('git', ['rev-parse', '--verify', '--quiet',
    '--end-of-options', `${rev}^{commit}`]);

  if (commit.status !== 0)
    throw new PlainError(`against: '${rev}' is no commit`);

  const name = commit.stdout.trim().slice(0, HASH_LENGTH);
  const dir = path.join(ROOT, 'target', 'against', name);
  const addon = path.join(dir, 'plugin', 'hstratum.node');

  const flags = (process.env.CARGO_FLAGS || '').split(/\s+/).filter(Boolean);
  const compiler = run('rustc', ['--version']).stdout;
  const settings = JSON.stringify([flags, process.env.RUSTFLAGS, compiler]);
  const built = `${addon}.settings`;

  if (!fs.existsSync(built) || fs.readFileSync(built, 'utf8') !== settings) {
    process.stderr.write(`building ${name} in ${dir}\n`);
    // What is interrupted from here on is built anew, whatever the settings are then.
    fs.rmSync(built, {force: true});
    check(name, dir, checkOut(name, dir));
    check(name, dir, compile(dir, flags));
    fs.copyFileSync(path.join(dir, 'target', 'release',
      'libhstratum_addon.so'), addon);
    fs.writeFileSync(built, settings);
  }

  return {name, plugin: path.join(dir, 'plugin', 'index.js')};
}

/**
 * A worktree that was removed with target/ is still known to git, and one
 * whose checkout was interrupted is completed.
 */

function checkOut(name, dir) {
  if (fs.existsSync(dir)) {
    const top = run('git', ['rev-parse', '--show-toplevel'], {cwd: dir});

    if (top.status === 0 && top.stdout.trim() === fs.realpathSync(dir))
      return run('git', ['checkout', '--quiet', '--force', '--detach', name], {cwd: dir});

    fs.rmSync(dir, {recursive: true});
  }

  return run('git', ['worktree', 'add', '--force', '--detach', dir, name]);
}

function compile(dir, flags) {
  return run('cargo', ['build', '--locked', '--release', '-p',
    'hstratum-addon', ...flags], {cwd: dir,
    env: {...process.env, CARGO_TARGET_DIR: path.join(dir, 'target')}});
}

/** One line says why; all of them are in a file beside the tree. */

function check(name, dir, {status, error, stderr = ''}) {
  if (status === 0)
    return;

  const log = `${dir}.log`;
  const text = error ? error.message : stderr;
  const why = text.split('\n').find(line => /^(error|fatal)/.test(line));

  fs.mkdirSync(path.dirname(log), {recursive: true});
  fs.writeFileSync(log, text);
  throw new PlainError(`against: ${name} does not build: ${why || 'it failed'} `
    + `(all of it in ${log})`);
}

function run(command, args, options = {}) {
  return spawnSync(command, args, {cwd: ROOT, encoding: 'utf8',
    maxBuffer: 64 << 20, ...options});
}

exports.build = build;
