//! Orders given over HTTP, and what their outcome is to whoever asked.

use std::sync::Arc;

use axum::http::StatusCode;
use hstratum_core::operator_order::{Order, OrderOutcome, OrderRefusalKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::ApiError;
use crate::audit_trail::Actor;
use crate::messages::{OrderAnswer, SettingRefused};
use crate::operator::{AccountStored, Orders};

/// Takes a place for an order that waits; 503 if there is none.
fn enter(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let entered = places.clone().try_acquire_owned();
    entered.map_err(|_| ApiError::busy("too many orders are waiting, try again"))
}

/// Gives an order that changes something, and waits until it is durable. It goes on when the client has gone.
pub(super) async fn change(
    orders: &Orders,
    places: &Arc<Semaphore>,
    by: &Actor,
    order: Order,
) -> Result<StatusCode, ApiError> {
    let change = orders.change(by, order);
    let made = wait(places, move || change.make()).await?;
    outcome(made).map(|_| StatusCode::NO_CONTENT)
}

/// Runs what waits for the disk or the ledger, with a deadline of its own, on another thread. It keeps its place until it
/// is done, also when the client has gone.
pub(super) async fn wait<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let place = enter(places)?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    done.await
        .map_err(|_| ApiError::busy("the server is stopping"))
}

/// Gives an order that only asks, and waits for its answer.
pub(super) async fn ask(orders: &Orders, order: Order) -> Result<OrderOutcome, ApiError> {
    outcome(orders.ask(order).await)
}

fn outcome(answered: anyhow::Result<OrderAnswer>) -> Result<OrderOutcome, ApiError> {
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
    places: &Arc<Semaphore>,
    stored: anyhow::Result<AccountStored>,
) -> Result<StatusCode, ApiError> {
    let stored = stored.map_err(|error| ApiError::wrong(format!("{error:#}")))?;
    match wait(places, move || stored.wait()).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) if error.is::<SettingRefused>() => Err(ApiError::wrong(format!("{error:#}"))),
        Err(error) => Err(ApiError::busy(format!("{error:#}"))),
    }
}
