//! Arbitrary input: random sessions that must give the same output twice, and arbitrary bytes.

use crate::harness::{Miner, Output, PoolHarness, Setup, Want, submit_line};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::limits::CLOSE_DELAY_MS;
use hstratum_core::session::difficulty::Dynamic;
use proptest::prelude::*;

/// Xorshift: the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Plays a few thousand random events of all kinds; gives the output in order.
fn random_session(seed: u64) -> Vec<Output> {
    let mut dice = Dice(seed);
    let mut harness = PoolHarness::new(&Setup {
        slow_users: vec![("carol".into(), "pw".into())],
        admin_password: Some("pw".into()),
        dynamic: if seed.is_multiple_of(2) {
            Dynamic::Off
        } else {
            Dynamic::On
        },
        ..Setup::default()
    });
    let mut miners: Vec<Miner> = Vec::new();
    for step in 0..3000 {
        miners.retain(|miner| harness.is_open(*miner));
        match dice.below(42) {
            0 | 1 if miners.len() < 20 => miners.push(harness.connect()),
            2 => harness.tip(),
            3 => harness.block(),
            4 => {
                harness.chain.transactions = [0, 1, 7][dice.below(3) as usize];
                harness.template();
            }
            5 => harness.no_template("no peers"),
            6 => harness.transactions(),
            7 => harness.ledger_held = true,
            8 => harness.passwords_held = true,
            9 => harness.release(),
            10 => harness.advance(dice.below(8) * 500),
            11 if !harness.solutions.is_empty() => {
                let at = dice.below(harness.solutions.len() as u64) as usize;
                let verdict = [
                    Verdict::Accepted,
                    Verdict::Side,
                    Verdict::Unknown(String::new()),
                ][dice.below(3) as usize]
                    .clone();
                harness.answer(harness.solutions[at].hash, verdict);
            }
            40 => harness.break_ledger(),
            41 => harness.mend_ledger(),
            12 if miners.len() > 10 => harness.close(miners[dice.below(10) as usize]),
            _ if miners.is_empty() => miners.push(harness.connect()),
            kind => {
                let miner = miners[dice.below(miners.len() as u64) as usize];
                random_line(&mut harness, &mut dice, miner, kind, step);
            }
        }
    }
    harness.release();
    for miner in miners.iter().filter(|miner| harness.is_open(**miner)) {
        assert!(!harness.is_paused(*miner));
        assert_eq!(harness.unanswered(*miner), 0, "every request was answered");
    }
    harness.output
}

