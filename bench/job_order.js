'use strict';

/*
 * How long after the first miner a new job reaches the others: the mean over miners, which is what chance would
 * give each hash, the mean over hashes, and the least that an order can make of it, for several spreads of the hashrate.
 */

const {parseArgs} = require('util');
const {Bench, exitWith, number, runAtMost} = require('./command');
const {median, table} = require('./numbers');
const {Hstratum, ON_SERVER_CORE, swarm} = require('./rig');
const {SECRET, startProxy} = require('../plugin/test/proxy');

const HELP = `usage: node bench/job_order.js [options]

Needs make build and two cores.

  --rounds N       new blocks for each, 1 to 100 (10)
  --miners N       miners, 2 to 15000 (10000)
  --proxy          miners connect to a proxy before the server
  --two-cores      the server may use both cores, one of which the load reads on
  --help           print this
`;

const SPREADS = ['equal', 'pareto', 'whales'];
/** Hashrates are looked at every five seconds. */
const HOLD_S = 6;
const BASE_MS = 120000;
const RUN_MS = 180000;

class JobOrder extends Bench {
  constructor(rounds, miners, isProxied, within) {
    super();
    this.within = within;
    this.isProxied = isProxied;
    this.rounds = rounds;
    this.miners = miners;
    this.rows = [];
  }

  async run() {
    for (const spread of SPREADS) {
      const server = await this.start();
      const {round} = await swarm(server, 'fanout', [
        `--connections=${this.miners}`, '--at-once=1000', `--rounds=${this.rounds}`,
        `--hashrates=${spread}`, `--hold=${HOLD_S}`, ...server.triggerArgs]);
      const of = key => median(round.map(one => one[key]));

      this.rows.push([spread, of('first_to_last_ms'), of('mean_ms'), of('hash_weighted_ms'), of('hash_weighted_least_ms'),
        median(round.map(one => one.hash_weighted_ms / one.mean_ms))]);
      await server.end();
    }
  }

  async start() {
    const args = this.isProxied ? [`--stratum-proxy-secret=${SECRET}`] : [];
    const server = await Hstratum.start(this, {within: this.within, args});

    if (this.isProxied)
      server.port = (await startProxy(this, [server.node])).ports.stratum;

    return server;
  }

  report() {
    const lines = [['hashrate', 'last', 'mean of miners', 'mean of hashes', 'least possible', 'ratio']];

    for (const [spread, ...values] of this.rows)
      lines.push([spread, ...values.map(value => value.toFixed(2))]);

    return `${table(lines)}\n\n${this.miners} miners; milliseconds after the first one, medians of `
      + `${this.rounds} blocks.\n`;
  }
}

async function main() {
  const {values} = parseArgs({options: {
    rounds: {type: 'string', default: '10'},
    miners: {type: 'string', default: '10000'},
    proxy: {type: 'boolean', default: false},
    'two-cores': {type: 'boolean', default: false},
    help: {type: 'boolean'}
  }});

  if (values.help) {
    process.stdout.write(HELP);
    return;
  }

  const rounds = number(values.rounds, 'rounds', 1, 100);
  const bench = new JobOrder(rounds, number(values.miners, 'miners', 2, 15000),
    values.proxy, values['two-cores'] ? [] : ON_SERVER_CORE);

  await runAtMost(bench, BASE_MS + RUN_MS * SPREADS.length);
  process.stdout.write(bench.report());
}

exitWith(main());
