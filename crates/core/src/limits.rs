//! Every limit of the pool and the proxy: its unit, its reason, and the effect of reaching it.

/// Bytes of one line from a miner, without its newline. A longer line is answered with an error and the
/// connection is closed.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of an HTTP request's head on the stratum port. At a longer one the connection is closed without
/// an answer.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Header lines of an HTTP request on the stratum port. At more the connection is closed without an
/// answer.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Bytes of a name (`account` or `account.worker`) after its control characters were removed. A request
/// with a longer one is refused as malformed.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a password on the wire. A request with a longer one is refused as malformed.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Users authorized on one connection. The next one is refused.
pub const USERS_PER_SESSION_MAX: usize = 1024;

/// Names without an accepted share that every connection may have, whatever the others have: a name takes
/// up to half a kilobyte and costs its sender no work. Names beyond it count against
/// [`NAMES_UNPROVEN_ALL_MAX`].
pub const NAMES_UNPROVEN_MAX: usize = 4;

/// Names without an accepted share beyond [`NAMES_UNPROVEN_MAX`], on all connections together: room for
/// proxies of others, which log in a whole farm at once. The next one is refused.
pub const NAMES_UNPROVEN_ALL_MAX: usize = 65_536;

/// Replies of one connection that wait for the ledger or a password check; accepted shares whose sender
/// expects no reply are counted too. At the limit its further lines wait unread.
pub const PENDING_REPLIES_MAX: usize = 1024;

/// Bytes of the waiting replies of one connection. At the limit its further lines wait unread.
pub const PENDING_REPLY_BYTES_MAX: usize = 64 * 1024;

/// Templates whose shares are still accepted; the plugin keeps as many. Shares of an older one are
/// answered `job not found`, and its blocks are not offered. With one template a second, a share that a
/// bad line has delayed by half a minute still counts.
pub const TEMPLATES_MAX: usize = 32;

/// Jobs of one connection alone that are remembered. Shares of an older one are answered `job not found`.
pub const OWN_JOBS_MAX: usize = 8;

/// Shared jobs that are remembered: one for each template, and fresh ones made when a job is full. Shares
/// of an older one are answered `job not found`.
pub const SHARED_JOBS_MAX: usize = 2 * TEMPLATES_MAX;

/// Difficulties of one connection that are remembered with the jobs they apply to. Beyond it the oldest
/// is forgotten, and shares of its jobs are answered `job not found`.
pub const ASSIGNMENTS_MAX: usize = 16;

/// Shares remembered for one job to find duplicates. At the limit everybody gets a fresh job; the old one
/// still accepts shares up to twice the limit.
pub const SHARES_PER_JOB_MAX: usize = 4_000_000;

/// Shares remembered for all jobs together, at most about 40 bytes each. When half of them have come,
/// everybody gets a fresh job, and jobs from before the previous such fresh job accept no more shares;
/// their blocks are still offered. Their miners were sent a newer job eight million shares ago.
pub const SHARES_REMEMBERED_MAX: usize = 16_000_000;

/// Shares that wait for the ledger, those of closed connections included. Beyond it new ones are refused
/// with `ledger unavailable`, as when the ledger fails.
pub const SHARES_WAITING_MAX: usize = 2_000_000;

/// Found blocks that the node has not answered yet. Beyond it the pool forgets the oldest, which the
/// spool still has. Also the blocks of one template that wait for its transactions: beyond it they are
/// not spooled.
pub const FOUND_BLOCKS_MAX: usize = 4096;

/// Hashes remembered of blocks offered to the node, so that none is offered twice. Beyond it the oldest
/// is forgotten.
pub const OFFERED_HASHES_MAX: usize = 65_536;

/// Milliseconds without a job after which the port stops listening and miners are reset, so that they
/// fail over to another pool.
pub const JOBLESS_GRACE_MS: u64 = 15_000;

