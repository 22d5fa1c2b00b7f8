//! One simulated miner: what it knows of its connection, and the shares it waits for. Lines in,
//! lines out; sockets, clocks and counting are the caller's.
//!
//! No header is ever hashed twice, also over reconnects. Replies are expected in the order of the
//! requests, as the protocol has it; one out of turn is found all the same, and told.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use hstratum_core::units::{Difficulty, Hash};
use hstratum_core::wire::client::{Attempt, Client, ClientFailure, RequestRefusal, Work};
use serde_json::{Value, json};

/// Ids of submits begin here; those below are [`Client`]'s. Replies are as long as those of a
/// miner that has been at it for long.
const FIRST_ID: u64 = 10_000_000;

/// A share on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SwarmShare {
    id: u64,
    /// When it was, or should have been, sent.
    pub(crate) at: Instant,
    /// The difficulty that it is credited with.
    pub(crate) difficulty: Difficulty,
    /// Its hash, if that is a block.
    pub(crate) block: Option<Hash>,
}

/// An answer to a submit.
#[derive(Debug, PartialEq)]
pub(crate) struct SubmitAnswer {
    pub(crate) sent: SwarmShare,
    pub(crate) verdict: Result<(), RequestRefusal>,
    /// In its turn or not.
    pub(crate) order: ReplyOrder,
}

/// The place of a reply in the order of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyOrder {
    /// It did.
    InTurn,
    /// Another should have come first.
    Astray,
}

/// The treatment of hashes that are blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockHashes {
    /// Look for another: on regtest every second hash is one.
    Skip,
    /// Submit them as any share.
    Take,
}

/// The amount of hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashing {
    /// Until a share is found, at most so many hashes at a time.
    AtMost(u32),
    /// Not at all: every hash is a share.
    Nothing,
}

/// The result of an attempt to submit.
#[derive(Debug, PartialEq)]
pub(crate) enum Tried {
    /// The share is in the buffer; its hash, if that is a block.
    Sent(Option<Hash>),
    /// Not found yet: try again.
    NotYet,
    /// There is nothing to hash.
    NoWork,
}

/// The state of one miner.
pub(crate) struct SwarmMiner {
    client: Client,
    user: String,
    /// The account of its shares.
    pub(crate) account: usize,
    work: Option<Arc<Work>>,
    /// The middle of a submit's line, from the id to the numbers, for the current work.
    middle: Vec<u8>,
    /// The next header to hash.
    extra_nonce2: u32,
    nonce: u32,
    next_id: u64,
    outstanding: VecDeque<SwarmShare>,
    /// Shares of the current work that were found before they are submitted.
    ahead: VecDeque<Attempt>,
}

impl SwarmMiner {
    pub(crate) fn new(user: &str, password: &str, account: usize) -> Self {
        Self {
            client: Client::new(user, password),
            user: user.to_owned(),
            account,
            work: None,
            middle: Vec::new(),
            extra_nonce2: 0,
            nonce: 0,
            next_id: FIRST_ID,
            outstanding: VecDeque::new(),
            ahead: VecDeque::new(),
        }
    }

    /// The lines that begin a connection.
    pub(crate) fn connect(&mut self) -> String {
        self.forget_work();
        self.client.connect().concat()
    }

