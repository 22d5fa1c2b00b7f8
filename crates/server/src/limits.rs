//! Every limit of the shell, what it protects, and what happens when it is met.

mod http;

use std::time::Duration;

pub(crate) use self::http::*;

/// Bytes read from one connection before another has its turn.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Connections read before the node's mail is looked at again.
pub(crate) const READS_PER_TURN: usize = 80;

/// Shares that go to the ledger together while connections wait to be read: a group costs a sync
/// and two changes of threads, whatever its size. Flat out so many come in five milliseconds.
pub(crate) const CREDITS_PER_GROUP: usize = 1024;

/// How long the first of them waits for others while connections wait to be read: who keeps the loop
/// busy, with whatever, holds up nobody's reply.
pub(crate) const GROUP_MS: u64 = 5;

/// Bytes that wait to leave on a connection. At this mark nothing more is read from it.
pub(crate) const OUT_BYTES_HIGH: usize = 64 * 1024;

/// Bytes that wait to leave on a connection. Beyond it the connection is reset: it does not read.
/// The longest reply is a list of transactions, at most about 20,000 ids of 67 bytes.
pub(crate) const OUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes that wait to leave on all connections together. Beyond it a connection to which something is
/// sent is reset if more than [`OUT_BYTES_FAIR`] wait on it: some twenty jobs that it has not read.
pub(crate) const OUT_BYTES_ALL_MAX: usize = 256 * 1024 * 1024;

/// See [`OUT_BYTES_ALL_MAX`]: what every connection may have waiting, however many others have.
pub(crate) const OUT_BYTES_FAIR: usize = 16 * 1024;

/// Lines are written whole and together up to this many bytes, so that none is cut by a segment:
/// some miners take a cut line for an error.
pub(crate) const WRITE_BYTES: usize = 1400;

/// Connections the kernel keeps for us to accept.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Connections taken from one listener before anything else has its turn; one costs 20 µs. None is
/// taken while so many that are not open yet wait to be read.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// Of the [`READS_PER_TURN`], those of connections that are not open yet. Each may be read three times
/// more before it has logged in, and honest miners wait for no more than all of that.
pub(crate) const OPENINGS_PER_TURN: usize = 16;

/// How long a connection that has logged in has to earn before it gives way to others of an address
/// that would hold as many, when all places are taken. Miners are given shares of a few seconds.
pub(crate) const UNPROVEN_MS: u64 = 60_000;

/// Ports that miners connect to: `host`:`port` and those of `listen`.
pub const LISTENERS_MAX: usize = 16;

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
pub(crate) const DESCRIPTORS_KEPT: usize = 512;

/// How often the pool is told that time has passed.
pub(crate) const TICK_MS: u64 = 250;

/// Wait between attempts to write what the disk refused.
pub(crate) const DISK_RETRY_MS: u64 = 2_000;

/// Wait between attempts to keep room for found blocks.
pub(crate) const RESERVE_RETRY: Duration = Duration::from_secs(30);

/// What stays wrong is said again after so long, then after twice as long, and so on, up to this.
pub(crate) const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);
pub(crate) const COMPLAIN_AGAIN_MAX: Duration = Duration::from_secs(3600);

/// Alarms that wait to be delivered. The oldest is dropped for a new one; the next that is delivered
/// says how many were.
pub(crate) const ALARMS_WAITING_MAX: usize = 1_000;

/// How long one delivery of an alarm may take. Then it has failed and is tried again.
pub(crate) const WEBHOOK_CALL_MS: u64 = 4_000;

/// Wait before an alarm is tried again, doubled each time up to the second.
pub(crate) const WEBHOOK_RETRY_MS: u64 = 1_000;
pub(crate) const WEBHOOK_RETRY_MS_MAX: u64 = 60_000;

/// Times that a receiver may refuse an alarm (HTTP 4xx). Then the alarm is dropped: another may please.
pub(crate) const WEBHOOK_REFUSALS_MAX: u32 = 3;

/// How long a stop tries to deliver what is left.
pub(crate) const WEBHOOK_STOP_MS: u64 = 2_000;

/// Characters of an alarm's text. Discord refuses more than 2,000.
pub(crate) const ALARM_CHARS_MAX: usize = 1_500;

/// How long the ledger may take to store an address. Then whoever asked is told that it failed.
pub(crate) const ADDRESS_MS: u64 = 5_000;

