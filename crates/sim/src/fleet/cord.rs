//! Connections of the proxy, to miners and to servers, seen from both ends, and what travels on them.

use std::collections::HashSet;

use hstratum_core::event::{Arrival, ArrivalKind};
use hstratum_core::units::{ConnId, Difficulty};
use serde_json::Value;

use crate::census::READ_BYTES;
use crate::fleet::{Fleet, Happening};
use crate::net::Cord;
use crate::plan::{between, happens};
use crate::ports::Read;
use crate::world::note;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// The miner of this number.
    Miner(usize),
    /// The server of this place, which has the connection by this name once it has taken it; for a
    /// miner, or for the proxy itself.
    Server(usize, Option<ConnId>, Option<usize>),
}

/// A connection.
pub(crate) struct CordState {
    pub(crate) far: Far,
    /// The proxy's process that has it, and its name there.
    pub(crate) boot: u32,
    pub(crate) conn: ConnId,
    pub(crate) proxy_open: bool,
    pub(crate) far_open: bool,
    /// The proxy was told of it.
    pub(crate) is_known: bool,
    /// Nothing passes any more, and nobody is told.
    pub(crate) is_dead: bool,
    pub(crate) latency_ms: u64,
    /// Nothing arrives earlier than what was sent before it.
    to_proxy_ms: u64,
    to_miner_ms: u64,
    /// Written by the proxy in this turn.
    pub(crate) out: Vec<u8>,
    /// Of a server: the beginning of its next line, and the jobs that it has given.
    line: Vec<u8>,
    pub(crate) jobs: HashSet<String>,
    /// When the proxy had it no longer.
    pub(crate) closed_ms: Option<u64>,
}

impl CordState {
    /// Whether the proxy has it.
    pub(crate) fn is_open(&self) -> bool {
        self.proxy_open
    }

    pub(crate) fn is_of(&self, rig: usize) -> bool {
        match self.far {
            Far::Miner(at) => at == rig,
            Far::Server(_, _, at) => at == Some(rig),
        }
    }

    pub(crate) fn is_servers(&self) -> bool {
        matches!(self.far, Far::Server(..))
    }
}

impl Fleet {
    /// A new connection of the proxy that runs.
    pub(crate) fn add_cord(&mut self, far: Far, conn: ConnId, latency_ms: u64) -> Cord {
        self.made += 1;
        let state = CordState {
            far,
            boot: self.boot,
            conn,
            proxy_open: true,
            far_open: true,
            is_known: false,
            is_dead: false,
            latency_ms,
            to_proxy_ms: self.now_ms,
            to_miner_ms: self.now_ms,
            out: Vec::new(),
            line: Vec::new(),
            jobs: HashSet::new(),
            closed_ms: None,
        };
        self.cords.insert(self.made, state);
        let gate = self.gate.as_mut().expect("the proxy runs");
        gate.cords.insert(conn, self.made);
        self.made
    }

    /// The proxy has the connection no longer, or is about to hear so.
    pub(crate) fn end_proxys(&mut self, cord: Cord) {
        let now_ms = self.now_ms;
        if let Some(state) = self.cords.get_mut(&cord)
            && std::mem::replace(&mut state.proxy_open, false)
        {
            state.closed_ms = Some(now_ms);
            state.out.clear();
        }
    }

    /// Those that nobody asks about any more are forgotten.
    pub(crate) fn forget_cords(&mut self) {
        let long_ago_ms = self.now_ms.saturating_sub(600_000);
        self.cords
            .retain(|_, cord| cord.closed_ms.is_none_or(|at_ms| at_ms > long_ago_ms));
    }

    /// Cuts bytes where a segment may end.
    fn split(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if bytes.len() > 1 && happens(&mut self.rngs.net, self.faults.miner_split_segment) {
            self.inject("miner split segment");
            let (a, b) = bytes.split_at(self.rngs.net.usize(1..bytes.len()));
            return vec![a.to_vec(), b.to_vec()];
        }
        vec![bytes.to_vec()]
    }

