//! A server of the proxy's harness: a real pool on a chain of its own, whose shares are durable at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Action, Actions, Arrival, ArrivalKind, Event, Password};
use hstratum_core::operator_order::{Order, OrderId};
use hstratum_core::pool::Pool;
use hstratum_core::pool::status::WorkerStatus;
use hstratum_core::units::{ConnId, Difficulty, Now, Seq};
use serde_json::Value;

use crate::harness::{Setup, TestChain};

pub(crate) const SECRET: &str = "between servers and proxies";

/// The state of one server.
pub(crate) struct TestServer {
    pub(crate) number: usize,
    /// `None` while the server is dead.
    pool: Option<Pool>,
    chain: TestChain,
    starts: u64,
    is_hanging: bool,
    /// Connections that it has accepted.
    open: BTreeSet<ConnId>,
    /// Session id of each connection.
    sessions: HashMap<ConnId, u32>,
    /// Ids of jobs sent since this start.
    jobs: HashSet<String>,
    /// Count of shares in the ledger.
    pub(crate) recorded: u64,
    /// Count of passwords that had to be hashed.
    pub(crate) hashed: usize,
    /// True to send lines that are not JSON instead of everything else.
    pub(crate) talks_nonsense: bool,
    /// True to accept only the proxy's own connections.
    pub(crate) refuses_miners: bool,
    pub(crate) refuses_users: bool,
    /// True to refuse the next connection, although it is up.
    pub(crate) refuses_next: bool,
    orders: u64,
    /// Output: bytes for a connection, or `None` for its end.
    pub(crate) said: Vec<(ConnId, Option<Vec<u8>>)>,
    actions: Actions,
}

impl TestServer {
    pub(crate) fn new(number: usize, now: Now) -> Self {
        let mut server = Self {
            number,
            pool: None,
            chain: TestChain::default(),
            starts: 0,
            is_hanging: false,
            open: BTreeSet::new(),
            sessions: HashMap::new(),
            jobs: HashSet::new(),
            recorded: 0,
            hashed: 0,
            talks_nonsense: false,
            refuses_miners: false,
            refuses_users: false,
            refuses_next: false,
            orders: 0,
            said: Vec::new(),
            actions: Actions::default(),
        };
        server.start(now);
        server
    }

    pub(crate) fn start(&mut self, now: Now) {
        self.starts += 1;
        let setup = Setup {
            slow_users: vec![("alice".to_owned(), "x".to_owned())],
            // The difficulty of miners that request none.
            difficulty_min: crate::harness::DIFFICULTY_TINY,
            ..Setup::default()
        };
        let mut config = setup.config();
        config.boot.prefix = 0x1000 * self.starts + self.number as u64;
        config.boot.secret = [self.number as u8; 32];
        config.proxy_secret = ProxySecret::new(SECRET);
        self.pool = Some(Pool::new(
            config,
            setup.stored_users(),
            Seq(self.recorded),
            now,
        ));
        self.jobs.clear();
        self.is_hanging = false;
        let template = self.chain.template(now.unix_s);
        self.handle(now, Event::Template(Box::new(template)));
    }

    /// Makes it die; gives the connections that end.
    pub(crate) fn die(&mut self) -> Vec<ConnId> {
        self.pool = None;
        self.is_hanging = false;
        self.sessions.clear();
        std::mem::take(&mut self.open).into_iter().collect()
    }

    pub(crate) fn hang(&mut self) {
        self.is_hanging = true;
    }

    pub(crate) fn go_on(&mut self) {
        self.is_hanging = false;
    }

    /// The operator disables a user.
    pub(crate) fn disable(&mut self, now: Now, user: &str) {
        self.orders += 1;
        let order = Order::DisableUser(user.to_owned());
        self.handle(now, Event::Order(OrderId(self.orders), order));
    }

    /// Announces that it stops soon.
    pub(crate) fn leave(&mut self, now: Now) {
        self.handle(now, Event::Leave);
    }

    /// Count of miners that the proxy could still move elsewhere.
    pub(crate) fn proxied(&mut self) -> u64 {
        self.pool.as_mut().expect("it runs").proxied()
    }

    /// The status of every worker.
    pub(crate) fn workers(&self, now: Now) -> Vec<WorkerStatus> {
        let mut workers = Vec::new();
        let pool = self.pool.as_ref().expect("it runs");
        pool.workers(now, 0, usize::MAX / 2, &mut workers);
        workers
    }

