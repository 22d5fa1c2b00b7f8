'use strict';

/*
 * The pages of docs/SUMMARY.md as a book for mdBook.
 *
 *   site.js write BOOK   makes the book's source: without comments, and
 *                        links to what is no page of it lead to GitHub
 *   site.js check SITE   looks through what mdBook has made of it
 *
 * In the book docs/ is the root; other pages keep their paths.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');

const ROOT = path.join(__dirname, '..');
const SUMMARY = 'docs/SUMMARY.md';
const SETTINGS = path.join(ROOT, 'docs', 'site');
const ICON = path.join(ROOT, 'crates', 'server', 'dashboard', 'icon.svg');
const LINK = /\]\(([^)#\s]*)(#[^)\s]*)?\)/g;

function read(file) {
  return fs.readFileSync(path.join(ROOT, file), 'utf8');
}

/** The files that are pages of the site, by their paths in the repository. */

function pages() {
  return [...read(SUMMARY).matchAll(LINK)]
    .map(([, to]) => path.posix.join('docs', to));
}

function placeInBook(file) {
  return file.replace(/^docs\//, '');
}

/** Address on GitHub of a file or directory that is there. */

function addressOf(file) {
  const [, repository] = /^git-repository-url = "(.*)"$/m
    .exec(fs.readFileSync(path.join(SETTINGS, 'book.toml'), 'utf8'));
  const kind = fs.statSync(path.join(ROOT, file)).isDirectory() ? 'tree' : 'blob';

  return `${repository}/${kind}/main/${file}`;
}

/** Where a link of a page leads to in the book. */

function linkInBook(page, to, known) {
  if (!to || /^[a-z]+:/.test(to))
    return to;

  const file = path.posix.join(path.posix.dirname(page), to).replace(/\/$/, '');
  const target = [file, `${file}/README.md`].find(one => known.has(one));

  if (!target)
    return addressOf(file);

  const from = path.posix.dirname(placeInBook(page));
  const link = path.posix.relative(from, placeInBook(target));

  // The summary names files; mdBook makes index.html of a README.md.
  return page === SUMMARY ? link : link.replace(/README\.md$/, 'index.md');
}

/** A page without its comments, with its links. */

function inBook(page, known) {
  let isCode = false;

  return read(page).split('\n').flatMap((line) => {
    isCode = isCode !== /^\s*```/.test(line);
    if (isCode)
      return line;
    if (/^\s*<!--.*-->$/.test(line))
      return [];
    return line.replace(LINK, (_, to, anchor = '') => {
      return `](${linkInBook(page, to, known)}${anchor})`;
    });
  }).join('\n');
}

/** Write the source of the book. */

function write(book) {
  const known = new Set(pages());

  for (const page of [SUMMARY, ...known]) {
    const file = path.join(book, 'src', placeInBook(page));

    fs.mkdirSync(path.dirname(file), {recursive: true});
    fs.writeFileSync(file, inBook(page, known));
  }

  fs.cpSync(SETTINGS, book, {recursive: true});
  fs.mkdirSync(path.join(book, 'theme'), {recursive: true});
  fs.copyFileSync(ICON, path.join(book, 'theme', 'favicon.svg'));
}

/** Check that links of the site lead to something, and its search knows all. */

function check(site) {
  const files = fs.readdirSync(site, {recursive: true, encoding: 'utf8'});
  // 404.html is for any place below the site's address.
  const names = files.filter(name => name.endsWith('.html') && name !== '404.html');
  const texts = new Map(names.map((name) => {
    return [name, fs.readFileSync(path.join(site, name), 'utf8')];
  }));
  const ids = new Map([...texts].map(([name, text]) => {
    return [name, new Set([...text.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id))];
  }));
  const search = fs.readFileSync(path.join(site, files.find((name) => {
    return /^searchindex.*\.js$/.test(name);
  })), 'utf8');

  for (const page of pages().map(placeInBook)) {
    const name = page.replace(/README\.md$/, 'index.md').replace(/md$/, 'html');

    assert.ok(texts.has(name), `${name} is missing`);
    assert.ok(search.includes(`${name}#`), `the search does not know ${name}`);
  }

  for (const [name, text] of texts) {
    const [, main = ''] = /<main>([^]*)<\/main>/.exec(text) || [];

    assert.ok(!main.includes('<!--'), `${name}: a comment`);

    for (const [, link] of text.matchAll(/ (?:href|src)="([^"]*)"/g)) {
      if (/^[a-z]+:/.test(link))
        continue;

      const [to, anchor] = link.split('#');
      const target = to ? path.posix.join(path.posix.dirname(name), to) : name;

      assert.ok(fs.existsSync(path.join(site, target)), `${name}: ${link}`);
      if (anchor && ids.has(target))
        assert.ok(ids.get(target).has(decodeURIComponent(anchor)), `${name}: ${link}`);
    }
  }

  console.log(`${texts.size} pages: ${path.join(site, 'index.html')}`);
}

if (require.main === module)
  ({write, check})[process.argv[2]](process.argv[3]);

module.exports = {SUMMARY, pages, placeInBook, write};
