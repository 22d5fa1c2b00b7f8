//! Signing in, and who asks.
//!
//! The operator signs in with `http-token`, a miner with what it mines with, and gets a cookie: a page cannot send
//! such a thing with its requests, least of all with those of its images and events.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Json};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use hstratum_core::chain::address::Address;
use hstratum_core::operator_order::{Order, OrderOutcome};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{ApiError, JsonBody, NoParams, Problem};
use super::challenges::{Challenge, Purpose};
use super::host_guard::{LocalAddress, PeerAddress, without_port};
use super::orders;
use super::sessions::{NewSession, Role};
use super::site::Site;
use super::viewer::Viewer;
use crate::account_keys;
use crate::audit_trail::{Actor, Via};
use crate::clock::unix_s;
use crate::limits::{HTTP_BODY_BYTES_MAX, WRONG_SIGN_IN};
use crate::node::SignedMessage;

/// The cookie's name on this port: browsers do not tell ports of a host apart.
fn cookie_name(local: SocketAddr) -> String {
    format!("hstratum_session_{}", local.port())
}

/// Middleware that finds out who asks.
pub(crate) async fn recognise(
    State(site): State<Arc<Site>>,
    Extension(LocalAddress(local)): Extension<LocalAddress>,
    jar: CookieJar,
    mut request: Request,
    next: Next,
) -> Response {
    let cookie = jar.get(&cookie_name(local)).map(Cookie::value);
    match viewer(&site, local, cookie, request.headers()) {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(refusal) => {
            let is_no_key = refusal.0 == StatusCode::UNAUTHORIZED;
            let mut response = refusal.into_response();
            if is_no_key {
                response.headers_mut().insert(WWW_AUTHENTICATE, NO_KEY);
            }
            response
        }
    }
}

/// Header of the answer to a key that is none (RFC 6750, 3.1).
const NO_KEY: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

/// Who asks. A key counts before a cookie, and one that is none is refused: its program would else see what everybody
/// sees, and not know why. Other tokens are none of ours.
fn viewer(
    site: &Site,
    local: SocketAddr,
    cookie: Option<&str>,
    headers: &HeaderMap,
) -> Result<Viewer, ApiError> {
    let given = headers.get(AUTHORIZATION);
    let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if let Some(given) = given {
        let operator = site.operator.as_ref();
        if operator.is_some_and(|operator| operator.is_token(given)) {
            return Ok(Viewer::Operator);
        }
        if let Some(digest) = account_keys::digest(given) {
            check_may_sign_in(site, local, headers, "a key")?;
            return site.sign_in.known_keys.holder(&digest).map(Viewer::Key);
        }
    }
    let signed_in = cookie.and_then(|cookie| site.sign_in.sessions.look(cookie, Instant::now()));
    Ok(signed_in.map_or(Viewer::Nobody, Viewer::Session))
}

/// Who one is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// `nobody`, `miner` (a key of an account too), `link` (whoever has a link that shows an account) or `operator`.
    role: &'static str,
    /// The account.
    name: Option<String>,
    /// What the header `X-CSRF-Token` of each request that changes something must have; none where there is no
    /// session.
    csrf_token: Option<String>,
}

impl Session {
    fn of(viewer: &Viewer) -> Self {
        Self {
            role: match viewer {
                Viewer::Nobody => "nobody",
                _ if viewer.is_operator() => "operator",
                _ if viewer.is_link() => "link",
                _ => "miner",
            },
            name: viewer.account().map(str::to_owned),
            csrf_token: match viewer {
                Viewer::Session(signed_in) => Some(signed_in.change_token.clone()),
                _ => None,
            },
        }
    }
}

/// What one signs in with.
#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected {\"name\", \"password\"}, {\"address\", \"signature\"} or {\"token\"}, and nothing else"
)]
pub(crate) enum SignInBody {
    Operator(OperatorSignIn),
    Miner(MinerSignIn),
    Owner(OwnerSignIn),
}

/// The operator's token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorSignIn {
    /// `http-token`.
    token: String,
}

/// What a miner mines with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinerSignIn {
    /// The account, or the name of one of its workers.
    name: String,
    password: String,
}

/// What the owner of an address signs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerSignIn {
    /// The account, which is an address.
    pub(super) address: String,
    /// Of the challenge's message, in base64, as `signmessage` gives it.
    pub(super) signature: String,
}

/// Whose challenge is asked for, and what for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChallengeBody {
    /// The account, which is an address.
    address: String,
    /// Where it is to be paid; none: to sign in.
    pay_to: Option<String>,
}

/// What to sign.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignInChallenge {
    message: String,
}

/// The methods of `/session`.
pub(crate) fn route() -> MethodRouter<Arc<Site>> {
    let limit = DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX);
    get(who).post(sign_in).delete(sign_out).layer(limit)
}

/// Who one is.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = Session)))]
pub(crate) async fn who(Extension(viewer): Extension<Viewer>, _: NoParams) -> Json<Session> {
    Json(Session::of(&viewer))
}

