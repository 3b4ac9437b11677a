#![cfg(test)]
//! `dripctl` as its users run it.

mod connections;
mod serve;
mod settings;
#[cfg(feature = "trajectory")]
mod slow_follower;
