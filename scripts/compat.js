#!/usr/bin/env node

'use strict';

/*
 * Finds the hsd releases in which hstratum works: installs each that npm has,
 * from 6.0 on, runs the end-to-end tests with it, and prints the table of
 * docs/packaging.md.
 *
 *   node scripts/compat.js [VERSION...]
 *
 * An installation takes a minute and stays in run/compat.
 */

const {spawnSync} = require('child_process');
const fs = require('fs');
const path = require('path');

const ROOT = path.join(__dirname, '..');
const TESTS = ['start', 'wire', 'templates', 'chain', 'found_blocks', 'durability',
  'ledger', 'address', 'reload', 'payout', 'drill', 'invalid_templates'];
const MAJOR_MIN = 6;

function main(versions) {
  const rows = [];

  for (const version of versions.length > 0 ? versions : released())
    rows.push(row(version, test(install(version))));

  console.log(`\n| hsd | end-to-end tests | |\n|---|---|---|\n${rows.join('\n')}`);
  process.exitCode = rows.every(text => text.includes('| works |')) ? 0 : 1;
}

function row(version, {pass, failed}) {
  const verdict = pass > 0 && failed.length === 0 ? 'works'
    : failed.join('; ') || 'no tests ran';

  return `| ${version} | ${pass} of ${pass + failed.length} | ${verdict} |`;
}

function released() {
  const text = run('npm', ['view', 'hsd', 'versions', '--json'], {}).stdout;

  return JSON.parse(text).filter((version) => {
    return /^[\d.]+$/.test(version) && parseInt(version, 10) >= MAJOR_MIN;
  });
}

/** Install that hsd; gives its directory. */

function install(version) {
  const dir = path.join(ROOT, 'run', 'compat', version);
  const hsd = path.join(dir, 'node_modules', 'hsd');
  const done = path.join(dir, 'node_modules', '.package-lock.json');

  if (!fs.existsSync(done)) {
    console.error(`installing hsd ${version}`);
    fs.mkdirSync(dir, {recursive: true});
    fs.writeFileSync(path.join(dir, 'package.json'), JSON.stringify({
      private: true,
      allowScripts: {bcrypto: true, bdb: true, goosig: true}
    }));

    const {status, stderr} = run('npm', ['install', '--no-audit', '--no-fund',
      `hsd@${version}`], {cwd: dir});

    if (status !== 0)
      throw new Error(`failed to install hsd ${version}: ${stderr}`);
  }

  return hsd;
}

function test(hsd) {
  console.error(`testing with ${hsd}`);

  const files = TESTS.map(name => `plugin/test/${name}.test.js`);
  const {stdout} = run(process.execPath, ['--test', '--test-concurrency=1',
    '--test-reporter=tap', ...files],
    {cwd: ROOT, env: {...process.env, HSTRATUM_TEST_HSD: hsd}});
  const failed = Array.from(stdout.matchAll(/^not ok \d+ - (.*)$/gm),
    ([, name]) => name);
  const pass = (stdout.match(/^ok /gm) || []).length;

  fs.writeFileSync(path.join(hsd, '..', '..', 'tests.tap'), stdout);

  return {pass, failed};
}

function run(command, args, options) {
  return spawnSync(command, args, {encoding: 'utf8', maxBuffer: 1 << 28,
    ...options});
}

main(process.argv.slice(2));
