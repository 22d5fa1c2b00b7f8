//! Tests of the alarms: the reports that raise one and those that do not, on a clock given by the test.

use std::sync::Arc;

use hstratum_core::accounting::ledger::{ShareTotals, Tallied, Tally};
use hstratum_core::alarm::{
    Alarm, AlarmInput, AlarmKind, AlarmMonitor, BlockOutcome, Detail, Draining, LedgerInput,
    SharedLedgerInput,
};
use hstratum_core::units::{HASHES_PER_DIFFICULTY, Hash, Height, Now};

/// Seconds between two reports of submitted shares.
const TALLY_S: u64 = 10;
const TIP: Hash = Hash([1; 32]);

struct TestMonitor {
    watch: AlarmMonitor,
    now: Now,
    alarms: Vec<Alarm>,
}

impl TestMonitor {
    fn new(drop_percent: u8) -> Self {
        let now = Now {
            ms: 5_000,
            unix_s: 1_700_000_000,
        };
        Self {
            watch: AlarmMonitor::new(drop_percent, now),
            now,
            alarms: Vec::new(),
        }
    }

    /// A server that has a job.
    fn serving() -> Self {
        let mut monitor = Self::new(50);
        monitor.sign(AlarmInput::Template(TIP));
        monitor
    }

    fn sign(&mut self, sign: AlarmInput) {
        self.watch.handle(self.now, sign, &mut self.alarms);
    }

