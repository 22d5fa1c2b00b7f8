//! Limits of HTTP, as in the module above.

use std::time::Duration;

/// HTTP connections. The next one takes the place of the one that has answered nothing for longest; where
/// all are answering it is closed.
pub(crate) const HTTP_CONNS_MAX: usize = 256;

/// Of them one address, or an IPv6 /64; loopback, where a proxy may be, as many as there are.
pub(crate) const HTTP_CONNS_PER_ADDRESS: usize = 64;

/// More, for the operator on the same machine.
pub(crate) const HTTP_CONNS_RESERVED: usize = 32;

/// Orders over HTTP that wait at a time. The next is refused with 503.
pub(crate) const HTTP_ORDERS_MAX: usize = 4;

/// Pages that are told of events. The next one is refused with 503.
pub(crate) const HTTP_LISTENERS_MAX: usize = 128;

/// Messages that wait for one of them. One that does not read is closed.
pub(crate) const HTTP_MESSAGES_WAITING_MAX: usize = 256;

/// Bytes of a request's head. A longer one is refused.
pub(crate) const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of a request. One with more is refused.
pub(crate) const HTTP_HEADERS_MAX: usize = 64;

/// How long a request's head may take. Then the connection is closed.
pub(crate) const HTTP_HEAD: Duration = Duration::from_secs(10);

/// How long a whole request may take, its body and its order too. Then it is 503.
pub(crate) const HTTP_REQUEST: Duration = Duration::from_secs(30);

/// How long an answer may take to be made. Then it is 503.
pub(crate) const HTTP_ANSWER: Duration = Duration::from_secs(15);

/// How long a connection may live; a page that is told of events comes back by itself.
pub(crate) const HTTP_CONN: Duration = Duration::from_secs(600);

/// How long what was begun on it may still take then.
pub(crate) const HTTP_CONN_END: Duration = Duration::from_secs(10);

/// How long a stop waits for what HTTP has begun.
pub(crate) const HTTP_STOP: Duration = Duration::from_millis(500);

/// How long a query of the ledger may take. Then the answer is 503.
pub(crate) const HTTP_QUERY: Duration = Duration::from_secs(8);

/// Queries of the ledger at a time. Others wait.
pub(crate) const HTTP_QUERIES_MAX: usize = 2;

/// Answers that are remembered for [`HTTP_REMEMBERED`]. Beyond it all are forgotten.
pub(crate) const HTTP_ANSWERS_MAX: usize = 256;

/// How long an answer is given again to whoever asks the same.
pub(crate) const HTTP_REMEMBERED: Duration = Duration::from_secs(1);

/// Rows of a page, where a request does not say.
pub(crate) const HTTP_ROWS: u32 = 50;

/// Rows of a page. A request for more is refused.
pub(crate) const HTTP_ROWS_MAX: u32 = 500;

/// Characters of a search. A longer one is refused.
pub(crate) const HTTP_SEARCH_CHARS_MAX: usize = 128;

/// Accounts that the open round is shown of, those with the most work.
pub(crate) const HTTP_ROUND_ACCOUNTS: u32 = 100;

/// Events that are remembered for whoever comes. The oldest is forgotten.
pub(crate) const HTTP_EVENTS_MAX: usize = 100;

/// Bytes of a body over HTTP: a name, a password and an address.
pub(crate) const HTTP_BODY_BYTES_MAX: usize = 4096;

/// How long one answer may read what the pool sent over time. The next goes on from there.
pub(crate) const HTTP_SUMS: Duration = Duration::from_secs(2);

/// Steps of time whose sums HTTP keeps. At the limit all are read anew.
pub(crate) const HTTP_SUMS_MAX: usize = 4_096;

/// How old what is about everybody may be before it is read anew, however long that takes.
pub(crate) const HTTP_KEPT: Duration = Duration::from_secs(30);

/// The same of the last day.
pub(crate) const HTTP_DAY_KEPT: Duration = Duration::from_secs(300);

/// How old it may be in a shared ledger where it is soon read.
pub(crate) const HTTP_KEPT_MIN: Duration = Duration::from_secs(1);

/// Times of its reading after which it is read anew: a twentieth of a processor.
pub(crate) const HTTP_REST: u32 = 20;

/// What is read in half of that is waited for. Else it is given as it was.
pub(crate) const HTTP_SOON: Duration = Duration::from_millis(500);

/// Workers whose last day is kept. Beyond it all are read anew.
pub(crate) const HTTP_WORKERS_MAX: usize = 1_000_000;

/// How long it is waited for where it was never read.
pub(crate) const HTTP_FIRST: Duration = Duration::from_secs(5);

/// How long reading it may take, in the background.
pub(crate) const HTTP_GATHER: Duration = Duration::from_secs(120);

/// The same of a file, whose log grows meanwhile.
pub(crate) const HTTP_GATHER_FILE: Duration = Duration::from_secs(30);

/// How long nobody begins to read a file whose log has [`super::WAL_BYTES_HIGH`]. If it has not begun anew then,
/// somebody else reads, and it is tried once more when it has grown by as much.
pub(crate) const HTTP_GIVE_WAY: Duration = Duration::from_secs(10);

/// How long a request waits for that. Then it is 503, or what is about everybody as it was.
pub(crate) const HTTP_GIVE_WAY_WAIT: Duration = Duration::from_secs(3);

/// How often it looks.
pub(crate) const HTTP_GIVE_WAY_LOOK: Duration = Duration::from_millis(20);

/// Servers of a shared ledger that HTTP shows, those that were seen last.
pub(crate) const HTTP_SERVERS_MAX: i64 = 1_000;

/// How long nobody asks a shared ledger over HTTP again that does not answer.
pub(crate) const HTTP_AWAY: Duration = Duration::from_secs(2);
