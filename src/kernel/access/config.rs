//! The settings of access.

use std::time::Duration;

use crate::kernel::config::Settings;
use crate::kernel::error::Result;

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

impl Config {
    /// Reads the section `access`.
    pub fn read(settings: &Settings) -> Result<Self> {
        let kib = settings.bytes("access.argon2_memory")? / 1024;
        Ok(Self {
            argon2_memory_kib: u32::try_from(kib).unwrap_or(u32::MAX),
            argon2_passes: settings.integer("access.argon2_passes")?,
            argon2_lanes: settings.integer("access.argon2_lanes")?,
            session: Duration::from_hours(settings.integer("access.session_hours")?),
            free_failures: settings.integer("access.login_attempts")?,
            token_lifetime: Duration::from_hours(
                settings.integer::<u64>("access.token_days")? * 24,
            ),
        })
    }
}
