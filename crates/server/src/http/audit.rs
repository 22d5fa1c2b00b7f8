//! The audit trail, for the operator.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiResult, Problem, QueryParams, page_of, search_text};
use super::site::Site;
use crate::audit_trail::{self, RecordedChange};

/// A page of changes.
#[derive(serde::Serialize, ToSchema)]
pub(crate) struct RecordedChanges {
    /// Rows of the whole list.
    total: i64,
    changes: Vec<RecordedChange>,
}

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesAsked {
    /// Text that the account, address or server must have in it, or whoever has made the change.
    #[param(max_length = 128)]
    search: Option<String>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// Who has changed what, when and from where, the latest first: the operator, and owners of accounts.
#[utoipa::path(get, path = "/api/v1/admin/audit", tag = "admin", params(ChangesAsked), responses(
    (status = 200, body = RecordedChanges), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn audit(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<ChangesAsked>,
) -> ApiResult<RecordedChanges> {
    let page = page_of(asked.limit, asked.offset)?;
    let search = search_text(asked.search)?;
    let read = move |sql: &mut dyn crate::sql::Sql| audit_trail::newest(sql, &search, page);
    let (changes, total) = site.ledger()?.read(read).await?;
    Ok(Json(RecordedChanges { total, changes }))
}
