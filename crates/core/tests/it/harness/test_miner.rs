//! A connection as its miner sees it, and the checks of every line that the miner receives.

use std::collections::{HashSet, VecDeque};

use hstratum_core::accounts::ban::Ban;
use hstratum_core::event::{Action, CloseHow, Level};
use hstratum_core::operator_order::OrderOutcome;
use hstratum_core::units::{ConnId, Difficulty, Hash, parse_hex_u32};
use serde_json::Value;

use super::ReceivedJob;

/// A Goldshell loses a line that does not fit into a TCP segment.
const NOTIFY_BYTES_MAX: usize = 1_400;

/// One connection, with the state that its lines are checked against.
pub(crate) struct TestMiner {
    pub(super) conn: ConnId,
    pub(super) is_open: bool,
    pub(super) is_paused: bool,
    /// Bytes sent by the miner and not yet read by the pool.
    pub(super) inbox: VecDeque<Vec<u8>>,
    /// Ids of the requests that must be answered, in this order.
    pub(super) awaited: VecDeque<Value>,
    pub(super) ignores_replies: bool,
    pub(super) extra_nonce1: Option<u32>,
    pub(super) jobs: Vec<ReceivedJob>,
    pub(super) next_nonce: u32,
    difficulty: Option<Difficulty>,
    /// Parents with witness roots: the header space that was handed out here.
    spaces: HashSet<(Hash, Hash)>,
}

impl TestMiner {
    pub(super) fn new(conn: ConnId) -> Self {
        Self {
            conn,
            is_open: true,
            is_paused: false,
            inbox: VecDeque::new(),
            awaited: VecDeque::new(),
            ignores_replies: false,
            extra_nonce1: None,
            jobs: Vec::new(),
            next_nonce: 0,
            difficulty: None,
            spaces: HashSet::new(),
        }
    }

    /// Expects an answer to a line that is about to be sent, if it has an id or is no request.
    pub(super) fn await_reply(&mut self, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_ascii_control()).collect();
        if line.trim().is_empty() {
            return;
        }
        match serde_json::from_str(&line) {
            Ok(Value::Object(request)) if request.get("method").is_some_and(Value::is_string) => {
                self.awaited.extend(request.get("id").cloned());
            }
            Ok(Value::Object(request)) => {
                let id = request.get("id").cloned();
                self.awaited.push_back(id.unwrap_or_default());
            }
            _ => self.awaited.push_back(Value::Null),
        }
    }

    pub(super) fn pause(&mut self, is_paused: bool) {
        assert!(self.is_open && self.is_paused != is_paused);
        self.is_paused = is_paused;
    }

    pub(super) fn end(&mut self) {
        assert!(self.is_open, "a connection ends once");
        self.is_open = false;
        self.is_paused = false;
        self.inbox.clear();
    }

    /// Takes bytes from the pool and gives their lines.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Vec<String> {
        assert!(self.is_open, "nothing is sent to a connection that is gone");
        let text = std::str::from_utf8(bytes).expect("the pool sends UTF-8");
        if text.starts_with("HTTP/") {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(text.ends_with('\n'), "whole lines are sent");
        for line in text.lines() {
            self.observe(line);
        }
        text.lines().map(str::to_owned).collect()
    }

    fn observe(&mut self, line: &str) {
        let value: Value = serde_json::from_str(line).expect("the pool sends JSON");
        let params = value["params"].as_array();
        match value["method"].as_str() {
            Some("mining.set_difficulty") => {
                let difficulty = params.and_then(|params| params[0].as_f64());
                self.difficulty = difficulty.and_then(Difficulty::new);
                assert!(self.difficulty.is_some(), "{line}");
            }
            Some("mining.notify") => {
                assert!(line.len() < NOTIFY_BYTES_MAX);
                let difficulty = self.difficulty.expect("a difficulty before the first job");
                let work = ReceivedJob::parse(&value["params"], difficulty)
                    .expect("a notify without a mask");
                let repeats = self.jobs.iter().any(|job| job.id == work.id);
                assert!(!repeats, "a job is sent once");
                let space = (work.prev_block, work.witness_root);
                assert!(self.spaces.insert(space), "header space is sent once");
                self.jobs.push(work);
            }
            Some(method) => panic!("no miner can bear {method}"),
            None => self.observe_reply(&value),
        }
    }

    fn observe_reply(&mut self, reply: &Value) {
        if let Some(extra_nonce1) = reply["result"][1].as_str().and_then(parse_hex_u32) {
            self.extra_nonce1 = Some(extra_nonce1);
        }
        if self.ignores_replies {
            return;
        }
        let awaited = self.awaited.pop_front();
        assert_eq!(
            awaited.as_ref(),
            Some(&reply["id"]),
            "out of order: {reply}"
        );
    }
}

