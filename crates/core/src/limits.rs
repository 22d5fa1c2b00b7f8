//! Every limit of the pool, what it protects, and what happens when it is met.

/// Bytes of one line from a miner without its newline. A longer one is answered with an error and
/// the connection is closed.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of an HTTP request's head on the stratum port. A longer one is closed without an answer.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Header lines looked at in an HTTP request on the stratum port.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Bytes of a name (`account` or `account.worker`) after control characters were taken out.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a password on the wire.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Users authorized on one connection. The next one is refused.
pub const USERS_PER_SESSION_MAX: usize = 1024;

/// Of them, those without an accepted share that every connection may have: a name costs up to half a
/// kilobyte and no work.
pub const NAMES_UNPROVEN_MAX: usize = 4;

/// Names without an accepted share beyond [`NAMES_UNPROVEN_MAX`], on all connections together: for
/// proxies of others, which log in a farm at once. The next one is refused.
pub const NAMES_UNPROVEN_ALL_MAX: usize = 65_536;

/// Replies of one connection that wait for the ledger or a password check, accepted shares that want
/// no reply included. At the limit its further lines wait unread.
pub const PENDING_REPLIES_MAX: usize = 1024;

/// Bytes of replies of one connection that wait. At the limit its further lines wait unread.
pub const PENDING_REPLY_BYTES_MAX: usize = 64 * 1024;

/// Templates of which shares are still taken; the plugin keeps as many. Shares for an older one
/// are answered `job not found`, blocks too: with a template a second, what a bad line has delayed
/// for half a minute still counts.
pub const TEMPLATES_MAX: usize = 32;

/// Jobs made for one connection alone that are remembered. Shares for an older one are answered
/// `job not found`.
pub const OWN_JOBS_MAX: usize = 8;

/// Jobs for everybody that are remembered: one for each template, and fresh ones for full jobs. Shares
/// for an older one are answered `job not found`.
pub const SHARED_JOBS_MAX: usize = 2 * TEMPLATES_MAX;

/// Difficulties of one connection that are remembered with the jobs they belong to.
pub const ASSIGNMENTS_MAX: usize = 16;

/// Shares remembered for one job, so that none is taken twice. At the limit everybody gets a fresh
/// job; the old one still takes shares up to twice the limit.
pub const SHARES_PER_JOB_MAX: usize = 4_000_000;

/// Shares remembered for all jobs together, about 40 bytes each at most. When half of them have come,
/// everybody gets a fresh job, and jobs from before the last such one take no more shares; blocks of
/// theirs are offered all the same. Whoever mines was sent a newer job eight million shares ago.
pub const SHARES_REMEMBERED_MAX: usize = 16_000_000;

/// Shares that wait for the ledger, those of connections that have ended included. Beyond it new ones
/// are refused as while the ledger fails.
pub const SHARES_WAITING_MAX: usize = 2_000_000;

/// Found blocks that the node has not answered yet. Beyond it the oldest is forgotten by the pool;
/// the spool still has it. Also the blocks of one template that wait for its transactions: beyond it
/// they are not spooled.
pub const FOUND_BLOCKS_MAX: usize = 4096;

/// Block hashes remembered as offered to the node, so that none is offered twice.
pub const OFFERED_HASHES_MAX: usize = 65_536;

/// How long miners wait for a job on an open connection; then they are reset and the port stops
/// listening, so that they fail over.
pub const JOBLESS_GRACE_MS: u64 = 15_000;

/// Wait before a connection that misbehaved is reset: a HandyMiner comes back within milliseconds.
pub const CLOSE_DELAY_MS: u64 = 5_000;

/// Connections that wait to be reset. Beyond it the one that has waited longest is reset at once.
pub const CLOSING_LATER_MAX: usize = 16_384;

/// Passwords that are being checked at a time; others wait for their turn, see `turn`.
pub const QUESTIONS_ASKED_MAX: usize = 16;

/// Silence towards a miner after which its difficulty is repeated; a Goldshell gives up after
/// 120 s without a byte.
pub const KEEPALIVE_MS: u64 = 50_000;

/// Score at which a connection is dropped.
pub const SCORE_MAX: u32 = 1_000;
/// Score for a share above its target: an honest miner has some after a change of difficulty.
pub const SCORE_LOW_SHARE: u32 = 1;
/// How long after its first job a connection's low shares count for nothing: a Goldshell goes on at
/// its own start difficulty for a while.
pub const LOW_SHARE_GRACE_MS: u64 = 60_000;
/// Score for a share sent twice.
pub const SCORE_DUPLICATE: u32 = 10;
/// Score for a line that is no request.
pub const SCORE_MALFORMED: u32 = 10;
/// Score for a wrong admin password.
pub const SCORE_BAD_ADMIN: u32 = 10;
/// Score for a wrong password.
pub const SCORE_BAD_PASSWORD: u32 = 10;
/// How much of a score is forgiven each second.
pub const SCORE_DECAY_PER_S: u32 = 1;

