//! Model of `payout: split`: jobs whose coinbase pays the accounts of the window. No such option exists yet; this is
//! the proof of the rules in `docs/decisions/0019-a-split-is-frozen-into-the-job.md`, before there is code.
//!
//! Real are the division of a reward and the states of a block. All else is a model: `pool` computes splits, makes
//! jobs and forgets them in crashes, `ledger` is rows and transactions, `chain` is a tree of blocks with the
//! operator's coins, `world` takes random steps by seed, `end` brings a run to rest, and `checks` compares the
//! ledger with chain and jobs. How far a node's word is trusted is not in it, nor the way of a single share.
//!
//! After every step:
//!
//! - outputs and the operator's output are the reward; parts, fee and remainder are the reward;
//! - a block is in the ledger once, with the lines of its job;
//! - the operator's outputs of settled blocks, less payments and network fees, are balances and the pool's own entries;
//! - promises are those of blocks that are neither settled nor lost for good, and after a look each block is
//!   decided as the chain has it;
//! - an account owes only for a known [`Cause`], and without a second server or a reorganisation deeper than a
//!   coinbase must be nobody owes at all.
//!
//! In the end, when all is decided and paid, each account has received its parts of the main chain's blocks, to
//! the base unit, and nobody owes.
//!
//! A single change of the rules breaks one of these; each is tried in [`broken_rules_are_found`]:
//!
//! | changed rule ([`BrokenRule`]) | fails |
//! |---|---|
//! | the first job on a tip has balances too | an account owes without a cause |
//! | a server computes a split before its found blocks are recorded | the same |
//! | a balance is promised again while a block has it | the same |
//! | a payment takes a balance that a block has | the same |
//! | a payment takes a balance that a job has | the same |
//! | a block found by a process that died before the spool's write is not looked for | on the chain and in no ledger |
//! | a block that is recorded again is written again | in the ledger twice |
//! | a block is divided anew when it is settled | other lines than its job |
//! | a promise counts as paid as soon as its block is recorded | the operator's cash |
//! | an orphan keeps its promises | promises that are not undecided |
//! | a block that was lost for good does not come back | not decided as the chain has it |
//! | a settled block that is lost for good stays settled | the same |
//! | a debt is not withheld | somebody owes for ever |
//!
//! `SPLIT_MODEL_SEEDS=4000 cargo test -p hstratum-sim --test it split_model` takes more seeds, of 50 blocks each.

mod chain;
mod checks;
mod end;
mod ledger;
mod pool;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use chain::MATURITY;
use checks::Cause;
use world::{CrashPoint, Report};

/// Number of an account.
type Account = u8;

const ACCOUNTS: Account = 10;

/// Seeds of a run of the tests.
const SEEDS: u64 = 200;

/// Blocks that are found in one seed.
const BLOCKS: u64 = 50;

/// Depth of the deepest reorganisation that decides nothing: what is settled stays, what is lost for good too.
const SHALLOW: u32 = MATURITY - 1;

/// A depth that takes settled blocks off the main chain, and brings lost ones back.
const DEEP: u32 = MATURITY + 3;

/// A single change of the rules, which must break an invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokenRule {
    FirstJobWithBalances,
    SplitBeforeRecord,
    PromisedAgain,
    PaidThoughPromised,
    PaidThoughOffered,
    ForgottenBlocks,
    RecordedTwice,
    DividedAnew,
    PaidAtFind,
    PromiseKeptByOrphan,
    ReturnIgnored,
    NeverReversed,
    DebtNotWithheld,
}

/// A run of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    seed: u64,
    servers: usize,
    /// Depth of the deepest reorganisation.
    reorg_max: u32,
    broken: Option<BrokenRule>,
}

impl Run {
    fn of(seed: u64, (servers, reorg_max): (usize, u32)) -> Self {
        Self {
            seed,
            servers,
            reorg_max,
            broken: None,
        }
    }