/// An action in words; `None` for actions that the miner sees or that only matter for debugging.
pub(super) fn name_of(action: &Action) -> Option<String> {
    Some(match action {
        Action::Send(..)
        | Action::SendShared(..)
        | Action::Admitted(_)
        | Action::Proven(_)
        | Action::ReadFirst(..)
        | Action::SignOut(_)
        | Action::NewPassword(_)
        | Action::Log(Level::Debug, _) => return None,
        Action::SubmitBlock(s) => {
            let (height, reach) = (s.template.height.0, s.reach);
            format!("block {height} {} for {reach:?} by {}", s.hash, s.account)
        }
        Action::Spool(s, transactions) => {
            format!("spool {} with {} transactions", s.hash, transactions.count)
        }
        Action::Record(credit) => {
            let (height, difficulty) = (credit.height.0, credit.difficulty);
            format!("credit {} with {difficulty} at {height}", credit.account)
        }
        Action::BlockFound(block) => format!("note the block {}", block.height.0),
        Action::BlockAnswered(hash, verdict) => format!("note {verdict:?} for {hash}"),
        Action::Tally(_) => return None,
        Action::Pause(_) => "paused".to_owned(),
        Action::Resume(_) => "resumed".to_owned(),
        Action::Close(_, CloseHow::Reset) => "reset".to_owned(),
        Action::Close(_, CloseHow::Flushed) => "closed when all is sent".to_owned(),
        Action::Listen(listening) => format!("listen {listening:?}"),
        Action::CheckPassword(..) => "check a password".to_owned(),
        Action::AddUser(_, user, _) => match &user.address {
            None => format!("write the user {}", user.name),
            Some(address) => format!("write the user {}, paid at {address}", user.name),
        },
        Action::KeepUser(_, name, password) => match password.is_locked() {
            true => format!("write the user {name}, disabled"),
            false => format!("write the user {name}, as it was"),
        },
        Action::KeepBans(_, _, bans) => format!("write {} bans", bans.len()),
        Action::Answer(_, answer) => match answer {
            Ok(OrderOutcome::Done) => "order done".to_owned(),
            Ok(OrderOutcome::Account(account)) => format!("signs in as {account}"),
            Ok(OrderOutcome::Bans(bans)) => {
                let bans: Vec<String> = bans.iter().map(ban_in_words).collect();
                format!("banned: {}", bans.join("; "))
            }
            Ok(OrderOutcome::Info(info)) => format!("info: {info:?}"),
            Ok(OrderOutcome::Users(users, total)) => {
                let state = |disabled| if disabled { " (disabled)" } else { "" };
                let names = users
                    .iter()
                    .map(|user| format!("{}{}", user.name, state(user.is_disabled)));
                format!("{total} users: {}", names.collect::<Vec<_>>().join(", "))
            }
            Ok(OrderOutcome::Workers(workers, total)) => {
                let names = workers
                    .iter()
                    .map(|one| format!("{} {:?} on {}", one.account, one.worker, one.connections));
                format!("{total} workers: {}", names.collect::<Vec<_>>().join(", "))
            }
            Err(refusal) => format!("order refused: {}", refusal.text()),
        },
        Action::Log(level, text) => format!("{level:?}: {text}"),
    })
}

fn ban_in_words(ban: &Ban) -> String {
    let (address, reason, by) = (ban.address, &ban.reason, ban.by);
    match ban.until_s {
        None => format!("{address} by {by:?} for good: {reason:?}"),
        Some(until_s) => format!(
            "{address} by {by:?} for {} s: {reason:?}",
            until_s - ban.since_s
        ),
    }
}
