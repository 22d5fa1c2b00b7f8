//! What a miner who has signed in may change of the own account.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Extension, Router};
use hstratum_core::operator_order::Order;
use serde::Deserialize;
use utoipa::ToSchema;

use super::accounts::{self, PaidAt};
use super::admin::ThresholdBody;
use super::answer::{ApiError, JsonBody, NoParams, Problem};
use super::host_guard::PeerAddress;
use super::keys;
use super::me_alerts;
use super::orders;
use super::own_changes::{OwnChange, OwnSetting};
use super::sign_in::{self, OwnerSignIn};
use super::site::Site;
use super::viewer::Viewer;
use crate::audit_trail::Actor;
use crate::limits::{HTTP_BODY_BYTES_MAX, OWN_PASSWORD_BYTES_MIN};

/// The paths below `/me`.
pub(super) fn routes() -> Router<Arc<Site>> {
    let own = Router::new()
        .route("/password", put(set_password))
        .route("/address", put(set_address).delete(keep_address))
        .merge(keys::routes())
        .nest("/alerts", me_alerts::routes())
        .layer(from_fn(admit_session));
    Router::new()
        // What a key may change too.
        .route("/threshold", put(set_threshold))
        .merge(own)
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(from_fn(admit))
}

/// The account of whoever asks.
#[derive(Clone)]
pub(crate) struct Me(pub(super) Arc<str>);

/// Middleware that admits only miners who have signed in, and their keys.
async fn admit(Extension(viewer): Extension<Viewer>, mut request: Request, next: Next) -> Response {
    let refused = |status, text: &str| ApiError(status, text.to_owned()).into_response();
    let Some(account) = viewer.account() else {
        return match viewer {
            Viewer::Nobody => refused(StatusCode::UNAUTHORIZED, "sign in first: /api/v1/session"),
            _ => refused(StatusCode::FORBIDDEN, "the operator has no account"),
        };
    };
    if let Some(text) = viewer.change_refusal(request.method(), request.headers()) {
        return ApiError::forbidden(text).into_response();
    }
    let account = Me(account.into());
    request.extensions_mut().insert(account);
    next.run(request).await
}

/// Middleware that admits no key.
async fn admit_session(
    Extension(viewer): Extension<Viewer>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(viewer, Viewer::Key(_)) {
        let text = "this is for whoever has signed in: no key is enough";
        return ApiError::forbidden(text).into_response();
    }
    next.run(request).await
}

/// Begins a change that is known to be the account's.
pub(super) fn begin<'a>(
    site: &'a Site,
    account: &Arc<str>,
    setting: OwnSetting,
) -> Result<OwnChange<'a>, ApiError> {
    let begun = site.own_changes.begin(account, setting, Instant::now());
    begun.ok_or_else(|| {
        let text = "another change of this is under way, or there were too many within ten minutes";
        ApiError(StatusCode::TOO_MANY_REQUESTS, text.to_owned())
    })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPasswordBody {
    /// The present one.
    password: String,
    new_password: String,
}

/// Take another password, for mining too. Whoever has signed in to the account is signed out, and its keys and links are
/// revoked; miners that are connected stay.
#[utoipa::path(put, path = "/api/v1/me/password", tag = "me", request_body = NewPasswordBody,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn set_password(
    State(site): State<Arc<Site>>,
    by: Actor,
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
    let client = sign_in::client(&site, peer, &headers)?;
    let proof = Proof::Password(body.password);
    check(&site, &account, proof, client, &headers).await?;
    let _change = begin(&site, &account, OwnSetting::Password)?;
    let order = Order::SetPassword {
        name: account.to_string(),
        password: body.new_password,
    };
    orders::change(&site.orders, &site.changes, &by, order).await
}

/// What shows once more whose account it is.
enum Proof {
    /// The account's password.
    Password(String),
    /// The signature of a challenge to be paid there, where the account is an address.
    Signature {
        /// In base64.
        signature: String,
        /// There.
        pay_to: String,
    },
}

