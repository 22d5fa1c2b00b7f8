//! Limits of the HTTP API, its dashboard and its metrics.

use std::time::Duration;

/// HTTP connections. A new one takes the place of the one that has been idle (no request in progress) for
/// longest; where none is idle, the new one is closed.
pub(crate) const HTTP_CONNS_MAX: usize = 256;

/// HTTP connections of one address or IPv6 /64. A new one replaces the longest idle of that address, or is
/// closed. Loopback is exempt, since a reverse proxy may connect from there.
pub(crate) const HTTP_CONNS_PER_ADDRESS: usize = 64;

/// Connections from loopback beyond [`HTTP_CONNS_MAX`], so that the operator on this machine always gets in.
pub(crate) const HTTP_CONNS_RESERVED: usize = 32;

/// Orders of the operator waiting at a time. The next is refused with 503.
pub(crate) const HTTP_ORDERS_MAX: usize = 4;

/// Lines of the log kept for the operator's console. Beyond it the oldest is dropped.
pub(crate) const LOG_LINES_MAX: usize = 500;

/// Bytes kept of such a line. The rest is cut off.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 512;

/// Raised alarms kept for the console. Beyond it the oldest is dropped.
pub(crate) const RECENT_ALARMS_MAX: usize = 50;

/// Time for which findings of the doctor about the own server are kept.
pub(crate) const EXAMINATION_KEPT: Duration = Duration::from_secs(60);

/// Time that a request waits for them. Then it is 503, or answered with the last ones.
pub(crate) const EXAMINATION: Duration = Duration::from_secs(12);

/// Age at which a plan of payouts is read again, however long reading takes; most are read earlier, see
/// [`HTTP_REST`].
pub(crate) const PLAN_KEPT: Duration = Duration::from_secs(60);

/// Rows of each list of a plan of payouts. The others are only counted.
pub(crate) const PLAN_ROWS: usize = 50;

/// Bans and their ends waiting at a time, and drains. The next is refused with 503.
pub(crate) const HTTP_BANS_MAX: usize = 16;

/// Changes by miners of what their accounts have waiting at a time. The next is refused with 503.
pub(crate) const HTTP_CHANGES_MAX: usize = 4;

/// Sessions of the operator at a time. The next ends the one that was used longest ago.
pub(crate) const SESSIONS_OF_OPERATOR_MAX: usize = 64;

/// Sessions of one account at a time. The next ends the one that was used longest ago.
pub(crate) const SESSIONS_OF_ACCOUNT_MAX: usize = 8;

/// Sessions at a time. The next ends the one of a miner that was used longest ago.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// Time for which a sign-out is remembered: longer than a sign-in may wait for its password to be checked.
pub(crate) const SIGN_OUT_KEPT: Duration = Duration::from_secs(60);

/// Keys and links of one account. The next is refused with 409.
pub(crate) const ACCOUNT_KEYS_MAX: u64 = 16;

/// Keys and links of all accounts, whose digests every server has in memory. The next is refused with 409.
pub(crate) const KEYS_MAX: u64 = 100_000;

/// Characters of the name of a key or link. A longer one is refused.
pub(crate) const KEY_NAME_CHARS_MAX: usize = 40;

/// Time between two looks whether the keys in the ledger have changed.
pub(crate) const KEYS_LOOK: Duration = Duration::from_secs(1);

/// Changes that a miner may make to an account within [`OWN_CHANGES_WITHIN`].
pub(crate) const OWN_CHANGES_MAX: u32 = 20;

/// See [`OWN_CHANGES_MAX`].
pub(crate) const OWN_CHANGES_WITHIN: Duration = Duration::from_secs(600);

/// Bytes of the shortest password that a miner may choose.
pub(crate) const OWN_PASSWORD_BYTES_MIN: usize = 8;

/// Time without a request after which a session ends.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Time after which a session ends in any case.
pub(crate) const SESSION_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Connections to the event stream. The next is refused with 503.
pub(crate) const HTTP_LISTENERS_MAX: usize = 128;

/// Connections to the event stream beyond [`HTTP_LISTENERS_MAX`], for the operator.
pub(crate) const HTTP_LISTENERS_RESERVED: usize = 16;

/// Time that a wrong sign-in takes: with the limit of connections it bounds how many are tried.
pub(crate) const WRONG_SIGN_IN: Duration = Duration::from_secs(1);

/// Time for which an address is given the same text to sign; it is taken for as long again.
pub(crate) const CHALLENGE_S: u64 = 300;

/// Time to wait for one's turn to have a signature checked.
pub(crate) const SIGNATURE_TURN: Duration = Duration::from_secs(10);

/// Time for the node to check a signature.
pub(crate) const SIGNATURE_CHECK: Duration = Duration::from_secs(5);

/// Time between two checks of signatures, each of which takes the node's thread for half a millisecond or so.
pub(crate) const SIGNATURE_PAUSE: Duration = Duration::from_millis(50);

/// Messages queued for one connection to the event stream. Beyond it the stream is closed.
pub(crate) const HTTP_MESSAGES_WAITING_MAX: usize = 256;

/// Bytes of a request's head. A longer one is refused.
pub(crate) const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of a request. A request with more is refused.
pub(crate) const HTTP_HEADERS_MAX: usize = 64;

