#!/usr/bin/env node

'use strict';

/*
 * Writes the npm packages as tarballs: `hstratum`, and one with the native
 * files for each platform.
 *
 *   node scripts/dist.js [--out DIR] [PLATFORM...]
 *
 * Without a platform, this machine's, from target/release. Others must have
 * been built: cargo build --release --target TRIPLE. The main package names
 * the platforms of the same run, so that all tarballs belong together.
 */

const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {platform: thisPlatform} = require('../plugin/platform_package');

const ROOT = path.join(__dirname, '..');

/**
 * Platforms that can be built; STRIP names another program to remove symbols.
 */
const PLATFORMS = {
  'linux-x64-gnu': {
    triple: 'x86_64-unknown-linux-gnu',
    fields: {os: ['linux'], cpu: ['x64'], libc: ['glibc']},
    addon: 'libhstratum_addon.so',
    strip: ['--strip-unneeded']
  },
  'linux-arm64-gnu': {
    triple: 'aarch64-unknown-linux-gnu',
    fields: {os: ['linux'], cpu: ['arm64'], libc: ['glibc']},
    addon: 'libhstratum_addon.so',
    strip: ['--strip-unneeded']
  },
  'linux-x64-musl': {
    triple: 'x86_64-unknown-linux-musl',
    fields: {os: ['linux'], cpu: ['x64'], libc: ['musl']},
    addon: 'libhstratum_addon.so',
    strip: ['--strip-unneeded']
  },
  'darwin-arm64': {
    triple: 'aarch64-apple-darwin',
    fields: {os: ['darwin'], cpu: ['arm64']},
    addon: 'libhstratum_addon.dylib',
    strip: ['-x']
  },
  'darwin-x64': {
    triple: 'x86_64-apple-darwin',
    fields: {os: ['darwin'], cpu: ['x64']},
    addon: 'libhstratum_addon.dylib',
    strip: ['-x']
  }
};

function main(argv) {
  const {out, platforms} = parse(argv);
  const manifest = JSON.parse(read('plugin/package.json'));
  const [, version] = read('Cargo.toml').match(/^version = "(.*)"$/m);

  if (version !== manifest.version)
    throw new Error(`Cargo.toml has version ${version}, `
      + `plugin/package.json ${manifest.version}`);

  fs.mkdirSync(out, {recursive: true});

  for (const platform of platforms)
    pack(out, stage => stagePlatform(stage, platform, manifest));

  pack(out, stage => stageMain(stage, platforms, manifest));
}

function parse(argv) {
  let out = path.join(ROOT, 'dist');

  if (argv[0] === '--out') {
    out = path.resolve(argv[1]);
    argv = argv.slice(2);
  }

  const platforms = argv.length > 0 ? argv : [thisPlatform()];

  for (const platform of platforms) {
    if (!PLATFORMS[platform])
      throw new Error(`${platform} is none of `
        + `${Object.keys(PLATFORMS).join(', ')}`);
  }

  return {out, platforms};
}

/** Fill a directory, and make a tarball of it. */

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

function stagePlatform(stage, platform, {version, license}) {
  const {triple, fields, addon, strip} = PLATFORMS[platform];
  const built = platform === thisPlatform() ? 'target/release'
    : `target/${triple}/release`;

  for (const [from, to] of [[addon, 'hstratum.node'],
    ['hstratum', 'hstratum']]) {
    const target = path.join(stage, to);

    fs.copyFileSync(path.join(ROOT, built, from), target);
    execFileSync(process.env.STRIP || 'strip', [...strip, target]);
    fs.chmodSync(target, 0o755);
  }

  write(stage, 'package.json', JSON.stringify({
    name: `@hstratum/${platform}`,
    version,
    description: `The native files of hstratum for ${platform}`,
    license,
    files: ['hstratum', 'hstratum.node'],
    ...fields
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
