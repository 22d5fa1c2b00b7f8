//! Refused logins, to find out why a machine does not mine.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::accounts::refused_logins::{RefusalCounts, RefusalReason, RefusedAddress};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiResult, Problem, QueryParams, page_of};
use super::site::Site;

/// What was refused from one address.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(crate) struct ApiRefusal {
    /// Of IPv6 the first of its /64. Only for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The account that was asked for, if one was: it is what the name begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// The name of the last login. Untrusted text.
    name: String,
    /// Why that was refused: `wrong_password`, `unknown_user`, `no_address`, `disabled`, `admin_password`
    /// (`mining.authorize_admin` with a wrong one), `no_admin` (the same where none is set), `guesses` (too
    /// many wrong passwords of the admin), `names` (too many on a connection), `proof` (a proxy with
    /// another secret), `malformed`, or `server` (of a proxy).
    reason: &'static str,
    /// Logins that were refused from there.
    count: u64,
    /// How many for which reason.
    reasons: BTreeMap<&'static str, u64>,
    /// The first and the last of them.
    first: u64,
    last: u64,
}

/// Logins that were refused, since the server started.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusals)]
pub(crate) struct ApiRefusals {
    /// All of them.
    logins: u64,
    /// Addresses that are remembered, at most 256; of an account those from where its last login was refused.
    total: usize,
    /// By address, the latest first.
    refusals: Vec<ApiRefusal>,
}

/// Which refusals are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusalsAsked {
    /// Those whose last name is this account, or one of its workers.
    account: Option<String>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

impl ApiRefusal {
    pub(crate) fn of(refused: &RefusedAddress) -> Self {
        Self {
            address: None,
            account: None,
            name: refused.name.to_string(),
            reason: refused.reason.name(),
            count: refused.count(),
            reasons: refused
                .reasons()
                .map(|(why, count)| (why.name(), count))
                .collect(),
            first: refused.first_s,
            last: refused.last_s,
        }
    }

    fn with_address(refused: &RefusedAddress) -> Self {
        Self {
            address: Some(refused.address.to_string()),
            ..Self::of(refused)
        }
    }
}

/// Counts by the reason's name.
pub(crate) fn by_reason(counts: RefusalCounts) -> impl Iterator<Item = (&'static str, u64)> {
    RefusalReason::ALL
        .into_iter()
        .map(RefusalReason::name)
        .zip(counts)
}

/// Logins that were refused on this server.
#[utoipa::path(get, path = "/api/v1/refusals", tag = "miners", params(RefusalsAsked), responses(
    (status = 200, body = ApiRefusals), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn refusals(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<RefusalsAsked>,
) -> ApiResult<ApiRefusals> {
    give(&site, asked, ApiRefusal::of).await
}

/// Logins that were refused on this server, and from where.
#[utoipa::path(get, path = "/api/v1/admin/refusals", tag = "admin", params(RefusalsAsked), responses(
    (status = 200, body = ApiRefusals), (status = 400, body = Problem),
    (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn with_addresses(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<RefusalsAsked>,
) -> ApiResult<ApiRefusals> {
    give(&site, asked, ApiRefusal::with_address).await
}

async fn give(
    site: &Site,
    asked: RefusalsAsked,
    row: fn(&RefusedAddress) -> ApiRefusal,
) -> ApiResult<ApiRefusals> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let now = site.live.look().await?;
    let account = asked.account.as_deref();
    let is_asked = |one: &&RefusedAddress| account.is_none_or(|account| is_of(account, &one.name));
    let found: Vec<_> = now.view.refused.iter().filter(is_asked).collect();
    let page = found.iter().skip(offset as usize).take(limit as usize);
    let rows = page.map(|one| ApiRefusal {
        account: asked.account.clone(),
        ..row(one)
    });
    Ok(Json(ApiRefusals {
        logins: now.view.refused_logins.iter().sum(),
        total: found.len(),
        refusals: rows.collect(),
    }))
}

/// True for the name of an account, or of a worker of it.
fn is_of(account: &str, name: &str) -> bool {
    let rest = name.strip_prefix(account);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
