//! Keys and links of the account that has signed in: which there are, one more, one less. A key itself is told once, to
//! whoever has it made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{MethodRouter, delete, get};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use super::answer::{ApiError, ApiResult, JsonBody, NoParams, PathName, Problem};
use super::listeners::host_of;
use super::me::{self, Me};
use super::own_changes::OwnSetting;
use super::sessions::{SignedIn, random};
use super::site::Site;
use super::viewer::Viewer;
use super::{orders, sign_in};
use crate::account_keys::{self, KeyHolder, KeyRight, NewKey, StoredKey};
use crate::audit_trail::Actor;
use crate::limits::{ACCOUNT_KEYS_MAX, KEY_NAME_CHARS_MAX, KEYS_LOOK};

/// The paths of keys and links below `/me`, for whoever has signed in.
pub(super) fn routes() -> Router<Arc<Site>> {
    let methods: [(&str, MethodRouter<Arc<Site>>); 4] = [
        ("/keys", get(keys).post(add_key)),
        ("/keys/{id}", delete(revoke_key)),
        ("/links", get(links).post(add_link)),
        ("/links/{id}", delete(revoke_link)),
    ];
    let mut router = Router::new();
    for (path, methods) in methods {
        router = router.route(path, methods);
    }
    router
}

/// Reads the keys of all accounts whenever they have changed, for as long as the server runs.
pub(super) async fn watch(site: Arc<Site>) {
    let known = &site.sign_in.known_keys;
    let Ok(reader) = site.ledger() else {
        return known.read(known.mark(), None, HashMap::new());
    };
    let mut beat = interval(KEYS_LOOK);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let before = known.mark();
        let read = reader.read(move |sql| account_keys::all(sql, before.number));
        // What cannot be read now is read later.
        if let Ok(Some(read)) = read.await {
            known.read(before, Some(read.number), read.holders);
        }
    }
}

/// A key or link of an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountKey {
    /// What it is revoked by.
    id: String,
    name: String,
    /// `read`, `settings`, or `link` of a link.
    may: &'static str,
    /// Unix seconds.
    created_at: i64,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeKey {
    #[serde(flatten)]
    made: AccountKey,
    /// For `Authorization: Bearer`. It is told here and never again.
    key: String,
}

/// A link that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeLink {
    #[serde(flatten)]
    made: AccountKey,
    /// The page that shows the account to whoever has this. It is told here and never again.
    url: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyBody {
    /// One that no other key or link of the account has: up to 40 letters, digits, blanks, `-`, `_` and `.`.
    #[schema(min_length = 1, max_length = 40)]
    name: String,
    may: KeyMay,
}

/// What a key may: see what its owner sees, or also change ordinary settings.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyMay {
    Read,
    Settings,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkBody {
    /// One that no other key or link of the account has: up to 40 letters, digits, blanks, `-`, `_` and `.`.
    #[schema(min_length = 1, max_length = 40)]
    name: String,
}

/// The account's keys, oldest first.
#[utoipa::path(get, path = "/api/v1/me/keys", tag = "me", responses((status = 200, body = [AccountKey]),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn keys(
    State(site): State<Arc<Site>>,
    Extension(Me(account)): Extension<Me>,
    _: NoParams,
) -> ApiResult<Vec<AccountKey>> {
    list(&site, &account, Kind::Key).await
}

/// The links that show the account, oldest first.
#[utoipa::path(get, path = "/api/v1/me/links", tag = "me", responses((status = 200, body = [AccountKey]),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn links(
    State(site): State<Arc<Site>>,
    Extension(Me(account)): Extension<Me>,
    _: NoParams,
) -> ApiResult<Vec<AccountKey>> {
    list(&site, &account, Kind::Link).await
}

/// Make a key, by which programs ask in the account's name with `Authorization: Bearer`, without `X-CSRF-Token`.
#[utoipa::path(post, path = "/api/v1/me/keys", tag = "me", request_body = KeyBody, responses(
    (status = 201, body = MadeKey), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn add_key(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<(StatusCode, Json<MadeKey>), ApiError> {
    let right = match body.may {
        KeyMay::Read => KeyRight::Read,
        KeyMay::Settings => KeyRight::Settings,
    };
    let (made, key) = make(&site, (&viewer, &by), &account, body.name, right).await?;
    Ok((StatusCode::CREATED, Json(MadeKey { made, key })))
}

/// Make a link, which shows the account to whoever has it: all that a public dashboard shows of it, and changes nothing.
#[utoipa::path(post, path = "/api/v1/me/links", tag = "me", request_body = LinkBody, responses(
    (status = 201, body = MadeLink), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn add_link(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(viewer): Extension<Viewer>,
    Extension(Me(account)): Extension<Me>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<LinkBody>,
) -> Result<(StatusCode, Json<MadeLink>), ApiError> {
    let (made, key) = make(&site, (&viewer, &by), &account, body.name, KeyRight::Link).await?;
    let scheme = match sign_in::is_behind_tls(&headers) {
        true => "https",
        false => "http",
    };
    // Behind the hash, so that no browser sends it: it is in no log, and no other site is told.
    let host = host_of(&headers).unwrap_or_default();
    let url = format!("{scheme}://{host}/#view={key}");
    Ok((StatusCode::CREATED, Json(MadeLink { made, url })))
}

/// Revoke a key.
#[utoipa::path(delete, path = "/api/v1/me/keys/{id}", tag = "me", params(("id" = String, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn revoke_key(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(Me(account)): Extension<Me>,
    PathName(id): PathName,
    _: NoParams,
) -> Result<StatusCode, ApiError> {
    revoke(&site, &by, &account, Kind::Key, &id).await
}

