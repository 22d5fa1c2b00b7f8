//! `hstratum proxy`: sockets and the clock around the rules in `hstratum_core::proxy`.

pub mod control;
mod crowd_limits;
pub mod driver;
mod driver_handover;
mod handover;
mod http;
mod io;
mod resolver;
pub mod settings;
mod status;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::channel;

use hstratum_core::proxy::{Proxy, ProxyConfig};
use hstratum_core::units::Difficulty;

use crate::driver::io::{Certificate, DriverIo, SystemIo};
use crate::http::host_guard::Public;
use crate::net::{Net, NetConfig, fd_limit, tls};
use crate::proxy::control::Control;
use crate::proxy::driver::{Flags, ProxyDriver, RunEnd};
use crate::proxy::handover::{HandoverGiver, Offered};
use crate::proxy::settings::ProxySettings;
use crate::stderr;

/// Descriptors for purposes other than miners and their links.
const DESCRIPTORS_KEPT: usize = 128;

/// Returns listening sockets that a service manager has opened for us.
pub type Given = fn() -> anyhow::Result<Vec<OwnedFd>>;

/// Runs until a flag ends it. Writes its listeners to standard error once they accept connections. `given` is
/// called unless another process hands over its own sockets.
///
/// # Errors
/// One line that names the faulty option, address or file.
pub fn run(settings: ProxySettings, flags: Flags, given: Given) -> anyhow::Result<()> {
    stderr::start()?;
    let ended = run_to_the_end(settings, flags, given);
    stderr::finish();
    ended
}

fn run_to_the_end(settings: ProxySettings, flags: Flags, given: Given) -> anyhow::Result<()> {
    // Everything that can fail is tried before anything is taken over: the other process goes on until then.
    let conns_max = conns_max(settings.max_inbound);
    let certificate = (settings.tls.as_ref()).map(|files| tls::load(&files.cert, &files.key));
    let certificate = certificate.transpose()?;
    let (giver, offered) = inherit(&settings, given)?;
    let (mut inherited, drained) = (offered.listeners, offered.drained);
    let http = settings.http;
    let http = http.map(|address| http::bind(address, &mut inherited));
    let http = http.transpose()?;
    let (net, waker) = bind(&settings, inherited, conns_max, certificate)?;
    let (to_driver, commands) = channel();
    let waker = Arc::new(waker);
    resolver::start(&settings.backends, &to_driver, &waker)?;
    let control = settings.control.as_ref();
    let control = control.map(|path| Control::bind(path, giver.is_some()));
    let control = control.transpose()?;

    let listening: Vec<_> = net.listeners().map(|(spec, _)| spec).collect();
    let (told, port) = (settings.clone(), listening[0].address.port());
    let config = || rules_of(&told, port);
    let io = SystemIo::new(net);
    let rules = Proxy::new(config(), io.now());
    let mut driver = ProxyDriver::new(io, rules, settings, commands, flags);
    if let Some(listener) = &http {
        driver.http = Some(listener.try_clone()?);
    }
    // Once this succeeds the miners are ours, so nothing after it may fail.
    let miners = giver.map(|giver| giver.take(conns_max)).transpose()?;
    for spec in listening {
        stderr::line("info", format!("listening on {spec}"));
    }
    let control = control.and_then(|control| told_of(control.start(to_driver, waker)));
    if let Some(listener) = http {
        let public = Public::of(told.public_host.as_deref(), &told.http_host_names, &[]);
        let started = http::start(listener, driver.status_window.clone(), public);
        told_of(started);
    }
    if let Some(miners) = miners {
        driver.take_over(&drained, miners);
    }
    match (driver.run(config), control) {
        (RunEnd::HandedOver, Some(control)) => control.leave(),
        _ => stderr::line("info", "stopped"),
    }
    Ok(())
}

/// What another process hands over, and who does; else the sockets that systemd has opened.
fn inherit(
    settings: &ProxySettings,
    given: Given,
) -> anyhow::Result<(Option<HandoverGiver>, Offered)> {
    let asked = settings.take_over.as_deref().map(HandoverGiver::ask);
    if let Some((giver, offered)) = asked.transpose()?.flatten() {
        return Ok((Some(giver), offered));
    }
    let offered = Offered {
        listeners: given()?,
        drained: Vec::new(),
    };
    Ok((None, offered))
}

/// Binds the ports of miners, those that are not inherited.
fn bind(
    settings: &ProxySettings,
    inherited: Vec<OwnedFd>,
    conns_max: usize,
    certificate: Option<Certificate>,
) -> anyhow::Result<(Net, mio::Waker)> {
    let nothing = Difficulty::new(1.0).expect("above 0");
    let listen = settings.listen.iter();
    Net::bind(NetConfig {
        first_option: "listen",
        listeners: listen.map(|&spec| (spec, nothing)).collect(),
        inherited,
        proxies: settings.proxy_protocol.clone(),
        conns_max,
        per_address_max: settings.max_per_address,
        certificate,
    })
}

/// What miners do not depend on may fail.
fn told_of<T>(result: anyhow::Result<T>) -> Option<T> {
    result
        .map_err(|error| stderr::line("error", format!("{error:#}")))
        .ok()
}

/// Configuration of the rules at each of their starts.
fn rules_of(settings: &ProxySettings, port: u16) -> ProxyConfig {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system has random bytes");
    ProxyConfig {
        backends: settings.backends.iter().map(|b| b.name.clone()).collect(),
        prefix: settings.prefix,
        key,
        secret: settings.secret.clone(),
        no_backend: settings.no_backend,
        probe_timeout_ms: settings.probe_timeout_ms,
        public_host: settings.public_host.clone(),
        public_port: settings.public_port.unwrap_or(port),
    }
}

/// Number of connections that fit: a miner needs two descriptors, its own and that of its link.
fn conns_max(wanted: usize) -> usize {
    let (conns_max, lowered) = fd_limit::conns_max(wanted, DESCRIPTORS_KEPT, 2);
    if let Some(text) = lowered {
        stderr::line("warning", &text);
    }
    conns_max
}
