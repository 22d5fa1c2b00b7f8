//! Common parts of all answers: errors, parameters, pages of lists, and the cache for identical requests.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use parking_lot::Mutex;
use serde::de::value::{MapAccessDeserializer, UnitDeserializer};
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::viewer::Viewer;
use crate::limits::{
    HTTP_ANSWER, HTTP_ANSWERS_MAX, HTTP_REMEMBERED, HTTP_ROWS, HTTP_ROWS_MAX, HTTP_SEARCH_CHARS_MAX,
};
use crate::telemetry::live::Silent;

/// Why there is no answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// In words.
    error: String,
}

/// An error as an answer: its status and text.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(pub StatusCode, pub String);

impl ApiError {
    pub(crate) fn wrong(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self(StatusCode::FORBIDDEN, text.into())
    }

    pub(crate) fn missing(text: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, text.into())
    }

    pub(crate) fn busy(text: impl Into<String>) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, text.into())
    }
}

impl From<Silent> for ApiError {
    fn from(_: Silent) -> Self {
        Self::busy("the pool does not answer")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(Problem { error: self.1 })).into_response()
    }
}

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<Json<T>, ApiError>;

pub(crate) async fn no_such_path() -> ApiError {
    ApiError::missing("no such path")
}

pub(crate) async fn only_get() -> ApiError {
    ApiError(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not accept that method".to_owned(),
    )
}

/// Parameters after the question mark.
pub(crate) struct QueryParams<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|error| {
            let text = error.body_text();
            // What stands before it says what the library did.
            let reason = text.strip_prefix("Failed to deserialize query string: ");
            ApiError::wrong(reason.unwrap_or(&text))
        })?;
        Ok(Self(params))
    }
}

/// A name in the path.
pub(crate) struct PathName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|error: PathRejection| ApiError::wrong(error.body_text()))?;
        Ok(Self(name))
    }
}

/// A request's body, as JSON.
pub(crate) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Json::<JsonObject<T>>::from_request(request, state).await;
        let Json(JsonObject(body)) = body.map_err(|error| ApiError::wrong(error.body_text()))?;
        Ok(Self(body))
    }
}

/// A value whose fields have names: serde takes a struct's from an array too, by their order.
struct JsonObject<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for ObjectVisitor<T> {
            type Value = JsonObject<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<Self::Value, S::Error> {
                // The error is the type's own, which says what it takes.
                match T::deserialize(UnitDeserializer::<S::Error>::new()) {
                    Err(error) => Err(error),
                    Ok(_) => Err(S::Error::invalid_type(Unexpected::Seq, &self)),
                }
            }

            fn visit_map<M: MapAccess<'de>>(self, fields: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(JsonObject)
            }
        }

        json.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// Reads an amount that may be null. Those that no ledger can store are refused.
pub(super) fn base_units<'de, D: Deserializer<'de>>(json: D) -> Result<Option<u64>, D::Error> {
    let amount = Option::<u64>::deserialize(json)?;
    match amount.filter(|amount| i64::try_from(*amount).is_err()) {
        None => Ok(amount),
        Some(amount) => {
            let expected = format!("at most {} base units", i64::MAX);
            let found = Unexpected::Unsigned(amount);
            Err(D::Error::invalid_value(found, &expected.as_str()))
        }
    }
}

/// Which way a list is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Order)]
pub(crate) enum SortOrder {
    /// Least first.
    Asc,
    /// Greatest first.
    #[default]
    Desc,
}

/// Checks a page's limit and offset, and fills in the default.
pub(crate) fn page_of(limit: Option<u32>, offset: Option<u32>) -> Result<(u32, u32), ApiError> {
    let limit = limit.unwrap_or(HTTP_ROWS);
    if !(1..=HTTP_ROWS_MAX).contains(&limit) {
        let text = format!("limit: expected 1 to {HTTP_ROWS_MAX}, found {limit}");
        return Err(ApiError::wrong(text));
    }
    Ok((limit, offset.unwrap_or(0)))
}

/// Which rows of a list that is searched.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchAsked {
    /// Text that rows must have in what the path searches.
    #[param(max_length = 128)]
    search: Option<String>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

impl SearchAsked {
    /// The text as it is, and the page's limit and offset, if they are not too large.
    pub(crate) fn checked(self) -> Result<(String, (u32, u32)), ApiError> {
        let page = page_of(self.limit, self.offset)?;
        Ok((search_text(self.search)?, page))
    }
}

