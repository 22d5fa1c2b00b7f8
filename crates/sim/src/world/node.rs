//! The simulated node: templates, verdicts and positions of blocks from a tree of blocks; with stalls,
//! bursts of templates, refusals and reorganizations.

use std::sync::Arc;

use hstratum::node::{BlockQuery, Look};
use hstratum::store::ledger::BlockChange;
use hstratum_core::accounting::ledger::{ChainView, Tip, Verdict};
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::units::{Hash, Height};
use hstratum_harness::templates::TemplateStock;

use crate::miner::job::bits_of;
use crate::world::injected_bug::InjectedBug;
use crate::world::plan::{between, happens, wait};
use crate::world::{BlockOffer, ChainIs, NodeFate, SimNodeMail, World, WorldEvent, note};

/// Most transactions of a template that is used: enough for merkle branches, few enough to be fast.
const TRANSACTIONS_MAX: usize = 7;

/// State of the node.
pub(crate) struct SimNode {
    stocks: Vec<TemplateStock>,
    bits: u32,
    /// Count of templates made, and number of the latest one requested.
    template: u64,
    wanted: u64,
    /// Time before which there is no template.
    stalled_until_ms: u64,
    /// Time of the latest message, so that messages arrive in order.
    says_at_ms: u64,
    /// Time until which it reports that it is not synchronized, and time at which it has its whole chain
    /// again.
    synced_at_ms: u64,
    whole_at_ms: u64,
    /// Height of its chain at the last look, and count of looks.
    looked_at: Height,
    looks: u64,
}

impl SimNode {
    pub(crate) fn new(hashes_per_block: f64) -> Self {
        let stocks = TemplateStock::all().into_iter();
        let stocks = stocks.filter(|stock| stock.transactions() <= TRANSACTIONS_MAX);
        Self {
            stocks: stocks.collect(),
            bits: bits_of(hashes_per_block),
            template: 0,
            wanted: 0,
            stalled_until_ms: 0,
            says_at_ms: 0,
            synced_at_ms: 0,
            whole_at_ms: 0,
            looked_at: Height(0),
            looks: 0,
        }
    }
}

impl World {
    /// Sends a message to the server, which arrives a moment later, in order.
    fn say(&mut self, mail: SimNodeMail) {
        let at_ms = self.now_ms + self.rngs.node.u64(0..3);
        self.node.says_at_ms = self.node.says_at_ms.max(at_ms);
        let (at_ms, boot) = (self.node.says_at_ms, self.boot);
        if self.process.is_some() {
            self.event_queue
                .add(at_ms, WorldEvent::NodeSays(boot, mail));
        }
    }

    /// Reports a new tip to the server, followed by a template.
    pub(crate) fn say_tip(&mut self) {
        let (tip, height) = (self.chain.tip(), self.chain.tip_height());
        note!(self, "node      tip {} {}", height.0, short(&tip));
        self.say(SimNodeMail::Tip(tip, height));
        let usual_ms = self.rngs.node.u64(1..40);
        let delay_ms = if happens(&mut self.rngs.node, self.faults.slow_template) {
            self.inject("slow template");
            between(&mut self.rngs.node, 500, 14_000)
        } else {
            usual_ms
        };
        self.want_template(delay_ms);
    }

    fn want_template(&mut self, delay_ms: u64) {
        if self.process.is_none() {
            return;
        }
        self.node.wanted += 1;
        let number = self.node.wanted;
        let at_ms = (self.now_ms + delay_ms).max(self.node.stalled_until_ms);
        self.event_queue
            .add(at_ms, WorldEvent::Template(self.boot, number));
    }

    pub(crate) fn make_template(&mut self, number: u64) {
        if number != self.node.wanted || self.now_ms < self.node.stalled_until_ms {
            return;
        }
        self.node.template += 1;
        let id = self.node.template;
        let (tip, height) = (self.chain.tip(), Height(self.chain.tip_height().0 + 1));
        let stock = self.rngs.node.usize(..self.node.stocks.len());
        let stock = &self.node.stocks[stock];
        // Its earliest time is the chain's, whatever this machine's clock shows.
        let time_min = self.true_s() - 600;
        let parts = TemplateParts {
            time: self.now().unix_s.max(time_min),
            time_max: u32::MAX.into(),
            ..stock.parts(id, self.node.bits, (tip, height), time_min)
        };
        let count = stock.transactions();
        self.say(SimNodeMail::Template(Box::new(parts)));
        if count > 0 {
            let bytes: Arc<[u8]> = vec![0xee; count * 100].into();
            let delay_ms = between(&mut self.rngs.node, 1, 3_000);
            let says = WorldEvent::NodeSays(self.boot, SimNodeMail::Transactions(id, bytes));
            self.after(delay_ms.max(5), says);
        }
    }

    pub(crate) fn refresh(&mut self) {
        self.want_template(0);
        let delay_ms = self.rngs.node.u64(30_000..90_000);
        self.after(delay_ms, WorldEvent::Refresh);
    }

