//! The chain shared by all nodes: blocks of other miners, and their spread between nodes.

use hstratum_core::units::{Hash, Height};

use crate::proxy_world::{LEAVE_MS, ProxyWorld, ProxyWorldEvent};
use crate::world::node::short;
use crate::world::note;
use crate::world::plan::{between, wait};

impl ProxyWorld {
    /// Lets another miner find a block, on the tip of one of the nodes.
    pub(crate) fn block(&mut self) {
        let is_late = self.now_ms + 20_000 > self.plan.faulty_ms + LEAVE_MS;
        if is_late {
            return;
        }
        let delay_ms = match self.rests {
            true => self.plan.block_ms,
            false => wait(&mut self.rngs.chain, self.plan.block_ms as f64),
        };
        self.after(delay_ms, ProxyWorldEvent::Block);
        let connected = (0..self.servers.len()).filter(|&place| !self.is_isolated(place));
        let connected: Vec<usize> = connected.collect();
        if connected.is_empty() {
            return;
        }
        let place = connected[self.rngs.chain.usize(..connected.len())];
        let prev = self.servers[place].world.chain.tip();
        self.blocks_made += 1;
        let hash = Hash::blake2b(&[&prev.0, b"others", &self.blocks_made.to_le_bytes()]);
        self.learn(place, &[(hash, prev)]);
    }

    fn is_isolated(&self, place: usize) -> bool {
        self.now_ms < self.servers[place].isolated_until_ms
    }

    /// Adds blocks to a node, the oldest first.
    fn learn(&mut self, place: usize, blocks: &[(Hash, Hash)]) {
        let world = &mut self.servers[place].world;
        if world.is_over {
            return;
        }
        world.now_ms = self.now_ms;
        let before = world.chain.tip();
        for (hash, prev) in blocks {
            world.chain.insert(*hash, *prev);
        }
        if world.chain.tip() != before {
            world.say_tip();
        }
        self.spread_tip(place);
    }

    /// Announces a node's tip to the others, if it has changed.
    pub(crate) fn spread_tip(&mut self, place: usize) {
        let server = &mut self.servers[place];
        let (tip, height) = (server.world.chain.tip(), server.world.chain.tip_height());
        if std::mem::replace(&mut server.spread, tip) == tip {
            return;
        }
        if height > self.best.0 {
            self.best = (height, self.now_ms);
            note!(self, "chain     {} {} at s{place}", height.0, short(&tip));
        }
        let isolated_until_ms = server.isolated_until_ms;
        for other in 0..self.servers.len() {
            if other != place {
                let delay_ms = between(&mut self.rngs.chain, 20, 2_000);
                let until_ms = isolated_until_ms.max(self.servers[other].isolated_until_ms);
                let at_ms = self.now_ms.max(until_ms) + delay_ms;
                self.event_queue
                    .add(at_ms, ProxyWorldEvent::Gossip(other, tip));
            }
        }
    }

    /// Makes a node hear of a block; it also gets the blocks before it that it lacks.
    pub(crate) fn gossip(&mut self, place: usize, hash: Hash) {
        if self.is_isolated(place) {
            let at_ms = self.servers[place].isolated_until_ms;
            return self
                .event_queue
                .add(at_ms, ProxyWorldEvent::Gossip(place, hash));
        }
        let mut missing = Vec::new();
        let mut at = hash;
        while !self.servers[place].world.chain.has(&at) {
            let Some(prev) = self.parent_of(&at) else {
                // A power cut took it from the only node that had it.
                return;
            };
            missing.push((at, prev));
            at = prev;
        }
        missing.reverse();
        self.learn(place, &missing);
    }

    fn parent_of(&self, hash: &Hash) -> Option<Hash> {
        let mut servers = self.servers.iter();
        servers.find_map(|server| server.world.chain.parent_of(hash))
    }

    /// The height of a block that any node knows or knew.
    pub(crate) fn height_of(&self, hash: &Hash) -> Option<Height> {
        let mut servers = self.servers.iter();
        servers.find_map(|server| server.world.chain.height_of(hash))
    }
}
