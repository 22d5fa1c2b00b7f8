//! The shared ledger's address, a `postgres://…` URL, and how connections to it are made.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::limits::{
    PEM_BYTES_MAX, SQL_ANSWER_MS, SQL_CONNECT, SQL_IDLE_MS, SQL_SILENCE, SQL_STATEMENT_MS,
};
use crate::sql::error::SqlError;
use crate::sql::resolve;
use crate::sql::timed::{AnswerTimeout, Timed};

/// Environment variable with the password where the URL has none, as in PostgreSQL's own programs.
const PASSWORD_VARIABLE: &str = "PGPASSWORD";

/// A parsed `postgres://…` URL.
#[derive(Clone)]
pub struct PostgresUrl {
    /// The URL as given; never logged.
    url: String,
    config: Config,
    /// `None` without TLS.
    tls: Option<MakeRustlsConnect>,
    /// Hosts and database without the password, for display.
    shown: String,
    /// Time limit of one statement, in milliseconds.
    statement_ms: u64,
}

/// The URL's TLS setting.
enum Tls {
    Off,
    /// The server's certificate is verified, with the roots in this file or with the public ones.
    On(Option<PathBuf>),
}

impl PostgresUrl {
    /// The same address with another time limit of one statement, in milliseconds.
    #[must_use]
    pub fn with_statement_ms(self, statement_ms: u64) -> Self {
        Self {
            statement_ms,
            ..self
        }
    }

    /// Connects to the first host that accepts the connection and, unless the URL says otherwise, can be
    /// written to. A host that says nothing for [`SQL_CONNECT`] is skipped.
    ///
    /// # Errors
    /// See [`SqlError`]; the text names the hosts.
    pub(crate) fn connect(&self) -> Result<Client, SqlError> {
        let patience = AnswerTimeout::new(SQL_CONNECT);
        let connected = match self.config.get_ssl_mode() {
            // Unix sockets: the library offers no stream to wrap.
            SslMode::Disable => self.config.connect(NoTls),
            _ => resolve::addresses(&self.config)
                .map_err(|reason| SqlError::Lost(format!("failed to connect to {self}: {reason}")))?
                .connect(Timed {
                    tls: self.tls.clone(),
                    patience: patience.clone(),
                }),
        };
        let named = |error: postgres::Error| {
            let place = |reason: String| match reason.contains("password missing") {
                true => format!("failed to connect to {self}: no password: put it in PGPASSWORD"),
                false => format!("failed to connect to {self}: {reason}"),
            };
            match SqlError::from(error) {
                SqlError::Lost(reason) => SqlError::Lost(place(reason)),
                SqlError::Failed(reason) => SqlError::Failed(place(reason)),
                other => other,
            }
        };
        let mut client = connected.map_err(named)?;
        // The database itself cancels a statement before this limit.
        patience.set(Duration::from_millis(
            self.statement_ms.saturating_add(SQL_ANSWER_MS),
        ));
        // Set by statements, since poolers refuse them as parameters of the connection. Without them a server
        // that is cut off or stopped before its commit would keep its locks for as long as its session lasts.
        client.batch_execute(&format!(
            "SET statement_timeout = {};
             SET idle_in_transaction_session_timeout = {SQL_IDLE_MS}",
            self.statement_ms
        ))?;
        Ok(client)
    }
}

impl FromStr for PostgresUrl {
    type Err = anyhow::Error;

