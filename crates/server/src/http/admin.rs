//! The operator's orders over HTTP, the same as over the node's RPC. Each call needs the token; without the
//! option the paths do not exist.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post, put};
use axum::{Extension, Json, Router};
use hstratum_core::accounts::ban::{Ban, BannedBy};
use hstratum_core::operator_order::{NewUser, Order, OrderOutcome as Told};
use ring::hmac;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::answer::{
    self, ApiError, ApiResult, JsonBody, NoParams, PathName, Problem, QueryParams,
};
use super::orders;
use super::site::{Operator, Site};
use super::viewer::Viewer;
use crate::audit_trail::Actor;
use crate::limits::{DRAIN_S, HTTP_BODY_BYTES_MAX};
use crate::messages::SettingRefused;
use crate::payer::{PayoutControl, PayoutReport};

/// The paths below `/admin`, for a site with an operator.
pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/users", post(add_user).get(super::users::users))
        .route("/users/{name}", axum::routing::get(super::users::user))
        .route("/audit", axum::routing::get(super::audit::audit))
        .route("/users/{name}/password", put(set_password))
        .route("/users/{name}/address", put(set_address))
        .route("/users/{name}/threshold", put(set_threshold))
        .route("/users/{name}/disabled", put(disable).delete(enable))
        .route("/bans", post(ban).get(bans))
        .route("/bans/{address}", delete(unban))
        .route(
            "/refusals",
            axum::routing::get(super::refusals::with_addresses),
        )
        .route("/alarms", axum::routing::get(super::conditions::alarms))
        .route("/log", axum::routing::get(super::log::log))
        .route("/doctor", axum::routing::get(super::doctor::doctor))
        .route("/payout/plan", axum::routing::get(super::payouts::plan))
        .route("/drain", put(drain).delete(undrain).get(draining))
        .route("/payout", axum::routing::get(payouts))
        .route("/payout/pause", put(pause_payouts).delete(resume_payouts))
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(admit))
}

/// Middleware that admits only requests of the operator.
async fn admit(Extension(viewer): Extension<Viewer>, request: Request, next: Next) -> Response {
    if viewer.is_operator() {
        return match viewer.change_refusal(request.method(), request.headers()) {
            None => next.run(request).await,
            Some(text) => ApiError::forbidden(text).into_response(),
        };
    }
    let text = "this call needs the token: Authorization: Bearer …";
    let mut response = ApiError(StatusCode::UNAUTHORIZED, text.to_owned()).into_response();
    let bearer = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    response
}

fn operator(site: &Site) -> &Operator {
    let operator = site.operator.as_ref();
    operator.expect("the paths are there for an operator")
}

impl Operator {
    /// Compares signatures of both, so that the time taken tells nothing of the token.
    pub(super) fn is_token(&self, given: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.token.0.as_bytes());
        let expected = hmac::sign(&key, self.token.0.as_bytes());
        hmac::verify(&key, given, expected.as_ref()).is_ok()
    }
}

/// Gives an order that changes something, and waits until it is durable.
async fn change(site: &Site, by: &Actor, order: Order) -> OrderResult {
    let Operator {
        places, ban_places, ..
    } = operator(site);
    let places = match order.is_protective() {
        true => ban_places,
        false => places,
    };
    orders::change(&site.orders, places, by, order).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    name: String,
    password: String,
    /// Where it is paid; else its name, if that is an address.
    address: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddressBody {
    address: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThresholdBody {
    /// In base units; null: the pool's.
    #[serde(deserialize_with = "answer::base_units")]
    #[schema(required)]
    pub(super) threshold: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BanBody {
    /// Of IPv6, its /64 is meant.
    #[schema(value_type = String)]
    address: IpAddr,
    /// For how long; until it is unbanned if left out.
    seconds: Option<u64>,
    /// For the operator.
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DrainBody {
    /// Over how long miners are moved away.
    #[schema(maximum = 3600)]
    seconds: Option<u64>,
    /// Which server of the pool; else this one.
    server: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ServerQuery {
    /// Which server of the pool; else this one.
    server: Option<String>,
}

/// An address that is refused.
#[derive(Serialize, ToSchema)]
struct BanRow {
    address: String,
    since: u64,
    /// None: until it is unbanned.
    until: Option<u64>,
    reason: String,
    /// `operator` or `pool`.
    by: &'static str,
}

impl From<Ban> for BanRow {
    fn from(ban: Ban) -> Self {
        Self {
            address: ban.address.to_string(),
            since: ban.since_s,
            until: ban.until_s,
            reason: ban.reason,
            by: match ban.by {
                BannedBy::Operator => "operator",
                BannedBy::Pool => "pool",
            },
        }
    }
}

type OrderResult = Result<StatusCode, ApiError>;

/// Add a user.
#[utoipa::path(post, path = "/api/v1/admin/users", tag = "admin", request_body = UserBody,
    responses(OrderResponses))]
async fn add_user(
    State(site): State<Arc<Site>>,
    by: Actor,
    JsonBody(user): JsonBody<UserBody>,
) -> OrderResult {
    let UserBody {
        name,
        password,
        address,
    } = user;
    let user = NewUser {
        name,
        password,
        address,
        is_locked: false,
        wire_admin: None,
    };
    change(&site, &by, Order::AddUser(user)).await
}

/// Give a user another password; who is connected stays.
#[utoipa::path(put, path = "/api/v1/admin/users/{name}/password", tag = "admin",
    params(("name" = String, Path)), request_body = PasswordBody, responses(OrderResponses))]
async fn set_password(
    State(site): State<Arc<Site>>,
    by: Actor,
    PathName(name): PathName,
    JsonBody(PasswordBody { password }): JsonBody<PasswordBody>,
) -> OrderResult {
    change(&site, &by, Order::SetPassword { name, password }).await
}

/// Have an account paid there.
#[utoipa::path(put, path = "/api/v1/admin/users/{name}/address", tag = "admin",
    params(("name" = String, Path)), request_body = AddressBody, responses(OrderResponses))]
