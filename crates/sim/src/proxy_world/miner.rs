//! Miners of a proxy: their behaviour, and the checks of the replies to honest ones.

use hstratum_core::limits::LINE_BYTES_MAX;
use hstratum_core::units::Height;
use serde_json::Value;

use crate::miner::job::MinerJob;
use crate::miner::mining::Repeat;
use crate::miner::{Pending, SentRequest, ServerMessage, SimMiner};
use crate::proxy_world::link::LinkPeer;
use crate::proxy_world::{ProxyWorld, ProxyWorldEvent};
use crate::server::net::LinkId;
use crate::world::node::short;
use crate::world::note;
use crate::world::plan::{MinerKind, MinerPlan};

/// A miner, with the state that exists only with a proxy.
pub(crate) struct ProxyWorldMiner {
    pub(crate) miner: SimMiner,
    pub(crate) link: Option<LinkId>,
    /// True if it has announced that it understands `mining.set_extranonce`.
    pub(crate) takes_extra_nonces: bool,
    /// Time at which it was last seen with work on the best chain.
    pub(crate) worked_ms: u64,
    /// Times of its latest losses of a server.
    pub(crate) losses: Vec<u64>,
}

impl ProxyWorldMiner {
    pub(crate) fn new(plan: MinerPlan, rng: fastrand::Rng, takes_extra_nonces: bool) -> Self {
        Self {
            miner: SimMiner::new(plan, rng),
            link: None,
            takes_extra_nonces,
            worked_ms: 0,
            losses: Vec::new(),
        }
    }
}

