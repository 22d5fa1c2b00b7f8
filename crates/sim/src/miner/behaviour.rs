//! Miners at work: they read lines, find shares, submit and misbehave; and the checks of the replies to
//! honest ones.

use hstratum_core::limits::JOBLESS_GRACE_MS;
use hstratum_core::units::{ConnId, Hash};
use serde_json::Value;

use crate::miner::job::MinerJob;
use crate::miner::mining::{PreparedShare, Repeat, ShareNonces};
use crate::miner::{Pending, SentRequest, ServerMessage, Submitted};
use crate::server::net::ConnPeer;
use crate::world::node::short;
use crate::world::plan::MinerKind;
use crate::world::{World, WorldEvent, note};

/// Time after trouble with the ledger for which shares may be refused because of it.
const LEDGER_EXCUSE_MS: u64 = 120_000;
/// Time that a job may take to arrive.
const DELIVERY_MS: u64 = 10_000;
/// Templates after which a job is too old.
const TEMPLATES_MAX: usize = 32;

impl World {
    pub(crate) fn reach_miner(&mut self, conn: ConnId, bytes: &[u8]) {
        let now_ms = self.now_ms;
        let Some(wire) = self.net.wires.get_mut(&conn) else {
            return;
        };
        wire.unread -= bytes.len();
        let at = match wire.peer {
            ConnPeer::Miner(at) => at,
            ConnPeer::Proxy(link, _) => {
                if wire.miner_open && !wire.is_dead {
                    self.to_proxy.push((link, Some(bytes.to_vec())));
                }
                return;
            }
        };
        let miner = &mut self.miners[at];
        if miner.conn != Some(conn) || wire.is_dead {
            return;
        }
        miner.last_byte_ms = now_ms;
        if miner.kind() == MinerKind::Goldshell && bytes.last() != Some(&b'\n') {
            // A Goldshell takes a cut line for an error.
            return self.hang_up(at);
        }
        miner.line.extend_from_slice(bytes);
        while let Some(line) = self.miners[at].next_line() {
            self.read_line(at, &line);
            if self.miners[at].conn != Some(conn) {
                return;
            }
        }
    }

    fn read_line(&mut self, at: usize, line: &str) {
        let is_honest = self.miners[at].is_honest();
        let Some(line) = ServerMessage::parse(line) else {
            assert!(!is_honest, "no stratum server sends {line:?}");
            return;
        };
        let now_ms = self.now_ms;
        let miner = &mut self.miners[at];
        match line {
            ServerMessage::Difficulty(difficulty) => {
                miner.difficulty = Some(difficulty);
                miner.difficulty_ms = now_ms;
                if matches!(miner.kind(), MinerKind::Goldshell | MinerKind::Handy) {
                    miner.work_number += 1;
                    self.seek(at);
                }
            }
            ServerMessage::Notify(params) => {
                let difficulty = miner.difficulty.expect("a difficulty comes before a job");
                let height_of = |hash: &_| self.chain.height_of(hash);
                let job = MinerJob::parse(&params, difficulty, now_ms, height_of);
                let job = job.expect("a notify of nine fields on a block that is known");
                let is_repeated = miner.jobs.iter().any(|known| known.read.id == job.read.id);
                assert!(
                    !is_repeated,
                    "a job was sent twice on a connection: {}",
                    job.read.id
                );
                miner.push_job(job);
                self.seek(at);
            }
            ServerMessage::Reply { id, result, error } => self.read_reply(at, &id, &result, error),
            ServerMessage::ExtraNonce(_) => {
                assert!(!is_honest, "nobody asked for another extranonce1");
            }
            ServerMessage::Other(method) => assert!(!is_honest, "nobody asked for {method}"),
        }
    }

