//! Takeover of the miners by another process; connections of miners ended by a server.

use super::*;

impl ProxyHarness {
    /// Lets another process take over the miners, from their serialized state.
    pub(crate) fn hand_over(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        self.proxy.freeze(self.now, &mut actions);
        actions.drain(|action, bytes| self.perform(action, bytes));
        let miners: Vec<_> = self
            .proxy
            .hand_over()
            .map(|(conn, link, state)| {
                let text = serde_json::to_string(&state).expect("plain data");
                (conn, link, serde_json::from_str(&text).expect("the same"))
            })
            .collect();
        // The old process and its probes are gone.
        let kept: Vec<ConnId> = miners.iter().filter_map(|(_, link, _)| *link).collect();
        for conn in self.links.keys().copied().collect::<Vec<_>>() {
            if !kept.contains(&conn) {
                self.perform(ProxyAction::Close(conn, CloseHow::Reset), &[]);
            }
        }
        self.proxy = Proxy::new(self.config.clone(), self.now);
        for test_miner in &mut self.miners {
            test_miner.is_paused = false;
        }
        self.actions = actions;
        for (conn, link, state) in miners {
            let mut actions = std::mem::take(&mut self.actions);
            let from = (conn, arrival());
            let is_taken = self
                .proxy
                .take_over(self.now, from, link, state, &mut actions);
            assert!(is_taken, "it was written by the same program");
            self.perform_all(actions);
        }
    }

    /// Makes a server close each miner's connection, but none of the proxy's own.
    pub(crate) fn cut(&mut self, server: usize) {
        for conn in self.links_of(server) {
            self.wires.push_back(InTransit::ClosedToProxy(conn));
            self.wires
                .push_back(InTransit::ClosedToServer(server, conn));
        }
    }

    pub(super) fn links_of(&self, server: usize) -> Vec<ConnId> {
        let probe = self.probes.get(&server);
        let links = self.links.iter();
        let links = links.filter(|(conn, place)| **place == server && Some(*conn) != probe);
        links.map(|(conn, _)| *conn).collect()
    }
}
