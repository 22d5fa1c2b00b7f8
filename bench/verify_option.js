'use strict';

/*
 * Cost of the verification of templates to a node with its chain on disk and
 * its workers: blocks without transactions are found, at random moments of the
 * verification of a template with many, with `verify` on and off in turns.
 * Another miner sends shares that are too weak, and waits for each reply.
 * `node bench/verify_option.js`; the release build has to be in plugin/.
 */

const {startNode} = require('../plugin/test/harness');
const {Miner} = require('../plugin/test/miner');
const {Observer} = require('../plugin/test/observer');
const {Spender} = require('../plugin/test/spender');

const SIZES = (process.env.SIZES || '0,1000,3000').split(',').map(Number);
const BLOCKS = Number(process.env.BLOCKS || 40);
const ROUNDS = Number(process.env.ROUNDS || 2);

/** Longest time from a template to the block that is found on it. */
const WITHIN_MS = 1000;
const EVERY_MS = 20;

main().catch((e) => {
  console.error(e);
  process.exitCode = 1;
});

async function main() {
  console.log('| transactions | verify | solution to the next job, ms p50/p99 '
    + '| solution to a peer | reply | RPC |');
  console.log('|---|---|---|---|---|---|');

  for (const size of SIZES) {
    const all = {idle: [], off: []};

    for (let i = 0; i < ROUNDS; i++) {
      for (const verify of ['idle', 'off'])
        all[verify].push(await measure(size, verify));
    }

    for (const [verify, runs] of Object.entries(all)) {
      const cells = ['job', 'peer', 'reply', 'rpc'].map((name) => {
        const values = runs.flatMap(run => run[name]).sort((a, b) => a - b);
        return `${at(values, 0.5)}/${at(values, 0.99)}`;
      });

      console.log(`| ${size} | ${verify} | ${cells.join(' | ')} |`);
    }
  }
}

function at(values, part) {
  return values[Math.floor(values.length * part)].toFixed(1);
}

async function measure(size, verify) {
  const ends = [];
  const t = {after: end => ends.unshift(end)};

  try {
    return await measureIn(t, size, verify);
  } finally {
    for (const end of ends)
      await end();
  }
}

async function measureIn(t, size, verify) {
  const spender = new Spender();
  const node = await startNode(t, {address: spender.address, listen: true,
    args: [`--stratum-verify=${verify}`, '--stratum-refresh=1',
      '--log-level=info']});
  const times = {job: [], peer: [], reply: [], rpc: []};

  await spender.prepare(node, size + 1);
  await node.mine(20);
  await spender.flood([node], size);

  const miner = await Miner.start(t, node);
  const observer = await Observer.connect(t, node);
  const other = await Miner.start(t, node, 'bob');
  const polls = [
    poll(times.rpc, () => node.height()),
    poll(times.reply, () => {
      const id = other.send('mining.submit', ['bob', ...other.miss().params]);
      return until(() => other.replies.has(id) || other.closed);
    })
  ];

  for (let i = 0; i < BLOCKS; i++)
    await findEmpty(node, miner, observer, times);

  for (const {stop} of polls)
    stop();

  return times;
}

/** Find a block on the first template of a tip, which has no transactions. */

async function findEmpty(node, miner, observer, times) {
  const tip = await node.tip();
  const first = await miner.waitFor('a job', () => miner.jobs.find((job) => {
    return job.prevBlock.toString('hex') === tip;
  }));
  const share = miner.solve(first);

  await new Promise((resolve) => {
    setTimeout(resolve, Math.random() * WITHIN_MS);
  });

  const begun = performance.now();

  miner.send('mining.submit', ['alice', ...share.params]);
  await until(() => observer.announced.has(share.hash));
  times.peer.push(observer.announced.get(share.hash) - begun);
  await until(() => miner.jobs.some((job) => {
    return job.prevBlock.toString('hex') === share.hash;
  }));
  times.job.push(performance.now() - begun);
}

async function until(test) {
  while (!test())
    await new Promise(resolve => setImmediate(resolve));
}

function poll(times, ask) {
  let isOver = false;

  const run = async () => {
    while (!isOver) {
      const begun = performance.now();

      await ask();
      times.push(performance.now() - begun);
      await new Promise(resolve => setTimeout(resolve, EVERY_MS));
    }
  };

  run().catch(() => {});

  return {stop: () => {
    isOver = true;
  }};
}