    fn draw_delay(&mut self) -> u64 {
        if happens(&mut self.rngs.net, self.faults.miner_slow_segment) {
            self.inject("miner slow segment");
            return between(&mut self.rngs.net, 100, 5_000);
        }
        0
    }

    /// From a miner to the proxy.
    pub(crate) fn transmit(&mut self, cord: Cord, bytes: &[u8]) {
        for piece in self.split(bytes) {
            let delay_ms = self.draw_delay();
            let Some(state) = self.cords.get_mut(&cord) else {
                return;
            };
            let at_ms = self.now_ms + state.latency_ms + delay_ms;
            state.to_proxy_ms = state.to_proxy_ms.max(at_ms);
            if !state.is_dead {
                let at_ms = state.to_proxy_ms;
                self.agenda.add(at_ms, Happening::ToProxy(cord, piece));
            }
        }
    }

    /// What the proxy has written in this turn leaves.
    pub(crate) fn flush(&mut self) {
        let full = self.cords.iter_mut();
        let full: Vec<(Cord, Vec<u8>)> = full
            .filter(|(_, state)| !state.out.is_empty())
            .map(|(cord, state)| (*cord, std::mem::take(&mut state.out)))
            .collect();
        for (cord, out) in full {
            match self.cords[&cord].far {
                Far::Server(place, Some(conn), _) => {
                    let world = &mut self.servers[place].world;
                    world.now_ms = self.now_ms;
                    world.transmit(conn, &out);
                }
                Far::Server(_, None, _) => panic!("the proxy writes before it is connected"),
                Far::Miner(_) => self.send_miner(cord, &out),
            }
        }
    }

    fn send_miner(&mut self, cord: Cord, out: &[u8]) {
        for piece in self.split(out) {
            let delay_ms = self.draw_delay();
            let state = self.cords.get_mut(&cord).expect("it was just there");
            let at_ms = self.now_ms + state.latency_ms + delay_ms;
            state.to_miner_ms = state.to_miner_ms.max(at_ms);
            if !state.is_dead {
                let at_ms = state.to_miner_ms;
                self.agenda.add(at_ms, Happening::ToMiner(cord, piece));
            }
        }
    }

    /// A miner is to notice, after what is on its way to it, that its connection is gone.
    pub(crate) fn end_miners(&mut self, cord: Cord) {
        let state = &self.cords[&cord];
        let at_ms = state.to_miner_ms.max(self.now_ms + state.latency_ms);
        if !state.is_dead {
            self.agenda.add(at_ms, Happening::MinerGone(cord));
        }
    }

    /// Bytes of a miner come to the proxy.
    pub(crate) fn reach_proxy(&mut self, cord: Cord, bytes: &[u8]) {
        let tells_hosts = self.rigs.len();
        let Some(state) = self.cords.get_mut(&cord).filter(|cord| !cord.is_dead) else {
            return;
        };
        let Far::Miner(rig) = state.far else { return };
        if !state.proxy_open || state.boot != self.boot || self.gate.is_none() {
            // Nobody knows this connection: the machine answers with a reset.
            return self.end_miners(cord);
        }
        assert!(rig < tells_hosts);
        let conn = state.conn;
        let is_new = !std::mem::replace(&mut state.is_known, true);
        let gate = self.gate.as_mut().expect("it was just there");
        if is_new {
            let read = Read::Opened(arrival_of(rig));
            gate.driver.net.reads.push_back((conn, read));
        }
        for read in bytes.chunks(READ_BYTES) {
            let read = Read::Bytes(read.to_vec());
            gate.driver.net.reads.push_back((conn, read));
        }
        self.want_turn();
    }

