//! Checks the stratum port: it accepts connections, and two kinds of miners get work.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use hstratum_core::chain::address::Address;

use crate::config::Config;
use crate::miner_wire::connect;

use super::miner_dialect::Dialect;
use super::miner_trial::{self, Lived, Trial, TrialEnd};
use super::node::NodeState;
use super::{CheckedPart, Findings, KnownServer, Setup};

/// Account that is tried if none is given.
const ACCOUNT: &str = "doctor";

pub(super) fn examine(
    setup: &Setup,
    known: &KnownServer<'_>,
    (server, tls): (&str, bool),
    state: NodeState,
    findings: &mut Findings,
) {
    let stream = match connect(server) {
        Ok(stream) => stream,
        Err(error) => return explain_closed(&error, known, server, state, findings),
    };
    match state {
        NodeState::Stopped => {
            return findings.problem(
                CheckedPart::Miners,
                format!("{server} is in use, and not by a node at the address above"),
                "see who has the port, with ss -ltnp; or give --node-url",
            );
        }
        NodeState::Without => {
            return findings.problem(
                CheckedPart::Miners,
                format!("{server} is in use, and not by this node"),
                "see who has the port, with ss -ltnp, and give hstratum another one",
            );
        }
        NodeState::NotAsked | NodeState::Serving | NodeState::Unknown => {}
    }
    let account = account(setup, known);
    let as_proxy = stream
        .local_addr()
        .is_ok_and(|own| known.is_proxy(own.ip()));
    let mut stream = Some(stream);
    for dialect in [Dialect::Goldshell, Dialect::HandyMiner] {
        let trial = Trial {
            dialect,
            account: &account,
            password: &setup.password,
            mines: setup.mines,
            tls,
            as_proxy,
        };
        let outcome = match stream.take().map_or_else(|| connect(server), Ok) {
            Ok(stream) => miner_trial::run(&trial, stream),
            Err(error) => Err(TrialEnd::Failed(error.into())),
        };
        let is_idle = matches!(outcome, Err(TrialEnd::NoJob));
        tell(setup, dialect, &account, outcome, findings);
        if is_idle {
            // There is no job for the other dialect either.
            return;
        }
    }
}

/// Account to mine as; where names are addresses, one that nobody has the key of: no share is mined for it.
fn account(setup: &Setup, known: &KnownServer<'_>) -> String {
    if let Some(user) = &setup.user {
        return user.clone();
    }
    if known.wants_addresses() {
        let address = Address::new(0, vec![1; 20]).expect("20 bytes are an address");
        return address.encode(setup.network);
    }
    ACCOUNT.to_owned()
}

fn explain_closed(
    error: &io::Error,
    known: &KnownServer<'_>,
    server: &str,
    state: NodeState,
    findings: &mut Findings,
) {
    let text = format!("{server} takes no connections: {error}");
    match (state, known.config) {
        (NodeState::Serving, _) => findings.problem(
            CheckedPart::Miners,
            text,
            match known.in_force {
                Some(_) => {
                    "hstratum refuses connections while it has no job for miners, or drains. See the \
                     other findings, and \"no job\" in the node's log"
                }
                None => {
                    "hstratum has no job for miners, or another port. See the other findings, and \
                     \"no job\" in the node's log; if hsd was given --stratum-port, give --url \
                     stratum+tcp://127.0.0.1:PORT"
                }
            },
        ),
        (NodeState::Stopped, Some(config)) => check_free(config, findings),
        (NodeState::Without | NodeState::Stopped, _) => {}
        (NodeState::NotAsked | NodeState::Unknown, _) => findings.problem(
            CheckedPart::Miners,
            text,
            "is the server running, is this its host and port, does a firewall let it through?",
        ),
    }
}

