//! Users, for the operator: which there are, and what each has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::accounts::clean_name;
use hstratum_core::operator_order::{Order, OrderOutcome, UserInfo};
use serde::Serialize;
use utoipa::ToSchema;

use super::accounts::{self, NextAddress};
use super::answer::{ApiError, ApiResult, PathName, Problem, QueryParams, SearchAsked};
use super::orders;
use super::site::Site;
use crate::sql::{Sql, SqlError};
use crate::values;

/// A user, or an account without a password.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    /// Untrusted text.
    name: String,
    has_password: bool,
    /// It may not mine.
    is_disabled: bool,
    /// True once it has mined, or has an address or a threshold.
    is_in_ledger: bool,
    /// Where it is paid; none: its name is its address, or it has none.
    address: Option<String>,
    /// Where it is to be paid later.
    next_address: Option<NextAddress>,
    /// Balance from which it is paid, in base units; none: the pool's.
    threshold: Option<u64>,
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub(crate) struct Users {
    /// Rows of the whole list.
    total: usize,
    users: Vec<User>,
}

/// Accounts with a password, by name, in which `search` looks.
#[utoipa::path(get, path = "/api/v1/admin/users", tag = "admin", params(SearchAsked), responses(
    (status = 200, body = Users), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn users(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<SearchAsked>,
) -> ApiResult<Users> {
    let (search, (limit, offset)) = asked.checked()?;
    let (users, total) = listed(&site, search, limit as usize, offset as usize).await?;
    let users = with_settings(&site, users).await?;
    Ok(Json(Users { total, users }))
}

/// One account, with a password or without.
#[utoipa::path(get, path = "/api/v1/admin/users/{name}", tag = "admin", params(("name" = String, Path)), responses(
    (status = 200, body = User), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn user(
    State(site): State<Arc<Site>>,
    PathName(name): PathName,
) -> ApiResult<User> {
    if clean_name(&name).as_deref() != Some(&name) {
        return Err(ApiError::wrong(
            "not an account name: expected 1 to 128 bytes without control characters",
        ));
    }
    let known = match orders::ask(&site.orders, Order::FindUser(name.clone())).await? {
        OrderOutcome::Users(users, _) => users.into_iter().next(),
        _ => unreachable!("a user was asked for"),
    };
    let has_password = known.is_some();
    let asked = known.unwrap_or_else(|| UserInfo {
        name: name.into(),
        is_disabled: false,
    });
    let mut found = with_settings(&site, vec![asked]).await?;
    let mut user = found.pop().expect("one was asked for");
    user.has_password = has_password;
    match user.has_password || user.is_in_ledger {
        true => Ok(Json(user)),
        false => Err(ApiError::missing("no such account")),
    }
}

async fn listed(
    site: &Site,
    search: String,
    count: usize,
    from: usize,
) -> Result<(Vec<UserInfo>, usize), ApiError> {
    let order = Order::ListUsers {
        search,
        count,
        from,
    };
    match orders::ask(&site.orders, order).await? {
        OrderOutcome::Users(users, total) => Ok((users, total)),
        _ => unreachable!("users were asked for"),
    }
}

/// Users with what the ledger has of them.
async fn with_settings(site: &Site, users: Vec<UserInfo>) -> Result<Vec<User>, ApiError> {
    let read = move |sql: &mut dyn Sql| users.iter().map(|user| settings(sql, user)).collect();
    site.ledger()?.read(read).await
}

fn settings(sql: &mut dyn Sql, user: &UserInfo) -> Result<User, SqlError> {
    let query = "SELECT threshold FROM accounts WHERE name = ?1";
    let row = sql.query_opt(query, &values![&*user.name])?;
    let threshold: Option<Option<u64>> = row.as_ref().map(|row| row.get(0)).transpose()?;
    let paid_at = accounts::paid_at(sql, &user.name)?;
    Ok(User {
        name: user.name.to_string(),
        has_password: true,
        is_disabled: user.is_disabled,
        is_in_ledger: threshold.is_some(),
        address: paid_at.address,
        next_address: paid_at.next,
        threshold: threshold.flatten(),
    })
}
