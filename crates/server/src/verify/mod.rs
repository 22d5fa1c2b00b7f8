//! `hstratum verify`: takes a job as a miner, and checks what the API says of it against that very job.
//!
//! The roots of a job bind its coinbase: a coinbase with another output has another id, hence another merkle root
//! than `mining.notify` has. So of the API only the names of accounts have to be believed. Only the jobs of this
//! connection are checked; what other connections are given is not seen here.

mod api;
mod check;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::Hash;
use hstratum_core::wire::client::{Client, Work};

pub use self::api::ApiUrl;
use self::api::{Answer, ShownJob};
pub use self::check::Fault;
use crate::miner_wire::{MinerWire, connect};
use crate::stratum_url::StratumUrl;

/// Time for the first job, name look-ups too.
const DEADLINE: Duration = Duration::from_secs(30);

/// Time from the connection to the first job.
const JOB_TIMEOUT: Duration = Duration::from_secs(10);

/// The server to check, and whose part is looked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where miners connect.
    pub server: StratumUrl,
    /// The server's API.
    pub api: ApiUrl,
    /// Name to log in with: an account, or account.worker.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Address that a solo listener pays this user at; `None`: the name, where that is one.
    pub payee: Option<PayeeAddress>,
    /// The user's own address; `None`: the payee, the name where that is one, or what the API says.
    pub address: Option<PayeeAddress>,
}

/// An address of any network, as text and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayeeAddress {
    text: String,
    address: Address,
}

impl PayeeAddress {
    /// Reads an address; `None` if it is one of no network.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (network, address) = address_of_any_network(text)?;
        let text = address.encode(network);
        Some(Self { text, address })
    }
}

/// The result of a check.
#[derive(Debug)]
pub struct JobReport {
    /// Id of the job.
    pub job: String,
    /// Hash of the block before it.
    pub prev_block: Hash,
    /// Height of its block; `None` without a coinbase that is the job's.
    pub height: Option<u32>,
    /// Everything that is not as the API says.
    pub faults: Vec<Fault>,
    /// The outputs of the job's coinbase, read from its bytes; none without a coinbase that is the job's.
    pub outputs: Vec<PaidOutput>,
    /// Whom the block pays, as the API says; `None` if that is unknown here.
    pub payout: Option<Payout>,
    /// Which outputs are the user's is the API's word: no address was given.
    pub is_own_by_name: bool,
}

/// An output of a job's coinbase.
#[derive(Debug, PartialEq, Eq)]
pub struct PaidOutput {
    /// The address that it pays.
    pub address: String,
    /// Its amount in base units.
    pub value: u64,
    /// The account that the API says it is for. Untrusted text.
    pub account: Option<String>,
    /// It pays the user.
    pub is_own: bool,
}

impl JobReport {
    /// Amount of all outputs, in base units.
    #[must_use]
    pub fn reward(&self) -> u64 {
        self.outputs.iter().map(|output| output.value).sum()
    }

    /// Amount that the job pays the user, in base units.
    #[must_use]
    pub fn own_part(&self) -> u64 {
        let own = self.outputs.iter().filter(|output| output.is_own);
        own.map(|output| output.value).sum()
    }
}

/// Reports of the jobs of one connection, as they come.
pub struct JobReports {
    reports: Receiver<anyhow::Result<JobReport>>,
    deadline: Instant,
}

impl Iterator for JobReports {
    type Item = anyhow::Result<JobReport>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.reports.recv_timeout(left) {
            Ok(report) => Some(report),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => Some(Err(anyhow!("not done in time"))),
        }
    }
}

/// Takes the first job and checks it, and each further one that comes within a time. A server makes the first for
/// this connection alone; later ones are those of everybody.
///
/// # Errors
/// When there is no thread for it. An item is an error where there is no job or no answer of the API, or not in
/// time.
pub fn verify(setup: Setup, watch: Duration) -> anyhow::Result<JobReports> {
    let (sender, reports) = channel();
    // A look-up of a name cannot be ended, nor a handshake that goes on and on.
    thread::Builder::new()
        .name("verify".into())
        .spawn(move || {
            if let Err(error) = run(&setup, watch, &sender) {
                let _ = sender.send(Err(error));
            }
        })
        .context("failed to start a thread")?;
    Ok(JobReports {
        reports,
        deadline: Instant::now() + DEADLINE + watch,
    })
}

fn run(
    setup: &Setup,
    watch: Duration,
    reports: &Sender<anyhow::Result<JobReport>>,
) -> anyhow::Result<()> {
    let server = &setup.server;
    let (mut wire, mut client) = log_in(setup)?;
    let first = next_job(&mut wire, &mut client, server, None)?;
    let mut job = first.with_context(|| {
        let seconds = JOB_TIMEOUT.as_secs();
        format!("{server} gave no job within {seconds} s")
    })?;
    let end = Instant::now() + watch;
    // The connection stays open until the API has answered.
    while reports.send(check_job(setup, &job)).is_ok() {
        wire.read_for(end.saturating_duration_since(Instant::now()));
        let Some(next) = next_job(&mut wire, &mut client, server, Some(&job.job))? else {
            break;
        };
        job = next;
    }
    Ok(())
}

