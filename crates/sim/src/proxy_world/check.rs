//! The invariants of the proxy: no miner is dropped while a server is well, every miner has current work,
//! every reject has a reason, every request is answered, and nothing is kept of miners that have left.

use crate::miner::{Pending, Submitted};
use crate::proxy_world::fault::NO_CORD;
use crate::proxy_world::proxy_process::PATIENCE_MS;
use crate::proxy_world::{ProxyWorld, ProxyWorldEvent, RECOVERED_MS, link};
use crate::server::net::{ConnPeer, LinkId};
use crate::world::memory_check::READ_BYTES;
use crate::world::note;

/// Time for which a server must have been well before dropping a miner is an error: the proxy needs it to
/// notice that, and to log in.
const WELL_MS: u64 = PATIENCE_MS + 15_000;
/// Time within which the proxy must notice that a server is gone.
const NOTICE_MS: u64 = 10_000;
/// Longest time for which an honest miner may be without the newest work that a server has.
const STARVED_MS: u64 = 60_000;
/// Longest time until an answer: a locked ledger, or a connection that is dead without notice, delays it.
const ANSWER_MS: u64 = 150_000;
/// Connections to servers that a miner may lose in a minute, see `SERVER_LOSSES_MAX`.
const LOSSES_MAX: usize = 8;
/// Time that a job may take to arrive.
const DELIVERY_MS: u64 = 15_000;
/// Templates after which a job is too old, and jobs of a connection that a proxy remembers.
const TEMPLATES_MAX: usize = 32;
const JOBS_MAX: usize = 60;

impl ProxyWorld {
    /// Updates the times since which a server is well (takes miners and has work for them) or gone.
    pub(crate) fn see_server(&mut self, place: usize) {
        let server = &mut self.servers[place];
        let world = &server.world;
        let process = world.process.as_ref();
        let is_up = process.is_some_and(|process| {
            process.is_listening && process.pool.is_some() && process.stopping.is_none()
        });
        let tip = world.told.back().map(|(_, tip)| *tip);
        let has_job = world.job_on.is_some_and(|(_, prev)| Some(prev) == tip);
        let is_frozen = self.now_ms < server.frozen_until_ms;
        let is_known = self.now_ms >= server.unknown_until_ms;
        let is_well = is_up && has_job && is_known && !is_frozen && !world.is_over;
        let is_gone = !is_up || is_frozen || world.is_over;
        server.gone_since_ms = match is_gone {
            true => server.gone_since_ms.or(Some(self.now_ms)),
            false => None,
        };
        server.well_since_ms = match (is_well, server.well_since_ms) {
            (true, None) => Some(self.now_ms),
            (true, since_ms) => since_ms,
            (false, _) => None,
        };
    }

    /// Time for which the server that has been well for longest has been so.
    fn well_ms(&self) -> u64 {
        let since = self
            .servers
            .iter()
            .filter_map(|server| server.well_since_ms);
        since.min().map_or(0, |since_ms| self.now_ms - since_ms)
    }

    /// Checks that miners are accepted while a server is well, and refused when none has been there for
    /// long.
    pub(crate) fn check_door(&self) {
        let Some(proxy_process) = &self.proxy_process else {
            return;
        };
        let is_taken = proxy_process.is_listening;
        assert!(
            is_taken || self.well_ms() < WELL_MS,
            "miners are refused while a server is well"
        );
        let gone = self.servers.iter().map(|server| server.gone_since_ms);
        // `None` as soon as one is there.
        let gone: Option<Vec<u64>> = gone.collect();
        let since_ms = gone.and_then(|gone| gone.into_iter().max());
        let gone_ms = since_ms.map_or(0, |ms| self.now_ms - ms.max(self.door_since_ms));
        assert!(
            !is_taken || gone_ms < PATIENCE_MS + NOTICE_MS,
            "miners are taken though no server has been there for {gone_ms} ms"
        );
    }

    /// Records that a miner's server has ended its connection.
    pub(crate) fn see_loss(&mut self, link: LinkId) {
        if let link::LinkPeer::Server(_, _, Some(rig)) = self.links[&link].peer {
            let now_ms = self.now_ms;
            let losses = &mut self.rigs[rig].losses;
            losses.retain(|at_ms| at_ms + 60_000 > now_ms);
            losses.push(now_ms);
        }
    }

    /// Checks that the proxy may close a miner's connection.
    pub(crate) fn check_drop(&self, rig: usize, link: LinkId) {
        let one = &self.rigs[rig];
        let is_its = one.link == Some(link);
        let is_new = self.now_ms - one.miner.since_ms < WELL_MS;
        let is_excused = one.losses.len() >= LOSSES_MAX || is_new || self.is_held(rig);
        let is_good = is_its && one.miner.is_honest() && !is_excused;
        assert!(
            !is_good || self.well_ms() < WELL_MS,
            "an honest miner is dropped while a server is well: {:?}",
            one.miner.plan
        );
    }