    fn read_reply(&mut self, at: usize, id: &str, result: &Value, error: Option<(i64, String)>) {
        // Replies of an earlier process may still arrive; they are in none of this process's counts.
        let wire = self.miners[at]
            .conn
            .and_then(|conn| self.net.wires.get(&conn));
        let is_of_this_process = wire.is_some_and(|wire| wire.boot == self.boot);
        let miner = &mut self.miners[at];
        let is_honest = miner.is_honest();
        let Some(pending) = miner.take_pending(id) else {
            return;
        };
        match (&pending.asked, error) {
            (SentRequest::Subscribe, None) => {
                let n1 = result[1].as_str().expect("extranonce1");
                miner.extra_nonce1 = u32::from_str_radix(n1, 16).ok();
                if matches!(
                    miner.kind(),
                    MinerKind::Honest | MinerKind::Slow | MinerKind::Doubler
                ) {
                    miner.session = result[0][0][1].as_str().map(str::to_owned);
                }
                self.seek(at);
            }
            (SentRequest::Authorize, None) => {
                miner.is_authorized = *result == Value::Bool(true);
                assert!(
                    miner.is_authorized || !is_honest,
                    "an honest miner was refused"
                );
                self.seek(at);
            }
            (SentRequest::Nonsense | SentRequest::ExtraNonces, _) => {}
            (SentRequest::Admin, None) => {}
            (SentRequest::Admin, Some(error)) => {
                // A hostile miner at the same address may have guessed too often.
                let host = miner.plan.host;
                let mut others = self.miners.iter();
                let is_excused = others
                    .any(|other| other.kind() == MinerKind::Hostile && other.plan.host == host);
                assert!(is_excused, "an admin was refused: {error:?}");
                self.hang_up(at);
            }
            (SentRequest::AddUser(order), error) => self.ordered(order, error),
            (SentRequest::Login(is_right), error) => {
                assert_eq!(*is_right, error.is_none(), "a login: {error:?}");
            }
            (SentRequest::Submit(submitted), error) => {
                if is_of_this_process {
                    let code = error.as_ref().map(|(code, _)| *code);
                    self.worker_stats.see(&miner.plan.name, code);
                }
                match error {
                    None => self.read_accepted(at, submitted, result),
                    Some((code, text)) => self.read_rejected(at, &pending, submitted, code, &text),
                }
            }
            (asked, Some((code, text))) => {
                // A subscribe between two templates may be too early.
                assert!(
                    !is_honest || text == "not up to date",
                    "an honest miner was refused: {asked:?} {code} {text}"
                );
                if is_honest {
                    self.hang_up(at);
                }
            }
        }
    }

    fn read_accepted(&mut self, at: usize, submitted: &Submitted, result: &Value) {
        assert_eq!(*result, Value::Bool(true));
        let miner = &mut self.miners[at];
        miner.accepted += 1;
        miner.has_credit = true;
        let is_wronged = miner.is_fed_up(false) && miner.is_honest();
        match miner.plan.payee {
            None => self.oracle.acknowledge(submitted.hash, &submitted.key),
            Some(_) => self.solo.acknowledge(submitted.hash),
        }
        assert!(!is_wronged, "an honest miner's shares are refused");
    }

    fn read_rejected(
        &mut self,
        at: usize,
        pending: &Pending,
        submitted: &Submitted,
        code: i64,
        text: &str,
    ) {
        let miner = &mut self.miners[at];
        let (is_honest, is_fed_up) = (miner.is_honest(), miner.is_fed_up(true));
        note!(
            self,
            "{at:<2} {:<6} refused: {code} {text}",
            self.kind_of(at)
        );
        if is_honest {
            self.check_refusal(at, pending, submitted, code, text);
        }
        if is_fed_up {
            self.hang_up(at);
        } else if code == 20 && self.miners[at].kind() == MinerKind::Doubler {
            let delay_ms = self.miners[at].rng.u64(1_000..30_000);
            self.after(delay_ms, WorldEvent::Resend(at, submitted.hash));
        }
    }

    /// True if the ledger may have refused a share sent at this time: the disk refused writes, or hung so
    /// that its recovery could not be noticed.
    pub(crate) fn is_ledger_excused(&self, sent_ms: u64) -> bool {
        let trouble_ms = self.ledger_trouble_ms.max(Some(self.disk.hung_until_ms));
        trouble_ms.is_some_and(|at| at + LEDGER_EXCUSE_MS > sent_ms)
    }

