//! Addresses of the servers. Names are resolved periodically, each on a thread of its own, since the system's
//! resolver has no deadline; if a name has several addresses, all are tried.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use hstratum_core::proxy::BackendIndex;
use hstratum_core::units::ConnId;
use mio::Waker;

use crate::limits::{ADDRESSES_MAX, NAME_EVERY, NAME_FIRST, NAME_RETRY};
use crate::proxy::control::ProxyCommand;
use crate::proxy::settings::BackendAddress;
use crate::repeated_log::LogOnce;
use crate::stderr;

/// A connection being opened.
struct Dialing {
    place: BackendIndex,
    address: SocketAddr,
    /// Address of the miner it is for.
    source: Option<IpAddr>,
    /// Other addresses that have not been tried for it.
    others: Vec<SocketAddr>,
}

/// Addresses of the servers, each list in the order of trying.
pub(super) struct Addresses {
    of: Vec<Vec<SocketAddr>>,
    dialing: HashMap<ConnId, Dialing>,
}

/// Next address to try for a connection.
pub(super) struct NextDial {
    pub place: BackendIndex,
    pub source: Option<IpAddr>,
    pub addresses: Vec<SocketAddr>,
}

impl Addresses {
    pub(super) fn new(backends: &[BackendAddress]) -> Self {
        let of = backends
            .iter()
            .map(|backend| backend.address.into_iter().collect());
        Self {
            of: of.collect(),
            dialing: HashMap::new(),
        }
    }

    /// A server's addresses, in the order of trying.
    pub(super) fn of(&self, place: BackendIndex) -> Vec<SocketAddr> {
        self.of[place].clone()
    }

    /// Sets a name's addresses; the one in use stays the first.
    pub(super) fn set(&mut self, place: BackendIndex, mut found: Vec<SocketAddr>) {
        found.truncate(ADDRESSES_MAX);
        let first = self.of[place].first();
        if let Some(at) = found.iter().position(|address| Some(address) == first) {
            found.rotate_left(at);
        }
        self.of[place] = found;
    }

    /// Records that a connection is being opened.
    pub(super) fn dial(
        &mut self,
        conn: ConnId,
        address: SocketAddr,
        others: Vec<SocketAddr>,
        (place, source): (BackendIndex, Option<IpAddr>),
    ) {
        let dialing = Dialing {
            place,
            address,
            source,
            others,
        };
        self.dialing.insert(conn, dialing);
    }

    /// Records that it has opened: its address is tried first next time.
    pub(super) fn opened(&mut self, conn: ConnId) {
        if let Some(dialing) = self.dialing.remove(&conn) {
            let known = &mut self.of[dialing.place];
            if let Some(at) = known.iter().position(|own| *own == dialing.address) {
                known.rotate_left(at);
            }
        }
    }

    /// Records that it has failed or was given up: its address moves behind the others.
    pub(super) fn failed(&mut self, conn: ConnId) -> Option<NextDial> {
        let dialing = self.dialing.remove(&conn)?;
        let known = &mut self.of[dialing.place];
        if known.first() == Some(&dialing.address) {
            known.rotate_left(1);
        }
        let next = NextDial {
            place: dialing.place,
            source: dialing.source,
            addresses: dialing.others,
        };
        (!next.addresses.is_empty()).then_some(next)
    }

    pub(super) fn clear(&mut self) {
        self.dialing.clear();
    }
}

/// Starts resolving names for as long as the process runs, and waits up to [`NAME_FIRST`] for the first
/// answers.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn start(
    backends: &[BackendAddress],
    to_driver: &Sender<ProxyCommand>,
    waker: &Arc<Waker>,
) -> anyhow::Result<()> {
    let (first, firsts) = channel();
    for (place, backend) in backends.iter().enumerate() {
        if backend.address.is_some() {
            continue;
        }
        let (name, first) = (backend.name.clone(), first.clone());
        let (to_driver, waker) = (to_driver.clone(), waker.clone());
        thread::Builder::new()
            .name("hstratum-resolve".to_owned())
            .spawn(move || {
                look_up(&name, Some(first), |found| {
                    let is_told = to_driver
                        .send(ProxyCommand::Addresses(place, found))
                        .is_ok();
                    is_told && waker.wake().is_ok()
                });
            })
            .context("failed to start the thread hstratum-resolve")?;
    }
    drop(first);
    wait_for(&firsts);
    Ok(())
}

/// Waits until each name has an answer, or the time is over.
fn wait_for(firsts: &Receiver<()>) {
    let due = Instant::now() + NAME_FIRST;
    while firsts
        .recv_timeout(due.saturating_duration_since(Instant::now()))
        .is_ok()
    {}
}

/// Reports a name's addresses whenever they change, until `tell` returns false. If a name is no longer found,
/// its last addresses stay.
fn look_up(name: &str, mut first: Option<Sender<()>>, tell: impl Fn(Vec<SocketAddr>) -> bool) {
    let mut known = Vec::new();
    let mut failing = LogOnce::default();
    loop {
        let found = name
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<SocketAddr>>);
        let wait = match found {
            Ok(mut found) if !found.is_empty() => {
                if failing.end() {
                    stderr::line("info", format!("{name} has an address again"));
                }
                // Name servers give them in another order each time.
                found.sort();
                if found != known {
                    known.clone_from(&found);
                    if !tell(found) {
                        return;
                    }
                }
                NAME_EVERY
            }
            found => {
                let reason = found
                    .err()
                    .map_or("no address".to_owned(), |e| e.to_string());
                if failing.is_new(&reason) {
                    stderr::line("warning", format!("failed to find {name}: {reason}"));
                }
                NAME_RETRY
            }
        };
        // The wait for the first answer is over.
        drop(first.take());
        thread::sleep(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parsed = texts.iter().map(|text| text.parse().expect("an address"));
        parsed.collect()
    }

    #[test]
    fn all_addresses_are_tried_and_the_one_that_works_goes_first() {
        let backend = BackendAddress {
            name: "pool:1".to_owned(),
            address: None,
        };
        let mut known = Addresses::new(&[backend]);
        assert!(known.of(0).is_empty());
        let [one, two] = ["[::1]:1", "127.0.0.1:1"];
        known.set(0, addresses(&[one, two]));
        let (first, second) = (addresses(&[one])[0], addresses(&[two])[0]);
        known.dial(ConnId(1), first, vec![second], (0, None));
        let next = known.failed(ConnId(1)).expect("another");
        assert_eq!(next.addresses, [second]);
        known.dial(ConnId(2), second, Vec::new(), (0, None));
        known.opened(ConnId(2));
        assert_eq!(known.of(0), [second, first]);
        known.set(0, addresses(&[one, two]));
        assert_eq!(known.of(0), [second, first], "it is in use");
        known.dial(ConnId(3), second, Vec::new(), (0, None));
        assert!(known.failed(ConnId(3)).is_none(), "all were tried");
        assert_eq!(known.of(0), [first, second]);
    }
}