/// How long the ledger may take to tell whether an account is somebody's. Then no user is added.
pub(crate) const OWNER_LOOK: Duration = Duration::from_secs(2);

/// How long an operator's order is waited for: an address and a password may have to be written.
pub(crate) const ORDER_MS: u64 = 10_000;

/// How long a look at the pool waits for the round. Then it is as it was read last.
pub(crate) const ROUND_LOOK: Duration = Duration::from_millis(500);

/// Times of its reading after which the round is read anew.
pub(crate) const ROUND_REST: u32 = 20;

/// Threads that hash passwords; half the cores, if that is less. Each needs 4 MiB while it does.
pub(crate) const PASSWORD_THREADS_MAX: usize = 8;

/// How long a stop may take before the threads are left behind.
pub(crate) const CLOSE_MS: u64 = 10_000;

/// How long a stop waits for the last shares to become durable.
pub(crate) const FINISH_MS: u64 = 3_000;

/// Wait after a panic of the pool before it starts again.
pub(crate) const RESTART_MS: u64 = 50;

/// Rows that a payout writes or deletes in one transaction beside a running server, whose own
/// transactions wait for it: a few milliseconds.
pub(crate) const PAYOUT_ROWS_PER_TRANSACTION: u32 = 500;

/// How long what a proxy has sent to a server may wait to be acknowledged by that machine.
pub(crate) const DIALED_SILENCE: Duration = Duration::from_secs(20);

/// How long a proxy that stops waits for the answers that servers owe its miners.
pub(crate) const PROXY_STOP_MS: u64 = 1_000;

/// When no miner has moved for so long, the log says how the moves went.
pub(crate) const PROXY_MOVES_QUIET_MS: u64 = 1_000;
/// So many moves are told of at once, also while others go on: as many as there can be miners.
pub(crate) const PROXY_MOVES_MAX: usize = 1_000_000;

/// How long an order to a running proxy may take, either way.
pub(crate) const CONTROL_ANSWER_MS: u64 = 2_000;

/// How long miners may be held still while they are handed over to another process, all together. Then
/// the old one goes on.
pub(crate) const HANDOVER_MS: u64 = 5_000;

/// How long the other process may take before that to make all ready; miners notice nothing.
pub(crate) const PREPARE_MS: u64 = 10_000;

/// How often a proxy looks its servers' names up; one that cannot be found; how long a start waits for the
/// first answers.
pub(crate) const NAME_EVERY: Duration = Duration::from_secs(15);
pub(crate) const NAME_RETRY: Duration = Duration::from_secs(2);
pub(crate) const NAME_FIRST: Duration = Duration::from_secs(2);

/// Addresses of one name that a proxy tries.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Lines for standard error that wait for its reader; how long a process that ends waits for that.
pub(crate) const STDERR_LINES_MAX: usize = 1_024;
pub(crate) const STDERR_END: Duration = Duration::from_millis(500);

/// Bytes of what is handed over of one miner: what waits to leave on two connections, in hex, and more.
pub(crate) const HANDOVER_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of an order.
pub(crate) const CONTROL_LINE_BYTES: u64 = 1024;

/// How long hsd may take for an answer. Then the call has failed.
pub(crate) const HSD_CALL: Duration = Duration::from_secs(30);

/// How long hsd's wallet may take to choose coins for a payment and to sign it. Then nothing was
/// paid, and the next run begins anew.
pub(crate) const HSD_CREATE: Duration = Duration::from_secs(300);

/// Bytes of an answer of hsd. Beyond it the call has failed. Its longest are a hundred transactions
/// of a wallet's history, each with its hex; one of a payment has about 500 kB.
pub(crate) const HSD_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// What is shown of an error text of hsd.
pub(crate) const HSD_SAYING_CHARS: usize = 300;

/// Accounts that one transaction pays; the others are paid by the next. Without it a transaction
/// would outgrow what nodes pass on.
pub(crate) const PAYMENT_OUTPUTS_MAX: usize = 1000;

/// Weight of a transaction that nodes pass on (hsd lib/protocol/policy.js, MAX_TX_WEIGHT). A
/// heavier payment is not sent.
pub(crate) const PAYMENT_WEIGHT_MAX: usize = 400_000;

/// Blocks that a payment is deep before the next one begins, where coinbases mature later.
pub(crate) const PAYMENT_DEPTH_MAX: u32 = 12;

