//! Faults around the proxy, and the bugs injected there. Faults of a server are in the server's own
//! world.

use hstratum_core::limits::LINE_BYTES_MAX;
use hstratum_core::units::ConnId;
use serde_json::Value;

use crate::proxy_world::link::LinkPeer;
use crate::proxy_world::plan::ProxyFaults;
use crate::proxy_world::{ProxyWorld, ProxyWorldEvent};
use crate::server::net::LinkId;
use crate::world::injected_bug::InjectedBug;
use crate::world::note;
use crate::world::plan::{between, wait};

/// Faults that occur at random times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyFault {
    Hang,
    Outage,
    Move,
    Isolate,
    Drain,
    Squat,
    HandOver,
    ProxyPanic,
    MinerCut,
    MinerHalfOpen,
}

/// A stranger that has a miner's session at a server, on a connection of its own.
pub(crate) struct Squatter {
    place: usize,
    conn: ConnId,
    pub(crate) extra_nonce1: u32,
}

/// Time between two name lookups, in milliseconds.
const NAME_EVERY_MS: u64 = 15_000;

/// The name of connections that are not the proxy's.
pub(crate) const NO_CORD: LinkId = 0;

impl ProxyFault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Hang,
        Self::Outage,
        Self::Move,
        Self::Isolate,
        Self::Drain,
        Self::Squat,
        Self::HandOver,
        Self::ProxyPanic,
        Self::MinerCut,
        Self::MinerHalfOpen,
    ];

    fn mean_ms(self, faults: &ProxyFaults) -> Option<u64> {
        match self {
            Self::Hang => faults.hang_ms,
            Self::Outage => faults.outage_ms,
            Self::Move => faults.move_ms,
            Self::Isolate => faults.isolate_ms,
            Self::Drain => faults.drain_ms,
            Self::Squat => faults.squat_ms,
            Self::HandOver => faults.hand_over_ms,
            Self::ProxyPanic => faults.proxy_panic_ms,
            Self::MinerCut => faults.miner_cut_ms,
            Self::MinerHalfOpen => faults.miner_half_open_ms,
        }
    }
}

