//! What the server shows of itself while it runs: numbers for whoever looks, made without waiting for anybody.

pub mod histogram;
pub(crate) mod live;
pub(crate) mod node_lag;
pub(crate) mod open_round;
