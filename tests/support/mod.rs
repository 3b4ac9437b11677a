#![cfg(test)]
//! What tests of crashes stand on: an oracle, a disk that loses, a daemon that is killed.
//!
//! Runs are short unless the environment says otherwise:
//! `CRASH_CYCLES` kills in each kill loop, `CRASH_STEP` walks every so manieth sync (1 for each),
//! `CRASH_SEEDS` histories on the simulated disk, `CRASH_SEED` one kill loop again, and
//! `CRASH_BINARY` another build of `dripctl`.

pub(crate) mod oracle;
pub(crate) mod rng;
#[cfg(feature = "redb")]
pub(crate) mod sim_disk;
#[cfg(feature = "redb")]
pub(crate) mod sim_objects;

#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod daemon;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod http;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod kill_loop;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod shim;

use std::time::Duration;

/// A number from the environment, for runs that are longer than the everyday one.
pub(crate) fn number_from_env(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}

/// Waits for what another process does, of which nothing tells.
#[expect(clippy::disallowed_methods, reason = "no condition reaches over from another process")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