/// Revoke a link.
#[utoipa::path(delete, path = "/api/v1/me/links/{id}", tag = "me", params(("id" = String, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn revoke_link(
    State(site): State<Arc<Site>>,
    by: Actor,
    Extension(Me(account)): Extension<Me>,
    PathName(id): PathName,
    _: NoParams,
) -> Result<StatusCode, ApiError> {
    revoke(&site, &by, &account, Kind::Link, &id).await
}

/// Key or link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Key,
    Link,
}

impl Kind {
    fn of(right: KeyRight) -> Self {
        match right {
            KeyRight::Read | KeyRight::Settings => Self::Key,
            KeyRight::Link => Self::Link,
        }
    }
}

impl AccountKey {
    fn of(stored: StoredKey) -> Self {
        Self {
            id: stored.id,
            name: stored.name,
            may: stored.right.name(),
            created_at: stored.created_at,
        }
    }
}

async fn stored(site: &Site, account: &Arc<str>) -> Result<Vec<StoredKey>, ApiError> {
    let account = account.clone();
    let read = site
        .ledger()?
        .read(move |sql| account_keys::of_account(sql, &account));
    read.await
}

async fn list(site: &Site, account: &Arc<str>, kind: Kind) -> ApiResult<Vec<AccountKey>> {
    let all = stored(site, account).await?.into_iter();
    let these = all.filter(|one| Kind::of(one.right) == kind);
    Ok(Json(these.map(AccountKey::of).collect()))
}

/// Makes a key or link: what the ledger has of it, and itself.
async fn make(
    site: &Site,
    (viewer, by): (&Viewer, &Actor),
    account: &Arc<str>,
    name: String,
    right: KeyRight,
) -> Result<(AccountKey, String), ApiError> {
    check_name(&name)?;
    let Viewer::Session(signed_in) = viewer else {
        unreachable!("only whoever has signed in is admitted");
    };
    let _change = me::begin(site, account, OwnSetting::Keys)?;
    let random = random().map_err(|error| ApiError::busy(format!("no random bytes: {error}")))?;
    let key = format!("{}{random}", account_keys::PREFIX);
    let digest = account_keys::digest(key.as_bytes()).expect("it has the form of a key");
    let new = NewKey {
        digest,
        name,
        right,
    };
    match store(site, (signed_in, by), account, new).await {
        Ok(made) => {
            let account = account.clone();
            (site.sign_in.known_keys).add(digest, KeyHolder { account, right });
            Ok((AccountKey::of(made), key))
        }
        Err(refusal) => {
            // It may be stored all the same, and nobody has it.
            drop(
                site.orders
                    .revoke_key(by, account, &account_keys::id(&digest)),
            );
            Err(refusal)
        }
    }
}

/// Stores a key, and reads it. A session that ended meanwhile gets none: another password has revoked the others.
async fn store(
    site: &Site,
    (signed_in, by): (&SignedIn, &Actor),
    account: &Arc<str>,
    key: NewKey,
) -> Result<StoredKey, ApiError> {
    let conflict = |text: String| Err(ApiError(StatusCode::CONFLICT, text));
    let added = site.orders.add_key(by, account, key.clone());
    orders::account_stored(&site.changes, Ok(added)).await?;
    let mut all = stored(site, account).await?;
    let id = account_keys::id(&key.digest);
    let Some(own) = all.iter().position(|one| one.id == id) else {
        if all.iter().any(|one| one.name == key.name) {
            return conflict(format!("a key or link has the name {:?} already", key.name));
        }
        return conflict(match all.len() as u64 >= ACCOUNT_KEYS_MAX {
            true => format!("the account has {ACCOUNT_KEYS_MAX} keys and links: revoke one first"),
            false => "the pool has as many keys and links as it may have".to_owned(),
        });
    };
    match site.sign_in.sessions.is_open(signed_in, Instant::now()) {
        true => Ok(all.swap_remove(own)),
        false => {
            let text = "sign in first: the session has ended";
            Err(ApiError(StatusCode::UNAUTHORIZED, text.to_owned()))
        }
    }
}

async fn revoke(
    site: &Site,
    by: &Actor,
    account: &Arc<str>,
    kind: Kind,
    id: &str,
) -> Result<StatusCode, ApiError> {
    let all = stored(site, account).await?;
    let is_it = |one: &StoredKey| one.id == id && Kind::of(one.right) == kind;
    if !all.iter().any(is_it) {
        return Err(ApiError::missing(match kind {
            Kind::Key => "no such key",
            Kind::Link => "no such link",
        }));
    }
    let revoked = site.orders.revoke_key(by, account, id);
    let done = orders::account_stored(&site.changes, Ok(revoked)).await?;
    site.sign_in.known_keys.forget(account, Some(id));
    Ok(done)
}

/// Refuses a name that is too long, or that a list could not show as it is.
fn check_name(name: &str) -> Result<(), ApiError> {
    let is_shown = |c: char| c.is_alphanumeric() || " -_.".contains(c);
    let length = name.chars().count();
    if name.trim() == name
        && (1..=KEY_NAME_CHARS_MAX).contains(&length)
        && name.chars().all(is_shown)
    {
        return Ok(());
    }
    Err(ApiError::wrong(format!(
        "name: expected 1 to {KEY_NAME_CHARS_MAX} letters, digits, blanks, \"-\", \"_\" or \".\", and no blank at \
         either end"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_short_and_plain() {
        let longest = "é".repeat(KEY_NAME_CHARS_MAX);
        for name in ["a", "Home Assistant", "手机", "v1.2_rig-3", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let longer = format!("{longest}é");
        for name in [
            "",
            " ",
            "a ",
            "<b>",
            "a\u{202e}b",
            "a\nb",
            "a\u{a0}b",
            &longer,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
