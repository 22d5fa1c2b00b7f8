//! Integration tests of the core, in one program: `cargo test -p hstratum-core --test it vardiff` runs one
//! module. Data stands beside it: transcripts, hsd's vectors and recordings of real miners.

mod alarm;
mod architecture;
mod direct_payout;
mod drill;
mod harness;
mod hostile_input;
mod job_order;
mod ledger;
mod memory_limits;
mod misbehaviour;
mod pool;
mod proxied;
mod proxy;
mod recordings;
mod sign_in;
mod solo_mining;
mod target_arithmetic;
mod transcripts;
mod vardiff;
mod vectors;

use harness::Access;

/// How miners of the suites beside this file reach the pool; see [`proxied`].
const ACCESS: Access = Access::Direct;
