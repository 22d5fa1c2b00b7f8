//! Common parts of the server's tests: a node that records, a server on loopback, templates.
//!
//! There are no fixed sleeps: every wait is for a condition, and fails at [`DEADLINE`].

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each file of tests uses its part, and none exports it"
)]

pub mod miner;
pub mod template;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use hstratum::config::settings::Settings;
use hstratum::config::{Config, OptionOrigin, RawOption};
use hstratum::node::{BlockQuery, Look, Node, Offer};
use hstratum::payout::hsd::HsdAddresses;
use hstratum::server::Server;
use hstratum::sql::{Db, FromValue, Sql, Sqlite};
use hstratum_core::accounting::ledger::{ChainView, Tip, Verdict};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::block::Solution;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Height};
use tempfile::TempDir;

pub use miner::Miner;
pub use template::Chain;

/// Time that a test waits for anything before it fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A difficulty at which every hash is a share, whatever its bits, and which is sent to miners unrounded.
pub const EVERY_HASH: &str = "7.275957614183426e-12";

/// A block in the form in which it was offered.
#[derive(Clone)]
pub enum Offered {
    Found(Arc<Solution>),
    Spooled { hash: Hash, raw: Vec<u8> },
}

impl Offered {
    pub fn hash(&self) -> Hash {
        match self {
            Self::Found(solution) => solution.hash,
            Self::Spooled { hash, .. } => *hash,
        }
    }
}

#[derive(Default)]
struct Seen {
    log: Vec<(Level, String)>,
    offers: Vec<Offered>,
    /// Blocks of other servers, with all their bytes.
    relayed: Vec<(Hash, Vec<u8>)>,
    /// Blocks that were asked about, by question.
    located: Vec<Vec<Hash>>,
    /// Verdict given to each offer at once.
    answer: Option<Verdict>,
    /// Height of its chain, as far as it was told.
    tip: Option<Height>,
    /// Blocks that are not on its main chain.
    lost: Vec<Hash>,
    /// Its view of the chain, unless it knows all of it.
    view: Option<ChainView>,
    /// It does not answer where blocks are.
    is_blind: bool,
    /// Code to run inside the next offers.
    hooks: VecDeque<Hook>,
}

impl Seen {
    /// Answers a question: blocks are on the main chain as far as it reaches, unless set otherwise.
    fn look(&self, blocks: &[BlockQuery]) -> Look {
        let highest = blocks.iter().map(|(_, height)| *height).max();
        let view = self
            .view
            .unwrap_or_else(|| view_at(self.tip.max(highest).unwrap_or(Height(0))));
        let refused = self.answer.as_ref().is_some_and(|answer| {
            !matches!(answer, Verdict::Accepted) // Side, refused, unknown
        });
        let place = |(hash, height): &BlockQuery| {
            let is_lost = self.lost.contains(hash) || refused;
            let there = if is_lost { other_at(*height) } else { *hash };
            (*hash, (*height <= view.tip.height).then_some(there))
        };
        let places = blocks.iter().map(place).collect();
        Look { view, places }
    }
}

/// View of a synchronized node whose chain has this height.
pub fn view_at(height: Height) -> ChainView {
    let tip = Tip {
        height,
        hash: other_at(height),
        work: u64::from(height.0).into(),
    };
    ChainView {
        tip,
        is_synced: true,
    }
}

/// Hash of another miner's block of this height.
pub fn other_at(height: Height) -> Hash {
    Hash::blake2b(&[b"of others", &height.0.to_le_bytes()])
}

type Hook = Box<dyn FnOnce(&Server) + Send>;

/// A node that records what it is told.
#[derive(Default)]
pub struct TestNode {
    seen: Mutex<Seen>,
    changed: Condvar,
    server: OnceLock<Weak<Server>>,
}

impl Node for TestNode {
    fn offer(&self, offer: Offer) {
        let offered = match offer {
            Offer::Found(solution) => Offered::Found(solution),
            Offer::Spooled { hash, raw } => Offered::Spooled { hash, raw },
            Offer::Relayed { hash, raw } => {
                self.seen().relayed.push((hash, raw));
                return self.changed.notify_all();
            }
        };
        let hash = offered.hash();
        let mut seen = self.seen();
        seen.offers.push(offered);
        let (answer, hook) = (seen.answer.clone(), seen.hooks.pop_front());
        drop(seen);
        self.changed.notify_all();
        // Blocks of an earlier run are offered before there is a server to answer to.
        let Some(server) = self.server.get().and_then(Weak::upgrade) else {
            return;
        };
        if let Some(hook) = hook {
            hook(&server);
        }
        if let Some(verdict) = answer {
            server.block_result(hash, verdict);
        }
    }