    /// Checks a reject of an honest miner's share: it may be late, or come while the disk refuses writes;
    /// no other reason is allowed.
    fn check_refusal(
        &self,
        at: usize,
        pending: &Pending,
        submitted: &Submitted,
        code: i64,
        text: &str,
    ) {
        let says = format!("miner {at}: {code} {text} for {submitted:?}");
        match code {
            // The clock was set while the miner had the job.
            20 if text.starts_with("time too") => {
                // The last job is still sent until connections are reset.
                let until_ms = self.clock_set_ms + JOBLESS_GRACE_MS + DELIVERY_MS;
                let is_excused = submitted.job_ms <= until_ms;
                assert!(
                    is_excused || self.miners[at].kind() == MinerKind::Slow,
                    "{says}"
                );
            }
            20 => {
                let waits = self.miners[at].plan.payee.is_none();
                let is_excused = waits && self.is_ledger_excused(pending.sent_ms);
                assert!(text == "ledger unavailable" && is_excused, "{says}");
            }
            21 => {
                let told = self.told.back();
                let is_on_tip = told.is_some_and(|(at_ms, tip)| {
                    *tip == submitted.prev && *at_ms <= pending.sent_ms
                });
                let templates = self.templates_told.iter();
                let templates = templates
                    .filter(|at_ms| **at_ms + DELIVERY_MS >= submitted.job_ms)
                    .count();
                // A slow reader may have had the job for long before it read it.
                let is_slow = self.miners[at].kind() == MinerKind::Slow;
                let is_old = templates >= TEMPLATES_MAX || submitted.is_again || is_slow;
                assert!(!is_on_tip || is_old, "{says}");
            }
            22 => assert!(submitted.is_again, "{says}"),
            23 => assert!(!submitted.is_valid && submitted.is_late, "{says}"),
            _ => panic!("{says}"),
        }
    }

    /// Draws the time of the next share for the miner's work.
    fn seek(&mut self, at: usize) {
        let miner = &mut self.miners[at];
        if let Some(delay_ms) = miner.draw_share_ms() {
            let number = miner.work_number;
            self.after(delay_ms, WorldEvent::Share(at, number));
        }
    }

    pub(crate) fn share(&mut self, at: usize, number: u64) {
        let now_ms = self.now_ms;
        let miner = &mut self.miners[at];
        if number != miner.work_number || miner.plan.hashrate == 0.0 {
            return;
        }
        let Some((job, proof)) = miner.find(now_ms) else {
            return;
        };
        self.submit(at, &job, proof, Repeat::First);
        if let Some(place) = self.miners[at].draw_repeat() {
            self.send_again(at, place);
        }
        self.seek(at);
    }

    pub(crate) fn submit(&mut self, at: usize, job: &MinerJob, proof: ShareNonces, repeat: Repeat) {
        let Some(claim) = self.miners[at].claim(job, proof, repeat) else {
            return;
        };
        let hash = claim.submitted.hash;
        if claim.submitted.is_valid {
            match &self.miners[at].plan.payee {
                None => {
                    self.oracle.send(hash, &claim.submitted.key);
                }
                Some(payee) => self.solo.send(hash, payee.clone()),
            }
        }
        if job.read.network.is_met_by(&hash) {
            note!(
                self,
                "{at:<2} {:<6} has a block: {}",
                self.kind_of(at),
                short(&hash)
            );
        }
        self.send_submit(at, claim);
    }

    fn send_submit(&mut self, at: usize, claim: PreparedShare) {
        let now_ms = self.now_ms;
        let miner = &mut self.miners[at];
        let Some(conn) = miner.conn else { return };
        let line = miner.submit(now_ms, claim);
        self.transmit(conn, line.as_bytes());
    }

    /// Sends a share again that was refused because the ledger failed.
    pub(crate) fn resend(&mut self, at: usize, hash: Hash) {
        if let Some(place) = self.miners[at].place_of(&hash) {
            self.send_again(at, place);
        }
    }

    fn send_again(&mut self, at: usize, place: usize) {
        let claim = self.miners[at].claim_again(place);
        self.send_submit(at, claim);
    }

    pub(crate) fn patience(&mut self, at: usize) {
        let miner = &self.miners[at];
        if miner.conn.is_some() && self.now_ms - miner.last_byte_ms > miner.patience_ms() {
            note!(self, "{at:<2} {:<6} gives its server up", self.kind_of(at));
            self.hang_up(at);
        }
        self.after(10_000, WorldEvent::Patience(at));
    }
}
