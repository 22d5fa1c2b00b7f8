'use strict';

/*
 * The table of hstratum's speed, against the limit server and perhaps another
 * commit in the same run: server on core 0, load on core 1, the ledger on the
 * disk, every scenario in turn for all, medians with their spread.
 */

const fs = require('fs');
const os = require('os');
const {parseArgs} = require('util');
const {Bench, PlainError, exitWith, runAtMost} = require('./command');
const {median, table} = require('./numbers');
const otherTree = require('./other_tree');
const {ADDON, Hstratum, LOAD_CORE, Limit, OWN_TREE, SWARM, pin}
  = require('./rig');
const rows = require('./rows');

const HELP = `usage: node bench/table.js [options]

Needs make build and two cores. RUNS, ROWS and AGAINST in the environment do
the same as the options.

  --runs N         runs of each scenario, 1 to 100 (5)
  --rows NAME,...  of: shares, one, crowd, steady, rpc, block, tip, scale,
                   ledger, growth (all)
  --against REV    measure this commit too, in turns; the first time it is
                   built, in target/against/
  --json           print every measurement as JSON
  --help           print this
`;

const ROWS = ['shares', 'one', 'crowd', 'steady', 'rpc', 'block', 'tip',
  'scale', 'ledger', 'growth'];
const RUNS_MAX = 100;
const MINERS = 10000;

/** Numbers of connections whose costs are compared. */
const SCALE = [1000, 5000, MINERS, 18000];
/** Largest load average of a machine that does nothing else. */
const LOAD_MAX = 0.5;

/**
 * Least percentage of its core that a server uses when it is the bottleneck.
 */
const BUSY_MIN = 85;

/** Runs from which a cost is known to be flat. */
const SCALE_RUNS = 3;

/** Time limit: for all, and more for each run. */
const BASE_MS = 10 * 60 * 1000;
const RUN_MS = 5 * 60 * 1000;

class Table extends Bench {
  /** @param {Object} options - `other`: another commit's tree, or null. */

  constructor({runs, rows, other}) {
    super();
    this.runs = runs;
    this.other = other;
    this.trees = other ? [OWN_TREE, other] : [OWN_TREE];
    this.wanted = new Set(rows);
    this.samples = new Map();     // "scenario server" to objects
    this.lines = [];
    [this.load] = os.loadavg();
  }

  wants(...names) {
    return names.some(name => this.wanted.has(name));
  }

  add(scenario, server, sample) {
    const key = `${scenario} ${server}`;

    if (!this.samples.has(key))
      this.samples.set(key, []);
    this.samples.get(key).push(sample);
    progress(`${scenario} ${server}: ${JSON.stringify(sample)}`);
  }

  /** All values of one number. */

  of(scenario, server, name) {
    const samples = this.samples.get(`${scenario} ${server}`) || [];
    return samples.map(sample => sample[name]);
  }

  async run() {
    if (this.wants('shares', 'one', 'steady', 'rpc'))
      await this.runShares();

    if (this.wants('crowd', 'scale'))
      await this.runCrowds();

    if (this.wants('ledger'))
      await this.runLedger();

    if (this.wants('growth'))
      await this.runGrowth();

    for (const tree of this.trees) {
      if (this.wants('tip'))
        this.add('tip', tree.name, await rows.tips(this, tree));

      if (this.wants('block'))
        this.add('block', tree.name, await rows.block(this.runs, tree));
    }
  }

  /** All servers run all the time; one of them is used at a time. */

  async runShares() {
    const servers = [await Limit.start(this)];

    for (const tree of this.trees)
      servers.push(await Hstratum.start(this, {tree}));

    const scenarios = [
      ['shares', rows.flatOut],
      ['one', rows.oneOutstanding],
      ['steady', rows.steady]
    ].filter(([name]) => this.wants(name));

    for (let run = 0; run < this.runs; run++) {
      for (const [name, scenario] of scenarios) {
        for (const server of inTurn(servers, run))
          this.add(name, server.name, await scenario(server));
      }
      if (this.wants('rpc')) {
        for (const server of inTurn(servers.slice(1), run))
          this.add('rpc', server.name, await rows.rpc(server));
      }
    }

    for (const server of servers)
      await server.end();
  }

  /** Memory is measured in a process that has had no connection before. */