/// A search text in lower case, if it is not too long.
pub(crate) fn search_for(text: Option<String>) -> Result<String, ApiError> {
    Ok(search_text(text)?.to_lowercase())
}

/// A search text as it is, if it is not too long.
fn search_text(text: Option<String>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default();
    if text.chars().count() > HTTP_SEARCH_CHARS_MAX {
        let text = format!("search: expected at most {HTTP_SEARCH_CHARS_MAX} characters");
        return Err(ApiError::wrong(text));
    }
    Ok(text)
}

/// Extractor that refuses any parameters.
pub(crate) struct NoParams;

impl<S: Sync> FromRequestParts<S> for NoParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(ApiError::wrong("this path takes no parameters")),
        }
    }
}

/// Cached answers by request, including those in progress.
#[derive(Default)]
pub(crate) struct Answers {
    known: Mutex<HashMap<String, Arc<SharedAnswer>>>,
}

/// Cache entry of one request. One task makes the answer while it holds the lock, and the others wait for it.
#[derive(Default)]
struct SharedAnswer(tokio::sync::Mutex<Option<(Instant, MadeAnswer)>>);

/// Parts of an answer that can be given again.
#[derive(Clone)]
struct MadeAnswer {
    code: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answers {
    /// Forgets what was answered about an account to its owner, which has changed it.
    pub(super) fn forget(&self, account: &str) {
        let asked_by = format!(" {} ", asker(false, Some(account), false));
        (self.known.lock()).retain(|question, _| !question.starts_with(&asked_by));
    }

    fn of(&self, question: String) -> Arc<SharedAnswer> {
        let mut known = self.known.lock();
        if known.len() >= HTTP_ANSWERS_MAX && !known.contains_key(&question) {
            // Entries in progress live on in the tasks that use them.
            known.clear();
        }
        known.entry(question).or_default().clone()
    }
}

/// Cache key of a request, equal for equivalent requests.
fn question_of(headers: &HeaderMap, uri: &Uri, viewer: &Viewer) -> String {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let mut pairs = match pairs {
        Ok(Query(pairs)) => pairs,
        Err(_) => vec![(uri.query().unwrap_or_default().to_owned(), String::new())],
    };
    pairs.sort_unstable();
    // The answers of these, and no others, depend on the host asked for.
    let is_host_told = uri.path().ends_with("/pool") || uri.path().ends_with("/listeners");
    let host = headers.get(HOST).filter(|_| is_host_told);
    let host = host.and_then(|host| host.to_str().ok());
    format!(
        "{} {} {} {pairs:?}",
        host.unwrap_or_default(),
        asker(viewer.is_operator(), viewer.account(), viewer.is_link()),
        uri.path()
    )
}

/// Who asks, in a cache key.
fn asker(is_operator: bool, account: Option<&str>, is_link: bool) -> String {
    format!("{is_operator} {account:?} {is_link}")
}

/// Middleware that answers GET requests from the cache, makes one task answer for all that wait, and ends
/// what takes longer than [`HTTP_ANSWER`].
pub(crate) async fn remember(
    State(answers): State<Arc<Answers>>,
    Extension(viewer): Extension<Viewer>,
    headers: HeaderMap,
    mut request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::HEAD {
        // The HTTP library omits the body by itself.
        *request.method_mut() = Method::GET;
    }
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let question = question_of(&headers, request.uri(), &viewer);
    let asked = answers.of(question);
    let answering = async {
        let mut made = asked.0.lock().await;
        if let Some((at, known)) = &*made
            && at.elapsed() < HTTP_REMEMBERED
        {
            return known.clone().into_response();
        }
        let response = next.run(request).await;
        let code = response.status();
        if code != StatusCode::OK && code != StatusCode::SERVICE_UNAVAILABLE {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return ApiError::busy("failed to make the answer").into_response();
        };
        let answer = MadeAnswer {
            code,
            headers: parts.headers,
            body,
        };
        *made = Some((Instant::now(), answer.clone()));
        answer.into_response()
    };
    let answered = tokio::time::timeout(HTTP_ANSWER, answering).await;
    answered.unwrap_or_else(|_| ApiError::busy("this took too long").into_response())
}

impl IntoResponse for MadeAnswer {
    fn into_response(self) -> Response {
        (self.code, self.headers, self.body).into_response()
    }
}