/// Milliseconds between the misbehaviour of a connection and its reset: a HandyMiner reconnects within
/// milliseconds.
pub const CLOSE_DELAY_MS: u64 = 5_000;

/// Connections that wait for their reset. Beyond it the one that has waited longest is reset at once.
pub const CLOSING_LATER_MAX: usize = 16_384;

/// Password checks in progress at a time. Others wait in `password_queue`.
pub const QUESTIONS_ASKED_MAX: usize = 16;

/// Milliseconds without a byte to a miner after which its difficulty is repeated: a Goldshell gives up
/// after 120 s without a byte.
pub const KEEPALIVE_MS: u64 = 50_000;

/// Misbehaviour score at which a connection is dropped.
pub const SCORE_MAX: u32 = 1_000;
/// Score for a share above its target. It is low, because an honest miner sends some after a change of
/// difficulty.
pub const SCORE_LOW_SHARE: u32 = 1;
/// Milliseconds after a connection's first job during which shares above the target do not score: a
/// Goldshell goes on with its own start difficulty for a while.
pub const LOW_SHARE_GRACE_MS: u64 = 60_000;
/// Score for a duplicate share.
pub const SCORE_DUPLICATE: u32 = 10;
/// Score for a line that is not a valid request.
pub const SCORE_MALFORMED: u32 = 10;
/// Score for a wrong admin password in `mining.authorize_admin`.
pub const SCORE_BAD_ADMIN: u32 = 10;
/// Score for a wrong password in `mining.authorize`.
pub const SCORE_BAD_PASSWORD: u32 = 10;
/// Score forgiven each second.
pub const SCORE_DECAY_PER_S: u32 = 1;

/// Milliseconds in which a connection must be subscribed and authorized. Then it is reset.
pub const LOGIN_MS: u64 = 60_000;

/// Connections dropped for misbehaviour from an address where nobody mines. At the limit the address is
/// banned.
pub const BAN_DROPS: u32 = 4;

/// Milliseconds from the first dropped connection during which an address's drops are counted, and a ban
/// that follows from them lasts.
pub const BAN_MS: u64 = 10 * 60_000;

/// Addresses whose drops, or wrong passwords, are counted. Beyond it the oldest is forgotten.
pub const BANNED_ADDRESSES_MAX: usize = 4096;

/// Addresses banned by the operator. The next one is refused.
pub const OPERATOR_BANS_MAX: usize = 4096;

/// Bytes of the reason of a ban. A longer one is refused.
pub const BAN_REASON_BYTES_MAX: usize = 256;

/// Seconds over which a drain may be spread. A longer time is refused.
pub const DRAIN_S_MAX: u64 = 3600;

/// Workers in one answer to the operator. Further ones are asked for by the index to start from.
pub const WORKERS_LISTED_MAX: usize = 1_000;

/// Users listed in one answer.
pub const USERS_LISTED_MAX: usize = 500;

/// Milliseconds during which the shared ledger must be unreachable before an alarm is raised.
pub const LINK_PATIENCE_MS: u64 = 60_000;

/// Milliseconds without a job, or with a stalled ledger, before an alarm is raised.
pub const ALARM_PATIENCE_MS: u64 = 15_000;

/// Bytes of the ledger's log at which an alarm is raised.
pub const LEDGER_LOG_LARGE: u64 = 256 << 20;

/// Workers watched for silence. Further ones are not watched.
pub const WATCHED_WORKERS_MAX: usize = 100_000;

/// Workers named in an alarm. Further ones are only counted.
pub const ALARM_NAMES_MAX: usize = 10;

/// Blocks remembered so that no alarm about them is repeated. Beyond it the oldest is forgotten.
pub const WATCHED_BLOCKS_MAX: usize = 4096;

/// Milliseconds for which the difficulty of an ended session is remembered for a miner that resumes it.
pub const HINT_MS: u64 = 10 * 60_000;

/// Milliseconds between two jobs that a connection gets because it has requested a difficulty. A request
/// in between takes effect with the next job, at the latest with the next check of all sessions.
pub const WISH_MS: u64 = 5_000;

