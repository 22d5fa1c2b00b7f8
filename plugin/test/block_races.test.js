'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {startNode} = require('./harness');
const {Miner} = require('./miner');

/** From this height on hsd relays blocks as on other networks. */
const HEIGHT = 20;

test('the race of a found block is told, and its rival', async (t) => {
  const first = await startNode(t, {listen: true});
  const apart = await startNode(t, {plugin: false});

  await first.mine(HEIGHT);

  for (let height = 1; height <= HEIGHT; height++) {
    const hash = await first.rpc('getblockhash', [height]);
    await apart.rpc('submitblock', [await raw(first, hash)]);
  }

  const [rival] = await apart.mine(1);
  const second = await startNode(t, {plugin: false, peer: first});

  await second.waitTip(await first.tip());

  const {hash} = await find(t, first);

  await first.waitTip(hash);

  const line = await first.waitLog(/block race: /);
  const told = new RegExp(`block race: 21 ${hash}: announced to 1 peer after `
    + '(\\S+) ms, first asked for after (\\S+) ms, by 1 within 1 s, '
    + 'no rival seen ').exec(line.text);

  assert.ok(told, line.text);
  t.diagnostic(`announced after ${told[1]} ms, asked after ${told[2]} ms`);

  const before = await race(first, hash);

  assert.ok(before.announced_ms >= 0 && before.announced_ms <= before.asked_ms);
  assert.strictEqual(before.peers, 1);
  assert.strictEqual(before.asked_within_1s, 1);
  assert.strictEqual(before.rival, null);

  // The node takes it for a branch beside its chain.
  await first.rpc('submitblock', [await raw(apart, rival)]);
  await first.waitLog(new RegExp(`block race: 21 ${hash}: .*a rival was seen `
    + `\\S+ ms after it: ${rival} `));

  // Answers are kept for a moment.
  const after = await first.waitFor('the rival in the API', async () => {
    const now = await race(first, hash);
    return now.rival && now;
  });

  assert.strictEqual(after.rival, rival);
  assert.ok(after.rival_ms > 1000);
  assert.strictEqual(first.count(/block race: /), 2);

  const metrics = await page(first, '/metrics').then(answer => answer.text());

  assert.match(metrics, /^hstratum_block_announced_seconds_count 1$/m);
  assert.match(metrics, /^hstratum_block_asked_seconds_count 1$/m);
  assert.match(metrics, /^hstratum_block_rivals_total 1$/m);
  assert.match(metrics, /^hstratum_block_peers 1$/m);
  assert.match(metrics, /^hstratum_block_peers_asked 1$/m);
});

test('a block that comes too late has the rival that was before it',
  async (t) => {
    const node = await startNode(t);
    const miner = await Miner.start(t, node);
    const share = miner.solve();
    const [rival] = await node.mine(1);
    const {hash} = await miner.submit('alice', share);

    await node.waitLog(new RegExp(`block race: 1 ${hash}: not announced, asked `
      + `for by no peer, a rival was seen \\S+ ms before it: ${rival} `
      + '\\(check \\S+ ms\\)$'));

    const late = await race(node, hash);

    assert.strictEqual(late.announced_ms, null);
    assert.strictEqual(late.rival, rival);
    assert.ok(late.rival_ms < 0);
  });

async function find(t, node) {
  const miner = await Miner.start(t, node);
  const tip = await node.tip();
  const job = await miner.waitJob((job) => {
    return job.prevBlock.toString('hex') === tip;
  });
  const reply = await miner.submit('alice', miner.solve(job));

  assert.strictEqual(reply.error, null);
  return reply;
}

function raw(node, hash) {
  return node.rpc('getblock', [hash, false]);
}

function page(node, path) {
  return fetch(`http://127.0.0.1:${node.ports.dashboard}${path}`);
}

function race(node, hash) {
  return node.waitFor(`the race of ${hash}`, async () => {
    const {blocks} = await (await page(node, '/api/v1/blocks')).json();
    return blocks.find(block => block.hash === hash).race;
  });
}
