//! The dashboard's files, embedded in the binary, and the QR code of the pool's address.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use qrcodegen::{QrCode, QrCodeEcc};

use super::answer::ApiError;
use super::pool::{host_of, stratum_url};
use super::site::Site;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Empty modules around the QR code, which readers need.
const QUIET: i32 = 4;

/// A file of the dashboard.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($path:literal, $kind:expr) => {
        File {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("../../dashboard", $path)),
        }
    };
}

const INDEX: File = file!("/index.html", HTML);

const FILES: [File; 18] = [
    file!("/style.css", CSS),
    file!("/app.js", SCRIPT),
    file!("/account.js", SCRIPT),
    file!("/chart.js", SCRIPT),
    file!("/dom.js", SCRIPT),
    file!("/format.js", SCRIPT),
    file!("/forms.js", SCRIPT),
    file!("/language.js", SCRIPT),
    file!("/lang/en.js", SCRIPT),
    file!("/lang/zh.js", SCRIPT),
    file!("/parts.js", SCRIPT),
    file!("/session.js", SCRIPT),
    file!("/settings.js", SCRIPT),
    file!("/split.js", SCRIPT),
    file!("/table.js", SCRIPT),
    file!("/icon.svg", SVG),
    file!("/vendor/uPlot.iife.min.js", SCRIPT),
    file!("/vendor/uPlot.min.css", CSS),
];

pub(crate) fn routes() -> Router<Arc<Site>> {
    let page = |headers: HeaderMap| async move { give(&INDEX, &headers) };
    let mut router = Router::new()
        .route("/", get(page))
        .route("/account/{name}", get(page))
        .route("/block/{hash}", get(page))
        .route("/sign-in", get(page))
        .route("/stratum.svg", get(code));
    for file in &FILES {
        let give = move |headers: HeaderMap| async move { give(file, &headers) };
        router = router.route(file.path, get(give));
    }
    router
}

/// Answers with the file, or with 304 if the browser has it already.
fn give(file: &File, headers: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    file.text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let about = [(ETAG, tag.as_str()), (CACHE_CONTROL, "no-cache")];
    if known == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(CONTENT_TYPE, file.kind)], file.text).into_response()
}

/// The pool's address as a QR code.
#[utoipa::path(get, path = "/stratum.svg", tag = "pool", responses(
    (status = 200, content_type = "image/svg+xml", body = String)))]
pub(crate) async fn code(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let url = stratum_url(&site, host_of(&headers));
    let code = QrCode::encode_text(&url, QrCodeEcc::Medium)
        .map_err(|_| ApiError::wrong("the address is too long for a code"))?;
    Ok(([(CONTENT_TYPE, SVG)], svg(&code)).into_response())
}

fn svg(code: &QrCode) -> String {
    let side = code.size() + 2 * QUIET;
    let modules = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
    let path: String = modules
        .filter(|(x, y)| code.get_module(*x, *y))
        .map(|(x, y)| format!("M{},{}h1v1h-1z", x + QUIET, y + QUIET))
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\
         <path d=\"{path}\"/></svg>"
    )
}
