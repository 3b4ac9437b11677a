//! The settings of cask.

use std::time::Duration;

use crate::kernel::Result;
use crate::kernel::config::{Key, KeyKind, Rule, Settings};

/// What `drip.toml` may say under `[cask]`.
pub const KEYS: &[Key] = &[
    Key::new(
        "cask.tidy_every",
        KeyKind::Duration,
        r#""10m""#,
        "How often expired objects and unnamed chunks are looked for.",
    )
    .must(Rule::Between(1000, 30 * 24 * 3_600_000)),
    Key::new(
        "cask.grace",
        KeyKind::Duration,
        r#""1h""#,
        "How long a chunk that nothing names is kept, for uploads under way.",
    )
    .must(Rule::Between(60_000, 365 * 24 * 3_600_000)),
    Key::optional(
        "cask.s3.listen",
        KeyKind::Text,
        "Where S3 clients find the same objects, such as \"127.0.0.1:9000\"; nowhere unless it is set.",
    )
    .must(Rule::Address),
    Key::optional(
        "cask.s3.access_key",
        KeyKind::Text,
        "The access key that S3 clients sign with; `dripctl cask key add` makes further ones.",
    ),
    Key::secret("cask.s3.secret_key", "The secret key that belongs to it."),
];

/// The settings, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How often [`Cask::tidy`](super::Cask::tidy) is due.
    pub tidy_every: Duration,
    /// The grace period to give it.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { tidy_every: Duration::from_mins(10), grace: Duration::from_hours(1) }
    }
}

impl Config {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            tidy_every: settings.duration("cask.tidy_every")?,
            grace: settings.duration("cask.grace")?,
        })
    }
}