/// Sign in: the answer sets a cookie. Only over TLS, of a proxy before this server, or on the same machine.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignInBody,
    responses((status = 200, body = Session), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn sign_in(
    State(site): State<Arc<Site>>,
    Extension(LocalAddress(local)): Extension<LocalAddress>,
    Extension(PeerAddress(peer)): Extension<PeerAddress>,
    headers: HeaderMap,
    jar: CookieJar,
    JsonBody(body): JsonBody<SignInBody>,
) -> Result<(CookieJar, Json<Session>), ApiError> {
    check_may_sign_in(&site, local, &headers, "signing in")?;
    let asked = Instant::now();
    let from = client(&site, peer, &headers);
    let role = match body {
        SignInBody::Operator(OperatorSignIn { token }) => operator(&site, &token).await?,
        SignInBody::Miner(MinerSignIn { name, password }) => {
            let address = from.as_ref().map_err(Clone::clone)?;
            Role::Miner(account(&site, name, password, *address).await?)
        }
        SignInBody::Owner(signed) => Role::Miner(owner(&site, &headers, signed, None).await?),
    };
    let begun = site.sign_in.sessions.begin(role, asked, Instant::now());
    let begun = begun.map_err(|error| ApiError::busy(format!("no random bytes: {error}")))?;
    let Some(NewSession { cookie, signed_in }) = begun else {
        return Err(ApiError::busy(
            "the password was changed just now, try again",
        ));
    };
    if let (Role::Miner(account), Some(alerts)) = (&signed_in.role, &site.alerts) {
        alerts.signed_in(account, from.unwrap_or(peer));
    }
    let cookie = Cookie::build((cookie_name(local), cookie))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(is_behind_tls(&headers));
    let session = Session::of(&Viewer::Session(signed_in));
    Ok((jar.add(cookie), Json(session)))
}

/// Refuses secrets where nobody signs in, and those that come in the clear from another machine.
fn check_may_sign_in(
    site: &Site,
    local: SocketAddr,
    headers: &HeaderMap,
    what: &str,
) -> Result<(), ApiError> {
    if !site.has_login {
        return Err(ApiError::forbidden(
            "nobody signs in here (http-login: off)",
        ));
    }
    if is_behind_tls(headers) || local.ip().is_loopback() && is_of_this_machine(headers) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!(
        "{what} needs TLS: put a proxy with a certificate before this server that sets X-Forwarded-Proto \
         (docs/operating.md, \"Signing in\")"
    )))
}

/// The operator, if the token is right.
async fn operator(site: &Site, token: &str) -> Result<Role, ApiError> {
    let operator = site.operator.as_ref();
    if operator.is_some_and(|operator| operator.is_token(token.as_bytes())) {
        return Ok(Role::Operator);
    }
    tokio::time::sleep(WRONG_SIGN_IN).await;
    let text = "wrong token, or the server has none (http-token)";
    Err(ApiError(StatusCode::UNAUTHORIZED, text.to_owned()))
}

/// The account that a name and a password are of.
pub(super) async fn account(
    site: &Site,
    name: String,
    password: String,
    address: IpAddr,
) -> Result<Arc<str>, ApiError> {
    let order = Order::SignIn {
        name,
        password,
        address,
    };
    match orders::ask(&site.orders, order).await? {
        OrderOutcome::Account(account) => Ok(account),
        _ => unreachable!("an account was asked for"),
    }
}

/// What the owner of an address signs to sign in, or to be paid at another address, with `signmessage` of a wallet: the
/// same for some minutes, until it has served.
#[utoipa::path(post, path = "/api/v1/session/challenge", tag = "session", request_body = ChallengeBody,
    responses((status = 200, body = SignInChallenge), (status = 400, body = Problem)))]
pub(crate) async fn challenge(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ChallengeBody>,
) -> Result<Json<SignInChallenge>, ApiError> {
    let [newest, _] = challenges(&site, &headers, &body.address, body.pay_to.as_deref())?;
    Ok(Json(SignInChallenge {
        message: newest.text,
    }))
}

/// The challenges of an address now, newest first.
fn challenges(
    site: &Site,
    headers: &HeaderMap,
    address: &str,
    pay_to: Option<&str>,
) -> Result<[Challenge; 2], ApiError> {
    let in_one_spelling = |address: &str| {
        let payable = Address::payable(address, site.network).map_err(ApiError::wrong)?;
        Ok::<_, ApiError>(payable.encode(site.network))
    };
    let address = in_one_spelling(address)?;
    let pay_to = pay_to.map(in_one_spelling).transpose()?;
    let purpose = pay_to.as_deref().map_or(Purpose::SignIn, Purpose::PayTo);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = without_port(host.unwrap_or_default());
    let network = site.network.name();
    let challenges = &site.sign_in.challenges;
    Ok(challenges.of(purpose, &address, host, network, unix_s()))
}

/// Text about a signature that is of no challenge of the address.
pub(super) const WRONG_SIGNATURE: &str =
    "not the address's signature of the message, or the message is too old or has served";