fn check_job(setup: &Setup, work: &Work) -> anyhow::Result<JobReport> {
    let header = work.header();
    let owner = Owner::of(setup);
    match ask(setup, work)? {
        Answer::Job(shown) => Ok(check::check(&work.job, header, &shown, &owner)),
        Answer::Refused(text) => bail!("{}: {text}", setup.api),
        Answer::Unknown(text) => Ok(JobReport {
            job: work.job.clone(),
            prev_block: header.prev_block,
            height: None,
            faults: vec![Fault::NotKnown(text)],
            outputs: Vec::new(),
            payout: None,
            is_own_by_name: owner.is_name(),
        }),
    }
}

fn log_in(setup: &Setup) -> anyhow::Result<(MinerWire, Client)> {
    let Setup { server, user, .. } = setup;
    let name = server.to_string();
    let stream = connect(&name).with_context(|| format!("failed to connect to {server}"))?;
    let wire = MinerWire::open(stream, server.tls(), JOB_TIMEOUT);
    let mut wire = wire.with_context(|| match server.tls() {
        true => format!("failed to speak TLS with {server}"),
        false => format!("failed to connect to {server}"),
    })?;
    let mut client = Client::new(user, &setup.password);
    wire.send(client.connect().concat().as_bytes())?;
    Ok((wire, client))
}

/// The next job that is another than `last`; `None` when the time is over.
fn next_job(
    wire: &mut MinerWire,
    client: &mut Client,
    server: &StratumUrl,
    last: Option<&str>,
) -> anyhow::Result<Option<Work>> {
    while let Some(line) = wire.next_line(|_| {})? {
        let handled = client.handle_line(&line);
        handled.map_err(|failure| anyhow!("{server}: {failure}"))?;
        let work = client.work().filter(|work| Some(&*work.job) != last);
        if let Some(work) = work {
            return Ok(Some(Work::clone(work)));
        }
    }
    Ok(None)
}

/// Asks for the job. Without a payee that was given, a solo job is asked for where the other is not the one that
/// the server sent.
fn ask(setup: &Setup, work: &Work) -> anyhow::Result<Answer> {
    let ask = |payee: Option<&PayeeAddress>| {
        let payee = payee.map(|payee| &*payee.text);
        setup.api.ask(&work.job, account_of(&setup.user), payee)
    };
    let is_it = |answer: &Answer| {
        let root = answer.job().and_then(ShownJob::merkle_root);
        root == Some(work.header().merkle_root)
    };
    if setup.payee.is_some() {
        return ask(setup.payee.as_ref());
    }
    let first = ask(None)?;
    let Some(name) = PayeeAddress::parse(account_of(&setup.user)).filter(|_| !is_it(&first)) else {
        return Ok(first);
    };
    let second = ask(Some(&name))?;
    Ok(
        match is_it(&second) || matches!(first, Answer::Refused(_)) {
            true => second,
            false => first,
        },
    )
}

/// The name without a worker.
fn account_of(user: &str) -> &str {
    user.split_once('.').map_or(user, |(account, _)| account)
}

fn address_of_any_network(text: &str) -> Option<(Network, Address)> {
    let mut networks = Network::ALL.into_iter();
    networks.find_map(|network| Some((network, Address::parse(text, network)?)))
}

/// Whose outputs are the user's own.
enum Owner {
    Address(Address),
    /// The account of a user's name, as the API names it.
    Name(String),
}

impl Owner {
    fn of(setup: &Setup) -> Self {
        let given = setup.address.clone().or_else(|| setup.payee.clone());
        let address = given.or_else(|| PayeeAddress::parse(account_of(&setup.user)));
        match address {
            Some(own) => Self::Address(own.address),
            None => Self::Name(setup.user.clone()),
        }
    }

    /// True if the API says which outputs are the user's.
    fn is_name(&self) -> bool {
        matches!(self, Self::Name(_))
    }

    /// True if an output of this address and account is the user's.
    fn owns(&self, address: &Address, account: Option<&str>) -> bool {
        match self {
            Self::Address(own) => own == address,
            Self::Name(name) => account.is_some_and(|account| is_of_account(name, account)),
        }
    }
}

/// True if a name on the wire is this account, or a worker of it.
#[must_use]
pub fn is_of_account(name: &str, account: &str) -> bool {
    let Some(rest) = name.strip_prefix(account) else {
        return false;
    };
    // A Goldshell appends `_SERIAL` to a name with a dot.
    rest.is_empty() || rest.starts_with('.') || rest.starts_with('_') && account.contains('.')
}
