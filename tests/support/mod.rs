#![cfg(test)]
//! What tests of crashes stand on: an oracle, a disk that loses, a daemon that is killed.
//!
//! Runs are short unless the environment says otherwise:
//! `CRASH_CYCLES` kills in each kill loop, `CRASH_STEP` walks every so manieth sync (1 for each),
//! `CRASH_SEEDS` histories on the simulated disk, `CRASH_SEED` one kill loop again, `CRASH_SAVES`
//! saves on each side of a link that is cut, and `CRASH_BINARY` another build of `dripctl`.

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
#[cfg(all(feature = "demo", feature = "web"))]
pub(crate) mod kept;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod kill_loop;
#[cfg(all(feature = "demo", feature = "web", feature = "mongo"))]
pub(crate) mod mongo;
#[cfg(all(feature = "cli", feature = "fiche", feature = "http", feature = "redb"))]
pub(crate) mod proxy;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod shim;
#[cfg(all(feature = "cli", feature = "s3", feature = "redb"))]
pub(crate) mod sigv4;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
pub(crate) mod sync_walk;

#[cfg(all(feature = "demo", feature = "web", feature = "s3", feature = "s3-store"))]
pub(crate) mod weed;

use std::time::Duration;

/// A number from the environment, for runs that are longer than the everyday one.
pub(crate) fn number_from_env(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}

/// The virtual environment with the components of `tests/real`; without one a suite is skipped, aloud.
#[cfg(all(feature = "demo", feature = "web"))]
pub(crate) fn real_venv(suite: &str) -> Option<std::path::PathBuf> {
    use std::io::Write as _;
    if let Some(venv) = std::env::var_os("REAL_VENV") {
        return Some(venv.into());
    }
    // Print macros are captured, and a suite that was skipped in silence passes for one that ran.
    let line = format!("SKIPPED real::{suite}: needs REAL_VENV, see tests/real/mod.rs\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// Waits for what another process does, of which nothing tells.
#[expect(clippy::disallowed_methods, reason = "no condition reaches over from another process")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