impl ProxyWorld {
    pub(crate) fn plan_trouble(&mut self, trouble: ProxyFault) {
        if let Some(mean_ms) = trouble.mean_ms(&self.faults) {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, ProxyWorldEvent::Trouble(trouble));
        }
    }

    pub(crate) fn trouble(&mut self, trouble: ProxyFault) {
        if self.is_healed() {
            return;
        }
        self.plan_trouble(trouble);
        let place = self.rngs.fault.usize(..self.servers.len());
        match trouble {
            ProxyFault::Hang => {
                self.inject("hang");
                let for_ms = between(&mut self.rngs.fault, 200, 60_000);
                self.hang(place, for_ms);
            }
            ProxyFault::Outage => {
                self.inject("outage");
                let for_ms = between(&mut self.rngs.fault, 10_000, 120_000);
                for place in 0..self.servers.len() {
                    self.hang(place, for_ms);
                }
            }
            ProxyFault::Move => {
                self.inject("name moves");
                note!(self, "s{place}        has another address");
                let server = &mut self.servers[place];
                server.moves = server.moves.wrapping_add(1);
                // The server cannot be reached until the next lookup.
                server.well_since_ms = None;
                let delay_ms = between(&mut self.rngs.fault, 100, NAME_EVERY_MS);
                server.unknown_until_ms = self.now_ms + delay_ms;
                self.after(delay_ms, ProxyWorldEvent::LookUp(place));
            }
            ProxyFault::Isolate => {
                self.inject("isolated node");
                let for_ms = between(&mut self.rngs.fault, 1_000, 300_000);
                note!(self, "s{place}        hears of no block for {for_ms} ms");
                self.servers[place].isolated_until_ms = self.now_ms + for_ms;
            }
            ProxyFault::Drain => {
                self.inject("drain");
                note!(self, "s{place}        is taken out");
                self.order(Self::drain_order(place));
                let for_ms = between(&mut self.rngs.fault, 1_000, 600_000);
                self.after(for_ms, ProxyWorldEvent::Fill(place));
            }
            ProxyFault::Squat => self.squat(place),
            ProxyFault::HandOver => self.hand_over(),
            ProxyFault::ProxyPanic => {
                let words = self.rngs.fault.u32(..60);
                if let Some(proxy_process) = &self.proxy_process {
                    proxy_process.sim_host.fail_in(words);
                }
            }
            ProxyFault::MinerCut => {
                if let Some(link) = self.pick_link() {
                    self.inject("miner cut");
                    let latency_ms = self.links[&link].latency_ms;
                    self.after(latency_ms, ProxyWorldEvent::ProxyGone(link));
                    self.after(latency_ms, ProxyWorldEvent::MinerGone(link));
                }
            }
            ProxyFault::MinerHalfOpen => {
                if let Some(link) = self.pick_link() {
                    self.inject("miner half-open");
                    let state = self.links.get_mut(&link).expect("it was picked");
                    state.is_dead = true;
                    let noticed_ms = between(&mut self.rngs.net, 20_000, 200_000);
                    self.after(noticed_ms, ProxyWorldEvent::ProxyGone(link));
                }
            }
        }
    }

    fn hang(&mut self, place: usize, for_ms: u64) {
        note!(self, "s{place}        hangs for {for_ms} ms");
        let until_ms = self.now_ms + for_ms;
        let server = &mut self.servers[place];
        server.frozen_until_ms = server.frozen_until_ms.max(until_ms);
        self.after(for_ms, ProxyWorldEvent::Thaw(place));
        self.see_server(place);
    }

    /// Lets a stranger resume a miner's session at a server.
    fn squat(&mut self, place: usize) {
        let rig = self.rngs.fault.usize(..self.rigs.len());
        let for_ms = between(&mut self.rngs.fault, 10_000, 600_000);
        let Some(extra_nonce1) = self.rigs[rig].miner.extra_nonce1 else {
            return;
        };
        let world = &mut self.servers[place].world;
        world.now_ms = self.now_ms;
        let Some(conn) = world.attach_link(NO_CORD, None, 1) else {
            return;
        };
        let lines = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x\",\"{extra_nonce1:08x}\"]}}\n\
             {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"mallory\",\"x\"]}}\n"
        );
        world.transmit(conn, lines.as_bytes());
        self.inject("squatter");
        note!(self, "s{place}        somebody wants the session of {rig}");
        self.squatters.push_back(Squatter {
            place,
            conn,
            extra_nonce1,
        });
        self.after(for_ms, ProxyWorldEvent::SquatterGone);
    }

    /// Closes the oldest stranger's connection.
    pub(crate) fn squatter_gone(&mut self) {
        if let Some(Squatter { place, conn, .. }) = self.squatters.pop_front() {
            let world = &mut self.servers[place].world;
            world.now_ms = self.now_ms;
            world.end_link(conn);
        }
    }

    /// A random open connection of a miner.
    fn pick_link(&mut self) -> Option<LinkId> {
        let up = self.links.iter().filter(|(_, state)| {
            let is_up = state.proxy_open && state.far_open && !state.is_dead;
            is_up && matches!(state.peer, LinkPeer::Miner(_))
        });
        let up: Vec<LinkId> = up.map(|(link, _)| *link).collect();
        (!up.is_empty()).then(|| up[self.rngs.fault.usize(..up.len())])
    }

    /// Lets a suspended server continue.
    pub(crate) fn thaw(&mut self, place: usize) {
        let server = &mut self.servers[place];
        if self.now_ms >= server.frozen_until_ms {
            server.world.thawed_ms = self.now_ms;
            let now_ms = self.now_ms;
            server.world.trouble_until(now_ms);
            self.see_server(place);
        }
    }

    pub(crate) fn fill(&mut self, place: usize) {
        self.order(Self::fill_order(place));
    }

    /// Injected bug: replaces the job of a share by one of an earlier server.
    pub(crate) fn inject_old_job(&mut self, link: LinkId, bytes: Vec<u8>) -> Vec<u8> {
        if self.injected_bug != Some(InjectedBug::OldJobPassedOn) {
            return bytes;
        }
        let (LinkPeer::Server(_, _, Some(rig)), Ok(text)) =
            (self.links[&link].peer, std::str::from_utf8(&bytes))
        else {
            return bytes;
        };
        let job = |line: &str| -> Option<String> {
            let request: Value = serde_json::from_str(line).ok()?;
            let is_submit = request["method"] == "mining.submit";
            is_submit.then(|| request["params"][1].as_str().map(str::to_owned))?
        };
        let others = self
            .links
            .iter()
            .filter(|(name, state)| **name != link && state.is_servers() && state.is_of(rig));
        let old = others
            .filter_map(|(_, state)| state.jobs.iter().min())
            .next();
        match (text.lines().find_map(job), old) {
            (Some(job), Some(old)) => text.replace(&job, old).into_bytes(),
            _ => bytes,
        }
    }

    /// Injected bug: makes a long line longer on its way to a server.
    pub(crate) fn inject_long_line(&self, bytes: Vec<u8>) -> Vec<u8> {
        let is_long = bytes.len() > LINE_BYTES_MAX - 50 && bytes.ends_with(b"\n");
        if self.injected_bug != Some(InjectedBug::LengthenedLine) || !is_long {
            return bytes;
        }
        let mut longer = bytes;
        longer.pop();
        longer.resize(LINE_BYTES_MAX + 1, b' ');
        longer.push(b'\n');
        longer
    }

    /// Injected bugs: drops the proxy's answers when a server is lost, or turns them into acceptance, or
    /// drops the announcement of a new extranonce1.
    pub(crate) fn inject_answer(&self, rig: usize, bytes: Vec<u8>) -> Vec<u8> {
        const REFUSED: &str = r#""result":null,"error":[21,"job not found",false]"#;
        let Some(injected_bug) = self.injected_bug else {
            return bytes;
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let now_ms = self.now_ms;
        let is_lost = self.rigs[rig]
            .losses
            .last()
            .is_some_and(|at_ms| *at_ms == now_ms);
        let keep = |unwanted: &str| -> Vec<u8> {
            let lines = text.split_inclusive('\n');
            let kept: String = lines.filter(|line| !line.contains(unwanted)).collect();
            kept.into_bytes()
        };
        match injected_bug {
            InjectedBug::DroppedAnswer if is_lost => keep(REFUSED),
            InjectedBug::InventedAnswer if is_lost => text
                .replace(REFUSED, r#""result":true,"error":null"#)
                .into_bytes(),
            InjectedBug::SilentExtraNonce => keep("mining.set_extranonce"),
            _ => bytes,
        }
    }

    /// Injected bug: drops a miner that has lost its server.
    pub(crate) fn inject_drop(&mut self, rig: usize) {
        if let Some(link) = self.rigs[rig].link {
            self.check_drop(rig, link);
        }
    }
}
