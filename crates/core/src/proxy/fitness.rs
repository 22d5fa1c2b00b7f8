//! Decides if a server that answers is fit for miners, and applies the operator's drains.

use crate::event::Level;
use crate::limits::{DOWN_MS_MAX, NONSENSE_MAX, PROBES_GOOD, RETRY_MS, UNFIT_MS};
use crate::proxy::backend::{Backend, BackendChange, BackendState};
use crate::proxy::event::{BackendDrain, BackendIndex, ProxyActions};
use crate::proxy::state::ProxyShared;
use crate::units::Now;

impl ProxyShared {
    /// Decides from a probe's answer if the server is up or unfit.
    pub(super) fn update_fitness(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        let is_last = !self.backends.iter().any(Backend::is_open);
        let heights = self.backends.iter().filter(|backend| backend.is_alive());
        let highest = heights.filter_map(|backend| backend.height).max();
        let backend = &mut self.backends[place];
        let wrong = match (backend.height, highest) {
            _ if backend.is_leaving => Some("it is about to stop"),
            _ if !backend.knows_hello => None,
            (None, _) => Some("it has no job"),
            (Some(own), Some(highest)) if own < highest => Some("it is behind the others"),
            _ => None,
        };
        let since_ms = match wrong {
            Some(_) => *backend.unfit_since_ms.get_or_insert(now.ms),
            None => {
                backend.unfit_since_ms = None;
                now.ms
            }
        };
        let state = match (backend.state, wrong) {
            (BackendState::Starting, None) => BackendState::Up,
            (BackendState::Down(_), None) if backend.good_probes >= PROBES_GOOD => {
                // The waiting time is skipped if no other server takes miners.
                if now.ms < backend.down_until_ms && !is_last {
                    return;
                }
                BackendState::Up
            }
            (BackendState::Unfit(_), None) => BackendState::Up,
            // A server unfit since the start counts as well, or its state would stay unknown.
            (BackendState::Up | BackendState::Starting, Some(wrong))
                if backend.is_leaving || now.ms - since_ms >= UNFIT_MS =>
            {
                BackendState::Unfit(wrong)
            }
            (unchanged, _) => unchanged,
        };
        if state == backend.state {
            return;
        }
        backend.state = state;
        let name = &backend.name;
        match state {
            BackendState::Unfit(why) => {
                let text = format!("server {name} is unfit: {why}; its miners move away");
                out.log(Level::Warning, text);
            }
            _ => out.log(Level::Info, format!("server {name} is up")),
        }
        self.changes.push(BackendChange::Replan);
    }

    /// Drains a server, or ends its drain.
    pub(crate) fn set_drain(
        &mut self,
        place: BackendIndex,
        drain: BackendDrain,
        out: &mut ProxyActions,
    ) {
        let backend = &mut self.backends[place];
        if backend.drain != drain {
            backend.drain = drain;
            let name = &backend.name;
            let text = match drain {
                BackendDrain::Out => format!("server {name} is drained: its miners move away"),
                BackendDrain::In => format!("server {name} takes miners again"),
            };
            out.log(Level::Info, text);
            self.changes.push(BackendChange::Replan);
        }
    }

    /// Notes that a connection to a server could not even be started: for a while none is tried, and
    /// miners in its queue look for another server.
    pub(crate) fn cannot_dial(&mut self, place: BackendIndex, now: Now) {
        let backend = &mut self.backends[place];
        backend.dial_from_ms = now.ms + RETRY_MS;
        self.turned_away
            .extend(backend.queue.drain(..).map(|conn| (conn, place)));
    }

    /// Marks a server down whose name has no address.
    pub(crate) fn has_no_address(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        self.fail(place, "its name cannot be found", now, out);
    }

    /// Counts a protocol violation of a server, and marks it down at [`NONSENSE_MAX`].
    pub(crate) fn count_nonsense(&mut self, place: BackendIndex, now: Now, out: &mut ProxyActions) {
        let backend = &mut self.backends[place];
        if now.ms - backend.nonsense_since_ms >= DOWN_MS_MAX {
            backend.nonsense_since_ms = now.ms;
            backend.nonsense = 0;
        }
        backend.nonsense += 1;
        if backend.nonsense >= NONSENSE_MAX {
            backend.nonsense = 0;
            backend.down_for_ms = DOWN_MS_MAX;
            self.fail(place, "what it sends is not stratum", now, out);
        }
    }
}
