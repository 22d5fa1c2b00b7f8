//! The loop that owns the proxy's rules: sockets and the clock go in as events, actions come out.
//!
//! A panic of the rules is caught here: connections are reset, and new rules begin on the same listeners.

use std::collections::{BTreeSet, VecDeque};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use hstratum_core::alarm::AlarmMonitor;
use hstratum_core::event::{Arrival, Level, Listening};
use hstratum_core::limits::PROXY_TICK_MS;
use hstratum_core::log_limit::LogLimit;
use hstratum_core::plural::counted;
use hstratum_core::proxy::{
    BackendDrain, BackendIndex, MinerState, Proxy, ProxyAction, ProxyActions, ProxyConfig,
    ProxyEvent, Purpose,
};
use hstratum_core::units::ConnId;
use serde_json::json;

use crate::driver::io::{DriverIo, SystemIo};
use crate::limits::{
    HANDSHAKES_PER_TURN, PROXY_MOVES_MAX, PROXY_MOVES_QUIET_MS, PROXY_STOP_MS, READS_PER_TURN,
    RESTART_MS,
};
use crate::net::{ReadResult, tls};
use crate::proxy::control::{ControlOrder, ProxyCommand};
pub use crate::proxy::io::ProxyIo;
use crate::proxy::resolver::Addresses;
use crate::proxy::settings::ProxySettings;
use crate::proxy::status::{Jobless, ProxyNotice, ProxyStatus, StatusWindow};
use crate::stderr;
use crate::telemetry::histogram::Histogram;

/// Flags set by signals.
#[derive(Default)]
pub struct Flags {
    /// The proxy is to stop.
    pub stop: Arc<AtomicBool>,
    /// The certificate is to be read again.
    pub reload: Arc<AtomicBool>,
}

/// Moves of miners since the last report, which is made when no more follow.
struct Moves {
    /// Times without a job, in ms.
    jobless_ms: Vec<u64>,
    /// Times without a job of all moves since the start.
    jobless: Histogram,
    last_ms: u64,
}

impl Moves {
    fn new() -> Self {
        Self {
            jobless_ms: Vec::new(),
            jobless: Histogram::default(),
            last_ms: 0,
        }
    }

    /// Records that a miner has moved, and was without a job for `jobless_ms`.
    fn add(&mut self, jobless_ms: u64, now_ms: u64) {
        self.jobless_ms.push(jobless_ms);
        self.jobless.observe(Duration::from_millis(jobless_ms), 1);
        self.last_ms = now_ms;
    }
}

/// The proxy's driver and all it owns.
pub struct ProxyDriver<S> {
    /// Sockets and clock.
    pub net: S,
    pub(super) proxy: Proxy,
    pub(super) settings: ProxySettings,
    pub(super) addresses: Addresses,
    commands: Receiver<ProxyCommand>,
    flags: Flags,
    next_tick_ms: u64,
    /// State of refused connections, and when it is checked next.
    pub(super) watch: AlarmMonitor,
    pub(super) next_look_ms: u64,
    /// Limiter of log lines about unreachable servers, which each miner would cause.
    pub(super) log_limit: LogLimit,
    actions: ProxyActions,
    /// Connections being opened that the rules have not been told of.
    dialed: VecDeque<(Purpose, BackendIndex, Option<ConnId>)>,
    moves: Moves,
    /// Servers that the operator took out, for new rules.
    pub(super) drained: BTreeSet<BackendIndex>,
    /// Number of panics of the rules.
    failures: u64,
    /// Snapshot for readers on other threads.
    pub(super) status_window: Arc<StatusWindow>,
    /// The HTTP socket, for a process that takes over.
    pub(super) http: Option<TcpListener>,
}

/// Reason why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// A signal.
    Stopped,
    /// Another process has taken over.
    HandedOver,
}

impl<S: ProxyIo> ProxyDriver<S> {
    /// A loop that has not started.
    pub fn new(
        net: S,
        proxy: Proxy,
        settings: ProxySettings,
        commands: Receiver<ProxyCommand>,
        flags: Flags,
    ) -> Self {
        let watch = AlarmMonitor::new(0, net.now());
        Self {
            watch,
            next_look_ms: 0,
            log_limit: LogLimit::default(),
            net,
            proxy,
            addresses: Addresses::new(&settings.backends),
            settings,
            commands,
            flags,
            next_tick_ms: 0,
            actions: ProxyActions::default(),
            dialed: VecDeque::new(),
            moves: Moves::new(),
            drained: BTreeSet::new(),
            failures: 0,
            status_window: Arc::default(),
            http: None,
        }
    }

    /// The rules.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Stops reading, so that another process can take over the miners.
    pub fn freeze(&mut self) {
        let now = self.net.now();
        self.proxy.freeze(now, &mut self.actions);
        self.perform_all();
        self.net.flush();
    }

