//! Every limit of the load generator, and what happens when it is met.

use std::time::Duration;

/// Connections at a time: what is left of 16-bit ports and descriptors on one machine anyway.
pub(crate) const CONNECTIONS_MAX: u32 = 100_000;

/// Connections on their way to their first job. Others begin when one of these has it.
pub(crate) const OPENING_MAX: usize = 1_000;

/// The longest time until all have work.
pub(crate) const GATHERING: Duration = Duration::from_secs(60);

/// The longest wait for replies at the end. Shares without one are then unanswered.
pub(crate) const DRAINING: Duration = Duration::from_secs(2);

/// Shares without a reply on one connection: what a server lets wait.
pub(crate) const OUTSTANDING_MAX: u32 = 1_024;

/// Shares without a reply on a connection that sends some before it only listens.
pub(crate) const OUTSTANDING_FIRST: usize = 32;

/// Hashes for one share before other connections have their turn.
pub(crate) const HASHES_PER_TURN: u32 = 256;

/// Shares that a miner finds before it begins to submit.
pub(crate) const AHEAD_MAX: u32 = 100_000;

/// Shares sent in one turn at a given rate before what has come is read.
pub(crate) const PACED_PER_TURN: u32 = 256;

/// Before a share is due at a given rate, nothing sleeps for so long: the system sleeps in whole
/// milliseconds, which would count as the server's latency.
pub(crate) const SPINNING: Duration = Duration::from_millis(1);

/// Wait before a connection that was lost is opened again; doubled with each failure.
pub(crate) const REOPEN_MIN: Duration = Duration::from_millis(100);
/// The longest such wait.
pub(crate) const REOPEN_MAX: Duration = Duration::from_millis(800);

/// Bytes of a line from the server. A connection with a longer one is lost.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// Bytes read in one call.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Readiness events taken from the system at once.
pub(crate) const EVENTS: usize = 1_024;

/// The time between two entries of progress in the journal.
pub(crate) const PROGRESS: Duration = Duration::from_millis(250);

/// Kinds of refusals, and of ends of connections, that are counted apart; others are one kind.
pub(crate) const KINDS_MAX: usize = 64;

/// Accounts shown in the table. JSON has all of them.
pub(crate) const ROWS_MAX: usize = 60;

/// The longest latency told apart.
pub(crate) const LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// Connections that wait to be accepted by the limit server; the system may allow fewer.
pub(crate) const BACKLOG: i32 = 16_384;

/// Connections begun before what has come is read.
pub(crate) const OPENED_PER_TURN: usize = 64;

/// The longest time until a new job has reached all.
pub(crate) const FANOUT: Duration = Duration::from_secs(30);

/// Rest before a new job is caused, and after all have it, so that each is seen alone.
pub(crate) const FANOUT_REST: Duration = Duration::from_millis(300);

/// Rounds of new jobs.
pub(crate) const ROUNDS_MAX: u32 = 10_000;

/// Between two bytes of a connection that trickles.
pub(crate) const TRICKLE: Duration = Duration::from_secs(1);

/// Between two logins of a connection that does nothing else.
pub(crate) const IDLE: Duration = Duration::from_secs(3600);

/// The longest wait before hostile connections send again.
pub(crate) const HOSTILE_TURN: Duration = Duration::from_millis(10);