/// How long a connection may take until it is subscribed and authorized; then it is reset.
pub const LOGIN_MS: u64 = 60_000;

/// Connections dropped from an address where nobody mines, after which the address is refused.
pub const BAN_DROPS: u32 = 4;

/// How long drops are remembered, and with them a ban.
pub const BAN_MS: u64 = 10 * 60_000;

/// Addresses remembered for what was dropped from them. The oldest is forgotten for a new one.
pub const BANNED_ADDRESSES_MAX: usize = 4096;

/// Addresses that the operator has banned. The next one is refused.
pub const OPERATOR_BANS_MAX: usize = 4096;

/// Bytes of the reason of a ban. A longer one is refused.
pub const BAN_REASON_BYTES_MAX: usize = 256;

/// Seconds over which a drain may move miners away. A longer one is refused.
pub const DRAIN_S_MAX: u64 = 3600;

/// Workers listed at once for the operator; others are asked for by where they begin.
pub const WORKERS_LISTED_MAX: usize = 1_000;

/// How long the shared ledger must be away for an alarm.
pub const LINK_PATIENCE_MS: u64 = 60_000;

/// How long there must be no job, or the ledger be stalled, for an alarm.
pub const ALARM_PATIENCE_MS: u64 = 15_000;

/// Bytes of the ledger's log from which there is an alarm.
pub const LEDGER_LOG_LARGE: u64 = 256 << 20;

/// Workers whose silence is noticed. Beyond it others are not watched.
pub const WATCHED_WORKERS_MAX: usize = 100_000;

/// Workers that an alarm names; it has the number of all.
pub const ALARM_NAMES_MAX: usize = 10;

/// Blocks that an alarm is not repeated for. The oldest is forgotten for a new one.
pub const WATCHED_BLOCKS_MAX: usize = 4096;

/// How long the difficulty of a session that ended is remembered for its return.
pub const HINT_MS: u64 = 10 * 60_000;

/// How often a connection gets a job of its own for a difficulty that it asks for. Between, what it asks
/// for comes with the next job, at the latest with the next look at all sessions.
pub const WISH_MS: u64 = 5_000;

/// Addresses whose logins were refused that are remembered. The one that was silent longest is forgotten.
pub const REFUSALS_MAX: usize = 256;

/// How long an address has no other line about a refused login. Then one says how many there were.
pub const REFUSALS_QUIET_MS: u64 = 60_000;

/// Log lines that strangers cause, of each level, in [`LOG_LIMIT_MS`]. The others are left out, and
/// counted in one line.
pub const STRANGER_LINES_MAX: u32 = 20;
/// See [`STRANGER_LINES_MAX`].
pub const LOG_LIMIT_MS: u64 = 1_000;

/// How long every connection must find a place until the alarm that some did not is over.
pub const CROWD_QUIET_MS: u64 = 60_000;

/// How often all sessions are looked at for silence.
pub const ROUND_MS: u64 = 5_000;

/// How often the ledger is told what miners have sent.
pub const TALLY_MS: u64 = 10_000;

/// Workers whose tallies the ledger is told of at once. Those of connections that ended are told at
/// this limit, whatever the time; those of connections that are open beyond it wait for the next time.
pub const TALLIES_MAX: usize = 65_536;

/// A share's time may be this far ahead of the clock (hsd lib/blockchain/chain.js: two hours).
pub const TIME_AHEAD_MAX_S: u64 = 2 * 60 * 60;

/// How far the clock must have gone back for jobs to be sent anew.
pub const CLOCK_BACK_S: u64 = 60;

/// Wrong passwords of the admin from one address within [`GUESS_MS`], whatever has been earned there.
/// Then the admin's password is not looked at from there, right or wrong, until the time is over.
pub const ADMIN_GUESSES_MAX: u32 = 10;
/// See [`ADMIN_GUESSES_MAX`].
pub const GUESS_MS: u64 = 10 * 60_000;

/// Servers that one proxy can have. The start is refused beyond it.
pub const BACKENDS_MAX: usize = 64;

/// Bytes of one line from a server; its longest is a list of transactions. Beyond it the server is
/// taken to talk nonsense.
pub const SERVER_LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Requests of one miner that its server has not answered. At the limit its further lines wait
/// unread.
pub const PROXY_REQUESTS_MAX: usize = 64;

