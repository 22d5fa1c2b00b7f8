'use strict';

const assert = require('assert');
const {test} = require('node:test');
const {FallbackTemplates} = require('../fallback_templates');

const QUIET = {error: () => {}, info: () => {}};

class Template {
  constructor() {
    Object.assign(this, {items: [], claims: [], airdrops: [], fees: 0,
      height: 2, prevBlock: Buffer.alloc(32, 1)});
  }

  refresh() {}
}

function makeItem(id, parent = 0) {
  return {
    hash: Buffer.alloc(32, id),
    fee: 10,
    tx: {
      hash: () => Buffer.alloc(32, id),
      inputs: [{prevout: {hash: Buffer.alloc(32, parent)}}]
    }
  };
}

/** Templates whose items are these, by number. */

function makeTemplate(...ids) {
  return Object.assign(new Template(), {items: ids.map(id => makeItem(id))});
}

/**
 * @param {Function} judge - of the items' numbers and the template: null, or
 * why it is refused; an error that it throws; undefined where it is silent.
 */

function start(judge) {
  const seen = {offered: [], withheld: [], told: [], checks: 0, refreshed: 0};

  const verifier = {
    forget: () => {},
    verify: async (attempt) => {
      const reason = judge(idsOf(attempt), attempt);

      seen.checks++;

      if (reason instanceof Error)
        return {isValid: false, reason: null, failure: reason.message, isLate: false};

      return {isValid: reason === null, reason: reason || null,
        failure: reason === undefined ? 'late' : null, isLate: reason === undefined};
    }
  };

  const templates = {
    onMempool: () => seen.refreshed++,
    offerVerified: attempt => seen.offered.push(idsOf(attempt)),
    withhold: reason => seen.withheld.push(reason)
  };

  const node = {chain: {tip: {hash: Buffer.alloc(32, 1)}}};
  const server = {templateInvalid: reason => seen.told.push(reason)};
  const fallback = new FallbackTemplates(node, server, verifier, templates, QUIET);

  fallback.firsts = {make: () => null};

  return {fallback, node, seen};
}

function idsOf(attempt) {
  return attempt.items.map(item => item.hash[0]);
}

test('the one that spoils it is found, and the others go on', async () => {
  const {fallback, seen} = start(ids => ids.includes(5) ? 'bad-5' : null);
  const attempt = makeTemplate(1, 2, 3, 4, 5, 6, 7, 8, 9);

  fallback.begin(attempt, 'bad-5');
  assert.strictEqual(await fallback.offerValid(attempt), true);
  assert.deepStrictEqual(seen.offered,
    [[], [1, 2, 3, 4], [1, 2, 3, 4, 6, 7, 8, 9]]);
  assert.deepStrictEqual(seen.told, ['bad-5', null]);
  assert.strictEqual(fallback.isActive, false);
  assert(seen.checks < 12);
  assert.deepStrictEqual(idsOf(fallback.excluded.filter(attempt)),
    [1, 2, 3, 4, 6, 7, 8, 9]);
});

test('it is left out with all that spends of it, until it is mined', async () => {
  const {fallback} = start(ids => ids.includes(2) ? 'bad-2' : null);
  const attempt = Object.assign(new Template(), {items: [
    makeItem(1), makeItem(2), makeItem(3, 2), makeItem(4, 3), makeItem(5, 1)
  ]});

  fallback.begin(attempt, 'bad-2');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(idsOf(fallback.excluded.filter(attempt)), [1, 5]);
  assert.strictEqual(fallback.excluded.filter(attempt).fees, 20);

  fallback.excluded.onBlock({txs: [makeItem(2).tx]});
  assert.strictEqual(fallback.excluded.filter(attempt), attempt);
});

