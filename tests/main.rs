#[cfg(feature = "cask")]
mod cask;
//! Every integration test, linked once.
#![cfg(test)]

#[cfg(feature = "trajectory")]
mod trajectory;
//! The integration tests: one binary, so that linking happens once.

mod architecture;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod cli;
mod crash;
mod kernel;
mod support;
