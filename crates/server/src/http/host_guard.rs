//! Checks of the `Host` and `Origin` headers. A page of another site must not reach a dashboard on loopback
//! through its visitor's browser: a foreign name that resolves to this address (DNS rebinding) is refused,
//! and so is a foreign `Origin`. A proxy of `http-proxies` may ask by any host, since it lets in only whom it knows; a
//! page of another site is refused there too. Answers forbid browsers to load anything foreign.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::ApiError;
use crate::net::cidr::AddressRange;

/// Allows nothing from elsewhere, and nothing inline.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The end of the connection that is ours.
#[derive(Clone, Copy)]
pub(crate) struct LocalAddress(pub SocketAddr);

/// The address at the other end.
#[derive(Clone, Copy)]
pub(crate) struct PeerAddress(pub IpAddr);

/// How the operator calls this server, and the proxies that may call it otherwise.
#[derive(Clone)]
pub(crate) struct Public {
    names: Arc<[String]>,
    proxies: Arc<[AddressRange]>,
}

impl Public {
    /// The public host, if there is one, these names, and these proxies.
    pub(crate) fn of(
        public_host: Option<&str>,
        names: &[String],
        proxies: &[AddressRange],
    ) -> Self {
        let all = public_host.map(str::to_owned).into_iter();
        Self {
            names: all.chain(names.iter().cloned()).collect(),
            proxies: proxies.into(),
        }
    }

    /// True if a proxy of another machine asks. What asks from this machine may be its browser, with a page of anybody.
    fn is_proxied(&self, peer: IpAddr, local: SocketAddr) -> bool {
        let peer = peer.to_canonical();
        !peer.is_loopback()
            && peer != local.ip().to_canonical()
            && self.proxies.iter().any(|range| range.contains(peer))
    }
}

/// Middleware that checks the headers before the request is answered.
pub(crate) async fn guard(
    State(public): State<Public>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let ends = request.extensions();
    let (Some(LocalAddress(local)), Some(PeerAddress(peer))) = (ends.get(), ends.get()) else {
        unreachable!("every connection has both");
    };
    let mut response = match judge(&headers, *local, *peer, &public) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let out = response.headers_mut();
    for (name, value) in HEADERS {
        out.insert(name, HeaderValue::from_static(value));
    }
    if !out.contains_key(header::CACHE_CONTROL) {
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Characters shown of a refused host; a valid name is no longer.
const HOST_SHOWN_MAX: usize = 253;

fn judge(
    headers: &HeaderMap,
    local: SocketAddr,
    peer: IpAddr,
    public: &Public,
) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let proxied = host.filter(|_| public.is_proxied(peer, local));
    let proxied = proxied.map(without_port);
    let is_ours = |host: &str| {
        proxied.is_some_and(|name| without_port(host).eq_ignore_ascii_case(name))
            || is_ours(host, local, &public.names)
    };
    if hosts.next().is_some() || !host.is_some_and(is_ours) {
        return Err(ApiError(
            StatusCode::MISDIRECTED_REQUEST,
            match host {
                Some(host) if host.len() <= HOST_SHOWN_MAX => format!(
                    "asked as {:?}: name that in public-host or http-host-names, or use the IP address",
                    without_port(host)
                ),
                _ => {
                    "asked without a host that public-host or http-host-names could name".to_owned()
                }
            },
        ));
    }
    let origins = headers.get_all(header::ORIGIN);
    let is_foreign = origins.iter().any(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin
            .strip_prefix("http://")
            .or(origin.strip_prefix("https://"));
        !host.is_some_and(is_ours)
    });
    if is_foreign {
        let text = "a page of another site may not ask this";
        return Err(ApiError(StatusCode::FORBIDDEN, text.to_owned()));
    }
    Ok(())
}

