'use strict';

/*
 * The texts of the dashboard: every language has what the modules use and
 * nothing else, and no module has a text of its own. The modules are cut into
 * tokens here, without a parser: a key is a literal with a dot between its
 * parts, a text is a literal of two words, or with a capital word.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const {test} = require('node:test');

const DIR = path.join(__dirname, '../../crates/server/dashboard');
const PAGES = path.join(__dirname, '../../crates/server/src/http/pages.rs');

/** Literals that look like a text or a key and are none. */
const ALLOWED = new Set([
  '(prefers-color-scheme: dark)', '12px system-ui, sans-serif',
  'Content-Type', 'X-CSRF-Token', 'WWW-Authenticate', 'Bearer \0',
  // The server's reason for a missing job.
  'node is not synced',
  // As it is typed, or as it is called by itself.
  'alice.rig1', '--nodes=HOST', 'Goldshell', 'HandyMiner', 'config.json', 'hsw-rpc signmessage ADDRESS "TEXT"', 'English', '简体中文'
]);
const NAMES = /\b(hstratum|HNS)\b/g;

const SPACE = /(?:\s|\/\/.*|\/\*[^]*?\*\/)*/y;
const STRING = /(['"])((?:(?!\1)[^\\\n]|\\.)*)\1/y;
const TEMPLATE = /((?:[^`\\$]|\\.|\$(?!\{))*)(`|\$\{)/y;
const REGEX = /\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y;
const OTHER = /[\w$]+|[^]/y;
/** A value stands before a division, and none before a regular expression. */
const VALUE = /(?<!\breturn)(?<=[\w$)\]'"`])$/;

/** Stands for an expression in a template. */
const HOLE = '\0';

/**
 * Strings and templates of a module, in order of their ends.
 * @returns {Object[]} {text, before}: what stands before it.
 */

function literals(source) {
  const found = [];
  // Braces that are open: those of a template have its beginning.
  const open = [];
  let at = 0;
  let match = null;

  const take = (pattern) => {
    pattern.lastIndex = at;
    match = pattern.exec(source);
    at = match ? pattern.lastIndex : at;
    return match;
  };
  const chunk = (template) => {
    assert.ok(take(TEMPLATE), `no end: ${source.slice(at, at + 40)}`);
    template.text += match[1];

    if (match[2] === '`') {
      found.push(template);
    } else {
      template.text += HOLE;
      open.push(template);
    }
  };

  for (take(SPACE); at < source.length; take(SPACE)) {
    const before = source.slice(Math.max(0, at - 80), at).trimEnd();

    if (take(STRING)) {
      found.push({text: match[2].replace(/\\(.)/g, '$1'), before});
    } else if (VALUE.test(before) || !take(REGEX)) {
      take(OTHER);

      if (match[0] === '`')
        chunk({text: '', before});
      else if (match[0] === '{')
        open.push(null);
      else if (match[0] === '}' && open.length > 0)
        [open.pop()].filter(Boolean).forEach(chunk);
    }
  }

  return found;
}

const KEY = /^[a-z]\w*(\.\w+)+$/;
const CALLED = /(^|[^\w.])(t|pieces)\($/;
/** Places of a child, a label or a title: one word there is a text too. */
const SHOWN = new RegExp('\\b(alt|empty|placeholder|search|title):$'
  + '|\'aria-label\':$|\\},$|\\bsetText\\([^\\n]*,$');

/** True for a literal that a reader would see. */

function isText({text, before}, classes) {
  const plain = text.replace(NAMES, '').replaceAll(HOLE, '');
  const words = plain.split(/\s+/).filter(Boolean);
  const spoken = text.replace(NAMES, '').replaceAll(HOLE, 'x');

  if (ALLOWED.has(text) || !/\p{L}/u.test(plain)
    || /\bclass:$/.test(before) || words.every(word => classes.has(word)))
    return false;

  return /(?<!\p{L})\p{Lu}\p{Ll}|\p{Script=Han}/u.test(spoken)
    || /\p{L}\S*\s+\S*\p{L}/u.test(spoken)
    || SHOWN.test(before) && !KEY.test(text);
}

function placeholders(text) {
  const forms = typeof text === 'string' ? [text] : Object.values(text);
  const names = forms.flatMap(form => form.match(/\{\w+\}/g) || []);

  return [...new Set(names)].sort().join(' ');
}

/**
 * What is wrong with the texts.
 * @param {Object} dashboard
 *   modules: {file: source}, page: index.html, style: style.css,
 *   languages: {name: {texts, source, locale}}.
 */

function problems({modules, page, style, languages}) {
  const classes = new Set([...style.matchAll(/\.([a-z][\w-]*)/g)]
    .map(([, name]) => name));
  const used = new Set([...page.matchAll(/data-text="([^"]*)"/g)]
    .map(([, key]) => key));
  const groups = new Set();
  const found = [];

  for (const [file, source] of Object.entries(modules)) {
    for (const [, group] of source.matchAll(/\bword\('(\w+)'/g))
      groups.add(group);

    for (const literal of literals(source)) {
      const {text, before} = literal;

      if (CALLED.test(before) || KEY.test(text) && !ALLOWED.has(text))
        used.add(text);
      else if (isText(literal, classes))
        found.push(`${file} has a text: ${text.replaceAll(HOLE, '…')}`);
    }
  }

  for (const language of Object.keys(languages))
    found.push(...languageProblems(language, languages, used, groups));

  return found;
}

function languageProblems(language, languages, used, groups) {
  const {texts, source, locale} = languages[language];
  const {pluralCategories} = new Intl.PluralRules(locale).resolvedOptions();
  const keys = [...source.matchAll(/^ {2}'([^']*)':/gm)].map(([, key]) => key);
  const found = [];

  for (const key of used) {
    if (!Object.hasOwn(texts, key))
      found.push(`${language} lacks ${key}`);
  }

  for (const [key, text] of Object.entries(texts)) {
    if (!used.has(key) && !groups.has(key.split('.')[0]))
      found.push(`${language} has ${key}, which is not used`);

    if (keys.filter(other => other === key).length !== 1)
      found.push(`${language} has ${key} twice, or not on a line of its own`);

    if (typeof text !== 'string' && (!Object.hasOwn(text, 'other')
      || Object.keys(text).some(form => !pluralCategories.includes(form))))
      found.push(`${language} has other plural forms of ${key} than it needs`);

    for (const [other, {texts: theirs}] of Object.entries(languages)) {
      if (!Object.hasOwn(theirs, key))
        found.push(`${other} lacks ${key}, which ${language} has`);
      else if (placeholders(theirs[key]) !== placeholders(text))
        found.push(`${language} and ${other} differ in {…} of ${key}`);
    }
  }

  return found;
}

function read(file) {
  return fs.readFileSync(path.join(DIR, file), 'utf8');
}

/** What a module of the browser exports, as it stands: it has no import. */

function load(source) {
  return import(`data:text/javascript,${encodeURIComponent(source)}`);
}

function files(dir) {
  return fs.readdirSync(path.join(DIR, dir))
    .filter(file => file.endsWith('.js'));
}

async function dashboard() {
  const listed = /export const LANGUAGES = (\{[^]*?\n\});/
    .exec(read('language.js'));
  const {default: known} = await load(`export default ${listed[1]}`);
  const languages = {};

  for (const [name, {locale}] of Object.entries(known)) {
    const source = read(`lang/${name}.js`);
    const {default: texts} = await load(source);

    languages[name] = {texts, source, locale};
  }

  return {
    modules: Object.fromEntries(files('.').map(file => [file, read(file)])),
    page: read('index.html'), style: read('style.css'), languages
  };
}

test('every language has the texts that the dashboard uses', async () => {
  assert.deepStrictEqual(problems(await dashboard()), []);
});

test('every module and language is in the binary, and can be chosen',
  async () => {
    const {languages} = await dashboard();
    const lang = files('lang').map(file => `lang/${file}`);
    const pages = fs.readFileSync(PAGES, 'utf8');
    const served = [...pages.matchAll(/file!\("\/([^"]*)", SCRIPT\)/g)]
      .map(([, file]) => file).filter(file => !file.startsWith('vendor/'));

    assert.deepStrictEqual(served.sort(), [...files('.'), ...lang].sort());
    assert.deepStrictEqual(Object.keys(languages).sort(),
      lang.map(file => path.basename(file, '.js')).sort());
    assert.strictEqual(Number(/static FILES: \[File; (\d+)\]/.exec(pages)[1]),
      [...pages.matchAll(/^ {4}file!\(/gm)].length);
  });

test('a fault in the texts is found', async () => {
  const whole = await dashboard();
  const {modules, languages} = whole;

  const withModule = code => ({...whole,
    modules: {...modules, 'new.js': code}});
  const withTexts = texts => ({...whole, languages: {...languages, zh: {
    ...languages.zh, texts: {...languages.zh.texts, ...texts}
  }}});

  const {'round.title': _, ...fewer} = languages.zh.texts;
  const zh = {...languages.zh, texts: fewer};

  for (const [planted, expected] of [
    [withModule('t(\'round.nothing\')'), /^en lacks round\.nothing$/],
    [withModule('t(is ? \'round.title\' : \'round.nothing\')'),
      /^zh lacks round\.nothing$/],
    [withModule('t(\'nothing\')'), /^en lacks nothing$/],
    [{...whole, languages: {...languages, zh}}, /^zh lacks round\.title$/],
    [withTexts({'round.nothing': 'x'}),
      /^zh has round\.nothing, which is not used$/],
    [withTexts({'round.vote_for': '{name} {bits} {state}'}),
      /^en and zh differ in \{…\} of round\.vote_for$/],
    [withTexts({'pool.accounts': {one: '{count}', other: '{count}'}}),
      /^zh has other plural forms of pool\.accounts/],
    [withModule('h(\'p\', {}, \'no miner\')'),
      /^new\.js has a text: no miner$/],
    [withModule('h(\'p\', {}, \'Miners\')'), /has a text: Miners$/],
    [withModule('h(\'p\', {}, \'miners\')'), /has a text: miners$/],
    [withModule('setText(part, \'miners\')'), /has a text: miners$/],
    [withModule('h(\'i\', {title: `${a / b} of ${`${c} d`}`})'),
      /has a text: … of …$/],
    [withModule('x = /\'`/.test(y) ? \'← Back\' : `a${{b: `c`}}`'),
      /has a text: ← Back$/],
    [withModule('x = \'矿工\''), /has a text: 矿工$/]
  ]) {
    const found = problems(planted);

    assert.ok(found.some(problem => expected.test(problem)),
      `${expected}: ${found}`);
  }
});
