//! Where a file's shares and statistics go: into the ledger proper, or on their way to a shared one.

/// See the module.
pub(super) struct Tables {
    pub add_credit: &'static str,
    pub add_statistics: &'static str,
}

macro_rules! add_statistics {
    ($into:literal) => {
        concat!(
            "INSERT INTO ",
            $into,
            "?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT DO UPDATE SET
               accepted = accepted + excluded.accepted,
               accepted_work = accepted_work + excluded.accepted_work,
               stale = stale + excluded.stale,
               stale_work = stale_work + excluded.stale_work,
               low = low + excluded.low,
               low_work = low_work + excluded.low_work,
               duplicate = duplicate + excluded.duplicate,
               duplicate_work = duplicate_work + excluded.duplicate_work"
        )
    };
}

/// The file is the ledger.
pub(super) const OWN: Tables = Tables {
    add_credit:
        "INSERT INTO credit (height, account, difficulty, origin, count) VALUES (?1, ?2, ?3, 0, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    add_statistics: add_statistics!("statistics VALUES (?1, ?2, ?3, 0, "),
};

/// Another is.
pub(super) const PENDING: Tables = Tables {
    add_credit: "INSERT INTO pending_credit VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    add_statistics: add_statistics!("pending_statistics VALUES (?1, ?2, ?3, "),
};
