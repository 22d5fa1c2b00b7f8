//! What a transcript cannot say: order within an event, many of a thing, and any input at all.
//! What must hold after every event is asserted by the harness.

mod harness;

use std::collections::HashSet;

use harness::{DIFFICULTY_TINY, Miner, Output, Setup, Table, Want, submit_line};
use hstratum_core::block::Reach;
use hstratum_core::event::{FoundBlock, Verdict};
use hstratum_core::limits::{CLOSE_DELAY_MS, PENDING_REPLIES_MAX, SCORE_MAX, TEMPLATES_MAX};
use proptest::prelude::*;

/// A table with a job and alice at it.
fn table() -> (Table, Miner) {
    let mut table = Table::with_job(&Setup::default());
    let miner = table.miner("alice");
    table.lines(miner);
    (table, miner)
}

/// The replies with id 9, which [`Table::submit`] sends: `true` or the text of the reject.
fn answers(table: &mut Table, miner: Miner) -> Vec<String> {
    let lines = table.lines(miner);
    let replies = lines.iter().filter(|line| line.starts_with("{\"id\":9,"));
    replies
        .map(|line| match line.split('"').nth(7) {
            Some(text) if !line.contains("\"result\":true") => text.to_owned(),
            _ => "true".to_owned(),
        })
        .collect()
}

#[test]
fn an_accepted_reply_leaves_when_its_own_share_is_durable_and_not_before() {
    let (mut table, alice) = table();
    let bob = table.miner("alice");
    let (job, other) = (table.job(alice), table.job(bob));
    table.ledger_held = true;
    table.submit(alice, &job, Want::Share);
    table.submit(bob, &other, Want::Share);
    table.submit(alice, &job, Want::Low);
    table.submit(alice, &job, Want::Share);
    table.submit(bob, &other, Want::Low);
    assert!(answers(&mut table, alice).is_empty() && answers(&mut table, bob).is_empty());
    table.durable(1);
    assert_eq!(answers(&mut table, alice), ["true", "high-hash"]);
    assert!(answers(&mut table, bob).is_empty());
    table.durable(3);
    assert_eq!(answers(&mut table, alice), ["true"]);
    assert_eq!(answers(&mut table, bob), ["true", "high-hash"]);
    table.submit(bob, &other, Want::Share);
    table.submit(bob, &other, Want::Share);
    table.durable(4);
    assert_eq!(answers(&mut table, bob), ["true"]);
}

#[test]
fn a_block_leaves_before_what_the_lines_ahead_of_it_say() {
    let (mut table, alice) = table();
    let job = table.job(alice);
    let lines = [Want::Low, Want::Share, Want::Block].map(|want| {
        let found = table.find(alice, &job, want, job.time);
        submit_line("9", "alice", &job.id, &found)
    });
    table.output.clear();
    table.send(alice, &lines.join("\n"));
    let first = &table.output[0];
    assert!(matches!(first, Output::Effect(None, text) if text.starts_with("block ")));
    assert_eq!(answers(&mut table, alice), ["high-hash", "true", "true"]);
}

#[test]
fn a_block_is_offered_once_for_a_thousand_submits() {
    let (mut table, alice) = table();
    let job = table.job(alice);
    let line = table.submit(alice, &job, Want::Block);
    for _ in 0..50 {
        table.send(alice, &line);
    }
    // A stale one is no duplicate, so nobody is blamed for it.
    table.tip();
    for _ in 0..1000 {
        table.send(alice, &line);
    }
    assert_eq!((table.solutions.len(), table.spooled.len()), (1, 1));
    assert_eq!(table.records.len(), 1);
    let answers = answers(&mut table, alice);
    assert_eq!(answers[0], "true");
    assert!(answers[1..51].iter().all(|text| text == "duplicate"));
    assert!(answers[51..].iter().all(|text| text == "stale-prevblk"));
}

#[test]
fn a_stale_block_goes_to_the_chain_without_credit() {
    let (mut table, alice) = table();
    let job = table.job(alice);
    table.tip();
    table.submit(alice, &job, Want::Block);
    assert_eq!(answers(&mut table, alice), ["stale-prevblk"]);
    assert_eq!(table.solutions[0].reach, Reach::Chain);
    assert!(table.records.is_empty());
    table.answer_block(Verdict::Accepted);
    assert_eq!(table.rounds.len(), 1);
}

