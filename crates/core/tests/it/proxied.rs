//! The suites of the order of jobs, of misbehaviour, of real miners' recordings and of the pool's rules once more,
//! with a proxy before the pool.

#[path = "direct_payout.rs"]
#[allow(clippy::duplicate_mod, reason = "the same suite, through a proxy")]
mod direct_payout;
#[path = "job_order.rs"]
#[allow(clippy::duplicate_mod, reason = "the same suite, through a proxy")]
mod job_order;
#[path = "misbehaviour.rs"]
#[allow(clippy::duplicate_mod, reason = "the same suite, through a proxy")]
mod misbehaviour;
#[path = "pool.rs"]
#[allow(clippy::duplicate_mod, reason = "the same suite, through a proxy")]
mod pool;
#[path = "recordings.rs"]
#[allow(clippy::duplicate_mod, reason = "the same suite, through a proxy")]
mod recordings;

use crate::harness::Access;

const ACCESS: Access = Access::ThroughProxy;
