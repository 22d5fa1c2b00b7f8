//! HTTP connections and their limit. When all places are taken, an idle connection (no request in progress)
//! is closed for a new one, so that hundreds of half-sent requests lock nobody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hstratum_core::accounts::ban::network_of;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::limits::{HTTP_CONNS_MAX, HTTP_CONNS_PER_ADDRESS, HTTP_CONNS_RESERVED};

/// All connections.
#[derive(Default)]
pub(crate) struct Conns {
    slots: Mutex<ConnSlots>,
    refused: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct ConnSlots {
    next: u64,
    all: HashMap<u64, ConnSlot>,
}

struct ConnSlot {
    /// Client address; of IPv6 its /64.
    address: IpAddr,
    /// Time since which it is idle; `None` while a request is in progress.
    idle_since: Option<Instant>,
    /// Its task; `None` before that has started.
    task: Option<AbortHandle>,
}

/// A connection's place, held until dropped.
pub(crate) struct ConnPermit {
    conns: Arc<Conns>,
    id: u64,
}

/// Guard of a request in progress.
pub(crate) struct Busy {
    conns: Arc<Conns>,
    id: u64,
    stays: bool,
}

impl Conns {
    /// Takes a place for a connection; `None` if there is none, and the connection is to be closed.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<ConnPermit> {
        let is_local = address.is_loopback();
        let address = network_of(address);
        let mut slots = self.slots.lock();
        let own = slots.of(address);
        let has_room = match (own >= HTTP_CONNS_PER_ADDRESS && !is_local, is_local) {
            (true, _) => self.evict(&mut slots, Some(address)),
            (false, _) if slots.all.len() < HTTP_CONNS_MAX => true,
            (false, true) if slots.all.len() < HTTP_CONNS_MAX + HTTP_CONNS_RESERVED => {
                // Loopback has extra places, so closing an idle connection is useful but not required.
                self.evict(&mut slots, None);
                true
            }
            (false, _) => self.evict(&mut slots, None),
        };
        if !has_room {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = slots.next;
        slots.next += 1;
        let slot = ConnSlot {
            address,
            idle_since: Some(Instant::now()),
            task: None,
        };
        slots.all.insert(id, slot);
        Some(ConnPermit {
            conns: self.clone(),
            id,
        })
    }

    /// Records the task of a connection, to be aborted when its place is needed.
    pub(crate) fn began(&self, id: u64, task: AbortHandle) {
        match self.slots.lock().all.get_mut(&id) {
            Some(slot) => slot.task = Some(task),
            // It has ended, or was evicted before it started.
            None => task.abort(),
        }
    }

    /// Closes the longest idle connection of the address, or of the address with the most idle ones; returns
    /// false if there is none.
    fn evict(&self, slots: &mut ConnSlots, of: Option<IpAddr>) -> bool {
        let mut idle: HashMap<IpAddr, (usize, Instant, u64)> = HashMap::new();
        for (id, slot) in &slots.all {
            let Some(since) = slot.idle_since else {
                continue;
            };
            if of.is_none_or(|address| address == slot.address) {
                let (count, oldest, oldest_id) =
                    idle.entry(slot.address).or_insert((0, since, *id));
                *count += 1;
                if since < *oldest {
                    (*oldest, *oldest_id) = (since, *id);
                }
            }
        }
        let most = idle
            .into_values()
            .max_by(|(a, a_since, _), (b, b_since, _)| a.cmp(b).then(b_since.cmp(a_since)));
        let Some((_, _, id)) = most else {
            return false;
        };
        if let Some(task) = slots.all.remove(&id).and_then(|slot| slot.task) {
            task.abort();
        }
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Numbers of open, refused and evicted connections.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        let refused = self.refused.load(Ordering::Relaxed);
        let evicted = self.evicted.load(Ordering::Relaxed);
        (self.slots.lock().all.len(), refused, evicted)
    }
}

impl ConnSlots {
    fn of(&self, address: IpAddr) -> usize {
        let own = self.all.values().filter(|slot| slot.address == address);
        own.count()
    }
}

impl ConnPermit {
    /// See [`Conns::began`].
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Marks the start of a request.
    pub(crate) fn busy(&self) -> Busy {
        if let Some(slot) = self.conns.slots.lock().all.get_mut(&self.id) {
            slot.idle_since = None;
        }
        Busy {
            conns: self.conns.clone(),
            id: self.id,
            stays: false,
        }
    }
}

impl Busy {
    /// Keeps the connection busy to its end: its answer is the event stream.
    pub(crate) fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for ConnPermit {
    fn drop(&mut self) {
        self.conns.slots.lock().all.remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Some(slot) = self.conns.slots.lock().all.get_mut(&self.id) {
            slot.idle_since = Some(Instant::now());
        }
    }
}
