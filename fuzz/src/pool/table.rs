//! Drives the pool's surroundings and checks its output after every event.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounts::Auth;
use hstratum_core::accounts::password::{StoredPassword, hash256};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::block::{FoundBlock, Solution};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{
    Action, Actions, Arrival, ArrivalKind, Event, LedgerState, Listening, Password, Ticket,
};
use hstratum_core::job::Boot;
use hstratum_core::job::direct_payout::OperatorFee;
use hstratum_core::limits::{CLOSE_DELAY_MS, PENDING_REPLIES_MAX, SHARES_REMEMBERED_MAX};
use hstratum_core::operator_order::NotWritten;
use hstratum_core::pool::Pool;
use hstratum_core::pool::config::PoolConfig;
use hstratum_core::session::difficulty::Dynamic;
use hstratum_core::units::Now;
use hstratum_core::units::{ConnId, Difficulty, Hash, Seq};

use super::seat::Seat;
use super::template::{Blocks, TIME, template};

const SEATS: usize = 4;
/// Those that may be on a solo listener.
const SOLO_SEATS: RangeInclusive<usize> = 1..=2;
const NETWORK: Network = Network::Regtest;
/// The operator's part of a solo block: one percent.
const FEE_PPM: u32 = 10_000;
/// Bytes that a repeated step sends.
const REPEATED_BYTES_MAX: usize = 24 * 1024;

pub(super) struct Table {
    pool: Pool,
    ms: u64,
    seats: [Option<Seat>; SEATS],
    last_conn: u64,
    is_listening: bool,
    has_solo_listener: bool,
    tip: Hash,
    template_id: u64,
    recorded: Seq,
    /// The last share that the ledger has settled.
    settled: Seq,
    /// Count of shares that the ledger has made durable.
    durable: u64,
    acknowledged: u64,
    offered: HashSet<Hash>,
    found: Vec<FoundBlock>,
    logins: Vec<Ticket>,
    writes: Vec<Ticket>,
}

