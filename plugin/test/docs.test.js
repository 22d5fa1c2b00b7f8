'use strict';

/*
 * The commands of the pages, run as they are written. Each walk begins on
 * machines without anything of ours: a copy of this one's file system that
 * is written to in memory only, a network of its own, an empty home (see
 * docs/world.sh). Pages of a walk follow each other as a reader's would.
 *
 * A block of a page is one of
 *   sh                   run, line by line; a line that fails, fails the test
 *   conf, ini, toml, sql its lines are those of a file in packaging/, which
 *                        the walks use
 *   text                 output or a conversation: not checked
 * and comments of the page directly before it give instructions:
 *   <!-- not run: why -->
 *   <!-- tested by: the file of another test, which names the page -->
 *   <!-- keeps running -->   it runs until the walk ends
 *   <!-- until: command -->  the next block waits until that succeeds
 *   <!-- on: host host -->   the machines, where there are several
 *   <!-- meanwhile: command -->  run by others at this point: miners, say
 *   <!-- stop -->            Ctrl-C for all that keeps running
 */

const assert = require('assert');
const {execFile, spawnSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');
const site = require('../../scripts/site');
const {ADDRESS, tempDir} = require('./harness');
const {installHsd, pack} = require('./packages');

const ROOT = path.join(__dirname, '..', '..');
const PACKAGING = path.join(ROOT, 'packaging');
const WORLD = path.join(__dirname, 'docs', 'world.sh');
const WALK_MS = 300000;

/** The pages in the order of reading, and the machines that they describe. */
const WALKS = [
  {pages: ['README.md']},
  {pages: ['docs/day-one-solo.md']},
  {pages: ['docs/day-one-pool.md', 'docs/operating.md', 'docs/ledger.md']},
  {pages: ['docs/migration.md']},
  {pages: ['docs/day-one-competitive.md'], hosts: ['node', 'farm']},
  {
    pages: ['docs/two-servers.md'],
    hosts: ['east', 'west'],
    standsFor: [['hs1q…', '$(cat /run/steps/address)']]
  }
];

/** Pages without a walk: none of their blocks is run. */
const STILL = ['CONTRIBUTING.md', 'docs/SUMMARY.md', 'docs/containers.md', 'docs/options.md', 'docs/packaging.md',
  'docs/style.md', 'docs/protocol.md'];

/** Texts of the pages, and their replacements here. */
const STANDS_FOR = [
  ['hs1q…', ADDRESS],
  // The main network would need its chain.
  ['NETWORK=main', 'NETWORK=regtest'],
  ['hstratum doctor', 'hstratum doctor --network regtest'],
  ...['plan', 'pause', 'resume', 'status'].map(order => [
    `hstratum payout ${order} --prefix`,
    `hstratum payout ${order} --network regtest --prefix`]),
  // There is no network here; hsd is there already. `make dist-test` has npm
  // install and compile it.
  [' hsd@8', '']
];

const SHOWN = new Set(['conf', 'ini', 'toml', 'sql']);
const COMMENT
  = /^<!-- (not run|tested by|keeps running|until|on|meanwhile|stop)(?:: (.*))? -->$/;

/**
 * The blocks and the comments before them: {page, line, lang, text, notes}.
 */

function blocksOf(page) {
  const lines = fs.readFileSync(path.join(ROOT, page), 'utf8').split('\n');
  const blocks = [];
  let notes = {};
  let block = null;

  for (const [index, line] of lines.entries()) {
    const comment = COMMENT.exec(line.trim());
    const fence = /^\s*```\s*(.*)$/.exec(line);

    if (fence && block) {
      blocks.push(block);
      block = null;
    } else if (fence) {
      block = {page, line: index + 1, lang: fence[1], text: '', notes};
      notes = {};
    } else if (block) {
      block.text += `${line}\n`;
    } else if (comment && ['meanwhile', 'stop'].includes(comment[1])) {
      const text = `${comment[2] || ''}\n`;

      notes.stop = comment[1] === 'stop';
      blocks.push({page, line: index + 1, lang: 'sh', text, notes});
      notes = {};
    } else if (comment) {
      notes[comment[1]] = comment[2] || true;
    } else {
      assert.ok(!line.trim().startsWith('<!--'), `${page}:${index + 1}: ${line}`);
      assert.deepStrictEqual(notes, {}, `${page}:${index + 1}: a block comes`);
    }
  }

  assert.strictEqual(block, null, page);
  return blocks;
}

function isRun({lang, notes}) {
  return lang === 'sh' && !notes['not run'] && !notes['tested by'];
}

/** The lines of all files in packaging/. */

function packagedLines() {
  const files = fs.readdirSync(PACKAGING, {recursive: true, encoding: 'utf8'})
    .map(name => path.join(PACKAGING, name))
    .filter(name => fs.statSync(name).isFile());

  return new Set(files.flatMap(name => linesOf(fs.readFileSync(name, 'utf8'))));
}

function linesOf(text) {
  return text.split('\n').map(line => line.trim())
    .filter(line => line && !/^(#|--)/.test(line));
}

function pages() {
  const docs = fs.readdirSync(path.join(ROOT, 'docs'))
    .filter(name => name.endsWith('.md')).map(name => `docs/${name}`);

  return ['README.md', 'CONTRIBUTING.md', ...docs];
}

test('each page is walked through, or none of its blocks is run', () => {
  const walked = WALKS.flatMap(walk => walk.pages);

  assert.deepStrictEqual([...walked, ...STILL].sort(), pages().sort());
  for (const page of STILL)
    assert.deepStrictEqual(blocksOf(page).filter(isRun), [], page);
});

test('each block is run, is part of a file that is, or says why not', () => {
  const packaged = packagedLines();

  for (const {page, line, lang, text, notes} of pages().flatMap(blocksOf)) {
    const where = `${page}:${line}`;

    if (notes['not run'] || lang === 'text') {
      assert.notStrictEqual(notes['not run'], true, `${where}: why not?`);
    } else if (notes['tested by']) {
      const file = fs.readFileSync(path.join(ROOT, notes['tested by']), 'utf8');
      assert.ok(file.includes(path.basename(page)), where);
    } else if (SHOWN.has(lang)) {
      for (const shown of linesOf(text))
        assert.ok(packaged.has(shown), `${where}: ${shown}`);
    } else {
      assert.strictEqual(lang, 'sh', `${where}: what is it?`);
    }
  }
});

/** The other pages of the site. */

function further() {
  const decisions = fs.readdirSync(path.join(ROOT, 'docs', 'decisions'))
    .map(name => `docs/decisions/${name}`);

  return ['ARCHITECTURE.md', 'CHANGELOG.md', 'ROADMAP.md', 'bench/README.md',
    ...decisions];
}

test('the site has each page', () => {
  const all = [...pages(), ...further()].filter(page => page !== site.SUMMARY);

  assert.deepStrictEqual(site.pages().sort(), all.sort());
});

test('links lead to pages and headings that are there', () => {
  const anchors = {};

  for (const page of [...pages(), ...further()]) {
    const text = fs.readFileSync(path.join(ROOT, page), 'utf8');
    anchors[page] = new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => {
      return title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '')
        .replace(/ /g, '-');
    }));
  }

  for (const page of Object.keys(anchors)) {
    for (const {whole, to, anchor} of linksOf(path.join(ROOT, page))) {
      const target = to
        ? path.relative(ROOT, path.resolve(ROOT, path.dirname(page), to)) : page;

      assert.ok(fs.existsSync(path.join(ROOT, target)), `${page}: ${whole}`);
      if (anchor && anchors[target])
        assert.ok(anchors[target].has(anchor), `${page}: ${whole}`);
    }
  }
});

/** The links of a file that lead to another one or to a heading. */

function linksOf(file) {
  return [...fs.readFileSync(file, 'utf8')
    .matchAll(/\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)]
    .map(([whole, to, anchor]) => ({whole, to, anchor}))
    .filter(({to}) => !/^[a-z]+:/.test(to));
}

test('pages of the site are without comments, and their links stay in it or lead to GitHub', (t) => {
  const book = path.join(tempDir(t), 'book');

  site.write(book);

  for (const page of [site.SUMMARY, ...site.pages()].map(site.placeInBook)) {
    const file = path.join(book, 'src', page);

    assert.doesNotMatch(fs.readFileSync(file, 'utf8'), /^<!--/m, page);

    for (const {whole, to} of linksOf(file)) {
      const target = path.join(path.dirname(file), to)
        .replace(/index\.md$/, 'README.md');

      assert.ok(fs.existsSync(target), `${page}: ${whole}`);
    }
  }
});

function modeOf(notes) {
  if (notes.stop)
    return 'stop';
  return notes['keeps running'] ? 'keep' : 'end';
}

/** A script for world.sh, and the files that it reads. */

function writeSteps(dir, walk) {
  const script = [];

  for (const block of walk.pages.flatMap(blocksOf).filter(isRun)) {
    const {page, line, notes} = block;
    let {text} = block;

    for (const [written, here] of [...walk.standsFor || [], ...STANDS_FOR])
      text = text.replaceAll(written, here);

    const name = `${page}:${line}`.replace(/\W/g, '-');

    assert.doesNotMatch(text, /…/, `${page}:${line}: what stands for it?`);
    fs.writeFileSync(path.join(dir, name), text);

    for (const host of (notes.on || walk.hosts[0]).split(' ')) {
      script.push(['step', host, `${page}:${line}`, name,
        modeOf(notes), notes.until || '']);
    }
  }

  const quote = word => `'${word.replaceAll('\'', '\'\\\'\'')}'`;

  fs.writeFileSync(path.join(dir, 'script'),
    `${script.map(words => words.map(quote).join(' ')).join('\n')}\n`);
}

