//! What is shown to whom: option `dashboard`.
//!
//! Each path says what it shows of accounts, and its answers are cut here by that, for whoever is not the operator.
//! Handlers know nothing of it but the order of rows. A search in names that are hidden is refused: its number of hits
//! would tell them letter by letter.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::Value;

use super::answer::ApiError;
use super::site::Site;
use super::viewer::Viewer;
use crate::config::Dashboard;

/// What a path shows of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// Nothing.
    Sums,
    /// The operator's machines and money: nothing of it is private to accounts, and all to the operator.
    Operation,
    /// Blocks or the round, and whose they are.
    Blocks,
    /// Accounts and their workers.
    Accounts,
    /// Logins that were refused; of one account to itself only, since the reason tells whether there is one.
    Refusals,
    /// The account in its path, to whoever knows the whole name.
    OneAccount,
    /// A job's outputs, which are on the chain once it is a block, and their accounts.
    Job,
    /// The pool as a whole, and what the operator runs it with.
    Pool,
}

/// What rows are ordered by that are otherwise equal: their names, or digests where names are hidden. A stranger who
/// logs in under chosen names would else find a hidden one by its place among them.
pub(crate) struct TieOrder(Option<RandomState>);

impl TieOrder {
    /// That for this viewer.
    pub(crate) fn of(site: &Site, viewer: &Viewer) -> Self {
        Self(is_cut(site, viewer).then(|| site.tie_digests.clone()))
    }

    /// Compares two names.
    pub(crate) fn compare<T: Ord + Hash>(&self, a: &T, b: &T) -> Ordering {
        match &self.0 {
            None => a.cmp(b),
            Some(digests) => digests.hash_one(a).cmp(&digests.hash_one(b)),
        }
    }
}

/// The pool's state without the operator's machines and money.
pub(crate) fn without_operation(pool: &mut Value) {
    for key in ["wallet", "shared_ledger_away"] {
        pool[key] = Value::Null;
    }
    for key in ["extra_nodes", "differences"] {
        pool[key] = Value::Array(Vec::new());
    }
}

/// Keys of names and addresses of accounts and workers in answers.
const NAMES: [&str; 4] = ["name", "account", "worker", "address"];

/// Characters that stay of a hidden name: a third of it, and never more.
const SHOWN_MAX: usize = 6;

/// A path whose answers are cut as the option says.
pub(crate) fn shown(
    site: &Arc<Site>,
    shows: Shows,
    methods: MethodRouter<Arc<Site>>,
) -> MethodRouter<Arc<Site>> {
    methods.layer(from_fn_with_state((site.clone(), shows), cut))
}

/// True if this viewer gets cut answers.
pub(crate) fn is_cut(site: &Site, viewer: &Viewer) -> bool {
    site.dashboard != Dashboard::Public && !viewer.is_operator()
}

async fn cut(
    State((site, shows)): State<(Arc<Site>, Shows)>,
    Extension(viewer): Extension<Viewer>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    if !is_cut(&site, &viewer) {
        return next.run(request).await;
    }
    let asked = asks_for(request.uri(), "account");
    let named = match shows {
        Shows::OneAccount => params.as_ref().ok().and_then(account_of_path),
        _ => asked.as_deref(),
    };
    let is_of_viewer = named.is_some() && named == viewer.account();
    let is_private = site.dashboard == Dashboard::Private;
    match judge(shows, is_private, is_of_viewer, request.uri()) {
        Judgement::Shown => next.run(request).await,
        Judgement::Refused(text) => {
            ApiError(StatusCode::UNAUTHORIZED, text.to_owned()).into_response()
        }
        Judgement::Cut => {
            let own = viewer.account().map(str::to_owned);
            let seen = own.into_iter().chain(asked).collect();
            let hidden = Hidden::of(shows, is_private, seen);
            hidden.cut_response(shows, next.run(request).await).await
        }
    }
}

