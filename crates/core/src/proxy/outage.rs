//! Events that concern all miners at once: a server is lost, the assignment of miners to servers changes,
//! no server is left.

use std::collections::BTreeSet;

use crate::event::{Level, Listening};
use crate::limits::{JOBLESS_GRACE_MS, MOVES_SPREAD_MS, PROXY_TICK_MS};
use crate::plural::counted;
use crate::proxy::backend::Backend;
use crate::proxy::event::{BackendIndex, NoBackend, ProxyAction, ProxyActions};
use crate::proxy::state::Proxy;
use crate::units::{ConnId, Now};

impl Proxy {
    /// Handles the loss of a server: miners that are on it, on the way to it or in its queue go to
    /// others.
    pub(super) fn handle_lost(
        &mut self,
        now: Now,
        place: BackendIndex,
        since_ms: u64,
        out: &mut ProxyActions,
    ) {
        self.shared.backends[place].queue.clear();
        for conn in self.all_miners() {
            self.with(now, conn, out, |context, miner| {
                if miner.next.as_ref().is_some_and(|link| link.place == place) {
                    context.fail_next(miner);
                }
                if miner.queued == Some(place) {
                    miner.queued = None;
                    if miner.current.is_none() {
                        context.find_backend(miner);
                    }
                }
                if miner
                    .current
                    .as_ref()
                    .is_some_and(|link| link.place == place)
                {
                    context.lose_current(miner, since_ms);
                }
            });
        }
    }

    /// Starts a check of all miners: those not on the server they belong to are moved there, spread over
    /// [`MOVES_SPREAD_MS`]. Before every server has been probed, nothing is moved. Miners without a
    /// server look for one at once.
    pub(super) fn plan(&mut self, now: Now, out: &mut ProxyActions) {
        if self.shared.is_started {
            self.moves = self.all_miners().into();
        }
        let ticks = usize::try_from(MOVES_SPREAD_MS / PROXY_TICK_MS).expect("a small number");
        self.moves_per_tick = self.moves.len() / ticks + 1;
        let unsettled: BTreeSet<ConnId> = self.shared.unsettled.iter().copied().collect();
        for conn in unsettled {
            self.with(now, conn, out, |context, miner| {
                if miner.current.is_none() && miner.session.is_some() {
                    context.find_backend(miner);
                }
            });
        }
    }

    /// Makes the ports refuse miners when there has been no server for too long, so that they fail over
    /// to their next pool; the first server that is up again ends that.
    pub(super) fn check_backends(&mut self, now: Now, out: &mut ProxyActions) {
        let shared = &mut self.shared;
        if shared.backends.iter().any(Backend::is_there) {
            shared.alone_since_ms = None;
            if std::mem::take(&mut shared.is_refusing) {
                out.log(
                    Level::Info,
                    "a server is up: miners are accepted again".to_owned(),
                );
                out.push(ProxyAction::Listen(Listening::On));
            }
            return;
        }
        let since_ms = *shared.alone_since_ms.get_or_insert(now.ms);
        let patience_ms = match shared.config.no_backend {
            NoBackend::Wait(ms) => ms,
            NoBackend::Close if shared.is_started => 0,
            // A server that was not probed yet may be up.
            NoBackend::Close => JOBLESS_GRACE_MS,
        };
        if shared.is_refusing || shared.is_stopping || now.ms - since_ms < patience_ms {
            return;
        }
        shared.is_refusing = true;
        let miners = self.all_miners();
        let text = format!(
            "no server is up: {} are reset, and new connections are refused",
            counted(miners.len(), "miner")
        );
        out.log(Level::Warning, text);
        out.push(ProxyAction::Listen(Listening::Off));
        for conn in miners {
            self.with(now, conn, out, |context, miner| {
                context.reset(miner, "no server is there");
            });
        }
    }
}
