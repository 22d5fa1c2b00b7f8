//! Every limit of the server: its unit, what it protects, and what happens when it is reached.

mod alerts;
mod http;

use std::time::Duration;

pub(crate) use self::alerts::*;
pub(crate) use self::http::*;

/// Bytes read from one connection before another has its turn.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Connections read before the messages of the node and of other threads are looked at again.
pub(crate) const READS_PER_TURN: usize = 80;

/// Shares committed to the ledger as one group while connections wait to be read: a group costs a sync and
/// two thread switches, whatever its size. At full load this many come in about five milliseconds.
pub(crate) const CREDITS_PER_GROUP: usize = 1024;

/// Time in milliseconds that the first share of a group waits for more while connections wait to be read, so
/// that a client which keeps the loop busy delays nobody's reply for longer.
pub(crate) const GROUP_MS: u64 = 5;

/// Bytes queued to leave on a connection at which nothing more is read from it.
pub(crate) const OUT_BYTES_HIGH: usize = 64 * 1024;

/// Bytes queued to leave on a connection. Beyond it the connection is reset, since its peer does not read.
/// The longest reply is a list of transactions, at most about 20,000 ids of 67 bytes.
pub(crate) const OUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes queued to leave on all connections together. Beyond it a connection is reset when something is sent
/// to it and more than [`OUT_BYTES_FAIR`] are queued on it: some twenty unread jobs.
pub(crate) const OUT_BYTES_ALL_MAX: usize = 256 * 1024 * 1024;

/// Bytes that every connection may have queued, even when [`OUT_BYTES_ALL_MAX`] is reached.
pub(crate) const OUT_BYTES_FAIR: usize = 16 * 1024;

/// Bytes up to which whole lines are written together, so that no line is split over two TCP segments: some
/// miners take a split line for an error.
pub(crate) const WRITE_BYTES: usize = 1400;

/// Connections that the kernel queues until they are accepted.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Connections accepted from one listener before anything else has its turn; each costs 20 µs. None is
/// accepted while this many unopened ones wait to be read.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// Connections read out of each [`READS_PER_TURN`] that are not open yet (PROXY header, TLS handshake, no
/// login). Each may be read three more times before it has logged in, so that honest miners never wait for
/// more than that.
pub(crate) const OPENINGS_PER_TURN: usize = 16;

/// Milliseconds that a logged-in connection has to send an accepted share; until then it is not closed for a
/// newcomer whose address would hold as many places, when all are taken. Miners get difficulties that mean a
/// share every few seconds.
pub(crate) const UNPROVEN_MS: u64 = 60_000;

/// Ports that miners connect to: `host`:`port` and those of `listen`. More are refused at the start.
pub const LISTENERS_MAX: usize = 16;

/// Milliseconds after which a connection that has sent nothing is reset. It is not logged: a Goldshell opens
/// one every 12 s only to see whether the port is open.
pub(crate) const SILENT_START_MS: u64 = 60_000;

/// Milliseconds for a PROXY header, and then for a TLS handshake. Beyond it the connection is reset.
pub(crate) const OPENING_MS: u64 = 10_000;

/// Milliseconds that a closing connection has to read what was already sent. Then it is reset.
pub(crate) const CLOSING_MS: u64 = 10_000;

/// TLS handshake reads before anything else has its turn: each costs up to a millisecond, with an RSA key of
/// 4096 bits four.
pub(crate) const HANDSHAKES_PER_TURN: usize = 4;

/// Bytes a peer may send for a TLS handshake; a usual one is below 1 KiB. Beyond it the connection is closed.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;

/// Lines of jobs that one thread writes alone: a millisecond's work, while the start of a second thread takes a
/// twentieth of that.
pub(crate) const JOBS_ONE_THREAD_MAX: usize = 128;

/// Lines of jobs that one of two threads takes at a time, so that the order is kept but for so many.
pub(crate) const JOBS_AT_ONCE: usize = 16;

/// Bytes of plaintext in one TLS record, for lines longer than a TCP segment.
pub(crate) const TLS_RECORD_BYTES: usize = 16 * 1024;