    /// Lets these seconds pass, in which `workers` send a share every `TALLY_S` seconds.
    fn mine(&mut self, seconds: u64, workers: &[&str]) {
        for second in 1..=seconds {
            self.now.ms += 1_000;
            self.now.unix_s += 1;
            if second % TALLY_S == 0 {
                let tallied = workers.iter().map(|name| share(name)).collect();
                self.sign(AlarmInput::Work(tallied));
            }
            self.sign(AlarmInput::Tick);
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.mine(seconds, &[]);
    }

    /// The kinds of the alarms since the last call.
    fn kinds(&mut self) -> Vec<AlarmKind> {
        self.alarms.drain(..).map(|alarm| alarm.kind).collect()
    }
}

fn share(name: &str) -> Tallied {
    let (account, worker) = name.split_once('.').unwrap_or((name, ""));
    Tallied {
        account: account.into(),
        worker: worker.into(),
        tally: Tally {
            accepted: ShareTotals {
                count: 1,
                difficulty: 4.0,
            },
            ..Tally::default()
        },
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("farm.{n:05}")).collect()
}

#[test]
fn node_that_is_behind_is_told_of_once_and_when_it_has_caught_up() {
    let mut monitor = TestMonitor::new(50);
    for height in [None, Some(7), Some(9), None, None] {
        monitor.sign(AlarmInput::Behind(height.map(Height)));
    }
    assert_eq!(
        monitor.kinds(),
        [AlarmKind::NodeBehind, AlarmKind::NodeCaughtUp]
    );
}

#[test]
fn block_is_told_once_for_each_thing_that_becomes_of_it() {
    let mut monitor = TestMonitor::serving();
    let (hash, height) = (Hash([7; 32]), Height(100));
    let found = |account: Option<&str>| AlarmInput::Found(hash, height, account.map(Arc::from));
    monitor.sign(found(Some("alice")));
    assert_eq!(
        monitor.alarms[0].text,
        format!("Block 100 is found, by alice ({hash})")
    );
    // Offered again by a pool that was started anew.
    monitor.sign(found(Some("alice")));
    for fate in [
        BlockOutcome::Accepted,
        BlockOutcome::Accepted,
        BlockOutcome::Orphaned,
        BlockOutcome::Accepted,
        BlockOutcome::Confirmed,
    ] {
        monitor.sign(AlarmInput::Block(hash, None, fate));
    }
    let expected = Detail::Block {
        hash,
        height: Some(height),
        account: Some("alice".into()),
        reason: None,
    };
    assert_eq!(monitor.alarms.last().expect("an alarm").detail, expected);
    assert_eq!(
        monitor.kinds(),
        [
            AlarmKind::BlockFound,
            AlarmKind::BlockAccepted,
            AlarmKind::BlockOrphaned,
            AlarmKind::BlockAccepted,
            AlarmKind::BlockConfirmed,
        ]
    );
}

#[test]
fn refused_block_says_why_and_one_of_an_earlier_run_is_not_found_again() {
    let mut monitor = TestMonitor::serving();
    let hash = Hash([8; 32]);
    monitor.sign(AlarmInput::Found(hash, Height(9), None));
    let why = BlockOutcome::Refused("bad-cb-amount".to_owned());
    monitor.sign(AlarmInput::Block(hash, None, why));
    assert!(monitor.alarms[0].text.contains("bad-cb-amount"));
    assert_eq!(monitor.kinds(), [AlarmKind::BlockRefused]);
}

#[test]
fn block_without_a_verdict_is_told_once_and_then_what_became_of_it() {
    let mut monitor = TestMonitor::serving();
    let hash = Hash([8; 32]);
    monitor.sign(AlarmInput::Found(hash, Height(9), None));
    for outcome in [
        BlockOutcome::Unjudged("no lock".to_owned()),
        BlockOutcome::Unjudged("no lock".to_owned()),
        BlockOutcome::Accepted,
    ] {
        monitor.sign(AlarmInput::Block(hash, None, outcome));
    }
    assert!(monitor.alarms[0].text.contains("no lock"));
    assert_eq!(
        monitor.kinds(),
        [AlarmKind::BlockUnjudged, AlarmKind::BlockAccepted]
    );
}

#[test]
fn missing_job_is_told_after_a_while_with_its_reason_and_its_end() {
    let mut monitor = TestMonitor::new(50);
    monitor.pass(20);
    assert_eq!(monitor.kinds(), [AlarmKind::NoJob]);
    monitor.sign(AlarmInput::NoTemplate("node is not synced".to_owned()));
    monitor.pass(600);
    assert_eq!(monitor.kinds(), []);
    monitor.sign(AlarmInput::Template(TIP));
    assert_eq!(monitor.kinds(), [AlarmKind::JobAgain]);

    monitor.sign(AlarmInput::NoTemplate("no peers".to_owned()));
    monitor.pass(10);
    monitor.sign(AlarmInput::Template(TIP));
    monitor.pass(60);
    assert_eq!(monitor.kinds(), [], "it was short");
    monitor.sign(AlarmInput::NoTemplate("no peers".to_owned()));
    monitor.pass(16);
    assert_eq!(monitor.kinds(), [AlarmKind::NoPeers]);
}

#[test]
fn tip_without_a_template_is_no_job() {
    let mut monitor = TestMonitor::serving();
    monitor.sign(AlarmInput::Tip(TIP));
    monitor.pass(60);
    assert_eq!(monitor.kinds(), []);
    monitor.sign(AlarmInput::Tip(Hash([2; 32])));
    monitor.pass(16);
    assert_eq!(monitor.kinds(), [AlarmKind::NoJob]);
    // The chain is back on the parent of the job.
    monitor.sign(AlarmInput::Tip(TIP));
    assert_eq!(monitor.kinds(), [AlarmKind::JobAgain]);
}

#[test]
fn ledger_is_told_when_it_stalls_for_long_fails_and_heals() {
    let mut monitor = TestMonitor::serving();
    monitor.sign(AlarmInput::Ledger(LedgerInput::Stalled));
    monitor.pass(10);
    monitor.sign(AlarmInput::Ledger(LedgerInput::Fine));
    monitor.pass(60);
    assert_eq!(monitor.kinds(), [], "a payout writes");
    monitor.sign(AlarmInput::Ledger(LedgerInput::Stalled));
    monitor.pass(16);
    assert_eq!(monitor.kinds(), [AlarmKind::LedgerStalled]);
    monitor.sign(AlarmInput::Ledger(LedgerInput::Failing("full".to_owned())));
    monitor.sign(AlarmInput::Ledger(LedgerInput::Failing("full".to_owned())));
    monitor.sign(AlarmInput::Ledger(LedgerInput::Stalled));
    assert_eq!(monitor.kinds(), [AlarmKind::LedgerFailing]);
    monitor.sign(AlarmInput::Ledger(LedgerInput::Fine));
    monitor.sign(AlarmInput::Ledger(LedgerInput::Fine));
    assert_eq!(monitor.kinds(), [AlarmKind::LedgerHealed]);
}

#[test]
fn a_node_that_does_not_answer_is_told_once_and_when_it_does() {
    let mut monitor = TestMonitor::serving();
    let overdue = || AlarmInput::Overdue(Some("createBlock takes longer than 15 s".to_owned()));
    monitor.sign(AlarmInput::Overdue(None));
    assert_eq!(monitor.kinds(), []);
    monitor.sign(overdue());
    monitor.sign(overdue());
    assert!(
        monitor.alarms[0].text.contains("createBlock"),
        "{:?}",
        monitor.alarms
    );
    assert_eq!(monitor.kinds(), [AlarmKind::NodeOverdue]);
    monitor.sign(AlarmInput::Overdue(None));
    monitor.sign(AlarmInput::Overdue(None));
    assert_eq!(monitor.kinds(), [AlarmKind::NodeBack]);
}

#[test]
fn a_template_that_would_be_refused_is_told_once_and_when_they_are_valid() {
    let mut monitor = TestMonitor::serving();
    let invalid = |reason: &str| AlarmInput::TemplateInvalid(Some(reason.to_owned()));
    monitor.sign(AlarmInput::TemplateInvalid(None));
    assert_eq!(monitor.kinds(), []);
    monitor.sign(invalid("bad-cb-amount"));
    monitor.sign(invalid("bad-tree-root"));
    assert!(
        monitor.alarms[0].text.contains("bad-cb-amount"),
        "{:?}",
        monitor.alarms
    );
    assert_eq!(monitor.kinds(), [AlarmKind::TemplateInvalid]);
    monitor.sign(AlarmInput::TemplateInvalid(None));
    monitor.sign(AlarmInput::TemplateInvalid(None));
    assert_eq!(monitor.kinds(), [AlarmKind::TemplateValid]);
}

#[test]
fn a_drill_that_fails_is_told_once_and_when_one_works() {
    let mut monitor = TestMonitor::serving();
    let broken = || AlarmInput::BlockPath(Some("the node built another".to_owned()));
    monitor.sign(AlarmInput::BlockPath(None));
    assert_eq!(monitor.kinds(), []);
    monitor.sign(broken());
    monitor.sign(broken());
    assert_eq!(monitor.kinds(), [AlarmKind::BlockPathBroken]);
    monitor.sign(AlarmInput::BlockPath(None));
    monitor.sign(AlarmInput::BlockPath(None));
    assert_eq!(monitor.kinds(), [AlarmKind::BlockPathWorks]);
}

#[test]
fn a_log_that_cannot_begin_anew_is_told_once_and_when_it_has() {
    let mut monitor = TestMonitor::serving();
    monitor.sign(AlarmInput::Log(255 << 20));
    assert_eq!(monitor.kinds(), []);
    monitor.sign(AlarmInput::Log(256 << 20));
    monitor.sign(AlarmInput::Log(900 << 20));
    monitor.sign(AlarmInput::Log(200 << 20));
    assert_eq!(monitor.kinds(), [AlarmKind::LedgerLogLarge]);
    monitor.sign(AlarmInput::Log(1 << 20));
    assert_eq!(monitor.kinds(), [AlarmKind::LedgerLogSmall]);
}

#[test]
fn lost_hashrate_is_told_once_and_when_it_is_back() {
    let mut monitor = TestMonitor::serving();
    let all = ["a", "b", "c", "d"];
    monitor.mine(40 * 60, &all);
    assert_eq!(monitor.kinds(), []);
    monitor.mine(30 * 60, &all[..1]);
    let alarms = std::mem::take(&mut monitor.alarms);
    let drop = alarms
        .iter()
        .find(|alarm| alarm.kind == AlarmKind::HashrateDrop);
    let Some(Detail::Hashrate { now, before }) = drop.map(|alarm| &alarm.detail) else {
        panic!("no drop: {alarms:?}");
    };
    let steady = 4.0 * 4.0 * HASHES_PER_DIFFICULTY / TALLY_S as f64;
    assert!((before / steady - 1.0).abs() < 0.05, "{before} {steady}");
    assert!(now / steady < 0.5);
    let drops = alarms
        .iter()
        .filter(|alarm| alarm.kind == AlarmKind::HashrateDrop);
    assert_eq!(drops.count(), 1);
    monitor.mine(20 * 60, &all);
    assert!(monitor.kinds().contains(&AlarmKind::HashrateBack));
    monitor.mine(3 * 60 * 60, &all);
    assert!(!monitor.kinds().contains(&AlarmKind::HashrateDrop));
}

#[test]
fn hashrate_that_is_lost_within_ten_minutes_is_told_within_them() {
    let mut monitor = TestMonitor::serving();
    monitor.mine(40 * 60, &["a", "b"]);
    monitor.mine(10 * 60, &[]);
    assert!(monitor.kinds().contains(&AlarmKind::HashrateDrop));
}

#[test]
fn smaller_loss_chance_and_an_option_of_zero_raise_no_alarm() {
    let mut monitor = TestMonitor::serving();
    monitor.mine(40 * 60, &["a", "b", "c"]);
    monitor.mine(60 * 60, &["a", "b"]);
    assert!(!monitor.kinds().contains(&AlarmKind::HashrateDrop));

    let mut off = TestMonitor::new(0);
    off.sign(AlarmInput::Template(TIP));
    off.mine(40 * 60, &["a", "b"]);
    off.mine(60 * 60, &[]);
    assert!(!off.kinds().contains(&AlarmKind::HashrateDrop));

    // One very hard share, such as a block of a miner that sends nothing else, is no evidence.
    let mut hard = TestMonitor::serving();
    hard.mine(20 * 60, &["a", "b", "c"]);
    let mut block = share("solo");
    block.tally.accepted.difficulty = 1e9;
    hard.sign(AlarmInput::Work(vec![block]));
    hard.mine(60 * 60, &["a", "b", "c"]);
    assert!(!hard.kinds().contains(&AlarmKind::HashrateDrop));

    // A share in five minutes is too few to judge.
    let mut few = TestMonitor::serving();
    for minute in 0..240 {
        let workers: &[&str] = if minute % 5 == 0 { &["slow"] } else { &[] };
        few.mine(10, workers);
        few.mine(50, &[]);
    }
    few.mine(15 * 60, &[]);
    assert_eq!(few.kinds(), []);
}

#[test]
fn worker_that_falls_silent_is_named_and_told_when_it_is_back() {
    let mut monitor = TestMonitor::serving();
    monitor.mine(30 * 60, &["alice.rig", "bob", "carol"]);
    monitor.mine(20 * 60, &["bob", "carol"]);
    assert_eq!(monitor.alarms.len(), 1, "{:?}", monitor.alarms);
    assert_eq!(
        monitor.alarms[0].text,
        "Silent for ten minutes: 1 worker: alice.rig"
    );
    assert_eq!(monitor.kinds(), [AlarmKind::WorkersGone]);
    monitor.mine(10 * 60, &["alice.rig", "bob", "carol"]);
    assert_eq!(monitor.kinds(), [AlarmKind::WorkersBack]);
}

#[test]
fn worker_that_was_there_for_a_moment_is_not_missed() {
    let mut monitor = TestMonitor::serving();
    monitor.mine(5 * 60, &["alice", "visitor"]);
    monitor.mine(60 * 60, &["alice"]);
    assert_eq!(monitor.kinds(), []);
}

#[test]
fn cut_that_silences_ten_thousand_is_one_alarm() {
    let mut monitor = TestMonitor::serving();
    let farm = names(10_000);
    let farm: Vec<&str> = farm.iter().map(String::as_str).collect();
    monitor.mine(30 * 60, &farm);
    // The last shares of some workers come a little later.
    monitor.mine(40, &farm[5_000..]);
    monitor.mine(60 * 60, &[]);
    let gone = monitor
        .alarms
        .iter()
        .filter(|a| a.kind == AlarmKind::WorkersGone);
    let gone: Vec<_> = gone.collect();
    let [Alarm { text, detail, .. }] = gone.as_slice() else {
        panic!("{gone:?}");
    };
    assert!(text.len() < 300, "{text}");
    let Detail::Workers { count, names } = detail else {
        panic!("{detail:?}");
    };
    assert_eq!((*count, names.len()), (10_000, 10));
}

#[test]
fn outage_of_the_job_is_one_alarm_and_who_does_not_come_back_another() {
    let mut monitor = TestMonitor::serving();
    let all = ["a", "b", "c", "d"];
    monitor.mine(60 * 60, &all);
    monitor.sign(AlarmInput::NoTemplate("no peers".to_owned()));
    monitor.pass(3 * 60 * 60);
    assert_eq!(monitor.kinds(), [AlarmKind::NoPeers]);
    monitor.sign(AlarmInput::Template(TIP));
    monitor.mine(30 * 60, &all[..1]);
    let kinds = monitor.kinds();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    for kind in [
        AlarmKind::JobAgain,
        AlarmKind::HashrateDrop,
        AlarmKind::WorkersGone,
    ] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
fn drain_that_was_ordered_raises_no_alarm() {
    let mut monitor = TestMonitor::serving();
    monitor.mine(60 * 60, &["a", "b"]);
    monitor.sign(AlarmInput::Drain(Draining::Yes));
    monitor.pass(60 * 60);
    monitor.sign(AlarmInput::Drain(Draining::No));
    monitor.mine(60 * 60, &["a", "b"]);
    assert_eq!(monitor.kinds(), []);
}

#[test]
fn shared_ledger_that_stays_away_is_told_once_and_its_return_too() {
    let mut monitor = TestMonitor::serving();
    let down = |reason: &str| AlarmInput::Link(SharedLedgerInput::Down(reason.to_owned()));
    monitor.sign(AlarmInput::Link(SharedLedgerInput::Up));
    monitor.sign(down("refused"));
    monitor.pass(59);
    monitor.sign(AlarmInput::Link(SharedLedgerInput::Up));
    monitor.pass(60);
    assert_eq!(monitor.kinds(), []);
    monitor.sign(down("refused"));
    monitor.pass(59);
    monitor.sign(down("no room"));
    assert_eq!(monitor.kinds(), []);
    monitor.pass(1);
    assert!(monitor.alarms[0].text.contains("no room"));
    monitor.sign(down("refused"));
    monitor.pass(600);
    assert_eq!(monitor.kinds(), [AlarmKind::SharedLedgerAway]);
    monitor.sign(AlarmInput::Link(SharedLedgerInput::Up));
    monitor.sign(AlarmInput::Link(SharedLedgerInput::Up));
    assert_eq!(monitor.kinds(), [AlarmKind::SharedLedgerBack]);
}

#[test]
fn what_is_left_undone_is_told_once_for_each_duty() {
    let mut monitor = TestMonitor::serving();
    monitor.sign(AlarmInput::Duties(vec![]));
    monitor.sign(AlarmInput::Duties(vec!["blocks"]));
    monitor.sign(AlarmInput::Duties(vec!["blocks", "users"]));
    monitor.sign(AlarmInput::Duties(vec!["blocks", "users"]));
    assert!(monitor.alarms[1].text.contains("users"));
    assert_eq!(monitor.kinds(), [AlarmKind::DutyLate, AlarmKind::DutyLate]);
    monitor.sign(AlarmInput::Duties(vec!["users"]));
    assert_eq!(monitor.kinds(), [AlarmKind::DutyDone]);
    for is_twin in [false, true, true, false, true] {
        monitor.sign(AlarmInput::Twin(is_twin));
    }
    assert_eq!(
        monitor.kinds(),
        [AlarmKind::ServerIdTwice, AlarmKind::ServerIdTwice]
    );
}

#[test]
fn failure_and_stop_are_told() {
    let mut monitor = TestMonitor::serving();
    monitor.sign(AlarmInput::PoolFailed);
    monitor.sign(AlarmInput::Stop);
    assert_eq!(
        monitor.kinds(),
        [AlarmKind::PoolFailed, AlarmKind::Stopping]
    );
}

#[test]
fn every_kind_has_a_name_of_its_own_in_the_manual() {
    let manual = include_str!("../../../../docs/operating.md");
    for kind in AlarmKind::ALL {
        assert!(manual.contains(&format!("`{}`", kind.name())), "{kind:?}");
    }
}
