'use strict';

/*
 * Time of a found block to a peer: from the write of the winning submit to the
 * stratum socket until the peer holds the whole block, against the same kind
 * of block given to the same node's `submitblock`.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {parseArgs} = require('util');
const Block = require('hsd/lib/primitives/block');
const Coin = require('hsd/lib/primitives/coin');
const TX = require('hsd/lib/primitives/tx');
const {getTarget} = require('hsd/lib/mining/common');
const {PLUGIN, startNode} = require('../plugin/test/harness');
const {Miner} = require('../plugin/test/miner');
const {address, ledgerOf} = require('../plugin/test/paying_blocks');
const {Observer} = require('../plugin/test/observer');
const {Spender} = require('../plugin/test/spender');
const {Bench, PlainError, exitWith, runAtMost} = require('./command');
const {median, table} = require('./numbers');
const {now} = require('./probe');

const PROBE = path.join(__dirname, 'probe.js');
const SEED_CREDIT = path.join(__dirname, '..', 'plugin', 'test',
  'seed_credit.py');
const ADDON = path.join(__dirname, '..', 'plugin', 'hstratum.node');

const HELP = `usage: node bench/block.js [options]

Time from a found block to a peer that holds it, through hstratum and through
the node's submitblock, on regtest. Needs the addon: make build.

  --rounds N       blocks for each row and way, 1 to 100 (10)
  --sizes N,...    transactions in a block, each 0 to 2000 (0,300,1000)
  --peers NAME,... observer, a bare connection; node, a second hsd (both)
  --accounts N     accounts that hstratum's blocks pay, 0 to 1000; with 0 they
                   pay the operator, like the node's own (0)
  --json           print every measurement as JSON
  --help           print this
`;

const ROUNDS_MAX = 100;
const SIZE_MAX = 2000;
const ACCOUNTS_MAX = 1000;
const PEERS = ['observer', 'node'];
const WAYS = ['hstratum', 'submitblock'];
const USER = 'alice';

// On a chain of less than about ten blocks hsd sends a new block compact,
// later ones whole.
const HEIGHT_MIN = 25;

// A coin pays a fee at each use; after so many a new one is prepared.
const COIN_USES = 20;

// Every account has an output, also in the long run.
const SPLIT = ['--stratum-payout=split', '--stratum-window=9000000000',
  '--stratum-output-min=0.1', `--stratum-outputs-max=${ACCOUNTS_MAX}`];

// Pause before each measurement.
const QUIET_MS = 100;

const RUN_MS_BASE = 120000;
const RUN_MS_BLOCK = 20000;

// Time limit of marks, which are read from the node's output so as not to
// disturb it.
const MARK_MS = 60000;

const POINTS = {
  hstratum: ['told', 'inv', 'asked', 'written', 'peer', 'add', 'reply',
    'connected', 'job', 'peerConnected'],
  submitblock: ['add', 'connected', 'inv', 'asked', 'written', 'peer', 'reply',
    'job', 'peerConnected']
};

/** A miner that records the times of replies, and of the first job on a tip. */

class TimedMiner extends Miner {
  constructor(node) {
    super(node);
    this.repliedAt = new Map();
    this.jobAt = new Map();
  }

  handle(line) {
    const at = now();

    super.handle(line);

    const message = this.lines.pop();

    if (message.method == null)
      this.repliedAt.set(message.id, at);

    const tip = this.job && this.job.prevBlock.toString('hex');

    if (message.method === 'mining.notify' && !this.jobAt.has(tip))
      this.jobAt.set(tip, at);
  }
}

class BlockBench extends Bench {
  constructor(options) {
    super();
    this.options = options;
    this.spender = new Spender();
    this.node = null;
    this.miner = null;
    this.samples = [];
  }

  async run() {
    const {sizes, rounds, peers} = this.options;
    const {spender} = this;

    this.node = await startNode(this, {
      listen: true,
      address: spender.address,
      args: ['--log-level=info', '--stratum-refresh=1',
        `--plugins=${PLUGIN},${PROBE}`,
        ...(this.options.accounts > 0 ? SPLIT : [])]
    });

    const uses = 2 * rounds * peers.length * sizes.length;
    const coins = Math.max(...sizes) * Math.ceil(uses / COIN_USES);

    if (coins > 0)
      await spender.prepare(this.node, coins);

    await this.node.mine(HEIGHT_MIN);

    if (this.options.accounts > 0)
      await this.giveWork();

    this.miner = await TimedMiner.start(this, this.node, USER);

    for (const name of peers) {
      const peer = name === 'node'
        ? await NodePeer.start(this, this.node)
        : await ObserverPeer.start(this, this.node);

      for (const txs of sizes) {
        for (let round = 0; round < rounds; round++) {
          // The ways take turns at being first.
          const ways = round % 2 === 0 ? WAYS : [...WAYS].reverse();

          for (const way of ways)
            await this.measure(way, peer, name, txs, round);
        }
      }

      await peer.end();
    }
  }

  /** Give accounts work in the window, so that each has an output. */