/// What becomes of a request.
enum Judgement {
    Shown,
    Cut,
    /// For this reason.
    Refused(&'static str),
}

/// Judges a request of whoever sees not everything, perhaps for the own account.
fn judge(shows: Shows, is_private: bool, is_of_viewer: bool, uri: &Uri) -> Judgement {
    let is_shown_to_all = match shows {
        Shows::Sums => true,
        Shows::Operation | Shows::Pool => !is_private,
        Shows::OneAccount => is_of_viewer,
        Shows::Blocks | Shows::Accounts | Shows::Refusals | Shows::Job => false,
    };
    if is_shown_to_all {
        return Judgement::Shown;
    }
    let asks = |key| asks_for(uri, key);
    let is_shown_in_private = match shows {
        Shows::Sums | Shows::Job | Shows::Pool => true,
        Shows::Operation => false,
        Shows::Blocks => is_of_viewer || asks("account").is_none(),
        Shows::Accounts | Shows::Refusals | Shows::OneAccount => is_of_viewer,
    };
    if is_private && !is_shown_in_private {
        let text =
            "this is shown to the operator, and to whose account it is, only (dashboard: private)";
        return Judgement::Refused(text);
    }
    let is_by_name = match shows {
        Shows::Accounts => asks("search").is_some() || asks("sort").as_deref() == Some("name"),
        Shows::Refusals => asks("account").is_some(),
        _ => false,
    };
    if is_by_name && !is_of_viewer {
        let text = "names are hidden here: no search and no order by them; /account/NAME is the page of a \
                    whole name";
        return Judgement::Refused(text);
    }
    Judgement::Cut
}

/// The account in a path of one.
fn account_of_path(params: &RawPathParams) -> Option<&str> {
    let mut params = params.iter();
    params.find_map(|(key, name)| (key == "name").then_some(name))
}

fn asks_for(uri: &Uri, key: &str) -> Option<String> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let mut pairs = pairs.0.into_iter();
    pairs.find(|(name, _)| name == key).map(|(_, value)| value)
}

/// What is hidden in an answer.
struct Hidden {
    /// Keys whose texts are.
    keys: &'static [&'static str],
    /// Texts are left out and not cut; and so is what each account has.
    is_left_out: bool,
    /// The accounts of whoever has signed in, and that the asker named: all of them may be seen.
    seen: Vec<String>,
}

impl Hidden {
    fn of(shows: Shows, is_private: bool, seen: Vec<String>) -> Self {
        Self {
            keys: match shows {
                // The name is the asker's.
                Shows::OneAccount => &["address"],
                // Addresses are in the coinbase.
                Shows::Job => &["account"],
                Shows::Blocks | Shows::Accounts | Shows::Refusals => &NAMES,
                Shows::Sums | Shows::Operation | Shows::Pool => &[],
            },
            // What is left of a name beside a whole address would tell whose that is.
            is_left_out: is_private || shows == Shows::Job,
            seen,
        }
    }

    /// The same answer without what is hidden.
    async fn cut_response(&self, shows: Shows, response: Response) -> Response {
        let kind = response.headers().get(CONTENT_TYPE);
        if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await;
        let answer = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        let Some(mut answer) = answer else {
            return ApiError::busy("failed to make the answer").into_response();
        };
        self.cut(&mut answer);
        if shows == Shows::Pool {
            without_operation(&mut answer);
        }
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(answer.to_string()))
    }

    fn cut(&self, value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|value| self.cut(value)),
            Value::Object(fields) => {
                let account = fields.get("account").and_then(Value::as_str);
                if account.is_some_and(|account| self.seen.iter().any(|seen| seen == account)) {
                    return;
                }
                for (key, value) in fields.iter_mut() {
                    match value {
                        // A number of accounts tells of none.
                        Value::Number(_) => {}
                        Value::String(text) if self.keys.contains(&key.as_str()) => {
                            *value = self.replacement(text);
                        }
                        _ if self.is_left_out && key == "split" => *value = Value::Null,
                        _ if self.is_left_out && key == "accounts" => {
                            *value = Value::Array(Vec::new());
                        }
                        _ => self.cut(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn replacement(&self, name: &str) -> Value {
        match self.is_left_out {
            true => Value::Null,
            false => Value::String(cut_name(name)),
        }
    }
}

/// The beginning of a name.
fn cut_name(name: &str) -> String {
    let shown = (name.chars().count() / 3).min(SHOWN_MAX);
    let begin: String = name.chars().take(shown).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_cut_wherever_they_are() {
        let hidden = Hidden {
            keys: &NAMES,
            is_left_out: false,
            seen: vec!["mine".to_owned()],
        };
        let mut answer = json!({"total": 2, "rows": [
            {"account": "alice", "worker": "ab", "hashrate": 1.5, "block": {"address": "é".repeat(90)}},
            {"account": "mine", "worker": "rig", "name": null}]});
        hidden.cut(&mut answer);
        let expected = json!({"total": 2, "rows": [
            {"account": "a…", "worker": "…", "hashrate": 1.5, "block": {"address": "éééééé…"}},
            {"account": "mine", "worker": "rig", "name": null}]});
        assert_eq!(answer, expected);
    }
}