fn random_line(harness: &mut PoolHarness, dice: &mut Dice, miner: Miner, kind: u64, step: u32) {
    let line = match kind {
        13..16 => format!(r#"{{"id":{step},"method":"mining.subscribe","params":["agent"]}}"#),
        16..19 => {
            let name = ["alice", "carol", "carol.x", "bob.rig"][dice.below(4) as usize];
            let password = ["pw", "x"][dice.below(2) as usize];
            let params = format!(r#"["{name}","{password}"]"#);
            format!(r#"{{"id":{step},"method":"mining.authorize","params":{params}}}"#)
        }
        19 => format!(r#"{{"id":{step},"method":"mining.authorize_admin","params":["pw"]}}"#),
        20 => {
            let name = dice.below(9);
            let address = [
                "",
                r#","rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u""#,
                r#","hs1""#,
            ];
            let params = format!(r#"["u{name}","pw"{}]"#, address[dice.below(3) as usize]);
            format!(r#"{{"id":{step},"method":"mining.add_user","params":{params}}}"#)
        }
        21 => "nonsense".to_owned(),
        _ if harness.job_count(miner) > 0 => {
            let wants = [Want::Share, Want::Share, Want::Low, Want::Block];
            let back = dice.below(3).min(harness.job_count(miner) as u64 - 1) as usize;
            let job = harness.job_before(miner, back);
            let want = wants[dice.below(4) as usize];
            let want = match want {
                Want::Share if job.network >= job.share => Want::Block,
                _ => want,
            };
            let found = harness.find(miner, &job, want, job.time);
            let line = submit_line(&step.to_string(), "alice", &job.id, &found);
            if dice.below(8) == 0 {
                format!("{line}\n{line}")
            } else {
                line
            }
        }
        _ => format!(r#"{{"id":{step},"method":"mining.nothing"}}"#),
    };
    harness.send(miner, &line);
}

#[test]
fn the_same_events_give_the_same_actions() {
    for seed in 1..=8 {
        let first = random_session(seed);
        assert!(first.len() > 1000);
        assert!(first == random_session(seed), "seed {seed}");
    }
}

/// Valid and invalid lines, with an id or without; none that closes a connection.
fn any_line() -> impl Strategy<Value = String> {
    let id = prop_oneof![
        Just(String::new()),
        any::<i64>().prop_map(|id| format!("\"id\":{id},")),
        "[a-z\u{e9} ]{0,40}".prop_map(|id| format!("\"id\":\"{id}\",")),
        Just("\"id\":null,".to_owned()),
        Just("\"id\":[1,{\"a\":2}],".to_owned()),
    ];
    let rest = prop::sample::select(vec![
        r#""method":"mining.subscribe","params":[]"#,
        r#""method":"mining.subscribe","params":["a","00000001"]"#,
        r#""method":"mining.authorize","params":["alice","x"]"#,
        r#""method":"mining.authorize","params":["carol","pw"]"#,
        r#""method":"mining.authorize","params":["carol","x"]"#,
        r#""method":"mining.authorize_admin","params":["x"]"#,
        r#""method":"mining.authorize_admin","params":["pw"]"#,
        r#""method":"mining.add_user","params":["dave","pw"]"#,
        r#""method":"mining.get_transactions","params":["x"]"#,
        r#""method":"mining.submit","params":["alice","1122334455662","00000000","6553f100","00000001"]"#,
        r#""method":"mining.submit","params":["alice","1122334455661","00000000","6553f100","00000002"]"#,
        r#""method":"mining.submit","params":["alice"]"#,
        r#""method":"mining.ping""#,
        r#""params":{}"#,
    ]);
    prop_oneof![
        20 => (id, rest).prop_map(|(id, rest)| format!("{{{id}{rest}}}")),
        1 => "[a-z\\[\\]{}\", ]{0,30}",
    ]
}

/// Cuts `text` at these places.
fn pieces<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|ends| &text[ends[0]..ends[1]])
        .collect()
}

fn table_with_carol() -> PoolHarness {
    PoolHarness::with_job(&Setup {
        slow_users: vec![("carol".into(), "pw".into())],
        admin_password: Some("pw".into()),
        ..Setup::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_with_an_id_is_answered_once_however_it_is_cut(
        lines in prop::collection::vec(any_line(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        held in any::<[bool; 2]>(),
        broken in any::<bool>(),
        templates in any::<[bool; 20]>(),
    ) {
        let mut harness = table_with_carol();
        let miner = harness.connect();
        if broken {
            harness.break_ledger();
        }
        [harness.ledger_held, harness.passwords_held] = held;
        for line in &lines {
            harness.await_reply(miner, line);
        }
        let text = lines.join("\n") + "\n";
        for (piece, is_new) in pieces(text.as_bytes(), &cuts).iter().zip(templates.iter().cycle()) {
            harness.send_bytes(miner, piece);
            if *is_new {
                harness.block();
            }
        }
        harness.release();
        prop_assert!(harness.is_open(miner) && !harness.is_paused(miner));
        prop_assert_eq!(harness.unanswered(miner), 0);
    }

    #[test]
    fn any_bytes_in_any_pieces_harm_nobody(
        noise in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            any_line().prop_map(|line| format!("{line}\n").into_bytes()),
            Just(b"\n".to_vec()),
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(vec![b'x'; 5000]),
        ], 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        held in any::<[bool; 2]>(),
    ) {
        let mut harness = table_with_carol();
        let alice = harness.miner("alice");
        let miner = harness.connect();
        harness.ignore_replies(miner);
        [harness.ledger_held, harness.passwords_held] = held;
        for piece in pieces(&noise.concat(), &cuts) {
            if harness.is_open(miner) {
                harness.send_bytes(miner, piece);
            }
        }
        harness.release();
        harness.advance(CLOSE_DELAY_MS + 250);
        let job = harness.job(alice);
        harness.lines(alice);
        harness.submit(alice, &job, Want::Share);
        prop_assert_eq!(harness.answers(alice), ["true"]);
    }
}