test('several are found, one after the other', async () => {
  const bad = [1, 4, 9];
  const {fallback, seen} = start((ids) => {
    return ids.some(id => bad.includes(id)) ? 'bad' : null;
  });
  const attempt = makeTemplate(1, 2, 3, 4, 5, 6, 7, 8, 9);

  fallback.begin(attempt, 'bad');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered.at(-1), [2, 3, 5, 6, 7, 8]);
  assert.deepStrictEqual(seen.told, ['bad', null]);
});

test('how long they are looked for is bounded', async (t) => {
  let time = 1000;
  const {fallback, seen} = start((ids) => {
    time += 100;
    return ids.length > 0 ? 'bad' : null;
  });
  const attempt = makeTemplate(...Array.from({length: 200}, (_, i) => i + 1));

  t.mock.method(performance, 'now', () => time);
  fallback.begin(attempt, 'bad');
  await fallback.offerValid(attempt);
  assert.strictEqual(fallback.isActive, true);
  assert.deepStrictEqual(seen.offered, [[]]);
  assert(time < 13000, time);

  // The next go finds the rest.
  for (let i = 0; i < 20; i++)
    await fallback.offerValid(attempt);

  assert.strictEqual(fallback.excluded.size, 200);
  assert.deepStrictEqual(seen.told, ['bad', null]);
});

test('one on which the rules fail is found like one that they refuse', async () => {
  const {fallback, seen} = start((ids) => {
    return ids.includes(3) ? new Error('inconsistent') : null;
  });
  const attempt = makeTemplate(1, 2, 3, 4);

  fallback.begin(attempt, 'inconsistent');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered.at(-1), [1, 2, 4]);
  assert.deepStrictEqual(seen.told, ['inconsistent', null]);
});

test('jobs do not follow one another while several are found', async () => {
  const {fallback, seen} = start((ids) => {
    return ids.some(id => id > 5) ? 'bad' : null;
  });
  const attempt = makeTemplate(1, 2, 3, 4, 5, 6, 7, 8, 9);

  fallback.begin(attempt, 'bad');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, [[], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]);
});

test('what is left out comes back when it is valid, a few on each tip', async () => {
  const bad = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const {fallback, node, seen} = start((ids) => {
    return ids.some(id => bad.has(id)) ? 'bad' : null;
  });
  const ids = Array.from({length: 12}, (_, i) => i + 1);
  const attempt = makeTemplate(...ids);

  fallback.begin(attempt, 'bad');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(idsOf(fallback.excluded.filter(attempt)), [11, 12]);

  // Eight are looked at, and none is valid; then two, and these first.
  await fallback.readmit(attempt);
  bad.delete(9);
  await fallback.readmit(attempt);
  assert.strictEqual(fallback.excluded.size, 10);
  assert.strictEqual(seen.refreshed, 0);

  node.chain.tip = {hash: Buffer.alloc(32, 2)};

  const next = Object.assign(makeTemplate(...ids),
    {prevBlock: Buffer.alloc(32, 2)});

  await fallback.readmit(next);
  assert.deepStrictEqual(idsOf(fallback.excluded.filter(next)), [9, 11, 12]);
  assert.strictEqual(seen.refreshed, 1);
});

test('one that is too much alone is left out', async () => {
  const {fallback, seen} = start((ids) => {
    return ids.includes(2) ? 'bad-blk-weight' : null;
  });
  const attempt = makeTemplate(1, 2, 3);

  fallback.begin(attempt, 'bad-blk-weight');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, [[], [1], [1, 3]]);
});

test('where invalid ones come again and again each is verified first',
  async (t) => {
    let time = 1000;
    let reason = 'bad';
    const {fallback, seen} = start(ids => ids.length > 0 ? reason : null);

    t.mock.method(performance, 'now', () => time);

    for (let i = 0; i < 3; i++) {
      assert.strictEqual(fallback.isActive, false);
      reason = 'bad';
      fallback.begin(makeTemplate(1), reason);
      reason = null;
      await fallback.offerValid(makeTemplate(1));
    }

    assert.strictEqual(seen.told.at(-1), null);
    assert.strictEqual(fallback.isActive, true);
    time += 60 * 60 * 1000;
    await fallback.offerValid(makeTemplate(1));
    assert.strictEqual(fallback.isActive, false);
  });

