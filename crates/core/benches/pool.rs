//! Benchmarks of the pool: lines, jobs and shares, without sockets and without a disk.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use hstratum_core::accounting::reward_split::{Decimal, FeePpm, Weight, WorkShare};
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::coinbase_split::{CoinbaseSplit, SplitAccount, SplitPayee};
use hstratum_core::chain::template::Template;
use hstratum_core::event::{Action, Actions, Arrival, ArrivalKind, Event};
use hstratum_core::job::Jobs;
use hstratum_core::limits::SHARES_REMEMBERED_MAX;
use hstratum_core::pool::Pool;
use hstratum_core::units::{ConnId, Difficulty, Now, Seq};
use hstratum_core::wire::message::Request;
use hstratum_harness::lines;
use hstratum_harness::setup::Setup;
use hstratum_harness::test_chain::TestChain;

const UNIX_S: u64 = 1_700_000_000;
const NOW: Now = Now {
    ms: 1_000,
    unix_s: UNIX_S,
};
/// No hash is a block.
const BITS_HARD: u32 = 0x1a00_ffff;
/// Every hash is a share.
const DIFFICULTY: f64 = 1e-11;

/// A split over so many accounts of various work, of which the 1,000 with the most are paid.
fn split_of(accounts: usize, template: &Template) -> Arc<CoinbaseSplit> {
    let work = |at: usize| {
        let difficulty = Difficulty::new(1.0 + (at * 7_919 % 1_000) as f64 / 7.0);
        Weight::of(difficulty.expect("above zero"), 1)
    };
    let weights: Vec<Weight> = (0..accounts).map(work).collect();
    let total: Weight = weights.iter().sum();
    let named = weights.iter().enumerate().map(|(at, weight)| SplitAccount {
        name: format!("account{at:06}").into(),
        share: WorkShare::new(weight, &total),
    });
    let payee = |at: usize| SplitPayee {
        at,
        address: Address::new(0, vec![(at % 251 + 1) as u8; 20]).expect("a hash"),
        spare: 1_000,
        debt: 0,
    };
    Arc::new(CoinbaseSplit {
        tip: template.prev_block,
        height: template.height,
        until: None,
        terms: PayoutTerms {
            scheme: Scheme::Pplns {
                window: Decimal::parse_positive("2").expect("a number"),
            },
            fee: FeePpm::new(10_000).expect("a percentage"),
            threshold: 0,
            threshold_min: 0,
        },
        from_height: 0,
        shares: accounts as u64,
        knows_balances: true,
        output_min: 1,
        outputs_max: 1_000,
        accounts: named.collect(),
        payees: (0..accounts).step_by(accounts / 1_000).map(payee).collect(),
    })
}

/// What a job costs more whose coinbase pays a thousand accounts.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn pay_split(bencher: Bencher<'_, '_>, accounts: usize) {
    let mut template = chain().template(UNIX_S);
    let split = split_of(accounts, &template);
    bencher.bench_local(|| {
        template.pay(black_box(&split));
        black_box(template.merkle_root)
    });
}

/// Counts allocations.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn chain() -> TestChain {
    let mut chain = TestChain::default();
    chain.bits = BITS_HARD;
    chain
}

#[divan::bench]
fn parse_submit(bencher: Bencher<'_, '_>) {
    let line = r#"{"id":10000000,"method":"mining.submit","params":["alice.w1","0000112233445566","00000000","65000000","0000002a"]}"#;
    bencher.bench_local(|| {
        let request = Request::parse(black_box(line)).expect("a request");
        black_box(request.method());
        black_box(request.submit().is_ok())
    });
}

#[divan::bench]
fn encode_notify(bencher: Bencher<'_, '_>) {
    let mut jobs = Jobs::new(Setup::default().config().boot, SHARES_REMEMBERED_MAX);
    jobs.push(chain().template(UNIX_S));
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        let job = jobs.newest().expect("a job");
        jobs.write_notify(&mut out, job, None, UNIX_S);
        black_box(out.len())
    });
}

fn arrival(miner: u32, payout: Payout) -> Arrival {
    Arrival {
        address: IpAddr::V4(Ipv4Addr::from(0x7f01_0001 + miner)),
        kind: ArrivalKind::Miner,
        difficulty: Difficulty::new(DIFFICULTY).expect("above zero"),
        payout,
    }
}

