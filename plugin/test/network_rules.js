'use strict';

/*
 * Networks of a test's own, and a clock that the test moves.
 *
 * Required by a node before hsd, this module changes a network's parameters in
 * that process: main with a target that a test can meet keeps the name, the
 * addresses and the magic number of main, so that hstratum treats it as main.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const {createRequire} = require('module');
const path = require('path');

const NS = 1000000000n;

/** Offsets in a raw header (hsd lib/primitives/abstractblock.js). */
const TIME_AT = 4;
const BITS_AT = 200;

/** The wall clock of nodes: it stands still until it is moved. */

class Clock {
  /** @param {Number} time - Unix seconds. */

  constructor(dir, time) {
    this.file = path.join(dir, 'clock');
    this.library = path.join(dir, 'clock.so');
    this.time = time;
    execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', this.library,
      path.join(__dirname, 'clock.c')]);
    this.fd = fs.openSync(this.file, 'w');
    this.move(0);
  }

  get env() {
    return {LD_PRELOAD: this.library, CLOCK_FILE: this.file};
  }

  /** @param {Number} seconds - from its present time. */

  move(seconds) {
    const raw = Buffer.alloc(8);

    this.time += seconds;
    raw.writeBigInt64LE(BigInt(this.time) * NS);
    fs.writeSync(this.fd, raw, 0, 8, 0);
  }

  close() {
    fs.closeSync(this.fd);
  }
}

/**
 * The environment of a node on a network with other parameters.
 * @param {Object} rules - {network, genesisTime, bits, anchor and roots:
 *   coin_proofs.js, and parameters as in hsd lib/protocol/networks.js}
 */

function environment(rules, hsd) {
  return {
    NODE_OPTIONS: `--require=${__filename}`,
    TEST_RULES: JSON.stringify({...rules, hsd})
  };
}

function apply({hsd, network, genesisTime, bits, anchor, roots,
  ...parameters}) {
  const load = name => require(path.join(hsd, 'lib', name));
  const options = load('protocol/networks')[network];

  merge(options, parameters);
  options.seeds = [];
  options.checkpointMap = {};
  options.lastCheckpoint = 0;

  if (bits) {
    options.pow.bits = bits;
    options.pow.limit = load('protocol/consensus').fromCompact(bits);
    options.pow.chainwork = options.pow.limit.constructor.from(0);
    startFrom(options, load('primitives/headers'), genesisTime, bits);
  }

  if (anchor)
    trust(load, createRequire(path.join(hsd, 'package.json')), anchor, roots);

  // A clock that leaps by hours makes every answer late.
  load('net/peer').prototype.maybeTimeout = () => {};
}

function merge(to, from) {
  for (const [key, value] of Object.entries(from)) {
    if (value && typeof value === 'object')
      merge(to[key], value);
    else
      to[key] = value;
  }
}

/** Give the network a genesis block of that time and the lowest difficulty. */

function startFrom(options, Headers, time, bits) {
  const raw = Buffer.from(options.genesisBlock);

  raw.writeUInt32LE(time, TIME_AT);
  raw.writeUInt32LE(bits, BITS_AT);
  options.genesisBlock = raw;
  Object.assign(options.genesis, {time, bits,
    hash: Headers.decode(raw.slice(0, 236)).hash()});
}

/** Have reserved names and airdrops proven by roots of the test. */

function trust(load, require, anchor, roots) {
  const {ownership} = load('covenants/ownership');
  const {Record} = require('bns/lib/wire');
  const proof = load('primitives/airdropproof').prototype;
  const {verifyMerkle} = proof;
  const [faucet, airdrop] = roots.map(root => Buffer.from(root, 'hex'));

  ownership.anchors = [Record.fromString(anchor)];
  proof.verifyMerkle = function verify() {
    return verifyMerkle.call(this, this.isAddress() ? faucet : airdrop);
  };

  // hsd takes airdrops by RPC on main alone.
  const rpc = load('node/rpc').prototype;
  const {sendRawAirdrop} = rpc;

  rpc.sendRawAirdrop = function send(...args) {
    const onMain = Object.create(this, {network: {value: {type: 'main'}}});

    return sendRawAirdrop.apply(onMain, args);
  };
}

if (process.env.TEST_RULES)
  apply(JSON.parse(process.env.TEST_RULES));

module.exports = {Clock, environment};