#[test]
fn a_block_found_before_its_transactions_is_kept_though_its_miner_is_gone() {
    let mut table = Table::new(&Setup::default());
    table.chain.transactions = 7;
    table.template();
    let alice = table.miner("alice");
    let job = table.job(alice);
    table.submit(alice, &job, Want::Block);
    table.submit(alice, &job, Want::Block);
    table.close(alice);
    assert_eq!((table.solutions.len(), table.spooled.len()), (2, 0));
    table.transactions();
    let hashes = |table: &Table| -> Vec<_> { table.spooled.iter().map(|(s, _)| s.hash).collect() };
    let found: Vec<_> = table.solutions.iter().map(|s| s.hash).collect();
    assert_eq!(hashes(&table), found);
    assert!(table.spooled.iter().all(|(_, raw)| raw.count == 7));
    table.transactions();
    assert_eq!(hashes(&table), found);
}

#[test]
fn a_block_of_an_earlier_run_closes_its_round_when_the_node_takes_it() {
    let (mut table, alice) = table();
    let job = table.job(alice);
    table.submit(alice, &job, Want::Block);
    let (solution, transactions) = &table.spooled[0];
    let block = FoundBlock::parse(&solution.encode(transactions)).expect("a whole block");
    let (hash, height) = (block.hash, block.height);
    let mut later = Table::new(&Setup::default());
    later.spooled(block);
    later.answer(hash, Verdict::Accepted);
    assert_eq!(later.unspooled, [hash]);
    assert_eq!(later.rounds.len(), 1);
    assert_eq!(
        (later.rounds[0].hash, later.rounds[0].height),
        (hash, height)
    );
}

#[test]
fn a_job_keeps_the_difficulty_that_it_was_sent_under() {
    let mut table = Table::new(&Setup {
        difficulty: 1.0 / f64::from(1 << 26),
        ..Setup::default()
    });
    table.chain.bits = 0x207f_ffff;
    table.template();
    let alice = table.miner("alice");
    let easy = table.job(alice);
    table.chain.bits = 0x2000_ffff;
    table.template();
    let hard = table.job(alice);
    table.submit(alice, &easy, Want::Block);
    table.submit(alice, &hard, Want::Low);
    table.submit(alice, &hard, Want::Share);
    assert_eq!(answers(&mut table, alice), ["true", "high-hash", "true"]);
    let credits: Vec<f64> = table.records.iter().map(|c| c.difficulty.get()).collect();
    assert!(credits[0] < DIFFICULTY_TINY * 1.01);
    assert_eq!(credits[1..], [1.0 / f64::from(1 << 26)]);
}

#[test]
fn no_connection_begins_with_a_job_that_another_had() {
    let mut table = Table::with_job(&Setup::default());
    let (mut ids, mut roots) = (HashSet::new(), HashSet::new());
    for _ in 0..50 {
        let miner = table.miner("alice");
        let job = table.job(miner);
        assert!(ids.insert(job.id) && roots.insert(job.witness_root));
        table.close(miner);
    }
    let miner = table.miner("alice");
    table.template();
    let job = table.job(miner);
    assert!(ids.insert(job.id) && roots.insert(job.witness_root));
}

#[test]
fn jobs_of_the_last_ten_templates_are_known() {
    let (mut table, alice) = table();
    let own = table.job(alice);
    for _ in 1..TEMPLATES_MAX {
        table.template();
    }
    table.submit(alice, &own, Want::Share);
    assert_eq!(answers(&mut table, alice), ["true"]);
    table.template();
    table.submit(alice, &own, Want::Share);
    assert_eq!(answers(&mut table, alice), ["job not found"]);
    let shared = table.job(alice);
    for _ in 1..TEMPLATES_MAX {
        table.template();
    }
    table.submit(alice, &shared, Want::Share);
    table.template();
    table.submit(alice, &shared, Want::Share);
    assert_eq!(answers(&mut table, alice), ["true", "job not found"]);
}

