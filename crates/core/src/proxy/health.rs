//! Health of the servers. Each is probed with `hstratum.hello` over one connection, in the way a miner
//! would notice a failure; failures met by miners count too.
//!
//! A server that is unreachable or hangs is *down*: its miners have lost it. A server that answers but
//! has no job, or whose height is below another's, is *unfit*: its miners move away while it still serves
//! them, and stay if there is nothing better.

use crate::event::{CloseHow, Level};
use crate::limits::{
    DOWN_MS, DOWN_MS_MAX, PROBE_EVERY_MS, PROBE_LIFE_MS, PROBE_RETRY_MS, SERVER_LINE_BYTES_MAX,
};
use crate::plural::counted;
use crate::proxy::backend::{BackendChange, BackendState, OpenProbe, Probe};
use crate::proxy::event::{BackendIndex, ProxyAction, ProxyActions, Purpose};
use crate::proxy::miner_lines::OWN_ID;
use crate::proxy::server_lines::{Hello, ServerLine};
use crate::proxy::state::{ProxyShared, Role};
use crate::units::{ConnId, Now};
use crate::wire::line::{Flow, LineBuffer};

/// The user agent of the probe, as JSON.
const AGENT: &str = concat!("\"hstratum-proxy/", env!("CARGO_PKG_VERSION"), "\"");

impl ProxyShared {
    /// Probes servers that are due, and marks those down that do not answer.
    pub(crate) fn run_probes(&mut self, now: Now, out: &mut ProxyActions) {
        for place in 0..self.backends.len() {
            self.check_silence(place, now, out);
            let ask = self.ask(place);
            let backend = &mut self.backends[place];
            match &mut backend.probe {
                Probe::Waiting(at_ms) if *at_ms <= now.ms => self.dial_probe(place, now, out),
                Probe::Waiting(_) | Probe::Dialing(..) => {}
                Probe::Open(asking) => match asking.asked_ms {
                    Some(_) => {}
                    None if now.ms - asking.opened_ms >= PROBE_LIFE_MS => {
                        self.end_probe(place, out);
                        self.dial_probe(place, now, out);
                    }
                    None if asking.next_ms <= now.ms => {
                        asking.asked_ms = Some(now.ms);
                        backend.silent_since_ms.get_or_insert(now.ms);
                        out.send(asking.conn, |line| line.extend_from_slice(ask.as_bytes()));
                    }
                    None => {}
                },
            }
        }
    }

    /// Marks a server down that is silent. A single connection may be dead while its server is well,
    /// because packets get lost: after half of the timeout it is probed on a new one. A server that sends
    /// something to its miners meanwhile gets the whole timeout once more.
    fn check_silence(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        let timeout_ms = self.config.probe_timeout_ms;
        let backend = &mut self.backends[place];
        let is_over = |since_ms: u64, ms: u64| now.ms - since_ms >= ms;
        // Shares are answered within milliseconds, so the silence of a busy server is noticed sooner than
        // by the next probe.
        if backend
            .silent_since_ms
            .is_some_and(|ms| is_over(ms, timeout_ms))
        {
            return self.fail(place, "it does not answer", now, out);
        }
        let Some((since_ms, why)) = backend.probe.awaits() else {
            return;
        };
        match backend.doubted_since_ms {
            None if is_over(since_ms, timeout_ms / 2) => {
                backend.doubted_since_ms = Some(since_ms);
                self.end_probe(place, out);
                self.dial_probe(place, now, out);
            }
            Some(doubted_ms) => {
                let is_heard = backend.last_alive_ms > doubted_ms;
                if is_over(doubted_ms, timeout_ms * (1 + u64::from(is_heard))) {
                    self.fail(place, why, now, out);
                }
            }
            None => {}
        }
    }

    fn dial_probe(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        self.backends[place].probe = Probe::Dialing(None, now.ms);
        out.push(ProxyAction::Dial(Purpose::Probe(place), None));
    }

