//! A miner of the proxy's harness: sends lines, finds shares, and checks the lines it receives.

use std::collections::{HashMap, VecDeque};

use hstratum_core::units::{ConnId, Difficulty, parse_hex_u32};
use serde_json::Value;

use crate::harness::{ReceivedJob, SubmitFields, Want};

/// First id of submits.
const FIRST_SHARE: u64 = 1_000;

/// The state of one miner.
pub(crate) struct ProxiedTestMiner {
    pub(crate) conn: ConnId,
    pub(crate) is_open: bool,
    pub(crate) is_paused: bool,
    /// True if it sends lines that are not JSON; its answers are not checked.
    pub(crate) hears_anything: bool,
    pub(crate) extra_nonce1: Option<u32>,
    pub(crate) job: Option<ReceivedJob>,
    /// Ids of all jobs received.
    pub(crate) jobs: Vec<String>,
    pub(crate) difficulties: Vec<f64>,
    /// Count of changes of extranonce1 announced to it.
    pub(crate) told_extra_nonces: usize,
    difficulty: Difficulty,
    awaited: VecDeque<Value>,
    answers: HashMap<u64, Value>,
    next_nonce: u32,
    next_id: u64,
}

impl ProxiedTestMiner {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self {
            conn,
            is_open: true,
            is_paused: false,
            hears_anything: false,
            extra_nonce1: None,
            job: None,
            jobs: Vec::new(),
            difficulties: Vec::new(),
            told_extra_nonces: 0,
            difficulty: Difficulty::new(1.0).expect("above 0"),
            awaited: VecDeque::new(),
            answers: HashMap::new(),
            next_nonce: 0,
            next_id: FIRST_SHARE,
        }
    }

    pub(crate) fn expect_answer(&mut self, line: &str) {
        if let Ok(request) = serde_json::from_str::<Value>(line)
            && let Some(id) = request.get("id")
        {
            self.awaited.push_back(id.clone());
        }
    }

    /// Count of requests without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.awaited.len()
    }

    /// Finds a share for its job; gives the request's id and line.
    pub(crate) fn share(&mut self) -> (u64, String) {
        let job = self.job.as_ref().expect("a job");
        let from = SubmitFields {
            n2: 0,
            time: job.time,
            nonce: self.next_nonce,
        };
        let extra_nonce1 = self.extra_nonce1.expect("it is subscribed");
        let found = Want::Share.find(job, extra_nonce1, from);
        self.next_nonce = found.nonce + 1;
        self.next_id += 1;
        let (id, job, fields) = (self.next_id, &job.id, found.fields());
        let params = format!(r#"["alice","{job}",{fields}]"#);
        let line = format!(r#"{{"id":{id},"method":"mining.submit","params":{params}}}"#);
        (id, line)
    }

    /// The answer: `true` or the text of the reject.
    pub(crate) fn answer(&self, id: u64) -> String {
        let answer = self.answers.get(&id);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {id}"));
        match answer["error"][1].as_str() {
            Some(text) => text.to_owned(),
            None => answer["result"].to_string(),
        }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        assert_eq!(bytes.last(), Some(&b'\n'), "whole lines");
        if self.hears_anything {
            return;
        }
        for line in bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let said: Value = serde_json::from_slice(line).expect("JSON");
            let params = &said["params"];
            match said["method"].as_str() {
                Some("mining.notify") => {
                    let work = ReceivedJob::parse(params, self.difficulty)
                        .expect("a notify without a mask");
                    assert!(!self.jobs.contains(&work.id), "a Goldshell would stop");
                    self.jobs.push(work.id.clone());
                    self.job = Some(work);
                }
                Some("mining.set_difficulty") => {
                    let difficulty = params[0].as_f64().expect("a number");
                    self.difficulty = Difficulty::new(difficulty).expect("above 0");
                    self.difficulties.push(difficulty);
                }
                Some("mining.set_extranonce") => {
                    self.told_extra_nonces += 1;
                    let id = params[0].as_str().expect("a text");
                    self.extra_nonce1 = parse_hex_u32(id);
                }
                Some(method) => panic!("no miner knows {method}"),
                None => self.hear_answer(&said),
            }
        }
    }

    fn hear_answer(&mut self, said: &Value) {
        let awaited = self.awaited.pop_front();
        assert_eq!(awaited.as_ref(), Some(&said["id"]), "in order: {said}");
        if let Some(id) = said["id"].as_u64() {
            self.answers.insert(id, said.clone());
        }
        if let Some(id) = said["result"][1].as_str().filter(|id| id.len() == 8) {
            let id = parse_hex_u32(id);
            assert!(
                self.extra_nonce1.is_none() || self.extra_nonce1 == id,
                "extranonce1 changes silently"
            );
            self.extra_nonce1 = id;
        }
    }
}