/// Outputs of a payment that a node is asked for, to see whether it is in the chain.
pub(crate) const OUTPUTS_ASKED_MAX: usize = 16;

/// Pages of a wallet's history, a hundred transactions each, in which the spender of an input is
/// looked for. Beyond it nobody can tell, and nothing is paid.
pub(crate) const HISTORY_PAGES_MAX: usize = 500;

/// Bytes of an old shares file that is imported or checked. A longer one is refused.
pub(crate) const SHARES_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Findings of a ledger's check that are told; what is beyond is of the same kind.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// Blocks that a report shows, the latest.
pub(crate) const REPORT_BLOCKS_MAX: u32 = 100;

/// Wait between attempts to commit what the disk refused, until it is given up.
pub(crate) const LEDGER_RETRY_MS: u64 = 100;

/// How long shares wait for a disk that refuses. Then they are refused until it does not.
pub(crate) const LEDGER_PATIENCE_MS: u64 = 2_000;

/// How long another process may write to the ledger before the log says so. Shares wait.
pub(crate) const LEDGER_STALL_MS: u64 = 2_000;

/// How long SQLite itself waits for another process's transaction before the keeper hears of it.
pub(crate) const LEDGER_BUSY_MS: u64 = 100;

/// How long a stop tries to commit what is left.
pub(crate) const LEDGER_STOP_MS: u64 = 4_000;

/// Rows kept of workers that never had a share accepted, by worker and ten minutes.
pub(crate) const UNPROVEN_MAX: usize = 4_096;

/// Of these, rows that other servers of the pool are told each second.
pub(crate) const REFUSED_TOLD_MAX: usize = 64;

/// Tallies committed beside one group of shares, so that they do not hold it up.
pub(crate) const TALLIES_PER_COMMIT: usize = 200;

/// Tallies that wait to be committed, by worker and ten minutes. Others are forgotten: they are not
/// money.
pub(crate) const TALLIES_WAITING_MAX: usize = 100_000;

/// Ids of accounts and of workers that are remembered. At the limit all are looked up anew.
pub(crate) const LEDGER_IDS_MAX: usize = 100_000;

/// Blocks of ours that the node is asked about at once.
pub(crate) const LOCATE_MAX: i64 = 2_000;

/// Those of them whose end is not known. If there are more they have turns.
pub(crate) const LOCATE_OPEN_MAX: i64 = 1_000;

/// Those of them that are known for good and far below the tip; they have turns.
pub(crate) const LOCATE_REST_MAX: i64 = 100;

/// How long the node's answer about blocks is waited for. Then it may be asked again.
pub(crate) const LOCATE_MS: u64 = 5_000;

/// Blocks this far below the tip are looked at for as long as their fate can be expected to change.
pub(crate) const WATCHED_HEIGHTS: u32 = 1_000;

/// Rows that one slice of the ledger's upkeep reads, so that shares do not wait for it.
pub(crate) const TIDY_ROWS: i64 = 1_000;

/// Wait between two slices of the upkeep.
pub(crate) const TIDY_PAUSE_MS: u64 = 50;

/// Wait until the upkeep is looked at again when nothing was left to do.
pub(crate) const TIDY_EVERY_MS: u64 = 60_000;

/// The same where a server is waited for.
pub(crate) const TIDY_BEHIND: Duration = Duration::from_secs(5);

/// Heights below the tip at which credit stays as it is.
pub(crate) const CREDIT_HEIGHTS_KEPT: u32 = 144;

/// How often what is pending for a shared ledger becomes a batch, while there is something. A new tip
/// and the stop have it sealed at once.
pub(crate) const SEAL_EVERY_MS: u64 = 1_000;

/// Bytes of batches that wait for the shared ledger. Then what is new stays pending, summed up, until
/// some of them are shipped: shares are taken all the same.
pub(crate) const OUTBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How long batches are kept after they were shipped, in seconds.
pub(crate) const OUTBOX_KEPT_S: i64 = 7 * 86_400;

/// Bytes of the ledger's log from which another thread copies it into the file. A copy syncs twice
/// beside the groups of shares, which wait for it.
pub(crate) const WAL_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of it from which the ledger's thread finishes the copying, so that the log begins anew.
pub(crate) const WAL_BYTES_HIGH: u64 = 64 * 1024 * 1024;

