//! The miner's side of stratum: lines in, lines out, and the work to hash.
//!
//! A difficulty or an extra nonce applies to the jobs that come after it. Work is offered only once the
//! user is authorized. Connecting, waiting and hashing are the caller's.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::chain::header::{HeaderFields, HeaderHasher, Proof, extra_nonce, mask_hash};
use crate::units::{Difficulty, Hash, Target, parse_hex_u32};

/// The user agent sent with `mining.subscribe`.
pub const AGENT: &str = concat!("hstratum/", env!("CARGO_PKG_VERSION"));

/// Characters of a server's text that are kept; the rest is cut.
const TEXT_CHARS_MAX: usize = 100;

/// Reject codes that are counted apart; the protocol has seven. Further ones are not counted.
const REJECT_CODES_MAX: usize = 64;

/// A job with all that is needed to hash it and to compare its hashes with the targets.
#[derive(Clone, Debug)]
pub struct Work {
    /// Id of the job.
    pub job: String,
    /// The job's time, in Unix seconds. Seconds that have passed since may be added.
    pub time: u32,
    /// The difficulty that an accepted share of it is credited with.
    pub difficulty: Difficulty,
    hasher: HeaderHasher,
    extra_nonce1: u32,
    header: HeaderFields,
    share_target: Target,
    block_target: Target,
    connection: u64,
}

impl Work {
    /// The constant parts of the job's header, as the server sent them.
    #[must_use]
    pub fn header(&self) -> &HeaderFields {
        &self.header
    }

    /// The share hash of one attempt.
    #[must_use]
    pub fn hash(&self, attempt: &Attempt) -> Hash {
        self.hasher.share_hash(&Proof {
            nonce: attempt.nonce,
            time: u64::from(attempt.time),
            extra_nonce: extra_nonce(self.extra_nonce1, attempt.extra_nonce2),
        })
    }

    /// True if a hash meets the share target.
    #[must_use]
    pub fn is_share(&self, hash: &Hash) -> bool {
        self.share_target.is_met_by(hash)
    }

    /// True if a hash meets the network's target, as far as a miner can tell: the mask of a masked job is
    /// not known here.
    #[must_use]
    pub fn is_block(&self, hash: &Hash) -> bool {
        self.block_target.is_met_by(hash)
    }

    /// True if any hash at all is a share.
    #[must_use]
    pub fn takes_every_hash(&self) -> bool {
        self.share_target == Target::MAX
    }

    /// True if shares are so hard, or blocks so easy, that one in sixteen shares or more is a block, as
    /// on regtest: a miner that submits all shares it finds would flood the node with blocks.
    #[must_use]
    pub fn shares_are_blocks(&self) -> bool {
        const SHARES: f64 = 16.0;
        self.share_target.difficulty().get() * SHARES >= self.block_difficulty().get()
    }

    /// Difficulty of a block.
    #[must_use]
    pub fn block_difficulty(&self) -> Difficulty {
        self.block_target.difficulty()
    }
}

/// The values that a miner varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The miner's half of the extra nonce.
    pub extra_nonce2: u32,
    /// The time, in Unix seconds.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

/// The server's reason for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRefusal {
    /// The error code: 20 to 25, or 0.
    pub code: i64,
    /// The server's text, cut and without control characters.
    pub text: String,
}

impl RequestRefusal {
    /// The refusal in a reply; `None` if the reply is positive. An error is `[code, text, …]`,
    /// `{"code": …, "message": …}` or a text; a result of `false` or null without an error is a refusal too.
    #[must_use]
    pub fn of_reply(message: &Value) -> Option<Self> {
        let error = &message["error"];
        let (code, text) = match error {
            Value::Null => match message["result"] {
                Value::Null | Value::Bool(false) => (None, Some("refused")),
                _ => return None,
            },
            Value::Array(_) => (error[0].as_i64(), error[1].as_str()),
            Value::Object(_) => (error["code"].as_i64(), error["message"].as_str()),
            _ => (None, error.as_str()),
        };
        Some(Self {
            code: code.unwrap_or(0),
            text: clean(text.unwrap_or("refused")),
        })
    }
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// The event in a line, beyond the changes that [`Client::work`] and [`Client::counts`] show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// No event.
    Nothing,
    /// A share was accepted; `block` if it meets the network's target.
    Accepted {
        /// True if it is a block.
        block: bool,
    },
    /// A share was rejected.
    Rejected(RequestRefusal),
}

/// Reasons to give up a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFailure {
    /// The server sent this line, here cut, which is not stratum.
    Malformed(String),
    /// Subscribing was refused.
    SubscribeRefused(RequestRefusal),
    /// The user or the password was refused: a new connection will not help.
    AuthorizeRefused(RequestRefusal),
    /// The server asked for a new connection.
    Reconnect,
}

