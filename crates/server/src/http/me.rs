//! What a miner who has signed in may change of the own account.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Extension, Router};
use hstratum_core::operator_order::Order;
use serde::Deserialize;
use utoipa::ToSchema;

use super::admin::ThresholdBody;
use super::answer::{ApiError, JsonBody, Problem};
use super::host_guard::PeerAddress;
use super::site::Site;
use super::viewer::Viewer;
use super::{orders, sign_in};
use crate::limits::{HTTP_BODY_BYTES_MAX, OWN_PASSWORD_BYTES_MIN};

/// The paths below `/me`.
pub(super) fn routes(site: Arc<Site>) -> Router<Arc<Site>> {
    Router::new()
        .route("/password", put(set_password))
        .route("/threshold", put(set_threshold))
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(from_fn_with_state(site, admit))
}

/// The account of whoever asks.
#[derive(Clone)]
pub(crate) struct Me(Arc<str>);

/// Middleware that admits only miners who have signed in.
async fn admit(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
    mut request: Request,
    next: Next,
) -> Response {
    let refused = |status, text: &str| ApiError(status, text.to_owned()).into_response();
    let Some(account) = viewer.account() else {
        return match viewer {
            Viewer::Nobody => refused(StatusCode::UNAUTHORIZED, "sign in first: /api/v1/session"),
            Viewer::Operator | Viewer::Session(_) => {
                refused(StatusCode::FORBIDDEN, "the operator has no account")
            }
        };
    };
    if !viewer.may_change(request.method(), request.headers()) {
        return sign_in::no_change_token().into_response();
    }
    let account: Arc<str> = account.into();
    let Some(_change) = site.own_changes.begin(&account, Instant::now()) else {
        return refused(
            StatusCode::TOO_MANY_REQUESTS,
            "another change of this account is under way, or there were too many within ten minutes",
        );
    };
    request.extensions_mut().insert(Me(account));
    next.run(request).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPasswordBody {
    /// The present one.
    password: String,
    new_password: String,
}

/// Take another password, for mining too. Whoever has signed in to the account is signed out; miners that are connected
/// stay.
#[utoipa::path(put, path = "/api/v1/me/password", tag = "me", request_body = NewPasswordBody,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn set_password(
    State(site): State<Arc<Site>>,
    Extension(Me(account)): Extension<Me>,
    Extension(PeerAddress(peer)): Extension<PeerAddress>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewPasswordBody>,
) -> Result<StatusCode, ApiError> {
    if body.new_password.len() < OWN_PASSWORD_BYTES_MIN {
        return Err(ApiError::wrong(format!(
            "the new password is too short: it needs {OWN_PASSWORD_BYTES_MIN} bytes"
        )));
    }
    let address = sign_in::client(&site, peer, &headers)?;
    let named = sign_in::account(&site, account.to_string(), body.password, address).await;
    let named = named.map_err(|refusal| match refusal {
        ApiError(StatusCode::UNAUTHORIZED, _) => {
            ApiError(StatusCode::FORBIDDEN, "wrong password".to_owned())
        }
        other => other,
    })?;
    let order = Order::SetPassword {
        name: named.to_string(),
        password: body.new_password,
    };
    orders::give(&site.orders, &site.changes, order).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Be paid from another balance on.
#[utoipa::path(put, path = "/api/v1/me/threshold", tag = "me", request_body = ThresholdBody,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn set_threshold(
    State(site): State<Arc<Site>>,
    Extension(Me(account)): Extension<Me>,
    JsonBody(body): JsonBody<ThresholdBody>,
) -> Result<StatusCode, ApiError> {
    let stored = site.orders.set_threshold(&account, body.threshold);
    orders::account_stored(&site.changes, stored).await
}
