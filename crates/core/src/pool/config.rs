//! What a pool is told at its start.

use crate::accounts::Auth;
use crate::accounts::proxy_secret::ProxySecret;
use crate::chain::address::Network;
use crate::job::Boot;
use crate::session::difficulty::Dynamic;
use crate::units::Difficulty;

/// What a pool is told at its start.
#[derive(Clone)]
pub struct PoolConfig {
    /// What sets this start apart.
    pub boot: Boot,
    /// The network of addresses.
    pub network: Network,
    /// Who may mine.
    pub auth: Auth,
    /// The admin's password; without one there is no admin on the wire.
    pub admin_password: Option<String>,
    /// No miner's difficulty is below this, whatever it asks for, unless the network's is: what costs no
    /// work must not cost us anything.
    pub difficulty_min: Difficulty,
    /// Whether difficulty follows a miner's speed.
    pub dynamic: Dynamic,
    /// Sessions that ended whose difficulty is remembered.
    pub hints_max: usize,
    /// Shares remembered for all jobs together, see [`crate::limits::SHARES_REMEMBERED_MAX`].
    pub shares_remembered_max: usize,
    /// Where HTTP miners are sent; without one, to the host they asked for.
    pub public_host: Option<String>,
    /// The port they are sent to.
    pub public_port: u16,
    /// What is shared with proxies, which then may have miners admitted without their password.
    pub proxy_secret: Option<ProxySecret>,
}