    /// The proxy notices that a miner is gone.
    pub(crate) fn proxy_gone(&mut self, cord: Cord) {
        let Some(state) = self.cords.get(&cord).filter(|cord| cord.proxy_open) else {
            return;
        };
        let (conn, is_known, is_here) = (state.conn, state.is_known, state.boot == self.boot);
        self.end_proxys(cord);
        if let Some(gate) = self.gate.as_mut().filter(|_| is_here) {
            if is_known {
                gate.driver.net.reads.push_back((conn, Read::Gone));
            } else {
                gate.driver.net.forget(conn);
            }
            self.want_turn();
        }
    }

    /// A connection that the proxy dials comes to its server.
    pub(crate) fn dialed(&mut self, cord: Cord) {
        let tells_addresses = self.plan.tells_addresses;
        let Some(state) = self.cords.get_mut(&cord).filter(|cord| cord.proxy_open) else {
            return;
        };
        let Far::Server(place, _, rig) = state.far else {
            return;
        };
        let latency_ms = state.latency_ms;
        let world = &mut self.servers[place].world;
        world.now_ms = self.now_ms;
        let address = rig
            .filter(|_| tells_addresses)
            .map(|rig| arrival_of(rig).address);
        let conn = match world.is_over {
            true => None,
            false => world.take_cord(cord, address, latency_ms),
        };
        state.far = Far::Server(place, conn, rig);
        let happening = Happening::Taken(cord, conn.is_some());
        self.after(latency_ms, happening);
    }

    /// The proxy hears what became of a connection that it dialed.
    pub(crate) fn taken(&mut self, cord: Cord, is_taken: bool) {
        let state = &self.cords[&cord];
        if !state.proxy_open || state.boot != self.boot {
            return;
        }
        let conn = state.conn;
        let read = match is_taken {
            true => Read::Opened(arrival_of(0)),
            false => Read::Gone,
        };
        let Some(gate) = &mut self.gate else { return };
        gate.driver.net.reads.push_back((conn, read));
        if is_taken {
            let state = self.cords.get_mut(&cord).expect("it was just there");
            state.is_known = true;
        } else {
            self.end_proxys(cord);
        }
        self.want_turn();
    }

    /// Bytes of a server come to the proxy, or the end of the connection.
    pub(crate) fn hear_server(&mut self, cord: Cord, bytes: Option<Vec<u8>>) {
        let Some(state) = self.cords.get_mut(&cord).filter(|cord| cord.proxy_open) else {
            return;
        };
        if state.boot != self.boot {
            return;
        }
        let conn = state.conn;
        let Some(bytes) = bytes else {
            note!(
                self,
                "link      {cord} is gone: {:?}",
                self.cords[&cord].far
            );
            self.see_loss(cord);
            self.end_proxys(cord);
            if let Some(gate) = &mut self.gate {
                gate.driver.net.reads.push_back((conn, Read::Gone));
                self.want_turn();
            }
            return;
        };
        state.line.extend_from_slice(&bytes);
        while let Some(end) = state.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = state.line.drain(..=end).collect();
            let is_long = line.windows(13).any(|text| text == b"line too long");
            assert!(!is_long, "a server is sent a line that is too long");
            if let Some(job) = job_of(&line) {
                state.jobs.insert(job);
            }
        }
        if let Some(gate) = &mut self.gate {
            for read in bytes.chunks(READ_BYTES) {
                let read = Read::Bytes(read.to_vec());
                gate.driver.net.reads.push_back((conn, read));
            }
            self.want_turn();
        }
    }
}

/// Where a miner comes from: each has an address of its own.
pub(crate) fn arrival_of(rig: usize) -> Arrival {
    let host = u8::try_from(rig).expect("few miners");
    Arrival {
        address: [10, 0, 0, host].into(),
        kind: ArrivalKind::Miner,
        difficulty: Difficulty::new(1.0).expect("above 0"),
    }
}

/// The job of a notify.
fn job_of(line: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(line).ok()?;
    if said["method"] != "mining.notify" {
        return None;
    }
    said["params"][0].as_str().map(str::to_owned)
}
