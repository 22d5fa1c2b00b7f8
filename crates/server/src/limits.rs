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

/// Descriptors kept for the node when connections are many.
pub(crate) const DESCRIPTORS_KEPT: u64 = 512;

/// How often the pool is told that time has passed.
pub(crate) const TICK_MS: u64 = 250;

/// Wait between attempts to write what the disk refused.
pub(crate) const DISK_RETRY_MS: u64 = 2_000;

/// Threads that hash passwords; half the cores, if that is less. Each needs 4 MiB while it does.
pub(crate) const PASSWORD_THREADS_MAX: usize = 8;

/// How long a stop may take before the threads are left behind.
pub(crate) const CLOSE_MS: u64 = 10_000;

/// How long a stop waits for the last shares to become durable.
pub(crate) const FINISH_MS: u64 = 3_000;

/// Wait after a panic of the pool before it starts again.
pub(crate) const RESTART_MS: u64 = 50;

const _: () = assert!(OUT_BYTES_HIGH < OUT_BYTES_MAX && READ_BYTES < OUT_BYTES_HIGH);