/// Addresses whose refused logins are remembered. Beyond it the one silent longest is forgotten.
pub const REFUSALS_MAX: usize = 256;

/// Milliseconds between two log lines about refused logins of one address. The later line counts those
/// left out.
pub const REFUSALS_QUIET_MS: u64 = 60_000;

/// Log lines of each level that strangers may cause in [`LOG_LIMIT_MS`]. Further ones are left out, and
/// counted in one line.
pub const STRANGER_LINES_MAX: u32 = 20;
/// Milliseconds for which [`STRANGER_LINES_MAX`] holds.
pub const LOG_LIMIT_MS: u64 = 1_000;

/// Milliseconds without a refused or displaced connection after which the alarm about a full pool ends.
pub const CROWD_QUIET_MS: u64 = 60_000;

/// Milliseconds between two checks of all sessions for silence.
pub const SWEEP_MS: u64 = 5_000;

/// Milliseconds between two reports of submitted shares to the ledger.
pub const TALLY_MS: u64 = 10_000;

/// Workers in one report of submitted shares. At this count of tallies kept of closed connections they
/// are reported at once; tallies of open connections beyond it wait for the next report.
pub const TALLIES_MAX: usize = 65_536;

/// Seconds by which a share's time may be ahead of the clock (hsd lib/blockchain/chain.js: two hours). A
/// later one is rejected with `time too new`.
pub const TIME_AHEAD_MAX_S: u64 = 2 * 60 * 60;

/// Seconds by which the clock must have gone back for fresh jobs to be sent.
pub const CLOCK_BACK_S: u64 = 60;

/// Wrong passwords from one address within [`GUESS_MS`], even if miners earn there: of the admin, or of those who
/// sign in. At the limit passwords from there are refused unchecked, right or wrong, until the time is over.
pub const GUESSES_MAX: u32 = 10;
/// Milliseconds for which [`GUESSES_MAX`] holds, from the first wrong password on.
pub const GUESS_MS: u64 = 10 * 60_000;

/// Sign-ins whose passwords are checked or wait for it, at a time: each delays the logins of miners by a check at
/// most.
pub const SIGN_INS_WAITING_MAX: usize = 32;
/// Those of one address.
pub const SIGN_INS_OF_ADDRESS_MAX: usize = 4;

/// Servers of one proxy. With more it refuses to start.
pub const BACKENDS_MAX: usize = 64;

/// Bytes of one line from a server; the longest is a list of transactions. A longer one counts as a
/// violation of the protocol.
pub const SERVER_LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Requests of one miner that its server has not answered. At the limit its further lines wait unread.
pub const PROXY_REQUESTS_MAX: usize = 64;

/// Bytes of a user agent, or of the parameters of `mining.configure`, that a proxy repeats to each
/// server: with the bytes it adds, the line stays within the limit. A longer agent is replaced by an
/// empty one; longer parameters are not repeated.
pub const PROXY_PARAMS_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

/// Bytes of names and passwords that a proxy remembers of one miner. The next user is refused.
pub const PROXY_USER_BYTES_MAX: usize = 16 * 1024;

/// Jobs of one connection to a server that a proxy remembers, as many as the server itself accepts shares
/// of. Shares of an older one are answered `job not found`.
pub const JOBS_PER_LINK_MAX: usize = SHARED_JOBS_MAX + OWN_JOBS_MAX;

/// Misbehaviour score at which a proxy drops a miner: a little below the server's limit, because the
/// server knows its connections only as the proxy's.
pub const PROXY_SCORE_MAX: u32 = SCORE_MAX - SCORE_MAX / 10;

/// Milliseconds in which a miner must be subscribed and authorized through a proxy: a little less than at
/// the server. Then it is reset.
pub const PROXY_LOGIN_MS: u64 = LOGIN_MS - 5_000;

