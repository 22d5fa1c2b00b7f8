//! What a crowd of miners makes the proxy say, and no oftener than is of use: that connections find no
//! place, and that a server cannot be dialed.

use std::net::SocketAddr;

use hstratum_core::alarm::Sign;
use hstratum_core::event::Level;
use hstratum_core::units::ConnId;

use super::driver::Driver;
use super::outside::Outside;
use crate::limits::LIVE_MS;

impl<S: Outside> Driver<S> {
    /// A line when connections find no place, and when they do again.
    pub(super) fn look_at_door(&mut self, now_ms: u64) {
        for (level, text) in self.log_limit.tick(now_ms) {
            self.net.say(level, &text);
        }
        if now_ms < self.next_look_ms {
            return;
        }
        self.next_look_ms = now_ms + LIVE_MS;
        let (now, door) = (self.net.now(), Sign::Door(self.net.door()));
        let mut alarms = Vec::new();
        self.watch.handle(now, door, &mut alarms);
        for alarm in alarms {
            self.net.say(Level::Warning, &alarm.text);
        }
    }

    pub(super) fn dial(&mut self, address: SocketAddr, preface: &[u8]) -> Option<ConnId> {
        match self.net.dial(address, preface) {
            Ok(conn) => Some(conn),
            Err(error) => {
                let text = format!("failed to connect to {address}: {error}");
                let now_ms = self.net.now().ms;
                if self.log_limit.allows(now_ms, Level::Warning) {
                    self.net.say(Level::Warning, &text);
                }
                None
            }
        }
    }
}