  async runCrowds() {
    const sizes = this.wants('scale') ? SCALE : [MINERS];

    for (const size of sizes) {
      const runs = size === MINERS && this.wants('crowd')
        ? this.runs
        : Math.min(this.runs, SCALE_RUNS);

      for (let run = 0; run < runs; run++) {
        for (const tree of inTurn([null, ...this.trees], run)) {
          const server = tree ? await Hstratum.start(this, {tree})
            : await Limit.start(this);
          this.add(`crowd${size}`, server.name,
            await rows.crowd(server, size));
          await server.end();
        }
      }
    }
  }

  /** The same load on a ledger that is synced, and on one in memory. */

  async runLedger() {
    const cases = [];

    for (const tree of this.trees) {
      const memory = ['--memory'];
      cases.push(['disk', await Hstratum.start(this, {tree})]);
      cases.push(['memory', await Hstratum.start(this, {tree, args: memory})]);
    }

    for (let run = 0; run < this.runs; run++) {
      for (const [on, server] of inTurn(cases, run)) {
        this.add(`ledgerFlat ${on}`, server.name, await rows.flatOut(server));
        this.add(`ledgerSteady ${on}`, server.name, await rows.steady(server));
      }
    }

    for (const [, server] of cases)
      await server.end();
  }

  /** The same load for more accounts, and on a ledger of years. */

  async runGrowth() {
    const cases = [];

    for (const tree of this.trees) {
      const young = await Hstratum.start(this, {tree});
      const old = await Hstratum.start(this, {tree});

      await old.age();
      cases.push(['few', young, 10], ['many', young, 1000], ['old', old, 10]);
    }

    for (let run = 0; run < this.runs; run++) {
      for (const [name, server, accounts] of inTurn(cases, run)) {
        const args = [`--accounts=${accounts}`];
        this.add(`growthFlat ${name}`, server.name,
          await rows.flatOut(server, args));
        this.add(`growthSteady ${name}`, server.name,
          await rows.steady(server, args));
      }
    }

    for (const server of new Set(cases.map(([, server]) => server)))
      await server.end();
  }

  report() {
    this.lines = [['', 'limit', ...this.other ? [this.other.name] : [],
      'hstratum', ...this.other ? ['to it'] : [], 'ratio', 'must', 'aim',
      'verdict', 'why']];
    this.reportShares();
    this.reportCrowd();
    this.reportNode();
    this.reportScale();
    this.reportLedger();
    this.reportGrowth();

    const [before, after] = [this.load, os.loadavg()[0]];
    const notes = [
      `Medians of ${this.runs} runs (smallest–greatest). The machine's load `
        + `average was ${before.toFixed(1)} before and ${after.toFixed(1)} `
        + 'after.'
    ];

    if (before > LOAD_MAX)
      notes.push('It was busy with something else: read only the ratios.');

    const again = this.of(`crowd${MINERS}`, 'hstratum', 'again');

    if (again.some(count => count > 0))
      notes.push(`More than one job for a block: up to ${Math.max(...again)}.`);

    for (const name of ['shares', 'one']) {
      for (const server of ['limit', ...this.trees.map(({name}) => name)]) {
        const load = this.of(name, server, 'load');
        const busy = this.of(name, server, 'busy');
        if (load.length > 0) {
          notes.push(`${name}, ${server}: the server used `
            + `${median(busy).toFixed(0)} % of its core, the load `
            + `${median(load).toFixed(0)} % of its own.`);
        }
      }
    }

    return `${table(this.lines, {endsInText: true})}\n\n${notes.join('\n')}\n`;
  }

  reportShares() {
    // A server that had to share its core says nothing about its speed.
    const isQuiet = ['limit', 'hstratum'].every((server) => {
      return median(this.of('shares', server, 'busy')) >= BUSY_MIN;
    });
    const bounds = {must: 0.45, aim: 0.7};

    this.compare('accepted shares/s, 1,000 connections, 8 outstanding',
      'shares', 'rate', {...isQuiet && bounds, more: true, digits: 0,
        why: 'hashing, TCP'});
    this.compare('  for each second of the server\'s CPU',
      'shares', 'each', {...bounds, more: true, digits: 0,
        why: 'hashing, TCP'});
    this.compare('server CPU a share, 8 outstanding, µs',
      'shares', 'cpu', {digits: 2, why: 'hashing, TCP'});
    this.compare('server CPU a share, 1 outstanding, µs',
      'one', 'cpu', {must: 1.5, aim: 1.2, digits: 2,
        why: 'a send for each reply'});
  }

