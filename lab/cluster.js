'use strict';

/*
 * A PostgreSQL primary with a synchronous standby in a network of their own,
 * which can be killed, promoted, and cut off from the servers. Root makes
 * them; they run as nobody, since PostgreSQL does not run as root.
 */

const {execFile, execFileSync, spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const {promisify} = require('util');
const {waitFor} = require('../plugin/test/harness');
const {Skip} = require('./rig');

const NOBODY = 65534;
const START_MS = 60000;
const RESTORE_TRIES = 20;
const DEBIAN = '/usr/lib/postgresql';

const run = promisify(execFile);

/** The path of PostgreSQL's programs, as Debian installs them. */

function findPrograms() {
  const versions = fs.existsSync(DEBIAN) ? fs.readdirSync(DEBIAN) : [];

  if (versions.length === 0)
    throw new Skip(`there is no PostgreSQL in ${DEBIAN}`);

  return path.join(DEBIAN, versions.sort().pop(), 'bin');
}

/** One database server. */

class Member {
  constructor(cluster, name, port) {
    this.cluster = cluster;
    this.name = name;
    this.port = port;
    this.dir = path.join(cluster.dir, name);
    this.child = null;
  }

  async start() {
    this.spawn();
    await waitFor(`the database ${this.name}`, () => {
      // Children of a killed server hold its resources until they notice.
      if (this.child.exitCode != null)
        this.spawn();
      return this.ask('SELECT 1', 'postgres');
    }, {ms: START_MS});
  }

  spawn() {
    const {cluster} = this;

    this.child = cluster.spawn('postgres', ['-D', this.dir,
      '-h', cluster.network.inner, '-p', String(this.port), '-k', cluster.dir,
      '-c', 'wal_keep_size=256MB', '-c', 'max_connections=100',
      '-c', 'shared_buffers=64MB', '-c', 'wal_sender_timeout=5s',
      '-c', 'wal_receiver_timeout=5s', '-c', 'log_min_messages=panic']);
    this.exited = new Promise((resolve) => {
      this.child.once('close', resolve);
    });
  }

  /** Run a query; gives its rows as arrays of text. */

  async ask(sql, database = 'pool') {
    const [command, ...args] = this.cluster.command('psql', ['-X', '-q', '-A',
      '-t', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-U', 'pool',
      '-h', this.cluster.network.inner, '-p', String(this.port),
      '-d', database, '-c', sql]);
    const {stdout} = await run(command, args,
      {maxBuffer: 256 << 20, env: {...process.env, PGCONNECT_TIMEOUT: '5'}});

    return stdout.split('\n').filter(line => line !== '')
      .map(line => line.split('\t'));
  }

  /** End it at once, as when the machine loses its power. */

  async kill() {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /**
   * End all connections of servers, as a short failure of the network would.
   */

  async cut() {
    await this.ask('SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
      + ' WHERE application_name = \'hstratum\'', 'postgres');
  }

  /** Keep everybody from reading or writing a table for so long. */

  async lock(table, ms) {
    await this.ask(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE;`
      + ` SELECT pg_sleep(${ms / 1000}); COMMIT`);
  }

  /** Stop or continue all its processes. */

  hang(signal) {
    const {pid} = this.child;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`,
      'utf8');

    for (const child of [pid, ...children.split(' ').filter(Boolean)]) {
      try {
        process.kill(Number(child), signal);
      } catch (e) {
        // It has ended by itself.
        if (e.code !== 'ESRCH')
          throw e;
      }
    }
  }

  /** Replace its database by a copy made before, after some time. */

  async restoreInPlace(wait) {
    const file = path.join(this.cluster.dir, 'pool.dump');
    const run = (program, ...args) => this.cluster.runAside(program, [
      '-h', this.cluster.network.inner, '-p', String(this.port), '-U', 'pool',
      '-d', 'pool', ...args]);

    await run('pg_dump', '-Fc', '-f', file);
    await wait();

    // Servers that write may hold locks; the restore happens whole or not at
    // all.
    for (let tries = 1; ; tries++) {
      try {
        await run('pg_restore', '--clean', '--if-exists',
          '--single-transaction', file);
        return;
      } catch (e) {
        if (tries === RESTORE_TRIES)
          throw e;
      }
    }
  }

  async promote() {
    await this.ask('SELECT pg_promote(true, 30)', 'postgres');
  }
}

class Cluster {
  /**
   * @param {Cleanup} cleanup
   * @param {String} dir - of its own, inside one that everybody may enter.
   * @param {Network} network
   * @param {Number[]} ports - two.
   */

  constructor(cleanup, dir, network, ports) {
    this.dir = dir;
    this.network = network;
    this.programs = findPrograms();
    this.primary = new Member(this, 'a', ports[0]);
    this.standby = new Member(this, 'b', ports[1]);
    this.failovers = 0;

    fs.mkdirSync(dir, {mode: 0o700});
    fs.chownSync(dir, NOBODY, NOBODY);
    cleanup.after(() => this.stop());
  }

  /** The URL by which servers find whichever of the two is the primary. */

  get url() {
    const {inner} = this.network;
    const hosts = [this.primary, this.standby]
      .map(({port}) => `${inner}:${port}`).sort();
    return `postgres://pool@${hosts.join(',')}/pool?sslmode=disable`;
  }

  command(program, args) {
    return ['ip', 'netns', 'exec', this.network.netns, 'setpriv',
      `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups',
      path.join(this.programs, program), ...args];
  }

  spawn(program, args) {
    const [command, ...rest] = this.command(program, args);
    // Each command replaces itself by the next: there is no process between.
    return spawn(command, rest, {cwd: this.dir, stdio: 'ignore'});
  }

  run(program, args) {
    const [command, ...rest] = this.command(program, args);
    execFileSync(command, rest, {cwd: this.dir, stdio: 'pipe'});
  }

  async runAside(program, args) {
    const [command, ...rest] = this.command(program, args);
    await run(command, rest, {cwd: this.dir});
  }

  async start() {
    const {primary} = this;

    this.run('initdb', ['--auth=trust', '--username=pool', '--encoding=UTF8',
      '--no-sync', '--pgdata', primary.dir]);
    fs.appendFileSync(path.join(primary.dir, 'pg_hba.conf'),
      'host all,replication all all trust\n');
    await primary.start();
    await primary.ask('CREATE DATABASE pool', 'postgres');
    await this.addStandby();
  }

  /**
   * Add a standby, for which the primary waits with each commit from now on.
   */

  async addStandby() {
    const {primary, standby} = this;

    fs.rmSync(standby.dir, {recursive: true, force: true});
    this.run('pg_basebackup', ['-h', this.network.inner, '-p',
      String(primary.port), '-U', 'pool', '-D', standby.dir, '-R',
      '--checkpoint=fast', '--no-sync']);
    await standby.start();
    await waitFor('the standby', async () => {
      const rows = await primary.ask('SELECT state FROM pg_stat_replication',
        'postgres');
      return rows.some(([state]) => state === 'streaming');
    }, {ms: START_MS});
    // Set after the copy was made: a promoted standby waits for nobody.
    await primary.ask('ALTER SYSTEM SET synchronous_standby_names = \'*\'',
      'postgres');
    await primary.ask('SELECT pg_reload_conf()', 'postgres');
  }

  /** End the primary for good and promote the standby. */

  async failOver() {
    await this.primary.kill();
    await this.standby.promote();
    [this.primary, this.standby] = [this.standby, this.primary];
    this.failovers++;
  }

  stop() {
    for (const {child} of [this.primary, this.standby])
      child?.kill('SIGQUIT');
  }
}

module.exports = {Cluster};
