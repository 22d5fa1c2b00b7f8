'use strict';

/*
 * Blocks that pay others than the operator: who is paid, how they are mined,
 * and what they have paid, as hsd's own code and the ledger have it.
 */

const assert = require('assert');
const {execFileSync} = require('child_process');
const path = require('path');
const Address = require('hsd/lib/primitives/address');
const Block = require('hsd/lib/primitives/block');
const {BINARY} = require('./proxy');

/** An address for each number. */

function address(number, network = 'regtest') {
  const hash = Buffer.alloc(20, 1);

  hash.writeUInt32BE(number);
  return Address.fromHash(hash, 0).toString(network);
}

/** Mine the newest job of the miner; all nodes must take the block. Gives it. */

async function mine(miner, user, nodes) {
  const tip = await nodes[0].tip();
  const job = await miner.waitJob((job) => {
    return job.prevBlock.toString('hex') === tip;
  });
  const {error, hash} = await miner.submit(user, miner.solve(job));

  assert.strictEqual(error, null, JSON.stringify(error));

  for (const node of nodes)
    await node.waitTip(hash);

  const raw = await nodes.at(-1).rpc('getblock', [hash, false]);

  return Block.decode(Buffer.from(raw, 'hex'));
}

/** Address and base units of each output of a block's coinbase. */

function outputsOf({txs: [coinbase]}) {
  return coinbase.outputs.map(({address, value}) => {
    return [address.toString('regtest'), value];
  });
}

function ledgerOf(node) {
  return path.join(node.stratumDir, 'ledger.db');
}

function report(node) {
  return JSON.parse(execFileSync(BINARY, ['ledger', 'report', '--json',
    '--ledger', ledgerOf(node)]));
}

async function api(node, what) {
  const url = `http://127.0.0.1:${node.ports.dashboard}/api/v1/${what}`;

  return (await fetch(url)).json();
}

module.exports = {address, api, ledgerOf, mine, outputsOf, report};