/// The account of an address whose owner has signed a challenge: to be paid at `pay_to`, or to sign in.
pub(super) async fn owner(
    site: &Site,
    headers: &HeaderMap,
    signed: OwnerSignIn,
    pay_to: Option<&str>,
) -> Result<Arc<str>, ApiError> {
    let refused = |text: &str| Err(ApiError(StatusCode::UNAUTHORIZED, text.to_owned()));
    for challenge in challenges(site, headers, &signed.address, pay_to)? {
        let address = challenge.address.clone();
        let message = SignedMessage {
            address: address.clone(),
            signature: signed.signature.clone(),
            text: challenge.text.clone(),
        };
        let checked = site.sign_in.signature_checks.check(message).await;
        if !checked.map_err(|error| ApiError::busy(format!("{error:#}")))? {
            continue;
        }
        if !site.has_account(&address).await? {
            return refused("nobody has mined here under that address");
        }
        return match site.sign_in.challenges.take(challenge, unix_s()) {
            true => Ok(address.into()),
            false => refused("that signature has served already: sign the new message"),
        };
    }
    refused(WRONG_SIGNATURE)
}

/// For whom a request is: the peer, or whom a proxy on this machine or of `proxy-protocol` says last. A proxy that says
/// nothing is refused: all that it passes on would be one client, whose guesses keep the others out.
pub(super) fn client(site: &Site, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, ApiError> {
    let is_proxy = peer.is_loopback() || site.proxies.iter().any(|range| range.contains(peer));
    let is_forwarded = OF_PROXIES.iter().any(|name| headers.contains_key(*name));
    if !is_proxy || !is_forwarded {
        return Ok(peer);
    }
    let told = headers.get_all("x-forwarded-for").iter().next_back();
    let told = told.and_then(|told| told.to_str().ok());
    let last = told.and_then(|told| told.rsplit(',').next());
    last.and_then(address_in).ok_or_else(|| {
        let text = "the proxy before this server does not say for whom it asks: it must set X-Forwarded-For \
                    (docs/operating.md, \"Signing in\")";
        ApiError(StatusCode::FORBIDDEN, text.to_owned())
    })
}

/// Whoever asks, as the audit trail has it; only of a viewer who may change something.
impl FromRequestParts<Arc<Site>> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, ApiError> {
        let (Some(viewer), Some(PeerAddress(peer))) = (
            parts.extensions.get::<Viewer>(),
            parts.extensions.get::<PeerAddress>(),
        ) else {
            unreachable!("every request has both");
        };
        // A proxy that does not say for whom it asks is where it is from.
        let address = client(site, *peer, &parts.headers).unwrap_or(*peer);
        Ok(match (viewer.account(), viewer) {
            (Some(account), Viewer::Key(_)) => Self::owner(account, Via::Key, address),
            (Some(account), _) => Self::owner(account, Via::Session, address),
            (None, Viewer::Session(_)) => Self::operator(Via::Session, address),
            (None, _) => Self::operator(Via::Token, address),
        })
    }
}

/// An address, perhaps with a port.
fn address_in(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok();
    (bare.parse().ok()).or_else(|| with_port().map(|address| address.ip()))
}

/// Sign out. Needs `X-CSRF-Token`.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204),
    (status = 403, body = Problem)))]
pub(crate) async fn sign_out(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
    Extension(LocalAddress(local)): Extension<LocalAddress>,
    method: Method,
    headers: HeaderMap,
    jar: CookieJar,
    _: NoParams,
) -> Result<(CookieJar, StatusCode), ApiError> {
    if viewer != Viewer::Nobody
        && let Some(text) = viewer.change_refusal(&method, &headers)
    {
        return Err(ApiError::forbidden(text));
    }
    let name = cookie_name(local);
    if let Some(cookie) = jar.get(&name) {
        site.sign_in.sessions.end(cookie.value());
        if viewer.is_operator() {
            site.events.end_sessions();
        }
    }
    let jar = jar.remove(Cookie::build(name).path("/"));
    Ok((jar, StatusCode::NO_CONTENT))
}

/// Headers by which a proxy tells that a request is another machine's.
const OF_PROXIES: [&str; 5] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

pub(super) fn is_behind_tls(headers: &HeaderMap) -> bool {
    let told = headers.get_all("x-forwarded-proto").iter();
    let mut protocols = told.flat_map(|told| told.as_bytes().split(|byte| *byte == b','));
    // Each of several proxies may have said something.
    let is_https = |one: &[u8]| one.trim_ascii().eq_ignore_ascii_case(b"https");
    protocols.next().is_some_and(is_https) && protocols.all(is_https)
}

/// True if host and origin are this machine, and no proxy says otherwise.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let is_forwarded = OF_PROXIES.iter().any(|name| headers.contains_key(*name));
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).map(|origin| origin.trim_start_matches("http://"));
    !is_forwarded && text(HOST).is_some_and(is_loopback) && origin.is_none_or(is_loopback)
}

/// True for a host, perhaps with a port, that is this machine's own.
fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = bare.parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}
