//! The settings of fiche.

use crate::kernel::Result;
use crate::kernel::config::{Key, KeyKind, Settings};

/// What `drip.toml` may say under `[fiche]`.
pub const KEYS: &[Key] = &[Key::optional(
    "fiche.records",
    KeyKind::Text,
    "Where cards are kept, when not in the data folder.",
)];

/// The settings, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The URL of the store for the records; none for one in the data folder.
    pub records: Option<String>,
}

impl Config {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self { records: settings.given("fiche.records", Settings::text)?.map(str::to_owned) })
    }
}
