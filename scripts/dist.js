#!/usr/bin/env node

'use strict';

/*
 * Writes the npm packages as tarballs: `hstratum`, and one with the native
 * files for each platform.
 *
 *   node scripts/dist.js [--out DIR] [PLATFORM...]
 *
 * Without a platform, this machine's, from target/release. Those that are
 * named are taken from target/TRIPLE/release, where scripts/release/build.sh
 * puts them. The main package names the platforms of the same run, so that
 * all tarballs belong together.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {platform: thisPlatform} = require('../plugin/platform_package');
const PLATFORMS = require('./platforms.json');

const ROOT = path.join(__dirname, '..');

function main(argv) {
  const {out, platforms} = parse(argv);
  const manifest = JSON.parse(read('plugin/package.json'));
  const [, version] = read('Cargo.toml').match(/^version = "(.*)"$/m);

  if (version !== manifest.version)
    throw new Error(`Cargo.toml has version ${version}, `
      + `plugin/package.json ${manifest.version}`);

  fs.mkdirSync(out, {recursive: true});

  for (const [platform, built] of platforms)
    pack(out, stage => stagePlatform(stage, platform, built, manifest));

  const names = platforms.map(([platform]) => platform);
  pack(out, stage => stageMain(stage, names, manifest));
}

function parse(argv) {
  let out = path.join(ROOT, 'dist');

  if (argv[0] === '--out') {
    out = path.resolve(argv[1]);
    argv = argv.slice(2);
  }

  for (const platform of argv) {
    if (!PLATFORMS[platform])
      throw new Error(`${platform} is none of `
        + `${Object.keys(PLATFORMS).join(', ')}`);
  }

  const named = argv.map(platform =>
    [platform, `target/${PLATFORMS[platform].triple}/release`]);

  return {
    out,
    platforms: named.length > 0 ? named : [[thisPlatform(), 'target/release']]
  };
}

/** Fill a directory, and make a tarball of it: npm gives all files one time. */

function pack(out, fill) {
  const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-dist-'));

  try {
    fill(stage);
    fs.copyFileSync(path.join(ROOT, 'LICENSE'), path.join(stage, 'LICENSE'));
    const [{filename, size}] = JSON.parse(execFileSync('npm', ['pack',
      '--json', '--ignore-scripts', '--pack-destination', out],
      {cwd: stage, stdio: ['ignore', 'pipe', 'pipe']}));
    console.log(`${path.join(out, filename)}  ${(size / 1e6).toFixed(1)} MB`);
  } finally {
    fs.rmSync(stage, {recursive: true});
  }
}

function stagePlatform(stage, platform, built, manifest) {
  const {version, license, repository} = manifest;
  const {npm, addon} = PLATFORMS[platform];

  for (const [from, to] of [[addon, 'hstratum.node'],
    ['hstratum', 'hstratum']]) {
    const target = path.join(stage, to);

    fs.copyFileSync(path.join(ROOT, built, from), target);

    if (built === 'target/release')
      execFileSync('strip', ['--strip-unneeded', target]);

    fs.chmodSync(target, 0o755);
  }

  write(stage, 'package.json', JSON.stringify({
    name: `@hstratum/${platform}`,
    version,
    description: `The native files of hstratum for ${platform}`,
    license,
    repository,
    files: ['hstratum', 'hstratum.node'],
    ...npm
  }, null, 2));
  write(stage, 'README.md', `The native files of the package hstratum for `
    + `${platform}. npm installs them with it.\n`);
}

function stageMain(stage, platforms, manifest) {
  const optionalDependencies = {};

  for (const platform of platforms)
    optionalDependencies[`@hstratum/${platform}`] = manifest.version;

  // The files that make build leaves there are for this machine only.
  const files = manifest.files.filter(name => !name.includes('*'));

  for (const name of files)
    fs.copyFileSync(path.join(ROOT, 'plugin', name), path.join(stage, name));

  fs.copyFileSync(path.join(ROOT, 'README.md'), path.join(stage, 'README.md'));
  write(stage, 'package.json', JSON.stringify({
    ...manifest,
    files,
    bin: {hstratum: 'launcher.js'},
    optionalDependencies
  }, null, 2));
}

function read(name) {
  return fs.readFileSync(path.join(ROOT, name), 'utf8');
}

function write(stage, name, text) {
  fs.writeFileSync(path.join(stage, name), text);
}

try {
  main(process.argv.slice(2));
} catch (e) {
  console.error(e.message);
  process.exitCode = 1;
}
