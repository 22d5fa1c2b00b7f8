//! Settings of a server at its start, and the pool configuration derived from them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use hstratum_core::accounts::Auth;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::job::Boot;
use hstratum_core::job::direct_payout::OperatorFee;
use hstratum_core::limits::SHARES_REMEMBERED_MAX;
use hstratum_core::pool::config::PoolConfig;
use hstratum_core::session::difficulty::Dynamic;
use hstratum_core::units::Difficulty;

use crate::config::Config;
use crate::config::hsd_address::HsdAddresses;
use crate::limits::OUTPUT_WEIGHT;
use crate::net::listener::{Encryption, ListenSpec};
use crate::sql::location::LedgerLocation;
use crate::sql::sqlite_schema::FILE_NAME;

/// Options, network and directory of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The checked options.
    pub config: Config,
    /// The node's network.
    pub network: Network,
    /// `<prefix>/<network>/stratum`; `None` when nothing may be written.
    pub dir: Option<PathBuf>,
    /// The node's HTTP and its wallet's, for payouts.
    pub hsd: HsdAddresses,
}

impl Settings {
    /// Checks what the options alone do not tell.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let pays = self.config.payout.every.is_some();
        ensure!(
            !pays || self.ledger().is_some(),
            "payout-every needs a ledger, and a node in memory keeps none"
        );
        ensure!(
            !self.splits() || self.ledger().is_some(),
            "payout: split needs a ledger, and a node in memory keeps none"
        );
        Ok(())
    }

    /// True if blocks of any listener pay the accounts.
    pub(crate) fn splits(&self) -> bool {
        self.config.has_listener(Payout::Split)
    }

    /// Weight that the outputs of a split may add to a coinbase.
    #[must_use]
    pub fn coinbase_weight(&self) -> u32 {
        if self.splits() {
            OUTPUT_WEIGHT * self.config.outputs_max
        } else {
            0
        }
    }

    /// Location of the ledger with the whole pool's data; `None` in memory.
    pub fn ledger(&self) -> Option<LedgerLocation> {
        let shared = self.config.database.clone();
        let shared = shared.map(|address| LedgerLocation::Shared(Box::new(address)));
        let file = || Some(LedgerLocation::File(self.dir.as_ref()?.join(FILE_NAME)));
        shared.or_else(file)
    }

    /// The same with the port that was found, if any would do.
    pub(crate) fn with_port(mut self, port: u16) -> Self {
        if self.config.public_port == 0 {
            self.config.public_port = port;
        }
        self.config.port = port;
        self
    }

    /// The operator's part of solo blocks.
    ///
    /// # Errors
    /// When `fee-address` is no address of the network that can be paid.
    pub(crate) fn operator_fee(&self) -> anyhow::Result<OperatorFee> {
        let address = self.config.fee_address.as_deref().map(|text| {
            let address = Address::payable(text, self.network);
            address.map_err(|why| anyhow!("fee-address: {why}"))
        });
        Ok(OperatorFee {
            part: self.config.terms.fee,
            address: address.transpose()?,
        })
    }

    /// Configuration of a pool that starts now.
    pub(crate) fn pool_config(&self, unix_s: u64) -> anyhow::Result<PoolConfig> {
        let config = &self.config;
        Ok(PoolConfig {
            boot: boot(unix_s)?,
            network: self.network,
            auth: config.auth,
            difficulty_min: config.difficulty_min,
            dynamic: if config.dynamic {
                Dynamic::On
            } else {
                Dynamic::Off
            },
            shares_remembered_max: SHARES_REMEMBERED_MAX,
            hints_max: 2 * config.max_inbound as usize,
            admin_password: config.password.as_ref().map(|password| password.0.clone()),
            public_host: config.public_host.clone(),
            public_port: config.public_port,
            proxy_secret: config.proxy_secret.clone(),
            operator_fee: Arc::new(self.operator_fee()?),
        })
    }
}

impl Config {
    /// Listeners, each with its start difficulty: `host`:`port` first.
    pub(crate) fn listeners(&self) -> Vec<(ListenSpec, Difficulty)> {
        let first = ListenSpec {
            encryption: Encryption::Never,
            address: SocketAddr::new(self.host, self.port),
            difficulty: None,
            payout: None,
        };
        let with_defaults = |spec: &ListenSpec| {
            let payout = spec.payout.or(Some(self.block_payout));
            let difficulty = spec.difficulty.unwrap_or(self.difficulty);
            (ListenSpec { payout, ..*spec }, difficulty)
        };
        [&first]
            .into_iter()
            .chain(&self.listen)
            .map(with_defaults)
            .collect()
    }

    /// Kinds of payout of the listeners.
    pub(crate) fn payouts(&self) -> BTreeSet<String> {
        let listeners = self.listeners().into_iter();
        let payouts = listeners.filter_map(|(spec, _)| spec.payout);
        payouts.map(|payout| payout.name().to_owned()).collect()
    }

    /// True if some listener has this kind of payout.
    pub(crate) fn has_listener(&self, payout: Payout) -> bool {
        let listeners = self.listeners();
        listeners
            .iter()
            .any(|(spec, _)| spec.payout == Some(payout))
    }
}

/// Description of who may mine, for people; `make run` prints it too.
pub(crate) fn who_may_mine(auth: Auth, network: Network, accounts: usize) -> String {
    match (auth, accounts) {
        (Auth::Users, 0) => "accounts only, and there is none yet: add one".to_owned(),
        (Auth::Users, 1) => "accounts only, 1 so far, with its password".to_owned(),
        (Auth::Users, _) => format!("accounts only, {accounts} so far, each with its password"),
        (Auth::Open, 0) => "any user, any password".to_owned(),
        (Auth::Open, _) => "any user, any password; an account with its own".to_owned(),
        (Auth::Address, _) => {
            let network = network.name();
            format!("whoever gives an address of {network} as user, any password")
        }
    }
}

/// Seconds and random bits, so that job ids of two starts, or of two servers, are never the same.
fn boot(unix_s: u64) -> anyhow::Result<Boot> {
    let mut random = [0; 42];
    getrandom::fill(&mut random).context("failed to get random bytes")?;
    let (tag, rest) = random
        .split_first_chunk::<2>()
        .expect("42 bytes are enough");
    let (nonce, secret) = rest.split_first_chunk::<8>().expect("42 bytes are enough");
    Ok(Boot {
        prefix: unix_s << 16 | u64::from(u16::from_be_bytes(*tag)),
        nonce: u64::from_be_bytes(*nonce),
        secret: secret.try_into().expect("32 bytes are left"),
    })
}
