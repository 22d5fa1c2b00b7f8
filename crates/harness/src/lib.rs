//! The surroundings of a pool that the core's tests and benches, the fuzz targets and the simulator share:
//! templates as a node makes them, and jobs as a miner reads them. Nothing of the product depends on it.

#![forbid(unsafe_code)]

pub mod job;
pub mod lines;
pub mod ports;
pub mod setup;
pub mod templates;
pub mod test_chain;
