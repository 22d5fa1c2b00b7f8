//! Estimates of all accounts and the pool's terms, read in the background at most once for all who ask.

use std::sync::Arc;
use std::time::Duration;

use hstratum_core::units::{BLOCK_S, Difficulty};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::ApiError;
use super::cached_query::CachedQuery;
use super::ledger_reader::LedgerReader;
use crate::limits::HTTP_ESTIMATES_KEPT;
use crate::payout::{Estimates, Estimator, NextBlock, Scheme, TermsHistory, per_day};
use crate::sql::{Sql, SqlError};
use crate::telemetry::live::Snapshot;

/// The terms on which the pool pays.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Terms)]
pub(crate) struct ApiTerms {
    /// `prop`: over the shares since the pool's block before. `pplns`: over the last shares.
    scheme: &'static str,
    /// Amount of those shares, in network difficulties: a decimal number. Only with `pplns`.
    window: Option<String>,
    /// The pool's part of a block, in percent.
    fee: f64,
    /// The balance from which an account is paid, in base units.
    threshold: u64,
    /// Interval of this server's payouts, in seconds; none if it does not pay by itself.
    payout_every: Option<u64>,
}

/// What the pool owes and on which terms, from the ledger. Amounts in base units.
#[derive(Clone, Default, Serialize, ToSchema)]
pub(crate) struct PoolMoney {
    /// The terms on which a block found now is divided; none before they are known.
    terms: Option<ApiTerms>,
    /// What accounts are owed, blocks that are not divided yet included; none while that is not known.
    owed: Option<i64>,
    /// When the last payment was made, Unix seconds.
    last_payment_at: Option<i64>,
    /// Seconds since the three above were read.
    money_age_s: Option<f64>,
}

impl PoolMoney {
    pub(crate) fn owed(&self) -> Option<i64> {
        self.owed
    }
}

/// What an account can expect. Amounts in base units; none while they are not known.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = Estimate)]
pub(crate) struct AccountMoneyEstimate {
    /// Its part of the blocks that are on the main chain and not divided yet: what it is credited if they stay.
    pending: Option<u64>,
    /// Its part of a block if the pool found it now.
    if_found_now: Option<u64>,
    /// What a day is expected to bring at its hashrate of the last day, less the pool's fee.
    per_day: Option<u64>,
    /// The balance from which it is paid.
    threshold: Option<u64>,
    /// When the server pays next whoever is due, Unix seconds; none where that is not known.
    next_payment_at: Option<u64>,
    /// Whether the account's balance and those of its pending parts that can be spent by then reach the
    /// threshold, with a block each ten minutes.
    next_payment_reaches: Option<bool>,
    /// Seconds since the estimates were computed.
    estimates_age_s: Option<f64>,
}

/// An account as the ledger and the server know it, beside the estimates.
pub(crate) struct AccountInLedger<'a> {
    pub name: &'a str,
    /// Its row; `None` before its first accepted share.
    pub id: Option<i64>,
    /// In hashes per second, over the last day.
    pub hashrate: f64,
    /// In base units.
    pub balance: i64,
    /// In base units; `None`: the pool's.
    pub own_threshold: Option<u64>,
}

/// The next payout of a server.
#[derive(Clone, Copy)]
pub(crate) struct NextPayout {
    /// Unix seconds.
    pub at: u64,
    /// Seconds until then.
    pub in_s: u64,
    /// Blocks until a coinbase can be spent.
    pub maturity: u32,
}

impl AccountMoneyEstimate {
    /// The same with the next payout.
    pub(crate) fn with_next(
        self,
        account: &AccountInLedger<'_>,
        known: &LedgerEstimates,
        next: NextPayout,
    ) -> Self {
        let reaches = self.threshold.zip(known.spendable_at(account, next));
        Self {
            next_payment_at: Some(next.at),
            next_payment_reaches: reaches
                .map(|(threshold, spendable)| spendable >= i128::from(threshold)),
            ..self
        }
    }
}

/// All that is read at once.
#[derive(Default)]
pub(crate) struct LedgerEstimates {
    terms: Option<TermsHistory>,
    /// The block of `if_found_now`.
    next: Option<NextBlock>,
    pub(super) estimates: Option<Estimates>,
    last_payment_at: Option<i64>,
}

/// The cached estimates.
#[derive(Default)]
pub(crate) struct CachedEstimates {
    query: CachedQuery<LedgerEstimates>,
    estimator: Arc<Mutex<Estimator>>,
}

impl CachedEstimates {
    /// The estimates as last read, and their age.
    pub(crate) async fn get(
        &self,
        reader: &LedgerReader,
        now: &Snapshot,
    ) -> Result<(Arc<LedgerEstimates>, Duration), ApiError> {
        let next = next_block(now);
        let estimator = self.estimator.clone();
        let query = move |sql: &mut dyn Sql| read(sql, &mut estimator.lock(), next);
        self.query
            .get_with_age(reader, HTTP_ESTIMATES_KEPT, query)
            .await
    }
}

/// The block that miners work on.
fn next_block(now: &Snapshot) -> Option<NextBlock> {
    let job = now.view.job?;
    Some(NextBlock {
        height: job.height.0,
        reward: job.reward,
        difficulty: Difficulty::new(job.network_difficulty.get())?,
    })
}