    /// Starts sending after the process has started.
    pub(crate) fn start_node(&mut self) {
        self.node.says_at_ms = self.now_ms;
        self.node.stalled_until_ms = 0;
        self.say_tip();
    }

    pub(crate) fn no_template(&mut self) {
        let for_ms = between(&mut self.rngs.node, 2_000, 60_000);
        self.node.stalled_until_ms = self.now_ms + for_ms;
        self.trouble_until(self.node.stalled_until_ms);
        note!(self, "node      no template for {for_ms} ms");
        if self.rngs.node.bool() {
            self.say(SimNodeMail::NoTemplate("simulated: no peers".to_owned()));
        }
        self.want_template(for_ms);
    }

    pub(crate) fn template_storm(&mut self) {
        let count = self.rngs.node.u64(5..40);
        note!(self, "node      {count} templates in a row");
        for n in 0..count {
            // Each one is requested with a number of its own, and made at once.
            self.node.wanted += 1;
            let number = self.node.wanted;
            let _ = n;
            self.make_template(number);
        }
    }

    pub(crate) fn others_block(&mut self) {
        if self.now_ms > self.rest_until_ms || self.chain_is == ChainIs::Shared {
            return;
        }
        let tip = self.chain.tip();
        self.chain.invent(tip);
        self.say_tip();
        let delay_ms = wait(&mut self.rngs.chain, self.plan.block_ms as f64);
        self.after(delay_ms, WorldEvent::OthersBlock);
    }

    /// Makes a branch from up to four blocks below the tip longer than the main chain; perhaps the old
    /// branch becomes longer again later.
    pub(crate) fn reorganise(&mut self) {
        if self.is_healed() {
            return;
        }
        let depth = self.rngs.chain.u32(1..5);
        let old = self.chain.tip();
        if let Some(mut at) = self.chain.below_tip(depth) {
            self.inject("reorganisation");
            note!(self, "node      reorganisation {depth} deep");
            for _ in 0..=depth {
                at = self.chain.invent(at);
            }
            self.say_tip();
            if self.rngs.chain.bool() {
                let delay_ms = between(&mut self.rngs.chain, 10, 600_000);
                self.after(delay_ms, WorldEvent::Back(old));
            }
        }
        if let Some(mean_ms) = self.faults.reorganise_ms {
            let delay_ms = wait(&mut self.rngs.chain, mean_ms as f64);
            self.after(delay_ms, WorldEvent::Reorganise);
        }
    }

    pub(crate) fn go_back(&mut self, old: Hash) {
        if self.is_healed() || !self.chain.has(&old) || self.chain.is_main(&old) {
            return;
        }
        self.inject("reorganisation back");
        note!(self, "node      back to the branch of {}", short(&old));
        let mut at = old;
        while !self.chain.is_main(&old) {
            at = self.chain.invent(at);
        }
        self.say_tip();
    }

    /// Delivers a block from peers that the node has lost or never had.
    pub(crate) fn peers_send(&mut self, hash: Hash, prev: Hash) {
        if self.process.is_none() {
            return self.after(1_000, WorldEvent::PeersSend(hash, prev));
        }
        if !self.chain.has(&prev) && !self.is_over && self.now_ms < self.rest_until_ms {
            // Its parent must come first.
            return self.after(1_000, WorldEvent::PeersSend(hash, prev));
        }
        if !self.chain.has(&hash) && self.chain.has(&prev) {
            note!(self, "node      {} from peers", short(&hash));
            if self.chain.insert(hash, prev) {
                self.say_tip();
            }
        }
    }

    pub(crate) fn take_offer(&mut self, offer: BlockOffer) {
        let found = self.oracle.blocks.get_mut(&offer.hash);
        found.expect("a block that was found").reached_node = true;
        let faults = &self.faults;
        let rng = &mut self.rngs.node;
        let fate = if happens(rng, faults.refusal) {
            NodeFate::Refuses
        } else if happens(rng, faults.unknown_verdict) {
            [NodeFate::Forgets, NodeFate::ForgetsAfter][rng.usize(..2)]
        } else {
            NodeFate::Judges
        };
        let mut delay_ms = between(rng, 2, 300);
        if happens(rng, faults.slow_verdict) {
            delay_ms = between(rng, 1_000, 120_000);
            self.inject("slow verdict");
        }
        match fate {
            NodeFate::Judges => {}
            NodeFate::Refuses => self.inject("refusal"),
            NodeFate::Forgets | NodeFate::ForgetsAfter => self.inject("unknown verdict"),
        }
        self.after(delay_ms, WorldEvent::Judge(self.boot, offer, fate));
    }

