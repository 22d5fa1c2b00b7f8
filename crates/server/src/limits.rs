//! Every limit of the shell, what it protects, and what happens when it is met.

/// Bytes read from one connection before another has its turn.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Connections read before the node's mail is looked at again.
pub(crate) const READS_PER_TURN: usize = 64;

/// Bytes that wait to leave on a connection. At this mark nothing more is read from it.
pub(crate) const OUT_BYTES_HIGH: usize = 64 * 1024;

/// Bytes that wait to leave on a connection. Beyond it the connection is reset: it does not read.
/// The longest reply is a list of transactions, at most about 20,000 ids of 67 bytes.
pub(crate) const OUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Lines are written whole and together up to this many bytes, so that none is cut by a segment:
/// some miners take a cut line for an error.
pub(crate) const WRITE_BYTES: usize = 1400;

/// Connections the kernel keeps for us to accept.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Connections taken from one listener before anything else has its turn.
pub(crate) const ACCEPTS_PER_TURN: usize = 256;

/// Ports that miners connect to: `host`:`port` and those of `listen`.
pub(crate) const LISTENERS_MAX: usize = 16;

/// A connection that has sent nothing for so long is reset. Nobody is told: a Goldshell opens one
/// every 12 s only to see whether the port is open.
pub(crate) const SILENT_START_MS: u64 = 60_000;

/// How long a proxy's header may take, and then a TLS handshake. Beyond it the connection is reset.
pub(crate) const OPENING_MS: u64 = 10_000;

/// How long a connection that ends may take to read what was sent before. Then it is reset.
pub(crate) const CLOSING_MS: u64 = 10_000;

/// Reads of connections in their TLS handshake before anything else has its turn: one costs up to
/// a millisecond, with an RSA key of 4096 bits four.
pub(crate) const HANDSHAKES_PER_TURN: usize = 4;

/// Bytes a peer may send for a TLS handshake; a usual one is below 1 KiB. Beyond it the connection
/// ends.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;

/// Plaintext of one TLS record, for a line that is longer than a segment.
pub(crate) const TLS_RECORD_BYTES: usize = 16 * 1024;

/// Bytes read of a certificate's or a key's file.
pub(crate) const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Descriptors kept for the node when connections are many.
pub(crate) const DESCRIPTORS_KEPT: u64 = 512;

/// How often the pool is told that time has passed.
pub(crate) const TICK_MS: u64 = 250;

/// Wait between attempts to write what the disk refused.
pub(crate) const DISK_RETRY_MS: u64 = 2_000;

/// How long the ledger may take to store an address. Then whoever asked is told that it failed.
pub(crate) const ADDRESS_MS: u64 = 5_000;

/// Threads that hash passwords; half the cores, if that is less. Each needs 4 MiB while it does.
pub(crate) const PASSWORD_THREADS_MAX: usize = 8;

/// How long a stop may take before the threads are left behind.
pub(crate) const CLOSE_MS: u64 = 10_000;

/// How long a stop waits for the last shares to become durable.
pub(crate) const FINISH_MS: u64 = 3_000;

/// Wait after a panic of the pool before it starts again.
pub(crate) const RESTART_MS: u64 = 50;

const _: () = assert!(OUT_BYTES_HIGH < OUT_BYTES_MAX && READ_BYTES < OUT_BYTES_HIGH);
