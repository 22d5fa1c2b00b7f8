//! The load generator against real servers, and against its own limit server.

mod connect;
#[path = "../../../server/tests/it/harness/mod.rs"]
mod harness;
mod submit;
