'use strict';

/*
 * From a click on the dashboard to the page that follows, and from an address
 * to its page, in headless Chromium, with many workers in the ledger's last day.
 */

const {execFileSync} = require('child_process');
const path = require('path');
const {parseArgs} = require('util');
const {launch, open} = require('../plugin/test/browser');
const {startNode} = require('../plugin/test/harness');
const {ledgerOf} = require('../plugin/test/paying_blocks');
const {Bench, exitWith, number, runAtMost} = require('./command');
const {median, table} = require('./numbers');

const SEED = path.join(__dirname, 'seed_workers.py');
const TOKEN = '0123456789abcdef';

const HELP = `usage: node bench/pages.js [options]

From a click to the page that follows, and from an address to its page, with
many workers. Needs make build and Chromium.

  --workers N      workers with shares of the last day (100000)
  --accounts N     accounts that they are of (10000)
  --big N          workers of one of them (5000)
  --rounds N       how often each is done, 1 to 100 (10)
  --help           print this
`;

const RUN_MS = 600000;

/** What only the pool's page has, and what each account's has. */
const POOL = 'main:has(#accounts) #workers tbody tr';
const ACCOUNT = 'main:has(a.back) #workers tbody tr';
const NEXT = '#workers .pages button:last-of-type';

/**
 * What is clicked, on which page, and what has to be seen then; `isNew` where it
 * is on the page before, with other rows.
 */

const CLICKS = [
  {what: 'the pool', from: '/account/big', click: 'a.back', seen: POOL},
  {what: 'the big account', from: '/', click: '#big', seen: ACCOUNT},
  {what: 'next page of workers', from: '/', click: NEXT, seen: POOL,
    isNew: true},
  {what: 'workers by their last day', from: '/',
    click: '#workers th:nth-child(5) button', seen: POOL, isNew: true},
  {what: 'next page of the big account', from: '/account/big', click: NEXT,
    seen: ACCOUNT, isNew: true},
  {what: 'the console', from: '/', click: '#session a[href="/console"]',
    seen: '#audit tbody tr, #audit .empty'}
];

/** Pages that are opened by their address, and what has to be seen then. */

const OPENED = [
  {what: 'the pool, opened', path: '/', seen: POOL},
  {what: 'the big account, opened', path: '/account/big', seen: ACCOUNT}
];

class PagesBench extends Bench {
  constructor(options) {
    super();
    this.options = options;
  }

  async run() {
    const {workers, accounts, big, rounds} = this.options;
    const args = ['--stratum-auth=open', `--stratum-http-token=${TOKEN}`];
    const node = await startNode(this, {args});

    // The server reads it when it starts again.
    execFileSync('python3', [SEED, ledgerOf(node), accounts, workers, big]
      .map(String));
    await node.restart({args});

    const browser = await launch({after: fn => this.after(fn),
      diagnostic: console.error});
    const page = await open(browser, node, '/sign-in', {offline: true});

    await page.locator('details:has(input[name=token]) summary').click();
    await page.locator('input[name=token]').fill(TOKEN);
    await page.locator('input[name=token]').press('Enter');
    await page.locator('#workers tbody tr').first().waitFor({timeout: 120000});

    const rows = [];
    const measure = async (what, time) => {
      const times = [];

      for (let i = 0; i < rounds; i++)
        times.push(await time());

      rows.push([what, median(times).toFixed(0),
        Math.max(...times).toFixed(0)]);
    };

    for (const one of CLICKS)
      await measure(one.what, () => this.click(page, one));

    await page.addInitScript(watch);

    for (const one of OPENED)
      await measure(one.what, () => this.open(page, one));

    console.log(table([['what', 'median ms', 'longest ms'], ...rows]));
  }

  /** Milliseconds from a click to the paint after its rows are there. */

  async click(page, {from, click, seen, isNew = false}) {
    await page.goto(new URL(from, page.url()).href);
    await page.locator('#workers tbody tr').first().waitFor();
    // The list of accounts begins with others.
    await page.evaluate(() => {
      const link = Object.assign(document.createElement('a'),
        {id: 'big', href: '/account/big', textContent: 'big'});

      document.querySelector('main').prepend(link);
    });
    await page.locator(click).first().waitFor();
    // What is loaded after that is no part of the click.
    await page.waitForTimeout(500);

    const before = isNew
      ? await page.locator('#workers tbody').textContent() : null;

    await page.evaluate(watch);
    await page.evaluate((what) => {
      addEventListener('click', () => window.watch(what), {capture: true});
    }, {seen, before});
    await page.locator(click).first().click();

    return took(page);
  }

  /** Milliseconds from the request of a page to the paint of its rows. */

  async open(page, {path: at, seen}) {
    await page.goto(new URL(at, page.url()).href, {waitUntil: 'commit'});
    await page.evaluate(seen => window.watch({seen, since: 0}), seen);

    return took(page);
  }
}

/** In the page: `window.watch` notes when rows are painted, and since when. */

function watch() {
  window.watch = ({seen, before = null, since = performance.now()}) => {
    const look = () => {
      const row = document.querySelector(seen);
      const isThere = row && row.offsetParent !== null
        && row.parentNode.textContent !== before;

      // After the frame that has them.
      if (isThere)
        requestAnimationFrame(() => setTimeout(() => {
          window.took = performance.now() - since;
        }));
      else
        requestAnimationFrame(look);
    };

    look();
  };
}

async function took(page) {
  await page.waitForFunction(() => window.took);

  return page.evaluate(() => window.took);
}

async function main() {
  const {values} = parseArgs({options: {
    workers: {type: 'string', default: '100000'},
    accounts: {type: 'string', default: '10000'},
    big: {type: 'string', default: '5000'},
    rounds: {type: 'string', default: '10'},
    help: {type: 'boolean', default: false}
  }});

  if (values.help) {
    console.log(HELP);
    return;
  }

  await runAtMost(new PagesBench({
    workers: number(values.workers, 'workers', 1, 1000000),
    accounts: number(values.accounts, 'accounts', 2, 100000),
    big: number(values.big, 'big', 1, 1000000),
    rounds: number(values.rounds, 'rounds', 1, 100)
  }), RUN_MS);
}

exitWith(main());