    pub(crate) fn judge(&mut self, offer: BlockOffer, fate: NodeFate) {
        let BlockOffer { hash, prev } = offer;
        let is_known = self.chain.has(&hash);
        let takes = !is_known
            && self.chain.has(&prev)
            && matches!(fate, NodeFate::Judges | NodeFate::ForgetsAfter);
        if takes && self.chain.insert(hash, prev) {
            self.say_tip();
        }
        let verdict = match fate {
            NodeFate::Forgets | NodeFate::ForgetsAfter => Verdict::Unknown("simulated".to_owned()),
            _ if self.chain.is_main(&hash) => Verdict::Accepted,
            _ if is_known => Verdict::Side,
            NodeFate::Refuses => Verdict::Refused("simulated".to_owned()),
            NodeFate::Judges if takes => Verdict::Side,
            NodeFate::Judges => Verdict::Unknown("its parent is unknown".to_owned()),
        };
        note!(self, "node      verdict on {}: {verdict:?}", short(&hash));
        let found = self.oracle.blocks.get_mut(&hash).expect("found");
        // A block offered again by a new pool may be refused once and accepted once: the server keeps the
        // first verdict.
        if !matches!(found.verdict, Some(Verdict::Refused(_))) {
            found.verdict = Some(verdict.clone());
        }
        self.say(SimNodeMail::BlockResult(hash, verdict));
    }

    /// Handles the server's request for the positions of its blocks.
    pub(crate) fn ask_where(&mut self, asked: Vec<BlockQuery>) {
        if happens(&mut self.rngs.node, self.faults.lost_locate) {
            return self.inject("lost locate");
        }
        let delay_ms = between(&mut self.rngs.node, 1, 400);
        self.after(delay_ms, WorldEvent::Locate(self.boot, asked));
    }

    /// Answers that request. The work of a chain is its height in the simulator.
    pub(crate) fn answer_where(&mut self, asked: &[BlockQuery]) {
        let height = self.chain.tip_height();
        let mut view = ChainView {
            tip: Tip {
                height,
                hash: self.chain.tip(),
                work: u64::from(height.0).into(),
            },
            is_synced: self.now_ms >= self.node.synced_at_ms,
        };
        let place = |(hash, height): &BlockQuery| (*hash, self.chain.at(*height));
        let mut places: Vec<_> = asked.iter().map(place).collect();
        if self.injected_bug == Some(InjectedBug::JudgedWithoutEvidence) {
            // The injected bug of ignoring how much of the chain the node knows.
            self.node.looks += 1;
            view.tip.work = (u64::MAX / 2 + self.node.looks).into();
            view.is_synced = true;
            for (_, there) in &mut places {
                *there = there.or(Some(Hash::ZERO));
            }
        }
        self.node.looked_at = height;
        self.say(SimNodeMail::Located(Look { view, places }));
    }

    /// Checks a change of a block's state that follows from the node's chain: the node must have known
    /// everything that the ledger was ever shown.
    pub(crate) fn check_judged(&self, change: &BlockChange) {
        let (knew, shown) = (self.node.looked_at, self.disk.shown);
        assert!(
            knew >= shown,
            "{:?} by a node that knows less than the ledger was shown: {} of {}, {}",
            change.to,
            knew.0,
            shown.0,
            change.hash
        );
    }

    /// Makes the node lose its chain, whole or in part, and download it again, quickly or slowly.
    /// Meanwhile it reports that it is not synchronized, or continues on the blocks it has, as a node of
    /// regtest does.
    pub(crate) fn lose_chain(&mut self) {
        if self.is_healed() {
            return;
        }
        if let Some(mean_ms) = self.faults.lost_chain_ms {
            let delay_ms = wait(&mut self.rngs.chain, mean_ms as f64);
            self.after(delay_ms, WorldEvent::LoseChain);
        }
        if self.process.is_none() || self.now_ms < self.node.whole_at_ms {
            return;
        }
        let depth = match self.rngs.chain.bool() {
            true => u32::MAX,
            false => self.rngs.chain.u32(1..150),
        };
        let gone = self.chain.wind_back(depth);
        self.inject("lost chain");
        let left_ms = self.plan.faulty_ms - self.now_ms;
        let for_ms = between(&mut self.rngs.chain, 5_000, 1_500_000).min(left_ms);
        let admits = self.rngs.chain.bool();
        note!(
            self,
            "node      {} blocks lost, back in {for_ms} ms, {}",
            gone.len(),
            if admits {
                "not synchronized"
            } else {
                "and goes on"
            }
        );
        self.node.whole_at_ms = self.now_ms + for_ms;
        // No blocks come for a while, then they come fast.
        let begin_ms = self.rngs.chain.u64(0..=for_ms);
        let step_ms = (for_ms - begin_ms) as f64 / (gone.len() + 1) as f64;
        for (n, (hash, prev)) in gone.into_iter().enumerate() {
            let delay_ms = begin_ms + ((n + 1) as f64 * step_ms) as u64;
            self.after(delay_ms, WorldEvent::PeersSend(hash, prev));
        }
        if admits {
            self.node.synced_at_ms = self.node.whole_at_ms;
            self.node.stalled_until_ms = self.node.whole_at_ms;
            self.trouble_until(self.node.whole_at_ms);
            self.say(SimNodeMail::NoTemplate("node is not synced".to_owned()));
        }
        self.say_tip();
    }
}

/// The last digits of a hash, enough to tell it from others.
pub(crate) fn short(hash: &Hash) -> String {
    let text = hash.to_string();
    text[text.len() - 8..].to_owned()
}
