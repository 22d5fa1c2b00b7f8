'use strict';

/*
 * Common parts of the benches as commands: a time limit, clean-up, and plain
 * errors.
 */

/** An error whose message is enough. */

class PlainError extends Error {}

/**
 * Base of a bench, whose `run` measures. The tests' harness takes it for a
 * test.
 */

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

/** The value of an option that is a whole number from `min` to `max`. */

function number(text, name, min, max) {
  const value = Number(text);

  if (!Number.isInteger(value) || value < min || value > max) {
    throw new PlainError(
      `--${name}: expected ${min} to ${max}, found ${text}`);
  }

  return value;
}

/**
 * Run a bench until its end, a signal, or the time limit.
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
    // An option that does not exist is no fault of the program.
    const isPlain = e instanceof PlainError || `${e.code}`.startsWith('ERR_PARSE_ARGS');

    process.stderr.write(`${isPlain ? e.message : e.stack}\n`);
    process.exit(1);
  });
}

module.exports = {Bench, PlainError, exitWith, number, runAtMost};