impl fmt::Display for ClientFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(line) => write!(f, "expected a line of stratum, found {line:?}"),
            Self::SubscribeRefused(refusal) => write!(f, "failed to subscribe: {refusal}"),
            Self::AuthorizeRefused(refusal) => write!(f, "failed to authorize: {refusal}"),
            Self::Reconnect => f.write_str("the server asked to reconnect"),
        }
    }
}

/// Results of the shares submitted, over all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Shares accepted, blocks included.
    pub accepted: u64,
    /// Shares accepted that met the network's target.
    pub blocks: u64,
    /// Shares rejected, by code.
    pub rejected: BTreeMap<i64, u64>,
}

/// The client's protocol state, over all connections to one server.
#[derive(Debug)]
pub struct Client {
    user: String,
    password: String,
    counts: ClientCounts,
    /// The last session's id, sent to resume it after a reconnect.
    session: Option<String>,
    connection: u64,
    next_id: u64,
    pending: HashMap<u64, ClientRequest>,
    authorized: bool,
    extra_nonce1: Option<u32>,
    difficulty: Difficulty,
    /// A job that came before the reply to subscribe.
    early_job: Option<ClientJob>,
    work: Option<Arc<Work>>,
}

#[derive(Clone, Copy, Debug)]
enum ClientRequest {
    Subscribe,
    Authorize,
    Submit { block: bool },
}

#[derive(Clone, Debug)]
struct ClientJob {
    name: String,
    fields: HeaderFields,
    block_target: Target,
    time: u32,
    /// The difficulty announced before the job; a later one does not apply to it.
    difficulty: Difficulty,
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            counts: ClientCounts::default(),
            session: None,
            connection: 0,
            next_id: 0,
            pending: HashMap::new(),
            authorized: false,
            extra_nonce1: None,
            difficulty: start_difficulty(),
            early_job: None,
            work: None,
        }
    }

    /// Begins a new connection: forgets the earlier one's jobs and unanswered shares, and gives the lines
    /// to send first. Every line that this type gives ends with a newline.
    pub fn connect(&mut self) -> [String; 2] {
        self.connection += 1;
        self.pending.clear();
        self.authorized = false;
        self.extra_nonce1 = None;
        self.difficulty = start_difficulty();
        self.early_job = None;
        self.work = None;
        let subscribe = match &self.session {
            Some(session) => json!([AGENT, session]),
            None => json!([AGENT]),
        };
        let authorize = json!([self.user, self.password]);
        [
            self.request(ClientRequest::Subscribe, "mining.subscribe", subscribe),
            self.request(ClientRequest::Authorize, "mining.authorize", authorize),
        ]
    }

    /// Takes a line from the server, with or without its newline.
    ///
    /// # Errors
    ///
    /// The reason to give up the connection.
    pub fn handle_line(&mut self, line: &str) -> Result<Update, ClientFailure> {
        let malformed = || ClientFailure::Malformed(clean(line.trim_end()));
        let message: Value = serde_json::from_str(line).map_err(|_| malformed())?;
        if !message.is_object() {
            return Err(malformed());
        }
        match message["method"].as_str() {
            Some("client.reconnect") => Err(ClientFailure::Reconnect),
            Some(method) => self
                .handle_notification(method, &message["params"])
                .map(|()| Update::Nothing)
                .ok_or_else(malformed),
            None => self.handle_reply(&message, malformed),
        }
    }

    /// The work to hash now. A new job is a new `Arc`.
    #[must_use]
    pub fn work(&self) -> Option<&Arc<Work>> {
        self.work.as_ref().filter(|_| self.authorized)
    }

    /// The line that submits a share. `None` if it cannot be accepted any more: the connection its work
    /// came over is gone, or the chain has moved on.
    pub fn submit(&mut self, work: &Work, attempt: &Attempt) -> Option<String> {
        let current = self.work()?;
        if work.connection != self.connection || work.header.prev_block != current.header.prev_block
        {
            return None;
        }
        let block = work.is_block(&work.hash(attempt));
        let params = json!([
            self.user,
            work.job,
            format!("{:08x}", attempt.extra_nonce2),
            format!("{:08x}", attempt.time),
            format!("{:08x}", attempt.nonce),
        ]);
        Some(self.request(ClientRequest::Submit { block }, "mining.submit", params))
    }

    /// Count of requests without a reply yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Results of the shares so far.
    #[must_use]
    pub fn counts(&self) -> &ClientCounts {
        &self.counts
    }

    fn request(&mut self, request: ClientRequest, method: &str, params: Value) -> String {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, request);
        let mut line = json!({ "id": id, "method": method, "params": params }).to_string();
        line.push('\n');
        line
    }

    /// `None` if the parameters are malformed. An unknown method is ignored.
    fn handle_notification(&mut self, method: &str, params: &Value) -> Option<()> {
        match method {
            "mining.set_difficulty" => {
                self.difficulty = Difficulty::new(params[0].as_f64()?)?;
            }
            "mining.set_extranonce" => {
                self.extra_nonce1 = Some(parse_hex_u32(params[0].as_str()?)?);
            }
            "mining.notify" => {
                let job = parse_job(params, self.difficulty)?;
                self.early_job = Some(job);
                self.start_early_job();
            }
            _ => {}
        }
        Some(())
    }

    fn handle_reply(
        &mut self,
        message: &Value,
        malformed: impl Fn() -> ClientFailure,
    ) -> Result<Update, ClientFailure> {
        // Replies without a known request are ignored, as miners in the field do.
        let request = message["id"]
            .as_u64()
            .and_then(|id| self.pending.remove(&id));
        let Some(request) = request else {
            return Ok(Update::Nothing);
        };
        let refusal = RequestRefusal::of_reply(message);
        match (request, refusal) {
            (ClientRequest::Subscribe, None) => self
                .handle_subscribed(&message["result"])
                .map(|()| Update::Nothing)
                .ok_or_else(malformed),
            (ClientRequest::Subscribe, Some(refusal)) => {
                Err(ClientFailure::SubscribeRefused(refusal))
            }
            (ClientRequest::Authorize, None) => {
                self.authorized = true;
                Ok(Update::Nothing)
            }
            (ClientRequest::Authorize, Some(refusal)) => {
                Err(ClientFailure::AuthorizeRefused(refusal))
            }
            (ClientRequest::Submit { block }, None) => {
                self.counts.accepted += 1;
                self.counts.blocks += u64::from(block);
                Ok(Update::Accepted { block })
            }
            (ClientRequest::Submit { .. }, Some(refusal)) => {
                let rejected = &mut self.counts.rejected;
                if rejected.len() < REJECT_CODES_MAX || rejected.contains_key(&refusal.code) {
                    *rejected.entry(refusal.code).or_default() += 1;
                }
                Ok(Update::Rejected(refusal))
            }
        }
    }

    fn handle_subscribed(&mut self, result: &Value) -> Option<()> {
        self.extra_nonce1 = Some(parse_hex_u32(result[1].as_str()?)?);
        let session = result[0][0][1].as_str();
        self.session = session
            .filter(|session| session.len() <= TEXT_CHARS_MAX)
            .map(str::to_owned);
        self.start_early_job();
        Some(())
    }

    fn start_early_job(&mut self) {
        let Some(extra_nonce1) = self.extra_nonce1 else {
            return;
        };
        if let Some(job) = self.early_job.take() {
            self.work = Some(Arc::new(job.into_work(extra_nonce1, self.connection)));
        }
    }
}

