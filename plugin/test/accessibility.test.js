'use strict';

/*
 * Every page of the dashboard, judged by axe-core in each language, colour and
 * width; used by keyboard alone; and as wide as a phone.
 */

const assert = require('assert');
const fs = require('fs');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {startNode} = require('./harness');
const {Miner} = require('./miner');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const PASSWORD = 'first password';
const TOKEN = '0123456789abcdef';
const LONG = 'w'.repeat(60);
const TABS_MAX = 200;
/** What a reader may operate. */
const CONTROLS = 'a[href], button, input, select, summary, [tabindex="0"]';

/** A pool with something on every page: miners, a block, a refused login. */

async function startPool(t) {
  const node = await startNode(t, {args: ['--stratum-fee=1',
    `--stratum-http-token=${TOKEN}`]});

  for (const name of ['alice', LONG])
    await node.rpc('addstratumuser', [name, PASSWORD]);

  const miner = await Miner.start(t, node, 'alice.rig', PASSWORD);
  const {hash} = await miner.submit('alice.rig');

  await node.waitTip(hash);

  const other = await Miner.start(t, node, `${LONG}.${LONG}`, PASSWORD);
  const refuse = async () => {
    const stranger = await Miner.connect(t, node);

    await stranger.subscribe();
    await stranger.authorize('alice.other', 'wrong');
  };

  await other.submit(`${LONG}.${LONG}`);
  await refuse();

  return {node, hash, refuse};
}

/** Open every page in turn; `look` is called with each, and what it is. */

async function eachPage(browser, {node, hash, refuse}, options, look) {
  // A stream ends where a page is left.
  const page = await open(browser, node, '/', {...options, offline: true});
  const shown = (selector) => {
    return page.locator(selector).first().waitFor({state: 'visible'});
  };
  const visit = async (path, selector) => {
    await page.goto(new URL(path, page.url()).href);
    await shown('#live.on');
    await shown(selector);
    await look(page, path);
  };

  await visit('/', '#refusals tbody tr');
  await visit(`/account/${LONG}`, '#workers tbody tr');
  await page.locator('#workers tbody a').first().click();
  await shown('.stats:not([hidden])');
  await look(page, 'a worker');
  await visit(`/block/${hash}`, 'dl dd');
  // One of before the miner came is not shown.
  await refuse();
  await visit('/connect', '#listener-0');
  await page.locator('input[name=account]').fill('alice');
  await shown('.events .refused');
  await look(page, 'a miner that is looked for');
  await visit('/sign-in', 'form');

  for (const part of await page.locator('summary').all())
    await part.click();

  await look(page, 'all ways to sign in');
  await page.locator('input[name=name]').fill('alice');
  await page.locator('input[name=password]').fill(PASSWORD);
  await page.locator('input[name=password]').press('Enter');
  await shown('#settings form');
  await shown('#workers tbody tr');
  await look(page, 'the own account, with its settings');
  await page.context().clearCookies();
  await page.setExtraHTTPHeaders({Authorization: `Bearer ${TOKEN}`});
  await page.goto(new URL('/console', page.url()).href);
  await shown('#log li');
  await shown('#plan dd');
  await page.locator('#doctor button').click();
  await shown('#doctor li');
  await look(page, 'the console');
  page.check();
  await page.context().close();
}

test('axe finds nothing on any page', async (t) => {
  const pool = await startPool(t);
  const browser = await launch(t);
  const found = new Map();

  // Each two of language, colours and width come together once.
  for (const [locale, colorScheme, width] of [['en', 'light', 1200],
    ['en', 'dark', 390], ['zh-CN', 'light', 390], ['zh-CN', 'dark', 1200]]) {
    const options = {locale, colorScheme, viewport: {width, height: 800},
      reducedMotion: 'reduce'};

    await eachPage(browser, pool, options, async (page, what) => {
      await page.evaluate(AXE);

      const {violations} = await page.evaluate(() => window.axe.run());

      for (const {id, nodes} of violations) {
        for (const {html, failureSummary: why} of nodes)
          found.set(`${id}: ${html}`,
            `${locale} ${colorScheme} ${width} ${what}: ${why}`);
      }
    });
  }

  assert.deepStrictEqual([...found], []);
});

test('every control is reached by the keyboard, and is seen to be', async (t) => {
  const pool = await startPool(t);
  const browser = await launch(t);

  const options = {reducedMotion: 'reduce'};

  await eachPage(browser, pool, options, async (page, what) => {
    // Tables are made anew while one goes through them: controls are known by
    // what they are.
    const wanted = await page.evaluate(({controls}) => {
      window.signature = element => [element.tagName, element.id,
        element.getAttribute('href'), element.getAttribute('name'),
        element.getAttribute('aria-label'), element.textContent.slice(0, 40)
      ].join(' ');
      // The first tab goes to the first control, whatever was clicked.
      document.body.tabIndex = -1;
      document.body.focus();
      document.body.removeAttribute('tabindex');

      return [...document.querySelectorAll(controls)].filter((element) => {
        return element.checkVisibility() && !element.disabled;
      }).map(window.signature);
    }, {controls: CONTROLS});
    const reached = new Set();

    for (let tabs = 0; tabs < TABS_MAX; tabs++) {
      await page.keyboard.press('Tab');

      const at = await page.evaluate(() => {
        const element = document.activeElement;

        if (element === document.body)
          return null;

        const {outlineStyle, outlineWidth} = getComputedStyle(element);
        const {width, height, bottom, top} = element.getBoundingClientRect();

        return {
          signature: window.signature(element),
          isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
            && width > 0 && height > 0 && bottom > 0 && top < innerHeight
        };
      });

      if (at === null)
        break;

      assert.ok(at.isSeen, `${what}: ${at.signature} is not seen`);
      reached.add(at.signature);
    }

    assert.deepStrictEqual(wanted.filter(one => !reached.has(one)), [], what);
  });
});

test('a control keeps the focus while its page is made anew', async (t) => {
  const {node, hash} = await startPool(t);
  const page = await open(await launch(t), node);

  for (const [path, selector] of [['/', '#accounts tbody a'],
    ['/', 'dd a[href^="/block/"]'], [`/block/${hash}`, 'dd a']]) {
    await page.goto(new URL(path, page.url()).href);

    const control = page.locator(selector).first();

    await control.focus();

    const before = await control.elementHandle();
    const identity = await before.evaluate(one => one.outerHTML);

    await page.waitForFunction(one => !one.isConnected, before);
    assert.strictEqual(await page.evaluate(
      () => document.activeElement.outerHTML), identity, path);
  }

  page.check();
});

test('no page is wider than a phone', async (t) => {
  const pool = await startPool(t);
  const browser = await launch(t);

  for (const locale of ['en', 'zh-CN']) {
    const options = {locale, viewport: {width: 360, height: 740}};

    await eachPage(browser, pool, options, async (page, what) => {
      const width = await page.evaluate(
        () => document.documentElement.scrollWidth);

      assert.strictEqual(width, 360, `${locale} ${what}`);
    });
  }
});