/// Bytes read of a certificate's or a key's file. The rest is ignored.
pub(crate) const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// File descriptors left to the node when the number of connections is derived from the system's limit.
pub(crate) const DESCRIPTORS_KEPT: usize = 512;

/// Milliseconds between two ticks of the pool, its only source of time besides events.
pub(crate) const TICK_MS: u64 = 250;

/// Milliseconds without a found block after which a drill tries the block path again.
pub(crate) const DRILL_MS: u64 = 60 * 60 * 1000;

/// Milliseconds after which a drill that failed is repeated.
pub(crate) const DRILL_BROKEN_MS: u64 = 60 * 1000;

/// Milliseconds after which a drill that a new tip interrupted is repeated.
pub(crate) const DRILL_AGAIN_MS: u64 = 10_000;

/// Milliseconds between attempts to write what the disk refused.
pub(crate) const DISK_RETRY_MS: u64 = 2_000;

/// Wait between attempts to reserve disk space for found blocks.
pub(crate) const RESERVE_RETRY: Duration = Duration::from_secs(30);

/// Wait before a persisting problem is logged again, doubled each time up to the second.
pub(crate) const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);
pub(crate) const COMPLAIN_AGAIN_MAX: Duration = Duration::from_secs(3600);

/// Alarms queued for delivery. Beyond it the oldest is dropped; the next that is delivered says how many
/// were.
pub(crate) const ALARMS_WAITING_MAX: usize = 1_000;

/// Milliseconds for one delivery of an alarm. Then it has failed and is tried again.
pub(crate) const WEBHOOK_CALL_MS: u64 = 4_000;

/// Milliseconds before an alarm's delivery is tried again, doubled each time up to the second.
pub(crate) const WEBHOOK_RETRY_MS: u64 = 1_000;
pub(crate) const WEBHOOK_RETRY_MS_MAX: u64 = 60_000;

/// Times that a receiver may refuse an alarm (HTTP 4xx). Then this alarm is dropped, so that it does not
/// block the next.
pub(crate) const WEBHOOK_REFUSALS_MAX: u32 = 3;

/// Milliseconds that a stop tries to deliver queued alarms. Then they are dropped.
pub(crate) const WEBHOOK_STOP_MS: u64 = 2_000;

/// Characters of an alarm's text. Beyond it the text is cut. Discord refuses more than 2,000.
pub(crate) const ALARM_CHARS_MAX: usize = 1_500;

/// Milliseconds for the ledger to store a payout address. Then the caller is told that it failed.
pub(crate) const ADDRESS_MS: u64 = 5_000;

/// Time for a statement that writes to the audit trail. Then nothing is changed, except what protects the server.
pub(crate) const AUDIT_WRITE: Duration = Duration::from_secs(4);

/// Records of each kind of change that stay of those by an account's owner.
pub(crate) const AUDIT_OF_OWNER_MAX: u32 = 100;

/// Characters of a record's subject: as many as an account's name may have bytes.
pub(crate) const AUDIT_SUBJECT_CHARS_MAX: usize = 128;

/// Characters of a record's detail.
pub(crate) const AUDIT_DETAIL_CHARS_MAX: usize = 400;

/// Time for the ledger to tell whether an account already has an owner. Then no user is added.
pub(crate) const OWNER_LOOK: Duration = Duration::from_secs(2);

/// Milliseconds that a caller waits for an operator's order, which may have to write an address and a
/// password.
pub(crate) const ORDER_MS: u64 = 10_000;

/// Time that a status of the pool waits for the open round. Then the last one read is shown.
pub(crate) const ROUND_LOOK: Duration = Duration::from_millis(500);

/// The open round is read again after this many times the time that the last reading took.
pub(crate) const ROUND_REST: u32 = 20;

/// Age at which divisions of blocks are made again for estimates, and sums of credit compared: a share may come late.
pub(crate) const ESTIMATE_KEPT: Duration = Duration::from_secs(600);

/// Time in a reading after which no known division is read again. Those that are left are read by the next.
pub(crate) const ESTIMATE_AGAIN: Duration = Duration::from_secs(2);

/// Heights whose credit is read in each estimate of a block found now, the one that is mined among them: shares of
/// the others may still be on their way.
pub(crate) const ESTIMATE_HEIGHTS_READ: i64 = 3;