    fn locate(&self, blocks: Vec<BlockQuery>) {
        let mut seen = self.seen();
        seen.located
            .push(blocks.iter().map(|(hash, _)| *hash).collect());
        let look = (!seen.is_blind).then(|| seen.look(&blocks));
        drop(seen);
        self.changed.notify_all();
        if let (Some(look), Some(server)) = (look, self.server.get().and_then(Weak::upgrade)) {
            server.located(look);
        }
    }

    fn log(&self, level: Level, text: &str) {
        self.seen().log.push((level, text.to_owned()));
        self.changed.notify_all();
    }
}

impl TestNode {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics under the lock")
    }

    /// Waits until `find` finds something.
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = self.seen();
        loop {
            if let Some(found) = find(&seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let log = std::mem::take(&mut seen.log);
                drop(seen);
                panic!("no {what}; log: {log:#?}");
            }
            (seen, _) = self
                .changed
                .wait_timeout(seen, left)
                .expect("nothing panics under the lock");
        }
    }

    /// Gives this verdict to every offer from now on.
    pub fn answer_with(&self, verdict: Verdict) {
        self.seen().answer = Some(verdict);
    }

    /// Sets the height of its chain, with as much work as blocks.
    pub fn be_at(&self, tip: Height) {
        self.seen().tip = Some(tip);
    }

    /// Sets its view of the chain, whatever it was told.
    pub fn know(&self, view: ChainView) {
        self.seen().view = Some(view);
    }

    /// Stops answering where blocks are.
    pub fn be_blind(&self) {
        self.seen().is_blind = true;
    }

    /// Takes a block off its main chain.
    pub fn lose(&self, hash: Hash) {
        self.seen().lost.push(hash);
    }

    /// Puts it back.
    pub fn find_again(&self, hash: Hash) {
        self.seen().lost.retain(|lost| *lost != hash);
    }

    /// Runs the hook inside one of the next offers, in order.
    pub fn in_next_offer(&self, hook: impl FnOnce(&Server) + Send + 'static) {
        self.seen().hooks.push_back(Box::new(hook));
    }

    /// Panics in the next offer, as a bug of the pool would.
    pub fn panic_in_next_offer(&self) {
        self.in_next_offer(|_| panic!("a failure that a test asked for"));
    }

    /// The offer of this number, counted from 0, once it has come.
    pub fn offer_number(&self, number: usize) -> Offered {
        self.wait("offer", |seen| seen.offers.get(number).cloned())
    }

    /// Waits for a question about exactly these blocks, in any order, and drops all before it.
    pub fn wait_for_question(&self, about: &[Hash]) {
        let mut about = about.to_vec();
        about.sort();
        self.wait("question", |seen| {
            seen.located.iter().rev().find(|hashes| {
                let mut hashes = (*hashes).clone();
                hashes.sort();
                hashes == about
            })?;
            Some(())
        });
        self.seen().located.clear();
    }

    /// The relayed block of this number, counted from 0, once it has come.
    pub fn relayed_number(&self, number: usize) -> (Hash, Vec<u8>) {
        self.wait("relayed block", |seen| seen.relayed.get(number).cloned())
    }

    pub fn relayed(&self) -> usize {
        self.seen().relayed.len()
    }

    pub fn offers(&self) -> usize {
        self.seen().offers.len()
    }

    /// The first log line that contains `part`, once there is one.
    pub fn wait_for_log(&self, part: &str) -> (Level, String) {
        self.wait_for_logs(part, 1).remove(0)
    }

    /// The log lines that contain `part`, once there are this many.
    pub fn wait_for_logs(&self, part: &str, count: usize) -> Vec<(Level, String)> {
        self.wait(&format!("log line {part:?}"), |seen| {
            let mut lines = seen.log.clone();
            lines.retain(|(_, text)| text.contains(part));
            (lines.len() >= count).then_some(lines)
        })
    }

    pub fn log_texts(&self) -> Vec<String> {
        let seen = self.seen();
        seen.log.iter().map(|(_, text)| text.clone()).collect()
    }
}

/// A running server, its node and its files.
pub struct Running {
    pub server: Arc<Server>,
    pub node: Arc<TestNode>,
    /// The server's directory, which outlives the server.
    pub dir: PathBuf,
    root: Arc<TempDir>,
}

