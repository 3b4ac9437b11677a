//! The settings of access.

use std::time::Duration;

/// How passwords are kept and how long credentials live.
#[derive(Debug, Clone)]
pub struct Config {
    /// Memory of a password hash, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes of a password hash.
    pub argon2_passes: u32,
    /// Lanes of a password hash.
    pub argon2_lanes: u32,
    /// How long a sign-in lasts.
    pub session: Duration,
    /// How many failed sign-ins are free before the wait begins.
    pub free_failures: u32,
    /// How long an API token lives unless told otherwise.
    pub token_lifetime: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            argon2_memory_kib: 19 * 1024,
            argon2_passes: 2,
            argon2_lanes: 1,
            session: Duration::from_hours(12),
            free_failures: 5,
            token_lifetime: Duration::from_hours(24 * 90),
        }
    }
}
