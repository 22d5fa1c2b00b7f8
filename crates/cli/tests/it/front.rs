//! `hstratum proxy` as a process before several servers.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use hstratum::proxy::control::{self, ControlOrder};
pub(crate) use hstratum_harness::ports::free_port;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Miner, wait_until};

/// A proxy process and its files; killed when dropped.
pub(crate) struct Front {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) control: PathBuf,
    backends: Vec<String>,
    lines: Arc<Mutex<Vec<String>>>,
    _dir: TempDir,
}

impl Front {
    /// Starts a proxy before these servers, and waits until it listens.
    pub(crate) fn start(backends: &[String], args: &[&str]) -> Self {
        Self::start_saying(backends, args, Stdio::piped())
    }

    /// The same with a given standard error.
    pub(crate) fn start_saying(backends: &[String], args: &[&str], stderr: Stdio) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut front = Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            control: dir.path().join("control"),
            backends: backends.to_vec(),
            lines: Arc::default(),
            child: Command::new("true").spawn().expect("started"),
            _dir: dir,
        };
        let _ = front.child.wait();
        front.child = front.command(args).stderr(stderr).spawn().expect("started");
        front.listen();
        wait_until("the proxy listens", || {
            TcpStream::connect(front.address).is_ok()
        });
        front
    }

    /// The command that starts it, or another process in its place.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hstratum"));
        command.args(self.args(args)).stdout(Stdio::null());
        command
    }

    /// The same with a limit of open files.
    pub(crate) fn command_with_files(&self, limit: &str, args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_hstratum")])
            .args(self.args(args))
            .stdout(Stdio::null());
        command
    }

    fn args(&self, args: &[&str]) -> Vec<String> {
        let mut all = vec![
            "proxy".to_owned(),
            format!("--listen=tcp://{}", self.address),
            format!("--control={}", self.control.display()),
            // A long timeout, so that a busy machine is not taken for a hanging server.
            "--probe-timeout=3000".to_owned(),
        ];
        all.extend(self.backends.iter().map(|name| format!("--backend={name}")));
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        all
    }

    fn listen(&mut self) {
        let Some(stderr) = self.child.stderr.take() else {
            return;
        };
        let lines = self.lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("no panic").push(line);
            }
        });
    }

    /// Lets another process take over; returns the exit status of the old one.
    pub(crate) fn take_over_by(&mut self, mut command: Command) -> ExitStatus {
        let new = command.stderr(Stdio::piped()).spawn().expect("started");
        let mut old = std::mem::replace(&mut self.child, new);
        self.listen();
        old.wait().expect("ended")
    }

    /// Waits until it considers all servers up.
    pub(crate) fn wait_until_up(&self) {
        wait_until("all servers are up", || {
            let status = self.try_ask(&ControlOrder::Status);
            let servers = status.as_ref().map(|status| &status["servers"]);
            let servers = servers.and_then(Value::as_array);
            servers.is_some_and(|all| all.iter().all(|server| server["state"] == "up"))
        });
    }

    pub(crate) fn try_ask(&self, order: &ControlOrder) -> Option<Value> {
        control::ask(&self.control, order).ok()
    }

    pub(crate) fn status(&self) -> Value {
        self.try_ask(&ControlOrder::Status).expect("it answers")
    }

    /// Lines of its log so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Waits for a log line that contains `part`.
    pub(crate) fn wait_for_line(&self, part: &str) -> String {
        let find = || self.lines().into_iter().find(|line| line.contains(part));
        wait_until(&format!("{part:?} is said"), || find().is_some());
        find().expect("it was there")
    }

    pub(crate) fn connect(&self) -> Miner {
        Miner::connect(self.address)
    }

    /// A miner that has work.
    pub(crate) fn mine_as(&self, user: &str) -> Miner {
        let mut miner = self.connect();
        miner.log_in(user, "");
        miner.wait_for_work();
        miner
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ours").is_none()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the proxy said {:#?}", self.lines());
        }
    }
}
