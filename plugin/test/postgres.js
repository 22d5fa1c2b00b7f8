'use strict';

/*
 * A PostgreSQL server of a test's own: in a directory of its own, on a free
 * port, removed with the test. PostgreSQL does not run as root.
 */

const {execFile, execFileSync, spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const {promisify} = require('util');
const {freePort, tempDir, waitFor} = require('./harness');

const NOBODY = 65534;
const DEBIAN = '/usr/lib/postgresql';

const run = promisify(execFile);

function program(name) {
  const versions = fs.existsSync(DEBIAN) ? fs.readdirSync(DEBIAN).sort() : [];
  return versions.length > 0 ? path.join(DEBIAN, versions.pop(), 'bin', name)
    : name;
}

class Postgres {
  constructor(dir, port) {
    this.dir = dir;
    this.port = port;
    this.owner = process.getuid() === 0 ? {uid: NOBODY, gid: NOBODY} : {};
    this.child = null;
  }

  /**
   * Start a server with an empty database.
   * @param {TestContext} t
   * @returns {Promise<Postgres>}
   */

  static async start(t) {
    const postgres = new Postgres(tempDir(t), await freePort());
    const {dir, owner} = postgres;

    fs.chmodSync(dir, 0o700);
    if (owner.uid)
      fs.chownSync(dir, owner.uid, owner.gid);

    execFileSync(program('initdb'), ['--auth=trust', '--username=pool',
      '--encoding=UTF8', '--no-sync', `--pgdata=${postgres.data}`],
    {cwd: dir, stdio: 'pipe', ...owner});

    t.after(() => postgres.kill());
    await postgres.resume();
    await postgres.ask('CREATE DATABASE pool', 'postgres');

    return postgres;
  }

  get data() {
    return path.join(this.dir, 'data');
  }

  /** The URL under which a server finds it. */

  get url() {
    return `postgres://pool@127.0.0.1:${this.port}/pool`;
  }

  async resume() {
    this.child = spawn(program('postgres'), ['-D', this.data,
      '-h', '127.0.0.1', '-p', String(this.port), '-k', this.dir,
      '-c', 'fsync=off', '-c', 'log_min_messages=panic'],
    {cwd: this.dir, stdio: 'ignore', ...this.owner});
    this.exited = new Promise(resolve => this.child.once('close', resolve));

    await waitFor('PostgreSQL', () => this.ask('SELECT 1', 'postgres'));
  }

  /** End it at once, with its open transactions. */

  async kill() {
    this.signalAll('SIGCONT');
    this.child.kill('SIGQUIT');
    await this.exited;
  }

  /**
   * Send a signal to the server and all its backends, which are its children.
   */

  signalAll(name) {
    const {pid} = this.child;
    const children = fs.readdirSync('/proc').filter((entry) => {
      try {
        const stat = fs.readFileSync(`/proc/${entry}/stat`, 'utf8');
        return stat.slice(stat.lastIndexOf(')')).split(' ')[2] === String(pid);
      } catch (e) {
        return false;
      }
    });

    for (const one of [pid, ...children.map(Number)]) {
      try {
        process.kill(one, name);
      } catch (e) {
        ;
      }
    }
  }

  /** Run a query; gives its answer as text. */

  async ask(sql, database = 'pool') {
    const {stdout} = await run(program('psql'), ['-X', '-q', '-A', '-t',
      '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', String(this.port),
      '-U', 'pool', '-d', database, '-c', sql]);

    return stdout.trim() || true;
  }
}

module.exports = {Postgres, program};