/// Time to receive a request's head. Then the connection is closed.
pub(crate) const HTTP_HEAD: Duration = Duration::from_secs(10);

/// Time for a whole request, including its body and the order it gives. Then the answer is 503.
pub(crate) const HTTP_REQUEST: Duration = Duration::from_secs(30);

/// Time to make an answer. Then it is 503.
pub(crate) const HTTP_ANSWER: Duration = Duration::from_secs(15);

/// Lifetime of a connection. Then it is closed gracefully; the dashboard's event stream reconnects by itself.
pub(crate) const HTTP_CONN: Duration = Duration::from_secs(600);

/// Time that a request in progress has left when its connection reaches [`HTTP_CONN`]. Then it is cut off.
pub(crate) const HTTP_CONN_END: Duration = Duration::from_secs(10);

/// Time that a stop waits for HTTP requests in progress. Then they are cut off.
pub(crate) const HTTP_STOP: Duration = Duration::from_millis(500);

/// Time for one query of the ledger. Then the answer is 503.
pub(crate) const HTTP_QUERY: Duration = Duration::from_secs(8);

/// Queries of the ledger at a time. Others wait.
pub(crate) const HTTP_QUERIES_MAX: usize = 2;

/// Answers cached for [`HTTP_REMEMBERED`]. At the limit all are dropped.
pub(crate) const HTTP_ANSWERS_MAX: usize = 256;

/// Time that a cached answer is given again to the same request.
pub(crate) const HTTP_REMEMBERED: Duration = Duration::from_secs(1);

/// Rows of a page when the request does not say.
pub(crate) const HTTP_ROWS: u32 = 50;

/// Rows of a page. A request for more is refused.
pub(crate) const HTTP_ROWS_MAX: u32 = 500;

/// Characters of a search. A longer one is refused.
pub(crate) const HTTP_SEARCH_CHARS_MAX: usize = 128;

/// Accounts shown of the open round: those with the most work. The others are left out.
pub(crate) const HTTP_ROUND_ACCOUNTS: u32 = 100;

/// Recent events kept for new connections to the event stream. Beyond it the oldest is dropped.
pub(crate) const HTTP_EVENTS_MAX: usize = 100;

/// Bytes of a request's body (a name, a password and an address). A longer one is refused.
pub(crate) const HTTP_BODY_BYTES_MAX: usize = 4096;

/// Time that one request may spend reading the pool's work history. Then it answers with the part that was
/// read, and the next request continues from there.
pub(crate) const HTTP_SUMS: Duration = Duration::from_secs(2);

/// Time steps of the work history whose sums are cached. At the limit all are dropped and read again.
pub(crate) const HTTP_SUMS_MAX: usize = 4_096;

/// Age at which a cached query over all accounts or workers is read again, however long reading takes; most
/// are read earlier, see [`HTTP_REST`].
pub(crate) const HTTP_KEPT: Duration = Duration::from_secs(30);

/// The same for the sums of the last day.
pub(crate) const HTTP_DAY_KEPT: Duration = Duration::from_secs(300);

/// The same for the estimates of all accounts, which in a large pool read millions of rows.
pub(crate) const HTTP_ESTIMATES_KEPT: Duration = Duration::from_secs(600);

/// Minimum age of a cached query of a shared ledger before it is read again.
pub(crate) const HTTP_KEPT_MIN: Duration = Duration::from_secs(1);

/// A cached query is read again after this many times the time that the last reading took, so that reading
/// takes up at most a twentieth of a processor.
pub(crate) const HTTP_REST: u32 = 20;

/// Time that a request waits for a cached query to be read again, if the last reading took less than half of
/// it. Else the cached result is given at once, however old.
pub(crate) const HTTP_SOON: Duration = Duration::from_millis(500);

/// Workers whose sums of the last day are cached. At the limit all are dropped and read again.
pub(crate) const HTTP_WORKERS_MAX: usize = 1_000_000;

/// Time that a request waits for a cached query that was never read. Then it is 503.
pub(crate) const HTTP_FIRST: Duration = Duration::from_secs(5);

/// Time for a cached query of a shared ledger, in the background. Then it is interrupted.
pub(crate) const HTTP_GATHER: Duration = Duration::from_secs(120);

/// The same for a ledger's file, whose write-ahead log cannot be reset meanwhile and grows.
pub(crate) const HTTP_GATHER_FILE: Duration = Duration::from_secs(30);

/// Time that no new reading of the ledger's file begins once its write-ahead log has
/// [`super::WAL_BYTES_HIGH`], so that the log can be reset. If it has not been by then, another process's
/// reading prevents it: readings go on, and pause once more when the log has grown by as much again.
pub(crate) const HTTP_GIVE_WAY: Duration = Duration::from_secs(10);

/// Time that a request waits for that. Then it is 503, or answered with the cached result where there is one.
pub(crate) const HTTP_GIVE_WAY_WAIT: Duration = Duration::from_secs(3);

/// Interval at which such a request checks the log's length.
pub(crate) const HTTP_GIVE_WAY_LOOK: Duration = Duration::from_millis(20);

/// Servers of a shared ledger that HTTP shows: those seen last. The others are left out.
pub(crate) const HTTP_SERVERS_MAX: i64 = 1_000;

/// Time for which queries of a shared ledger that has not answered fail at once, without asking it again.
pub(crate) const HTTP_AWAY: Duration = Duration::from_secs(2);
