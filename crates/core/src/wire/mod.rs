//! The stratum protocol on the wire: lines, the messages in them, and a miner's client. Nothing here
//! decides what a request may do; that is the pool's.

pub mod client;
pub mod http_redirect;
pub mod line;
pub mod message;
pub(crate) mod protocol;
pub mod submit_fast_path;