/// Checks that.
async fn check(
    site: &Site,
    account: &Arc<str>,
    proof: Proof,
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let (checked, wrong) = match proof {
        Proof::Password(password) => {
            let checked = sign_in::account(site, account.to_string(), password, client).await;
            (checked, "wrong password")
        }
        Proof::Signature { signature, pay_to } => {
            let signed = OwnerSignIn {
                address: account.to_string(),
                signature,
            };
            let checked = sign_in::owner(site, headers, signed, Some(&pay_to)).await;
            (checked, sign_in::WRONG_SIGNATURE)
        }
    };
    match checked {
        Ok(named) if named == *account => Ok(()),
        Ok(_) | Err(ApiError(StatusCode::UNAUTHORIZED, _)) => {
            Err(ApiError(StatusCode::FORBIDDEN, wrong.to_owned()))
        }
        Err(other) => Err(other),
    }
}

/// Where to be paid, and what shows once more whose account it is.
#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected {\"address\", \"password\"} or {\"address\", \"signature\"}, and nothing else"
)]
pub(crate) enum NewAddressBody {
    ByPassword(NewAddressByPassword),
    BySignature(NewAddressBySignature),
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAddressByPassword {
    /// Of this network.
    address: String,
    /// The account's.
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAddressBySignature {
    /// Of this network.
    address: String,
    /// Of a challenge's message with `pay_to`, if the account is an address.
    signature: String,
}

impl NewAddressBody {
    fn parts(self) -> (String, Proof) {
        match self {
            Self::ByPassword(body) => (body.address, Proof::Password(body.password)),
            Self::BySignature(body) => {
                let proof = Proof::Signature {
                    signature: body.signature,
                    pay_to: body.address.clone(),
                };
                (body.address, proof)
            }
        }
    }
}

/// Be paid at another address, from `address-delay` on. Whoever else has signed in to the account is signed out.
#[utoipa::path(put, path = "/api/v1/me/address", tag = "me", request_body = NewAddressBody,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn set_address(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    Extension(PeerAddress(peer)): Extension<PeerAddress>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewAddressBody>,
) -> Result<StatusCode, ApiError> {
    let client = sign_in::client(&site, peer, &headers)?;
    let (address, proof) = body.parts();
    check(&site, &account, proof, client, &headers).await?;
    let _change = begin(&site, &account, OwnSetting::Address)?;
    let stored = site.orders.set_next_address(&by, &account, &address);
    let done = orders::account_stored(&site.changes, stored).await?;
    site.answers.forget(&account);
    if let Viewer::Session(own) = viewer {
        (site.sign_in.sessions).end_others(&account, &own.change_token);
    }
    Ok(done)
}

/// Stay at the present address, while the other one does not hold.
#[utoipa::path(delete, path = "/api/v1/me/address", tag = "me",
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn keep_address(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(Me(account)): Extension<Me>,
    _: NoParams,
) -> Result<StatusCode, ApiError> {
    let refused = |text: &str| Err(ApiError(StatusCode::CONFLICT, text.to_owned()));
    let before = paid_at(&site, &account).await?;
    let Some(next) = before.next else {
        return refused("no other address is to hold later");
    };
    let done =
        orders::account_stored(&site.changes, Ok(site.orders.keep_address(&by, &account))).await?;
    site.answers.forget(&account);
    let after = paid_at(&site, &account).await?.address;
    if after != before.address && after == Some(next.address) {
        return refused("the other address holds already");
    }
    Ok(done)
}

/// Where the account is paid.
async fn paid_at(site: &Site, account: &Arc<str>) -> Result<PaidAt, ApiError> {
    let account = account.clone();
    let read = site
        .ledger()?
        .read(move |sql| accounts::paid_at(sql, &account));
    read.await
}

/// Be paid from another balance on.
#[utoipa::path(put, path = "/api/v1/me/threshold", tag = "me", request_body = ThresholdBody,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn set_threshold(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(Me(account)): Extension<Me>,
    JsonBody(body): JsonBody<ThresholdBody>,
) -> Result<StatusCode, ApiError> {
    let _change = begin(&site, &account, OwnSetting::Threshold)?;
    let stored = site.orders.set_threshold(&by, &account, body.threshold);
    orders::account_stored(&site.changes, stored).await
}
