'use strict';

/*
 * What the benches have in common as commands: they end in time, undo what
 * they did, and say plainly what is wrong.
 */

/** One that its message explains. */

class PlainError extends Error {}

/** What is measured; `run` is its own. The harness takes it for a test. */

class Bench {
  constructor() {
    this.endings = [];
  }

  after(fn) {
    this.endings.push(fn);
  }

  async end() {
    const endings = this.endings.splice(0).reverse();

    for (const fn of endings)
      await fn();
  }
}

/**
 * Run a bench to its end, which a signal and the time bring about as well.
 * @param {Bench} bench
 * @param {Number} ms
 */

async function runAtMost(bench, ms) {
  const stopped = new Promise((resolve, reject) => {
    const stop = why => reject(new PlainError(why));

    for (const name of ['SIGINT', 'SIGTERM'])
      process.once(name, () => stop(`ended by ${name}`));

    setTimeout(() => stop('took too long'), ms).unref();
  });

  try {
    await Promise.race([bench.run(), stopped]);
  } finally {
    await bench.end();
  }
}

function exitWith(main) {
  main.then(() => process.exit(0), (e) => {
    process.stderr.write(`${e instanceof PlainError ? e.message : e.stack}\n`);
    process.exit(1);
  });
}

module.exports = {Bench, PlainError, exitWith, runAtMost};