  async giveWork() {
    const {node} = this;
    const height = await node.height();

    await node.signal('SIGTERM');
    execFileSync('python3', [SEED_CREDIT, ledgerOf(node), String(height),
      ...Array.from({length: this.options.accounts}, (_, i) => address(i))]);
    await node.restart();
  }

  async measure(way, peer, name, txs, round) {
    const {node, spender} = this;

    node.lines.length = 0;

    const sent = await spender.flood([node], txs);
    await peer.ready(txs);

    const [hash, start, reply] = way === 'hstratum'
      ? await this.submitShare(txs)
      : await this.submitBlock(txs);

    const points = {peer: await peer.waitBlock(hash), reply: await reply()};
    const marks = await waitMarks(node, hash, 'connected');

    for (const point of ['told', 'add', 'inv', 'asked', 'written', 'connected'])
      points[point] = marks.get(point);

    points.peerConnected = await peer.waitConnected(hash);
    points.job = await this.miner.waitFor('a job on the block',
      () => this.miner.jobAt.get(hash));

    for (const [point, at] of Object.entries(points)) {
      if (at == null)
        delete points[point];
      else
        points[point] = at - start;
    }

    this.samples.push({way, peer: name, txs, round, ms: points});

    // Outputs that are confirmed can be spent again.
    for (const tx of sent)
      spender.coins.push(Coin.fromTX(tx, 0, 1));

    if (!this.options.json)
      process.stderr.write('.');
  }

  /**
   * Submit a share; gives the block's hash, the time of the submit, and a wait
   * for the reply.
   */

  async submitShare(txs) {
    const {miner} = this;
    const job = await this.waitJob(txs);
    const share = miner.solve(job);

    await quiet();

    const start = now();
    const id = miner.send('mining.submit', [USER, ...share.params]);

    return [share.hash, start, async () => {
      const {error} = await miner.reply(id);

      if (error)
        throw new Error(`submit: ${JSON.stringify(error)}`);

      return miner.repliedAt.get(id);
    }];
  }

  /**
   * Wait for a job on the tip with so many transactions besides the coinbase.
   */

  async waitJob(txs) {
    const {miner, node} = this;
    const tip = await node.tip();
    let asked = null;

    return miner.waitFor(`a job with ${txs} transactions`, async () => {
      const {job} = miner;

      if (job === asked || job.prevBlock.toString('hex') !== tip)
        return null;

      const {result} = await miner.request('mining.get_transactions', [job.id]);

      // It is there a moment after the job.
      if (!Array.isArray(result))
        return null;

      asked = job;
      return result.length === txs ? job : null;
    });
  }

  async submitBlock(txs) {
    const {node} = this;
    const block = await this.assemble(txs);
    const hash = block.hash().toString('hex');
    const hex = block.toHex();

    await quiet();

    const start = now();
    const answer = node.rpc('submitblock', [hex]).then((result) => {
      if (result !== null)
        throw new Error(`submitblock: ${result}`);

      return now();
    });

    // Awaited later; until then a failure must not count as unhandled.
    answer.catch(() => {});

    return [hash, start, () => answer];
  }

  /** Make a solved block of the node's own template. */

  async assemble(txs) {
    const template = await this.node.rpc('getblocktemplate',
      [{rules: [], capabilities: ['coinbasetxn']}]);

    if (template.transactions.length !== txs)
      throw new Error(`a template with ${template.transactions.length} of `
        + `${txs} transactions`);

    const block = new Block();

    block.mutable = true;
    block.version = template.version;
    block.prevBlock = Buffer.from(template.previousblockhash, 'hex');
    block.treeRoot = Buffer.from(template.treeroot, 'hex');
    block.reservedRoot = Buffer.from(template.reservedroot, 'hex');
    block.time = template.curtime;
    block.bits = parseInt(template.bits, 16);
    block.txs = [template.coinbasetxn, ...template.transactions]
      .map(tx => TX.fromHex(tx.data));
    block.merkleRoot = block.createMerkleRoot();
    block.witnessRoot = block.createWitnessRoot();

    const target = getTarget(block.bits);

    // The mask is zero: the share's hash is the block's.
    while (block.shareHash().compare(target) > 0)
      block.nonce++;

    return Block.decode(block.encode());
  }
}

/** A bare connection that asks for each announced block. */

class ObserverPeer {
  static async start(bench, node) {
    const peer = new this();
    peer.observer = await Observer.connect(bench, node);
    return peer;
  }

  async ready() {
    this.observer.received.clear();
  }

  async waitBlock(hash) {
    const {at} = await this.observer.waitBlock(hash);
    return at + (now() - performance.now());
  }

  async waitConnected() {
    return null;
  }

  async end() {
    this.observer.socket.destroy();
  }
}

/** A second hsd, which has the transactions in its mempool as usual. */

class NodePeer {
  static async start(bench, node) {
    const peer = new this();

    peer.node = await startNode(bench, {plugin: false, peer: node,
      args: ['--log-level=info', `--plugins=${PROBE}`]});
    await peer.node.waitTip(await node.tip(), MARK_MS);
    return peer;
  }

