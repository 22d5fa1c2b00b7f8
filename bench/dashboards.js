'use strict';

/*
 * The cost of dashboards to miners: the same load on one node without any, and
 * with dashboards open, metrics scraped each second, and sign-ins with wrong
 * passwords from as many addresses.
 */

const http = require('http');
const {parseArgs} = require('util');
const {Bench, exitWith, number, runAtMost} = require('./command');
const {median} = require('./numbers');
const {Hstratum} = require('./rig');
const rows = require('./rows');

const HELP = `usage: node bench/dashboards.js [options]

Needs make build and two cores.

  --runs N         runs of each, 1 to 100 (3)
  --dashboards N   dashboards that are open, 0 to 128 (50)
  --sign-ins N     wrong sign-ins a second, 0 to 1000 (0)
  --help           print this
`;

/** Requests that a dashboard repeats, and their intervals. */
const LISTS = [
  '/api/v1/blocks?limit=10&offset=0',
  '/api/v1/accounts?limit=10&offset=0&sort=hashrate&order=desc',
  '/api/v1/workers?limit=25&offset=0&sort=hashrate&order=desc',
  '/api/v1/round',
  '/api/v1/records'
];
const LISTS_MS = 5000;
const SCRAPE_MS = 1000;
const SIGN_IN_MS = 20;
const BASE_MS = 120000;
const RUN_MS = 180000;

/** All open dashboards and the scraper. */

class Audience {
  constructor(port, dashboards, signIns) {
    this.port = port;
    this.guesses = 0;
    this.agent = new http.Agent({keepAlive: true});
    this.sources = [];
    this.timers = [];
    this.messages = 0;
    this.answers = 0;
    this.refused = 0;
    this.signIns = new Map();     // how many by the answer's status

    for (let i = 0; i < dashboards; i++) {
      this.listen();
      this.every(LISTS_MS, () => LISTS.forEach(path => this.ask(path)));
    }

    this.every(SCRAPE_MS, () => this.ask('/metrics'));

    if (signIns)
      this.guess(signIns);
  }

  /** Sign in so often a second, each time from another address. */

  guess(perSecond) {
    const begun = Date.now();

    this.timers.push(setInterval(() => {
      const due = (Date.now() - begun) / 1000 * perSecond;

      for (; this.guesses < due; this.guesses++)
        this.signIn(this.guesses);
    }, SIGN_IN_MS));
  }

  signIn(number) {
    const body = JSON.stringify({name: 'nobody', password: String(number)});
    const address = [10, number >> 16 & 255, number >> 8 & 255, number & 255];

    const request = http.request({
      port: this.port, path: '/api/v1/session', method: 'POST',
      host: '127.0.0.1', agent: this.agent,
      headers: {
        'Content-Type': 'application/json',
        'X-Forwarded-Proto': 'https',
        'X-Forwarded-For': address.join('.')
      }
    }, (response) => {
      const {statusCode: status} = response;

      response.resume();
      this.signIns.set(status, (this.signIns.get(status) || 0) + 1);
    });

    request.on('error', () => {});
    request.end(body);
  }

  every(ms, run) {
    // Spread over time, as people open their pages.
    const begin = setTimeout(() => {
      run();
      this.timers.push(setInterval(run, ms));
    }, Math.random() * ms);

    this.timers.push(begin);
  }

  listen() {
    const request = http.get({port: this.port, path: '/api/v1/events',
      host: '127.0.0.1'}, (response) => {
      response.on('data', () => {
        this.messages += 1;
      });
    });

    request.on('error', () => {});
    this.sources.push(request);
  }

  ask(path) {
    http.get({port: this.port, path, host: '127.0.0.1', agent: this.agent},
      (response) => {
        response.resume();
        if (response.statusCode === 200)
          this.answers += 1;
        else
          this.refused += 1;
      }).on('error', () => {});
  }

  leave() {
    for (const timer of this.timers) {
      clearTimeout(timer);
      clearInterval(timer);
    }

    for (const source of this.sources)
      source.destroy();

    this.agent.destroy();
  }
}

class Dashboards extends Bench {
  constructor(runs, dashboards, signIns) {
    super();
    this.runs = runs;
    this.dashboards = dashboards;
    this.signIns = signIns;
    this.samples = {alone: [], watched: []};
    this.notes = [];
  }

  async run() {
    const server = await Hstratum.start(this);

    for (let run = 0; run < this.runs; run++) {
      const order = run % 2 ? ['watched', 'alone'] : ['alone', 'watched'];

      for (const name of order)
        this.samples[name].push(await this.measure(server, name));
    }
  }

  async measure(server, name) {
    const audience = name === 'watched'
      ? new Audience(server.node.ports.dashboard, this.dashboards, this.signIns)
      : null;

    try {
      const flat = await rows.flatOut(server);
      const steady = await rows.steady(server);

      if (audience) {
        this.notes.push(`${audience.messages} events and ${audience.answers} `
          + `answers were read, ${audience.refused} refused`);

        for (const [status, count] of audience.signIns)
          this.notes.push(`${count} sign-ins were answered with ${status}`);
      }

      return {rate: flat.rate, cpu: flat.cpu, steadyCpu: steady.cpu,
        p50: steady.p50, p99: steady.p99};
    } finally {
      if (audience)
        audience.leave();
    }
  }

  report() {
    const lines = [['', 'nobody', 'with them', 'ratio']];

    for (const [name, what, digits] of [
      ['rate', 'accepted shares/s flat out', 0],
      ['cpu', 'CPU a share flat out, µs', 2],
      ['steadyCpu', 'CPU a share at 4,000/s, µs', 2],
      ['p50', 'reply at 4,000/s, p50, ms', 2],
      ['p99', 'reply at 4,000/s, p99, ms', 2]
    ]) {
      const [alone, watched] = ['alone', 'watched'].map((key) => {
        return median(this.samples[key].map(sample => sample[name]));
      });
      lines.push([what, alone.toFixed(digits), watched.toFixed(digits),
        (watched / alone).toFixed(3)]);
    }

    const text = lines.map(line => line.map((cell, place) => {
      return place ? cell.padStart(16) : cell.padEnd(30);
    }).join('')).join('\n');

    return `${text}\n\nMedians of ${this.runs} runs. ${this.notes.join('; ')}.\n`;
  }
}

async function main() {
  const {values} = parseArgs({options: {
    runs: {type: 'string', default: '3'},
    dashboards: {type: 'string', default: '50'},
    'sign-ins': {type: 'string', default: '0'},
    help: {type: 'boolean'}
  }});

  if (values.help) {
    process.stdout.write(HELP);
    return;
  }

  const runs = number(values.runs, 'runs', 1, 100);
  const bench = new Dashboards(runs,
    number(values.dashboards, 'dashboards', 0, 128),
    number(values['sign-ins'], 'sign-ins', 0, 1000));

  await runAtMost(bench, BASE_MS + runs * RUN_MS);
  process.stdout.write(bench.report());
}

exitWith(main());
