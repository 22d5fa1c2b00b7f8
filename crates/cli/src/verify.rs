//! `hstratum verify`: what it takes, and how the result is shown.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use hstratum::stratum_url::StratumUrl;
use hstratum::verify::{ApiUrl, JobReport, PaidOutput, PayeeAddress, Setup, is_of_account, verify};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::hex;

use crate::miner_login::MinerLogin;
use crate::terminal::{Table, hns, number, print, print_error, shown};

/// Exit code where nothing could be checked; clap ends with it for wrong arguments as well.
const NOT_CHECKED: u8 = 2;

/// A week.
const WATCH_S_MAX: u64 = 7 * 86_400;

/// Arguments of `hstratum verify`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hstratum verify --url stratum+tcp://pool.example.com:3008 --api https://pool.example.com --user alice --address hs1q…
  hstratum verify --url stratum+tcp://127.0.0.1:3008 --api http://127.0.0.1:3080 --user hs1q…

It logs in as a miner, takes its first job and those of the next minute, and computes their roots from the coinbase \
that the API shows for each: they are the job's only if its block pays those outputs. It mines nothing. Of the API \
nothing is believed but, without an address, which account an output is for. That a part is fair, and the block below \
the chain's tip, is not checked. Behind hstratum proxy, --api is that of the server that the proxy has chosen.

Exit code: 0 where the job is what the API says and pays the user; 1 where it is not, or does not; 2 where it could \
not be checked.")]
pub(crate) struct Args {
    /// The server: stratum+tcp://HOST:PORT, or stratum+tls:// (its certificate is not checked)
    #[arg(long)]
    url: StratumUrl,

    /// Its API: http://HOST:PORT, or https://HOST
    #[arg(long, value_name = "URL")]
    api: ApiUrl,

    #[command(flatten)]
    login: MinerLogin,

    /// The address that a solo block of the user pays [default: the user's name, where it is one]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    payee: Option<PayeeAddress>,

    /// Seconds for which further jobs are checked as well: the first is this connection's, later ones are everybody's
    #[arg(long, value_name = "SECONDS", default_value = "60",
        value_parser = |text: &str| number(text, 0..=WATCH_S_MAX))]
    watch: u64,

    /// The user's own address [default: the payee, else the outputs that the API says are the account's]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    address: Option<PayeeAddress>,
}

fn parse_address(text: &str) -> Result<PayeeAddress, String> {
    PayeeAddress::parse(text).ok_or_else(|| "expected a Handshake address".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let setup = Setup {
        server: args.url.clone(),
        api: args.api.clone(),
        user: args.login.user.clone(),
        password: args.login.password.clone(),
        payee: args.payee.clone(),
        address: args.address.clone(),
    };
    let mut checked: u64 = 0;
    for report in verify(setup, Duration::from_secs(args.watch))? {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                print_error(&error);
                return Ok(ExitCode::from(NOT_CHECKED));
            }
        };
        let (verdict, is_good) = verdict(&report, &args.login.user, args.payee.is_some());
        match (is_good, checked) {
            (true, 1..) => print(&later(&report))?,
            (true, 0) if args.watch > 0 => {
                let text = format!("checking further jobs for {} s\n", args.watch);
                print(&format!("{}{verdict}{text}", as_text(&report)))?;
            }
            _ => print(&format!("{}{verdict}", as_text(&report)))?,
        }
        if !is_good {
            return Ok(ExitCode::FAILURE);
        }
        checked += 1;
    }
    if args.watch > 0 {
        print(match checked {
            1 => {
                "no other job came: rigs may get others than the first; --watch 3600 waits for some blocks\n"
            }
            _ => "all of them are what the API says\n",
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line about a job that is as good as the first.
fn later(report: &JobReport) -> String {
    format!(
        "job {} at height {}: {} of {} HNS\n",
        shown(&report.job),
        report.height.unwrap_or_default(),
        hns(report.own_part()),
        hns(report.reward())
    )
}

/// The job, and whom it pays if that is known.
fn as_text(report: &JobReport) -> String {
    let mut out = format!("job             {}\n", shown(&report.job));
    let _ = writeln!(out, "previous block  {}", hex(&report.prev_block.0));
    let Some(height) = report.height else {
        return out;
    };
    let _ = writeln!(out, "height          {height}");
    let mut table = Table::new(["HNS", "address", "for"]);
    for output in &report.outputs {
        table.row([hns(output.value), output.address.clone(), whose(output)]);
    }
    table.write("pays", &mut out);
    out
}

fn whose(output: &PaidOutput) -> String {
    match (&output.account, output.is_own) {
        (Some(account), true) => format!("{} (you)", shown(account)),
        // The API's word, and not to be taken for the others of this column.
        (Some(account), false) if account == "you" || account == "-" => format!("{account:?}"),
        (Some(account), false) => shown(account),
        (None, true) => "you".to_owned(),
        (None, false) => "-".to_owned(),
    }
}

/// The verdict in words; true if the job is as the API says and pays the user.
fn verdict(report: &JobReport, user: &str, has_payee: bool) -> (String, bool) {
    let user = shown(user);
    if !report.faults.is_empty() {
        let mut text = "the job is not what the API says:\n".to_owned();
        for fault in &report.faults {
            let _ = writeln!(text, "  {fault}");
        }
        if report.outputs.is_empty() {
            text += match has_payee {
                true => {
                    "whom its block pays cannot be known: --payee is not the address that the server pays this \
                     user at, or do not mine it\n"
                }
                false => "whom its block pays cannot be known: do not mine it\n",
            };
        }
        return (text, false);
    }
    match report.own_part() {
        0 => (nothing(report, &user), false),
        own => {
            let (own, reward) = (hns(own), hns(report.reward()));
            let percent = 100.0 * report.own_part() as f64 / report.reward() as f64;
            let word = match report.is_own_by_name {
                true => {
                    ", by the API's word: with --address it is checked that the outputs are the user's"
                }
                false => "",
            };
            let text = format!(
                "the job is what the API says, and pays {user} {own} of {reward} HNS ({percent:.2} %){word}\n"
            );
            (text, true)
        }
    }
}

/// What is said of a job that pays the user nothing.
fn nothing(report: &JobReport, user: &str) -> String {
    let elsewhere = report.outputs.iter().find(|output| {
        let account = output.account.as_deref();
        account.is_some_and(|account| is_of_account(user, account))
    });
    if let Some(output) = elsewhere {
        return format!(
            "the API says that {} is for {user}, but it is not the user's address: the job pays {user} nothing\n",
            output.address
        );
    }
    let paid = report.outputs.iter().filter(|output| output.value > 0);
    let addresses: Vec<&str> = paid.map(|output| &*output.address).collect();
    match (report.payout, &addresses[..]) {
        (Some(Payout::Operator), [only]) => format!(
            "the job is what the API says; it pays the operator {only}, who owes {user} its part\n"
        ),
        (Some(Payout::Split), _) => format!(
            "the job is what the API says, and pays {user} nothing: without work in the window there is no part, and \
             one below the pool's smallest output, or of an account without an address, becomes its balance\n"
        ),
        _ => format!("the job is what the API says, and pays {user} nothing\n"),
    }
}
