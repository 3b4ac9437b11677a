#![cfg(test)]
//! What tests of crashes stand on: an oracle, a disk that loses, a daemon that is killed.

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
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}

/// Waits for what another process does, of which nothing tells.
#[expect(
    clippy::disallowed_methods,
    reason = "no condition reaches over from another process"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