/// How often the log is looked at beside that. One that is longer than [`WAL_BYTES`] and was not written to
/// since the last look is copied and made short.
pub(crate) const WAL_LOOK: Duration = Duration::from_secs(10);

/// How often that is tried while readers keep it from beginning anew.
pub(crate) const WAL_FINISH_EVERY: Duration = Duration::from_millis(500);

/// A ledger's file up to this size is checked whole at the start.
pub(crate) const LEDGER_CHECK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How often the driver shows what it does to whoever looks.
pub(crate) const LIVE_MS: u64 = 1_000;

/// How often the workers in it are made anew: that takes time for each of them.
pub(crate) const LIVE_WORKERS_MS: u64 = 2_000;

/// Workers that the loop copies at a time for whoever looks, about: a millisecond and a half.
pub(crate) const LIVE_SLICE: usize = 2_048;

/// Wait before it copies the next ones.
pub(crate) const LIVE_SLICE_MS: u64 = 10;

/// How long after somebody looked the workers are made at all.
pub(crate) const LIVE_ASKED_MS: u64 = 60_000;

/// How old what the driver shows may be. A driver that shows nothing for so long is in trouble.
pub(crate) const LIVE_ANSWER: Duration = Duration::from_secs(3);

/// Groups of shares on their way to the ledger whose latency is measured. Others are not.
pub(crate) const LIVE_REPLIES_MAX: usize = 65_536;

const _: () = assert!(WAL_BYTES < WAL_BYTES_HIGH && LEDGER_STOP_MS < CLOSE_MS);
const _: () = assert!(FINISH_MS + WEBHOOK_CALL_MS + WEBHOOK_STOP_MS < CLOSE_MS);
const _: () = assert!(OUT_BYTES_HIGH < OUT_BYTES_MAX && READ_BYTES < OUT_BYTES_HIGH);

/// Over how long a drain moves miners away if nothing is said.
pub(crate) const DRAIN_S: u64 = 60;

/// How long a host of the shared ledger may be silent while a connection is made to it: each step. Then
/// the next host is tried.
pub(crate) const SQL_CONNECT: Duration = Duration::from_secs(3);

/// How much longer than a statement may take its answer is waited for, in milliseconds. Then the
/// connection is lost: the database, its host or the way there hangs.
pub(crate) const SQL_ANSWER_MS: u64 = 5_000;

/// Names of hosts that the system is asked for at a time. The next one is not found.
pub(crate) const RESOLVING_MAX: usize = 8;

/// How long its host may not answer the system. Then the connection is lost.
pub(crate) const SQL_SILENCE: Duration = Duration::from_secs(10);

/// How long one statement may take there, in milliseconds. Then it has failed.
pub(crate) const SQL_STATEMENT_MS: u64 = 30_000;

/// How long a transaction there may wait for its next statement, in milliseconds. Then the database ends
/// the session: others may be waiting for what it has locked.
pub(crate) const SQL_IDLE_MS: u64 = 10_000;

/// How long it may take for a command that an operator waits for, in milliseconds.
pub(crate) const SQL_PATIENCE_MS: u64 = 600_000;

/// How long after it was last seen a server counts as running, in milliseconds.
pub(crate) const SERVER_LIVE_MS: u64 = 10_000;

/// How long after it was last seen a payout waits for what a server has not shipped.
pub(crate) const SERVER_AWAITED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Statements that a connection keeps ready. At the limit all are prepared anew.
pub(crate) const SQL_STATEMENTS_MAX: usize = 128;

/// How often users, bans, drains and found blocks of other servers are looked for, where nothing is
/// heard of them.
pub(crate) const SHARED_LOOK: Duration = Duration::from_secs(1);

/// How long a start waits for the shared ledger where it can do without.
pub(crate) const SHARED_START: Duration = Duration::from_secs(2);

/// How long it waits where it cannot: nobody knows yet who may mine, and one host that hangs is passed
/// over in it. Then it has failed.
pub(crate) const SHARED_FIRST_START: Duration = Duration::from_secs(60);

/// How long nothing is written there after it was found to be away.
pub(crate) const SHARED_AWAY: Duration = Duration::from_secs(2);

/// How long a stop waits for threads that wait for the disk. Then they are left behind: what they have
/// not written was not acknowledged either.
pub(crate) const CLERKS_STOP: Duration = Duration::from_secs(6);

/// How long a stop waits for threads that may be waiting for the shared ledger. Batches that are not
/// shipped then go after the next start.
pub(crate) const SHARED_STOP: Duration = Duration::from_secs(2);

