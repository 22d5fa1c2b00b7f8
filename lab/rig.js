'use strict';

/*
 * Common parts of the lab's scripts: seeded random numbers, the end in order,
 * a disk that is filled and a ledger that is held.
 */

const {execFileSync, spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const {waitFor} = require('../plugin/test/harness');

/** Every hash is a share. */
const DIFFICULTY = String(2 ** -32);

/** mulberry32: the same seed gives the same numbers. */

function makeRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Clean-up actions, run at the end, last first. */

class Cleanup {
  constructor() {
    this.steps = [];
    this.running = null;
  }

  after(step) {
    this.steps.push(step);
  }

  /** Run all of them, also if one fails, and once, also if called twice. */

  run() {
    this.running = this.running || this.runAll();
    return this.running;
  }

  async runAll() {
    while (this.steps.length > 0) {
      try {
        await this.steps.pop()();
      } catch (e) {
        console.error('failed to clean up: %s', e.message);
      }
    }
  }
}

/** A scenario that cannot run on this machine. */

class Skip extends Error {}

/**
 * Run a scenario, and undo its changes in any case: an error, a signal, or the
 * time limit.
 * @param {Number} deadlineMs
 * @param {Function} scenario - given a Cleanup; gives the exit code.
 */

async function play(deadlineMs, scenario) {
  const cleanup = new Cleanup();
  const stop = async (why) => {
    console.error('%s: cleaning up', why);
    await cleanup.run();
    process.exit(1);
  };
  const overdue = setTimeout(stop, deadlineMs, 'it takes too long');

  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, stop);

  try {
    return await scenario(cleanup);
  } catch (e) {
    if (!(e instanceof Skip))
      throw e;
    console.log(`skipped: ${e.message}`);
    return 0;
  } finally {
    clearTimeout(overdue);
    await cleanup.run();
  }
}

/** Print the results and every fault; gives the exit code. */

function report(rows, faults) {
  for (const [what, value] of rows)
    console.log(`${what.padEnd(46)} ${value}`);
  for (const fault of faults)
    console.log(`FAULT: ${fault}`);
  console.log(faults.length === 0 ? 'all is accounted for'
    : `${faults.length} faults`);

  return faults.length === 0 ? 0 : 1;
}

function exitWith(main) {
  main.then((code) => {
    process.exitCode = code;
  }, (e) => {
    console.error(e);
    process.exitCode = 1;
  });
}

/** Mount an empty file system on a directory. */

function mountTmpfs(dir, bytes) {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs',
      dir], {stdio: 'pipe'});
  } catch (e) {
    throw new Skip(`a tmpfs cannot be mounted here: ${e.stderr || e.message}`);
  }
}

/** Write until nothing more fits. */

function fill(file) {
  const fd = fs.openSync(file, 'a');

  try {
    for (let size = 1 << 20; size >= 512; size >>= 1) {
      const piece = Buffer.alloc(size, 1);
      for (;;) {
        try {
          if (fs.writeSync(fd, piece) < size)
            break;
        } catch (e) {
          if (e.code !== 'ENOSPC')
            throw e;
          break;
        }
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** Hold a write transaction of the ledger in another process for so long. */

async function holdLedger(node, ms) {
  const hold = 'import sqlite3, sys, time\n'
    + 'db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n'
    + 'db.execute("BEGIN IMMEDIATE")\n'
    + 'print("held", flush=True)\n'
    + 'time.sleep(float(sys.argv[2]))\n'
    + 'db.execute("ROLLBACK")\n';
  const child = spawn('python3', ['-c', hold,
    path.join(node.stratumDir, 'ledger.db'), String(ms / 1000)],
    {stdio: ['ignore', 'pipe', 'inherit']});
  const exited = new Promise(resolve => child.once('close', resolve));
  let output = '';

  child.stdout.on('data', (text) => {
    output += text;
  });

  await waitFor('the ledger held', () => output.startsWith('held'));
  return {exited};
}

module.exports = {
  DIFFICULTY,
  Skip,
  exitWith,
  fill,
  holdLedger,
  makeRandom,
  mountTmpfs,
  pause,
  play,
  report
};
