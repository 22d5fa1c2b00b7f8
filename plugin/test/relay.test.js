'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {startNode} = require('./harness');
const {Miner} = require('./miner');
const {Observer} = require('./observer');
const {Postgres} = require('./postgres');

const BLOCKS = 10;

test('a block found without peers reaches those of another server',
  async (t) => {
    const database = await Postgres.start(t);
    const finder = await startNode(t, {args: shared(database, 'finder')});
    const other = await startNode(t,
      {listen: true, args: shared(database, 'other')});
    const peer = await startNode(t, {plugin: false, peer: other});
    const observer = await Observer.connect(t, other);
    const miner = await Miner.start(t, finder);
    const delays = [];

    for (let i = 0; i < BLOCKS; i++) {
      const tip = await finder.tip();
      const job = await miner.waitJob((job) => {
        return job.prevBlock.toString('hex') === tip;
      });
      const solved = miner.solve(job);
      const from = performance.now();
      const {error, hash} = await miner.submit('alice', solved);

      assert.strictEqual(error, null);

      const {at} = await observer.waitBlock(hash);

      delays.push(at - from);
      await peer.waitTip(hash);
      await finder.waitTip(hash);
      await other.waitLog(
        new RegExp(`block of another server: accepted: ${hash}`));
    }

    delays.sort((a, b) => a - b);
    t.diagnostic(`from the solution to the other server's peer: median ${
      delays[BLOCKS / 2].toFixed(1)} ms, at most ${
      delays[BLOCKS - 1].toFixed(1)} ms`);

    // It is the finder's block alone.
    assert.strictEqual((await finder.rpc('getpeerinfo')).length, 0);
    assert.strictEqual(finder.count(/block accepted: /), BLOCKS);
    assert.strictEqual(other.count(/block (found|accepted|refused)/), 0);
    assert.strictEqual((await other.rpc('getstratuminfo')).lastblock, null);

    // A block in the other direction, to a node that gets blocks in no other
    // way.
    const second = await Miner.start(t, other);
    const {hash} = await second.submit();

    await finder.waitTip(hash);
    await finder.waitLog(
      new RegExp(`block of another server: accepted: ${hash}`));
  });

test('a block that was tampered with is not announced', async (t) => {
  const database = await Postgres.start(t);
  const server = await startNode(t,
    {listen: true, args: shared(database, 'server')});
  const peer = await startNode(t, {plugin: false, peer: server});
  const observer = await Observer.connect(t, server);
  const forger = await startNode(t, {plugin: false});
  const [hash] = await forger.mine(1);
  const raw = Buffer.from(await forger.rpc('getblock', [hash, false]), 'hex');

  // Changes the coinbase, so that the header's root is not its root any more.
  raw[raw.length - 1] ^= 1;
  await database.ask(`INSERT INTO origins (origin, label, sequence, seen_at_ms)
    VALUES ('\\x00', 'forger', 0, 0)`);
  await database.ask(`INSERT INTO raw_blocks (hash, origin, found_at, raw)
    SELECT '${hash}', id, extract(epoch FROM now())::BIGINT,
      decode('${raw.toString('hex')}', 'hex')
    FROM origins WHERE label = 'forger'`);
  await server.waitLog(
    new RegExp(`block of another server: rejected, .*: ${hash}`));

  // The next block is as usual, and nobody was told of the false one.
  const miner = await Miner.start(t, server);
  const {hash: own} = await miner.submit();

  await observer.waitBlock(own);
  await peer.waitTip(own);
  assert.ok(!observer.announced.has(hash));
});

function shared(database, name) {
  return [`--stratum-database=${database.url}`, `--stratum-server-id=${name}`];
}
