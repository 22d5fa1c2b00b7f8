'use strict';

/*
 * Instructions and allocations of what is done for each share, job and login, beside those that
 * bench/instructions.json has: other programs on the machine do not change them, so that a tree is compared with
 * what it was before. Exits with 1 where one differs by more than 2 %, to either side. UPDATE=1 writes into the file what was counted,
 * BENCH=pool counts that bench alone.
 *
 * callgrind counts each bench at two lengths; the difference is what one more costs.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const FILE = path.join(__dirname, '..', 'bench', 'instructions.json');
const TOLERANCE = 0.02;
/** Below so many a single one may be more than the tolerance. */
const FEW = 50;
const ALLOCATORS = new Set(['malloc', 'calloc', 'realloc', 'posix_memalign', 'aligned_alloc']);

/** [what, bench, its two lengths], by package and file. */
const MEASURED = [
  ['hstratum-core', 'pool', [
    ['a submit read (parse_submit)', 'pool::parse_submit', 1000, 11000],
    ['a share to its reply (share_to_reply)', 'pool::share_to_reply', 1000, 11000],
    ['a login (login)', 'pool::login', 100, 1100],
    ['a notify written (encode_notify)', 'pool::encode_notify', 1000, 11000],
    ['a job to 1,000 miners (new_job)', 'pool::new_job::1000', 5, 25],
    ['a job to 1,000 solo miners (new_solo_job)', 'pool::new_solo_job::1000', 5, 25]
  ]],
  ['hstratum-core', 'proxy', [
    ['a share through the proxy (share_there_and_back)', 'proxy::share_there_and_back', 1000, 11000]
  ]],
  ['hstratum', 'store', [
    ['a commit of 100 shares (commit_shares_of_accounts)', 'store::commit_shares_of_accounts::(100, 10)', 10, 60]
  ]]
];

/** Build a bench as cargo does for `cargo bench`; gives the program's path. */

function build(name, bench) {
  const lines = execFileSync('cargo', ['bench', '--locked', '-p', name, '--bench', bench, '--no-run',
    '--message-format=json'], {cwd: path.join(__dirname, '..'), encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit']});

  return lines.trim().split('\n').map(line => JSON.parse(line))
    .find(({executable, target}) => executable && target.name === bench).executable;
}

/** Calls of the allocator in a file of callgrind, which has a name once and then its number. */

function allocationsIn(file) {
  const names = new Map();
  let callee = null;
  let sum = 0;

  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    const named = /^c?fn=(\(\d+\))(?: (.*))?$/.exec(line);

    if (named) {
      const [, number, text] = named;

      if (text)
        names.set(number, text);

      callee = names.get(number);
    } else if (line.startsWith('calls=') && ALLOCATORS.has(callee)) {
      sum += parseInt(line.slice('calls='.length), 10);
    }
  }

  return sum;
}

function count(program, bench, length) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-instructions-'));
  const file = path.join(dir, 'callgrind.out');

  try {
    execFileSync('valgrind', ['--tool=callgrind', `--callgrind-out-file=${file}`, program, '--bench', '--exact', bench,
      '--sample-count', '1', '--sample-size', String(length)], {stdio: ['ignore', 'ignore', 'pipe']});

    const total = /^(?:totals|summary): (\d+)/m.exec(fs.readFileSync(file, 'utf8'));

    return {instructions: Number(total[1]), allocations: allocationsIn(file)};
  } finally {
    fs.rmSync(dir, {recursive: true});
  }
}

function measure(program, bench, fewer, more) {
  const [less, all] = [fewer, more].map(length => count(program, bench, length));
  const each = what => (all[what] - less[what]) / (more - fewer);

  if (all.instructions <= less.instructions)
    throw new Error(`no bench ${bench}`);

  return {instructions: Math.round(each('instructions')), allocations: Math.max(0, Number(each('allocations').toFixed(1)))};
}

function differs(now, before) {
  return Math.abs(now - before) > Math.max(before * TOLERANCE, before < FEW ? 0.5 : 0);
}

/** Print a row; gives whether it is as the file has it. */

function compare(what, now, before) {
  const cell = (key, width) => String(now[key].toLocaleString('en')).padStart(width);
  const different = before ? Object.keys(now).filter(key => differs(now[key], before[key])) : Object.keys(now);
  const notes = before ? different.map((key) => {
    const change = before[key] ? ` (${((now[key] / before[key] - 1) * 100).toFixed(1)} %)` : '';
    return `${key} were ${before[key].toLocaleString('en')}${change}`;
  }) : ['not in the file'];

  console.log([what.padEnd(52), cell('instructions', 12), cell('allocations', 9), notes.join(', ')].join(' ').trimEnd());
  return different.length === 0;
}

function main() {
  if (process.argv.length > 2)
    throw new Error(`'${process.argv[2]}': there are no arguments, only UPDATE=1 and BENCH=NAME in the environment`);

  if (!['', '1', undefined].includes(process.env.UPDATE))
    throw new Error(`UPDATE: 1, not '${process.env.UPDATE}'`);

  try {
    execFileSync('valgrind', ['--version'], {stdio: 'ignore'});
  } catch (e) {
    throw new Error('valgrind is not installed', {cause: e});
  }

  const compiler = execFileSync('rustc', ['--version'], {encoding: 'utf8'}).trim();
  const before = JSON.parse(fs.readFileSync(FILE, 'utf8'));
  const wanted = process.env.BENCH;
  const counts = {};
  let same = true;

  if (wanted && !MEASURED.some(([, bench]) => bench === wanted))
    throw new Error(`BENCH: '${wanted}' is none of ${MEASURED.map(([, bench]) => bench).join(', ')}`);

  if (wanted && process.env.UPDATE === '1' && before.compiler !== compiler)
    throw new Error(`UPDATE with BENCH: the file was made by ${before.compiler}, this is ${compiler}; update all`);

  console.log(`${''.padEnd(52)} instructions allocations`);

  for (const [name, bench, rows] of MEASURED.filter(([, bench]) => !wanted || bench === wanted)) {
    const program = build(name, bench);

    for (const [what, ...where] of rows) {
      counts[what] = measure(program, ...where);
      same = compare(what, counts[what], before.counts[what]) && same;
    }
  }

  if (process.env.UPDATE === '1') {
    const all = {...wanted ? before.counts : {}, ...counts};

    fs.writeFileSync(FILE, `${JSON.stringify({compiler, counts: all}, null, 2)}\n`);
    return;
  }

  if (!same) {
    if (before.compiler !== compiler)
      console.error(`instructions: the file was made by ${before.compiler}, this is ${compiler}`);

    throw new Error('something differs by more than 2 % from bench/instructions.json; a commit that means it writes the '
      + 'file with UPDATE=1');
  }
}

try {
  main();
} catch (error) {
  console.error(`instructions: ${error.message}`);
  process.exitCode = 1;
}