  async ready(txs) {
    await this.node.waitFor('the transactions at the peer', async () => {
      return (await this.node.rpc('getmempoolinfo')).size === txs;
    });
    this.node.lines.length = 0;
  }

  async waitBlock(hash) {
    return (await waitMarks(this.node, hash, 'whole')).get('whole');
  }

  async waitConnected(hash) {
    return (await waitMarks(this.node, hash, 'connected')).get('connected');
  }

  async end() {
    await this.node.kill();
  }
}

/** Wait until a block has passed that point; gives the time of each point. */

async function waitMarks(node, hash, last) {
  const marks = new Map();

  await node.waitFor(`block ${hash} to be ${last}`, () => {
    for (const {text} of node.lines) {
      const [word, point, of, at] = text.split(' ');

      // The first of its kind only: a second hsd sends the block on to others.
      if (word === 'probe' && of === hash && !marks.has(point))
        marks.set(point, Number(at));
    }
    return marks.has(last);
  }, MARK_MS);

  return marks;
}

function quiet() {
  return new Promise(resolve => setTimeout(resolve, QUIET_MS));
}

/*
 * The report
 */

function digits(ms) {
  return ms.toFixed(Math.abs(ms) < 100 ? 1 : 0);
}

function report({rounds, sizes, peers}, samples) {
  const of = (way, peer, txs, point) => {
    return samples.filter((sample) => {
      return sample.way === way && sample.peer === peer && sample.txs === txs
        && sample.ms[point] != null;
    }).map(sample => sample.ms[point]);
  };

  const whole = [['peer', 'txs', ...WAYS, 'ratio']];

  for (const peer of peers) {
    for (const txs of sizes) {
      const times = WAYS.map(way => of(way, peer, txs, 'peer'));
      const [ours, theirs] = times.map(median);

      whole.push([peer, String(txs), ...times.map((values) => {
        const [min, max] = [Math.min(...values), Math.max(...values)];
        return `${digits(median(values))} (${digits(min)}–${digits(max)})`;
      }), `${(theirs / ours).toFixed(1)}`]);
    }
  }

  const out = [
    'From solution to the peer holding the whole block, ms: median (min–max) '
      + `of ${rounds}`,
    table(whole)
  ];

  for (const way of WAYS) {
    const rows = [['peer', 'txs', ...POINTS[way]]];

    for (const peer of peers) {
      for (const txs of sizes) {
        rows.push([peer, String(txs), ...POINTS[way].map((point) => {
          const values = of(way, peer, txs, point);
          return values.length > 0 ? digits(median(values)) : '–';
        })]);
      }
    }

    out.push('', `Points on the way by ${way}, median ms after the solution`,
      table(rows));
  }

  return `${out.join('\n')}\n`;
}

/*
 * The command
 */

function parse(argv) {
  let values;

  try {
    ({values} = parseArgs({args: argv, options: {
      rounds: {type: 'string', default: '10'},
      sizes: {type: 'string', default: '0,300,1000'},
      peers: {type: 'string', default: PEERS.join(',')},
      accounts: {type: 'string', default: '0'},
      json: {type: 'boolean', default: false},
      help: {type: 'boolean', default: false}
    }}));
  } catch (e) {
    throw new PlainError(e.message);
  }

  const number = (name, text, min, max) => {
    if (!/^\d{1,6}$/.test(text) || Number(text) < min || Number(text) > max)
      throw new PlainError(`--${name}: ${min} to ${max}, not '${text}'`);
    return Number(text);
  };

  const peers = [...new Set(values.peers.split(','))];

  for (const name of peers) {
    if (!PEERS.includes(name))
      throw new PlainError(`--peers: ${PEERS.join(' or ')}, not '${name}'`);
  }

  return {
    rounds: number('rounds', values.rounds, 1, ROUNDS_MAX),
    sizes: [...new Set(values.sizes.split(',')
      .map(text => number('sizes', text, 0, SIZE_MAX)))],
    peers,
    accounts: number('accounts', values.accounts, 0, ACCOUNTS_MAX),
    json: values.json,
    help: values.help
  };
}

async function main() {
  const options = parse(process.argv.slice(2));

  if (options.help) {
    process.stdout.write(HELP);
    return;
  }

  if (!fs.existsSync(ADDON))
    throw new PlainError('the addon is not built: run `make build` first');

  const bench = new BlockBench(options);
  const blocks = 2 * options.rounds * options.sizes.length
    * options.peers.length;

  await runAtMost(bench, RUN_MS_BASE + RUN_MS_BLOCK * blocks);

  if (options.json) {
    const {rounds, sizes, peers} = options;
    process.stdout.write(`${JSON.stringify({rounds, sizes, peers,
      samples: bench.samples}, null, 2)}\n`);
  } else {
    process.stderr.write('\n');
    process.stdout.write(report(options, bench.samples));
  }
}

exitWith(main());