fn read(
    sql: &mut dyn Sql,
    estimator: &mut Estimator,
    next: Option<NextBlock>,
) -> Result<LedgerEstimates, SqlError> {
    let last = "SELECT max(created_at) FROM payments WHERE state IN ('sent', 'confirmed')";
    let last_payment_at = sql.query_one(last, &[])?.get(0)?;
    let terms = TermsHistory::read(sql)?;
    let estimates = match &terms {
        None => None,
        Some(terms) => match estimator.estimate(sql, terms, next).map_err(sql_error) {
            Ok(estimates) => Some(estimates),
            // As a failure it would be tried again at once, and a ledger so large be read all the time.
            Err(SqlError::Interrupted) => None,
            Err(error) => return Err(error),
        },
    };
    Ok(LedgerEstimates {
        terms,
        next,
        estimates,
        last_payment_at,
    })
}

/// The error of the ledger itself, which tells whether it is away.
pub(super) fn sql_error(error: anyhow::Error) -> SqlError {
    match error.downcast_ref::<SqlError>() {
        Some(error) => error.clone(),
        None => SqlError::Failed(format!("{error:#}")),
    }
}

impl LedgerEstimates {
    /// Balance of an account at a payout, with its parts of blocks that can be spent then, in base units.
    fn spendable_at(&self, account: &AccountInLedger<'_>, payout: NextPayout) -> Option<i128> {
        let blocks = payout.in_s / BLOCK_S as u64;
        let tip = u64::from(self.next?.height).saturating_sub(1) + blocks;
        let pending = self.estimates.as_ref()?.blocks.iter();
        let ripe =
            pending.filter(|block| u64::from(block.height) + u64::from(payout.maturity) <= tip);
        let parts = ripe.map(|block| account.id.map_or(0, |id| block.part(id)));
        Some(i128::from(account.balance) + parts.map(i128::from).sum::<i128>())
    }

    /// What the pool owes, and its terms, with the interval of the server's payouts.
    pub(crate) fn of_pool(&self, payout_every: Option<Duration>, age: Duration) -> PoolMoney {
        let terms = self.terms.as_ref().map(|terms| {
            let at_next = self.next.map(|next| terms.at(next.height));
            let terms_now = at_next.unwrap_or_else(|| terms.newest());
            ApiTerms {
                scheme: terms_now.scheme.name(),
                window: match terms_now.scheme {
                    Scheme::Prop => None,
                    Scheme::Pplns { .. } => Some(terms_now.scheme.window()),
                },
                fee: f64::from(terms_now.fee.get()) / 10_000.0,
                threshold: terms.newest().threshold,
                payout_every: payout_every.map(|every| every.as_secs()),
            }
        });
        PoolMoney {
            terms,
            owed: self.estimates.as_ref().map(|estimates| estimates.owed),
            last_payment_at: self.last_payment_at,
            money_age_s: Some(age.as_secs_f64()),
        }
    }

    /// What an account can expect.
    pub(crate) fn of_account(
        &self,
        account: &AccountInLedger<'_>,
        age: Duration,
    ) -> AccountMoneyEstimate {
        let own = self.estimates.as_ref().map(|known| known.of(account.name));
        let has_next = self.estimates.as_ref().is_some_and(|known| known.has_next);
        let terms = self.terms.as_ref();
        let per_day = terms.zip(self.next).map(|(terms, next)| {
            let fee = terms.at(next.height).fee;
            per_day(account.hashrate, next, fee)
        });
        AccountMoneyEstimate {
            pending: own.map(|own| own.pending),
            if_found_now: own.filter(|_| has_next).map(|own| own.if_found_now),
            per_day,
            threshold: terms.map(|terms| terms.newest().threshold_of(account.own_threshold)),
            next_payment_at: None,
            next_payment_reaches: None,
            estimates_age_s: Some(age.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Config;
    use crate::payout::put_terms;
    use crate::sql::{Db, Sqlite, sqlite_schema};
    use crate::values;

    #[test]
    fn a_ledger_that_takes_too_long_is_not_read_again_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        drop(sqlite_schema::open_own(&path, "regtest", 1_000, &mut Vec::new()).expect("created"));
        let mut db = Db::Sqlite(Sqlite::open_beside(&path).expect("opened"));
        let terms = Config::parse(&[]).expect("the defaults").terms;
        db.write(|sql: &mut dyn Sql| {
            put_terms(sql, &terms, 1, "here")?;
            for account in 0..20_000 {
                let insert = "INSERT INTO accounts (name) VALUES (?1)";
                sql.execute(insert, &values![account.to_string()])?;
            }
            Ok::<_, SqlError>(())
        })
        .expect("written");
        let mut estimator = Estimator::default();
        let mut look = |db: &mut Db| db.read(|sql| read(sql, &mut estimator, None));
        let known = look(&mut db).expect("read");
        assert!(known.estimates.is_some());
        let Db::Sqlite(file) = &mut db else {
            unreachable!("it was opened as a file")
        };
        file.limit(Instant::now()).expect("set");
        let known = look(&mut db).expect("no failure");
        assert!(known.estimates.is_none() && known.terms.is_some());
    }
}
