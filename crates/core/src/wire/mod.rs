//! What is on the wire: lines, messages in them, and the miner's side of the protocol.

pub mod client;
pub mod http_redirect;
pub mod line;
pub mod message;
pub(crate) mod protocol;
pub mod submit_fast_path;