impl ProxyWorld {
    pub(crate) fn kind_of(&self, rig: usize) -> &'static str {
        self.rigs[rig].miner.kind().name()
    }

    pub(crate) fn connect(&mut self, rig: usize) {
        let miner = &self.rigs[rig].miner;
        if !miner.retires {
            self.after(miner.plan.latency_ms, ProxyWorldEvent::Arrive(rig));
        }
    }

    pub(crate) fn arrive(&mut self, rig: usize) {
        let latency_ms = self.rigs[rig].miner.plan.latency_ms;
        self.check_door();
        let proxy_process = self
            .proxy_process
            .as_mut()
            .filter(|proxy_process| proxy_process.is_listening);
        let conn = proxy_process.map(|proxy_process| proxy_process.driver.net.next_conn());
        let link = conn.map(|conn| self.add_link(LinkPeer::Miner(rig), conn, latency_ms));
        self.after(latency_ms, ProxyWorldEvent::Answered(rig, link));
    }

    pub(crate) fn answered(&mut self, rig: usize, link: Option<LinkId>) {
        let now_ms = self.now_ms;
        let is_open = |link: &LinkId| self.links.get(link).is_some_and(|state| state.proxy_open);
        let is_open = link.as_ref().is_some_and(is_open);
        let one = &mut self.rigs[rig];
        let Some(link) = link.filter(|_| is_open) else {
            let delay_ms = one.miner.comes_back_ms().max(1_000);
            return self.after(delay_ms, ProxyWorldEvent::Connect(rig));
        };
        one.link = Some(link);
        one.miner.since_ms = now_ms;
        one.miner.last_byte_ms = now_ms;
        let mut lines = one.miner.greet(now_ms);
        if one.takes_extra_nonces {
            lines.push(
                one.miner
                    .ask(now_ms, SentRequest::ExtraNonces, "extranonce.subscribe", ""),
            );
        }
        let is_hostile = !one.miner.is_honest();
        note!(self, "{rig:<2} {:<6} connected", self.kind_of(rig));
        for line in lines {
            self.transmit(link, line.as_bytes());
        }
        if is_hostile {
            self.after(100, ProxyWorldEvent::Mischief(rig, link));
        }
    }

    /// Makes a miner notice that its connection has ended; it reconnects later.
    pub(crate) fn miner_gone(&mut self, link: LinkId) {
        let now_ms = self.now_ms;
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let LinkPeer::Miner(rig) = state.peer else {
            return;
        };
        state.far_open = false;
        let one = &mut self.rigs[rig];
        if one.link == Some(link) {
            one.link = None;
            one.miner.hang_up(now_ms);
            let delay_ms = one.miner.comes_back_ms();
            note!(self, "{rig:<2} {:<6} has no connection", self.kind_of(rig));
            self.after(delay_ms, ProxyWorldEvent::Connect(rig));
        }
    }

    /// Closes a miner's connection from its side.
    pub(crate) fn hang_up(&mut self, rig: usize) {
        let Some(link) = self.rigs[rig].link else {
            return;
        };
        if let Some(state) = self.links.get(&link).filter(|state| !state.is_dead) {
            let latency_ms = state.latency_ms;
            self.after(latency_ms, ProxyWorldEvent::ProxyGone(link));
        }
        self.miner_gone(link);
    }

    pub(crate) fn patience(&mut self, rig: usize) {
        let one = &self.rigs[rig];
        let waited_ms = self.now_ms - one.miner.last_byte_ms;
        if one.link.is_some() && waited_ms > one.miner.patience_ms() {
            note!(self, "{rig:<2} {:<6} gives its proxy up", self.kind_of(rig));
            self.hang_up(rig);
        }
        self.after(10_000, ProxyWorldEvent::Patience(rig));
    }

    pub(crate) fn reach_miner(&mut self, link: LinkId, bytes: &[u8]) {
        let now_ms = self.now_ms;
        let Some(state) = self.links.get(&link).filter(|state| !state.is_dead) else {
            return;
        };
        let LinkPeer::Miner(rig) = state.peer else {
            return;
        };
        let one = &mut self.rigs[rig];
        if one.link != Some(link) {
            return;
        }
        one.miner.last_byte_ms = now_ms;
        if one.miner.kind() == MinerKind::Goldshell && bytes.last() != Some(&b'\n') {
            // A Goldshell takes a cut line for an error.
            return self.hang_up(rig);
        }
        one.miner.line.extend_from_slice(bytes);
        while let Some(line) = self.rigs[rig].miner.next_line() {
            self.read_line(rig, &line);
            if self.rigs[rig].link != Some(link) {
                return;
            }
        }
    }

    fn read_line(&mut self, rig: usize, line: &str) {
        let now_ms = self.now_ms;
        let is_honest = self.rigs[rig].miner.is_honest();
        let Some(line) = ServerMessage::parse(line) else {
            assert!(!is_honest, "no stratum server sends {line:?}");
            return;
        };
        match line {
            ServerMessage::Difficulty(difficulty) => {
                let miner = &mut self.rigs[rig].miner;
                miner.difficulty = Some(difficulty);
                miner.difficulty_ms = now_ms;
                if matches!(miner.kind(), MinerKind::Goldshell | MinerKind::Handy) {
                    miner.work_number += 1;
                    self.seek(rig);
                }
            }
            ServerMessage::Notify(params) => self.read_job(rig, &params),
            ServerMessage::ExtraNonce(extra_nonce1) => {
                let one = &mut self.rigs[rig];
                assert!(
                    one.takes_extra_nonces || !is_honest,
                    "a miner was told another extranonce1 that does not understand it"
                );
                one.miner.extra_nonce1 = Some(extra_nonce1);
                one.miner.work_number += 1;
                note!(self, "{rig:<2} extranonce1 {extra_nonce1:08x}");
            }
            ServerMessage::Reply { id, result, error } => self.read_reply(rig, &id, &result, error),
            ServerMessage::Other(method) => assert!(!is_honest, "nobody asked for {method}"),
        }
    }

    fn read_job(&mut self, rig: usize, params: &Value) {
        let miner = &self.rigs[rig].miner;
        let difficulty = miner.difficulty.expect("a difficulty comes before a job");
        let height_of = |hash: &_| -> Option<Height> { self.height_of(hash) };
        let job = MinerJob::parse(params, difficulty, self.now_ms, height_of);
        let job = job.expect("a notify of nine fields on a block that is known");
        self.check_job(rig, &job.read.id);
        let miner = &mut self.rigs[rig].miner;
        let is_repeated = miner.jobs.iter().any(|known| known.read.id == job.read.id);
        assert!(!is_repeated, "a job was sent twice: {}", job.read.id);
        miner.push_job(job);
        self.seek(rig);
    }

    fn read_reply(&mut self, rig: usize, id: &str, result: &Value, error: Option<(i64, String)>) {
        let miner = &mut self.rigs[rig].miner;
        if !miner.is_honest() {
            return;
        }
        let pending = miner.pending.pop_front();
        let pending = pending.unwrap_or_else(|| panic!("a reply to nothing: {id}"));
        assert_eq!(pending.id, id, "replies come in the order of the requests");
        match (&pending.asked, error) {
            (SentRequest::Subscribe, None) => {
                let n1 = result[1].as_str().expect("extranonce1");
                miner.extra_nonce1 = u32::from_str_radix(n1, 16).ok();
                if matches!(miner.kind(), MinerKind::Honest | MinerKind::Doubler) {
                    miner.session = result[0][0][1].as_str().map(str::to_owned);
                }
                self.seek(rig);
            }
            (SentRequest::Authorize, None) => {
                assert_eq!(*result, Value::Bool(true), "an honest miner was refused");
                miner.is_authorized = true;
                self.seek(rig);
            }
            (SentRequest::ExtraNonces, error) => assert_eq!(error, None, "it is known"),
            (SentRequest::Nonsense, _) => {}
            (SentRequest::Submit(submitted), None) => {
                assert_eq!(*result, Value::Bool(true));
                miner.accepted += 1;
                miner.has_credit = true;
                miner.is_fed_up(false);
                self.acknowledged(rig, submitted);
            }
            (SentRequest::Submit(submitted), Some((code, text))) => {
                let is_fed_up = miner.is_fed_up(true);
                note!(
                    self,
                    "{rig:<2} {:<6} refused: {code} {text}",
                    self.kind_of(rig)
                );
                self.check_refusal(rig, &pending, submitted, code, &text);
                if is_fed_up {
                    self.hang_up(rig);
                }
            }
            (asked, Some((code, text))) => {
                panic!("an honest miner was refused: {asked:?} {code} {text}");
            }
            (asked, None) => panic!("a reply to {asked:?}"),
        }
    }

    /// Draws the time of the next share for the miner's work.
    fn seek(&mut self, rig: usize) {
        let miner = &mut self.rigs[rig].miner;
        if let Some(delay_ms) = miner.draw_share_ms() {
            let number = miner.work_number;
            self.after(delay_ms, ProxyWorldEvent::Share(rig, number));
        }
    }

    pub(crate) fn share(&mut self, rig: usize, number: u64) {
        let now_ms = self.now_ms;
        let one = &mut self.rigs[rig];
        let Some(link) = one.link else { return };
        let miner = &mut one.miner;
        if number != miner.work_number || miner.plan.hashrate == 0.0 {
            return;
        }
        let Some((job, proof)) = miner.find(now_ms) else {
            return;
        };
        let mut claims = Vec::from_iter(miner.claim(&job, proof, Repeat::First));
        if job.read.network.is_met_by(&claims[0].submitted.hash) {
            note!(
                self,
                "{rig:<2} {:<6} has a block: {}",
                self.kind_of(rig),
                short(&claims[0].submitted.hash)
            );
        }
        let miner = &mut self.rigs[rig].miner;
        if let Some(place) = (miner.sent.len() > 2)
            .then(|| miner.draw_repeat())
            .flatten()
        {
            claims.push(miner.claim_again(place));
        }
        for claim in claims {
            self.shares.send(rig, &claim);
            let line = self.rigs[rig].miner.submit(now_ms, claim);
            self.transmit(link, line.as_bytes());
        }
        self.seek(rig);
    }

    /// Makes a hostile miner send something, and perhaps disconnect.
    pub(crate) fn mischief(&mut self, rig: usize, link: LinkId) {
        if self.rigs[rig].link != Some(link) {
            return;
        }
        let rng = &mut self.rigs[rig].miner.rng;
        let number = rng.u32(..);
        let line = match rng.u8(..11) {
            0 => "no stratum at all\n".to_owned(),
            1 => format!("{}\n", "[".repeat(rng.usize(1..20_000))),
            2 => {
                r#"{"id":1,"method":"hstratum.admit","params":["alice","","00"]}"#.to_owned() + "\n"
            }
            3 => "{\"id\":2,\"method\":\"hstratum.hello\",\"params\":[]}\n".to_owned(),
            4 => format!(
                "{{\"id\":3,\"method\":\"mining.subscribe\",\"params\":[\"x\",\"{number:08x}\"]}}\n"
            ),
            5 => format!(
                "{{\"id\":4,\"method\":\"mining.submit\",\"params\":[\"alice\",\"{number}\",\
                 \"00000000\",\"00000000\",\"00000000\"]}}\n"
            ),
            6 => {
                "{\"id\":5,\"method\":\"mining.get_transactions\",\"params\":[\"1\"]}\n".to_owned()
            }
            7 => format!(
                "{{\"id\":6,\"method\":\"mining.authorize\",\"params\":[\"mallory{number}\",\"x\"]}}\n"
            ),
            // A line of about the greatest length, shorter or longer, with an id or without.
            9 => {
                let id = ["", "\"id\":8,"][rng.usize(..2)];
                let line = format!("{{{id}\"method\":\"mining.ping\",\"params\":[]}}");
                let bytes = LINE_BYTES_MAX + 3 - rng.usize(..12);
                format!("{line:<bytes$}\n")
            }
            8 => format!("GET / HTTP/1.1\r\nHost: pool{number}\r\n\r\n"),
            _ => "{\"id\":7,\"method\":\"mining.ping\",\"params\":[]}\n".repeat(rng.usize(1..300)),
        };
        let hangs_up = rng.u8(..20) == 0;
        let delay_ms = rng.u64(50..10_000);
        self.transmit(link, line.as_bytes());
        if hangs_up {
            self.hang_up(rig);
        }
        self.after(delay_ms, ProxyWorldEvent::Mischief(rig, link));
    }

    /// The oldest request of a miner that is not answered.
    pub(crate) fn oldest(&self, rig: usize) -> Option<&Pending> {
        self.rigs[rig].miner.pending.front()
    }
}
