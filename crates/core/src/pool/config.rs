//! The configuration of a pool.

use crate::accounts::Auth;
use crate::accounts::proxy_secret::ProxySecret;
use crate::chain::address::Network;
use crate::job::Boot;
use crate::job::direct_payout::OperatorFee;
use crate::session::difficulty::Dynamic;
use crate::units::Difficulty;
use std::sync::Arc;

/// The configuration of a pool, fixed for its lifetime.
#[derive(Clone)]
pub struct PoolConfig {
    /// The random values of this start.
    pub boot: Boot,
    /// The network whose addresses are accepted.
    pub network: Network,
    /// The rule for who may mine.
    pub auth: Auth,
    /// The admin's password; without it nobody can log in as admin on the wire.
    pub admin_password: Option<String>,
    /// The lowest difficulty of any miner, whatever it requests, unless the network's is lower still:
    /// shares that take no work to find must not cost the pool any.
    pub difficulty_min: Difficulty,
    /// Switches vardiff on or off.
    pub dynamic: Dynamic,
    /// Count of ended sessions whose difficulty is remembered.
    pub hints_max: usize,
    /// Shares remembered for all jobs together, see [`crate::limits::SHARES_REMEMBERED_MAX`].
    pub shares_remembered_max: usize,
    /// The host that HTTP miners are directed to; without it, the host in their request.
    pub public_host: Option<String>,
    /// The port that HTTP miners are directed to.
    pub public_port: u16,
    /// The secret shared with trusted proxies, which may have miners admitted without their password.
    pub proxy_secret: Option<ProxySecret>,
    /// The operator's part of blocks of solo listeners.
    pub operator_fee: Arc<OperatorFee>,
}