impl ClientJob {
    fn into_work(self, extra_nonce1: u32, connection: u64) -> Work {
        let announced = Target::of_difficulty(self.difficulty);
        let masked = self.fields.mask_hash != mask_hash(&self.fields.prev_block, &Hash::ZERO);
        Work {
            hasher: HeaderHasher::new(&self.fields),
            job: self.name,
            time: self.time,
            difficulty: self.difficulty,
            extra_nonce1,
            header: self.fields,
            // Every block is a share, even with a share target below the network's; a masked block cannot
            // be recognized here.
            share_target: if masked {
                announced
            } else {
                announced.max(self.block_target)
            },
            block_target: self.block_target,
            connection,
        }
    }
}

/// The difficulty that miners use until the server sends one.
fn start_difficulty() -> Difficulty {
    Difficulty::new(1.0).expect("one is above zero")
}

/// Nine fields, or ten with the mask hash; without it the mask is zero.
fn parse_job(params: &Value, difficulty: Difficulty) -> Option<ClientJob> {
    let hash = |at: usize| Hash::from_hex(params[at].as_str()?);
    let number = |at: usize| parse_hex_u32(params[at].as_str()?);
    let prev_block = hash(1)?;
    let bits = number(7)?;
    Some(ClientJob {
        name: params[0].as_str()?.to_owned(),
        block_target: Target::from_compact(bits)?,
        time: number(8)?,
        difficulty,
        fields: HeaderFields {
            prev_block,
            merkle_root: hash(2)?,
            witness_root: hash(3)?,
            tree_root: hash(4)?,
            reserved_root: hash(5)?,
            version: number(6)?,
            bits,
            mask_hash: match params.get(9) {
                Some(_) => hash(9)?,
                None => mask_hash(&prev_block, &Hash::ZERO),
            },
        },
    })
}

/// Text from a server, cut and without the control characters that could drive a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(TEXT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