#[test]
fn a_connection_that_talks_nonsense_is_dropped_after_a_while_and_no_other() {
    let (mut table, alice) = table();
    let mallory = table.connect();
    for _ in 0..SCORE_MAX / 10 {
        table.send(mallory, "nonsense");
    }
    assert_eq!(table.lines(mallory).len(), 100);
    table.ignore_replies(mallory);
    table.send(mallory, "more");
    table.advance(CLOSE_DELAY_MS - 250);
    assert!(table.is_open(mallory) && table.lines(mallory).is_empty());
    table.advance(250);
    assert!(!table.is_open(mallory) && table.is_open(alice));
    let job = table.job(alice);
    table.submit(alice, &job, Want::Share);
    assert_eq!(answers(&mut table, alice), ["true"]);
}

#[test]
fn low_shares_drop_nobody_unless_there_is_no_end_of_them() {
    let (mut table, alice) = table();
    let job = table.job(alice);
    for _ in 0..10 {
        for _ in 1..SCORE_MAX {
            table.submit(alice, &job, Want::Low);
        }
        table.advance(u64::from(SCORE_MAX) * 1000);
    }
    assert!(table.is_open(alice));
    for _ in 0..SCORE_MAX {
        table.submit(alice, &job, Want::Low);
    }
    table.advance(CLOSE_DELAY_MS);
    assert!(!table.is_open(alice));
}

