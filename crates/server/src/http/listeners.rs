//! The listeners that miners connect to, and the addresses by which they do.
//!
//! A server knows its own ports, and the host that `public-host` gives it. Of a proxy before it it knows only that
//! there is one: which of the proxy's ports lead to which listener is not claimed.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::Difficulty;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{ApiResult, NoParams};
use super::host_guard::without_port;
use super::site::Site;
use crate::config::settings::Settings;
use crate::net::listener::{Encryption, ListenSpec};

/// A listener, as miners use it.
#[derive(Serialize, ToSchema)]
#[schema(as = Listener)]
pub(crate) struct ApiListener {
    /// What a miner is to be pointed at. None where that is not known: behind a proxy, but for the first listener
    /// of a server that has a `public-host`.
    url: Option<String>,
    /// Its port on this server; of the first listener `public-port`, if that is set.
    port: u16,
    /// `tcp`, `tls`, or `auto`: TLS or not, as the miner begins.
    transport: &'static str,
    /// Difficulty that its miners start with, unless they ask for another; the network's, where that is lower.
    difficulty: f64,
    /// Whom its blocks pay: the `operator`, who divides them, the accounts (`split`) or their finder (`solo`).
    payout: &'static str,
}

/// Where miners connect to this server.
#[derive(Serialize, ToSchema)]
#[schema(as = Listeners)]
pub(crate) struct ApiListeners {
    /// Whether the server's options name proxies by which miners come, or a secret shared with them.
    is_behind_proxy: bool,
    /// Whether difficulties follow each miner's speed.
    is_dynamic: bool,
    /// That of `host` and `port` first.
    listeners: Vec<ApiListener>,
}

/// The listeners of a server.
pub(crate) struct Listeners {
    /// Each with its start difficulty; never empty.
    all: Vec<(ListenSpec, Difficulty)>,
    public_host: Option<String>,
    public_port: u16,
    difficulty_min: Difficulty,
    is_behind_proxy: bool,
    is_dynamic: bool,
}

impl Listeners {
    /// Those of a server with these options.
    pub(crate) fn of(settings: &Settings) -> Self {
        let config = &settings.config;
        Self {
            all: config.listeners(),
            public_host: config.public_host.clone(),
            public_port: config.public_port,
            difficulty_min: config.difficulty_min,
            is_behind_proxy: config.proxy_secret.is_some() || !config.proxy_protocol.is_empty(),
            is_dynamic: config.dynamic,
        }
    }

    /// URL of the first listener, as seen by a client that reached us as `host`.
    pub(crate) fn first_url(&self, host: Option<&str>) -> String {
        self.url(0, host)
    }

    fn url(&self, place: usize, host: Option<&str>) -> String {
        let (spec, _) = &self.all[place];
        let scheme = match spec.encryption {
            Encryption::Always => "stratum+tls",
            Encryption::Never | Encryption::Auto => "stratum+tcp",
        };
        let (own, port) = (spec.address.ip(), self.port(place));
        // What listens on this machine only is not what `public-host` leads to, unless its port is said to be.
        let public = self.public_host.as_deref();
        let public = public.filter(|_| place == 0 || !own.is_loopback());
        let bound = (!own.is_unspecified()).then(|| own.to_string());
        let name = public.or(bound.as_deref()).or(host.map(without_port));
        let name = name.unwrap_or("localhost");
        match name.parse() {
            Ok(IpAddr::V6(_)) => format!("{scheme}://[{name}]:{port}"),
            _ => format!("{scheme}://{name}:{port}"),
        }
    }

    fn port(&self, place: usize) -> u16 {
        match place {
            0 => self.public_port,
            _ => self.all[place].0.address.port(),
        }
    }

    fn shown(&self, host: Option<&str>) -> ApiListeners {
        let listeners = self.all.iter().enumerate();
        let listeners = listeners.map(|(place, (spec, difficulty))| {
            let is_public = place == 0 && self.public_host.is_some();
            // Port 0 is any free one, which only the log says.
            let is_known = (is_public || !self.is_behind_proxy) && self.port(place) != 0;
            ApiListener {
                url: is_known.then(|| self.url(place, host)),
                port: self.port(place),
                transport: spec.encryption.scheme(),
                difficulty: (difficulty.on_grid().get())
                    .max(self.difficulty_min.on_grid_above().get()),
                payout: spec.payout.unwrap_or(Payout::Operator).name(),
            }
        });
        ApiListeners {
            is_behind_proxy: self.is_behind_proxy,
            is_dynamic: self.is_dynamic,
            listeners: listeners.collect(),
        }
    }
}

pub(crate) fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST).and_then(|host| host.to_str().ok())
}

/// Where miners connect to this server, as seen by the asker.
#[utoipa::path(get, path = "/api/v1/listeners", tag = "pool", responses(
    (status = 200, body = ApiListeners)))]
pub(crate) async fn listeners(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    _: NoParams,
) -> ApiResult<ApiListeners> {
    Ok(Json(site.listeners.shown(host_of(&headers))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(public_host: Option<&str>, is_behind_proxy: bool) -> Listeners {
        let specs = [
            "tcp://[::]:3008",
            "tls://[::]:3009",
            "auto://127.0.0.1:3010?payout=solo",
            "tcp://[2001:db8::1]:3011",
        ];
        let start = Difficulty::new(8.0).expect("above zero");
        let parse = |text: &&str| ListenSpec::parse(text).expect("a listener");
        Listeners {
            all: specs.iter().map(|text| (parse(text), start)).collect(),
            public_host: public_host.map(str::to_owned),
            public_port: 3333,
            difficulty_min: start,
            is_behind_proxy,
            is_dynamic: true,
        }
    }

    #[test]
    fn a_url_is_what_the_server_knows_of_it() {
        let check = |public, is_behind_proxy, host, expected: [Option<&str>; 4]| {
            let shown = listeners(public, is_behind_proxy).shown(host);
            let urls = shown.listeners.iter().map(|one| one.url.as_deref());
            assert_eq!(urls.collect::<Vec<_>>(), expected);
        };
        let bound = [
            Some("stratum+tcp://127.0.0.1:3010"),
            Some("stratum+tcp://[2001:db8::1]:3011"),
        ];
        let asked = Some("192.0.2.1:3080");
        let by_host = [
            Some("stratum+tcp://192.0.2.1:3333"),
            Some("stratum+tls://192.0.2.1:3009"),
        ];
        check(
            None,
            false,
            asked,
            [by_host[0], by_host[1], bound[0], bound[1]],
        );
        let asked = Some("[::1]:3080");
        let by_host = [
            Some("stratum+tcp://[::1]:3333"),
            Some("stratum+tls://[::1]:3009"),
        ];
        check(
            None,
            false,
            asked,
            [by_host[0], by_host[1], bound[0], bound[1]],
        );
        let public = [
            Some("stratum+tcp://pool.example:3333"),
            Some("stratum+tls://pool.example:3009"),
            bound[0],
            Some("stratum+tcp://pool.example:3011"),
        ];
        check(Some("pool.example"), false, asked, public);
        check(
            Some("pool.example"),
            true,
            asked,
            [public[0], None, None, None],
        );
        check(None, true, asked, [None; 4]);
    }
}