    /// The connection is gone: the shares that nobody answered.
    pub(crate) fn disconnect(&mut self) -> impl Iterator<Item = SwarmShare> + '_ {
        self.forget_work();
        self.outstanding.drain(..)
    }

    /// The number of shares that wait for an answer.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The shares that wait for an answer.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &SwarmShare> {
        self.outstanding.iter()
    }

    /// The work that it hashes; nothing before it is logged in.
    pub(crate) fn work(&self) -> Option<&Arc<Work>> {
        self.work.as_ref()
    }

    /// Takes a line from the server: an answer, if it is one to a submit.
    ///
    /// # Errors
    ///
    /// When the connection is of no more use.
    pub(crate) fn handle_line(
        &mut self,
        line: &[u8],
    ) -> Result<Option<SubmitAnswer>, ClientFailure> {
        if let Some((id, verdict)) = parse_answer(line) {
            return Ok(self.answered(id, verdict));
        }
        self.client.handle_line(&String::from_utf8_lossy(line))?;
        if let Some(work) = self.client.work()
            && !self.work.as_ref().is_some_and(|old| Arc::ptr_eq(old, work))
        {
            self.ahead.clear();
            self.work = Some(work.clone());
            let (user, job) = (json!(self.user), json!(work.job));
            self.middle = format!(r#","method":"mining.submit","params":[{user},{job},"#).into();
        }
        Ok(None)
    }

    fn forget_work(&mut self) {
        self.work = None;
        self.ahead.clear();
    }

    /// Finds so many shares that are no blocks for later, or as many as so many hashes give.
    pub(crate) fn prepare(&mut self, shares: usize, hashes: u64) {
        let Some(work) = self.work.clone() else {
            return;
        };
        for _ in 0..hashes {
            if self.ahead.len() >= shares {
                return;
            }
            let attempt = self.next_attempt(&work);
            let hash = work.hash(&attempt);
            if work.is_share(&hash) && !work.is_block(&hash) {
                self.ahead.push_back(attempt);
            }
        }
    }

    /// Looks for a share and puts the line that submits it into `out`.
    pub(crate) fn submit(
        &mut self,
        hashing: Hashing,
        blocks: BlockHashes,
        at: Instant,
        out: &mut Vec<u8>,
    ) -> Tried {
        let Some(work) = self.work.clone() else {
            return Tried::NoWork;
        };
        let found = match hashing {
            _ if !self.ahead.is_empty() => self.ahead.pop_front().map(|attempt| (attempt, None)),
            Hashing::Nothing => Some((self.next_attempt(&work), None)),
            Hashing::AtMost(hashes) => self.find(&work, hashes, blocks),
        };
        let Some((attempt, block)) = found else {
            return Tried::NotYet;
        };
        let id = self.next_id;
        self.next_id += 1;
        self.write(id, &attempt, out);
        self.outstanding.push_back(SwarmShare {
            id,
            at,
            difficulty: work.difficulty,
            block,
        });
        Tried::Sent(block)
    }

    fn find(
        &mut self,
        work: &Work,
        hashes: u32,
        blocks: BlockHashes,
    ) -> Option<(Attempt, Option<Hash>)> {
        for _ in 0..hashes {
            let attempt = self.next_attempt(work);
            let hash = work.hash(&attempt);
            let block = work.is_block(&hash);
            match (block, blocks) {
                (true, BlockHashes::Take) => return Some((attempt, Some(hash))),
                (true, BlockHashes::Skip) => {}
                (false, _) if work.is_share(&hash) => return Some((attempt, None)),
                (false, _) => {}
            }
        }
        None
    }

    fn next_attempt(&mut self, work: &Work) -> Attempt {
        let attempt = Attempt {
            extra_nonce2: self.extra_nonce2,
            time: work.time,
            nonce: self.nonce,
        };
        let (nonce, is_over) = self.nonce.overflowing_add(1);
        self.nonce = nonce;
        self.extra_nonce2 = self.extra_nonce2.wrapping_add(u32::from(is_over));
        attempt
    }

    fn write(&self, id: u64, attempt: &Attempt, out: &mut Vec<u8>) {
        let Attempt {
            extra_nonce2,
            time,
            nonce,
        } = attempt;
        let written = write!(out, r#"{{"id":{id}"#).and_then(|()| {
            out.extend_from_slice(&self.middle);
            writeln!(out, r#""{extra_nonce2:08x}","{time:08x}","{nonce:08x}"]}}"#)
        });
        written.expect("a vector takes everything");
    }

    /// `None` if nothing of that id is waited for.
    fn answered(&mut self, id: u64, verdict: Result<(), RequestRefusal>) -> Option<SubmitAnswer> {
        let place = self.outstanding.iter().position(|sent| sent.id == id)?;
        let order = if place == 0 {
            ReplyOrder::InTurn
        } else {
            ReplyOrder::Astray
        };
        let sent = self.outstanding.remove(place)?;
        Some(SubmitAnswer {
            sent,
            verdict,
            order,
        })
    }
}