    /// Causes for which accounts may owe.
    fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        if self.servers > 1 {
            causes.push(Cause::TwoBlocks);
        }
        if self.reorg_max > SHALLOW {
            causes.extend([
                Cause::BlockReturned,
                Cause::PaymentReturned,
                Cause::Reversed,
            ]);
        }
        causes
    }
}

/// Runs the model, and shows the last steps if an invariant fails.
fn check(run: &Run) -> Report {
    let report = world::run(run).unwrap_or_else(|failure| panic!("{run:?}: {failure:#?}"));
    let allowed = run.causes();
    let is_allowed = |cause: &Cause| allowed.contains(cause);
    assert!(report.owing.keys().all(is_allowed), "{run:?}: {report:?}");
    report
}

#[test]
fn whatever_happens_each_account_gets_its_parts_of_the_blocks_on_the_chain() {
    let seeds = std::env::var("SPLIT_MODEL_SEEDS");
    let seeds = seeds.map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    let mut crashes: BTreeSet<CrashPoint> = BTreeSet::new();
    let mut owing: BTreeMap<Cause, u64> = BTreeMap::new();
    let (mut found, mut steps, mut on_main, mut with_balances) = (0, 0, 0, 0);
    for seed in 0..seeds {
        let worlds = [(1, SHALLOW), (2, SHALLOW), (1, DEEP), (2, DEEP)];
        let report = check(&Run::of(seed, worlds[(seed % 4) as usize]));
        crashes.extend(report.crashes);
        for (cause, accounts) in report.owing {
            *owing.entry(cause).or_default() += accounts;
        }
        found += report.found;
        steps += report.steps;
        on_main += report.on_main;
        with_balances += report.with_balances;
    }
    println!(
        "{seeds} seeds, {steps} steps, {found} blocks found, {on_main} on the main chain in the end, {with_balances} \
         of them with balances; accounts that owed: {owing:?}"
    );
    assert!(with_balances > seeds / 2, "balances ride along");
    if seeds >= SEEDS {
        assert_eq!(crashes.len(), CrashPoint::COUNT, "{crashes:?}");
        let met = [Cause::TwoBlocks, Cause::Reversed];
        assert!(
            met.iter().all(|cause| owing.contains_key(cause)),
            "{owing:?}"
        );
    }
}

#[test]
fn seed_repeats_itself() {
    let run = Run::of(3, (2, DEEP));
    assert_eq!(check(&run), check(&run));
}

/// The seeds are the first that find each rule.
#[test]
fn broken_rules_are_found() {
    let (one, two, deep) = ((1, SHALLOW), (2, SHALLOW), (2, DEEP));
    let owes = "without a cause";
    for (rule, seed, world, says) in [
        (BrokenRule::FirstJobWithBalances, 5, one, owes),
        (BrokenRule::SplitBeforeRecord, 3, one, owes),
        (BrokenRule::PromisedAgain, 2, one, owes),
        (BrokenRule::PaidThoughPromised, 54, one, owes),
        (BrokenRule::PaidThoughOffered, 6, one, owes),
        (BrokenRule::ForgottenBlocks, 0, one, "in no ledger"),
        (BrokenRule::RecordedTwice, 0, two, "is in the ledger twice"),
        (
            BrokenRule::DividedAnew,
            0,
            one,
            "has other lines than its job",
        ),
        (BrokenRule::PaidAtFind, 0, one, "the operator's cash is"),
        (BrokenRule::PromiseKeptByOrphan, 0, one, "are undecided"),
        (BrokenRule::ReturnIgnored, 0, deep, "is not decided"),
        (BrokenRule::NeverReversed, 0, deep, "is not decided"),
        (
            BrokenRule::DebtNotWithheld,
            55,
            two,
            "somebody owes for ever",
        ),
    ] {
        let whole = Run::of(seed, world);
        let broken = Run {
            broken: Some(rule),
            ..whole
        };
        let failure = world::run(&broken).expect_err("it is found");
        assert!(failure.what.contains(says), "{rule:?}: {}", failure.what);
        check(&whole);
    }
}
