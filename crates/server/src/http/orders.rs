//! Orders given over HTTP, and what their outcome is to whoever asked.

use axum::http::StatusCode;
use hstratum_core::operator_order::{Order, OrderOutcome, OrderRefusalKind};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::ApiError;
use crate::messages::SettingRefused;
use crate::operator::{AccountStored, Orders};

/// Takes a place for an order that waits; 503 if there is none.
pub(super) fn enter(places: &Semaphore) -> Result<SemaphorePermit<'_>, ApiError> {
    let entered = places.try_acquire();
    entered.map_err(|_| ApiError::busy("too many orders are waiting, try again"))
}

/// Gives an order, and waits for its answer.
pub(super) async fn give(
    orders: &Orders,
    places: &Semaphore,
    order: Order,
) -> Result<OrderOutcome, ApiError> {
    let _place = enter(places)?;
    answer(orders, order).await
}

/// The same for an order of which the pool itself lets few wait.
pub(super) async fn answer(orders: &Orders, order: Order) -> Result<OrderOutcome, ApiError> {
    let answered = orders.ask(order).await;
    let answer = answered.map_err(|error| ApiError::busy(format!("{error:#}")))?;
    answer.map_err(|refusal| {
        let status = match refusal.kind() {
            OrderRefusalKind::Malformed => StatusCode::BAD_REQUEST,
            OrderRefusalKind::State => StatusCode::CONFLICT,
            OrderRefusalKind::Disk => StatusCode::SERVICE_UNAVAILABLE,
            OrderRefusalKind::SignIn => StatusCode::UNAUTHORIZED,
            OrderRefusalKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        };
        ApiError(status, refusal.text().to_owned())
    })
}

/// Waits until a setting of an account is durable.
pub(super) async fn account_stored(
    places: &Semaphore,
    stored: anyhow::Result<AccountStored>,
) -> Result<StatusCode, ApiError> {
    let stored = stored.map_err(|error| ApiError::wrong(format!("{error:#}")))?;
    let _place = enter(places)?;
    match tokio::task::spawn_blocking(move || stored.wait()).await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) if error.is::<SettingRefused>() => {
            Err(ApiError::wrong(format!("{error:#}")))
        }
        Ok(Err(error)) => Err(ApiError::busy(format!("{error:#}"))),
        Err(_) => Err(ApiError::busy("the server is stopping")),
    }
}