/// Sums of an account's shares of one difficulty that are kept for estimates, some 50 MiB. Those of older
/// intervals are read each time.
pub(crate) const ESTIMATE_SUMS_MAX: usize = 1_000_000;

/// Niceness of the threads that check passwords.
#[cfg(target_os = "linux")]
pub(crate) const PASSWORD_NICENESS: i32 = 10;

/// Threads that hash passwords; at most half the cores. Each needs 4 MiB while it hashes.
pub(crate) const PASSWORD_THREADS_MAX: usize = 8;

/// Time within which the speed of the chain's download is measured.
pub(crate) const SYNC_SPEED_WITHIN: Duration = Duration::from_secs(300);

/// Time that has to be measured before the rest of the download is estimated.
pub(crate) const SYNC_SPEED_LEAST: Duration = Duration::from_secs(120);

/// Reports of the chain's download kept for that: one every three seconds. Beyond it the oldest is dropped.
pub(crate) const SYNC_REPORTS_MAX: usize = 128;

/// Milliseconds for a whole stop. Then the remaining threads are left behind.
pub(crate) const CLOSE_MS: u64 = 10_000;

/// Milliseconds that a stop waits for the last shares to become durable. Then they stay unanswered.
pub(crate) const FINISH_MS: u64 = 3_000;

/// Milliseconds after a panic of the pool before it starts again.
pub(crate) const RESTART_MS: u64 = 50;

/// Rows that a payout writes or deletes in one transaction beside a running server, whose own transactions
/// wait for it: a few milliseconds.
pub(crate) const PAYOUT_ROWS_PER_TRANSACTION: u32 = 500;

/// Time for which data that a proxy sent to a server may stay unacknowledged by TCP. Then the connection is
/// lost.
pub(crate) const DIALED_SILENCE: Duration = Duration::from_secs(20);

/// Milliseconds that a stopping proxy waits for replies that servers owe its miners. Then they are lost.
pub(crate) const PROXY_STOP_MS: u64 = 1_000;

/// Milliseconds without a moved miner after which the log sums up the moves.
pub(crate) const PROXY_MOVES_QUIET_MS: u64 = 1_000;
/// So many moves are told of at once, also while others go on: as many as there can be miners.
pub(crate) const PROXY_MOVES_MAX: usize = 1_000_000;

/// Milliseconds for an order to a running proxy, in each direction. Then the connection is closed.
pub(crate) const CONTROL_ANSWER_MS: u64 = 2_000;

/// Milliseconds for which all miners together may be paused while they are handed over to another process.
/// Then the old process keeps them.
pub(crate) const HANDOVER_MS: u64 = 5_000;

/// Milliseconds for the other process to get ready before that; miners notice nothing. Then the handover
/// fails.
pub(crate) const PREPARE_MS: u64 = 10_000;

/// Interval of a proxy's name lookups of its servers; retry interval of a name that was not found; time that
/// a start waits for the first answers.
pub(crate) const NAME_EVERY: Duration = Duration::from_secs(15);
pub(crate) const NAME_RETRY: Duration = Duration::from_secs(2);
pub(crate) const NAME_FIRST: Duration = Duration::from_secs(2);

/// Addresses of one name that a proxy tries. The others are ignored.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Lines queued for standard error, beyond which lines are dropped; and the time that an ending process waits
/// for its reader.
pub(crate) const STDERR_LINES_MAX: usize = 1_024;
pub(crate) const STDERR_END: Duration = Duration::from_millis(500);

/// Bytes of the handover frame of one miner: the bytes queued on its two connections, in hex, and its state.
pub(crate) const HANDOVER_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of an order on the control socket. A longer one is refused.
pub(crate) const CONTROL_LINE_BYTES: u64 = 1024;

/// Time for an answer of hsd. Then the call has failed.
pub(crate) const HSD_CALL: Duration = Duration::from_secs(30);

/// Time for hsd's wallet to choose coins for a payment and to sign it. Then nothing was paid, and the next
/// run begins anew.
pub(crate) const HSD_CREATE: Duration = Duration::from_secs(300);

