//! Connections of HTTP. One that answers nothing just now makes room for a new one when there are as
//! many as may be: half a request, sent hundreds of times, keeps nobody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use hstratum_core::accounts::ban::network_of;
use tokio::task::AbortHandle;

use crate::limits::{HTTP_CONNS_MAX, HTTP_CONNS_PER_ADDRESS, HTTP_CONNS_RESERVED};

/// See the module.
#[derive(Default)]
pub(crate) struct Conns {
    seats: Mutex<Seats>,
    refused: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Seats {
    next: u64,
    all: HashMap<u64, Seat>,
}

struct Seat {
    /// Of IPv6 its /64.
    address: IpAddr,
    /// Since when it answers nothing; none while it does.
    idle_since: Option<Instant>,
    /// Its task; none before that has begun.
    task: Option<AbortHandle>,
}

/// A connection's place, until it is dropped.
pub(crate) struct Place {
    conns: Arc<Conns>,
    id: u64,
}

/// A request is being answered for as long as this is there.
pub(crate) struct Busy {
    conns: Arc<Conns>,
    id: u64,
    stays: bool,
}

impl Conns {
    /// A place for a connection, or none: it is closed at once.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let is_local = address.is_loopback();
        let address = network_of(address);
        let mut seats = self.lock();
        let own = seats.of(address);
        let has_room = match (own >= HTTP_CONNS_PER_ADDRESS && !is_local, is_local) {
            (true, _) => self.evict(&mut seats, Some(address)),
            (false, _) if seats.all.len() < HTTP_CONNS_MAX => true,
            (false, true) if seats.all.len() < HTTP_CONNS_MAX + HTTP_CONNS_RESERVED => {
                // What makes room is welcome, but not needed.
                self.evict(&mut seats, None);
                true
            }
            (false, _) => self.evict(&mut seats, None),
        };
        if !has_room {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = seats.next;
        seats.next += 1;
        let seat = Seat {
            address,
            idle_since: Some(Instant::now()),
            task: None,
        };
        seats.all.insert(id, seat);
        Some(Place {
            conns: self.clone(),
            id,
        })
    }

    /// The task of a connection, which ends when its place is needed.
    pub(crate) fn began(&self, id: u64, task: AbortHandle) {
        match self.lock().all.get_mut(&id) {
            Some(seat) => seat.task = Some(task),
            // It is over, or had to go before it began.
            None => task.abort(),
        }
    }

    /// Ends the connection that has answered nothing for longest, of the address or of the one that has
    /// most such; false where there is none.
    fn evict(&self, seats: &mut Seats, of: Option<IpAddr>) -> bool {
        let mut idle: HashMap<IpAddr, (usize, Instant, u64)> = HashMap::new();
        for (id, seat) in &seats.all {
            let Some(since) = seat.idle_since else {
                continue;
            };
            if of.is_none_or(|address| address == seat.address) {
                let (count, oldest, oldest_id) =
                    idle.entry(seat.address).or_insert((0, since, *id));
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
        if let Some(task) = seats.all.remove(&id).and_then(|seat| seat.task) {
            task.abort();
        }
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// How many there are, how many were refused, and how many had to make room.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        let refused = self.refused.load(Ordering::Relaxed);
        let evicted = self.evicted.load(Ordering::Relaxed);
        (self.lock().all.len(), refused, evicted)
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("nothing panics while it is held")
    }
}

impl Seats {
    fn of(&self, address: IpAddr) -> usize {
        let own = self.all.values().filter(|seat| seat.address == address);
        own.count()
    }
}

impl Place {
    /// See [`Conns::began`].
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// A request has come.
    pub(crate) fn busy(&self) -> Busy {
        if let Some(seat) = self.conns.lock().all.get_mut(&self.id) {
            seat.idle_since = None;
        }
        Busy {
            conns: self.conns.clone(),
            id: self.id,
            stays: false,
        }
    }
}

impl Busy {
    /// The answer goes on for as long as the connection: a page is told of events.
    pub(crate) fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.conns.lock().all.remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Some(seat) = self.conns.lock().all.get_mut(&self.id) {
            seat.idle_since = Some(Instant::now());
        }
    }
}
