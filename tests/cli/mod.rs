#![cfg(test)]
//! `dripctl` as its users run it.

mod serve;
mod settings;
