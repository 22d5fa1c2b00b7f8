//! Benchmarks of the pool: lines, jobs and shares, without sockets and without a disk.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use divan::{AllocProfiler, Bencher, black_box};
use hstratum_core::event::{Action, Actions, Arrival, ArrivalKind, Event};
use hstratum_core::job::Jobs;
use hstratum_core::limits::SHARES_REMEMBERED_MAX;
use hstratum_core::pool::Pool;
use hstratum_core::units::{ConnId, Difficulty, Now, Seq};
use hstratum_core::wire::message::Request;
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
        jobs.write_notify(&mut out, job, UNIX_S);
        black_box(out.len())
    });
}

/// A pool with `miners` miners that all have a job.
fn pool_with(miners: u32) -> (Pool, TestChain, Actions, String) {
    let mut pool = Pool::new(Setup::default().config(), [], Seq(0), NOW);
    let (mut chain, mut out) = (chain(), Actions::default());
    pool.handle(NOW, Event::Tip(chain.grow()), &mut out);
    let template = Box::new(chain.template(UNIX_S));
    pool.handle(NOW, Event::Template(template), &mut out);
    out.drain(|_, _| {});
    let mut job = String::new();
    for miner in 0..miners {
        let conn = ConnId(1 << 32 | u64::from(miner));
        let arrival = Arrival {
            address: IpAddr::V4(Ipv4Addr::from(0x7f01_0001 + miner)),
            kind: ArrivalKind::Miner,
            difficulty: Difficulty::new(DIFFICULTY).expect("above zero"),
        };
        pool.handle(NOW, Event::Connected(conn, arrival), &mut out);
        let hello = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"bench\"]}}\n\
             {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"alice.w{miner}\",\"x\"]}}\n"
        );
        pool.handle(NOW, Event::Received(conn, hello.as_bytes()), &mut out);
        out.drain(|_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some((_, rest)) = text.split_once(r#""mining.notify","params":[""#) {
                job = rest.split('"').next().unwrap_or_default().to_owned();
            }
        });
    }
    assert!(!job.is_empty(), "the miners have work");
    (pool, chain, out, job)
}

/// From the bytes of a submit to its reply; the ledger takes no time.
#[divan::bench]
fn share_to_reply(bencher: Bencher<'_, '_>) {
    let (mut pool, _, mut out, job) = pool_with(1);
    let conn = ConnId(1 << 32);
    let (mut nonce, mut line) = (0_u32, Vec::new());
    bencher.bench_local(|| {
        nonce += 1;
        line.clear();
        writeln!(
            line,
            r#"{{"id":10000000,"method":"mining.submit","params":["alice.w0","{job}","00000000","{UNIX_S:08x}","{nonce:08x}"]}}"#
        )
        .expect("a vector takes everything");
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

/// A new tip with its job for all miners, without sockets.
#[divan::bench(args = [1, 1_000, 10_000], sample_count = 20)]
fn new_job(bencher: Bencher<'_, '_>, miners: u32) {
    let (mut pool, mut chain, mut out, _) = pool_with(miners);
    bencher
        .with_inputs(|| {
            let tip = chain.grow();
            (tip, Box::new(chain.template(UNIX_S)))
        })
        .bench_local_values(|(tip, template)| {
            pool.handle(NOW, Event::Tip(tip), &mut out);
            pool.handle(NOW, Event::Template(template), &mut out);
            let mut told = 0;
            out.drain(|action, _| told += u32::from(matches!(action, Action::SendShared(..))));
            assert_eq!(told, miners);
        });
}