/// How long a ban that is over stays in the shared ledger.
pub(crate) const SHARED_BANS_KEPT_S: u64 = 7 * 24 * 60 * 60;

/// Bytes of a block that is read back. hsd's blocks are at most 1 MB without and 4 MB with their
/// witnesses (hsd lib/protocol/consensus.js, MAX_RAW_BLOCK_SIZE). A larger one is none.
pub(crate) const BLOCK_BYTES_MAX: u64 = 8 << 20;

/// How long after it was found a block is brought to other servers.
pub(crate) const RELAY_S: u64 = 60 * 60;

/// Blocks that wait for the shared ledger. The oldest is forgotten.
pub(crate) const RELAY_OWED_MAX: usize = 16;

/// Blocks of other servers that are looked at, the latest.
pub(crate) const RELAY_LISTED_MAX: usize = 256;

/// How long a block stays in the shared ledger.
pub(crate) const RELAY_KEPT_S: u64 = 24 * 60 * 60;

/// Times that a transaction is begun anew when others were in its way. Then it has failed.
pub(crate) const SQL_TRIES_MAX: u32 = 20;

/// Rows that one statement takes to the shared ledger.
pub(crate) const SHIP_ROWS: usize = 10_000;

/// How often a server tells the shared ledger that it is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long after that a server counts as alive.
pub(crate) const ALIVE_MS: i64 = 10_000;

/// Wait between attempts to reach the shared ledger.
pub(crate) const SHARED_RETRY: Duration = Duration::from_secs(1);

/// The shared ledger answers once a second; silent for longer, it is shown as away.
pub(crate) const SHARED_SILENT: Duration = Duration::from_secs(5);

/// How far the database's clock and ours may be apart, in milliseconds. Beyond it the log says so.
pub(crate) const CLOCKS_APART_MS: i64 = 5_000;

/// Batches that wait from which on the log says so.
pub(crate) const BEHIND_BATCHES: i64 = 10;

/// How long the file has to begin a new origin. Then the shared ledger is compared anew.
pub(crate) const PART_MS: u64 = 60_000;

/// How long something may be left undone by the thread that is there for it. Then it is an alarm.
pub(crate) const DUTY_PATIENCE: Duration = Duration::from_secs(60);

/// Wait before work that ended by a bug is begun anew.
pub(crate) const DUTY_AGAIN: Duration = Duration::from_secs(1);

/// Wait before a shared ledger that cannot tell what is new is asked to once more.
pub(crate) const LISTEN_AGAIN: Duration = Duration::from_secs(60);

/// How long a server's node may know less than the shared ledger was shown before the log and an alarm
/// say so.
pub(crate) const BEHIND_TOLD: Duration = Duration::from_secs(30);

/// So many blocks below the highest tip that a ledger was shown there is no job: what is divided is
/// deeper on main, and no reorganisation or slow peer brings an honest node there.
pub(crate) const JOB_BEHIND_HEIGHTS: u32 = 6;

/// How often a server looks after blocks in the shared ledger.
pub(crate) const JUDGE_EVERY: Duration = Duration::from_millis(500);

/// Blocks of a server's file that are brought to the shared ledger, the newest ones.
pub(crate) const FOUND_COPIED_MAX: i64 = 10_000;

/// How long a dump waits for servers that have not shipped all that belongs to it, in seconds. Then it
/// is written without.
pub(crate) const DUMP_PATIENCE_S: i64 = 10;

/// How long a server that is not heard of is waited for by dumps: longer than a database is away.
pub(crate) const AWAITED_MS: i64 = 86_400_000;

/// How long the shared ledger knows a batch's digest, in seconds. Longer than files keep the batch.
pub(crate) const SHARED_BATCHES_KEPT_S: i64 = 30 * 86_400;

/// How much earlier than that it may know no more of a batch: clocks are apart, and shipping takes time.
pub(crate) const FORGETTING_S: i64 = 86_400;

const _: () = assert!(SHARED_BATCHES_KEPT_S > 2 * OUTBOX_KEPT_S);
const _: () =
    assert!(FINISH_MS + LEDGER_STOP_MS + SHARED_STOP.as_millis() as u64 <= CLOSE_MS - 1_000);
const _: () = assert!(LEDGER_STOP_MS + 1_000 < CLERKS_STOP.as_millis() as u64);
