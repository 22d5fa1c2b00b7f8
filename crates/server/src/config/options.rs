//! The table of options: names, defaults, help texts, and how each value is parsed. docs/options.md shows it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hstratum_core::accounting::reward_split::{Decimal, FeePpm, parse_hns};
use hstratum_core::accounts::Auth;
use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::Difficulty;
use lettre::message::Mailbox;

use super::alert_ways::{self, NtfyServer};
use super::deployment_signal::DeploymentSignal;
use super::option_value::{
    parse_bool, parse_database, parse_difficulty, parse_explorer, parse_host, parse_integer,
    parse_interval, parse_list, parse_password, parse_path, parse_server_id, parse_switch,
    parse_token, parse_wallet_name, store,
};
use super::payout_terms::SchemeName;
use super::peer_address::PeerAddress;
use super::{Dashboard, Verify, webhook};
use crate::limits::{LISTENERS_MAX, OUTPUTS_MAX};
use crate::net::cidr::AddressRange;
use crate::net::listener::ListenSpec;
use crate::secret::Secret;

/// The largest number of connections that may be asked for.
pub const INBOUND_MAX: u32 = 1_000_000;
const REFRESH_S_MAX: u32 = 3600;
/// Addresses and ranges that must send a PROXY header.
pub const PROXIES_MAX: usize = 256;
/// Names by which HTTP may be asked.
pub const HOST_NAMES_MAX: usize = 64;

/// What an option is when it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Value(&'static str),
    /// No value.
    None,
    /// Taken from elsewhere, as the text says.
    Derived(&'static str),
}

/// A row of the table of options.
#[derive(Clone, Copy)]
pub struct OptionSpec {
    /// The name, with hyphens and without prefix.
    pub name: &'static str,
    /// The value when it is not given.
    pub fallback: Fallback,
    /// One line of Markdown: purpose and unit.
    pub help: &'static str,
    /// Description of valid values, for errors.
    pub expected: &'static str,
    /// Parses and stores a value; `None` if it is malformed.
    pub(super) set: fn(&mut Draft, &str) -> Option<()>,
}