    /// Takes over a miner of another process; returns false if its state cannot be parsed.
    pub fn go_on_with(
        &mut self,
        from: (ConnId, Arrival),
        link: Option<ConnId>,
        state: MinerState,
    ) -> bool {
        let now = self.net.now();
        let is_taken = self
            .proxy
            .take_over(now, from, link, state, &mut self.actions);
        self.perform_all();
        is_taken
    }

    /// Resumes after a failed handover.
    pub fn go_on(&mut self) {
        let now = self.net.now();
        self.proxy.go_on(now, &mut self.actions);
        self.perform_all();
    }

    /// Begins the shutdown: nothing more is read, but pending requests are still answered.
    pub fn begin_end(&mut self) {
        self.handle(ProxyEvent::Stop);
    }

    /// Waits for an event, and executes the actions that follow. Returns the stream of a process that is
    /// ready to take over.
    pub fn turn(&mut self) -> Option<UnixStream> {
        let wait_ms = self.next_tick_ms.saturating_sub(self.net.now().ms);
        self.net.wait(Duration::from_millis(wait_ms));
        let now_ms = self.net.now().ms;
        self.net.begin_turn(now_ms);
        // Their slots may be in use again already.
        self.tell_lost();
        for _ in 0..READS_PER_TURN {
            let Some(conn) = self.net.next_readable() else {
                break;
            };
            self.read(conn);
        }
        for _ in 0..HANDSHAKES_PER_TURN {
            let Some(conn) = self.net.next_handshake() else {
                break;
            };
            self.read(conn);
        }
        while let Ok(command) = self.commands.try_recv() {
            match command {
                ProxyCommand::Order(order, answer) => {
                    // The client may be gone.
                    let _ = answer.send(self.obey(&order));
                }
                ProxyCommand::Addresses(place, found) => self.addresses.set(place, found),
                ProxyCommand::Offer(answer) => {
                    let _ = answer.send(self.offer());
                }
                ProxyCommand::HandOver(stream) => return Some(stream),
            }
        }
        if now_ms >= self.next_tick_ms {
            self.next_tick_ms = now_ms + PROXY_TICK_MS;
            self.handle(ProxyEvent::Tick);
            self.report_moves(now_ms);
            self.look_at_door(now_ms);
            self.status_window.show(self.current_status());
            if self.flags.reload.swap(false, Ordering::Relaxed) {
                self.reload();
            }
        }
        self.net.flush();
        self.tell_lost();
        None
    }

    fn tell_lost(&mut self) {
        for conn in self.net.take_lost() {
            let event = self.gone(conn);
            self.handle(event);
        }
    }

    fn read(&mut self, conn: ConnId) {
        match self.net.read(conn) {
            ReadResult::Opened(_) if self.net.is_dialed(conn) => {
                self.addresses.opened(conn);
                self.handle(ProxyEvent::Opened(conn));
            }
            ReadResult::Opened(arrival) => self.handle(ProxyEvent::Connected(conn, arrival)),
            ReadResult::Bytes(len) => {
                let now = self.net.now();
                let bytes = self.net.received(len);
                let event = ProxyEvent::Received(conn, bytes);
                self.proxy.handle(now, event, &mut self.actions);
                self.perform_all();
            }
            ReadResult::Nothing => {}
            ReadResult::Finished => self.handle(ProxyEvent::Finished(conn)),
            ReadResult::Gone => {
                self.net.drop_gone(conn);
                let event = self.gone(conn);
                self.handle(event);
            }
        }
    }

    fn handle(&mut self, event: ProxyEvent<'_>) {
        let now = self.net.now();
        self.proxy.handle(now, event, &mut self.actions);
        self.perform_all();
    }

    /// Executes the rules' actions. The rules are told at once of connections being opened. Actions that
    /// follow are executed in a loop, not by recursion, since thousands may queue.
    fn perform_all(&mut self) {
        self.perform();
        while let Some((purpose, place, conn)) = self.dialed.pop_front() {
            let now = self.net.now();
            if self.addresses.of(place).is_empty() {
                let event = ProxyEvent::NoAddress(place);
                self.proxy.handle(now, event, &mut self.actions);
            }
            let event = ProxyEvent::Dialed(purpose, conn);
            self.proxy.handle(now, event, &mut self.actions);
            self.perform();
        }
    }

    fn perform(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        actions.drain(|action, bytes| match action {
            ProxyAction::Send(conn, _) => self.net.send(conn, bytes),
            ProxyAction::Dial(purpose, source) => {
                let (Purpose::Miner(_, place) | Purpose::Probe(place)) = purpose;
                let conn = self.dial(place, source);
                self.dialed.push_back((purpose, place, conn));
            }
            ProxyAction::Pause(conn) => self.net.pause(conn, true),
            ProxyAction::Resume(conn) => self.net.pause(conn, false),
            ProxyAction::Admitted(conn) => self.net.admitted(conn),
            ProxyAction::Proven(conn) => self.net.proven(conn),
            ProxyAction::Close(conn, how) => {
                self.addresses.failed(conn);
                self.net.close(conn, how);
            }
            ProxyAction::Listen(listening) => self.listen(listening),
            ProxyAction::Moved(ms) => {
                self.moves.add(ms, self.net.now().ms);
            }
            ProxyAction::Log(level, text) => self.net.say(level, &text),
        });
        self.actions = actions;
    }