    /// Handles the answer to the dialing of a probe.
    pub(crate) fn probe_dialed(
        &mut self,
        place: BackendIndex,
        dialed: Option<ConnId>,
        now: Now,
        out: &mut ProxyActions,
    ) {
        match (&mut self.backends[place].probe, dialed) {
            (Probe::Dialing(conn @ None, _), Some(new)) => {
                *conn = Some(new);
                self.roles.insert(new, Role::Probe(place));
            }
            // The failure to dial is the proxy's own, and the server may be well: it is tried again.
            (Probe::Dialing(None, _), None) => {
                self.backends[place].probe = Probe::Waiting(now.ms + PROBE_RETRY_MS);
                self.backends[place].doubted_since_ms = None;
            }
            (_, Some(new)) => out.push(ProxyAction::Close(new, CloseHow::Reset)),
            (_, None) => {}
        }
    }

    /// Notes that the probe is dialed at another address; false if the connection is not wanted any more.
    pub(crate) fn probe_redialed(&mut self, place: BackendIndex, old: ConnId, new: ConnId) -> bool {
        match &mut self.backends[place].probe {
            Probe::Dialing(conn, _) if *conn == Some(old) => {
                *conn = Some(new);
                true
            }
            _ => false,
        }
    }

    /// Handles the probe's connection being established.
    pub(crate) fn probe_opened(
        &mut self,
        place: BackendIndex,
        conn: ConnId,
        now: Now,
        out: &mut ProxyActions,
    ) {
        let ask = self.ask(place);
        let backend = &mut self.backends[place];
        if !matches!(backend.probe, Probe::Dialing(Some(dialed), _) if dialed == conn) {
            return;
        }
        backend.probe = Probe::Open(OpenProbe {
            conn,
            opened_ms: now.ms,
            lines: LineBuffer::default(),
            asked_ms: Some(now.ms),
            next_ms: now.ms,
            is_subscribed: false,
        });
        backend.asked(now);
        out.send(conn, |line| {
            let subscribe =
                format!("{{\"id\":\"p\",\"method\":\"mining.subscribe\",\"params\":[{AGENT}]}}\n");
            line.extend_from_slice(subscribe.as_bytes());
            line.extend_from_slice(ask.as_bytes());
        });
    }

    /// The probe's question, which tells the server how many of its miners could move elsewhere.
    fn ask(&self, place: BackendIndex) -> String {
        let mut others = self.backends.iter().enumerate();
        let miners = match others.any(|(other, backend)| other != place && backend.is_open()) {
            true => self.backends[place].miners,
            false => 0,
        };
        format!("{{\"id\":{OWN_ID},\"method\":\"hstratum.hello\",\"params\":[{miners}]}}\n")
    }

    /// Handles bytes received by the probe.
    pub(crate) fn probe_received(
        &mut self,
        place: BackendIndex,
        bytes: &[u8],
        now: Now,
        out: &mut ProxyActions,
    ) {
        self.backends[place].heard(now);
        let Probe::Open(asking) = &mut self.backends[place].probe else {
            return;
        };
        let mut lines = std::mem::take(&mut asking.lines);
        let mut answers = Vec::new();
        let mut is_sane = true;
        let read = lines.read_up_to(SERVER_LINE_BYTES_MAX, bytes, |line| {
            match ServerLine::parse(line) {
                Some(said) if said.method.is_some() => {}
                Some(said) => answers.push((said.refusal().is_some(), Hello::parse(&said))),
                None => is_sane = false,
            }
            Flow::Continue
        });
        asking.lines = lines;
        if !is_sane || read.is_err() {
            return self.fail(place, "what it sends is not stratum", now, out);
        }
        for (is_refused, hello) in answers {
            self.probe_answered(place, is_refused, hello, now, out);
        }
    }

