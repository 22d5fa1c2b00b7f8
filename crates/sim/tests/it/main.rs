//! Integration tests of the simulator, in one program.

mod life_cycle;
mod seeds;