impl Table {
    pub(super) fn new(setup: u8) -> Self {
        let has = |bit: u8| setup & bit != 0;
        let config = PoolConfig {
            operator_fee: Arc::new(OperatorFee {
                part: FeePpm::new(FEE_PPM).expect("below one"),
                address: None,
            }),
            boot: Boot {
                prefix: 0,
                nonce: 0,
                secret: [7; 32],
            },
            network: NETWORK,
            auth: [Auth::Open, Auth::Users, Auth::Address, Auth::Open][usize::from(setup & 3)],
            admin_password: (!has(4)).then(|| "pw".to_owned()),
            difficulty_min: Difficulty::new(f64::MIN_POSITIVE).expect("above zero"),
            dynamic: if has(8) { Dynamic::Off } else { Dynamic::On },
            hints_max: 8,
            shares_remembered_max: SHARES_REMEMBERED_MAX,
            public_host: has(16).then(|| "pool.example".to_owned()),
            public_port: 3008,
            proxy_secret: None,
        };
        let users = [
            ("alice", StoredPassword::Hash256(hash256(b"pw"))),
            ("carol", StoredPassword::Argon2id("$argon2id$x".to_owned())),
        ];
        let users = users.map(|(name, password)| (name.to_owned(), password));
        let now = Now {
            ms: 0,
            unix_s: TIME,
        };
        Self {
            pool: Pool::new(config, users, Seq(0), now),
            ms: 0,
            seats: [const { None }; SEATS],
            last_conn: 0,
            is_listening: true,
            has_solo_listener: has(64),
            tip: Hash::blake2b(&[b"parent"]),
            template_id: 0,
            recorded: Seq(0),
            settled: Seq(0),
            durable: 0,
            acknowledged: 0,
            offered: HashSet::new(),
            found: Vec::new(),
            logins: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Carries out a step of the kind that its first byte stands for.
    pub(super) fn step(&mut self, kind: u8, argument: &[u8]) {
        let number = usize::from(argument.first().copied().unwrap_or(0));
        match kind {
            b'a'..=b'd' => self.send(usize::from(kind - b'a'), &super::super::stretched(argument)),
            b'e'..=b'h' => self.send(usize::from(kind - b'e'), &repeated(argument)),
            b'A'..=b'D' => self.hang_up(usize::from(kind - b'A')),
            b't' => self.offer_template(number),
            b'n' => {
                self.tip = Hash::blake2b(&[&self.tip.0, argument]);
                self.handle(Event::Tip(self.tip));
            }
            b'o' => self.handle(Event::NoTemplate(format!("reason {number}"))),
            b'x' => {
                let bytes: Arc<[u8]> = Arc::from(argument);
                self.handle(Event::Transactions(self.template_id, bytes));
            }
            b'j' => self.handle(Event::SoloJobs),
            b'v' => self.answer_block(number),
            b'y' => {
                if let Some(block) = self.found.last() {
                    self.handle(Event::Spooled(Box::new(block.clone())));
                }
            }
            b's' => self.make_durable(self.recorded),
            b'S' => self.make_durable(Seq(self.settled.0.midpoint(self.recorded.0))),
            b'r' => self.give_up(self.recorded),
            b'R' => self.give_up(Seq(self.settled.0.midpoint(self.recorded.0))),
            b'l' => self.handle(Event::Ledger(LedgerState::Failing)),
            b'L' => self.handle(Event::Ledger(LedgerState::Open)),
            b'q' => self.handle(Event::Stop),
            b'p' => self.answer_login(number, Password::Right),
            b'P' => self.answer_login(number, Password::Wrong),
            b'u' => self.answer_write(number, true),
            b'U' => self.answer_write(number, false),
            b'+' => self.advance(argument.iter().take(16).map(|b| u64::from(*b) * 100).sum()),
            _ => {}
        }
    }

    /// Carries out everything that the ledger, the password hasher and the miners still owe; then no
    /// reply may be missing.
    pub(super) fn settle(&mut self) {
        while self.pool.owes_solo_jobs() {
            self.handle(Event::SoloJobs);
        }
        while self.settled < self.recorded || !self.logins.is_empty() || !self.writes.is_empty() {
            self.make_durable(self.recorded);
            self.answer_login(0, Password::Right);
            self.answer_write(0, true);
        }
        for seat in self.seats.iter().flatten() {
            seat.check_answered();
        }
        self.advance(CLOSE_DELAY_MS);
        assert!(!self.seats.iter().flatten().any(Seat::is_over));
    }

    fn send(&mut self, at: usize, bytes: &[u8]) {
        if self.seats[at].is_none() {
            if !self.is_listening {
                return;
            }
            self.connect(at);
        }
        if let Some(seat) = &mut self.seats[at] {
            seat.unread.extend_from_slice(bytes);
        }
        self.read_on();
    }

    fn connect(&mut self, at: usize) {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn << 32 | at as u64);
        let payout = match self.has_solo_listener && SOLO_SEATS.contains(&at) {
            true => Payout::Solo,
            false => Payout::Operator,
        };
        self.seats[at] = Some(Seat::new(conn, payout));
        let arrival = Arrival {
            address: ["10.0.0.1", "10.0.0.1", "2001:db8::1", "::1"][at]
                .parse()
                .expect("an address"),
            kind: [ArrivalKind::Miner, ArrivalKind::Proxy][at / 3],
            difficulty: Difficulty::new(8.0).expect("above zero"),
            payout,
        };
        self.handle(Event::Connected(conn, arrival));
    }

    fn hang_up(&mut self, at: usize) {
        if let Some(seat) = self.seats[at].take() {
            self.handle(Event::Closed(seat.conn));
        }
    }

    /// Makes the pool read waiting bytes on connections that it reads from.
    fn read_on(&mut self) {
        for at in 0..SEATS {
            if let Some(seat) = &mut self.seats[at]
                && !seat.is_paused
                && !seat.unread.is_empty()
            {
                let bytes = std::mem::take(&mut seat.unread);
                seat.send(&bytes);
                let conn = seat.conn;
                self.handle(Event::Received(conn, &bytes));
            }
        }
    }

    fn offer_template(&mut self, kind: usize) {
        let has = |bit: usize| kind & bit != 0;
        let parent = if has(4) {
            Hash::blake2b(&[b"another"])
        } else {
            self.tip
        };
        self.template_id += 1;
        let blocks = if has(1) { Blocks::Hard } else { Blocks::Easy };
        let template = template(self.template_id, blocks, parent, has(2));
        self.handle(Event::Template(Box::new(template)));
    }

    fn answer_block(&mut self, kind: usize) {
        let Some(block) = self.found.first() else {
            return;
        };
        let hash = block.hash;
        let verdict = match kind % 4 {
            0 => Verdict::Accepted,
            1 => Verdict::Side,
            2 => Verdict::Refused("reason".to_owned()),
            _ => Verdict::Unknown("reason".to_owned()),
        };
        self.found.rotate_left(1);
        self.handle(Event::BlockResult(hash, verdict));
    }

    fn make_durable(&mut self, seq: Seq) {
        self.durable += seq.0 - self.settled.0;
        self.settled = seq;
        self.handle(Event::Durable(seq));
        self.read_on();
    }

    fn give_up(&mut self, seq: Seq) {
        self.settled = seq;
        self.handle(Event::NotDurable(seq));
        self.read_on();
    }

    fn answer_login(&mut self, at: usize, password: Password) {
        if !self.logins.is_empty() {
            let ticket = self.logins.remove(at % self.logins.len());
            self.handle(Event::PasswordChecked(ticket, password));
            self.read_on();
        }
    }

    fn answer_write(&mut self, at: usize, stored: bool) {
        if !self.writes.is_empty() {
            let ticket = self.writes.remove(at % self.writes.len());
            let stored = match stored {
                true => Ok(StoredPassword::Argon2id("$argon2id$y".to_owned())),
                false => Err(NotWritten::Failed),
            };
            self.handle(Event::UserAdded(ticket, stored));
            self.read_on();
        }
    }

    fn advance(&mut self, ms: u64) {
        self.ms += ms;
        self.handle(Event::Tick);
    }

    fn handle(&mut self, event: Event<'_>) {
        let now = Now {
            ms: self.ms,
            unix_s: TIME + self.ms / 1_000,
        };
        let mut actions = Actions::default();
        let speaker = match event {
            Event::Received(conn, _) => Some(conn),
            _ => None,
        };
        self.pool.handle(now, event, &mut actions);

        let is_submit = |action: &Action| matches!(action, Action::SubmitBlock(_));
        let mut blocks = actions.list().iter().skip_while(|action| is_submit(action));
        assert!(!blocks.any(is_submit), "a block leaves before all else");
        actions.drain(|action, bytes| self.perform(action, bytes, speaker));
        for seat in self.seats.iter().flatten() {
            seat.check_backlog();
        }
    }

    fn perform(&mut self, action: Action, bytes: &[u8], speaker: Option<ConnId>) {
        match action {
            Action::SubmitBlock(solution) => {
                assert_eq!(solution.verify(), Ok(()));
                self.check_payee(&solution, speaker);
                assert!(self.offered.insert(solution.hash), "offered once");
                self.found.push(FoundBlock::of(&solution));
            }
            Action::Spool(solution, _) => {
                assert!(self.offered.contains(&solution.hash));
            }
            Action::BlockFound(block) => assert!(self.offered.contains(&block.hash)),
            Action::BlockAnswered(hash, _) => assert!(self.offered.contains(&hash)),
            Action::Admitted(_)
            | Action::Proven(_)
            | Action::ReadFirst(..)
            | Action::SignOut(_)
            | Action::NewPassword(_) => {}
            Action::Tally(_) => {}
            Action::Record(credit) => {
                let is_solo = self.payout(speaker) == Some(Payout::Solo);
                assert!(!is_solo, "credit of a solo share");
                assert_eq!(credit.seq, Seq(self.recorded.0 + 1));
                self.recorded = credit.seq;
            }
            Action::Send(conn, _) => self.deliver(conn, bytes),
            Action::SendShared(conn, line) => self.deliver(conn, &line),
            Action::Pause(conn) => self.seat(conn).is_paused = true,
            Action::Resume(conn) => self.seat(conn).is_paused = false,
            Action::Close(conn, _) => {
                self.seat(conn);
                self.seats[slot(conn)] = None;
            }
            Action::Listen(listening) => self.is_listening = listening == Listening::On,
            Action::CheckPassword(ticket, ..) => self.logins.push(ticket),
            Action::AddUser(ticket, ..) => self.writes.push(ticket),
            Action::KeepUser(..) | Action::KeepBans(..) | Action::Answer(..) => {
                unreachable!("no operator gives orders here")
            }
            Action::Log(_, text) => {
                assert!(!text.contains(char::is_control), "{text:?}");
                if text.starts_with("dropping a connection") {
                    self.suspect(speaker);
                }
            }
        }
    }

    /// Recipient of the blocks of who has sent a share; `None` for a line that had waited in the pool.
    fn payout(&mut self, speaker: Option<ConnId>) -> Option<Payout> {
        Some(self.seat(speaker?).payout)
    }

    /// Checks that a solo block pays its finder, whose name is the address here.
    fn check_payee(&mut self, solution: &Solution, speaker: Option<ConnId>) {
        let payout = self.payout(speaker);
        assert!(payout.is_none_or(|payout| payout == solution.payout()));
        let finder = Address::parse_payable(&solution.account, NETWORK);
        assert!(solution.payee.is_none() || solution.payee == finder);
    }

    /// Marks the connections that the pool may have dropped: its log line does not name one, unless there
    /// is only one candidate.
    fn suspect(&mut self, speaker: Option<ConnId>) {
        for seat in self.seats.iter_mut().flatten() {
            seat.is_suspect |= speaker.is_none_or(|conn| conn == seat.conn);
        }
    }

    fn deliver(&mut self, conn: ConnId, bytes: &[u8]) {
        let acknowledged = self.seat(conn).receive(bytes);
        // Solo shares are no credit, and wait for nothing.
        if self.seat(conn).payout == Payout::Operator {
            self.acknowledged += acknowledged;
        }
        assert!(self.acknowledged <= self.durable, "not durable yet");
        let session = self.seat(conn).session.clone();
        let seats = self.seats.iter().flatten();
        let same = seats.filter(|seat| session.is_some() && seat.session == session);
        assert!(same.count() <= 1, "two with the extra nonce {session:?}");
    }

    /// A connection that the pool acts on, which must be open.
    fn seat(&mut self, conn: ConnId) -> &mut Seat {
        self.seats[slot(conn)]
            .as_mut()
            .filter(|seat| seat.conn == conn)
            .expect("the connection is there")
    }
}

fn slot(conn: ConnId) -> usize {
    usize::try_from(conn.0 & 0xffff_ffff).expect("a seat's number")
}

/// Repeats the bytes often enough for the replies to reach their limits.
fn repeated(bytes: &[u8]) -> Vec<u8> {
    let often = REPEATED_BYTES_MAX / bytes.len().max(1);
    bytes.repeat(often.min(PENDING_REPLIES_MAX))
}