    fn probe_answered(
        &mut self,
        place: BackendIndex,
        is_refused: bool,
        hello: Option<Hello>,
        now: Now,
        out: &mut ProxyActions,
    ) {
        let backend = &mut self.backends[place];
        let Probe::Open(asking) = &mut backend.probe else {
            return;
        };
        if !asking.is_subscribed {
            asking.is_subscribed = true;
            if is_refused {
                self.fail(place, "it takes no miners", now, out);
            }
            return;
        }
        asking.asked_ms = None;
        asking.next_ms = now.ms + PROBE_EVERY_MS;
        backend.knows_hello = !is_refused;
        backend.is_leaving = hello.as_ref().is_some_and(|hello| hello.leaving);
        backend.height = hello.and_then(|hello| hello.height);
        backend.doubted_since_ms = None;
        if std::mem::take(&mut backend.is_broken) {
            // Miners may have left the server meanwhile.
            self.changes.push(BackendChange::Replan);
        }
        backend.good_probes = backend.good_probes.saturating_add(1);
        self.update_fitness(place, now, out);
    }

    /// Handles the end of the probe's connection. The server may be well, but no miner is sent there
    /// until a new probe is answered.
    pub(crate) fn probe_closed(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        let backend = &mut self.backends[place];
        match backend.probe {
            Probe::Open(_) if backend.doubted_since_ms.is_none() => {
                backend.doubted_since_ms = Some(now.ms);
                backend.is_broken = true;
                self.dial_probe(place, now, out);
            }
            Probe::Open(_) => self.fail(place, "it ends connections", now, out),
            Probe::Dialing(..) => self.fail(place, "it refuses connections", now, out),
            Probe::Waiting(_) => {}
        }
    }

    /// Probes the server anew, because it has refused a miner's connection. It may be well and have
    /// refused only this miner's address.
    pub(crate) fn probe_again(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        let backend = &mut self.backends[place];
        if backend.doubted_since_ms.is_none()
            && let Probe::Open(asking) = &backend.probe
            && asking.is_subscribed
        {
            backend.doubted_since_ms = Some(now.ms);
            self.end_probe(place, out);
            self.dial_probe(place, now, out);
        }
    }

    /// Marks a server down.
    pub(crate) fn fail(
        &mut self,
        place: BackendIndex,
        why: &'static str,
        now: Now,
        out: &mut ProxyActions,
    ) {
        self.end_probe(place, out);
        let backend = &mut self.backends[place];
        backend.probe = Probe::Waiting(now.ms + PROBE_RETRY_MS);
        backend.good_probes = 0;
        backend.silent_since_ms = None;
        backend.doubted_since_ms = None;
        backend.is_broken = false;
        backend.height = None;
        backend.is_leaving = false;
        backend.unfit_since_ms = None;
        if matches!(backend.state, BackendState::Down(_)) {
            return;
        }
        // A server that was up for long is taken back soon.
        if now.ms.saturating_sub(backend.down_until_ms) >= DOWN_MS_MAX {
            backend.down_for_ms = backend.down_for_ms.min(DOWN_MS);
        }
        backend.down_until_ms = now.ms + backend.down_for_ms;
        backend.down_for_ms = (backend.down_for_ms * 2).min(DOWN_MS_MAX);
        backend.state = BackendState::Down(why);
        // Connections may have ended before anything else showed that it is down.
        backend.forget_lost(now);
        let (name, miners) = (&backend.name, backend.miners + backend.lost);
        let miners = counted(miners, "miner");
        let text = format!("server {name} is down: {why}; moving {miners}");
        self.changes
            .push(BackendChange::Lost(place, backend.last_alive_ms));
        out.log(Level::Warning, text);
    }

    /// Closes the probe's connection, if there is one.
    pub(crate) fn end_probe(&mut self, place: BackendIndex, out: &mut ProxyActions) {
        let conn = match &self.backends[place].probe {
            Probe::Waiting(_) => None,
            Probe::Dialing(conn, _) => *conn,
            Probe::Open(asking) => Some(asking.conn),
        };
        if let Some(conn) = conn
            && self.roles.remove(conn).is_some()
        {
            out.push(ProxyAction::Close(conn, CloseHow::Reset));
        }
    }
}