/// Logins in progress at one server at a time, so that a server that takes over another's miners is not
/// overloaded. Further miners wait in a queue.
pub const LOGINS_PER_BACKEND: usize = 128;

/// Milliseconds in which a connection to a server must be established. Then another server is tried.
pub const LINK_DIAL_MS: u64 = 1_000;

/// Milliseconds in which a login at a server must be complete. Then another server is tried.
pub const LINK_LOGIN_MS: u64 = 3_000;

/// Milliseconds for which a miner that moves waits for the last answers of a server that is still up.
/// Then the server is treated as lost.
pub const LEAVING_MS: u64 = 2_000;

/// Milliseconds until a miner that no server has taken tries all of them again; half of it is spread by
/// session.
pub const RETRY_MS: u64 = 500;

/// Milliseconds between two losses of one server beyond which they count as two outages.
pub const OUTAGE_MS: u64 = 10_000;

/// Failed logins of one miner because its extranonce1 was in use. At the limit the miner is reset.
pub const MISMATCHES_MAX: u32 = 16;

/// The same limit for a miner on an unfit server, where its work may be worth nothing.
pub const MISMATCHES_UNFIT_MAX: u32 = 2;

/// Connections to servers that a miner may lose within [`SERVER_LOSSES_MS`]. More are taken for the
/// miner's own fault, and it is reset.
pub const SERVER_LOSSES_MAX: u32 = 8;
/// Milliseconds for which [`SERVER_LOSSES_MAX`] holds.
pub const SERVER_LOSSES_MS: u64 = 60_000;

/// Milliseconds between an answer of a server and its next probe.
pub const PROBE_EVERY_MS: u64 = 200;

/// Milliseconds for which a probe keeps its connection; the server closes those that do not mine after
/// [`LOGIN_MS`].
pub const PROBE_LIFE_MS: u64 = 40_000;

/// Milliseconds until a server that could not be reached is tried again.
pub const PROBE_RETRY_MS: u64 = 200;

/// Answers in a row that a server that was down must give before miners are sent to it.
pub const PROBES_GOOD: u32 = 3;

/// Shortest time in milliseconds for which a server that went down gets no miners; doubled each time that
/// it goes down again within [`DOWN_MS_MAX`].
pub const DOWN_MS: u64 = 1_000;
/// Longest such time, in milliseconds.
pub const DOWN_MS_MAX: u64 = 60_000;

/// Milliseconds for which a server may have no job, or a height below another's. Then it is unfit and its
/// miners move away.
pub const UNFIT_MS: u64 = 5_000;

/// Protocol violations of a server within [`DOWN_MS_MAX`], over all its miners' connections. At the limit
/// it counts as down.
pub const NONSENSE_MAX: u32 = 3;

/// Milliseconds over which moves are spread that are not urgent: to a server that is up again, or away
/// from one that is drained.
pub const MOVES_SPREAD_MS: u64 = 2_500;

/// Milliseconds that a server that stops waits for proxies to move its miners elsewhere.
pub const LEAVE_MS: u64 = 4_000;

/// Milliseconds until a miner that could not move to the server it belongs to tries again.
pub const MISPLACED_MS: u64 = 10_000;

/// Milliseconds between two checks of all deadlines in a proxy.
pub const PROXY_TICK_MS: u64 = 50;

const _: () = assert!(SHARES_REMEMBERED_MAX / 2 >= 2 * SHARES_PER_JOB_MAX);
const _: () = assert!(MOVES_SPREAD_MS + 1_000 < LEAVE_MS);
const _: () = assert!(PROBE_LIFE_MS < LOGIN_MS && PROXY_LOGIN_MS < LOGIN_MS);
const _: () = assert!(NAME_BYTES_MAX + PASSWORD_BYTES_MAX < LINE_BYTES_MAX);
const _: () = assert!(KEEPALIVE_MS < 60_000);
const _: () = assert!(SCORE_DUPLICATE < SCORE_MAX && SCORE_MALFORMED < SCORE_MAX);
