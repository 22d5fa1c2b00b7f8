//! The servers that share a ledger, from the reports that each writes there every second; and whether the
//! shared ledger can be read at all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiResult, Problem, QueryParams, page_of};
use super::pool::ApiPool;
use super::server_list::{ApiServer, read_servers};
use super::site::Site;

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Servers)]
pub(crate) struct ApiServers {
    /// Rows of the whole list.
    total: usize,
    /// By name.
    servers: Vec<ApiServer>,
}

/// Which servers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ServersAsked {
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// The servers of the pool that were seen within a day; only this one where it shares no ledger.
#[utoipa::path(get, path = "/api/v1/servers", tag = "pool", params(ServersAsked), responses(
    (status = 200, body = ApiServers), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn servers(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<ServersAsked>,
) -> ApiResult<ApiServers> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let all = match site.reader.as_ref().filter(|reader| reader.is_shared()) {
        Some(reader) => {
            let own = site.own_number();
            reader.read(move |sql| read_servers(sql, own)).await?
        }
        None => {
            let (now, workers) = site.live.look_at_workers().await?;
            let pool = ApiPool::of(&site, &now, &workers, None, None);
            vec![pool.as_server(site.server_id.clone())]
        }
    };
    let page = all.iter().skip(offset as usize).take(limit as usize);
    Ok(Json(ApiServers {
        total: all.len(),
        servers: page.cloned().collect(),
    }))
}
