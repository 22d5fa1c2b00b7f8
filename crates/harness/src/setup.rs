//! The setup of a harness: the pool's configuration and its users.

use std::sync::Arc;

use hstratum_core::accounts::Auth;
use hstratum_core::accounts::password::{StoredPassword, hash256};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::job::Boot;
use hstratum_core::job::direct_payout::OperatorFee;
use hstratum_core::limits::SHARES_REMEMBERED_MAX;
use hstratum_core::pool::config::PoolConfig;
use hstratum_core::session::difficulty::Dynamic;
use hstratum_core::units::Difficulty;

/// Every second hash is a share.
pub const DIFFICULTY_TINY: f64 = 1.0 / (1_u64 << 31) as f64;
/// The setup of a harness.
#[derive(Clone)]
pub struct Setup {
    pub difficulty: f64,
    pub difficulty_min: f64,
    pub dynamic: Dynamic,
    pub auth: Auth,
    pub admin_password: Option<String>,
    pub public_host: Option<String>,
    pub shares_remembered_max: usize,
    /// Recipient of the miners' blocks, and the operator's part of solo blocks.
    pub payout: Payout,
    pub operator_fee: Arc<OperatorFee>,
    /// Names and passwords of users with argon2id passwords, which only the hasher can check.
    pub slow_users: Vec<(String, String)>,
    /// Names and passwords of users with passwords in the old form.
    pub users: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            difficulty: DIFFICULTY_TINY,
            difficulty_min: f64::MIN_POSITIVE,
            dynamic: Dynamic::Off,
            auth: Auth::Open,
            admin_password: None,
            public_host: None,
            shares_remembered_max: SHARES_REMEMBERED_MAX,
            payout: Payout::Operator,
            operator_fee: Arc::default(),
            slow_users: Vec::new(),
            users: Vec::new(),
        }
    }
}

impl Setup {
    /// The pool's configuration.
    pub fn config(&self) -> PoolConfig {
        PoolConfig {
            boot: Boot {
                prefix: 0x1122_3344_5566,
                nonce: 0x5eed,
                secret: [7; 32],
            },
            network: Network::Regtest,
            auth: self.auth,
            admin_password: self.admin_password.clone(),
            difficulty_min: Difficulty::new(self.difficulty_min).expect("above zero"),
            dynamic: self.dynamic,
            hints_max: 8,
            shares_remembered_max: self.shares_remembered_max,
            public_host: self.public_host.clone(),
            public_port: 3008,
            proxy_secret: None,
            operator_fee: self.operator_fee.clone(),
        }
    }

    /// The users in their stored form.
    pub fn stored_users(&self) -> Vec<(String, StoredPassword)> {
        let slow = self.slow_users.iter();
        let slow = slow.map(|(name, password)| (name.clone(), stored(password)));
        let fast = self.users.iter().map(|(name, password)| {
            let password = StoredPassword::Hash256(hash256(password.as_bytes()));
            (name.clone(), password)
        });
        slow.chain(fast).collect()
    }
}

/// The stored form of a password in the harness.
pub fn stored(password: &str) -> StoredPassword {
    StoredPassword::Argon2id(format!("$argon2id${password}"))
}
