//! Benchmark of the proxy's rules: a share there and its reply back, without sockets.

use std::net::{IpAddr, Ipv4Addr};

use divan::{AllocProfiler, Bencher};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Action, Actions, Arrival, ArrivalKind, Event};
use hstratum_core::pool::Pool;
use hstratum_core::proxy::{
    NoBackend, Proxy, ProxyAction, ProxyActions, ProxyConfig, ProxyEvent, Purpose,
};
use hstratum_core::units::{ConnId, Difficulty, Now, Seq};
use hstratum_harness::lines;
use hstratum_harness::setup::Setup;
use hstratum_harness::test_chain::TestChain;

const UNIX_S: u64 = 1_700_000_000;
const NOW: Now = Now {
    ms: 1_000,
    unix_s: UNIX_S,
};
const REPLY: &[u8] = b"{\"id\":10000000,\"result\":true,\"error\":null}\n";
const MINER: ConnId = ConnId(1);
/// Connections to the server: this one and those above it.
const LINKS_FROM: u64 = 1 << 32;

/// Counts allocations.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn arrival(kind: ArrivalKind) -> Arrival {
    Arrival {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        kind,
        difficulty: Difficulty::new(1e-11).expect("above zero"),
        payout: Payout::Operator,
    }
}

/// A proxy before one pool, and what its miner was told.
struct Proxied {
    proxy: Proxy,
    actions: ProxyActions,
    pool: Pool,
    links: u64,
    /// The connection to the pool that carries the miner.
    link: Option<ConnId>,
    told: Vec<u8>,
}

impl Proxied {
    /// With one miner, which has a job; gives its id too.
    fn new() -> (Self, String) {
        let mut pool = Pool::new(Setup::default().config(), [], Seq(0), NOW);
        let mut chain = TestChain::default();
        let mut out = Actions::default();
        pool.handle(NOW, Event::Tip(chain.grow()), &mut out);
        let template = Box::new(chain.template(UNIX_S));
        pool.handle(NOW, Event::Template(template), &mut out);
        let config = ProxyConfig {
            backends: vec!["server:3008".to_owned()],
            prefix: 1,
            key: [9; 32],
            secret: None,
            no_backend: NoBackend::Wait(30_000),
            probe_timeout_ms: 700,
            public_host: None,
            public_port: 3008,
        };
        let mut proxied = Self {
            proxy: Proxy::new(config, NOW),
            actions: ProxyActions::default(),
            pool,
            links: LINKS_FROM,
            link: None,
            told: Vec::new(),
        };
        proxied.handle(ProxyEvent::Tick);
        proxied.handle(ProxyEvent::Connected(MINER, arrival(ArrivalKind::Miner)));
        let login = lines::login("alice.w0");
        proxied.handle(ProxyEvent::Received(MINER, login.as_bytes()));
        let told = String::from_utf8_lossy(&proxied.told);
        let job = lines::job_id(&told)
            .expect("the miner has a job")
            .to_owned();
        (proxied, job)
    }

    /// Hands an event to the proxy, and to the pool and back what follows.
    fn handle(&mut self, event: ProxyEvent<'_>) {
        self.proxy.handle(NOW, event, &mut self.actions);
        let (mut dials, mut sent) = (Vec::new(), Vec::new());
        let told = &mut self.told;
        self.actions.drain(|action, bytes| match action {
            ProxyAction::Send(MINER, _) => told.extend_from_slice(bytes),
            ProxyAction::Send(link, _) => sent.push((link, bytes.to_vec())),
            ProxyAction::Dial(purpose, _) => dials.push(purpose),
            _ => {}
        });
        for purpose in dials {
            self.links += 1;
            let link = ConnId(self.links);
            if let Purpose::Miner(..) = purpose {
                self.link = Some(link);
            }
            self.tell_pool(Event::Connected(link, arrival(ArrivalKind::Proxy)));
            self.handle(ProxyEvent::Dialed(purpose, Some(link)));
            self.handle(ProxyEvent::Opened(link));
        }
        for (link, bytes) in sent {
            self.tell_pool(Event::Received(link, &bytes));
        }
    }

    fn tell_pool(&mut self, event: Event<'_>) {
        let mut out = Actions::default();
        self.pool.handle(NOW, event, &mut out);
        let mut said = Vec::new();
        out.drain(|action, bytes| match action {
            Action::Send(link, _) => said.push((link, bytes.to_vec())),
            Action::SendShared(link, bytes) => said.push((link, bytes.to_vec())),
            _ => {}
        });
        for (link, bytes) in said {
            self.handle(ProxyEvent::Received(link, &bytes));
        }
    }
}

/// A share from a miner's bytes to the server's, and the reply from the server's bytes to the miner's.
#[divan::bench]
fn share_there_and_back(bencher: Bencher<'_, '_>) {
    let (mut proxied, job) = Proxied::new();
    let link = proxied.link.expect("the miner has a server");
    let (mut nonce, mut line) = (0_u32, Vec::new());
    bencher.bench_local(|| {
        nonce += 1;
        lines::write_submit(&mut line, "alice.w0", &job, UNIX_S, nonce);
        let Proxied { proxy, actions, .. } = &mut proxied;
        proxy.handle(NOW, ProxyEvent::Received(MINER, &line), actions);
        let mut passed_on = 0;
        actions.drain(|action, bytes| {
            if matches!(action, ProxyAction::Send(to, _) if to == link) {
                passed_on = bytes.len();
            }
        });
        assert_eq!(passed_on, line.len(), "the share has left");
        proxy.handle(NOW, ProxyEvent::Received(link, REPLY), actions);
        let mut sent = 0;
        actions.drain(|action, bytes| {
            if let ProxyAction::Send(MINER, _) = action {
                sent += bytes.len();
            }
        });
        assert!(sent > 0, "the reply has left");
    });
}