#[test]
fn a_connection_with_too_many_waiting_replies_pauses_and_loses_nothing() {
    let mut table = Table::with_job(&Setup {
        slow_users: vec![("carol".into(), "pw".into())],
        ..Setup::default()
    });
    let alice = table.miner("alice");
    let job = table.job(alice);
    table.lines(alice);
    table.ledger_held = true;
    table.clerk_held = true;
    let mut lines = Vec::new();
    for number in 0..3000 {
        let found = table.find(alice, &job, Want::Share, job.time);
        lines.push(submit_line(&number.to_string(), "alice", &job.id, &found));
        if number % 100 == 50 {
            lines.push(r#"{"id":"nothing","method":"mining.nothing"}"#.to_owned());
        }
        if lines.len() == PENDING_REPLIES_MAX - 1 {
            let authorize = r#"{"id":"carol","method":"mining.authorize","params":["carol","pw"]}"#;
            lines.push(authorize.to_owned());
        }
    }
    for part in lines.chunks(500) {
        table.send(alice, &part.join("\n"));
    }
    // The password is checked first: its reply is the last one that fits.
    table.clerk_held = false;
    table.advance(250);
    assert!(table.is_paused(alice) && table.lines(alice).is_empty());
    assert!(table.records.len() <= PENDING_REPLIES_MAX);
    let mut durable = 0;
    while table.unanswered(alice) > 0 {
        durable += 7;
        table.durable(durable);
        assert!(durable < 10_000, "something is lost");
    }
    assert!(!table.is_paused(alice));
    assert_eq!(table.records.len(), 3000);
    assert_eq!(table.lines(alice).len(), lines.len());
}

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

/// A few thousand events of everything; what came of them, in order.
fn random_session(seed: u64) -> Vec<Output> {
    let mut dice = Dice(seed);
    let mut table = Table::new(&Setup {
        slow_users: vec![("carol".into(), "pw".into())],
        admin_password: Some("pw".into()),
        ..Setup::default()
    });
    let mut miners: Vec<Miner> = Vec::new();
    for step in 0..3000 {
        miners.retain(|miner| table.is_open(*miner));
        match dice.below(40) {
            0 | 1 if miners.len() < 20 => miners.push(table.connect()),
            2 => table.tip(),
            3 => table.block(),
            4 => {
                table.chain.transactions = [0, 1, 7][dice.below(3) as usize];
                table.template();
            }
            5 => table.no_template("no peers"),
            6 => table.transactions(),
            7 => table.ledger_held = true,
            8 => table.clerk_held = true,
            9 => table.release(),
            10 => table.advance(dice.below(8) * 500),
            11 if !table.solutions.is_empty() => {
                let at = dice.below(table.solutions.len() as u64) as usize;
                let verdict = [
                    Verdict::Accepted,
                    Verdict::Side,
                    Verdict::Unknown(String::new()),
                ][dice.below(3) as usize]
                    .clone();
                table.answer(table.solutions[at].hash, verdict);
            }
            12 if miners.len() > 10 => table.close(miners[dice.below(10) as usize]),
            _ if miners.is_empty() => miners.push(table.connect()),
            kind => {
                let miner = miners[dice.below(miners.len() as u64) as usize];
                random_line(&mut table, &mut dice, miner, kind, step);
            }
        }
    }
    table.release();
    for miner in miners.iter().filter(|miner| table.is_open(**miner)) {
        assert!(!table.is_paused(*miner));
        assert_eq!(table.unanswered(*miner), 0, "every request was answered");
    }
    table.output
}

fn random_line(table: &mut Table, dice: &mut Dice, miner: Miner, kind: u64, step: u32) {
    let line = match kind {
        13..16 => format!(r#"{{"id":{step},"method":"mining.subscribe","params":[]}}"#),
        16..19 => {
            let name = ["alice", "carol", "carol.x", "bob.rig"][dice.below(4) as usize];
            let password = ["pw", "x"][dice.below(2) as usize];
            let params = format!(r#"["{name}","{password}"]"#);
            format!(r#"{{"id":{step},"method":"mining.authorize","params":{params}}}"#)
        }
        19 => format!(r#"{{"id":{step},"method":"mining.authorize_admin","params":["pw"]}}"#),
        20 => {
            let name = dice.below(9);
            format!(r#"{{"id":{step},"method":"mining.add_user","params":["u{name}","pw"]}}"#)
        }
        21 => "nonsense".to_owned(),
        _ if table.job_count(miner) > 0 => {
            let wants = [Want::Share, Want::Share, Want::Low, Want::Block];
            let want = wants[dice.below(4) as usize];
            let back = dice.below(3).min(table.job_count(miner) as u64 - 1) as usize;
            let job = table.job_before(miner, back);
            let found = table.find(miner, &job, want, job.time);
            let line = submit_line(&step.to_string(), "alice", &job.id, &found);
            if dice.below(8) == 0 {
                format!("{line}\n{line}")
            } else {
                line
            }
        }
        _ => format!(r#"{{"id":{step},"method":"mining.nothing"}}"#),
    };
    table.send(miner, &line);
}

#[test]
fn the_same_events_give_the_same_actions() {
    for seed in 1..=8 {
        let first = random_session(seed);
        assert!(first.len() > 1000);
        assert!(first == random_session(seed), "seed {seed}");
    }
}

/// Lines with and without an id, good and bad; none that ends a connection.
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

/// Cuts `text` into pieces at any places.
fn pieces<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|ends| &text[ends[0]..ends[1]])
        .collect()
}

fn table_with_carol() -> Table {
    Table::with_job(&Setup {
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
        templates in any::<[bool; 20]>(),
    ) {
        let mut table = table_with_carol();
        let miner = table.connect();
        [table.ledger_held, table.clerk_held] = held;
        for line in &lines {
            table.await_reply(miner, line);
        }
        let text = lines.join("\n") + "\n";
        for (piece, is_new) in pieces(text.as_bytes(), &cuts).iter().zip(templates.iter().cycle()) {
            table.send_bytes(miner, piece);
            if *is_new {
                table.block();
            }
        }
        table.release();
        prop_assert!(table.is_open(miner) && !table.is_paused(miner));
        prop_assert_eq!(table.unanswered(miner), 0);
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
        let mut table = table_with_carol();
        let alice = table.miner("alice");
        let miner = table.connect();
        table.ignore_replies(miner);
        [table.ledger_held, table.clerk_held] = held;
        for piece in pieces(&noise.concat(), &cuts) {
            if table.is_open(miner) {
                table.send_bytes(miner, piece);
            }
        }
        table.release();
        table.advance(CLOSE_DELAY_MS + 250);
        let job = table.job(alice);
        table.lines(alice);
        table.submit(alice, &job, Want::Share);
        prop_assert_eq!(answers(&mut table, alice), ["true"]);
    }
}
