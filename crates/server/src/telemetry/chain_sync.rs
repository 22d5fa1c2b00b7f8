//! Download of the chain, as the node's side reports it every few seconds until the node is synchronized, and the
//! time that the rest of it takes at the speed of the last minutes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::{SYNC_REPORTS_MAX, SYNC_SPEED_LEAST, SYNC_SPEED_WITHIN};

/// State of a node that is not synchronized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct SyncReport {
    /// Height of the node's chain.
    pub height: u32,
    /// The part of the chain that the node has, by the time of its newest block: 0 to 1.
    pub progress: f64,
    /// Peers that the node is connected to.
    pub peers: u32,
    /// Time of the node's newest block, Unix seconds.
    pub tip_time: u64,
    /// Height that at least half of the peers said they had when they connected; none without peers.
    pub peer_height: Option<u32>,
}

/// The download of the chain by this server's node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ChainSync)]
pub(crate) struct SyncStatus {
    #[serde(flatten)]
    pub report: SyncReport,
    /// Seconds that the rest takes at the speed of the last minutes; none before two minutes were measured, without
    /// peers, and while nothing is downloaded.
    pub remaining_s: Option<u64>,
}

/// Reports of the last minutes, the newest last; none while the node is synchronized.
#[derive(Default)]
pub(crate) struct ChainSync(Mutex<VecDeque<(Instant, SyncReport)>>);

impl ChainSync {
    /// Records the state at this time; none if the node is synchronized.
    pub(crate) fn tell(&self, at: Instant, report: Option<SyncReport>) {
        let mut reports = self.0.lock();
        let Some(mut report) = report else {
            return reports.clear();
        };
        // `max` gives 0 for what is no number.
        report.progress = report.progress.clamp(0.0, 1.0).max(0.0);
        // The chain was reset: it is downloaded anew.
        let is_less = |(_, last): &(Instant, SyncReport)| report.progress < last.progress;
        if reports.back().is_some_and(is_less) {
            reports.clear();
        }
        let is_old = |(since, _): &(Instant, SyncReport)| at - *since > SYNC_SPEED_WITHIN;
        while reports.len() >= SYNC_REPORTS_MAX || reports.front().is_some_and(is_old) {
            reports.pop_front();
        }
        reports.push_back((at, report));
    }

    /// The last report, and the time that the rest takes; none if the node is synchronized.
    pub(crate) fn read(&self) -> Option<SyncStatus> {
        let reports = self.0.lock();
        let ((since, first), (at, report)) = (*reports.front()?, *reports.back()?);
        let measured = at - since;
        let speed = (report.progress - first.progress) / measured.as_secs_f64();
        let is_known = measured >= SYNC_SPEED_LEAST && speed > 0.0 && report.peers > 0;
        let rest = Duration::try_from_secs_f64((1.0 - report.progress) / speed).ok();
        Some(SyncStatus {
            report,
            remaining_s: rest.filter(|_| is_known).map(|rest| rest.as_secs()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(progress: f64) -> SyncReport {
        SyncReport {
            height: 7,
            progress,
            peers: 1,
            tip_time: 1_600_000_000,
            peer_height: Some(9),
        }
    }

    /// What remains after reports of such progress, each so many seconds after the first.
    fn remaining(reports: &[(u64, f64)]) -> Option<u64> {
        let (sync, start) = (ChainSync::default(), Instant::now());
        for (after_s, progress) in reports {
            sync.tell(
                start + Duration::from_secs(*after_s),
                Some(report(*progress)),
            );
        }
        sync.read().expect("it is not synchronized").remaining_s
    }

    #[test]
    fn rest_is_told_by_the_speed_of_the_last_minutes() {
        assert_eq!(remaining(&[(0, 0.25)]), None);
        assert_eq!(remaining(&[(0, 0.25), (119, 0.5)]), None, "too early");
        assert_eq!(remaining(&[(0, 0.25), (120, 0.5)]), Some(240));
        assert_eq!(remaining(&[(0, 0.5), (120, 0.5)]), None, "it stands still");
        // The slow first minutes are forgotten.
        let reports = [(0, 0.0), (400, 0.25), (600, 0.75)];
        assert_eq!(remaining(&reports), Some(100));
        // A chain that was reset is measured anew.
        assert_eq!(remaining(&[(0, 0.5), (100, 0.0), (160, 0.25)]), None);
        let reports = [(0, 0.5), (100, 0.0), (220, 0.25)];
        assert_eq!(remaining(&reports), Some(360));

        let (sync, start) = (ChainSync::default(), Instant::now());
        sync.tell(start, Some(report(0.25)));
        let lonely = SyncReport {
            peers: 0,
            ..report(0.5)
        };
        sync.tell(start + Duration::from_secs(120), Some(lonely));
        let told = sync.read().expect("it is not synchronized");
        assert_eq!(told.remaining_s, None, "without peers");
    }

    #[test]
    fn what_is_kept_has_a_limit_and_ends() {
        let (sync, now) = (ChainSync::default(), Instant::now());
        assert_eq!(sync.read(), None);
        for progress in [f64::NAN, f64::NEG_INFINITY, 0.5, f64::INFINITY] {
            for _ in 0..=SYNC_REPORTS_MAX {
                sync.tell(now, Some(report(progress)));
                let told = sync.read().expect("it is not synchronized");
                assert!((0.0..=1.0).contains(&told.report.progress));
                assert_eq!(told.remaining_s, None);
            }
        }
        assert_eq!(sync.0.lock().len(), SYNC_REPORTS_MAX);
        sync.tell(now, None);
        assert_eq!(sync.read(), None);
    }
}
