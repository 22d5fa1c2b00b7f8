'use strict';

/*
 * The time from a new tip to the last miner's job on a solo listener: with an
 * address for each miner, whose coinbase and roots are computed for it alone,
 * and with one address for all, who get the same bytes.
 */

const {parseArgs} = require('util');
const {Bench, exitWith, number, runAtMost} = require('./command');
const {median, table} = require('./numbers');
const {Hstratum, swarm} = require('./rig');

const HELP = `usage: node bench/solo.js [options]

Needs make build and two cores.

  --runs N         runs of each, in turns, 1 to 100 (5)
  --miners N       miners, 1 to 15000 (10000)
  --help           print this
`;

const JOBS = 5;
const BASE_MS = 120000;
const RUN_MS = 180000;

class Solo extends Bench {
  constructor(runs, miners) {
    super();
    this.runs = runs;
    this.miners = miners;
    this.samples = {one: [], each: []};
  }

  async run() {
    const server = await Hstratum.start(this, {args: [
      '--stratum-payout=solo', '--stratum-fee=1'
    ]});

    // Both are slower at first.
    await this.measure(server, 1);

    for (let run = 0; run < this.runs; run++) {
      this.samples.one.push(await this.measure(server, 1));
      this.samples.each.push(await this.measure(server, this.miners));
    }
  }

  async measure(server, addresses) {
    const {round, fanout: [told]} = await swarm(server, 'fanout', [
      `--connections=${this.miners}`, '--addresses=regtest',
      `--accounts=${addresses}`, `--rounds=${JOBS}`, ...server.triggerArgs]);

    return {
      last: median(round.map(({last_ms: last}) => last)),
      spread: told.first_to_last_ms,
      cpu: told.server.threads_cpu_us_per_notify
    };
  }

  report() {
    const lines = [['', 'one address', 'each its own', 'ratio']];

    for (const [name, what, digits] of [
      ['last', 'the node\'s order to mine to the last job, ms', 1],
      ['spread', 'first to last job, ms', 1],
      ['cpu', 'CPU of hstratum a miner and job, µs', 2]
    ]) {
      const [one, each] = ['one', 'each'].map((key) => {
        return median(this.samples[key].map(sample => sample[name]));
      });

      lines.push([what, one.toFixed(digits), each.toFixed(digits),
        (each / one).toFixed(3)]);
    }

    return `${table(lines)}\n\n${this.miners} miners; medians of ${this.runs} `
      + `runs in turns, ${JOBS} jobs each.\n`;
  }
}

async function main() {
  const {values} = parseArgs({options: {
    runs: {type: 'string', default: '5'},
    miners: {type: 'string', default: '10000'},
    help: {type: 'boolean'}
  }});

  if (values.help) {
    process.stdout.write(HELP);
    return;
  }

  const runs = number(values.runs, 'runs', 1, 100);
  const bench = new Solo(runs, number(values.miners, 'miners', 1, 15000));

  await runAtMost(bench, BASE_MS + runs * RUN_MS);
  process.stdout.write(bench.report());
}

exitWith(main());
