'use strict';

/*
 * Parts around a node that can be made to fail: a network of its own for some
 * miners, the disk under its files, its clock, its process. Made by root,
 * removed by the cleanup.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {Skip, fill, mountTmpfs} = require('./rig');

/** A network of 198.18.0.0/15, which is reserved for tests. */
const NET = `198.18.${process.pid % 256}`;

const FAKETIME = ['x86_64', 'aarch64', 'arm64']
  .map(arch => `/usr/lib/${arch}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .concat('/usr/lib/faketime/libfaketimeMT.so.1');

function run(command, ...args) {
  try {
    return execFileSync(command, args, {stdio: 'pipe', encoding: 'utf8'});
  } catch (e) {
    const why = e.stderr || e.message;
    throw new Error(`failed to run ${command} ${args.join(' ')}: ${why}`);
  }
}

/** A network namespace and a cable to it. */

class Network {
  constructor(cleanup) {
    this.netns = `hstratum-soak-${process.pid}`;
    this.near = `hsa${process.pid}`;
    this.far = `hsb${process.pid}`;
    this.host = `${NET}.1`;
    this.inner = `${NET}.2`;

    try {
      run('ip', 'netns', 'add', this.netns);
    } catch (e) {
      throw new Skip(`no network namespace can be made here: ${e.message}`);
    }

    // The cable is removed with it.
    cleanup.after(() => run('ip', 'netns', 'del', this.netns));
    run('ip', 'link', 'add', this.near, 'type', 'veth', 'peer', 'name',
      this.far, 'netns', this.netns);
    run('ip', 'address', 'add', `${this.host}/30`, 'dev', this.near);
    this.inside('address', 'add', `${this.inner}/30`, 'dev', this.far);
    this.inside('link', 'set', 'lo', 'up');
    this.inside('link', 'set', this.far, 'up');
    run('ip', 'link', 'set', this.near, 'up');
  }

  inside(...args) {
    run('ip', '-n', this.netns, ...args);
  }

  /** Pull the cable: both ends' kernels know, and try again soon. */

  unplug() {
    this.inside('link', 'set', this.far, 'down');
  }

  /** Swallow all packets: nothing is answered, and connections time out. */

  blackhole() {
    run('ip', ...this.nobody('replace', this.near, 2));
    this.inside(...this.nobody('replace', this.far, 1));
  }

  nobody(verb, device, host) {
    return ['neighbour', verb, `${NET}.${host}`, 'dev', device,
      'lladdr', '02:00:00:00:00:00', 'nud', 'permanent'];
  }

  plug() {
    this.inside('link', 'set', this.far, 'up');
  }

  unblackhole() {
    run('ip', ...this.nobody('delete', this.near, 2));
    this.inside(...this.nobody('delete', this.far, 1));
  }
}

/** A small file system under a directory. */

class Disk {
  constructor(cleanup, dir, bytes) {
    this.filler = path.join(dir, 'filler');
    fs.mkdirSync(dir, {recursive: true});
    mountTmpfs(dir, bytes);
    cleanup.after(() => run('umount', dir));
  }

  fill() {
    fill(this.filler);
  }

  free() {
    fs.rmSync(this.filler, {force: true});
  }
}

/** The clock of one process, from libfaketime; null where that is missing. */

class Clock {
  static find(dir) {
    const library = FAKETIME.find(file => fs.existsSync(file));
    return library ? new Clock(library, path.join(dir, 'clock')) : null;
  }

  constructor(library, file) {
    this.file = file;
    this.offset = 0;
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: '1',
      // As when a clock is set: timers that measure durations go on.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_DISABLE_SHM: '1',
      NO_FAKE_STAT: '1'
    };
    this.shift(0);
  }

  /** @param {Number} seconds - ahead of the true time. */

  shift(seconds) {
    this.offset = seconds;
    fs.writeFileSync(`${this.file}.new`, `${seconds < 0 ? '' : '+'}${seconds}`);
    fs.renameSync(`${this.file}.new`, this.file);
  }
}

/** Memory and descriptors of a process, sampled, over all its runs. */

class Watch {
  constructor(cleanup, node) {
    this.node = node;
    this.lives = [];          // {pid, first, max, last} in bytes
    this.files = 0;           // most descriptors at a time

    const timer = setInterval(() => this.sample(), 1000);
    cleanup.after(() => clearInterval(timer));
  }

  sample() {
    const {pid} = this.node.child;
    let status;
    let files;

    try {
      status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
      files = fs.readdirSync(`/proc/${pid}/fd`).length;
    } catch (e) {
      return;
    }

    const match = /^VmRSS:\s+(\d+) kB/m.exec(status);

    // A process that has just ended has none.
    if (!match)
      return;

    const bytes = Number(match[1]) * 1024;
    let life = this.lives[this.lives.length - 1];

    if (!life || life.pid !== pid) {
      life = {pid, first: bytes, max: 0, last: 0, samples: 0};
      this.lives.push(life);
    }

    life.max = Math.max(life.max, bytes);
    life.last = bytes;
    life.samples += 1;
    this.files = Math.max(this.files, files);
  }

  max() {
    return Math.max(0, ...this.lives.map(life => life.max));
  }
}

const makeDir = () => fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-soak-'));

module.exports = {Clock, Disk, Network, Watch, makeDir};
