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
 * why it is refused; undefined where nobody can say.
 */

function start(judge) {
  const seen = {offered: [], withheld: [], told: [], checks: 0};

  const verifier = {verify: async (attempt) => {
    const reason = judge(idsOf(attempt), attempt);
    seen.checks++;
    return {isValid: reason === null, reason: reason || null};
  }};

  const templates = {
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

test('how many are looked for is bounded', async () => {
  const {fallback, seen} = start(ids => ids.length > 0 ? 'bad' : null);
  const attempt = makeTemplate(...Array.from({length: 200}, (_, i) => i + 1));

  fallback.begin(attempt, 'bad');
  await fallback.offerValid(attempt);
  assert.strictEqual(fallback.isActive, true);
  assert.strictEqual(fallback.excluded.keys.size, 8);
  assert.deepStrictEqual(seen.offered, [[]]);
  assert(seen.checks < 120);
});

test('what is too much together is cut, and nothing left out', async () => {
  const {fallback, seen} = start((ids) => {
    return ids.length > 3 ? 'bad-blk-weight' : null;
  });
  const attempt = makeTemplate(1, 2, 3, 4, 5);

  fallback.begin(attempt, 'bad-blk-weight');
  await fallback.offerValid(attempt);
  assert.deepStrictEqual(seen.offered, [[], [1, 2, 3]]);
  assert.strictEqual(fallback.excluded.keys.size, 0);
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
  assert.strictEqual(fallback.isActive, true);
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
