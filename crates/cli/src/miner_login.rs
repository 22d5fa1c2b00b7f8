//! The arguments of a command that logs in as a miner.

use clap::builder::NonEmptyStringValueParser;

/// Whom it logs in as.
#[derive(clap::Args)]
pub(crate) struct MinerLogin {
    /// The account, or account.worker
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) user: String,

    /// The account's password
    #[arg(
        long,
        default_value = "x",
        env = "HSTRATUM_PASSWORD",
        hide_env_values = true
    )]
    pub(crate) password: String,
}
