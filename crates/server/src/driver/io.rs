//! The driver's interface to sockets and clock. The simulator implements it too, and so runs the real driver.

use crate::net::{JobsSent, Net, ReadResult};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::event::{Actions, CloseHow, Listening};
use hstratum_core::occupancy::Occupancy;
use hstratum_core::units::{ConnId, Now};
use rustls::ServerConfig;

use crate::clock::unix_s;

/// The certificate as TLS needs it.
pub type Certificate = Arc<ServerConfig>;

/// Sockets and clock of a driver. Only `wait` and `rest` block.
pub trait DriverIo {
    /// Current time.
    fn now(&self) -> Now;
    /// Time of the last [`Self::now`], for measurements; none in the simulator.
    fn clock_read_at(&self) -> Option<Instant> {
        None
    }
    /// Waits for a message or for something to read, at most for `timeout`.
    fn wait(&mut self, timeout: Duration);
    /// Sleeps.
    fn rest(&mut self, time: Duration);
    /// Begins a turn of the driver's loop.
    fn begin_turn(&mut self, now_ms: u64);
    /// Takes the next connection that may have something to read.
    fn next_readable(&mut self) -> Option<ConnId>;
    /// Takes the next connection in its TLS handshake.
    fn next_handshake(&mut self) -> Option<ConnId>;
    /// True if connections wait to be read.
    fn has_readable(&self) -> bool;
    /// Reads from a connection.
    fn read(&mut self, conn: ConnId) -> ReadResult;
    /// Bytes of the last read.
    fn received(&self, len: usize) -> &[u8];
    /// Forgets a connection that is gone.
    fn drop_gone(&mut self, conn: ConnId);
    /// Queues bytes for a connection.
    fn send(&mut self, conn: ConnId, bytes: &[u8]);
    /// Adds a job's line to those that [`Self::send_jobs`] sends.
    fn add_job(&mut self, conn: ConnId, line: Arc<[u8]>);
    /// Sends the added jobs in their order; returns what became of those added since the last call.
    fn send_jobs(&mut self) -> JobsSent {
        JobsSent::default()
    }
    /// Stops or resumes reading from a connection.
    fn pause(&mut self, conn: ConnId, paused: bool);
    /// Closes a connection.
    fn close(&mut self, conn: ConnId, how: CloseHow);
    /// A connection has logged in.
    fn admitted(&mut self, _conn: ConnId) {}
    /// A connection has an accepted share, and is no longer closed in favour of new ones.
    fn proven(&mut self, _conn: ConnId) {}
    /// A connection is read before others from now on, or no more.
    fn read_first(&mut self, _conn: ConnId, _is_first: bool) {}
    /// Occupancy of the sockets.
    fn door(&self) -> Occupancy {
        Occupancy::default()
    }
    /// Accepts connections, or refuses them.
    ///
    /// # Errors
    /// When the port cannot be bound.
    fn listen(&mut self, listening: Listening) -> std::io::Result<()>;
    /// Shows the actions of an event before they are executed, for checks by the simulator.
    fn watch(&mut self, _actions: &Actions) {}
    /// Writes what is queued.
    fn flush(&mut self);
    /// Connections that broke since the last call.
    fn take_lost(&mut self) -> Vec<ConnId>;
    /// Closes every connection with a reset.
    fn reset_all(&mut self);
    /// Uses this certificate for new connections.
    fn use_certificate(&mut self, certificate: Certificate);
}

/// The sockets and clocks of this machine.
pub struct SystemIo {
    pub(crate) net: Net,
    started: Instant,
    clock_read_at: Cell<Instant>,
}

impl SystemIo {
    pub(crate) fn new(net: Net) -> Self {
        let started = Instant::now();
        Self {
            net,
            started,
            clock_read_at: Cell::new(started),
        }
    }
}

impl DriverIo for SystemIo {
    fn now(&self) -> Now {
        let now = Instant::now();
        self.clock_read_at.set(now);
        let ms = u64::try_from((now - self.started).as_millis()).unwrap_or(u64::MAX);
        Now {
            ms,
            unix_s: unix_s(),
        }
    }

    fn clock_read_at(&self) -> Option<Instant> {
        Some(self.clock_read_at.get())
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

    fn add_job(&mut self, conn: ConnId, line: Arc<[u8]>) {
        self.net.add_job(conn, line);
    }

    fn send_jobs(&mut self) -> JobsSent {
        self.net.send_jobs()
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

    fn read_first(&mut self, conn: ConnId, is_first: bool) {
        self.net.read_first(conn, is_first);
    }

    fn door(&self) -> Occupancy {
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