  reportCrowd() {
    const crowd = `crowd${MINERS}`;

    this.compare('new block to 10,000 miners, first to last, ms',
      crowd, 'fanout', {must: 1.3, aim: 1.05, digits: 0,
        why: 'a send for each miner'});
    this.compare('10,000 at once, until the last has work, s',
      crowd, 'storm', {must: 3, aim: 1.5, digits: 2,
        why: 'accept, login, a job for each'});
    this.compare('memory a connection, 10,000 idle, bytes',
      crowd, 'memory', {must: 4096, aim: 2560, digits: 0, absolute: true,
        why: 'session, connection'});
    this.compare('reply at 4,000 shares/s, p50, ms',
      'steady', 'p50', {digits: 2, why: 'the disk\'s sync'});
    this.reportSteady();
  }

  reportSteady() {
    const all = name => ['limit', ...this.trees.map(tree => tree.name)]
      .flatMap(server => this.of('steady', server, name));
    const why = 'the disk';
    const bound = (times) => {
      return median(this.of('steady', 'limit', 'p99'))
        + times * median(all('fsync99'));
    };

    this.compare('reply at 4,000 shares/s, p99, ms', 'steady', 'p99',
      {digits: 2, absolute: true, must: bound(3), aim: bound(1.5),
        why: 'one or two of the disk\'s syncs'});
    this.line('the disk\'s fsync in the same run, p50, ms',
      {ours: all('fsync50')}, {digits: 2, why});
    this.line('the disk\'s fsync in the same run, p99, ms',
      {ours: all('fsync99')}, {digits: 2, why});
  }

  reportNode() {
    const why = 'one core for the node and us';

    this.pair('node\'s RPC idle | flat out, p50, ms', ['rpc', 'idle50'],
      ['rpc', 'p50'], {digits: 2, why});
    this.pair('node\'s RPC idle | flat out, p99, ms', ['rpc', 'idle99'],
      ['rpc', 'p99'], {digits: 2, must: 2, aim: 1.2, why});
    this.pair('solution to a peer\'s block, 1,000 txs, submitblock | , ms',
      ['block', 'theirs'], ['block', 'ours'], {digits: 1, must: 16, aim: 6,
        absolute: true, why: 'announced before it is verified'});
    this.pair('new tip to a miner\'s job, empty block, ms', null,
      ['tip', 'empty'], {digits: 2, aim: 1, absolute: true,
        why: 'the first template is ours'});
    this.pair('new tip to a miner\'s job, 3,000 txs, ms', null,
      ['tip', 'full'], {digits: 1, aim: 5, absolute: true,
        why: 'the first template is ours'});
  }

  /** Report how the cost of one connection grows with their number. */

  reportScale() {
    if (!this.wants('scale'))
      return;

    for (const [name, what, why] of [
      ['connect', 'a connection', 'accept, login, a job'],
      ['notify', 'a connection and job', 'a send for each miner']
    ]) {
      for (const size of SCALE) {
        this.compare(`CPU ${what}, ${size.toLocaleString('en')}, µs`,
          `crowd${size}`, name, {digits: 1, why});
      }

      // Each against the smallest before it: a falling cost is no fault.
      const growth = (server) => {
        const medians = SCALE.map((size) => {
          return median(this.of(`crowd${size}`, server, name));
        });
        return [Math.max(...medians.map((cost, i) => {
          return cost / Math.min(...medians.slice(0, i + 1));
        }))];
      };

      this.line('  how it grows with their number, at most',
        {ours: growth('hstratum'),
          other: this.other ? growth(this.other.name) : []},
        {digits: 2, must: 1.2, aim: 1.1, absolute: true,
          why: 'nothing looks at all miners'});
    }
  }

  reportLedger() {
    for (const [scenario, name, what, digits] of [
      ['ledgerFlat', 'rate', 'shares/s flat out', 0],
      ['ledgerFlat', 'cpu', 'CPU a share flat out, µs', 2],
      ['ledgerSteady', 'cpu', 'CPU a share at 4,000/s, µs', 2],
      ['ledgerSteady', 'p50', 'reply at 4,000/s, p50, ms', 2],
      ['ledgerSteady', 'p99', 'reply at 4,000/s, p99, ms', 2]
    ]) {
      this.pair(`ledger in memory | on disk: ${what}`,
        [`${scenario} memory`, name], [`${scenario} disk`, name],
        {digits, why: 'a sync for each group'});
    }
  }

  reportGrowth() {
    for (const [what, name] of [['10 accounts | 1,000', 'many'],
      ['new ledger | one of 5 million rows', 'old']]) {
      for (const [scenario, number, unit] of [
        ['growthFlat', 'cpu', 'CPU a share flat out, µs'],
        ['growthSteady', 'cpu', 'CPU a share at 4,000/s, µs'],
        ['growthSteady', 'p50', 'reply at 4,000/s, p50, ms']
      ]) {
        this.pair(`${what}: ${unit}`, [`${scenario} few`, number],
          [`${scenario} ${name}`, number],
          {digits: 2, why: 'no cost by size'});
      }
    }
  }