async fn set_address(
    State(site): State<Arc<Site>>,
    by: Actor,
    PathName(name): PathName,
    JsonBody(AddressBody { address }): JsonBody<AddressBody>,
) -> OrderResult {
    let stored = site.orders.set_address(&by, &name, &address);
    orders::account_stored(&operator(&site).places, stored).await
}

/// Have an account paid from another balance on.
#[utoipa::path(put, path = "/api/v1/admin/users/{name}/threshold", tag = "admin",
    params(("name" = String, Path)), request_body = ThresholdBody, responses(OrderResponses))]
async fn set_threshold(
    State(site): State<Arc<Site>>,
    by: Actor,
    PathName(name): PathName,
    JsonBody(ThresholdBody { threshold }): JsonBody<ThresholdBody>,
) -> OrderResult {
    let stored = site.orders.set_threshold(&by, &name, threshold);
    orders::account_stored(&operator(&site).places, stored).await
}

/// Let a user mine no more; its credit stays.
#[utoipa::path(put, path = "/api/v1/admin/users/{name}/disabled", tag = "admin",
    params(("name" = String, Path)), responses(OrderResponses))]
async fn disable(
    State(site): State<Arc<Site>>,
    by: Actor,
    PathName(name): PathName,
) -> OrderResult {
    change(&site, &by, Order::DisableUser(name)).await
}

/// Let it mine again.
#[utoipa::path(delete, path = "/api/v1/admin/users/{name}/disabled", tag = "admin",
    params(("name" = String, Path)), responses(OrderResponses))]
async fn enable(State(site): State<Arc<Site>>, by: Actor, PathName(name): PathName) -> OrderResult {
    change(&site, &by, Order::EnableUser(name)).await
}

/// Refuse an address and end its connections.
#[utoipa::path(post, path = "/api/v1/admin/bans", tag = "admin", request_body = BanBody,
    responses(OrderResponses))]
async fn ban(
    State(site): State<Arc<Site>>,
    by: Actor,
    JsonBody(ban): JsonBody<BanBody>,
) -> OrderResult {
    let order = Order::Ban {
        address: ban.address,
        duration_s: ban.seconds,
        reason: ban.reason,
    };
    change(&site, &by, order).await
}

/// Every address that is refused.
#[utoipa::path(get, path = "/api/v1/admin/bans", tag = "admin", responses(
    (status = 200, body = [BanRow]), (status = 401, body = Problem)))]
async fn bans(State(site): State<Arc<Site>>) -> ApiResult<Vec<BanRow>> {
    match orders::ask(&site.orders, Order::ListBans).await? {
        Told::Bans(bans) => Ok(Json(bans.into_iter().map(BanRow::from).collect())),
        _ => unreachable!("a list of bans was ordered"),
    }
}

/// Take connections from an address again, whoever has banned it.
#[utoipa::path(delete, path = "/api/v1/admin/bans/{address}", tag = "admin",
    params(("address" = String, Path)), responses(OrderResponses))]
async fn unban(
    State(site): State<Arc<Site>>,
    by: Actor,
    PathName(address): PathName,
) -> OrderResult {
    let Ok(address) = address.parse() else {
        return Err(ApiError::wrong("expected an IP address"));
    };
    change(&site, &by, Order::Unban(address)).await
}

/// Whether this server drains.
#[derive(Serialize, ToSchema)]
struct Draining {
    is_draining: bool,
}

/// Whether this server drains. Of the others `/servers` tells it.
#[utoipa::path(get, path = "/api/v1/admin/drain", tag = "admin", responses(
    (status = 200, body = Draining), (status = 401, body = Problem), (status = 503, body = Problem)))]
