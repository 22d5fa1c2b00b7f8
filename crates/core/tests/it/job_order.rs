//! The order in which miners get a job: those with the most hashrate first, and turns among equals.

use super::ACCESS;
use crate::harness::{Miner, Output, PoolHarness, Setup, Want, payee, submit_line};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::Event;
use hstratum_core::limits::SWEEP_MS;

/// Has a miner find so many shares.
fn mine(harness: &mut PoolHarness, miner: Miner, user: &str, shares: usize) {
    let job = harness.job(miner);
    for _ in 0..shares {
        let found = harness.find(miner, &job, Want::Share, job.time);
        harness.send(miner, &submit_line("9", user, &job.id, &found));
    }
}

/// Ten miners that have found so many shares each.
fn equals(harness: &mut PoolHarness, shares: usize) -> Vec<Miner> {
    let miners: Vec<Miner> = (0..10).map(|_| harness.miner("alice")).collect();
    for &miner in &miners {
        mine(harness, miner, "alice", shares);
    }
    miners
}

/// The miners that get the job of a new block, in their order.
fn served(harness: &mut PoolHarness) -> Vec<Miner> {
    harness.output.clear();
    harness.block();
    let jobs = harness.output.iter().filter_map(|output| match output {
        Output::Line(miner, line) if line.contains("mining.notify") => Some(*miner),
        _ => None,
    });
    jobs.collect()
}

#[test]
fn the_more_hashes_the_sooner_the_job() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let shares = [0, 1, 40, 4, 0, 13];
    let users: Vec<String> = (0..shares.len()).map(|n| format!("user{n}")).collect();
    let miners: Vec<Miner> = users.iter().map(|user| harness.miner(user)).collect();
    for ((user, &miner), shares) in users.iter().zip(&miners).zip(shares) {
        mine(&mut harness, miner, user, shares);
    }
    harness.advance(SWEEP_MS);
    let newcomer = harness.miner("newcomer");
    let order = served(&mut harness);
    assert_eq!(order[..4], [2, 5, 3, 1].map(|n: usize| miners[n]));
    assert_eq!(order.len(), 7);
    assert_eq!(order[6], newcomer, "nobody knows what it does");
}

#[test]
fn a_connection_that_is_closed_or_used_again_leaves_no_gap() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let miners: Vec<Miner> = (0..40).map(|_| harness.miner("alice")).collect();
    harness.advance(SWEEP_MS);
    for &miner in &miners[..30] {
        harness.close(miner);
    }
    let again: Vec<Miner> = (0..300)
        .map(|_| {
            let miner = harness.miner("alice");
            harness.close(miner);
            harness.miner("alice")
        })
        .collect();
    let order = served(&mut harness);
    assert_eq!(order.len(), 310);
    for miner in miners[30..].iter().chain(&again) {
        assert_eq!(harness.job_count(*miner), 2);
    }
}

#[test]
fn equals_take_turns() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let miners = equals(&mut harness, 3);
    let mut places = vec![0; miners.len()];
    let rounds = 40;
    for _ in 0..rounds {
        harness.advance(SWEEP_MS);
        for (place, miner) in served(&mut harness).iter().enumerate() {
            let at = miners
                .iter()
                .position(|one| one == miner)
                .expect("one of them");
            places[at] += place;
        }
    }
    let fair = rounds * (miners.len() - 1) / 2;
    for sum in places {
        assert!(sum.abs_diff(fair) < fair / 5, "{sum} of {fair}");
    }
}

#[test]
fn more_names_make_no_more_hashrate() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let miners: Vec<Miner> = (0..5).map(|_| harness.miner("alice")).collect();
    let (mut first, rounds) = (0, 40);
    for round in 0..2 * rounds {
        for &miner in &miners[1..] {
            mine(&mut harness, miner, "alice", 1);
        }
        let name = format!("alice.{round}");
        let login = format!(r#"{{"id":3,"method":"mining.authorize","params":["{name}","x"]}}"#);
        harness.send(miners[0], &login);
        mine(&mut harness, miners[0], &name, 1);
        harness.advance(SWEEP_MS);
        let order = served(&mut harness);
        first += usize::from(round >= rounds && order[0] == miners[0]);
    }
    assert!(first < rounds / 2, "{first} of {rounds}");
}

#[test]
fn only_who_has_far_more_hashrate_than_others_is_read_first() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let miners = equals(&mut harness, 5);
    harness.advance(SWEEP_MS);
    assert_eq!(harness.read_first, []);
    mine(&mut harness, miners[3], "alice", 200);
    harness.advance(SWEEP_MS);
    let [(conn, true)] = harness.read_first[..] else {
        panic!("{:?}", harness.read_first);
    };
    harness.advance(2 * SWEEP_MS);
    assert_eq!(harness.read_first.len(), 1);
    // The others catch up while it is silent.
    for &miner in miners.iter().filter(|&&one| one != miners[3]) {
        mine(&mut harness, miner, "alice", 200);
    }
    harness.advance(SWEEP_MS);
    assert_eq!(harness.read_first[1..], [(conn, false)]);
}

#[test]
fn payees_of_a_solo_listener_have_the_same_order() {
    let mut harness = ACCESS.with_job(&Setup {
        payout: Payout::Solo,
        ..Setup::default()
    });
    let miners: Vec<Miner> = (1..=600).map(|n| harness.miner(&payee(n))).collect();
    mine(&mut harness, miners[599], &payee(600), 20);
    mine(&mut harness, miners[300], &payee(301), 5);
    harness.advance(SWEEP_MS);
    // The order is made anew while only some have the job.
    harness.output.clear();
    harness.solo_jobs_held = true;
    harness.block();
    harness.handle(Event::SoloJobs);
    let first = harness.output.iter().find_map(|output| match output {
        Output::Line(miner, _) => Some(*miner),
        Output::Effect(..) => None,
    });
    assert_eq!(first, Some(miners[599]));
    harness.advance(SWEEP_MS);
    harness.send_solo_jobs();
    for &miner in &miners {
        assert_eq!(harness.job_count(miner), 2);
    }
}
