#![cfg(test)]
//! `dripctl` as its users run it.

mod connections;
#[cfg(feature = "trajectory")]
mod logs;
mod serve;
mod settings;
#[cfg(feature = "trajectory")]
mod slow_follower;
