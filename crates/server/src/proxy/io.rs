//! Interface of the proxy's driver to sockets and the log.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use hstratum_core::event::Level;
use hstratum_core::units::ConnId;

use crate::driver::io::{DriverIo, SystemIo};
use crate::stderr;

/// Sockets, clock and log of the proxy's driver. The simulator implements it too.
pub trait ProxyIo: DriverIo {
    /// Begins a connection to a server, to be sent `preface` first.
    ///
    /// # Errors
    /// When it cannot be begun.
    fn dial(&mut self, address: SocketAddr, preface: &[u8]) -> io::Result<ConnId>;
    /// True if the connection was dialed, not accepted.
    fn is_dialed(&self, conn: ConnId) -> bool;
    /// The listening sockets, for another process.
    fn listener_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
    /// Writes a line for the operator.
    fn say(&mut self, level: Level, text: &str);
}

impl ProxyIo for SystemIo {
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
            Level::Error => stderr::line("error", text),
            Level::Warning => stderr::line("warning", text),
            Level::Info => stderr::line("info", text),
            Level::Debug => {}
        }
    }
}