test('what is too much together is cut, and nothing left out', async () => {
  const {fallback, seen} = start((ids) => {
    return ids.length > 3 ? 'bad-blk-weight' : null;
  });
  const attempt = makeTemplate(1, 2, 3, 4, 5);

  fallback.begin(attempt, 'bad-blk-weight');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, [[], [1, 2, 3]]);
  assert.strictEqual(fallback.excluded.size, 0);
  assert.strictEqual(fallback.isActive, true);
});

test('one that is right made anew is offered, as long as it takes', async () => {
  const {fallback, seen} = start((ids, {isWrong}) => {
    return isWrong ? 'bad-tree-root' : null;
  });
  const attempt = Object.assign(makeTemplate(1, 2), {isWrong: true});

  fallback.firsts.make = () => new Template();
  fallback.begin(attempt, 'bad-tree-root');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, [[], [1, 2]]);
  assert.strictEqual(fallback.isActive, true);

  await fallback.offerValid(makeTemplate(1, 2));
  assert.deepStrictEqual(seen.offered, [[], [1, 2], [1, 2]]);
  assert.deepStrictEqual(seen.told, ['bad-tree-root', null]);
});

test('where even the empty one is refused there is no job', async () => {
  const {fallback, seen} = start(() => 'bad-diffbits');
  const attempt = makeTemplate(1, 2);

  fallback.begin(attempt, 'bad-diffbits');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, []);
  assert.deepStrictEqual(seen.withheld,
    ['the node would refuse its own block: bad-diffbits']);
});

test('where the one made here is refused miners get hsd\'s', async () => {
  const {fallback, seen} = start((ids, {isOurs}) => {
    return isOurs ? 'bad-diffbits' : null;
  });
  const attempt = makeTemplate(1, 2);

  fallback.firsts.make = () => Object.assign(new Template(), {isOurs: true});
  fallback.begin(attempt, 'bad-diffbits');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, [[], [1, 2]]);
  assert.deepStrictEqual(seen.withheld, []);
  assert.strictEqual(fallback.isActive, false);
});

test('where nobody can say miners get the empty one', async () => {
  const {fallback, seen} = start(() => undefined);
  const attempt = makeTemplate(1, 2);

  fallback.begin(attempt, 'bad');
  assert.strictEqual(await fallback.offerValid(attempt), true);
  assert.deepStrictEqual(seen.offered, [[]]);
  assert.deepStrictEqual(seen.told, ['bad', 'it cannot be verified: late']);
  assert.strictEqual(fallback.isActive, true);
});

test('nobody waits a second time for one who is silent', async () => {
  const {fallback, node, seen} = start(() => undefined);

  fallback.begin(makeTemplate(1), 'bad');
  await fallback.offerValid(makeTemplate(1));

  const next = Object.assign(makeTemplate(1), {prevBlock: Buffer.alloc(32, 2)});
  const checks = seen.checks;

  node.chain.tip = {hash: Buffer.alloc(32, 2)};
  fallback.firsts.make = () => Object.assign(new Template(),
    {prevBlock: Buffer.alloc(32, 2)});
  fallback.templates.offerVerified = () => {
    seen.offered.push(seen.checks - checks);
  };
  await fallback.offerValid(next);
  assert.deepStrictEqual(seen.offered, [[], 0]);
});

test('a new tip ends the search', async () => {
  const {fallback, node, seen} = start((ids) => {
    if (ids.length < 2)
      return null;

    node.chain.tip = {hash: Buffer.alloc(32, 2)};
    return undefined;
  });
  const attempt = makeTemplate(1, 2);

  fallback.begin(attempt, 'bad');
  assert.strictEqual(await fallback.offerValid(attempt), false);
  assert.deepStrictEqual(seen.offered, [[]]);
});