/// A pool with `miners` miners that all have a job; on a solo listener each has an address of its own.
fn pool_with(miners: u32, payout: Payout) -> (Pool, TestChain, Actions, String) {
    let mut pool = Pool::new(Setup::default().config(), [], Seq(0), NOW);
    let (mut chain, mut out) = (chain(), Actions::default());
    pool.handle(NOW, Event::Tip(chain.grow()), &mut out);
    let template = Box::new(chain.template(UNIX_S));
    pool.handle(NOW, Event::Template(template), &mut out);
    out.drain(|_, _| {});
    let mut job = String::new();
    for miner in 0..miners {
        let conn = ConnId(1 << 32 | u64::from(miner));
        let arrival = arrival(miner, payout);
        let account = match payout {
            Payout::Operator | Payout::Split => "alice".to_owned(),
            Payout::Solo => address(miner),
        };
        pool.handle(NOW, Event::Connected(conn, arrival), &mut out);
        let login = lines::login(&format!("{account}.w{miner}"));
        pool.handle(NOW, Event::Received(conn, login.as_bytes()), &mut out);
        out.drain(|_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some(id) = lines::job_id(&text) {
                job = id.to_owned();
            }
        });
    }
    assert!(!job.is_empty(), "the miners have work");
    (pool, chain, out, job)
}

fn address(number: u32) -> String {
    let hash = [number.to_be_bytes(), [1; 4]].concat().repeat(4);
    let address = Address::new(0, hash).expect("32 bytes are a hash of version 0");
    address.encode(Network::Regtest)
}

/// From the bytes of a submit to its reply; the ledger takes no time.
#[divan::bench]
fn share_to_reply(bencher: Bencher<'_, '_>) {
    let (mut pool, _, mut out, job) = pool_with(1, Payout::Operator);
    let conn = ConnId(1 << 32);
    let (mut nonce, mut line) = (0_u32, Vec::new());
    bencher.bench_local(|| {
        nonce += 1;
        lines::write_submit(&mut line, "alice.w0", &job, UNIX_S, nonce);
        let mut recorded = None;
        pool.handle(NOW, Event::Received(conn, &line), &mut out);
        out.drain(|action, _| {
            if let Action::Record(credit) = action {
                recorded = Some(credit.seq);
            }
        });
        let mut sent = 0;
        pool.handle(NOW, Event::Durable(recorded.expect("a share")), &mut out);
        out.drain(|_, bytes| sent += bytes.len());
        assert!(sent > 0, "the reply has left");
    });
}

/// A miner that comes, logs in, has its first job and goes; no password is checked.
#[divan::bench]
fn login(bencher: Bencher<'_, '_>) {
    let (mut pool, _, mut out, _) = pool_with(1, Payout::Operator);
    let (mut miner, login) = (1_u32, lines::login("alice.w1"));
    bencher.bench_local(|| {
        miner += 1;
        let conn = ConnId(1 << 32 | u64::from(miner));
        let event = Event::Connected(conn, arrival(1, Payout::Operator));
        pool.handle(NOW, event, &mut out);
        pool.handle(NOW, Event::Received(conn, login.as_bytes()), &mut out);
        let mut jobs = 0;
        out.drain(|_, bytes| jobs += u32::from(bytes.ends_with(b"]}\n")));
        pool.handle(NOW, Event::Closed(conn), &mut out);
        out.drain(|_, _| {});
        assert!(jobs > 0, "it has a job");
    });
}

/// A new tip with its job for all miners, without sockets.
#[divan::bench(args = [1, 1_000, 10_000], sample_count = 20)]
fn new_job(bencher: Bencher<'_, '_>, miners: u32) {
    new_job_for(bencher, miners, Payout::Operator);
}

/// The same on a solo listener, where each miner has roots of its own.
#[divan::bench(args = [1, 1_000, 10_000], sample_count = 20)]
fn new_solo_job(bencher: Bencher<'_, '_>, miners: u32) {
    new_job_for(bencher, miners, Payout::Solo);
}

fn new_job_for(bencher: Bencher<'_, '_>, miners: u32, payout: Payout) {
    let (mut pool, mut chain, mut out, _) = pool_with(miners, payout);
    bencher
        .with_inputs(|| {
            let tip = chain.grow();
            (tip, Box::new(chain.template(UNIX_S)))
        })
        .bench_local_values(|(tip, template)| {
            pool.handle(NOW, Event::Tip(tip), &mut out);
            pool.handle(NOW, Event::Template(template), &mut out);
            let mut told = 0;
            loop {
                out.drain(|action, _| told += u32::from(matches!(action, Action::SendShared(..))));
                if !pool.owes_solo_jobs() {
                    break;
                }
                pool.handle(NOW, Event::SoloJobs, &mut out);
            }
            assert_eq!(told, miners);
        });
}