async fn draining(State(site): State<Arc<Site>>, _: NoParams) -> ApiResult<Draining> {
    match orders::ask(&site.orders, Order::Info).await? {
        Told::Info(info) => Ok(Json(Draining {
            is_draining: info.is_draining,
        })),
        _ => unreachable!("the status was asked for"),
    }
}

/// Take no more connections, and move those there are away.
#[utoipa::path(put, path = "/api/v1/admin/drain", tag = "admin", request_body = DrainBody,
    responses(OrderResponses))]
async fn drain(
    State(site): State<Arc<Site>>,
    by: Actor,
    JsonBody(drain): JsonBody<DrainBody>,
) -> OrderResult {
    let over_s = drain.seconds.unwrap_or(DRAIN_S);
    match drain.server {
        Some(server) => drain_server(&site, &by, &server, Some(over_s)).await,
        None => change(&site, &by, Order::Drain { over_s }).await,
    }
}

/// Take connections again.
#[utoipa::path(
    delete,
    path = "/api/v1/admin/drain",
    tag = "admin",
    params(ServerQuery),
    responses(OrderResponses)
)]
async fn undrain(
    State(site): State<Arc<Site>>,
    by: Actor,
    QueryParams(query): QueryParams<ServerQuery>,
) -> OrderResult {
    match query.server {
        Some(server) => drain_server(&site, &by, &server, None).await,
        None => change(&site, &by, Order::Undrain).await,
    }
}

async fn drain_server(site: &Site, by: &Actor, server: &str, over_s: Option<u64>) -> OrderResult {
    let told = site.orders.drain_server(by, server, over_s);
    let told = told.map_err(|error| ApiError::wrong(format!("{error:#}")))?;
    match orders::wait(&operator(site).places, move || told.wait()).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) if error.is::<SettingRefused>() => {
            Err(ApiError(StatusCode::CONFLICT, format!("{error:#}")))
        }
        Err(error) => Err(ApiError::busy(format!("{error:#}"))),
    }
}

/// The state of payouts.
#[utoipa::path(get, path = "/api/v1/admin/payout", tag = "admin", responses(
    (status = 200, body = PayoutReport), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
async fn payouts(State(site): State<Arc<Site>>) -> ApiResult<PayoutReport> {
    payout_order(&site, PayoutControl::report).await
}

/// Pay nobody until that is ended, on any server of the pool or by command.
#[utoipa::path(put, path = "/api/v1/admin/payout/pause", tag = "admin", responses(
    (status = 200, body = PayoutReport), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
async fn pause_payouts(State(site): State<Arc<Site>>, by: Actor) -> ApiResult<PayoutReport> {
    payout_order(&site, move |payouts| payouts.set_paused(&by, true)).await
}

/// Pay again.
#[utoipa::path(delete, path = "/api/v1/admin/payout/pause", tag = "admin", responses(
    (status = 200, body = PayoutReport), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
async fn resume_payouts(State(site): State<Arc<Site>>, by: Actor) -> ApiResult<PayoutReport> {
    payout_order(&site, move |payouts| payouts.set_paused(&by, false)).await
}

/// Gives an order about payouts, and waits for the ledger.
async fn payout_order(
    site: &Site,
    order: impl FnOnce(&PayoutControl) -> anyhow::Result<PayoutReport> + Send + 'static,
) -> ApiResult<PayoutReport> {
    let Operator {
        payouts, places, ..
    } = operator(site);
    let payouts = payouts.clone();
    let report = orders::wait(places, move || order(&payouts)).await?;
    let report = report.map_err(|error| ApiError::busy(format!("{error:#}")))?;
    Ok(Json(report))
}

/// What an order comes to.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "for the document")]
enum OrderResponses {
    /// It is so, and durable.
    #[response(status = 204)]
    Done,
    /// The order is malformed.
    #[response(status = 400)]
    Malformed(Problem),
    /// Without the token.
    #[response(status = 401)]
    Unauthorized(Problem),
    /// It does not fit what is there.
    #[response(status = 409)]
    Conflict(Problem),
    /// The disk refuses, or the server is stopping.
    #[response(status = 503)]
    Busy(Problem),
}

/// What there is with a token besides.
#[derive(OpenApi)]
#[openapi(
    paths(super::users::users, super::users::user, super::audit::audit, add_user, set_password, set_address, set_threshold, disable, enable, ban, bans, unban, draining, drain, undrain,
        payouts, pause_payouts, resume_payouts,
        super::refusals::with_addresses, super::conditions::alarms, super::log::log,
        super::doctor::doctor, super::payouts::plan),
    components(schemas(super::log::LogLevel)),
    tags((name = "admin", description = "What the operator orders, with `Authorization: Bearer`."))
)]
pub(crate) struct AdminDocument;
