//! Limits of what accounts are told.

use std::time::Duration;

/// Interval at which the ledger is looked through for what accounts are to be told.
pub(crate) const ALERT_WATCH: Duration = Duration::from_secs(10);

/// Interval at which silence and hashrates are looked at, which takes as long as accounts with contacts have workers.
pub(crate) const ALERT_WORKERS: Duration = Duration::from_secs(60);

/// Alerts that are written in one transaction: shares wait for it. The others follow.
pub(crate) const ALERTS_WRITTEN_AT_ONCE: usize = 100;

/// Contacts of a way that are told in one turn. The others follow in the next.
pub(crate) const CONTACTS_IN_A_TURN: u32 = 32;

/// Silent workers that are written at a time: shares wait for it. The others follow.
pub(crate) const SILENT_WORKERS_MAX: u32 = 100;

/// Interval at which what waits in the ledger is sent.
pub(crate) const ALERT_LOOK: Duration = Duration::from_secs(3);

/// Seconds that an alert waits for others, so that they are one message.
pub(crate) const ALERT_GATHER_S: i64 = 5;

/// Seconds between two messages to a contact: what happens meanwhile is the next one.
pub(crate) const ALERT_PAUSE_S: i64 = 600;

/// Seconds until a message that was not taken is tried again. They double each time.
pub(crate) const ALERT_RETRY_S: i64 = 30;

/// The same at most.
pub(crate) const ALERT_RETRY_S_MAX: i64 = 3_600;

/// Seconds for which an alert is tried. Then it is given up.
pub(crate) const ALERTS_TRIED_S: i64 = 86_400;

/// Seconds back from now that blocks and payments are looked for: a server that was away for so long tells nobody of what
/// came before.
pub(crate) const ALERT_LOOK_BACK_S: i64 = 86_400;

/// Seconds that alerts stay in the ledger, so that nothing is told twice: longer than is looked back.
pub(crate) const ALERTS_KEPT_S: i64 = 3 * 86_400;

/// Interval at which those are deleted.
pub(crate) const ALERT_TIDY: Duration = Duration::from_secs(600);

/// Alerts of a contact that wait to be sent. Beyond it nothing more is written for it.
pub(crate) const ALERTS_OF_ACCOUNT_MAX: u32 = 500;

/// Accounts whose sign-ins wait to be written. Beyond it those of others are not told.
pub(crate) const ALERTS_NOTED_MAX: usize = 10_000;

/// Addresses of the sign-ins of an account that wait to be written. Further ones are not told.
pub(crate) const SIGN_INS_NOTED_MAX: usize = 5;

/// Time for one step of a message's delivery. Then it is tried again later.
pub(crate) const ALERT_CALL: Duration = Duration::from_secs(5);

/// Time for a mail's delivery, whole.
pub(crate) const MAIL_CALL: Duration = Duration::from_secs(15);

/// Deliveries of mail at a time, those that were given up and hang included. Beyond it none begins.
pub(crate) const MAILS_AT_ONCE: usize = 4;

/// Time for which nothing is sent to a receiver that has not answered, so that others do not wait for it.
pub(crate) const RECEIVER_REST: Duration = Duration::from_secs(30);

/// Milliseconds for which one of several servers does a work of alerts without having said so again.
pub(crate) const ALERT_LEASE_MS: u32 = 60_000;

/// Lines of a message. Further ones are counted.
pub(crate) const ALERT_LINES_MAX: usize = 20;

/// Names of workers in a line. Further ones are counted.
pub(crate) const ALERT_NAMES_MAX: usize = 20;

/// Characters of a name in a message.
pub(crate) const ALERT_NAME_CHARS_MAX: usize = 40;

/// Bytes of a mail address, a chat or a topic.
pub(crate) const CONTACT_BYTES_MAX: usize = 254;

/// Seconds after its end for which a contact still hears of changes of its account: whoever takes an account over changes
/// the contact first.
pub(crate) const CONTACT_TOLD_ON_S: i64 = 7 * 86_400;

/// Contacts of a way that do so. Of further ones nothing is kept.
pub(crate) const CONTACTS_ENDED_MAX: usize = 3;

/// Minutes for which a code confirms a contact.
pub(crate) const CODE_MINUTES: u64 = 15;

/// Wrong codes after which the right one no longer counts.
pub(crate) const CODE_TRIES: u32 = 5;

/// Time within which [`CODES_WITHIN_MAX`] counts.
pub(crate) const CODES_WITHIN: Duration = Duration::from_secs(3_600);

/// Codes that a server sends within that time.
pub(crate) const CODES_WITHIN_MAX: usize = 100;

/// The same to one contact.
pub(crate) const CODES_OF_TARGET_MAX: usize = 3;

/// The same for one account.
pub(crate) const CODES_OF_ACCOUNT_MAX: usize = 6;

/// Codes that are being sent at a time. Beyond it an account has to ask again.
pub(crate) const CODES_SENT_AT_ONCE: usize = 2;

/// Time since its sign-in for which a session may change what its account is told, and where: one that was stolen is older.
pub(crate) const FRESH_SESSION: Duration = Duration::from_secs(900);

/// Seconds back from now in which a worker has sent shares, so that its silence is told.
pub(crate) const SILENT_WITHIN_S: i64 = 2 * 3_600;

/// Shares that a worker would have sent during its silence: with fewer it may be chance (e^-10 is 1 in 22,000).
pub(crate) const SILENT_SHARES_MIN: i64 = 10;

/// Accounts whose workers are silent when most workers are, so that it is the pool's trouble.
pub(crate) const OUTAGE_ACCOUNTS_MIN: i64 = 3;

/// Seconds of the hashrate that is compared with that of [`DROP_BEFORE_S`] before.
pub(crate) const DROP_WITHIN_S: i64 = 1_800;

/// See [`DROP_WITHIN_S`].
pub(crate) const DROP_BEFORE_S: i64 = 7_200;

/// Seconds after which a fall is told again: longer than what is compared.
pub(crate) const DROP_PAUSE_S: i64 = 3 * 3_600;
