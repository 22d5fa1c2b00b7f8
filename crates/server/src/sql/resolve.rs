//! Name resolution of the shared ledger's hosts with a deadline, so that a silent name server delays nobody
//! for long.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use postgres::Config;
use postgres::config::Host;

use crate::limits::{RESOLVING_MAX, SQL_CONNECT};

/// Number of threads waiting for the system's resolver, which has no deadline.
static RESOLVING: AtomicUsize = AtomicUsize::new(0);

/// Returns the configuration with all addresses of its hosts filled in. A host that has none, or is not
/// resolved in time, is left out.
///
/// # Errors
/// When no host is left.
pub(super) fn addresses(config: &Config) -> Result<Config, String> {
    if !config.get_hostaddrs().is_empty() {
        // The URL has addresses already.
        return Ok(config.clone());
    }
    let mut known = Vec::new();
    let mut reason = String::new();
    for (place, host) in config.get_hosts().iter().enumerate() {
        let ports = config.get_ports();
        let port = *ports.get(place).or(ports.first()).unwrap_or(&5432);
        let Host::Tcp(name) = host else {
            // A Unix socket, found by its path: all hosts are used as they are.
            return Ok(config.clone());
        };
        match resolve(name) {
            Ok(found) => known.extend(found.into_iter().map(|ip| (name.clone(), ip, port))),
            Err(failed) => reason = format!("failed to find {name:?}: {failed}"),
        }
    }
    if known.is_empty() {
        return Err(reason);
    }
    let mut resolved = without_hosts(config);
    for (name, ip, port) in known {
        resolved.host(&name).hostaddr(ip).port(port);
    }
    Ok(resolved)
}

/// The configuration without hosts.
fn without_hosts(config: &Config) -> Config {
    let mut new = Config::new();
    new.target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    if let Some(user) = config.get_user() {
        new.user(user);
    }
    if let Some(password) = config.get_password() {
        new.password(password);
    }
    if let Some(name) = config.get_dbname() {
        new.dbname(name);
    }
    if let Some(options) = config.get_options() {
        new.options(options);
    }
    if let Some(name) = config.get_application_name() {
        new.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        new.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        new.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        new.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        new.keepalives_retries(retries);
    }
    new
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = name.parse() {
        return Ok(vec![ip]);
    }
    if RESOLVING.fetch_add(1, Ordering::Relaxed) >= RESOLVING_MAX {
        RESOLVING.fetch_sub(1, Ordering::Relaxed);
        return Err("the system does not answer".to_owned());
    }
    let (told, answer) = sync_channel(1);
    let asked = name.to_owned();
    let asking = thread::Builder::new().name("hstratum-resolve".to_owned());
    let started = asking.spawn(move || {
        let found = (&*asked, 0).to_socket_addrs();
        RESOLVING.fetch_sub(1, Ordering::Relaxed);
        // The caller may have given up waiting.
        let _ = told.send(found.map(|found| found.map(|address| address.ip()).collect()));
    });
    if let Err(error) = started {
        RESOLVING.fetch_sub(1, Ordering::Relaxed);
        return Err(error.to_string());
    }
    match answer.recv_timeout(SQL_CONNECT) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
