//! Log lines and dial attempts caused by many miners at once, limited in number: refused connections, and
//! servers that cannot be reached.

use std::net::IpAddr;

use hstratum_core::alarm::AlarmInput;
use hstratum_core::event::Level;
use hstratum_core::proxy::{BackendIndex, ProxyEvent};
use hstratum_core::units::ConnId;

use super::driver::ProxyDriver;
use super::io::ProxyIo;
use super::resolver::NextDial;
use crate::limits::LIVE_MS;
use crate::net::proxy_header;

impl<S: ProxyIo> ProxyDriver<S> {
    /// Logs when connections are refused for want of places, and when they no longer are.
    pub(super) fn look_at_door(&mut self, now_ms: u64) {
        for (level, text) in self.log_limit.tick(now_ms) {
            self.net.say(level, &text);
        }
        if now_ms < self.next_look_ms {
            return;
        }
        self.next_look_ms = now_ms + LIVE_MS;
        let (now, door) = (self.net.now(), AlarmInput::Occupancy(self.net.door()));
        let mut alarms = Vec::new();
        self.watch.handle(now, door, &mut alarms);
        for alarm in alarms {
            self.net.say(Level::Warning, &alarm.text);
        }
    }

    /// Begins a connection to a server, at the first of its addresses that does not fail at once.
    pub(super) fn dial(&mut self, place: BackendIndex, source: Option<IpAddr>) -> Option<ConnId> {
        self.dial_any(NextDial {
            place,
            source,
            addresses: self.addresses.of(place),
        })
    }

    pub(super) fn dial_any(&mut self, next: NextDial) -> Option<ConnId> {
        let NextDial {
            place,
            source,
            addresses,
        } = next;
        let mut addresses = addresses.into_iter();
        while let Some(address) = addresses.next() {
            let preface = match self.settings.send_proxy {
                true => proxy_header::encode(source, address),
                false => Vec::new(),
            };
            match self.net.dial(address, &preface) {
                Ok(conn) => {
                    let others = addresses.collect();
                    self.addresses.dial(conn, address, others, (place, source));
                    return Some(conn);
                }
                Err(error) => {
                    let text = format!("failed to connect to {address}: {error}");
                    let now_ms = self.net.now().ms;
                    if self.log_limit.allows(now_ms, Level::Warning) {
                        self.net.say(Level::Warning, &text);
                    }
                }
            }
        }
        None
    }

    /// Handles a failed or lost connection: the server may have another address.
    pub(super) fn gone(&mut self, conn: ConnId) -> ProxyEvent<'static> {
        let next = self.addresses.failed(conn);
        match next.and_then(|next| self.dial_any(next)) {
            Some(new) => ProxyEvent::Redialed(conn, new),
            None => ProxyEvent::Closed(conn),
        }
    }
}
