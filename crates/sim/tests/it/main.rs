//! Integration tests of the simulator, in one program.

mod estimates;
mod life_cycle;
mod seeds;
mod split_model;