/// Checks that a node which starts now gets its ports.
fn check_free(config: &Config, findings: &mut Findings) {
    let first = SocketAddr::new(config.host, config.port);
    for place in [first]
        .into_iter()
        .chain(config.listen.iter().map(|spec| spec.address))
    {
        match TcpListener::bind(place) {
            Ok(_) => findings.ok(CheckedPart::Miners, format!("{place} is free for hstratum")),
            // Without IPv6 hstratum uses IPv4.
            Err(_) if place.ip() == Ipv6Addr::UNSPECIFIED && bind_v4(place.port()) => {
                findings.ok(CheckedPart::Miners, format!("0.0.0.0:{} is free for hstratum", place.port()));
            }
            Err(error) => findings.problem(
                CheckedPart::Miners,
                format!("{place} cannot be listened on: {error}"),
                match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "see who has the port, with ss -ltnp, and choose another one"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "choose a port above 1023, or allow it: AmbientCapabilities=CAP_NET_BIND_SERVICE"
                    }
                    _ => "host must be an address of this machine; :: is all of them",
                },
            ),
        }
    }
}

fn bind_v4(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

fn tell(
    setup: &Setup,
    dialect: Dialect,
    account: &str,
    outcome: Result<Lived, TrialEnd>,
    findings: &mut Findings,
) {
    let who = format!("as a {}", dialect.name());
    match outcome {
        Ok(lived) => tell_life(&who, lived, findings),
        Err(TrialEnd::Unauthorized(refusal)) if setup.user.is_none() => findings.warn(
            CheckedPart::Miners,
            format!("{who}: connected; an unknown account is refused: {refusal}"),
            "run hstratum doctor with --user and HSTRATUM_PASSWORD of an account, to see whether it gets work",
        ),
        Err(ended) => {
            let works = matches!(ended, TrialEnd::TipMoved);
            let (text, advice) = explain(ended, account);
            match works {
                true => findings.warn(CheckedPart::Miners, format!("{who}: {text}"), advice),
                false => findings.problem(CheckedPart::Miners, format!("{who}: {text}"), advice),
            }
        }
    }
}

/// Reports a trial that succeeded.
fn tell_life(who: &str, lived: Lived, findings: &mut Findings) {
    let share = match lived.share {
        Some(true) => ", a share accepted: a block",
        Some(false) => ", a share accepted",
        None => "",
    };
    let ms = lived.job_after.as_millis();
    let difficulty = match lived.difficulty {
        difficulty @ 0.001.. => format!("{difficulty}"),
        difficulty => format!("{difficulty:.1e}"),
    };
    findings.ok(
        CheckedPart::Miners,
        format!("{who}: a job of difficulty {difficulty} after {ms} ms{share}"),
    );
    for complaint in lived.complaints {
        findings.warn(
            CheckedPart::Miners,
            format!("{who}: {complaint}"),
            "not hstratum's way: look at what is between it and the miners",
        );
    }
}

/// Text and advice for a failed trial.
fn explain(ended: TrialEnd, account: &str) -> (String, &'static str) {
    match ended {
        TrialEnd::Unauthorized(refusal) => (
            format!("the account {account:?} is refused: {refusal}"),
            "see that it is in users.json and that HSTRATUM_PASSWORD is its password",
        ),
        TrialEnd::NoJob => (
            "logged in, but no job came".to_owned(),
            "see the findings of the node, and \"no job\" in its log",
        ),
        TrialEnd::TipMoved => (
            "logged in and had a job; each share was stale, since the tip moved".to_owned(),
            "the port works: blocks came in between; run this again",
        ),
        TrialEnd::Silent => (
            "it takes connections, and does not reply".to_owned(),
            "the process that has the port hangs, or is not a stratum server: see ss -ltnp and its log",
        ),
        TrialEnd::Tls => (
            "it speaks TLS".to_owned(),
            "give --url stratum+tls://HOST:PORT",
        ),
        TrialEnd::NoTls(error) => (
            format!("no TLS there: {error}"),
            "give the port of a listener with tls:// or auto://, or --url stratum+tcp://HOST:PORT",
        ),
        TrialEnd::Rejected(refusal) => {
            let advice = match refusal.text.as_str() {
                "ledger unavailable" => {
                    "the ledger cannot be written: see the findings under files and dashboard, and \
                     the node's log"
                }
                _ => "see docs/protocol.md for what the code means, and the node's log",
            };
            (format!("a good share is rejected: {refusal}"), advice)
        }
        TrialEnd::Failed(error) => (
            format!("{error:#}"),
            "is it hstratum that listens there? See ss -ltnp, and the node's log",
        ),
    }
}
