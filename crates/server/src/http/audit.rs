//! The audit trail, for the operator.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{ApiResult, Problem, QueryParams, SearchAsked};
use super::site::Site;
use crate::audit_trail::{self, RecordedChange};

/// A page of changes.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordedChanges {
    /// Rows of the whole list.
    total: i64,
    changes: Vec<RecordedChange>,
}

/// Who has changed what, when and from where, the latest first: the operator, and owners of accounts. `search`
/// looks into who, what, the new value and the place.
#[utoipa::path(get, path = "/api/v1/admin/audit", tag = "admin", params(SearchAsked), responses(
    (status = 200, body = RecordedChanges), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn audit(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<SearchAsked>,
) -> ApiResult<RecordedChanges> {
    let (search, page) = asked.checked()?;
    let read = move |sql: &mut dyn crate::sql::Sql| audit_trail::newest(sql, &search, page);
    let (changes, total) = site.ledger()?.read(read).await?;
    Ok(Json(RecordedChanges { total, changes }))
}