/// Bytes of an agent, or of what a miner has configured, that a proxy says again to each server: with
/// what it adds that is no line too long. A longer agent is left out, a longer configuration is not
/// said again.
pub const PROXY_PARAMS_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

/// Bytes of names and passwords that a proxy remembers of one miner. The next user is refused.
pub const PROXY_USER_BYTES_MAX: usize = 16 * 1024;

/// Jobs of one connection to a server that are remembered: as many as the server itself takes shares
/// of. Shares for an older one are answered `job not found`.
pub const JOBS_PER_LINK_MAX: usize = SHARED_JOBS_MAX + OWN_JOBS_MAX;

/// Score at which a proxy drops a miner: a little below that of the server, which knows its
/// connections only as the proxy's.
pub const PROXY_SCORE_MAX: u32 = SCORE_MAX - SCORE_MAX / 10;

/// How long a miner may take until it is subscribed and authorized through a proxy: a little less
/// than at the server.
pub const PROXY_LOGIN_MS: u64 = LOGIN_MS - 5_000;

/// Connections to one server that are in their login at a time, so that a server that takes over
/// those of another is not stormed. The others wait for their turn.
pub const LOGINS_PER_BACKEND: usize = 128;

/// How long a connection to a server may take to be there. Then another server is tried.
pub const LINK_DIAL_MS: u64 = 1_000;

/// How long a login at a server may take. Then another server is tried.
pub const LINK_LOGIN_MS: u64 = 3_000;

/// How long a miner that moves waits for the last answers of a server that is still there.
pub const LEAVING_MS: u64 = 2_000;

/// Wait until a miner that no server would have tries them all again; half of it is spread.
pub const RETRY_MS: u64 = 500;

/// Miners that lose a server less than so long apart lose it in the same outage.
pub const OUTAGE_MS: u64 = 10_000;

/// Logins that may fail because the miner's extranonce1 is another's. Then the miner is reset.
pub const MISMATCHES_MAX: u32 = 16;

/// The same for a miner whose server is unfit: there it would mine on for nothing.
pub const MISMATCHES_UNFIT_MAX: u32 = 2;

/// Connections to servers that a miner may lose within [`SERVER_LOSSES_MS`]. Then it is its own
/// fault, and it is reset.
pub const SERVER_LOSSES_MAX: u32 = 8;
/// See [`SERVER_LOSSES_MAX`].
pub const SERVER_LOSSES_MS: u64 = 60_000;

/// How often a server is asked how it is.
pub const PROBE_EVERY_MS: u64 = 200;

/// How long the connection of a probe lasts; the server ends those that do not mine after
/// [`LOGIN_MS`].
pub const PROBE_LIFE_MS: u64 = 40_000;

/// Wait until a server that could not be reached is tried again.
pub const PROBE_RETRY_MS: u64 = 200;

/// Answers in a row that a server that was down has to give until miners come to it.
pub const PROBES_GOOD: u32 = 3;

/// How long a server that went down stays out at least; twice as long each time that it goes down
/// again soon.
pub const DOWN_MS: u64 = 1_000;
/// The longest of these times, and how soon "soon" is.
pub const DOWN_MS_MAX: u64 = 60_000;

/// How long a server may have no job, or one below another's height. Then its miners move away.
pub const UNFIT_MS: u64 = 5_000;

/// Links on which a server may talk nonsense within [`DOWN_MS_MAX`]. Then it counts as down.
pub const NONSENSE_MAX: u32 = 3;

/// Over how long moves are spread that are not urgent: to a server that has come back, or away from
/// one that is being emptied.
pub const MOVES_SPREAD_MS: u64 = 2_500;

/// How long a server that stops waits for proxies to take their miners elsewhere.
pub const LEAVE_MS: u64 = 4_000;

/// Wait until a miner that could not go where it belongs tries that again.
pub const ASTRAY_MS: u64 = 10_000;

/// How often a proxy looks at what has waited too long.
pub const PROXY_TICK_MS: u64 = 50;

const _: () = assert!(SHARES_REMEMBERED_MAX / 2 >= 2 * SHARES_PER_JOB_MAX);
const _: () = assert!(MOVES_SPREAD_MS + 1_000 < LEAVE_MS);
const _: () = assert!(PROBE_LIFE_MS < LOGIN_MS && PROXY_LOGIN_MS < LOGIN_MS);
const _: () = assert!(NAME_BYTES_MAX + PASSWORD_BYTES_MAX < LINE_BYTES_MAX);
const _: () = assert!(KEEPALIVE_MS < 60_000);
const _: () = assert!(SCORE_DUPLICATE < SCORE_MAX && SCORE_MALFORMED < SCORE_MAX);