/// All options, in the order of the documentation.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "host",
        fallback: Fallback::Value("::"),
        help: "address that miners connect to; `::` takes IPv4 and IPv6",
        expected: "an IP address",
        set: |draft, text| store(&mut draft.host, text.parse().ok()),
    },
    OptionSpec {
        name: "port",
        fallback: Fallback::Value("3008"),
        help: "port that miners connect to; 0 is any free port",
        expected: "a port from 0 to 65535",
        set: |draft, text| store(&mut draft.port, parse_integer(text, 0, 65_535)),
    },
    OptionSpec {
        name: "public-host",
        fallback: Fallback::Derived("the one they asked for"),
        help: "host that HTTP miners are redirected to",
        expected: "a host name or IP address without a port",
        set: |draft, text| store(&mut draft.public_host, parse_host(text)),
    },
    OptionSpec {
        name: "public-port",
        fallback: Fallback::Derived("`port`"),
        help: "port that HTTP miners are redirected to",
        expected: "a port from 1 to 65535",
        set: |draft, text| store(&mut draft.public_port, parse_integer(text, 1, 65_535)),
    },
    OptionSpec {
        name: "max-inbound",
        fallback: Fallback::Value("10000"),
        help: "connections at a time; beyond it one without an accepted share gives way, of the \
               address that holds most, or the next one is refused",
        expected: "a whole number from 1 to 1000000",
        set: |draft, text| store(&mut draft.max_inbound, parse_integer(text, 1, INBOUND_MAX)),
    },
    OptionSpec {
        name: "max-per-address",
        fallback: Fallback::Value("0"),
        help: "connections from one address (IPv6: one /64); 0 is any number",
        expected: "a whole number from 0 to 1000000",
        set: |draft, text| {
            store(
                &mut draft.max_per_address,
                parse_integer(text, 0, INBOUND_MAX),
            )
        },
    },
    OptionSpec {
        name: "difficulty",
        fallback: Fallback::Value("8"),
        help: "difficulty a miner starts with; may be a fraction",
        expected: "a number above 0",
        set: |draft, text| store(&mut draft.difficulty, parse_difficulty(text)),
    },
    OptionSpec {
        name: "difficulty-min",
        fallback: Fallback::Value("1"),
        help: "difficulty that no miner's is below, whatever it asks for; the network's may be",
        expected: "a number above 0",
        set: |draft, text| store(&mut draft.difficulty_min, parse_difficulty(text)),
    },
    OptionSpec {
        name: "dynamic",
        fallback: Fallback::Value("true"),
        help: "difficulty follows each miner's speed: eight shares a minute a worker",
        expected: "true, false, 1 or 0",
        set: |draft, text| store(&mut draft.dynamic, parse_bool(text)),
    },
    OptionSpec {
        name: "password",
        fallback: Fallback::None,
        help: "the admin's password; without it, there is no admin",
        expected: "a password of 1 to 256 bytes, not \"true\"",
        set: |draft, text| store(&mut draft.password, parse_password(text)),
    },
    OptionSpec {
        name: "auth",
        fallback: Fallback::Derived("`users` with a password, else `open`"),
        help: "who may mine: `users` (known accounts only), `open` (any name, but a known account \
               needs its password) or `address` (the name is a Handshake address)",
        expected: "users, open or address",
        set: |draft, text| store(&mut draft.auth, Auth::from_name(text)),
    },
    OptionSpec {
        name: "refresh",
        fallback: Fallback::Value("60"),
        help: "seconds between jobs while the mempool changes",
        expected: "a whole number of seconds from 1 to 3600",
        set: |draft, text| store(&mut draft.refresh_s, parse_integer(text, 1, REFRESH_S_MAX)),
    },
    OptionSpec {
        name: "verify",
        fallback: Fallback::Value("idle"),
        help: "`idle`: each template is verified by the node's own rules once its job is out, when \
               the node has time; `off`: it is not",
        expected: "idle or off",
        set: |draft, text| store(&mut draft.verify, Verify::from_name(text)),
    },
    OptionSpec {
        name: "signal",
        fallback: Fallback::Value("all"),
        help: "deployments that blocks signal for in their version: `all` that are being voted on, as \
               hsd does, `none`, or those named; see [votes](operating.md#votes)",
        expected: "all, none or names of deployments separated by commas",
        set: |draft, text| store(&mut draft.signal, DeploymentSignal::parse(text)),
    },
    OptionSpec {
        name: "extra-nodes",
        fallback: Fallback::None,
        help: "hsd nodes, separated by commas, that the node stays connected to, so that each found \
               block is announced to them at once: see [races](operating.md#races)",
        expected: "up to 8 of HOST:PORT, the node's port for peers; an IPv6 address in brackets",
        set: |draft, text| store(&mut draft.extra_nodes, PeerAddress::parse_list(text)),
    },
    OptionSpec {
        name: "listen",
        fallback: Fallback::None,
        help: "more listeners, separated by commas: `tcp://`, `tls://` or `auto://` (TLS or not, as \
               the first byte tells); `difficulty` is the one that their miners start with, `payout` \
               theirs instead of the option's: `tcp://[::]:3010?payout=solo&difficulty=1024`",
        expected: "up to 15 of tcp://IP:PORT, tls://IP:PORT or auto://IP:PORT, each with or \
                   without ?difficulty=NUMBER, ?payout=NAME or both, joined by &",
        set: |draft, text| {
            let listen = parse_list(text, LISTENERS_MAX - 1, ListenSpec::parse);
            store(&mut draft.listen, listen)
        },
    },
    OptionSpec {
        name: "tls-cert",
        fallback: Fallback::None,
        help: "PEM file with the certificate chain for `tls://` and `auto://`; SIGHUP reads it again",
        expected: "a path",
        set: |draft, text| store(&mut draft.tls_cert, parse_path(text)),
    },
    OptionSpec {
        name: "tls-key",
        fallback: Fallback::None,
        help: "PEM file with the private key of `tls-cert`; SIGHUP reads it again",
        expected: "a path",
        set: |draft, text| store(&mut draft.tls_key, parse_path(text)),
    },
    OptionSpec {
        name: "proxy-protocol",
        fallback: Fallback::None,
        help: "proxies, separated by commas, that must send a PROXY header",
        expected: "up to 256 IP addresses or ranges like 10.0.0.0/8",
        set: |draft, text| {
            let proxies = parse_list(text, PROXIES_MAX, AddressRange::parse);
            store(&mut draft.proxy_protocol, proxies)
        },
    },
    OptionSpec {
        name: "http-host",
        fallback: Fallback::Value("127.0.0.1"),
        help: "address of the dashboard, the API and metrics",
        expected: "an IP address",
        set: |draft, text| store(&mut draft.http_host, text.parse().ok()),
    },
    OptionSpec {
        name: "http-port",
        fallback: Fallback::Derived("`3080`, or none where that is taken"),
        help: "port of the dashboard, the API and metrics; 0 is none",
        expected: "a port from 0 to 65535",
        set: |draft, text| store(&mut draft.http_port, parse_integer(text, 0, 65_535)),
    },
    OptionSpec {
        name: "http-host-names",
        fallback: Fallback::None,
        help: "names, separated by commas, by which the dashboard, the API and metrics may be asked \
               beside `public-host`: that of a service, for one",
        expected: "up to 64 host names or IP addresses without a port",
        set: |draft, text| {
            let names = parse_list(text, HOST_NAMES_MAX, parse_host);
            store(&mut draft.http_host_names, names)
        },
    },
    OptionSpec {
        name: "http-proxies",
        fallback: Fallback::None,
        help: "proxies of other machines or containers, separated by commas, that ask for a sign-in of their own: \
               they may ask [by any name](operating.md#dashboard-api-and-metrics)",
        expected: "up to 256 IP addresses or ranges like 10.0.0.0/8",
        set: |draft, text| {
            let proxies = parse_list(text, PROXIES_MAX, AddressRange::parse);
            store(&mut draft.http_proxies, proxies)
        },
    },
    OptionSpec {
        name: "http-token",
        fallback: Fallback::None,
        help: "what admin calls over HTTP must bear, and the operator [signs in](operating.md#signing-in) \
               with; without it there are none",
        expected: "16 to 256 visible characters without spaces",
        set: |draft, text| store(&mut draft.http_token, parse_token(text)),
    },
    OptionSpec {
        name: "http-login",
        fallback: Fallback::Value("on"),
        help: "whether miners and the operator may [sign in](operating.md#signing-in) to the dashboard",
        expected: "on or off",
        set: |draft, text| store(&mut draft.http_login, parse_switch(text)),
    },
    OptionSpec {
        name: "address-delay",
        fallback: Fallback::Value("1d"),
        help: "time after which a payout address holds that a miner who has signed in sets; until then the \
               miner can cancel it; `off`: it holds at once",
        expected: "off, or a whole number of at least one minute and at most 31 days with its unit: \
                   30m, 1h, 1d",
        set: |draft, text| store(&mut draft.address_delay, parse_interval(text)),
    },
    OptionSpec {
        name: "dashboard",
        fallback: Fallback::Value("public"),
        help: "what the dashboard and the API show to whoever is not the operator: `public` \
               (everything), `names-hidden` (names and addresses of accounts are cut) or `private` \
               (sums and blocks)",
        expected: "public, names-hidden or private",
        set: |draft, text| store(&mut draft.dashboard, Dashboard::from_name(text)),
    },
    OptionSpec {
        name: "explorer",
        fallback: Fallback::None,
        help: "web address that the dashboard links blocks to: `%h` is the height, `%s` the hash",
        expected: "http:// or https:// with %h or %s in it",
        set: |draft, text| store(&mut draft.explorer, parse_explorer(text)),
    },
    OptionSpec {
        name: "proxy-secret",
        fallback: Fallback::None,
        help: "what is shared with `hstratum proxy`: it may move miners without their passwords",
        expected: "a secret of 16 to 64 bytes",
        set: |draft, text| store(&mut draft.proxy_secret, ProxySecret::new(text)),
    },
    OptionSpec {
        name: "webhook",
        fallback: Fallback::None,
        help: "URL that gets a POST with JSON for each alarm: see [alarms](operating.md#alarms)",
        expected: "an http:// or https:// URL",
        set: |draft, text| store(&mut draft.webhook, webhook::parse_url(text)),
    },
    OptionSpec {
        name: "webhook-secret",
        fallback: Fallback::None,
        help: "key of the signature that each POST carries",
        expected: "1 to 256 bytes, not \"true\"",
        set: |draft, text| store(&mut draft.webhook_secret, parse_password(text)),
    },
    OptionSpec {
        name: "smtp",
        fallback: Fallback::None,
        help: "relay that takes mail to miners: see [alerts to miners](operating.md#alerts-to-miners)",
        expected: "smtps://USER:PASSWORD@HOST, smtp://USER:PASSWORD@HOST:587?tls=required, or without TLS \
                   smtp://127.0.0.1 or another one on this machine",
        set: |draft, text| store(&mut draft.smtp, alert_ways::parse_smtp(text)),
    },
    OptionSpec {
        name: "smtp-from",
        fallback: Fallback::None,
        help: "from whom that mail is",
        expected: "a mail address, or NAME <ADDRESS>",
        set: |draft, text| store(&mut draft.smtp_from, text.parse().ok()),
    },
    OptionSpec {
        name: "telegram",
        fallback: Fallback::None,
        help: "URL of the Telegram bot that writes to miners, with its token",
        expected: "https://api.telegram.org/botTOKEN, or the same of another Bot API server",
        set: |draft, text| store(&mut draft.telegram, alert_ways::parse_telegram(text)),
    },
    OptionSpec {
        name: "ntfy",
        fallback: Fallback::None,
        help: "ntfy servers whose topics miners may name, separated by commas",
        expected: "URLs without a path, such as https://ntfy.sh",
        set: |draft, text| store(&mut draft.ntfy, alert_ways::parse_ntfy(text)),
    },
    OptionSpec {
        name: "hashrate-alarm",
        fallback: Fallback::Value("50"),
        help: "percent of the hashrate lost within ten minutes that raises an alarm; 0: never",
        expected: "a whole number from 0 to 99",
        set: |draft, text| store(&mut draft.hashrate_alarm, parse_integer(text, 0, 99)),
    },
    OptionSpec {
        name: "database",
        fallback: Fallback::None,
        help: "the ledger that several servers share, see [several \
               servers](operating.md#several-servers-one-pool)",
        expected: "postgres://USER:PASSWORD@HOST:PORT/DATABASE, at most 2048 bytes",
        set: |draft, text| store(&mut draft.database, parse_database(text)),
    },
    OptionSpec {
        name: "server-id",
        fallback: Fallback::Derived("the host's name"),
        help: "this server's name in that ledger",
        expected: "1 to 64 visible characters without spaces",
        set: |draft, text| store(&mut draft.server_id, parse_server_id(text)),
    },
    OptionSpec {
        name: "payout",
        fallback: Fallback::Value("operator"),
        help: "whom blocks pay: the `operator`, who divides them; with `solo` their finder, at the \
               address that is the miner's name, see [solo mining](operating.md#solo-mining); with `split` \
               all accounts of the window, see [blocks that pay accounts](operating.md#blocks-that-pay-accounts)",
        expected: "operator, solo or split",
        set: |draft, text| store(&mut draft.block_payout, Payout::from_name(text)),
    },
    OptionSpec {
        name: "fee-address",
        fallback: Fallback::Derived("the node's `coinbase-address`"),
        help: "address that `fee` of a solo block is paid to",
        expected: "an address of the node's network",
        set: |draft, text| store(&mut draft.fee_address, Some(text.to_owned())),
    },
    OptionSpec {
        name: "output-min",
        fallback: Fallback::Value("1"),
        help: "smallest amount that a block with `payout: split` pays an account, in HNS; less stays \
               with the operator as balance",
        expected: "a number of HNS with at most 6 decimals, above 0",
        set: |draft, text| {
            let amount = parse_hns(text).ok().filter(|amount| *amount > 0);
            store(&mut draft.output_min, amount)
        },
    },
    OptionSpec {
        name: "outputs-max",
        fallback: Fallback::Value("400"),
        help: "most accounts that such a block pays, those with the largest amounts; templates leave \
               room for them",
        expected: "a whole number from 1 to 2500",
        set: |draft, text| store(&mut draft.outputs_max, parse_integer(text, 1, OUTPUTS_MAX)),
    },
    OptionSpec {
        name: "scheme",
        fallback: Fallback::Value("pplns"),
        help: "the reward of a block is divided over the work since the pool's last block (`prop`), or \
               over the last work before it (`pplns`), see [paying](ledger.md#paying)",
        expected: "prop or pplns",
        set: |draft, text| store(&mut draft.scheme, SchemeName::parse(text)),
    },
    OptionSpec {
        name: "window",
        fallback: Fallback::Derived("`2` with `scheme: pplns`"),
        help: "for pplns: amount of that work, in network difficulties; 2 is the work of two blocks on \
               average, more evens out what a miner earns",
        expected: "a number above 0 with at most 9 decimals",
        set: |draft, text| store(&mut draft.window, Decimal::parse_positive(text).ok()),
    },
    OptionSpec {
        name: "fee",
        fallback: Fallback::Value("0"),
        help: "the pool's part of a reward, in percent",
        expected: "a number from 0 to 100 with at most 4 decimals",
        set: |draft, text| store(&mut draft.fee, FeePpm::parse_percent(text).ok()),
    },
    OptionSpec {
        name: "threshold",
        fallback: Fallback::Value("10"),
        help: "balance from which an account is paid, in HNS",
        expected: "a number of HNS with at most 6 decimals",
        set: |draft, text| store(&mut draft.threshold, parse_hns(text).ok()),
    },
    OptionSpec {
        name: "threshold-min",
        fallback: Fallback::Derived("`1`, or `threshold` where that is less"),
        help: "smallest threshold that an account may have of its own, in HNS",
        expected: "a number of HNS with at most 6 decimals, not above threshold",
        set: |draft, text| store(&mut draft.threshold_min, parse_hns(text).ok()),
    },
    OptionSpec {
        name: "payout-wallet",
        fallback: Fallback::None,
        help: "hsd's wallet that pays miners, by `payout-every` and by `hstratum payout` with `--prefix`",
        expected: "the name of a wallet: up to 40 letters, digits, -, . and _",
        set: |draft, text| store(&mut draft.payout_wallet, parse_wallet_name(text)),
    },
    OptionSpec {
        name: "payout-account",
        fallback: Fallback::Value("default"),
        help: "account of that wallet that pays; the coins of others are not touched",
        expected: "the name of an account: up to 40 letters, digits, -, . and _",
        set: |draft, text| store(&mut draft.payout_account, parse_wallet_name(text)),
    },
    OptionSpec {
        name: "payout-every",
        fallback: Fallback::Value("off"),
        help: "interval at which the server settles and pays who is due; `off`: only \
               `hstratum payout send` does. See [paying miners](operating.md#paying-miners)",
        expected: "off, or a whole number of at least one minute and at most 31 days with its unit: \
                   30m, 1h, 1d",
        set: |draft, text| store(&mut draft.payout_every, parse_interval(text)),
    },
    OptionSpec {
        name: "payout-max-fee",
        fallback: Fallback::Value("10"),
        help: "the most that a transaction which pays miners may pay to the network, in HNS",
        expected: "a number of HNS above 0 with at most 6 decimals",
        set: |draft, text| {
            let fee = parse_hns(text).ok().filter(|fee| *fee > 0);
            store(&mut draft.payout_max_fee, fee)
        },
    },
];

