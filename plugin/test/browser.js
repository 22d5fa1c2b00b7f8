'use strict';

/*
 * A real browser for the dashboard's tests. Any error of a page, and any
 * request to another server, fails the test.
 */

const assert = require('assert');
const {chromium} = require('playwright-core');

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
  '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'
];

const WAIT_MS = 30000;

/** A browser sometimes crashes as it starts, before there is a page. */
const LAUNCHES_MAX = 3;

/**
 * Start a browser.
 * @param {TestContext} t
 * @returns {Promise<Browser>}
 */

exports.launch = async function launch(t) {
  for (let launches = 1; ; launches++) {
    try {
      const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
        args: FLAGS
      });

      t.after(() => browser.close());

      return browser;
    } catch (error) {
      if (launches === LAUNCHES_MAX)
        throw error;

      t.diagnostic(`the browser did not start, once more: ${error.message}`);
    }
  }
};

/**
 * Open a page of a node's dashboard.
 * @param {Browser} browser
 * @param {Node} node
 * @param {String} path
 * @param {Object} [options] of the browser's context; `offline`: requests may
 *   fail.
 * @returns {Promise<Page>} with `check()`, to be called at the test's end.
 */

exports.open = async function open(browser, node, path = '/', options = {}) {
  const {offline = false, ...rest} = options;
  const origin = `http://127.0.0.1:${node.ports.dashboard}`;
  const context = await browser.newContext(rest);
  const page = await context.newPage();
  const problems = [];

  page.setDefaultTimeout(WAIT_MS);
  page.on('pageerror', error => problems.push(error.message));
  page.on('console', (line) => {
    const isExpected = offline && /ERR_|Failed to load/.test(line.text());
    if (line.type() === 'error' && !isExpected)
      problems.push(line.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(origin))
      problems.push(`foreign request: ${request.url()}`);
  });

  await page.goto(origin + path);

  page.check = () => assert.deepStrictEqual(problems, []);
  return page;
};
