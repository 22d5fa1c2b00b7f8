//! A PostgreSQL server for a test: in its own directory, on a free port, removed with the test.

// Each test program uses a part of it.
#![allow(dead_code)]

pub(crate) mod wire;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hstratum::sql::url::PostgresUrl;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Password of user `pool`, if one is asked for.
pub(crate) const PASSWORD: &str = "right";

/// Time for a server to start, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Attempts to restore a dump beside servers that are connected.
const RESTORES_MAX: u32 = 10;

/// A running PostgreSQL server.
pub(crate) struct Server {
    dir: TempDir,
    port: u16,
    user: Option<u32>,
    /// It syncs its commits. Most tests kill processes, not the machine, and need no sync.
    is_durable: bool,
    running: Option<Child>,
}

impl Server {
    /// A server with an empty database named `pool`.
    pub(crate) fn start() -> Self {
        Self::make(false)
    }

    /// A server that syncs, like an operator's.
    pub(crate) fn durable() -> Self {
        Self::make(true)
    }

    fn make(is_durable: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut server = Self {
            user: other_user(dir.path()),
            dir,
            port,
            is_durable,
            running: None,
        };
        server.own(server.dir.path());
        let made = server
            .command("initdb")
            .args([
                "--auth=trust",
                "--username=pool",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .arg("--pgdata")
            .arg(server.data())
            .stdout(Stdio::null())
            .status()
            .expect("initdb");
        assert!(made.success(), "initdb failed");
        server.resume();
        server.sql_in("postgres", "CREATE DATABASE pool");
        server
    }

    /// Makes it ask for its password from now on.
    pub(crate) fn lock(&self) {
        self.sql(&format!("ALTER USER pool PASSWORD '{PASSWORD}'"));
        let rule = "host all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(self.data().join("pg_hba.conf"), rule).expect("written");
        self.sql("SELECT pg_reload_conf()");
    }

    /// Makes it speak TLS as well, as `pool.test`; returns the path of its certificate.
    pub(crate) fn encrypt(&self) -> PathBuf {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        for (from, to) in [("first.crt", "server.crt"), ("first.key", "server.key")] {
            let to = self.data().join(to);
            fs::copy(ours.join(from), &to).expect("copied");
            fs::set_permissions(&to, Permissions::from_mode(0o600)).expect("rights");
            if let Some(user) = self.user {
                chown(&to, Some(user), Some(user)).expect("owned");
            }
        }
        self.sql("ALTER SYSTEM SET ssl = on");
        self.sql("SELECT pg_reload_conf()");
        ours.join("first.crt")
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Id of its first process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// URL for user `pool`.
    pub(crate) fn url(&self) -> String {
        format!("postgres://pool@127.0.0.1:{}/pool", self.port)
    }

    /// The server shared by the tests of this program while any of them runs; each test has a database of its
    /// own there.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    /// URL of a new, empty database for user `pool`.
    pub(crate) fn database(&self) -> String {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let name = format!("pool_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.sql_in("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://pool@127.0.0.1:{}/{name}", self.port)
    }

    /// Parsed address of the database `pool`.
    pub(crate) fn address(&self) -> PostgresUrl {
        self.url().parse().expect("an address")
    }

    /// Kills its process, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            // The postmaster's children notice its end.
            child.kill().expect("killed");
            child.wait().expect("waited");
        }
    }

    /// Starts it again.
    pub(crate) fn resume(&mut self) {
        // Its children hold the port and the lock until they have noticed its end.
        let until = Instant::now() + START;
        loop {
            assert!(Instant::now() < until, "PostgreSQL does not start");
            let mut child = self
                .command("postgres")
                .arg("-D")
                .arg(self.data())
                .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"])
                .arg(self.dir.path())
                .args(["-c", "log_min_messages=panic", "-c", "max_connections=150"])
                .args([
                    "-c",
                    if self.is_durable {
                        "fsync=on"
                    } else {
                        "fsync=off"
                    },
                ])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("postgres");
            while child.try_wait().expect("asked").is_none() {
                if self.ask_in("postgres", "SELECT 1").is_some() {
                    self.running = Some(child);
                    return;
                }
            }
        }
    }

    /// Makes it ask this role for its password from now on.
    pub(crate) fn require_password(&self, role: &str) {
        let path = self.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&path).expect("read");
        let rule = format!("host all {role} 127.0.0.1/32 scram-sha-256\n");
        fs::write(&path, rule + &rules).expect("written");
        self.sql_in("postgres", "SELECT pg_reload_conf()");
    }

    /// Copies its data. It is killed for that, and started again.
    pub(crate) fn save(&mut self) -> TempDir {
        let saved = tempfile::tempdir().expect("a directory");
        self.kill();
        copy(&self.data(), &saved.path().join("data"));
        self.resume();
        saved
    }

    /// Restores a copy of its data, and starts it.
    pub(crate) fn restore(&mut self, saved: &TempDir) {
        self.kill();
        // Its children have to be gone, since they may still write.
        self.resume();
        self.stop();
        fs::remove_dir_all(self.data()).expect("removed");
        copy(&saved.path().join("data"), &self.data());
        self.resume();
    }

    /// Suspends all its processes until the result is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let first = self.pid().expect("it runs");
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        let children = children.expect("read");
        let children = children
            .split_whitespace()
            .map(|pid| pid.parse().expect("a number"));
        let frozen = Frozen(
            std::iter::once(first.cast_signed())
                .chain(children)
                .collect(),
        );
        frozen.signal(Signal::STOP);
        frozen
    }

