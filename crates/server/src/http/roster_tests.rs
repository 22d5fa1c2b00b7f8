use hstratum_core::ledger::{Tally, Work};

use super::super::fleet::Server;
use super::*;

const NOW: u64 = 1_200_300;

fn past(origin: i64, hashes_per_s: f64) -> Past {
    Past {
        account: "alice".into(),
        worker: "rig".into(),
        sent: Sent {
            accepted: 1,
            ..Sent::default()
        },
        last_span: Some(1_200_000),
        origin,
        recent_work: hashes_per_s * 900.0 / HASHES_PER_DIFFICULTY,
    }
}

fn live(hashrate: f64) -> WorkerView {
    WorkerView {
        account: "alice".into(),
        worker: "rig".into(),
        difficulty: None,
        hashrate,
        last_share_ms: Some(7_000),
        refused: Tally::default(),
        connected_ms: 60_000,
    }
}

/// What one of the servers 1 and 2 shows of the worker.
fn shown_by(own: i64, pasts: &[Past], live: &[WorkerView]) -> Row {
    let servers = [1, 2].map(|origin| Server {
        is_this: origin == own,
        ..Server::named(origin)
    });
    let fleet = Known {
        servers: Arc::new(servers.into()),
        away: None,
    };
    let hour = (NOW - 3_600, pasts.to_vec());
    let mut merged = Merged::default();
    merged.add_hour(&hour, NOW);
    merged.add_elsewhere(&hour, &fleet, NOW);
    merged.add_live(live, &Arc::from(format!("server-{own}")), NOW);
    assert_eq!(merged.rows.len(), 1, "a worker is one worker");
    merged.rows.remove(0)
}

#[test]
fn worker_that_moved_has_one_rate_on_every_server() {
    // It sent 20 H/s, 19 of it before it moved; its new connection knows of 20.
    let pasts = [past(1, 19.0), past(2, 1.0)];
    let left = shown_by(1, &pasts, &[]);
    let has = shown_by(2, &pasts, &[live(20.0)]);
    for row in [&left, &has] {
        assert!((row.rates[0] - 20.0).abs() < 1e-9, "{:?}", row.rates);
        assert_eq!(row.sent.accepted, 2);
    }
    assert_eq!(has.connections, 1);
}

#[test]
fn last_share_is_known_from_the_connection_and_never_later_than_it_was() {
    let here = shown_by(1, &[past(1, 1.0)], &[live(1.0)]);
    assert_eq!(here.last_share_at, Some(1_200_293));
    let gone = shown_by(1, &[past(1, 1.0)], &[]);
    assert_eq!(gone.last_share_at, Some(1_200_000));
}

#[test]
fn worker_with_nothing_but_refused_submits_is_seen() {
    let of = |count| Work {
        count,
        difficulty: 1.0,
    };
    let mut one = live(0.0);
    one.last_share_ms = None;
    one.refused.low = of(4);
    one.refused.stale = of(1);
    let row = shown_by(1, &[], &[one.clone()]);
    assert_eq!((row.sent.low, row.sent.stale), (4, 1));
    assert_eq!(row.sent.reject_rate(), Some(1.0));
    // Of whoever had a share accepted the ledger has all.
    let row = shown_by(1, &[past(1, 1.0)], &[one]);
    assert_eq!(row.sent.all(), 1);
}