    /// True if a server still has a session with the miner's extranonce1, which no other connection gets
    /// there: because the proxy's old connection died without notice, or because a stranger has the
    /// session, or had it on a connection that died so.
    fn is_held(&self, rig: usize) -> bool {
        let own = self.rigs[rig].miner.extra_nonce1;
        let mut squatters = self.squatters.iter();
        if squatters.any(|one| Some(one.extra_nonce1) == own) {
            return true;
        }
        self.servers.iter().any(|server| {
            let wires = server.world.net.wires.values();
            wires.filter(|wire| wire.server_open).any(|wire| {
                let ConnPeer::Proxy(link, _) = wire.peer else {
                    return false;
                };
                if link == NO_CORD && wire.is_dead {
                    return true;
                }
                let left = self.links.get(&link).filter(|link| link.is_of(rig));
                let left_ms = left.and_then(|link| link.closed_ms);
                left_ms.is_some_and(|at_ms| at_ms + 1_000 < self.now_ms)
            })
        })
    }

    /// Checks that a job sent to a miner comes from a server that it has a connection to.
    pub(crate) fn check_job(&self, rig: usize, job: &str) {
        let mut links = self.links.values();
        let is_given =
            links.any(|link| link.is_servers() && link.is_of(rig) && link.jobs.contains(job));
        assert!(is_given, "no server of miner {rig} has given {job}");
    }

    /// Checks a reject of a share: it is late, its server was lost, or a ledger fails; no other reason is
    /// allowed.
    pub(crate) fn check_refusal(
        &self,
        rig: usize,
        pending: &Pending,
        submitted: &Submitted,
        code: i64,
        text: &str,
    ) {
        let says = format!("miner {rig}: {code} {text} for {submitted:?}");
        let place = self.shares.place_of(&submitted.hash);
        match (code, place) {
            (21, _) if self.has_left(rig, submitted) => {}
            (21, Some(place)) => {
                let world = &self.servers[place].world;
                let told = world.told.back();
                let is_on_tip = told.is_some_and(|(at_ms, tip)| {
                    *tip == submitted.prev && *at_ms <= pending.sent_ms
                });
                let templates = world.templates_told.iter();
                let since_ms = submitted.job_ms.saturating_sub(DELIVERY_MS);
                let templates = templates.filter(|at_ms| **at_ms >= since_ms).count();
                let is_old = templates >= TEMPLATES_MAX || submitted.is_again;
                assert!(!is_on_tip || is_old, "{says}");
            }
            (20, Some(place)) => {
                let is_excused = self.servers[place].world.is_ledger_excused(pending.sent_ms);
                let is_hang = self.servers[place].world.thawed_ms + DELIVERY_MS > pending.sent_ms;
                let is_excused = text == "ledger unavailable" && is_excused
                    || text.starts_with("time too") && is_hang;
                assert!(is_excused, "{says}");
            }
            (22, Some(_)) => assert!(submitted.is_again, "{says}"),
            (23, Some(_)) => assert!(!submitted.is_valid && submitted.is_late, "{says}"),
            _ => panic!("{says} at {place:?}"),
        }
    }

    /// True if the proxy has closed the connection that the share's job came over, or cannot remember the
    /// job any more.
    fn has_left(&self, rig: usize, submitted: &Submitted) -> bool {
        let jobs = self.rigs[rig].miner.jobs.iter();
        let mut jobs = jobs.filter(|job| job.received_ms == submitted.job_ms);
        let Some(job) = jobs.next() else { return true };
        let mut links = self.links.values();
        let link = links
            .find(|link| link.is_servers() && link.is_of(rig) && link.jobs.contains(&job.read.id));
        link.is_none_or(|link| !link.is_open() || link.jobs.len() > JOBS_MAX)
    }

    /// Checks that every miner has work and every request is answered in time.
    pub(crate) fn survey(&mut self) {
        self.forget_links();
        let well_ms = self.best_ms();
        for rig in 0..self.rigs.len() {
            if self.has_work(rig) || self.is_cut_off(rig) {
                self.rigs[rig].worked_ms = self.now_ms;
            }
            self.check_miner(rig, well_ms);
        }
        self.after(5_000, ProxyWorldEvent::Survey);
    }

    /// True if a miner's connection to its server is dead, and the proxy has yet to notice.
    fn is_cut_off(&self, rig: usize) -> bool {
        let mut wires = self
            .servers
            .iter()
            .flat_map(|server| server.world.net.wires.values());
        wires.any(|wire| {
            let ConnPeer::Proxy(link, _) = wire.peer else {
                return false;
            };
            let link = self.links.get(&link);
            wire.is_dead && link.is_some_and(|link| link.is_of(rig) && link.proxy_open)
        })
    }