impl OptionSpec {
    /// Name without hyphens.
    pub(super) fn key(&self) -> String {
        self.name.replace('-', "")
    }
}

/// Values that were given, and the defaults of the table.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) public_host: Option<String>,
    pub(super) public_port: Option<u16>,
    pub(super) max_inbound: Option<u32>,
    pub(super) max_per_address: Option<u32>,
    pub(super) difficulty: Option<Difficulty>,
    pub(super) difficulty_min: Option<Difficulty>,
    pub(super) dynamic: Option<bool>,
    pub(super) password: Option<Secret>,
    pub(super) auth: Option<Auth>,
    pub(super) refresh_s: Option<u32>,
    pub(super) verify: Option<Verify>,
    pub(super) signal: Option<DeploymentSignal>,
    pub(super) extra_nodes: Option<Vec<PeerAddress>>,
    pub(super) listen: Option<Vec<ListenSpec>>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) proxy_protocol: Option<Vec<AddressRange>>,
    pub(super) http_host: Option<IpAddr>,
    pub(super) http_port: Option<u16>,
    pub(super) http_host_names: Option<Vec<String>>,
    pub(super) http_proxies: Option<Vec<AddressRange>>,
    pub(super) http_token: Option<Secret>,
    pub(super) http_login: Option<bool>,
    pub(super) address_delay: Option<Option<Duration>>,
    pub(super) dashboard: Option<Dashboard>,
    pub(super) explorer: Option<String>,
    pub(super) proxy_secret: Option<ProxySecret>,
    pub(super) webhook: Option<Secret>,
    pub(super) webhook_secret: Option<Secret>,
    pub(super) smtp: Option<Secret>,
    pub(super) smtp_from: Option<Mailbox>,
    pub(super) telegram: Option<Secret>,
    pub(super) ntfy: Option<Vec<NtfyServer>>,
    pub(super) hashrate_alarm: Option<u8>,
    pub(super) database: Option<Secret>,
    pub(super) server_id: Option<String>,
    pub(super) block_payout: Option<Payout>,
    pub(super) fee_address: Option<String>,
    pub(super) output_min: Option<u64>,
    pub(super) outputs_max: Option<u32>,
    pub(super) scheme: Option<SchemeName>,
    pub(super) window: Option<Decimal>,
    pub(super) fee: Option<FeePpm>,
    pub(super) threshold: Option<u64>,
    pub(super) threshold_min: Option<u64>,
    pub(super) payout_wallet: Option<String>,
    pub(super) payout_account: Option<String>,
    pub(super) payout_max_fee: Option<u64>,
    /// The inner value is `None` for `off`.
    pub(super) payout_every: Option<Option<Duration>>,
}
