//! Solo listeners: each block pays its finder, and shares are statistics.

use std::sync::Arc;

use super::ACCESS;
use crate::harness::{Miner, PoolHarness, Setup, Want, payee, submit_line};
use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::Event;
use hstratum_core::job::direct_payout::OperatorFee;
use hstratum_core::limits::TALLY_MS;

/// An address of nobody in particular.
fn address(number: u8) -> Address {
    Address::new(0, vec![number; 20]).expect("an address")
}

fn name(number: u8) -> String {
    address(number).encode(Network::Regtest)
}

/// A setup whose miners are paid directly, less a fee of one percent.
fn solo() -> Setup {
    Setup {
        payout: Payout::Solo,
        operator_fee: Arc::new(OperatorFee {
            part: FeePpm::parse_percent("1").expect("a percentage"),
            address: Some(address(99)),
        }),
        ..Setup::default()
    }
}

/// Submits of a solo miner for its last job; the answer.
fn submit(harness: &mut PoolHarness, miner: Miner, user: &str, want: Want) -> String {
    let job = harness.job(miner);
    let found = harness.find(miner, &job, want, job.time);
    harness.send(miner, &submit_line("9", user, &job.id, &found));
    harness.answers(miner).join(" ")
}

fn login(harness: &mut PoolHarness, miner: Miner, user: &str) -> String {
    let line = format!(r#"{{"id":9,"method":"mining.authorize","params":["{user}","x"]}}"#);
    harness.send(miner, &line);
    harness.answers(miner).join(" ")
}

#[test]
fn each_block_pays_its_finder_and_the_operators_fee_after_all_else() {
    for transactions in [0, 1, 7, 333] {
        let mut harness = ACCESS.harness(&solo());
        harness.chain.transactions = transactions;
        harness.template();
        harness.transactions();
        let miners = [1, 2].map(|number| (number, harness.miner(&name(number))));
        // The first job is of one connection, the second of all.
        for _ in 0..2 {
            for (number, miner) in miners {
                let answer = submit(&mut harness, miner, &name(number), Want::Block);
                assert_eq!(answer, "true");
                let solution = harness.solutions.last().expect("a block").clone();
                let (ours, node) = (&solution.coinbase, &solution.template.coinbase);
                assert_eq!(*ours.address(), address(number));
                assert_eq!(ours.value(), node.value() - node.value() / 100);
                // Its last output: 20 bytes of address, no covenant, then the lock time and witnesses.
                let fee = &[[99; 20].as_slice(), &[0, 0]].concat();
                let place = ours.as_bytes().windows(22).rposition(|bytes| bytes == fee);
                assert!(place.is_some(), "a fee for the operator");
                assert_eq!(solution.payout(), Payout::Solo);
                assert_eq!(harness.found.last().expect("a record").payout, Payout::Solo);
            }
            harness.template();
            harness.transactions();
        }
        assert_eq!(harness.solutions.len(), 4);
        assert!(harness.records.is_empty(), "no credit");
    }
}

#[test]
fn miners_of_one_payee_have_the_same_bytes_and_others_other_roots() {
    let mut harness = ACCESS.with_job(&solo());
    let miners = [1, 1, 2].map(|number| harness.miner(&name(number)));
    harness.block();
    let [one, same, other] = miners.map(|miner| {
        let lines = harness.lines(miner);
        lines.last().expect("a job").clone()
    });
    assert_eq!(one, same);
    assert_ne!(one, other);
    let ids = miners.map(|miner| harness.job(miner).id);
    assert!(ids.iter().all(|id| *id == ids[0]));
    // A share for one payee is none for another: the work differs.
    let job = harness.job(miners[0]);
    let found = harness.find(miners[0], &job, Want::Block, job.time);
    let line = submit_line("9", &name(2), &job.id, &found);
    harness.send(miners[2], &line);
    assert!(harness.solutions.is_empty());
}

#[test]
fn payees_beyond_those_served_at_once_get_each_job_once_and_only_the_newest() {
    let mut harness = ACCESS.with_job(&solo());
    let miners: Vec<(String, Miner)> = (1..=600)
        .map(|number| (payee(number), harness.miner(&payee(number))))
        .collect();
    harness.block();
    for (_, miner) in &miners {
        assert_eq!(harness.job_count(*miner), 2);
    }
    // A block that comes while only the first of them have the job before.
    harness.solo_jobs_held = true;
    harness.block();
    harness.handle(Event::SoloJobs);
    let counts = miners.iter().map(|(_, miner)| harness.job_count(*miner));
    let have = counts.filter(|count| *count == 3).count();
    assert!((1..600).contains(&have), "{have}");
    harness.block();
    harness.send_solo_jobs();
    for (place, (user, miner)) in miners.iter().enumerate() {
        let is_first = place < have;
        assert_eq!(harness.job_count(*miner), 3 + usize::from(is_first));
        harness.lines(*miner);
        if place % 50 == 0 {
            assert_eq!(submit(&mut harness, *miner, user, Want::Block), "true");
        }
    }
}

#[test]
fn replies_do_not_wait_for_the_ledger_and_shares_are_counted_all_the_same() {
    let mut harness = ACCESS.with_job(&solo());
    let miner = harness.miner(&format!("{}.rig", name(1)));
    harness.lines(miner);
    harness.ledger_held = true;
    let user = format!("{}.rig", name(1));
    assert_eq!(submit(&mut harness, miner, &user, Want::Share), "true");
    let answer = submit(&mut harness, miner, &user, Want::Low);
    assert_eq!(answer, "high-hash");
    harness.break_ledger();
    assert_eq!(submit(&mut harness, miner, &user, Want::Block), "true");
    harness.advance(TALLY_MS);
    let [one] = &harness.tallied[..] else {
        panic!("one worker")
    };
    assert_eq!((&*one.account, &*one.worker), (&*name(1), "rig"));
    let tally = &one.tally;
    assert_eq!((tally.accepted.count, tally.low.count), (2, 1));
    assert!(harness.records.is_empty());
    assert_eq!(harness.solutions.len(), 1);
}

#[test]
fn jobs_of_solo_listeners_follow_those_of_all_others() {
    let mut harness = ACCESS.with_job(&solo());
    let solo = harness.miner(&name(1));
    harness.payout = Payout::Operator;
    let other = harness.miner("alice");
    harness.solo_jobs_held = true;
    harness.block();
    assert_eq!((harness.job_count(solo), harness.job_count(other)), (1, 2));
    // One that comes meanwhile has its job already, and one for a difficulty as well.
    harness.payout = Payout::Solo;
    let late = harness.miner(&name(2));
    harness.send_solo_jobs();
    assert_eq!((harness.job_count(solo), harness.job_count(late)), (2, 1));
    for (miner, user) in [(solo, name(1)), (late, name(2))] {
        harness.lines(miner);
        assert_eq!(submit(&mut harness, miner, &user, Want::Block), "true");
    }
    assert_eq!(harness.solutions.len(), 2);
    let job = harness.job(other);
    harness.submit(other, &job, Want::Block);
    let solution = harness.solutions.last().expect("a block");
    assert_eq!(solution.payout(), Payout::Operator);
    assert_eq!(harness.records.len(), 1);
}

#[test]
fn share_sent_twice_is_a_duplicate() {
    let mut harness = ACCESS.with_job(&solo());
    let miner = harness.miner(&name(1));
    let job = harness.job(miner);
    let found = harness.find(miner, &job, Want::Share, job.time);
    let line = submit_line("9", &name(1), &job.id, &found);
    harness.lines(miner);
    harness.send(miner, &line);
    harness.send(miner, &line);
    assert_eq!(harness.answers(miner), ["true", "duplicate"]);
}

#[test]
fn names_without_a_payee_are_refused_with_the_reason() {
    let main = address(1).encode(Network::Main);
    let version = Address::new(1, vec![1; 20]).expect("an address");
    let version = version.encode(Network::Regtest);
    let zeros = address(0).encode(Network::Regtest);
    let mut mistyped = name(1);
    mistyped.replace_range(8..9, if &mistyped[8..9] == "q" { "p" } else { "q" });
    for (user, text) in [
        (
            "alice",
            "no address to be paid at: use one as the user name",
        ),
        ("", "invalid params"),
        (&*main, "the address is of another network"),
        (&*version, "the address cannot be paid"),
        (&*zeros, "the address cannot be paid"),
        (&*mistyped, "the user name is not a valid address"),
        ("rs1.rig", "the user name is not a valid address"),
        (&*name(1), "true"),
        (&*name(1).to_uppercase(), "true"),
        (&*format!("{}.rig", name(1)), "true"),
    ] {
        let mut harness = ACCESS.with_job(&solo());
        harness.know_addresses([]);
        let miner = harness.connect();
        harness.send(miner, r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
        let answer = login(&mut harness, miner, user);
        assert_eq!(answer, text, "{user}");
        let jobs = usize::from(text == "true");
        assert_eq!(harness.job_count(miner), jobs, "{user}");
    }
}

#[test]
fn account_without_an_address_as_its_name_is_paid_at_its_payout_address() {
    let mut harness = ACCESS.with_job(&solo());
    let login_as = |harness: &mut PoolHarness, user: &str| {
        let miner = harness.connect();
        harness.send(miner, r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
        (miner, login(harness, miner, user))
    };
    let (_, answer) = login_as(&mut harness, "alice.rig");
    assert_eq!(answer, "payout addresses not read yet, try again later");
    harness.know_addresses([("alice", address(5)), (&*name(6), address(7))]);
    for (user, payee) in [("alice.rig", 5), (&*name(6), 6)] {
        let (miner, answer) = login_as(&mut harness, user);
        assert_eq!(answer, "true");
        assert_eq!(submit(&mut harness, miner, user, Want::Block), "true");
        let solution = harness.solutions.last().expect("a block");
        assert_eq!(*solution.coinbase.address(), address(payee));
        // Another address counts for the next login.
        harness.know_addresses([("alice", address(8))]);
        harness.block();
        assert_eq!(submit(&mut harness, miner, user, Want::Block), "true");
        let solution = harness.solutions.last().expect("a block");
        assert_eq!(*solution.coinbase.address(), address(payee));
    }
    let (_, answer) = login_as(&mut harness, "alice");
    assert_eq!(answer, "true");
    let (_, answer) = login_as(&mut harness, "bob");
    assert_eq!(answer, "no address to be paid at: use one as the user name");
}

#[test]
fn connection_has_one_payee_and_as_many_workers_of_it_as_it_likes() {
    let mut harness = ACCESS.with_job(&solo());
    let miner = harness.miner(&name(1));
    harness.lines(miner);
    let answer = login(&mut harness, miner, &name(2));
    assert_eq!(answer, "another address than that of this connection");
    let worker = format!("{}.2", name(1));
    assert_eq!(login(&mut harness, miner, &worker), "true");
    assert_eq!(submit(&mut harness, miner, &worker, Want::Block), "true");
    let solution = harness.solutions.last().expect("a block");
    assert_eq!(*solution.coinbase.address(), address(1));
}

#[test]
fn fee_that_rounds_to_nothing_has_no_output() {
    let mut harness = ACCESS.with_job(&Setup {
        operator_fee: Arc::default(),
        ..solo()
    });
    let miner = harness.miner(&name(1));
    submit(&mut harness, miner, &name(1), Want::Block);
    let solution = harness.solutions.last().expect("a block");
    let (ours, node) = (&solution.coinbase, &solution.template.coinbase);
    assert_eq!(ours.value(), node.value());
    assert_eq!(ours.as_bytes().len(), node.as_bytes().len());
}
