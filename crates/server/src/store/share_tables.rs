//! Tables that a file's shares and statistics go into: the ledger's own, or those pending for a shared one.

use crate::sql::sums_of_statistics;

/// SQL statements that add shares and statistics.
pub(super) struct ShareTables {
    pub add_credit: &'static str,
    pub add_statistics: &'static str,
    /// Sets the best share of a worker, if it is better than the one known.
    pub set_best_share: &'static str,
    /// Records an hour that has grown late; `None` if the shared ledger records it.
    pub add_late: Option<&'static str>,
}

macro_rules! add_statistics {
    ($table:literal, $values:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            $values,
            "?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET ",
            sums_of_statistics!($table),
            ",
               first_share = CASE WHEN first_share = 0 THEN excluded.first_share
                 ELSE first_share END,
               last_share = CASE WHEN excluded.last_share = 0 THEN last_share
                 ELSE excluded.last_share END"
        )
    };
}

/// For a file that is the ledger.
pub(super) const OWN: ShareTables = ShareTables {
    add_credit:
        "INSERT INTO credit (height, account, difficulty, origin, count) VALUES (?1, ?2, ?3, 0, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    add_statistics: add_statistics!("statistics", " VALUES (?1, ?2, ?3, 0, "),
    set_best_share:
        "INSERT INTO best_shares (worker, origin, difficulty, at) VALUES (?3, 0, ?4, ?5)
         ON CONFLICT DO UPDATE SET difficulty = excluded.difficulty, at = excluded.at
         WHERE excluded.difficulty > difficulty",
    add_late: Some(
        "INSERT INTO late_statistics VALUES (?1, 0, 1)
         ON CONFLICT DO UPDATE SET changes = changes + 1",
    ),
};

/// For a file that is the outbox of a shared ledger.
pub(super) const PENDING: ShareTables = ShareTables {
    add_credit: "INSERT INTO pending_credit VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    add_statistics: add_statistics!(
        "pending_statistics",
        " (span, start, worker, accepted, accepted_work, stale, stale_work, low, low_work,
           duplicate, duplicate_work, first_share, last_share)
         VALUES (?1, ?2, ?3, "
    ),
    set_best_share: "UPDATE pending_statistics SET best_share = ?4, best_share_at = ?5
         WHERE span = ?1 AND start = ?2 AND worker = ?3 AND best_share < ?4",
    add_late: None,
};
