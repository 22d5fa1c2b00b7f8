//! What is around the proxy's driver: real sockets and a log, or the lab's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use hstratum_core::event::Level;
use hstratum_core::units::ConnId;

use crate::driver::io::{Machine, Surroundings};
use crate::proxy::log;

/// What the proxy's driver is surrounded by, beside sockets and the clock. The lab's are simulated.
pub trait Outside: Surroundings {
    /// Begins a connection to a server, on which `preface` goes first.
    ///
    /// # Errors
    /// When it cannot even be begun.
    fn dial(&mut self, address: SocketAddr, preface: &[u8]) -> io::Result<ConnId>;
    /// Whether a connection was dialed, not accepted.
    fn is_dialed(&self, conn: ConnId) -> bool;
    /// The listening sockets, for another process.
    fn listener_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
    /// A line for the operator.
    fn say(&mut self, level: Level, text: &str);
}

impl Outside for Machine {
    fn dial(&mut self, address: SocketAddr, preface: &[u8]) -> io::Result<ConnId> {
        self.net.dial(address, preface)
    }

    fn is_dialed(&self, conn: ConnId) -> bool {
        self.net.is_dialed(conn)
    }

    fn listener_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.net.listener_fds().collect()
    }

    fn say(&mut self, level: Level, text: &str) {
        match level {
            Level::Error => log("error", text),
            Level::Warning => log("warning", text),
            Level::Info => log("info", text),
            Level::Debug => {}
        }
    }
}
