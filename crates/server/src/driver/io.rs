//! What the driver is surrounded by: the sockets and the clock. The lab's are simulated, so that it
//! drives the driver itself.

use crate::net::{Net, ReadResult};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::event::{Actions, CloseHow, Listening};
use hstratum_core::occupancy::Door;
use hstratum_core::units::{ConnId, Now};
use rustls::ServerConfig;

use crate::clock::unix_s;

/// What TLS is spoken with.
pub type Certificate = Arc<ServerConfig>;

/// See the module. Nothing but `wait` and `rest` takes time.
pub trait Surroundings {
    /// The time.
    fn now(&self) -> Now;
    /// Waits for mail or for something to read, at most so long.
    fn wait(&mut self, timeout: Duration);
    /// Does nothing for so long.
    fn rest(&mut self, time: Duration);
    /// A turn of the driver's loop begins.
    fn begin_turn(&mut self, now_ms: u64);
    /// The next connection that may have something to read.
    fn next_readable(&mut self) -> Option<ConnId>;
    /// The next one in its TLS handshake.
    fn next_handshake(&mut self) -> Option<ConnId>;
    /// Whether connections wait to be read.
    fn has_readable(&self) -> bool;
    /// Reads from a connection.
    fn read(&mut self, conn: ConnId) -> ReadResult;
    /// What the last read has brought.
    fn received(&self, len: usize) -> &[u8];
    /// Forgets a connection that is gone.
    fn drop_gone(&mut self, conn: ConnId);
    /// Queues bytes for a connection.
    fn send(&mut self, conn: ConnId, bytes: &[u8]);
    /// Queues a line that many get.
    fn send_shared(&mut self, conn: ConnId, line: &Arc<[u8]>);
    /// Stops or goes on reading from a connection.
    fn pause(&mut self, conn: ConnId, paused: bool);
    /// Ends a connection.
    fn close(&mut self, conn: ConnId, how: CloseHow);
    /// A connection has logged in.
    fn admitted(&mut self, _conn: ConnId) {}
    /// A connection has an accepted share: it does not give way to new ones any more.
    fn proven(&mut self, _conn: ConnId) {}
    /// How full the sockets are.
    fn door(&self) -> Door {
        Door::default()
    }
    /// Takes connections, or refuses them.
    ///
    /// # Errors
    /// When the port cannot be had.
    fn listen(&mut self, listening: Listening) -> std::io::Result<()>;
    /// What an event has come to, before it is carried out; for whoever checks that.
    fn watch(&mut self, _actions: &Actions) {}
    /// Writes what is queued.
    fn flush(&mut self);
    /// Connections that broke since the last call.
    fn take_lost(&mut self) -> Vec<ConnId>;
    /// Ends every connection with a reset.
    fn reset_all(&mut self);
    /// New connections get this certificate.
    fn use_certificate(&mut self, certificate: Certificate);
}

/// Sockets of this machine, and its clocks.
pub struct Machine {
    pub(crate) net: Net,
    started: Instant,
}

impl Machine {
    pub(crate) fn new(net: Net) -> Self {
        Self {
            net,
            started: Instant::now(),
        }
    }
}

impl Surroundings for Machine {
    fn now(&self) -> Now {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            ms,
            unix_s: unix_s(),
        }
    }

    fn wait(&mut self, timeout: Duration) {
        self.net.wait(timeout);
    }

    fn rest(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn begin_turn(&mut self, now_ms: u64) {
        self.net.begin_turn(now_ms);
    }

    fn next_readable(&mut self) -> Option<ConnId> {
        self.net.next_readable()
    }

    fn next_handshake(&mut self) -> Option<ConnId> {
        self.net.next_handshake()
    }

    fn has_readable(&self) -> bool {
        self.net.has_readable()
    }

    fn read(&mut self, conn: ConnId) -> ReadResult {
        self.net.read(conn)
    }

    fn received(&self, len: usize) -> &[u8] {
        self.net.received(len)
    }

    fn drop_gone(&mut self, conn: ConnId) {
        self.net.drop_gone(conn);
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.net.send(conn, bytes);
    }

    fn send_shared(&mut self, conn: ConnId, line: &Arc<[u8]>) {
        self.net.send_shared(conn, line);
    }

    fn pause(&mut self, conn: ConnId, paused: bool) {
        self.net.pause(conn, paused);
    }

    fn close(&mut self, conn: ConnId, how: CloseHow) {
        self.net.close(conn, how);
    }

    fn admitted(&mut self, conn: ConnId) {
        self.net.admitted(conn);
    }

    fn proven(&mut self, conn: ConnId) {
        self.net.proven(conn);
    }

    fn door(&self) -> Door {
        self.net.door()
    }

    fn listen(&mut self, listening: Listening) -> std::io::Result<()> {
        self.net.listen(listening)
    }

    fn flush(&mut self) {
        self.net.flush();
    }

    fn take_lost(&mut self) -> Vec<ConnId> {
        self.net.take_lost()
    }

    fn reset_all(&mut self) {
        self.net.reset_all();
    }

    fn use_certificate(&mut self, certificate: Certificate) {
        self.net.use_certificate(certificate);
    }
}
