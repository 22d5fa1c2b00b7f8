//! Faults around the proxy, and the bugs injected there. Faults of a server are in the server's own
//! world.

use hstratum_core::limits::LINE_BYTES_MAX;
use hstratum_core::units::ConnId;
use serde_json::Value;

use crate::fleet::cord::Far;
use crate::fleet::plan::FleetFaults;
use crate::fleet::{Fleet, Happening};
use crate::net::Cord;
use crate::plan::{between, wait};
use crate::plant::Plant;
use crate::world::note;

/// Faults that occur at random times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
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
pub(crate) const NO_CORD: Cord = 0;

impl Trouble {
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

    fn mean_ms(self, faults: &FleetFaults) -> Option<u64> {
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

impl Fleet {
    pub(crate) fn plan_trouble(&mut self, trouble: Trouble) {
        if let Some(mean_ms) = trouble.mean_ms(&self.faults) {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, Happening::Trouble(trouble));
        }
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        if self.is_healed() {
            return;
        }
        self.plan_trouble(trouble);
        let place = self.rngs.fault.usize(..self.servers.len());
        match trouble {
            Trouble::Hang => {
                self.inject("hang");
                let for_ms = between(&mut self.rngs.fault, 200, 60_000);
                self.hang(place, for_ms);
            }
            Trouble::Outage => {
                self.inject("outage");
                let for_ms = between(&mut self.rngs.fault, 10_000, 120_000);
                for place in 0..self.servers.len() {
                    self.hang(place, for_ms);
                }
            }
            Trouble::Move => {
                self.inject("name moves");
                note!(self, "s{place}        has another address");
                let server = &mut self.servers[place];
                server.moves = server.moves.wrapping_add(1);
                // The server cannot be reached until the next lookup.
                server.well_since_ms = None;
                let delay_ms = between(&mut self.rngs.fault, 100, NAME_EVERY_MS);
                server.unknown_until_ms = self.now_ms + delay_ms;
                self.after(delay_ms, Happening::LookUp(place));
            }
            Trouble::Isolate => {
                self.inject("isolated node");
                let for_ms = between(&mut self.rngs.fault, 1_000, 300_000);
                note!(self, "s{place}        hears of no block for {for_ms} ms");
                self.servers[place].isolated_until_ms = self.now_ms + for_ms;
            }
            Trouble::Drain => {
                self.inject("drain");
                note!(self, "s{place}        is taken out");
                self.order(Self::drain_order(place));
                let for_ms = between(&mut self.rngs.fault, 1_000, 600_000);
                self.after(for_ms, Happening::Fill(place));
            }
            Trouble::Squat => self.squat(place),
            Trouble::HandOver => self.hand_over(),
            Trouble::ProxyPanic => {
                let words = self.rngs.fault.u32(..60);
                if let Some(gate) = &self.gate {
                    gate.ear.fail_in(words);
                }
            }
            Trouble::MinerCut => {
                if let Some(cord) = self.pick_cord() {
                    self.inject("miner cut");
                    let latency_ms = self.cords[&cord].latency_ms;
                    self.after(latency_ms, Happening::ProxyGone(cord));
                    self.after(latency_ms, Happening::MinerGone(cord));
                }
            }
            Trouble::MinerHalfOpen => {
                if let Some(cord) = self.pick_cord() {
                    self.inject("miner half-open");
                    let state = self.cords.get_mut(&cord).expect("it was picked");
                    state.is_dead = true;
                    let noticed_ms = between(&mut self.rngs.net, 20_000, 200_000);
                    self.after(noticed_ms, Happening::ProxyGone(cord));
                }
            }
        }
    }

    fn hang(&mut self, place: usize, for_ms: u64) {
        note!(self, "s{place}        hangs for {for_ms} ms");
        let until_ms = self.now_ms + for_ms;
        let server = &mut self.servers[place];
        server.frozen_until_ms = server.frozen_until_ms.max(until_ms);
        self.after(for_ms, Happening::Thaw(place));
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
        let Some(conn) = world.take_cord(NO_CORD, None, 1) else {
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
        self.after(for_ms, Happening::SquatterGone);
    }

    /// Closes the oldest stranger's connection.
    pub(crate) fn squatter_gone(&mut self) {
        if let Some(Squatter { place, conn, .. }) = self.squatters.pop_front() {
            let world = &mut self.servers[place].world;
            world.now_ms = self.now_ms;
            world.end_cord(conn);
        }
    }

    /// A random open connection of a miner.
    fn pick_cord(&mut self) -> Option<Cord> {
        let up = self.cords.iter().filter(|(_, state)| {
            let is_up = state.proxy_open && state.far_open && !state.is_dead;
            is_up && matches!(state.far, Far::Miner(_))
        });
        let up: Vec<Cord> = up.map(|(cord, _)| *cord).collect();
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
    pub(crate) fn plant_old_job(&mut self, cord: Cord, bytes: Vec<u8>) -> Vec<u8> {
        if self.plant != Some(Plant::OldJobPassedOn) {
            return bytes;
        }
        let (Far::Server(_, _, Some(rig)), Ok(text)) =
            (self.cords[&cord].far, std::str::from_utf8(&bytes))
        else {
            return bytes;
        };
        let job = |line: &str| -> Option<String> {
            let request: Value = serde_json::from_str(line).ok()?;
            let is_submit = request["method"] == "mining.submit";
            is_submit.then(|| request["params"][1].as_str().map(str::to_owned))?
        };
        let others = self
            .cords
            .iter()
            .filter(|(name, state)| **name != cord && state.is_servers() && state.is_of(rig));
        let old = others
            .filter_map(|(_, state)| state.jobs.iter().min())
            .next();
        match (text.lines().find_map(job), old) {
            (Some(job), Some(old)) => text.replace(&job, old).into_bytes(),
            _ => bytes,
        }
    }

    /// Injected bug: makes a long line longer on its way to a server.
    pub(crate) fn plant_long_line(&self, bytes: Vec<u8>) -> Vec<u8> {
        let is_long = bytes.len() > LINE_BYTES_MAX - 50 && bytes.ends_with(b"\n");
        if self.plant != Some(Plant::LengthenedLine) || !is_long {
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
    pub(crate) fn plant_answer(&self, rig: usize, bytes: Vec<u8>) -> Vec<u8> {
        const REFUSED: &str = r#""result":null,"error":[21,"job not found",false]"#;
        let Some(plant) = self.plant else {
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
        match plant {
            Plant::DroppedAnswer if is_lost => keep(REFUSED),
            Plant::InventedAnswer if is_lost => text
                .replace(REFUSED, r#""result":true,"error":null"#)
                .into_bytes(),
            Plant::SilentExtraNonce => keep("mining.set_extranonce"),
            _ => bytes,
        }
    }

    /// Injected bug: drops a miner that has lost its server.
    pub(crate) fn plant_drop(&mut self, rig: usize) {
        if let Some(cord) = self.rigs[rig].cord {
            self.check_drop(rig, cord);
        }
    }
}