    fn listen(&mut self, listening: Listening) {
        if let Err(error) = self.net.listen(listening) {
            let text = format!("failed to change listening: {error}");
            self.net.say(Level::Error, &text);
        }
    }

    /// Logs one line once miners have moved and no more do.
    fn report_moves(&mut self, now_ms: u64) {
        let is_quiet = now_ms.saturating_sub(self.moves.last_ms) >= PROXY_MOVES_QUIET_MS;
        let moves = self.moves.jobless_ms.len();
        if !is_quiet && moves < PROXY_MOVES_MAX {
            return;
        }
        let Some(jobless) = Jobless::of(&mut self.moves.jobless_ms) else {
            return;
        };
        let text = format!(
            "moved {}, without a job for p50 {} ms, p99 {} ms, max {} ms",
            counted(moves as u64, "miner"),
            jobless.p50,
            jobless.p99,
            jobless.max
        );
        self.status_window
            .tell(&ProxyNotice::moved(moves as u64, jobless));
        self.moves.jobless_ms.clear();
        self.net.say(Level::Info, &text);
    }

    fn obey(&mut self, order: &ControlOrder) -> String {
        match order {
            ControlOrder::Status => self.status(),
            ControlOrder::Drain(name) => self.drain(name, BackendDrain::Out),
            ControlOrder::Fill(name) => self.drain(name, BackendDrain::In),
        }
    }

    pub(super) fn drain(&mut self, name: &str, drain: BackendDrain) -> String {
        let mut backends = self.settings.backends.iter();
        match backends.position(|backend| backend.name == name) {
            None => json!({"error": format!("no server is named {name:?}")}).to_string(),
            Some(place) => {
                match drain {
                    BackendDrain::Out => self.drained.insert(place),
                    BackendDrain::In => self.drained.remove(&place),
                };
                self.handle(ProxyEvent::Drain(place, drain));
                self.status()
            }
        }
    }

    fn status(&self) -> String {
        self.current_status().json().to_string()
    }

    fn current_status(&self) -> ProxyStatus {
        ProxyStatus {
            servers: self.proxy.status(),
            miners: self.proxy.miners(),
            door: self.net.door(),
            counts: self.proxy.counts(),
            refused: self.proxy.refusals().list(),
            refused_logins: self.proxy.refusals().counts(),
            failures: self.failures,
            jobless: self.moves.jobless,
            at: Instant::now(),
        }
    }

    /// Reads two small files of the operator on the loop's thread, since this is very rare.
    fn reload(&mut self) {
        let Some(files) = &self.settings.tls else {
            let text = "nothing to reload: no listener speaks TLS";
            return self.net.say(Level::Info, text);
        };
        match tls::load(&files.cert, &files.key) {
            Ok(certificate) => {
                self.net.use_certificate(certificate);
                self.net.say(Level::Info, "certificate reloaded");
            }
            Err(error) => {
                let text = format!("{error:#}; the old certificate stays");
                self.net.say(Level::Error, &text);
            }
        }
    }
}

impl ProxyDriver<SystemIo> {
    /// Runs until another process has taken over, or a signal comes. `config` makes the configuration of new
    /// rules.
    pub(super) fn run(&mut self, mut config: impl FnMut() -> ProxyConfig) -> RunEnd {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.run_rules())) {
                Ok(end) => return end,
                Err(_) => self.begin_anew(config()),
            }
        }
    }

    /// Starts new rules after a panic: miners are disconnected, and reconnect.
    fn begin_anew(&mut self, config: ProxyConfig) {
        self.failures += 1;
        let text = "the proxy has failed, which is a bug; it is restarted and miners reconnect";
        stderr::line("error", text);
        self.status_window.tell(&ProxyNotice::new("failed"));
        self.net.reset_all();
        // The failed rules may have switched to refusing miners; the new rules start with accepting.
        self.listen(Listening::On);
        self.actions = ProxyActions::default();
        self.addresses.clear();
        self.dialed.clear();
        self.moves.jobless_ms.clear();
        self.proxy = Proxy::new(config, self.net.now());
        for place in self.drained.clone() {
            self.handle(ProxyEvent::Drain(place, BackendDrain::Out));
        }
        self.net.rest(Duration::from_millis(RESTART_MS));
    }

    /// Runs the rules; after a signal, waits for replies that servers owe, and closes all connections.
    fn run_rules(&mut self) -> RunEnd {
        while !self.flags.stop.load(Ordering::Relaxed) {
            if let Some(stream) = self.turn()
                && self.hand_over(&stream)
            {
                return RunEnd::HandedOver;
            }
        }
        self.net.net.close_listeners();
        self.begin_end();
        let begun = Instant::now();
        while self.proxy.is_owed() && begun.elapsed() < Duration::from_millis(PROXY_STOP_MS) {
            self.turn();
        }
        self.net.flush();
        self.net.reset_all();
        RunEnd::Stopped
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