/// True if a host, perhaps with a port, is this server: the address connected to, localhost, or a name that
/// the operator has configured.
fn is_ours(host: &str, local: SocketAddr, public: &[String]) -> bool {
    let name = without_port(host);
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(name).parse::<IpAddr>() {
        let local = local.ip().to_canonical();
        let is_public = public.iter().any(|public| public.parse() == Ok(address));
        return address.to_canonical() == local || is_public;
    }
    name.eq_ignore_ascii_case("localhost")
        || public
            .iter()
            .any(|public| name.eq_ignore_ascii_case(public))
}

/// A host without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_by_address_by_localhost_or_by_its_public_name() {
        let check = |host: &str, local: &str, expected: bool| {
            let local = local.parse().expect("an address");
            let names = ["hstratum.pool.svc".to_owned(), "192.0.2.9".to_owned()];
            let public = Public::of(Some("pool.example.com"), &names, &[]);
            let found = is_ours(host, local, &public.names);
            assert_eq!(found, expected, "{host} at {local}");
        };
        let loopback = "127.0.0.1:3080";
        check("127.0.0.1:3080", loopback, true);
        check("127.0.0.1", loopback, true);
        check("localhost:3080", loopback, true);
        check("LocalHost", loopback, true);
        check("Pool.example.com", loopback, true);
        check("pool.example.com:443", loopback, true);
        check("[::1]:3080", "[::1]:3080", true);
        check("192.0.2.1:3080", "[::ffff:192.0.2.1]:3080", true);
        check("192.0.2.7", "[::ffff:192.0.2.1]:3080", false);
        check("hstratum.pool.svc:3080", loopback, true);
        check("192.0.2.9", loopback, true);
        check("pool.svc", loopback, false);
        check("evil.example.com", loopback, false);
        check("localhost.evil.example.com", loopback, false);
        check("127.0.0.1.evil.example.com:3080", loopback, false);
        check("localhost:x", loopback, false);
        check("", loopback, false);
    }

    /// The status that a request gets of a server at that address, `None` where it is answered.
    fn status(peer: &str, local: &str, hosts: &[&str], origin: Option<&str>) -> Option<u16> {
        let proxies = ["10.21.0.0/16", "127.0.0.0/8", "fd00::/8"]
            .map(|range| AddressRange::parse(range).expect("a range"));
        let public = Public::of(None, &[], &proxies);
        let mut headers = HeaderMap::new();
        let named = hosts.iter().map(|host| (header::HOST, *host));
        for (name, value) in named.chain(origin.map(|origin| (header::ORIGIN, origin))) {
            headers.append(name, value.parse().expect("a header"));
        }
        let local = local.parse().expect("an address");
        let peer = peer.parse().expect("an address");
        let judged = judge(&headers, local, peer, &public);
        judged.err().map(|refusal| refusal.0.as_u16())
    }

    #[test]
    fn any_host_is_taken_of_a_listed_proxy_of_another_machine_only() {
        let renamed = ["garage.local:3080"];
        for (peer, local, expected) in [
            ("10.21.0.9", "10.21.0.3:3080", None),
            ("::ffff:10.21.0.9", "10.21.0.3:3080", None),
            ("fd00::9", "[fd00::3]:3080", None),
            ("192.168.1.7", "10.21.0.3:3080", Some(421)),
            // This machine's browser.
            ("10.21.0.3", "10.21.0.3:3080", Some(421)),
            ("127.0.0.1", "127.0.0.1:3080", Some(421)),
            ("::ffff:127.0.0.1", "127.0.0.1:3080", Some(421)),
        ] {
            let found = status(peer, local, &renamed, None);
            assert_eq!(found, expected, "{peer} at {local}");
        }

        let proxied = |hosts, origin| status("10.21.0.9", "10.21.0.3:3080", hosts, origin);
        assert_eq!(proxied(&renamed, Some("http://garage.local:3080")), None);
        assert_eq!(proxied(&renamed, Some("https://Garage.local")), None);
        assert_eq!(
            proxied(&renamed, Some("http://evil.example.com")),
            Some(403)
        );
        assert_eq!(proxied(&renamed, Some("null")), Some(403));
        assert_eq!(proxied(&[], None), Some(421));
        assert_eq!(proxied(&[renamed[0]; 2], None), Some(421));
    }
}
