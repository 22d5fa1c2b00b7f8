'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {startNode} = require('./harness');
const {Miner} = require('./miner');

/** From this height on hsd relays blocks as on other networks. */
const HEIGHT = 20;

const BLOCKS = 3;

const JOB_STEPS = ['template', 'hand_over', 'queue', 'job', 'first', 'last'];
const BLOCK_STEPS = ['check', 'offer', 'announce', 'request'];

test('each block is traced from its share to a peer and to the next job',
  async (t) => {
    const node = await startNode(t, {listen: true});

    await node.mine(HEIGHT);

    const peer = await startNode(t, {plugin: false, peer: node});
    const miner = await Miner.start(t, node);

    await peer.waitTip(await node.tip());

    for (let count = 1; count <= BLOCKS; count++) {
      const tip = await node.tip();
      const job = await miner.waitJob((job) => {
        return job.prevBlock.toString('hex') === tip;
      });
      const {error, hash} = await miner.submit('alice', miner.solve(job));
      const height = HEIGHT + count;

      assert.strictEqual(error, null);
      await peer.waitTip(hash);

      const line = await node.waitLog(new RegExp(`new tip: ${height} ${hash}: `));
      const told = line.text.match(
        /: 1 miner had its job after (\S+) to (\S+) ms \((.*) ms\)$/);

      assert.ok(told, line.text);
      assert.ok(Number(told[1]) <= Number(told[2]), line.text);
      checkSteps(told[3], JOB_STEPS, told[2]);

      const race = await node.waitLog(
        new RegExp(`block race: ${height} ${hash}: .*first asked for after`));
      const [, steps] = race.text.match(/, no rival seen \((.*) ms\)$/);

      checkSteps(steps, BLOCK_STEPS);
      t.diagnostic(line.text);
      t.diagnostic(race.text);

      const metrics = await node.waitFor('the block in the metrics', async () => {
        const page = await readMetrics(node);
        return page.get('hstratum_tip_to_last_job_seconds_count') === count
          && page.get('hstratum_share_to_request_seconds_count') === count
          && page;
      });

      checkSums(metrics, JOB_STEPS.slice(0, -1), 'tip_to_job', 'tip_to_first_job');
      checkSums(metrics, JOB_STEPS, 'tip_to_job', 'tip_to_last_job');
      checkSums(metrics, BLOCK_STEPS, 'share_to_request', 'share_to_request');
      assert.strictEqual(node.count(/\(stratum\) new tip: /), count);
      assert.strictEqual(node.count(/\(stratum\) block race: /), count);
    }
  });

/** The log has all steps, in order; together they are the whole. */

function checkSteps(text, names, whole = null) {
  const steps = text.split(', ').map(step => step.split(' '));
  const sum = steps.reduce((sum, [, ms]) => sum + Number(ms), 0);

  assert.deepStrictEqual(steps.map(([name]) => name), names);

  if (whole != null) {
    // Each is rounded.
    assert.ok(Math.abs(sum - whole) < 0.005 * (names.length + 2), text);
  }
}

/** Values by their names, with labels. */

async function readMetrics(node) {
  const url = `http://127.0.0.1:${node.ports.dashboard}/metrics`;
  const text = await fetch(url).then(answer => answer.text());

  return new Map(text.split('\n').map((line) => {
    const end = line.lastIndexOf(' ');
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
}

/** Each step was counted as often as the whole, and all are as long. */

function checkSums(metrics, names, of, whole) {
  const get = name => metrics.get(`hstratum_${name}`);
  const ofStep = (name, part) => get(`${of}_step_seconds_${part}{step="${name}"}`);
  const sum = names.reduce((sum, name) => sum + ofStep(name, 'sum'), 0);

  for (const name of names) {
    assert.strictEqual(ofStep(name, 'count'), get(`${whole}_seconds_count`));
    assert.ok(ofStep(name, 'sum') >= 0);
  }

  assert.ok(Math.abs(sum - get(`${whole}_seconds_sum`)) < 1e-9, `${whole}: ${sum}`);
}