    /// # Errors
    /// One line that says what is wrong, without the password.
    fn from_str(url: &str) -> anyhow::Result<Self> {
        ensure!(
            url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "expected postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        );
        let given = url.to_owned();
        let (url, tls) = split_tls(url)?;
        // The error's own text may quote the password.
        let mut config: Config = url
            .parse()
            .ok()
            .context("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE?…")?;
        ensure!(!config.get_hosts().is_empty(), "it names no host");
        // Otherwise the rest of a password would be shown as a host.
        let has_at = |host: &Host| matches!(host, Host::Tcp(host) if host.contains('@'));
        ensure!(
            !config.get_hosts().iter().any(has_at),
            "write @ in the password as %40"
        );
        ensure!(config.get_user().is_some(), "it names no user");
        let database = config.get_dbname().context("it names no database")?;
        let shown = format!("{}/{database}", hosts(&config));
        if config.get_password().is_none()
            && let Ok(password) = std::env::var(PASSWORD_VARIABLE)
        {
            config.password(password);
        }
        let asks_target = url.contains("target_session_attrs=");
        if !asks_target {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .application_name("hstratum")
            .connect_timeout(SQL_CONNECT)
            .tcp_user_timeout(SQL_SILENCE)
            .keepalives_idle(SQL_SILENCE);
        let is_near = config.get_hosts().iter().all(is_near);
        let tls = match tls {
            Some(Tls::Off) => None,
            Some(Tls::On(roots)) => Some(client_config(roots.as_deref())?),
            None if is_near => None,
            None => Some(client_config(None)?),
        };
        // `Require` even without TLS, so that the library has [`Timed`] wrap the stream; it asks for TLS
        // itself.
        let is_local = config
            .get_hosts()
            .iter()
            .any(|host| matches!(host, Host::Unix(_)));
        config.ssl_negotiation(SslNegotiation::Direct);
        config.ssl_mode(match tls {
            None if is_local => SslMode::Disable,
            _ => SslMode::Require,
        });
        Ok(Self {
            url: given,
            config,
            tls: tls.map(MakeRustlsConnect::new),
            shown,
            statement_ms: SQL_STATEMENT_MS,
        })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

/// Splits off the parameters that the library does not support: `sslmode` and `sslrootcert`.
fn split_tls(url: &str) -> anyhow::Result<(String, Option<Tls>)> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), None));
    };
    let mut rest = Vec::new();
    let (mut tls, mut roots) = (None, None);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => tls = Some(Tls::Off),
            Some(("sslmode", "require" | "verify-full")) => tls = Some(Tls::On(None)),
            Some(("sslmode", _)) => bail!(
                "sslmode is disable, or require or verify-full, which both check the server's \
                 certificate"
            ),
            Some(("sslrootcert", path)) => roots = Some(PathBuf::from(path)),
            _ => rest.push(pair),
        }
    }
    if roots.is_some() {
        ensure!(
            !matches!(tls, Some(Tls::Off)),
            "sslrootcert is of no use with sslmode=disable"
        );
        tls = Some(Tls::On(roots));
    }
    let url = if rest.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", rest.join("&"))
    };
    Ok((url, tls))
}

fn hosts(config: &Config) -> String {
    let ports = config.get_ports();
    let named = config.get_hosts().iter().enumerate().map(|(place, host)| {
        let port = ports.get(place).or(ports.first()).unwrap_or(&5432);
        match host {
            Host::Tcp(host) => format!("{host}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    named.collect::<Vec<_>>().join(",")
}

/// True for a host on this machine, where nobody can listen in.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(host) => {
            host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn client_config(roots: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut store = RootCertStore::empty();
    match roots {
        None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let mut pem = Vec::new();
            File::open(path)
                .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut pem))
                .with_context(|| format!("failed to read {}", path.display()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate =
                    certificate.with_context(|| format!("failed to read {}", path.display()))?;
                store
                    .add(certificate)
                    .with_context(|| format!("failed to use {}", path.display()))?;
            }
            ensure!(
                !store.is_empty(),
                "failed to read {}: no certificate in it",
                path.display()
            );
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder
        .with_safe_default_protocol_versions()
        .context("failed to set up TLS")?
        .with_root_certificates(store)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        url.parse::<PostgresUrl>().expect_err("refused").to_string()
    }

    #[test]
    fn address_is_shown_without_its_password() {
        let address: PostgresUrl = "postgres://pool:secret@127.0.0.1:5433,[::1]/pool"
            .parse()
            .expect("an address");
        assert_eq!(address.to_string(), "127.0.0.1:5433,::1:5432/pool");
        assert!(!format!("{address:?}").contains("secret"));
        assert!(!error("postgres://pool:se@cret@db/pool").contains("cret"));
        assert!(!error("postgres://pool:secret@127.0.0.1:nonsense/pool").contains("secret"));
    }

    #[test]
    fn tls_is_asked_of_every_server_elsewhere_unless_it_is_turned_off() {
        let tls = |url: &str| {
            url.parse::<PostgresUrl>()
                .expect("an address")
                .tls
                .is_some()
        };
        assert!(!tls("postgres://pool@localhost/pool"));
        assert!(tls("postgres://pool@db.example.com/pool"));
        assert!(tls("postgres://pool@localhost/pool?sslmode=require"));
        assert!(!tls(
            "postgres://pool@db.example.com/pool?sslmode=disable&connect_timeout=1"
        ));
        assert!(error("postgres://pool@localhost/pool?sslmode=prefer").contains("sslmode is"));
        assert!(error("postgres://pool@localhost/pool?sslrootcert=/none").contains("/none"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(error("mysql://pool@localhost/pool").contains("postgres://"));
        assert!(error("postgres://localhost/pool").contains("no user"));
        assert!(error("postgres://pool@localhost").contains("no database"));
    }
}