/// Bytes of an answer of hsd. Beyond it the call has failed. The longest are a hundred transactions of a
/// wallet's history, each with its hex; one of a payment has about 500 kB.
pub(crate) const HSD_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Characters shown of an error text of hsd. The rest is cut.
pub(crate) const HSD_SAYING_CHARS: usize = 300;

/// Characters of a payout's failure that are kept in the ledger. The rest is cut.
pub(crate) const PAYOUT_FAILURE_CHARS: usize = 500;

/// Interval at which the thread that pays looks whether payouts were paused and what the wallet has.
pub(crate) const PAYOUT_LOOK: Duration = Duration::from_secs(30);

/// The same before the first job, which comes once the node is open.
pub(crate) const PAYOUT_FIRST_LOOK: Duration = Duration::from_secs(1);

/// Time after a payout that failed until the next one, where `payout-every` is not shorter.
pub(crate) const PAYOUT_AGAIN: Duration = Duration::from_secs(60);

/// Accounts that one transaction pays; the others are paid by the next. More would make a transaction that
/// nodes do not relay.
pub(crate) const PAYMENT_OUTPUTS_MAX: usize = 1000;

/// Weight of a transaction that nodes relay (hsd lib/protocol/policy.js, MAX_TX_WEIGHT). A heavier payment is
/// not sent.
pub(crate) const PAYMENT_WEIGHT_MAX: usize = 400_000;

/// Confirmations of a payment before the next one begins, where coinbases mature later than that.
pub(crate) const PAYMENT_DEPTH_MAX: u32 = 12;

/// Outputs of a payment that the node is asked about to see whether it is in the chain. The others are not
/// asked.
pub(crate) const OUTPUTS_ASKED_MAX: usize = 16;

/// Pages of a wallet's history, a hundred transactions each, searched for the spender of an input. Beyond it
/// the payment's state stays unknown, and nothing is paid.
pub(crate) const HISTORY_PAGES_MAX: usize = 500;

/// Bytes of an old shares file that is imported or checked. A longer one is refused.
pub(crate) const SHARES_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Findings of a ledger's check that are reported. Further ones are dropped; they are of the same kind.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// Blocks shown in a report: the latest. The others are left out.
pub(crate) const REPORT_BLOCKS_MAX: u32 = 100;

/// Milliseconds between attempts to commit what the disk refused, until [`LEDGER_PATIENCE_MS`].
pub(crate) const LEDGER_RETRY_MS: u64 = 100;

/// Milliseconds that shares wait for a disk that refuses. Then they are refused until a write succeeds.
pub(crate) const LEDGER_PATIENCE_MS: u64 = 2_000;

/// Milliseconds that another process may write to the ledger, while shares wait, before the log says so.
pub(crate) const LEDGER_STALL_MS: u64 = 2_000;

/// Milliseconds that SQLite itself waits for another process's transaction before the ledger's thread is told.
pub(crate) const LEDGER_BUSY_MS: u64 = 100;

/// Milliseconds that a stop tries to commit what is left. Then it is dropped; it was not acknowledged.
pub(crate) const LEDGER_STOP_MS: u64 = 4_000;

/// Rows kept of workers that never had a share accepted, one for each worker and ten minutes.
pub(crate) const UNPROVEN_MAX: usize = 4_096;

/// Of these, rows that are shown to other servers of the pool each second: those with the most rejects.
pub(crate) const REFUSED_TOLD_MAX: usize = 64;

/// Rows of worker statistics committed along with one group of shares, so that they do not delay it.
pub(crate) const TALLIES_PER_COMMIT: usize = 200;

/// Rows of worker statistics queued to be committed, one for each worker and ten minutes. Beyond it further
/// ones are dropped: they are not money.
pub(crate) const TALLIES_WAITING_MAX: usize = 100_000;

/// Row ids of accounts and workers that are cached. At the limit all are dropped and looked up again.
pub(crate) const LEDGER_IDS_MAX: usize = 100_000;

/// Blocks of the pool that the node is asked about at once. The others follow in later questions.
pub(crate) const LOCATE_MAX: i64 = 2_000;

/// Of these, blocks whose end is not known. If there are more they take turns.
pub(crate) const LOCATE_OPEN_MAX: i64 = 1_000;

/// Of these, blocks that are final and far below the tip; they take turns.
pub(crate) const LOCATE_REST_MAX: i64 = 100;