    /// Time for which a server that has work on the best chain has been well.
    fn best_ms(&self) -> u64 {
        let (height, at_ms) = self.best;
        let best = self.servers.iter().filter(|server| {
            let told = server
                .world
                .job_on
                .and_then(|(_, prev)| self.height_of(&prev));
            told == Some(height)
        });
        let since = best.filter_map(|server| server.well_since_ms).min();
        let since_ms = since.map(|since_ms| since_ms.max(at_ms).max(self.proxy_since_ms));
        since_ms.map_or(0, |since_ms| self.now_ms - since_ms)
    }

    fn check_miner(&self, rig: usize, well_ms: u64) {
        let one = &self.rigs[rig];
        let Some(link) = one.link.and_then(|link| self.links.get(&link)) else {
            return;
        };
        if !one.miner.is_honest() || link.is_dead || !link.proxy_open {
            return;
        }
        if let Some(pending) = self.oldest(rig) {
            // A share is answered once it is on the disk, and later requests after it.
            let servers = self.servers.iter();
            let hung_ms = servers.map(|server| server.world.disk.hung_until_ms).max();
            let since_ms = hung_ms.map_or(pending.sent_ms, |at_ms| at_ms.max(pending.sent_ms));
            assert!(
                self.now_ms.saturating_sub(since_ms) < ANSWER_MS,
                "a request of miner {rig} is not answered: {pending:?}"
            );
        }
        let since_ms = one.worked_ms.max(one.miner.since_ms);
        let quiet_ms = well_ms.min(self.now_ms - since_ms);
        assert!(
            quiet_ms < STARVED_MS,
            "miner {rig} has no current work for {quiet_ms} ms: {:?}, job {:?}",
            one.miner.plan,
            one.miner
                .jobs
                .back()
                .map(|job| (&job.read.id, job.read.prev_block))
        );
    }

    /// True if a miner works on the best chain.
    fn has_work(&self, rig: usize) -> bool {
        let job = self.rigs[rig].miner.job();
        job.is_some_and(|job| job.height.0 > self.best.0.0)
    }

    /// Checks, a while after the last fault, that every miner works on the best chain.
    pub(crate) fn check_recovered(&self) {
        assert!(self.now_ms >= self.plan.faulty_ms + RECOVERED_MS);
        assert!(self.proxy_process.is_some(), "the proxy runs");
        for (place, server) in self.servers.iter().enumerate() {
            let is_well = server
                .well_since_ms
                .is_some_and(|ms| ms + WELL_MS < self.now_ms);
            assert!(
                !is_well || self.is_up(place),
                "the proxy does not know that s{place} is well"
            );
        }
        let is_told = self.now_ms - self.best.1 < 10_000;
        for (rig, one) in self.rigs.iter().enumerate() {
            let is_fresh = self.now_ms - one.miner.since_ms < 10_000;
            if one.miner.is_honest() && !is_fresh && !is_told {
                assert!(
                    self.has_work(rig),
                    "miner {rig} has no work after all healed: {:?}",
                    one.miner.plan
                );
            }
        }
    }

    /// Checks the proxy's counts against their limits.
    pub(crate) fn check_memory(&mut self) {
        if !self.step.is_multiple_of(64) {
            return;
        }
        let Some(proxy_process) = &self.proxy_process else {
            return;
        };
        for size in proxy_process.driver.proxy().sizes(READ_BYTES) {
            assert!(size.count <= size.limit, "the proxy grows: {size:?}");
            let most = self.largest.entry(size.what).or_default();
            *most = size.count.max(*most);
        }
    }

    /// Makes every miner disconnect; an honest one must have no open requests.
    pub(crate) fn leave(&mut self) {
        note!(self, "leave     everybody hangs up");
        for rig in 0..self.rigs.len() {
            let miner = &mut self.rigs[rig].miner;
            let left = miner.pending.len();
            assert!(
                left == 0 || !miner.is_honest(),
                "{left} requests of {rig} unanswered"
            );
            miner.retires = true;
            self.hang_up(rig);
        }
    }

    /// Checks that nothing is kept of miners that have left, and ends the proxy.
    pub(crate) fn close(&mut self) {
        let proxy_process = self.proxy_process.as_ref().expect("the proxy runs");
        for size in proxy_process.driver.proxy().sizes(READ_BYTES) {
            // The probes' connections stay.
            let is_probes = size.what == "connections" && size.count <= size.limit;
            let is_free = size.count == 0 || size.what == "offenders" || is_probes;
            assert!(is_free, "kept after everybody has left: {size:?}");
        }
        note!(self, "end");
        self.end_proxy_process();
    }
}
