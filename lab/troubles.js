'use strict';

/*
 * The troubles of a pool, each as a function of the stage (lab/soak.js) that
 * begins it, ends it, and gives a short description. Its effect on the node is
 * over when it returns.
 */

const {holdLedger, pause} = require('./rig');
const {readLedger} = require('./ledger');

const TERM_MS_MAX = 12000;
const REFUSED_MS_MAX = 10000;
const CLOCK_S_MAX = 2400;

/** Time after which a block that was found is in the ledger. */
const RECORDED_MS = 1000;

/**
 * Lead of the other branch: blocks that the pool may find while a node starts.
 */
const HEAD_START = 12;

/** Wait until miners have noticed that a server is gone, and read its log. */

async function bury(stage, since) {
  for (const swarm of stage.swarms)
    await swarm.waitLost(since);

  stage.readLog();
}

async function restart(stage, refused) {
  stage.checkShares(readLedger(stage.node.stratumDir), refused);
  await stage.node.spawn();
  await stage.node.ready();
}

async function buryAndRestart(stage, since) {
  await bury(stage, since);
  await restart(stage);
}

async function kill(stage) {
  await stage.node.kill();
  await buryAndRestart(stage, Date.now());
  return 'kill -9';
}

async function terminate(stage) {
  const begun = performance.now();
  const {code, signal} = await stage.node.signal('SIGTERM');
  const ms = Math.round(performance.now() - begun);

  if (code !== 0 || ms > TERM_MS_MAX)
    stage.fault(`SIGTERM: exit ${code === null ? signal : code} in ${ms} ms`);

  await buryAndRestart(stage, Date.now());
  return `stopped in ${ms} ms`;
}

async function freeze(stage) {
  const ms = stage.between(1000, 12000);

  stage.node.child.kill('SIGSTOP');
  await pause(ms);
  stage.node.child.kill('SIGCONT');
  return `for ${ms} ms`;
}

async function unplug(stage) {
  const ms = stage.between(1000, 8000);

  stage.network.unplug();
  await pause(ms);
  proveCut(stage, ms);
  stage.network.plug();
  return `for ${ms} ms`;
}

async function blackhole(stage) {
  const ms = stage.between(1000, 8000);

  stage.network.blackhole();
  await pause(ms);
  proveCut(stage, ms);
  stage.network.unblackhole();
  return `for ${ms} ms`;
}

/**
 * Check that the cut was real: miners had no answers meanwhile. A trouble
 * without effect would find nothing.
 */

function proveCut(stage, ms) {
  const {oldest_ms: oldest} = stage.swarms[1].read();

  if (oldest < ms / 4)
    stage.fault(`miners had answers while the link was cut: ${oldest} ms`);
}

/** Have another node mine alone, and connect its longer branch to ours. */

async function reorganize(stage) {
  const {node, other} = stage;

  await other.restart({peer: node});
  await other.waitFor('the chain', async () => {
    return await other.height() >= await node.height() - 1;
  });
  await other.restart({peer: null});

  const fork = await other.height();

  await pause(stage.between(1000, 6000));

  // Ours goes on while the other starts again. If it were longer then, the
  // other would leave its own branch.
  const behind = Math.max(0, await node.height() - fork);
  const [first] = await other.mine(behind + HEAD_START);

  await other.restart({peer: node});

  const orphaned = await node.height() - fork;

  // A node asks for the blocks of a peer that announces one.
  await other.mine(1);
  await node.waitFor(`a branch from height ${fork} on`,
    () => isOnMain(node, first));

  return `from height ${fork} on, ${orphaned} blocks orphaned`;
}

async function isOnMain(node, hash) {
  try {
    return (await node.rpc('getblockheader', [hash])).confirmations > 0;
  } catch (e) {
    return false;
  }
}

/** Fill the disk until shares are refused, if ever, and some time more. */

async function fillDisk(stage) {
  const before = sumRefused(stage);
  const end = Date.now() + REFUSED_MS_MAX;

  stage.disk.fill();

  while (Date.now() < end && sumRefused(stage) === before)
    await pause(100);

  await pause(stage.between(0, 5000));
}

/** Shares that the ledger has refused so far. */

function sumRefused({swarms}) {
  return swarms.flatMap(swarm => Object.entries(swarm.read().refused || {}))
    .filter(([text]) => /ledger/.test(text))
    .reduce((sum, [, count]) => sum + count, 0);
}

async function full(stage) {
  const before = sumRefused(stage);

  await fillDisk(stage);
  stage.disk.free();
  return `${sumRefused(stage) - before} shares refused`;
}

/**
 * Fill the disk and kill the server. A block found then may be lost, unless
 * its share was acknowledged: they are committed together. A share that was
 * refused then may be recorded, one that was refused before may not.
 */

async function fullAndKill(stage) {
  const before = stage.findings();

  await pause(RECORDED_MS);

  const refused = sumRefused(stage);

  await fillDisk(stage);
  await stage.node.kill();
  stage.disk.free();
  await bury(stage, Date.now());

  const found = stage.findings();
  const lost = [...found].filter(([hash, {answered, refused}]) => {
    return !before.has(hash) && !(answered && refused === null);
  });

  lost.forEach(([hash]) => stage.excused.add(hash));
  await restart(stage, sumRefused(stage) - refused);
  return `kill -9 on a full disk, ${lost.length} blocks may be lost`;
}

async function lock(stage) {
  const ms = stage.between(500, 8000);
  const holder = await holdLedger(stage.node, ms);

  await holder.exited;
  return `for ${ms} ms`;
}

async function lockAndKill(stage) {
  const holder = await holdLedger(stage.node, stage.between(500, 3000));

  await pause(stage.between(0, 500));
  await stage.node.kill();
  await holder.exited;
  await buryAndRestart(stage, Date.now());
  return 'kill -9 while another process writes';
}

async function shiftClock(stage) {
  const seconds = stage.between(-CLOCK_S_MAX, CLOCK_S_MAX);

  stage.clock.shift(seconds);
  await waitClock(stage);
  await pause(stage.between(0, 4000));
  return `${seconds} s from the true time`;
}

function waitClock({node, clock}) {
  return node.waitFor('the new time', async () => {
    const {time} = await node.info();
    const error = time.system - Date.now() / 1000 - clock.offset;
    return Math.abs(error) < 5;
  });
}

module.exports = {
  'node killed': kill,
  'node terminated': terminate,
  'node stopped for a while': freeze,
  'cable unplugged': unplug,
  'network a black hole': blackhole,
  'reorganisation': reorganize,
  'disk full': full,
  'disk full, node killed': fullAndKill,
  'ledger locked': lock,
  'ledger locked, node killed': lockAndKill,
  'clock shifted': shiftClock
};