/// Milliseconds that the node's answer about blocks is awaited. Then it may be asked again.
pub(crate) const LOCATE_MS: u64 = 5_000;

/// Heights below the tip down to which every block of the pool is checked again with each question.
pub(crate) const WATCHED_HEIGHTS: u32 = 1_000;

/// Rows that one slice of the ledger's compaction reads, so that shares do not wait for it.
pub(crate) const COMPACT_ROWS: i64 = 1_000;

/// Milliseconds between two slices of the compaction.
pub(crate) const COMPACT_PAUSE_MS: u64 = 50;

/// Milliseconds until the compaction checks again when nothing was left to do.
pub(crate) const COMPACT_EVERY_MS: u64 = 60_000;

/// The same while it waits for a server that has not shipped everything.
pub(crate) const COMPACT_BEHIND: Duration = Duration::from_secs(5);

/// Heights below the tip whose credit is kept uncompacted.
pub(crate) const CREDIT_HEIGHTS_KEPT: u32 = 144;

/// Milliseconds between batches for the shared ledger, while shares are pending. A new tip and a stop seal
/// one at once.
pub(crate) const SEAL_EVERY_MS: u64 = 1_000;

/// Bytes of batches waiting for the shared ledger. Beyond it new shares stay pending, summed up, until some
/// batches are shipped; shares are accepted all the same.
pub(crate) const OUTBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Seconds that batches are kept after they were shipped.
pub(crate) const OUTBOX_KEPT_S: i64 = 7 * 86_400;

/// Bytes of the ledger's write-ahead log from which another thread copies it into the file. A copy syncs
/// twice beside the groups of shares, which wait for it.
pub(crate) const WAL_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of the write-ahead log from which the ledger's thread finishes the copy itself, so that the log can
/// be reset.
pub(crate) const WAL_BYTES_HIGH: u64 = 64 * 1024 * 1024;

/// Interval at which the log is checked besides that. A log longer than [`WAL_BYTES`] that was not written to
/// since the last check is copied and truncated.
pub(crate) const WAL_LOOK: Duration = Duration::from_secs(10);

/// Interval of these attempts while readers keep the log from being reset.
pub(crate) const WAL_FINISH_EVERY: Duration = Duration::from_millis(500);

/// Bytes of a ledger's file up to which it is checked whole at the start. A larger one is not.
pub(crate) const LEDGER_CHECK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Milliseconds between two snapshots that the driver publishes.
pub(crate) const LIVE_MS: u64 = 1_000;

/// Milliseconds between two snapshots of the workers, which cost time for each worker.
pub(crate) const LIVE_WORKERS_MS: u64 = 2_000;

/// Workers copied into the snapshot at a time, about: a millisecond and a half of the driver's loop.
pub(crate) const LIVE_SLICE: usize = 2_048;

/// Milliseconds before the next of them are copied.
pub(crate) const LIVE_SLICE_MS: u64 = 10;

/// Milliseconds after the last reader of the workers' snapshot for which it is still made.
pub(crate) const LIVE_ASKED_MS: u64 = 60_000;

/// Maximum age of the driver's snapshot. A driver that publishes none for so long is reported as in trouble.
pub(crate) const LIVE_ANSWER: Duration = Duration::from_secs(3);

/// Groups of shares on their way to the ledger whose latency is measured. Further ones are not measured.
pub(crate) const LIVE_REPLIES_MAX: usize = 65_536;

/// Found blocks whose races are remembered, about 150 bytes each; older ones are forgotten.
pub(crate) const RACES_MAX: usize = 1000;
/// Blocks of anybody that are remembered as possible rivals of a block found later.
pub(crate) const RACES_SEEN_MAX: usize = 64;

const _: () = assert!(WAL_BYTES < WAL_BYTES_HIGH && LEDGER_STOP_MS < CLOSE_MS);
const _: () = assert!(FINISH_MS + WEBHOOK_CALL_MS + WEBHOOK_STOP_MS < CLOSE_MS);
const _: () = assert!(OUT_BYTES_HIGH < OUT_BYTES_MAX && READ_BYTES < OUT_BYTES_HIGH);