    pub(crate) fn has_session(&self, extra_nonce1: u32) -> bool {
        self.pool.is_some() && self.sessions.values().any(|&id| id == extra_nonce1)
    }

    pub(crate) fn block(&mut self, now: Now) {
        let tip = self.chain.grow();
        self.handle(now, Event::Tip(tip));
        let template = self.chain.template(now.unix_s);
        self.handle(now, Event::Template(Box::new(template)));
    }

    /// Accepts a connection; false if it refuses.
    pub(crate) fn connect(&mut self, now: Now, conn: ConnId) -> bool {
        if self.pool.is_none() || std::mem::take(&mut self.refuses_next) {
            return false;
        }
        self.open.insert(conn);
        let arrival = Arrival {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            kind: ArrivalKind::Proxy,
            difficulty: Difficulty::new(crate::harness::DIFFICULTY_TINY).expect("above 0"),
            payout: Payout::Operator,
        };
        self.handle(now, Event::Connected(conn, arrival));
        true
    }

    pub(crate) fn receive(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        if !self.open.contains(&conn) {
            return;
        }
        for line in bytes.split(|&byte| byte == b'\n') {
            self.check_request(line);
        }
        if self.talks_nonsense {
            self.said
                .push((conn, Some(b"220 smtp.example.com\n".to_vec())));
            return;
        }
        self.handle(now, Event::Received(conn, bytes));
    }

    /// Checks that a submit is not for another server's job.
    fn check_request(&self, line: &[u8]) {
        let Ok(request) = serde_json::from_slice::<Value>(line) else {
            return;
        };
        if request["method"] == "mining.submit" && !self.is_hanging {
            let job = request["params"][1].as_str().expect("a job");
            assert!(self.jobs.contains(job), "{job} is a job of another server");
        }
    }

    pub(crate) fn close(&mut self, now: Now, conn: ConnId) {
        if self.open.remove(&conn) {
            self.sessions.remove(&conn);
            self.handle(now, Event::Closed(conn));
        }
    }

    pub(crate) fn tick(&mut self, now: Now) {
        self.handle(now, Event::Tick);
    }

    fn handle(&mut self, now: Now, event: Event<'_>) {
        let Some(mut pool) = self.pool.take() else {
            return;
        };
        if !self.is_hanging {
            pool.handle(now, event, &mut self.actions);
            while let Some(event) = self.perform_all() {
                pool.handle(now, event, &mut self.actions);
            }
        }
        self.pool = Some(pool);
    }

    /// Applies the pool's actions; gives the event that follows.
    fn perform_all(&mut self) -> Option<Event<'static>> {
        let mut actions = std::mem::take(&mut self.actions);
        let mut next = None;
        let mut recorded = self.recorded;
        actions.drain(|action, bytes| match action {
            Action::Send(conn, _) => self.say(conn, bytes),
            Action::SendShared(conn, line) => self.say(conn, &line),
            Action::Close(conn, _) => {
                self.open.remove(&conn);
                self.sessions.remove(&conn);
                self.said.push((conn, None));
            }
            Action::Record(credit) => recorded = credit.seq.0,
            Action::CheckPassword(ticket, _, _) => {
                self.hashed += 1;
                let password = match self.refuses_users {
                    true => Password::Wrong,
                    false => Password::Right,
                };
                next = Some(Event::PasswordChecked(ticket, password));
            }
            Action::KeepUser(ticket, _, new) => next = Some(Event::UserAdded(ticket, Ok(new))),
            _ => {}
        });
        self.actions = actions;
        if recorded > self.recorded {
            self.recorded = recorded;
            assert!(next.is_none(), "one at a time");
            next = Some(Event::Durable(Seq(recorded)));
        }
        next
    }

    fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        for line in bytes.split(|&byte| byte == b'\n') {
            let said: Value = serde_json::from_slice(line).unwrap_or(Value::Null);
            if said["method"] == "mining.notify" {
                let job = said["params"][0].as_str().expect("a job");
                self.jobs.insert(job.to_owned());
            } else if let Some(id) = said["result"][1].as_str() {
                let id = u32::from_str_radix(id, 16).expect("a session's id");
                self.sessions.insert(conn, id);
            }
        }
        self.said.push((conn, Some(bytes.to_vec())));
    }
}