/// The id of a submit and what the server says to it; `None` for any other line. What hstratum
/// sends for a yes is read without a parser.
fn parse_answer(line: &[u8]) -> Option<(u64, Result<(), RequestRefusal>)> {
    let rest = line.strip_prefix(br#"{"id":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let id: u64 = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    if id < FIRST_ID {
        return None;
    }
    if rest[digits..] == *br#","result":true,"error":null}"# {
        return Some((id, Ok(())));
    }
    let message: Value = serde_json::from_slice(line).ok()?;
    if message.get("method").is_some() {
        return None;
    }
    Some((id, RequestRefusal::of_reply(&message).map_or(Ok(()), Err)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTIFY: &str = r#"{"id":null,"method":"mining.notify","params":["job\"1","9c21b02981cdc19c0dacf77de6e6d6c8d6f6b3d9356f59139ade76a6f6a101ce","bedc2be816bf1eb2e607c7a66a9347724b7d038cf392ff5eff6f95ad6bda97bc","a940ea400e836534dbe2ed74e8d70f798f2139df16e28ad942b2ed6e435c3f89","dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622","0000000000000000000000000000000000000000000000000000000000000000","00000000","207fffff","6b02e1fb"]}"#;
    const LOGIN: [&str; 4] = [
        r#"{"id":0,"result":[[["mining.notify","0000002a"]],"0000002a",4],"error":null}"#,
        r#"{"id":1,"result":true,"error":null}"#,
        r#"{"id":null,"method":"mining.set_difficulty","params":[2.3e-10]}"#,
        NOTIFY,
    ];

    fn logged_in() -> SwarmMiner {
        let mut miner = SwarmMiner::new("alice.\"1\"", "x", 3);
        assert_eq!(miner.connect().lines().count(), 2);
        for line in LOGIN {
            assert_eq!(miner.handle_line(line.as_bytes()), Ok(None));
        }
        miner
    }

    fn submit(miner: &mut SwarmMiner, blocks: BlockHashes) -> (Tried, Value) {
        let mut line = Vec::new();
        let tried = miner.submit(Hashing::AtMost(64), blocks, Instant::now(), &mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        (tried, serde_json::from_slice(&line).expect("JSON"))
    }

    #[test]
    fn blocks_are_submitted_only_when_asked_for() {
        let mut miner = logged_in();
        let mut blocks = 0;
        for _ in 0..50 {
            assert_eq!(submit(&mut miner, BlockHashes::Skip).0, Tried::Sent(None));
            let (tried, line) = submit(&mut miner, BlockHashes::Take);
            assert_eq!(line["params"][0], "alice.\"1\"");
            assert_eq!(line["params"][1], "job\"1");
            blocks += i32::from(matches!(tried, Tried::Sent(Some(_))));
        }
        assert!(
            (5..45).contains(&blocks),
            "{blocks} of 50 hashes are blocks"
        );
    }

    #[test]
    fn shares_found_ahead_are_submitted_first_and_go_with_their_work() {
        let mut miner = logged_in();
        miner.prepare(3, 1_000);
        let nonces: Vec<u32> = miner.ahead.iter().map(|attempt| attempt.nonce).collect();
        assert_eq!(nonces.len(), 3);
        for nonce in &nonces[..2] {
            let (tried, line) = submit(&mut miner, BlockHashes::Skip);
            assert_eq!(tried, Tried::Sent(None));
            assert_eq!(line["params"][4], format!("{nonce:08x}"));
        }
        let next = NOTIFY.replace(r#"job\"1"#, "next");
        assert_eq!(miner.handle_line(next.as_bytes()), Ok(None));
        assert!(miner.ahead.is_empty());
        let (_, line) = submit(&mut miner, BlockHashes::Skip);
        assert_ne!(line["params"][4], format!("{:08x}", nonces[2]));
    }

    #[test]
    fn no_header_is_submitted_twice_also_after_a_reconnect() {
        let mut miner = logged_in();
        let mut nonces = Vec::new();
        for _ in 0..3 {
            for _ in 0..10 {
                nonces.push(submit(&mut miner, BlockHashes::Skip).1["params"][4].to_string());
            }
            assert_eq!(miner.disconnect().count(), 10);
            miner = SwarmMiner {
                client: logged_in().client,
                ..miner
            };
            assert!(miner.work().is_none());
            assert_eq!(miner.handle_line(NOTIFY.as_bytes()), Ok(None));
        }
        nonces.sort();
        nonces.dedup();
        assert_eq!(nonces.len(), 30);
    }

    #[test]
    fn answers_are_matched_and_one_out_of_turn_is_told() {
        let mut miner = logged_in();
        let ids: Vec<u64> = (0..3)
            .map(|_| {
                submit(&mut miner, BlockHashes::Skip).1["id"]
                    .as_u64()
                    .expect("an id")
            })
            .collect();
        let mut answer = |line: String| miner.handle_line(line.as_bytes()).expect("a line");
        let yes = answer(format!(r#"{{"id":{},"result":true,"error":null}}"#, ids[0]));
        let yes = yes.expect("an answer");
        assert_eq!((yes.verdict, yes.order), (Ok(()), ReplyOrder::InTurn));
        assert_eq!(yes.sent.difficulty.get(), 2.3e-10);
        let no = format!(
            r#"{{"id":{},"result":null,"error":[21,"late",false]}}"#,
            ids[2]
        );
        let refused = answer(no.clone()).expect("an answer");
        let refusal = RequestRefusal {
            code: 21,
            text: "late".into(),
        };
        assert_eq!(
            (refused.verdict, refused.order),
            (Err(refusal), ReplyOrder::Astray)
        );
        assert_eq!(answer(no), None);
        let odd = answer(format!(
            r#"{{"id":{}, "error":null, "result":true}}"#,
            ids[1]
        ));
        assert_eq!(odd.map(|odd| odd.verdict), Some(Ok(())));
        assert_eq!(miner.outstanding(), 0);
    }
}