/// Starts a server in a new directory. Options are named like flags, without prefix.
pub fn start(options: &[(&str, &str)]) -> Running {
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    start_in(root, options)
}

/// Starts a server in the directory of another, which has stopped.
pub fn restart(earlier: Running, options: &[(&str, &str)]) -> Running {
    assert!(earlier.server.close().wait(), "stopped in time");
    earlier.node.wait_for_log("stopped");
    start_in(earlier.root.clone(), options)
}

/// Starts a server whose files are already in `root/stratum`.
pub fn start_in(root: Arc<TempDir>, options: &[(&str, &str)]) -> Running {
    let dir = root.path().join("stratum");
    let settings = settings(options, Some(&dir));
    let node = Arc::new(TestNode::default());
    let server = Server::start(settings, node.clone()).expect("started");
    let server = Arc::new(server);
    let known = node.server.set(Arc::downgrade(&server));
    assert!(known.is_ok(), "a node has one server");
    Running {
        server,
        node,
        dir,
        root,
    }
}

/// Settings for loopback and any free port.
pub fn settings(options: &[(&str, &str)], dir: Option<&Path>) -> Settings {
    // Fixed difficulty, since nearly all tests find shares faster than a miner would.
    let mut all = vec![
        ("host", "127.0.0.1"),
        ("port", "0"),
        ("dynamic", "false"),
        ("difficulty-min", "5e-324"),
        ("http-port", "0"),
    ];
    all.retain(|(name, _)| options.iter().all(|(other, _)| other != name));
    all.extend(options);
    let options: Vec<RawOption> = all
        .into_iter()
        .map(|(name, value)| RawOption {
            key: name.replace('-', ""),
            value: value.to_owned(),
            origin: OptionOrigin::Flag,
        })
        .collect();
    Settings {
        config: Config::parse(&options).expect("good options"),
        network: Network::Regtest,
        dir: dir.map(Path::to_owned),
        hsd: HsdAddresses::default(),
    }
}

/// A payable address for each number.
pub fn payee(number: u8) -> String {
    let address = Address::new(0, vec![number; 20]).expect("an address");
    address.encode(Network::Regtest)
}

impl Running {
    /// One value of its ledger.
    pub fn value<T: FromValue>(&self, sql: &str) -> T {
        let file = self.dir.join("ledger.db");
        let mut db = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
        let row = db.read(|db: &mut dyn Sql| db.query_one(sql, &[]));
        row.and_then(|row| row.get(0)).expect(sql)
    }

    /// Gives the server a new tip and a template on it.
    pub fn move_on(&self, parts: TemplateParts) {
        let tip = Height(parts.height.0 - 1);
        self.node.be_at(tip);
        self.server.tip(parts.prev_block, tip);
        self.server.template(parts);
    }

    /// A new connection.
    pub fn connect(&self) -> Miner {
        Miner::connect(self.server.address())
    }

    /// A connection that has work.
    pub fn mine_as(&self, user: &str) -> Miner {
        let mut miner = self.connect();
        miner.log_in(user, "");
        miner.wait_for_work();
        miner
    }

    /// Sorted names in a directory of the server; none if it does not exist.
    pub fn files(&self, dir: &str) -> Vec<String> {
        names(&self.dir.join(dir))
    }

    /// A file's content, once it exists.
    pub fn wait_for_file(&self, path: &str) -> Vec<u8> {
        let path = self.dir.join(path);
        wait_until(&format!("{} is there", path.display()), || path.exists());
        std::fs::read(&path).expect("read")
    }

    /// Waits until a file has exactly this content.
    pub fn wait_for_content(&self, path: &str, content: &[u8]) {
        let path = self.dir.join(path);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = std::fs::read(&path).unwrap_or_default();
            if found == content {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} has {:?} instead of {:?}",
                path.display(),
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(content)
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a file is gone.
    pub fn wait_until_gone(&self, path: &str) {
        let path = self.dir.join(path);
        wait_until(&format!("{} is gone", path.display()), || !path.exists());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "log of {}: {:#?}",
                self.dir.display(),
                self.node.log_texts()
            );
        }
        let stopped = self.server.close().wait();
        assert!(stopped || thread::panicking(), "stopped in time");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    let names = entries.map(|entry| name(entry.expect("read")));
    // Reserve files are not blocks.
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(".reserve")).collect();
    names.sort();
    names
}

/// Polls until the condition holds, for things that are not reported.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