let prepared = null;

/**
 * The common state of all walks: hsd as npm has it, and the packages of this
 * tree.
 */

async function prepare(dir) {
  await installHsd(path.join(dir, 'npm'));
  await pack(path.join(dir, 'dist'));
  return dir;
}

const unfit = process.getuid() !== 0
  || spawnSync('unshare', ['--net', '--mount', 'ip', 'link']).status !== 0;

for (const walk of WALKS) {
  const {pages, hosts = ['here']} = walk;

  test(`${pages.join(', ')}: what is written there works`, {
    skip: unfit && 'root only, for a file system and a network of its own'
  }, async (t) => {
    prepared = prepared || prepare(tempDir({after: fn => process.once('exit', fn)}));

    const common = await prepared;
    const dir = tempDir(t);

    fs.mkdirSync(path.join(dir, 'steps'));
    writeSteps(path.join(dir, 'steps'), {...walk, hosts});

    const output = await new Promise((resolve) => {
      execFile('unshare', ['--net', '--mount', '--pid', '--fork',
        '--kill-child', '--mount-proc', 'bash', WORLD, ROOT, common, dir,
        ...hosts],
      {timeout: WALK_MS, killSignal: 'SIGKILL', maxBuffer: 1 << 26},
      (error, stdout, stderr) => {
        resolve({failed: error, text: `${stdout}${stderr}`});
      });
    });

    if (process.env.DOCS_SHOW)
      console.log(output.text);
    assert.ok(!output.failed, `${output.failed && output.failed.code}: `
      + `${output.text.slice(-8000)}`);
  });
}
