//! Heartbeat of a server: writes once a second that it is alive, and reads which other servers are.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hstratum_core::units::Height;
use postgres::Client;

use super::cluster_status::{Member, ServerReport};
use super::origin;
use super::restore_detection::WriteMark;
use super::settings_comparison::differences;
use super::status_log::StatusLog;
use crate::limits::{ALIVE_MS, CLOCKS_APART_MS, HEARTBEAT};
use crate::sql::sqlite_schema::FileId;
use crate::sql::{NOW_MS, SqlError};

/// Milliseconds of silence after which a server is no longer shown.
const SHOWN_MS: i64 = 86_400_000;

/// Servers shown: those that were alive last.
const SHOWN_MAX: i64 = 1_000;

/// State of the heartbeat of one server.
pub(super) struct Heartbeat {
    origin: i64,
    label: String,
    /// Ids of files that this server had before the present one.
    earlier: Vec<FileId>,
    due: Instant,
    /// Height up to which all shares are shipped.
    pub shipped_tip: Option<Height>,
    /// Time since which another live server has the same name.
    twin_since: Option<Instant>,
}

impl Heartbeat {
    pub(super) fn new(origin: i64, label: &str, earlier: Vec<FileId>) -> Self {
        Self {
            origin,
            label: label.to_owned(),
            earlier,
            due: Instant::now(),
            shipped_tip: None,
            twin_since: None,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    pub(super) fn due_in(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Writes the heartbeat and returns all servers, or `None` if the ledger was replaced by a copy.
    /// `brought` is the height up to which our blocks are there; others rely on a height only once both
    /// shares and blocks are.
    pub(super) fn send(
        &mut self,
        client: &mut Client,
        mark: &mut WriteMark,
        (tip, brought): (Option<Height>, Option<Height>),
        report: &ServerReport,
        status_log: &mut StatusLog,
    ) -> Result<Option<Vec<Member>>, SqlError> {
        let report = serde_json::to_string(report).expect("plain data");
        let whole = self.shipped_tip.zip(brought).map(|(a, b)| a.min(b));
        let heights = [tip, whole].map(|tip| tip.map(|height| i64::from(height.0)));
        let asked = clock_ms();
        let next = mark.next();
        let row = client.query_opt(
            &format!(
                "WITH ours AS (UPDATE marks SET mark = $6
                   WHERE origin = $1 AND duty = 'ship' AND mark = $5 RETURNING origin)
                 UPDATE origins SET seen_at_ms = {NOW_MS}, tip = $2, shipped_tip = $3, report = $4,
                   successor = NULL
                 WHERE id = (SELECT origin FROM ours) RETURNING seen_at_ms"
            ),
            &[
                &self.origin,
                &heights[0],
                &heights[1],
                &report,
                &mark.bytes(),
                &next.bytes(),
            ],
        )?;
        let Some(row) = row else { return Ok(None) };
        *mark = next;
        let now_ms: i64 = row.get(0);
        let answered = clock_ms();
        // The database read its clock somewhere between the two times.
        let ahead_ms = (now_ms - answered).max(0) - (asked - now_ms).max(0);
        status_log.apart(ahead_ms.abs(), ahead_ms.abs() > CLOCKS_APART_MS);
        if !self.earlier.is_empty() {
            origin::succeed(client, self.origin, &self.earlier)?;
        }
        let members = members(client, now_ms)?;
        self.look_for_twin(&members, status_log);
        self.compare(&members, status_log);
        self.due = Instant::now() + HEARTBEAT;
        Ok(Some(members))
    }

    /// Compares our settings with those of the other live servers.
    fn compare(&self, members: &[Member], status_log: &mut StatusLog) {
        let is_ours = |member: &&Member| member.origin == self.origin;
        let Some(own) = members.iter().find(is_ours) else {
            return;
        };
        let others = members
            .iter()
            .filter(|member| !is_ours(member) && member.is_alive())
            .map(|member| (member.label.as_str(), &member.report.settings));
        status_log.differ(differences(&own.report.settings, others));
    }

    /// Detects another live server of the same name. Our own earlier file, before a restart with another one,
    /// falls silent and is not reported.
    fn look_for_twin(&mut self, members: &[Member], status_log: &mut StatusLog) {
        let is_there = members.iter().any(|member| {
            member.origin != self.origin && member.label == self.label && member.is_alive()
        });
        let now = Instant::now();
        self.twin_since = is_there.then(|| self.twin_since.unwrap_or(now));
        let long = Duration::from_millis(ALIVE_MS.unsigned_abs()) + HEARTBEAT;
        let is_twin = self.twin_since.is_some_and(|since| now > since + long);
        status_log.twin(is_twin, &self.label);
    }
}

fn members(client: &mut Client, now_ms: i64) -> Result<Vec<Member>, SqlError> {
    let rows = client.query(
        "SELECT id, label, seen_at_ms, tip, shipped_tip, sequence, is_draining, report
         FROM origins WHERE seen_at_ms > $1 ORDER BY seen_at_ms DESC LIMIT $2",
        &[&(now_ms - SHOWN_MS), &SHOWN_MAX],
    )?;
    let mut members: Vec<Member> = rows
        .iter()
        .map(|row| Member {
            origin: row.get(0),
            label: row.get(1),
            silent_ms: now_ms - row.get::<_, i64>(2),
            tip: row.get(3),
            shipped_tip: row.get(4),
            sequence: row.get(5),
            is_draining: row.get::<_, i64>(6) != 0,
            // Another version's report may have more fields, or fewer.
            report: serde_json::from_str(row.get(7)).unwrap_or_default(),
        })
        .collect();
    members.sort_by(|a, b| (&a.label, a.origin).cmp(&(&b.label, b.origin)));
    Ok(members)
}

fn clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
