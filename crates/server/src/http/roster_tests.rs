use super::super::server_list::ApiServer;
use super::*;

/// Three hundred seconds into ten minutes.
const NOW: u64 = 1_200_300;

/// What a server accepted of alice.rig since `first`, so many hashes a second.
fn past(origin: i64, first: i64, hashes_per_s: f64, last: i64) -> PastWork {
    let seconds = (last - first) as f64;
    PastWork {
        account: "alice".into(),
        worker: "rig".into(),
        sent: SentShares {
            accepted: 1,
            ..SentShares::default()
        },
        last: Some(last),
        origin,
        recent_work: hashes_per_s * seconds / HASHES_PER_DIFFICULTY,
        recent_first: Some(first),
    }
}

fn live(hashrate: f64) -> WorkerStatus {
    WorkerStatus {
        account: "alice".into(),
        worker: "rig".into(),
        difficulty: None,
        sends_blocks: false,
        hashrate,
        best_share: None,
        last_share_ms: Some(7_000),
        connected_ms: 60_000,
    }
}

/// What one of the servers 1 and 2 shows of the workers.
fn shown_by(
    own: i64,
    pasts: &[PastWork],
    live: &[WorkerStatus],
    unproven: &[UnprovenWorker],
) -> Vec<WorkerRow> {
    let servers = [1, 2].map(|origin| ApiServer {
        is_this: origin == own,
        ..ApiServer::named(origin)
    });
    let pool_servers = ServersRead {
        servers: Arc::new(servers.into()),
        away: None,
    };
    let hour = PastWorks {
        since: NOW - 3_600,
        at: NOW,
        pasts: pasts.to_vec(),
    };
    let mut merged = Merged::default();
    merged.add_hour(&hour, NOW);
    merged.add_recent(&hour, &pool_servers);
    merged.add_unproven(unproven, NOW);
    let own = Arc::from(format!("server-{own}"));
    merged.add_live(live, &own, RateOf::Ledger, NOW);
    merged.rows
}

fn one(mut rows: Vec<WorkerRow>) -> WorkerRow {
    assert_eq!(rows.len(), 1, "a worker is one worker: {rows:?}");
    rows.remove(0)
}

#[test]
fn worker_that_moved_is_the_same_on_every_server() {
    let now = signed(NOW);
    // It sent 20 H/s for 200 s, and moved in between; its new connection believes in 38.
    let pasts = [
        past(1, now - 200, 20.0, now - 60),
        past(2, now - 60, 20.0, now),
    ];
    let left = one(shown_by(1, &pasts, &[], &[]));
    let has = one(shown_by(2, &pasts, &[live(38.0)], &[]));
    for row in [&left, &has] {
        assert!((row.rates[0] - 20.0).abs() < 1e-9, "{:?}", row.rates);
        assert_eq!(row.sent.accepted, 2);
        assert_eq!(row.servers, ["server-1".into(), "server-2".into()]);
        assert_eq!(row.last_share_at, Some(now));
    }
    assert_eq!((left.connections, has.connections), (0, 1));
    let online = |rows: &[WorkerRow]| rows.iter().filter(|row| row.is_online()).count();
    assert_eq!(online(&[left, has]), 2, "it counts on both, once each");
}

#[test]
fn worker_on_another_server_has_its_rate_from_the_first_minute_on() {
    let now = signed(NOW);
    for age in [60, 90, 300, 899] {
        let row = one(shown_by(1, &[past(2, now - age, 20.0, now)], &[], &[]));
        assert!((row.rates[0] - 20.0).abs() < 1e-9, "{age}: {:?}", row.rates);
    }
    let first = one(shown_by(1, &[past(2, now - 6, 20.0, now)], &[], &[]));
    assert!(
        first.rates[0] < 2.1,
        "the first share does not promise too much"
    );
}

#[test]
fn worker_is_away_ten_minutes_after_its_last_share() {
    let now = signed(NOW);
    let of = |last| one(shown_by(1, &[past(2, now - 800, 1.0, last)], &[], &[]));
    assert_eq!(of(now - 600).servers, ["server-2".into()]);
    assert!(!of(now - 601).is_online());
    assert_eq!(of(now - 601).last_share_at, Some(now - 601));
}

#[test]
fn last_share_is_known_from_the_connection_before_the_ledger_has_it() {
    let now = signed(NOW);
    let here = shown_by(1, &[past(1, now - 500, 1.0, now - 30)], &[live(1.0)], &[]);
    assert_eq!(one(here).last_share_at, Some(now - 7));
}

#[test]
fn worker_with_nothing_but_refused_submits_is_seen_on_every_server() {
    let refused = RefusedSubmits {
        account: "carol".into(),
        worker: "bad".into(),
        start: 1_200_000,
        low: 4,
        stale: 1,
        is_connected: true,
        ..RefusedSubmits::default()
    };
    let old = RefusedSubmits {
        start: 1_200_000 - 4_200,
        ..refused.clone()
    };
    let gone = RefusedSubmits {
        is_connected: false,
        start: refused.start - 600,
        ..refused.clone()
    };
    let here = Some(Arc::from("server-2"));
    let told = [(refused.clone(), here), (old, None), (gone.clone(), None)];
    let row = one(shown_by(1, &[], &[], &told));
    assert_eq!((row.sent.low, row.sent.stale), (8, 2));
    assert_eq!(row.sent.reject_rate(), Some(1.0));
    assert_eq!(row.servers, ["server-2".into()]);
    let row = one(shown_by(1, &[], &[], &[(gone, None)]));
    assert!(!row.is_online());

    // What another server accepted of it is beside it.
    let known = RefusedSubmits {
        account: "alice".into(),
        worker: "rig".into(),
        ..refused
    };
    let pasts = [past(2, 1_200_000, 1.0, 1_200_100)];
    let row = one(shown_by(1, &pasts, &[], &[(known, None)]));
    assert_eq!((row.sent.accepted, row.sent.low), (1, 4));
}

/// What was read and what was sent is in the future then, by hours.
#[test]
fn clock_that_goes_back_makes_no_number_fail() {
    for back in [1, 3_601, 7_200, NOW] {
        let now = NOW - back;
        let hour = PastWorks {
            since: NOW - 3_600,
            at: NOW,
            pasts: vec![past(2, signed(NOW) - 60, 1.0, signed(NOW))],
        };
        let pool_servers = ServersRead {
            servers: Arc::new(vec![ApiServer::named(2)]),
            away: None,
        };
        let refused = RefusedSubmits {
            start: signed(NOW),
            low: 1,
            ..RefusedSubmits::default()
        };
        let mut merged = Merged::default();
        merged.add_hour(&hour, now);
        merged.add_day((signed(NOW), Vec::new()), now);
        merged.add_recent(&hour, &pool_servers);
        merged.add_unproven(&[(refused, None)], now);
        merged.add_live(&[live(1.0)], &"here".into(), RateOf::Connections, now);
        for row in &merged.rows {
            assert!(row.rates.iter().all(|rate| rate.is_finite()), "{row:?}");
        }
    }
}
