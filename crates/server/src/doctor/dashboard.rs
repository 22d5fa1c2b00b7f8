//! Checks the dashboard's port: free for a node that starts, answering for one that runs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::config::HTTP_PORT;

use super::node::NodeState;
use super::{CheckedPart, Findings, KnownServer};

/// Time for the dashboard's answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn examine(known: &KnownServer<'_>, state: NodeState, findings: &mut Findings) {
    if let Some(options) = known.in_force {
        return match options.dashboard {
            Some(place) => ask(place, findings),
            None => findings.ok(
                CheckedPart::Dashboard,
                match known.config.and_then(|config| config.http_port) {
                    Some(0) => "there is none: http-port is 0",
                    _ => "there is none: http-port is 0, or 3080 was taken when the node started",
                },
            ),
        };
    }
    let Some(config) = known.config else { return };
    if config.http_port == Some(0) {
        return findings.ok(CheckedPart::Dashboard, "there is none: http-port is 0");
    }
    let port = config.http_port.unwrap_or(HTTP_PORT);
    let place = SocketAddr::new(config.http_host, port);
    let ports = config.listen.iter().map(|spec| spec.address.port());
    if ports.chain([config.port]).any(|stratum| stratum == port) {
        return findings.problem(
            CheckedPart::Dashboard,
            format!("http-port {port} is a port of miners too"),
            "choose another http-port; 0 turns the dashboard off",
        );
    }
    match state {
        NodeState::Stopped => check_free(place, config.http_port.is_some(), findings),
        NodeState::Serving => ask(place, findings),
        // It is not known whose port it would be.
        NodeState::NotAsked | NodeState::Without | NodeState::Unknown => {}
    }
}

fn check_free(place: SocketAddr, is_asked_for: bool, findings: &mut Findings) {
    match TcpListener::bind(place) {
        Ok(_) => findings.ok(
            CheckedPart::Dashboard,
            format!("{place} is free for the dashboard"),
        ),
        Err(error) if !is_asked_for => findings.warn(
            CheckedPart::Dashboard,
            format!("{place} is taken, so that there will be no dashboard: {error}"),
            "choose another http-port",
        ),
        Err(error) => findings.problem(
            CheckedPart::Dashboard,
            format!("{place} cannot be listened on: {error}"),
            "see who has the port, with ss -ltnp, and choose another http-port; http-host must be an \
             address of this machine",
        ),
    }
}

fn ask(place: SocketAddr, findings: &mut Findings) {
    let near = match place.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), place.port()),
        _ => place,
    };
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .new_agent();
    match agent.get(format!("http://{near}/healthz")).call() {
        Ok(answer) if answer.status() == 200 => {
            findings.ok(CheckedPart::Dashboard, format!("http://{near}/ answers"));
        }
        Ok(mut answer) if answer.status() == 503 => {
            let said = answer.body_mut().read_to_string().unwrap_or_default();
            unwell(near, &said, findings);
        }
        Ok(answer) => findings.warn(
            CheckedPart::Dashboard,
            format!("http://{near}/healthz answers {}", answer.status()),
            "is it hstratum that has the port? See ss -ltnp",
        ),
        Err(error) => findings.warn(
            CheckedPart::Dashboard,
            format!("http://{near}/ does not answer: {error}"),
            "was hsd given --stratum-http-port or --stratum-http-host? Then the dashboard is there",
        ),
    }
}

/// Reports a server's own health message.
fn unwell(near: SocketAddr, said: &str, findings: &mut Findings) {
    let health: serde_json::Value = serde_json::from_str(said).unwrap_or_default();
    let status = health["status"].as_str().unwrap_or("it is not well");
    let text = format!("http://{near}/ answers: {status:?}");
    // Any other message is about the ledger, in the disk's or the database's own words.
    let is_others = ["no job", "the pool", "it is not well"];
    if !is_others.iter().any(|words| status.starts_with(words)) {
        let advice = "its log says why: make room or mend the disk, or restart the node with a ledger \
                      that can be written (docs/ledger.md)";
        findings.problem(CheckedPart::Dashboard, text, advice);
    } else {
        findings.warn(
            CheckedPart::Dashboard,
            text,
            "what is wrong is told under node",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::FindingSeverity;
    use super::*;

    fn found(place: SocketAddr, look: fn(SocketAddr, &mut Findings)) -> (FindingSeverity, String) {
        let mut findings = Findings::default();
        look(place, &mut findings);
        let [one] = <[_; 1]>::try_from(findings.0).expect("one finding");
        (one.severity, one.text)
    }

    #[test]
    fn a_port_that_another_has_is_a_problem_and_one_that_is_free_is_not() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let place = taken.local_addr().expect("bound");
        let (severity, text) = found(place, |place, to| check_free(place, true, to));
        assert_eq!(severity, FindingSeverity::Problem);
        assert!(text.contains("cannot be listened on"), "{text}");
        let usual = found(place, |place, to| check_free(place, false, to));
        assert_eq!(usual.0, FindingSeverity::Warning);
        drop(taken);
        let free = found(place, |place, to| check_free(place, true, to));
        assert_eq!(free.0, FindingSeverity::Ok);
        let (severity, text) = found(place, ask);
        assert_eq!(severity, FindingSeverity::Warning);
        assert!(text.contains("does not answer"), "{text}");
    }

    #[test]
    fn ledger_that_takes_no_shares_is_a_problem() {
        let place = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        for (said, severity) in [
            (
                r#"{"status":"the ledger cannot be written and shares are refused"}"#,
                FindingSeverity::Problem,
            ),
            (
                r#"{"status":"no job for miners"}"#,
                FindingSeverity::Warning,
            ),
            ("", FindingSeverity::Warning),
        ] {
            let mut findings = Findings::default();
            unwell(place, said, &mut findings);
            assert_eq!(findings.0[0].severity, severity, "{said}");
        }
    }
}