/// Seconds over which a drain moves miners away if the operator does not say.
pub(crate) const DRAIN_S: u64 = 60;

/// Silence allowed to a host of the shared ledger in each step of connecting. Then the next host is tried.
pub(crate) const SQL_CONNECT: Duration = Duration::from_secs(3);

/// Milliseconds beyond a statement's own time limit that its answer is awaited. Then the connection counts as
/// lost: the database, its host or the network hangs.
pub(crate) const SQL_ANSWER_MS: u64 = 5_000;

/// Host names that the system resolver is asked for at a time. Beyond it a lookup fails.
pub(crate) const RESOLVING_MAX: usize = 8;

/// Time for which the database's host may leave TCP data unacknowledged. Then the connection is lost.
pub(crate) const SQL_SILENCE: Duration = Duration::from_secs(10);

/// Milliseconds for one statement of the shared ledger. Then it has failed.
pub(crate) const SQL_STATEMENT_MS: u64 = 30_000;

/// Milliseconds that a transaction of the shared ledger may wait for its next statement. Then the database
/// ends the session, since others may be waiting for its locks.
pub(crate) const SQL_IDLE_MS: u64 = 10_000;

/// Milliseconds for one statement of the shared ledger in a command that an operator waits for.
pub(crate) const SQL_PATIENCE_MS: u64 = 600_000;

/// Milliseconds after it was last seen for which HTTP shows a server as running.
pub(crate) const SERVER_LIVE_MS: u64 = 10_000;

/// Time after it was last seen for which a payout waits for the shares that a server has not shipped.
pub(crate) const SERVER_AWAITED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Prepared statements cached for a connection. At the limit all are dropped and prepared again.
pub(crate) const SQL_STATEMENTS_MAX: usize = 128;

/// Interval at which users, bans, drains and found blocks of other servers are polled, in case no
/// notification comes.
pub(crate) const SHARED_LOOK: Duration = Duration::from_secs(1);

/// Time that a start waits for the shared ledger where it can do without it (users are cached in a file).
pub(crate) const SHARED_START: Duration = Duration::from_secs(2);

/// Time that a start waits for the shared ledger where no users are cached, so that nobody could mine; one
/// unresponsive host is skipped within it. Then the start fails.
pub(crate) const SHARED_FIRST_START: Duration = Duration::from_secs(60);

/// Time without writing users or bans to the shared ledger after it was found to be away.
pub(crate) const SHARED_AWAY: Duration = Duration::from_secs(2);

/// Time that a stop waits for threads that write to the disk. Then they are left behind: nothing they had
/// still to write was acknowledged.
pub(crate) const WORKERS_STOP: Duration = Duration::from_secs(6);

/// Time that a stop waits for threads that may be waiting for the shared ledger. Unshipped batches are
/// shipped after the next start.
pub(crate) const SHARED_STOP: Duration = Duration::from_secs(2);

/// Seconds that an expired ban stays in the shared ledger.
pub(crate) const SHARED_BANS_KEPT_S: u64 = 7 * 24 * 60 * 60;

/// Bytes of a block that is read back. hsd's blocks are at most 1 MB without and 4 MB with their witnesses
/// (hsd lib/protocol/consensus.js, MAX_RAW_BLOCK_SIZE). Anything larger is not taken for a block.
pub(crate) const BLOCK_BYTES_MAX: u64 = 8 << 20;

/// Longest text of a block's split in the spool, in bytes: 100,000 accounts need a tenth of it.
pub(crate) const SPLIT_BYTES_MAX: u64 = 128 << 20;

/// Seconds after it was found for which a block is relayed to other servers.
pub(crate) const RELAY_S: u64 = 60 * 60;

/// Blocks queued for the shared ledger. Beyond it the oldest is dropped from the relay.
pub(crate) const RELAY_OWED_MAX: usize = 16;

/// Blocks of other servers that are looked at: the latest. The others are ignored.
pub(crate) const RELAY_LISTED_MAX: usize = 256;

/// Seconds that a block stays in the shared ledger.
pub(crate) const RELAY_KEPT_S: u64 = 24 * 60 * 60;

/// Times that a transaction is repeated after a conflict with others. Then it has failed.
pub(crate) const SQL_TRIES_MAX: u32 = 20;

