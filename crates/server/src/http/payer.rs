//! Payouts that the server makes by itself: their state, the next one, and the wallet that pays.

use serde::Serialize;
use utoipa::ToSchema;

use crate::payer::PayerReading;

/// The server's own payouts. Amounts in base units.
#[derive(Clone, Default, Serialize, ToSchema)]
pub(crate) struct PoolPayouts {
    /// `off`, `scheduled`, `pays`, `waits`, `paused` or `failed`.
    pub(super) payout_state: &'static str,
    /// The reason why nobody is paid now; none while there is none.
    pub(super) payout_reason: Option<String>,
    /// When this server pays next whoever is due, Unix seconds; none where that is not known.
    next_payment_at: Option<u64>,
    /// The wallet that pays; none where none is set, or before it was asked.
    pub(super) wallet: Option<ApiWallet>,
}

/// The wallet that pays miners.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Wallet)]
pub(crate) struct ApiWallet {
    pub(super) name: String,
    /// What it can spend now or later, in base units; none if it is not known.
    balance: Option<u64>,
    /// Why it could not pay now, or falls short of what the pool owes; none while it does not.
    pub(super) trouble: Option<String>,
}

impl PoolPayouts {
    /// The payouts of a pool that pays next at this time (Unix seconds), and what its wallet lacks.
    pub(crate) fn of(
        reading: PayerReading,
        next_payment_at: Option<u64>,
        shortfall: Option<String>,
    ) -> Self {
        let wallet = reading.wallet.map(|wallet| ApiWallet {
            trouble: wallet.trouble.or(shortfall),
            name: wallet.name,
            balance: wallet.balance,
        });
        Self {
            payout_state: reading.state.name(),
            payout_reason: reading.state.reason(),
            next_payment_at,
            wallet,
        }
    }
}
