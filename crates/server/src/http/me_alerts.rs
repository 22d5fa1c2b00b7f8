//! What a miner who has signed in is told, and where.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{ApiError, ApiResult, JsonBody, NoParams, Problem};
use super::me::{Me, begin};
use super::orders;
use super::own_changes::OwnSetting;
use super::site::Site;
use super::viewer::Viewer;
use crate::alerts::{Alerts, AlertsRefused};
use crate::audit_trail::{Actor, Change};
use crate::contacts::table::{self, AlertSettings, Contact, Language};
use crate::contacts::way::Way;
use crate::limits::FRESH_SESSION;

/// The paths below `/me/alerts`.
pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/", get(alerts).put(set_alerts)).route(
        "/contacts/{way}",
        put(send_code).post(confirm_contact).delete(end_contact),
    )
}

/// What an account is told, and where.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnAlerts {
    /// Ways that the pool has: `mail`, `telegram` and `ntfy`.
    ways: Vec<&'static str>,
    /// Hosts of ntfy whose topics may be used.
    ntfy_hosts: Vec<String>,
    /// None before the first contact.
    settings: Option<AlertSettings>,
    contacts: Vec<Contact>,
}

/// A contact that an account wants to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactBody {
    /// A mail address, the number of a Telegram chat, or a topic of ntfy as `HOST/TOPIC`.
    to: String,
    /// Of the messages, unless the account has chosen one.
    #[serde(default)]
    language: Language,
}

/// What confirms it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeBody {
    /// Eight digits that were sent there.
    code: String,
}

impl From<AlertsRefused> for ApiError {
    fn from(refused: AlertsRefused) -> Self {
        let status = match &refused {
            AlertsRefused::Malformed(_) => StatusCode::BAD_REQUEST,
            AlertsRefused::NoSuchWay | AlertsRefused::NoContact => StatusCode::NOT_FOUND,
            AlertsRefused::NotSent(_) => StatusCode::BAD_GATEWAY,
            AlertsRefused::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            AlertsRefused::Code(code) => match code.is_limit() {
                true => StatusCode::TOO_MANY_REQUESTS,
                false => StatusCode::CONFLICT,
            },
        };
        Self(status, refused.to_string())
    }
}

/// Admits sessions that have begun lately: a cookie that was stolen is older.
fn check_is_fresh(viewer: &Viewer) -> Result<(), ApiError> {
    match viewer {
        Viewer::Session(session) if session.begun.elapsed() < FRESH_SESSION => Ok(()),
        _ => Err(ApiError::forbidden(
            "sign in anew: what is told, and where, is changed within 15 minutes of that",
        )),
    }
}

/// Does something that waits for the ledger.
async fn wait<T: Send + 'static>(
    site: &Site,
    work: impl FnOnce(&Alerts) -> Result<T, AlertsRefused> + Send + 'static,
) -> Result<T, ApiError> {
    let alerts = site.alerts.clone().ok_or(AlertsRefused::NoSuchWay)?;
    Ok(orders::wait(&site.changes, move || work(&alerts)).await??)
}

fn way_of(name: &str) -> Result<Way, ApiError> {
    Way::from_name(name).ok_or_else(|| AlertsRefused::NoSuchWay.into())
}

/// What you are told, and where.
#[utoipa::path(get, path = "/api/v1/me/alerts", tag = "me",
    responses((status = 200, body = OwnAlerts), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn alerts(
    State(site): State<Arc<Site>>,
    Extension(Me(account)): Extension<Me>,
    _: NoParams,
) -> ApiResult<OwnAlerts> {
    let Some(alerts) = &site.alerts else {
        return Ok(Json(OwnAlerts {
            ways: Vec::new(),
            ntfy_hosts: Vec::new(),
            settings: None,
            contacts: Vec::new(),
        }));
    };
    let (ways, ntfy_hosts) = (alerts.ways(), alerts.ntfy_hosts());
    let reader = site.reader.as_ref().expect("alerts have a ledger");
    let known = reader.read(move |sql| table::read(sql, &account)).await?;
    let (settings, contacts) = known.unzip();
    Ok(Json(OwnAlerts {
        ways: ways.into_iter().map(Way::name).collect(),
        ntfy_hosts,
        settings,
        contacts: contacts.unwrap_or_default(),
    }))
}

/// Choose what you are told. Needs a contact.
#[utoipa::path(put, path = "/api/v1/me/alerts", tag = "me", request_body = AlertSettings,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn set_alerts(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    JsonBody(settings): JsonBody<AlertSettings>,
) -> Result<StatusCode, ApiError> {
    check_is_fresh(&viewer)?;
    let _change = begin(&site, &account, OwnSetting::Alerts)?;
    let change = Change::new("set-alerts", &account, "");
    let record = site.orders.record(&by, change);
    wait(&site, move |alerts| {
        alerts.set(&account, &settings, &record)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Be told there, by `mail`, `telegram` or `ntfy`: sends a code, which confirms it.
#[utoipa::path(put, path = "/api/v1/me/alerts/contacts/{way}", tag = "me", request_body = ContactBody,
    params(("way" = String, Path)),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem),
        (status = 502, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn send_code(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    Path(way): Path<String>,
    JsonBody(body): JsonBody<ContactBody>,
) -> Result<StatusCode, ApiError> {
    check_is_fresh(&viewer)?;
    let way = way_of(&way)?;
    let _change = begin(&site, &account, OwnSetting::Contact)?;
    let alerts = site.alerts.clone().ok_or(AlertsRefused::NoSuchWay)?;
    // Not among those that wait for the ledger: a receiver may take its time.
    let send = move || alerts.send_code(&account, (way, &body.to), body.language);
    orders::wait(&site.codes, send).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Confirm that with the code: it takes the place of the contact of that way so far.
#[utoipa::path(post, path = "/api/v1/me/alerts/contacts/{way}", tag = "me", request_body = CodeBody,
    params(("way" = String, Path)),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn confirm_contact(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    Path(way): Path<String>,
    JsonBody(body): JsonBody<CodeBody>,
) -> Result<StatusCode, ApiError> {
    check_is_fresh(&viewer)?;
    let way = way_of(&way)?;
    let change = Change::new("set-contact", &account, way.name());
    let record = site.orders.record(&by, change);
    wait(&site, move |alerts| {
        alerts.confirm(&account, way, &body.code, &record)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Be told by that way no more.
#[utoipa::path(delete, path = "/api/v1/me/alerts/contacts/{way}", tag = "me", params(("way" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn end_contact(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    Path(way): Path<String>,
    _: NoParams,
) -> Result<StatusCode, ApiError> {
    check_is_fresh(&viewer)?;
    let way = way_of(&way)?;
    let _change = begin(&site, &account, OwnSetting::Contact)?;
    let change = Change::new("remove-contact", &account, way.name());
    let record = site.orders.record(&by, change);
    wait(&site, move |alerts| {
        alerts.end_contact(&account, way, &record)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