    /// A dump of the database `pool`, as an operator makes it.
    pub(crate) fn dump(&self) -> PathBuf {
        let path = self.dir.path().join("pool.dump");
        let made = self
            .client("pg_dump")
            .args(["-Fc", "-d", "pool", "-f"])
            .arg(&path)
            .status();
        assert!(made.expect("pg_dump").success(), "dumped");
        path
    }

    /// Restores the dump in place, while others are connected.
    pub(crate) fn restore_in_place(&self, dump: &Path) {
        let mut restore = self.client("pg_restore");
        restore.args([
            "--clean",
            "--if-exists",
            "--single-transaction",
            "-d",
            "pool",
        ]);
        restore.arg(dump);
        // Its locks may cross those of a connected server: then PostgreSQL ends one of the two transactions.
        let mut tries = 0..RESTORES_MAX;
        let is_restored = tries.any(|_| restore.status().expect("pg_restore").success());
        assert!(is_restored, "restored");
    }

    /// Command for one of PostgreSQL's own programs, connected to it.
    fn client(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "pool",
            ])
            .env("PGPASSWORD", PASSWORD);
        command
    }

    /// Stops it in order.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
            kill_process(pid, Signal::INT).expect("stopped");
            child.wait().expect("waited");
        }
    }

    /// Sets whether new connections to `pool` are read-only: `on` or `off`.
    pub(crate) fn set_read_only(&self, on: &str) {
        let set = format!("ALTER DATABASE pool SET default_transaction_read_only = {on}");
        self.sql_in("postgres", &set);
    }

    /// Executes statements, as an operator would.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.sql_in("pool", statements)
    }

    fn sql_in(&self, database: &str, statements: &str) -> String {
        self.ask_in(database, statements).expect("carried out")
    }

    fn ask_in(&self, database: &str, statements: &str) -> Option<String> {
        let output = self
            .command("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "pool", "-d", database, "-c", statements])
            .env("PGPASSWORD", PASSWORD)
            .stderr(Stdio::null())
            .output()
            .expect("psql");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        output.status.success().then(|| text.trim().to_owned())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// PostgreSQL does not run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        command.current_dir(self.dir.path());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn own(&self, path: &Path) {
        fs::set_permissions(path, Permissions::from_mode(0o700)).expect("rights");
        if let Some(user) = self.user {
            chown(path, Some(user), Some(user)).expect("owned");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            // It is killed at once, and its children end with it.
            if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                let _ = kill_process(pid, Signal::QUIT);
            }
            let _ = child.wait();
        }
    }
}

/// Suspended processes, resumed when dropped.
pub(crate) struct Frozen(Vec<i32>);

impl Frozen {
    fn signal(&self, signal: Signal) {
        for pid in self.0.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // One may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// Copies with owners and permissions.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp").success(), "copied");
}

/// The user nobody, if we are root.
fn other_user(ours: &Path) -> Option<u32> {
    let is_root = fs::metadata(ours).expect("it is there").uid() == 0;
    is_root.then_some(65_534)
}

/// Directory of the programs in Debian, else the search path.
fn programs() -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = debian
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    found.sort();
    found.pop().unwrap_or_default()
}