/// Rows that one statement ships to the shared ledger.
pub(crate) const SHIP_ROWS: usize = 10_000;

/// Interval at which a server writes to the shared ledger that it is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Milliseconds after its last heartbeat for which other servers count a server as alive.
pub(crate) const ALIVE_MS: i64 = 10_000;

/// Time after which a split is computed again that failed or lacks balances.
pub(crate) const SPLIT_RETRY: Duration = Duration::from_secs(1);

/// Weight of an output of a coinbase that pays a script (hsd lib/primitives/output.js): what the largest payable
/// address needs.
pub(crate) const OUTPUT_WEIGHT: u32 = 4 * 44;

/// Most outputs that a split may have: as much as an eighth of a block may weigh.
pub(crate) const OUTPUTS_MAX: u32 = 2_500;

/// Interval at which payout addresses of accounts are read for solo listeners.
pub(crate) const PAYOUT_ADDRESSES_EVERY: Duration = Duration::from_secs(5);

/// Time for reading them. Then it is interrupted.
pub(crate) const PAYOUT_ADDRESSES_TIME: Duration = Duration::from_secs(10);

/// Wait between attempts to reach the shared ledger.
pub(crate) const SHARED_RETRY: Duration = Duration::from_secs(1);

/// Time without an answer of the shared ledger, which gives one each second, after which it is shown as away.
pub(crate) const SHARED_SILENT: Duration = Duration::from_secs(5);

/// Milliseconds by which the database's clock and ours may differ. Beyond it the log says so.
pub(crate) const CLOCKS_APART_MS: i64 = 5_000;

/// Waiting batches from which on the log says so.
pub(crate) const BEHIND_BATCHES: i64 = 10;

/// Milliseconds that the ledger's file has to begin a new origin. Then the shared ledger is compared again.
pub(crate) const PART_MS: u64 = 60_000;

/// Time that a thread may leave its work undone. Then an alarm is raised.
pub(crate) const DUTY_PATIENCE: Duration = Duration::from_secs(60);

/// Wait before work that ended by a panic is begun again.
pub(crate) const DUTY_AGAIN: Duration = Duration::from_secs(1);

/// Wait before a shared ledger that does not support notifications is asked for them again.
pub(crate) const LISTEN_AGAIN: Duration = Duration::from_secs(60);

/// Time that a server's node may know less chain work than the shared ledger was shown. Then the log and an
/// alarm say so.
pub(crate) const BEHIND_TOLD: Duration = Duration::from_secs(30);

/// Heights below the highest tip that a ledger was shown at which no job is made: on main, blocks are divided
/// deeper than that, and no reorganisation or slow peer brings an honest node there.
pub(crate) const JOB_BEHIND_HEIGHTS: u32 = 6;

/// Interval at which the coordinator (the holder of the lease) checks blocks in the shared ledger.
pub(crate) const COORDINATOR_EVERY: Duration = Duration::from_millis(500);

/// Blocks copied from a server's file to the shared ledger: the newest. The others are not copied.
pub(crate) const FOUND_COPIED_MAX: i64 = 10_000;

/// Seconds that a share dump waits for servers that have not shipped everything belonging to it. Then it is
/// written without.
pub(crate) const DUMP_PATIENCE_S: i64 = 10;

/// Milliseconds after it was last seen for which share dumps wait for a server: longer than a database is
/// away.
pub(crate) const AWAITED_MS: i64 = 86_400_000;

/// Seconds that the shared ledger keeps a batch's digest; longer than files keep the batch.
pub(crate) const SHARED_BATCHES_KEPT_S: i64 = 30 * 86_400;

/// Seconds before that at which a missing digest is already explained by its age: clocks differ, and shipping
/// takes time.
pub(crate) const FORGETTING_S: i64 = 86_400;

const _: () = assert!(SHARED_BATCHES_KEPT_S > 2 * OUTBOX_KEPT_S);
const _: () =
    assert!(FINISH_MS + LEDGER_STOP_MS + SHARED_STOP.as_millis() as u64 <= CLOSE_MS - 1_000);
const _: () = assert!(LEDGER_STOP_MS + 1_000 < WORKERS_STOP.as_millis() as u64);
