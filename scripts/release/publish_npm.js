#!/usr/bin/env node

'use strict';

/*
 * Publishes a release's npm packages, those of platforms before the one that
 * names them:
 *
 *   node scripts/release/publish_npm.js DIR VERSION REPOSITORY
 *
 * REPOSITORY is what npm demands of packages with provenance, the web address
 * of the repository that they were built from. All are checked before the first
 * is published, and one that the registry has already, with the same bytes, is
 * passed over: what failed can be run again. Without NPM_TOKEN npm asks for a
 * token itself, as the workflow's trusted publisher.
 */

const {execFileSync, spawnSync} = require('child_process');
const {createHash} = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');

const MAIN = 'hstratum';

function main(dir, version, repository) {
  if (!repository)
    throw new Error('publish_npm.js DIR VERSION REPOSITORY');

  const packages = read(dir);

  check(packages, version, repository);
  withToken(env => {
    for (const name of [...packages.keys()].filter(name => name !== MAIN))
      publish(packages.get(name), env);

    publish(packages.get(MAIN), env);
  });
}

/** Packages by name: their manifest and file. */

function read(dir) {
  const files = fs.readdirSync(dir).filter(name => name.endsWith('.tgz'));

  return new Map(files.map(file => {
    const tarball = path.resolve(dir, file);
    const manifest = JSON.parse(execFileSync('tar',
      ['-xzOf', tarball, 'package/package.json'], {encoding: 'utf8'}));

    return [manifest.name, {manifest, tarball}];
  }));
}

function check(packages, version, repository) {
  const needed = packages.get(MAIN)?.manifest.optionalDependencies;

  if (!needed)
    throw new Error(`there is no package ${MAIN} with optionalDependencies`);

  for (const [name, of] of Object.entries(needed)) {
    if (!packages.has(name) || of !== version)
      throw new Error(`${MAIN} needs ${name} ${of}, which is not there`);
  }

  for (const [name, {manifest}] of packages) {
    if (name !== MAIN && !needed[name])
      throw new Error(`${MAIN} does not name ${name}`);

    if (manifest.version !== version)
      throw new Error(`${name} has version ${manifest.version}, not ${version}`);

    if (manifest.repository?.url !== `git+${repository}.git`)
      throw new Error(`${name} has repository ${manifest.repository?.url}, `
        + `not git+${repository}.git`);
  }
}

function publish({manifest: {name, version}, tarball}, env) {
  const integrity = `sha512-${createHash('sha512')
    .update(fs.readFileSync(tarball)).digest('base64')}`;
  const there = published(`${name}@${version}`, env);

  if (there && there !== integrity)
    throw new Error(`the registry has ${name}@${version} with other bytes`);

  if (!there) {
    execFileSync('npm', ['publish', tarball, '--access', 'public'],
      {env, stdio: ['ignore', 'inherit', 'inherit']});
  }

  console.log(`${name}@${version} ${there ? 'was' : 'is'} published`);
}

/** The registry's integrity of a version, or none. */

function published(spec, env) {
  const {status, stdout, stderr} = spawnSync('npm',
    ['view', spec, 'dist.integrity', '--json'], {env, encoding: 'utf8'});

  if (status === 0)
    return stdout.trim() && JSON.parse(stdout);

  if (stderr.includes('E404'))
    return null;

  throw new Error(`failed to look for ${spec}: ${stderr.trim().split('\n')[0]}`);
}

/** NPM_TOKEN where npm looks for it, in a file that does not hold it. */

function withToken(use) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hstratum-npm-'));
  const userconfig = path.join(dir, 'npmrc');

  try {
    const registry = execFileSync('npm', ['config', 'get', 'registry'],
      {encoding: 'utf8'}).trim();
    const host = registry.replace(/^https?:/, '').replace(/\/?$/, '/');

    fs.writeFileSync(userconfig, process.env.NPM_TOKEN
      ? `registry=${registry}\n${host}:_authToken=\${NPM_TOKEN}\n`
      : `registry=${registry}\n`);
    use({...process.env, NPM_CONFIG_USERCONFIG: userconfig});
  } finally {
    fs.rmSync(dir, {recursive: true});
  }
}

try {
  main(...process.argv.slice(2));
} catch (e) {
  console.error(e.message);
  process.exitCode = 1;
}