  /** A number of the limit server's and of each tree's. */

  compare(what, scenario, name, options) {
    this.line(what, {limit: this.of(scenario, 'limit', name),
      ours: this.of(scenario, 'hstratum', name),
      other: this.ofOther(scenario, name)}, options);
  }

  /** Two numbers of this tree, of which the first may be null. */

  pair(what, before, now, options) {
    this.line(what, {
      limit: before ? this.of(before[0], 'hstratum', before[1]).flat() : [],
      ours: this.of(now[0], 'hstratum', now[1]).flat(),
      other: this.ofOther(...now).flat()
    }, options);
  }

  ofOther(scenario, name) {
    return this.other ? this.of(scenario, this.other.name, name) : [];
  }

  /**
   * Print one row. Its bounds hold for the ratio to the limit, or for the
   * number itself where it is `absolute`; `why` is what it is made of.
   */

  line(what, {limit = [], ours, other = []},
    {digits, must, aim, more, absolute, why}) {
    if (ours.length === 0)
      return;

    const ratio = ratioOf(ours, limit);
    const value = absolute ? median(ours) : ratio;
    const shown = (bound) => {
      if (bound == null)
        return '';
      const text = absolute ? bound.toFixed(digits) : String(bound);
      return `${more ? '≥' : '≤'} ${text}`;
    };
    const meets = bound => (more ? value >= bound : value <= bound);
    let verdict = '';

    if (aim != null && meets(aim))
      verdict = 'aim';
    else if (must != null)
      verdict = meets(must) ? 'must' : 'SHORT';
    else if (aim != null)
      verdict = 'measured';

    this.lines.push([what, spread(limit, digits),
      ...this.other ? [spread(other, digits)] : [], spread(ours, digits),
      ...this.other ? [show(ratioOf(ours, other))] : [], show(ratio),
      shown(must), shown(aim), verdict, why]);
  }
}

function ratioOf(values, others) {
  return others.length > 0 ? median(values) / median(others) : null;
}

function show(ratio) {
  return ratio == null ? '' : ratio.toFixed(2);
}

/** The servers take turns at being first. */

function inTurn(servers, run) {
  return run % 2 === 0 ? servers : [...servers].reverse();
}

function spread(values, digits) {
  if (values.length === 0)
    return '–';

  const show = value => value.toFixed(digits);
  const text = show(median(values));

  if (values.length === 1)
    return text;

  return `${text} (${show(Math.min(...values))}–${show(Math.max(...values))})`;
}

function progress(text) {
  if (process.env.PROGRESS)
    process.stderr.write(`${text}\n`);
  else
    process.stderr.write('.');
}

/*
 * The command
 */

function parse(argv) {
  const {values} = parseArgs({args: argv, options: {
    runs: {type: 'string', default: process.env.RUNS || '5'},
    rows: {type: 'string', default: process.env.ROWS || ROWS.join(',')},
    against: {type: 'string', default: process.env.AGAINST || ''},
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', default: false}
  }});

  if (values.help)
    return {help: true};

  const runs = Number(values.runs);
  const names = values.rows.split(',');

  if (!/^\d{1,3}$/.test(values.runs) || runs < 1 || runs > RUNS_MAX)
    throw new PlainError(`runs: 1 to ${RUNS_MAX}, not '${values.runs}'`);

  for (const name of names) {
    if (!ROWS.includes(name))
      throw new PlainError(`rows: of ${ROWS.join(', ')}, not '${name}'`);
  }

  return {runs, rows: names, against: values.against, json: values.json};
}

async function main() {
  const options = parse(process.argv.slice(2));

  if (options.help) {
    process.stdout.write(HELP);
    return;
  }

  for (const file of [ADDON, SWARM]) {
    if (!fs.existsSync(file))
      throw new PlainError(`${file} is not there: run \`make build\` first`);
  }

  const other = options.against ? otherTree.build(options.against) : null;

  pin(process.pid, LOAD_CORE);

  const bench = new Table({...options, other});

  await runAtMost(bench,
    (BASE_MS + RUN_MS * options.runs) * bench.trees.length);
  process.stderr.write('\n');

  if (options.json) {
    const samples = Object.fromEntries(bench.samples);
    process.stdout.write(`${JSON.stringify(samples, null, 2)}\n`);
  } else {
    process.stdout.write(bench.report());
  }
}

exitWith(main());
