//! Status of the thread that pays, for the dashboard and the operator.

use std::time::{Duration, Instant};

use hstratum_core::accounting::reward_split::Hns;
use parking_lot::Mutex;

use crate::limits::PAYOUT_LOOK;
use crate::payout::Pause;

/// Status of payouts, as last reported.
#[derive(Default)]
pub(crate) struct PayerStatus {
    reading: Mutex<PayerReading>,
    /// Time since which the wallet has less than the pool owes.
    short_since: Mutex<Option<Instant>>,
}

/// A reading of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PayerReading {
    pub state: PayerState,
    /// Time of the next run; `None` while there is none.
    pub next_run: Option<Instant>,
    /// Earliest time of a payment, since an earlier one is on its way; `None` if none is.
    pub not_before: Option<Instant>,
    /// The wallet that pays; `None` before it was looked at, and where none is set.
    pub wallet: Option<WalletReading>,
}

/// What the thread that pays does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum PayerState {
    /// The server does not pay by itself.
    #[default]
    Off,
    /// It waits for the next run.
    Scheduled,
    /// A run is at work.
    Pays,
    /// A run is due, and waits for this to pass.
    Waits(String),
    /// Payouts are paused.
    Paused(Pause),
    /// The last run ended with this obstacle; the next one goes on.
    Failed(String),
}

/// The wallet that pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalletReading {
    /// Its name in hsd.
    pub name: String,
    /// In base units; `None` if it is not known.
    pub balance: Option<u64>,
    /// The reason why it could not pay now, or will not receive what the pool earns.
    pub trouble: Option<String>,
}

impl PayerState {
    /// Its name in the API.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Scheduled => "scheduled",
            Self::Pays => "pays",
            Self::Waits(_) => "waits",
            Self::Paused(_) => "paused",
            Self::Failed(_) => "failed",
        }
    }

    /// The reason why nobody is paid now.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Off | Self::Scheduled | Self::Pays => None,
            Self::Waits(reason) | Self::Failed(reason) => Some(reason.clone()),
            Self::Paused(pause) => Some(format!("paused by {}", pause.by)),
        }
    }
}

impl PayerReading {
    /// Time until the next run.
    pub(crate) fn until_run(&self) -> Option<Duration> {
        Some(self.next_run?.saturating_duration_since(Instant::now()))
    }

    /// Time until the first run, one each `every`, that may begin a payment.
    pub(crate) fn until_payment(&self, every: Duration) -> Option<Duration> {
        let (run, now) = (self.next_run?, Instant::now());
        let late = self
            .not_before
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(run));
        let runs = late.as_secs().div_ceil(every.as_secs().max(1));
        let runs = u32::try_from(runs).unwrap_or(u32::MAX);
        Some(run.saturating_duration_since(now) + every.saturating_mul(runs))
    }
}

impl PayerStatus {
    pub(crate) fn read(&self) -> PayerReading {
        self.reading.lock().clone()
    }

    /// Message that the wallet has less than the pool owes (base units) and the network's fees, once that has
    /// lasted: a block is known to the ledger a little before the wallet is asked again.
    pub(crate) fn shortfall(&self, owed: i64) -> Option<String> {
        let balance = self.reading.lock().wallet.as_ref()?.balance?;
        let mut since = self.short_since.lock();
        if owed <= 0 || i128::from(balance) > i128::from(owed) {
            *since = None;
            return None;
        }
        let since = *since.get_or_insert_with(Instant::now);
        (since.elapsed() >= 2 * PAYOUT_LOOK).then(|| {
            format!(
                "it has {} HNS, and the pool owes {} HNS and the network's fees",
                Hns(balance.into()),
                Hns(owed.into())
            )
        })
    }

    pub(super) fn set_state(&self, state: PayerState) {
        self.reading.lock().state = state;
    }

    pub(super) fn set_next_run(&self, next_run: Option<Instant>, not_before: Option<Instant>) {
        let mut reading = self.reading.lock();
        (reading.next_run, reading.not_before) = (next_run, not_before);
    }

    pub(super) fn set_wallet(&self, wallet: WalletReading) {
        self.reading.lock().wallet = Some(wallet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_payment_on_its_way_delays_the_next_by_whole_intervals() {
        let now = Instant::now();
        let reading = |late: Duration| PayerReading {
            next_run: Some(now + DAY),
            not_before: Some(now + DAY + late),
            ..PayerReading::default()
        };
        let days = |late| {
            let until = reading(late).until_payment(DAY).expect("known");
            (until.as_secs_f64() / DAY.as_secs_f64()).round()
        };
        assert_eq!(days(Duration::ZERO), 1.0);
        assert_eq!(days(Duration::from_secs(1)), 2.0);
        assert_eq!(days(DAY), 2.0);
    }

    #[test]
    fn a_shortfall_is_told_once_it_lasts() {
        let status = PayerStatus::default();
        assert_eq!(status.shortfall(5), None, "no wallet");
        status.set_wallet(WalletReading {
            name: "pool".to_owned(),
            balance: Some(5),
            trouble: None,
        });
        assert_eq!(status.shortfall(4), None);
        assert_eq!(status.shortfall(5), None, "it has just begun");
        *status.short_since.lock() = Instant::now().checked_sub(2 * PAYOUT_LOOK);
        let text = "it has 0.000005 HNS, and the pool owes 0.000005 HNS and the network's fees";
        assert_eq!(status.shortfall(5).as_deref(), Some(text));
        assert_eq!(status.shortfall(4), None);
        assert_eq!(status.shortfall(5), None, "it has begun anew");
    }
}
