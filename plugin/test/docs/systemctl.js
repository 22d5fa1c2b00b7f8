#!/usr/bin/env node
'use strict';

/*
 * The part of systemd that the pages use: it starts the program of a unit, as
 * its user, with its directories, environment and credentials, and stops it.
 * The rest of a unit (its sandbox) is ignored.
 */

const {execFileSync, spawn, spawnSync} = require('child_process');
const fs = require('fs');

const STATE = '/run/units';
const LOGS = '/var/log/units';
const PLACES = ['/etc/systemd/system', '/usr/lib/systemd/system'];

function main([verb, ...rest]) {
  const names = rest.filter(word => !word.startsWith('-'));

  fs.mkdirSync(STATE, {recursive: true});
  fs.mkdirSync(LOGS, {recursive: true});

  switch (verb) {
    case 'daemon-reload':
      return;
    case 'enable':
      return names.forEach(rest.includes('--now') ? start : read);
    case 'start':
      return names.forEach(start);
    case 'restart':
      names.filter(isStarted).forEach(stop);
      return names.forEach(start);
    case 'stop':
      return names.forEach(stop);
    case 'reload':
      return names.forEach(name => process.kill(pidOf(name), 'SIGHUP'));
    default:
      throw new Error(`systemctl: ${verb}?`);
  }
}

function whole(name) {
  return /\.(service|timer)$/.test(name) ? name : `${name}.service`;
}

/**
 * The lines of a unit and its drop-ins: {key: [value]}; an empty one clears.
 */

function read(name) {
  const file = PLACES.map(dir => `${dir}/${whole(name)}`)
    .find(one => fs.existsSync(one));
  const unit = {};

  if (!file)
    throw new Error(`Unit ${whole(name)} not found.`);

  const dropIns = PLACES.map(dir => `${dir}/${whole(name)}.d`)
    .filter(dir => fs.existsSync(dir))
    .flatMap(dir => fs.readdirSync(dir).map(one => `${dir}/${one}`));

  for (const one of [file, ...dropIns]) {
    const text = fs.readFileSync(one, 'utf8').replace(/\\\n/g, ' ');

    for (const [, key, value] of text.matchAll(/^(\w+)=(.*)$/gm))
      unit[key] = value ? [...unit[key] || [], value] : [];
  }

  return unit;
}

/** Does what Debian's own unit for PostgreSQL does. */

function cluster(name) {
  const [, version, id] = /^postgresql@(\d+)-(\w+)$/.exec(name) || [];

  if (id)
    execFileSync('pg_ctlcluster', [version, id, 'restart'], {stdio: 'inherit'});
  return Boolean(id);
}

function start(name) {
  if (cluster(name))
    return;

  const unit = read(name);

  if (name.endsWith('.timer'))
    return read(name.replace('.timer', '.service'));

  const [user] = unit.User || ['root'];
  const base = whole(name).replace('.service', '');
  const env = {HSD_NETWORK: process.env.HSD_NETWORK,
    HOME: user === 'root' ? '/root' : `/var/lib/${user}`,
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'};

  for (const [kind, place] of [['State', '/var/lib'], ['Runtime', '/run']]) {
    for (const dir of unit[`${kind}Directory`] || []) {
      const [mode] = unit[`${kind}DirectoryMode`] || ['0755'];
      execFileSync('install', ['-d', '-o', user, '-g', user, '-m', mode,
        `${place}/${dir}`]);
      env[`${kind.toUpperCase()}_DIRECTORY`] = `${place}/${dir}`;
    }
  }

  for (const credential of unit.LoadCredential || []) {
    const [id, from] = credential.split(':');
    const dir = `/run/credentials/${whole(name)}`;

    execFileSync('install', ['-d', '-m', '0755', dir]);
    fs.copyFileSync(from, `${dir}/${id}`);
    execFileSync('chown', [user, `${dir}/${id}`]);
    env.CREDENTIALS_DIRECTORY = dir;
  }

  for (const entry of unit.EnvironmentFile || []) {
    const file = entry.replace(/^-/, '');

    if (entry === file || fs.existsSync(file))
      Object.assign(env, assignments(fs.readFileSync(file, 'utf8').split('\n')));
  }
  Object.assign(env, assignments(unit.Environment || []));

  const commands = unit.ExecStart.map(line => line
    .replace(/\$\{(\w+)\}/g, (_, key) => env[key]).trim().split(/\s+/));
  const log = fs.openSync(`${LOGS}/${base}.log`, 'a');
  const as = ([command, ...args]) => ['setpriv', ['--reuid', user, '--regid',
    user, '--init-groups', '--', command, ...args]];
  const options = {env, cwd: '/', detached: true, stdio: ['ignore', log, log]};

  if ((unit.Type || [])[0] === 'oneshot') {
    for (const command of commands) {
      const {status} = spawnSync(...as(command), options);

      if (status !== 0)
        throw new Error(`Job for ${whole(name)} failed: ${status}`);
    }
    return;
  }

  const child = spawn(...as(commands[0]), options);

  fs.writeFileSync(stateOf(name), String(child.pid));
  child.unref();
}

function assignments(lines) {
  return Object.fromEntries(lines.map(line => /^(\w+)=(.*)$/.exec(line))
    .filter(Boolean).map(([, key, value]) => [key, value]));
}

function stateOf(name) {
  return `${STATE}/${whole(name).replace('.service', '')}`;
}

function isStarted(name) {
  return fs.existsSync(stateOf(name));
}

function pidOf(name) {
  return Number(fs.readFileSync(stateOf(name), 'utf8'));
}

function stop(name) {
  const pid = pidOf(name);
  const isThere = () => fs.existsSync(`/proc/${pid}/exe`)
    && !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));

  if (isThere())
    process.kill(pid, 'SIGTERM');
  while (isThere())
    execFileSync('sleep', ['0.1']);
}

try {
  main(process.argv.slice(2));
} catch (e) {
  console.error(e.message);
  process.exit(1);
}
