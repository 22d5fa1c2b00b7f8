//! The dashboard's files, embedded in the binary, and the QR code of the pool's address.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use qrcodegen::{QrCode, QrCodeEcc};

use super::answer::ApiError;
use super::listeners::host_of;
use super::site::Site;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const MANIFEST: &str = "application/manifest+json";

/// Empty modules around the QR code, which readers need.
const QUIET: i32 = 4;

/// A file of the dashboard.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
    /// Compressed by gzip, when it is first asked for.
    gzip: OnceLock<Vec<u8>>,
}

macro_rules! file {
    ($path:literal, $kind:expr) => {
        File {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("../../dashboard", $path)),
            gzip: OnceLock::new(),
        }
    };
}

static INDEX: File = file!("/index.html", HTML);

static FILES: [File; 30] = [
    file!("/style.css", CSS),
    file!("/app.js", SCRIPT),
    file!("/account.js", SCRIPT),
    file!("/alerts.js", SCRIPT),
    file!("/chart.js", SCRIPT),
    file!("/connect.js", SCRIPT),
    file!("/console.js", SCRIPT),
    file!("/console_audit.js", SCRIPT),
    file!("/console_bans.js", SCRIPT),
    file!("/console_parts.js", SCRIPT),
    file!("/console_payouts.js", SCRIPT),
    file!("/console_servers.js", SCRIPT),
    file!("/console_users.js", SCRIPT),
    file!("/dom.js", SCRIPT),
    file!("/format.js", SCRIPT),
    file!("/forms.js", SCRIPT),
    file!("/keys.js", SCRIPT),
    file!("/language.js", SCRIPT),
    file!("/lang/en.js", SCRIPT),
    file!("/lang/zh.js", SCRIPT),
    file!("/parts.js", SCRIPT),
    file!("/session.js", SCRIPT),
    file!("/settings.js", SCRIPT),
    file!("/split.js", SCRIPT),
    file!("/sync.js", SCRIPT),
    file!("/table.js", SCRIPT),
    file!("/icon.svg", SVG),
    file!("/manifest.webmanifest", MANIFEST),
    file!("/vendor/uPlot.iife.min.js", SCRIPT),
    file!("/vendor/uPlot.min.css", CSS),
];

pub(crate) fn routes() -> Router<Arc<Site>> {
    let page = |headers: HeaderMap| async move { give(&INDEX, &headers) };
    let mut router = Router::new()
        .route("/", get(page))
        .route("/account/{name}", get(page))
        .route("/block/{hash}", get(page))
        .route("/connect", get(page))
        .route("/console", get(page))
        .route("/sign-in", get(page))
        .route("/stratum.svg", get(code));
    for file in &FILES {
        let give = move |headers: HeaderMap| async move { give(file, &headers) };
        router = router.route(file.path, get(give));
    }
    router
}

/// Answers with the file, or with 304 if the browser has it already.
fn give(file: &'static File, headers: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    file.text.hash(&mut hasher);
    let takes_gzip = takes_gzip(headers);
    let encoding = if takes_gzip { "-gzip" } else { "" };
    let tag = format!("\"{:016x}{encoding}\"", hasher.finish());
    let known = headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let about = [
        (ETAG, tag.as_str()),
        (CACHE_CONTROL, "no-cache"),
        (VARY, "Accept-Encoding"),
    ];
    if known == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    let kind = [(CONTENT_TYPE, file.kind)];
    if takes_gzip {
        let encoding = [(CONTENT_ENCODING, "gzip")];
        let packed = file.gzip.get_or_init(|| gzip(file.text));
        return (about, kind, encoding, packed.as_slice()).into_response();
    }
    (about, kind, file.text).into_response()
}

/// True for a client that names gzip and does not refuse it (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let told = headers.get_all(ACCEPT_ENCODING).iter();
    let mut encodings = told.flat_map(|told| told.to_str().unwrap_or_default().split(','));
    encodings.any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().trim_start_matches("q=");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse() != Ok(0.0)
    })
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text.as_bytes());
    written
        .and_then(|()| encoder.finish())
        .expect("memory takes it")
}

/// The pool's address as a QR code.
#[utoipa::path(get, path = "/stratum.svg", tag = "pool", responses(
    (status = 200, content_type = "image/svg+xml", body = String)))]
pub(crate) async fn code(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let url = site.listeners.first_url(host_of(&headers));
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::body::to_bytes;
    use axum::http::HeaderValue;
    use flate2::read::GzDecoder;

    use super::*;

    fn accepting(encodings: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(encodings))])
    }

    #[test]
    fn gzip_is_for_whoever_takes_it() {
        for yes in ["gzip", "br, GZIP;q=0.5", "gzip, deflate, br"] {
            assert!(takes_gzip(&accepting(yes)), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; q=0.0, br", "xgzip", "*"] {
            assert!(!takes_gzip(&accepting(no)), "{no}");
        }
    }

    #[test]
    fn compressed_file_is_the_file() {
        let headers = accepting("gzip");
        let answer = give(&INDEX, &headers);
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        assert_ne!(
            answer.headers()[ETAG],
            give(&INDEX, &HeaderMap::new()).headers()[ETAG]
        );
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().expect("a runtime");
        let body = runtime.block_on(to_bytes(answer.into_body(), usize::MAX));
        let body = body.expect("a body");
        let mut text = String::new();
        GzDecoder::new(&*body)
            .read_to_string(&mut text)
            .expect("gzip");
        assert_eq!(text, INDEX.text);
    }
}
