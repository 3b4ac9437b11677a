//! The settings of Atom.

use std::time::Duration;

use crate::kernel::Result;
use crate::kernel::config::{Key, KeyKind, Rule, Settings};
use crate::kernel::script::Fence;

/// The section `atom`.
pub const KEYS: &[Key] = &[
    Key::new(
        "atom.max_dataset",
        KeyKind::Bytes,
        r#""256MiB""#,
        "The largest dataset as it is sent. It is read in memory while it is converted.",
    )
    .must(Rule::Between(1 << 10, 16 << 30)),
    Key::new(
        "atom.uploads",
        KeyKind::Integer,
        "2",
        "How many datasets are converted at once; further ones wait.",
    )
    .must(Rule::Between(1, 64)),
    Key::new(
        "atom.open_tables",
        KeyKind::Integer,
        "16",
        "How many datasets are kept open for reading.",
    )
    .must(Rule::Between(1, 10_000)),
    Key::new(
        "atom.compute_rows",
        KeyKind::Integer,
        "100000",
        "The most rows that one call computes.",
    )
    .must(Rule::Between(1, 10_000_000)),
    Key::new(
        "atom.compute_time",
        KeyKind::Duration,
        r#""30s""#,
        "How long one call may compute, all its rows together.",
    )
    .must(Rule::Between(10, 3_600_000)),
];

/// How large datasets and computations may be.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest dataset as it is sent.
    pub max_dataset: u64,
    /// How many datasets are converted at once.
    pub uploads: usize,
    /// How many datasets are kept open for reading.
    pub open_tables: usize,
    /// The most rows that one call computes.
    pub compute_rows: usize,
    /// How long one call may compute, all its rows together.
    pub compute_time: Duration,
    /// What an operator may use, for each row.
    pub fence: Fence,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_dataset: 256 << 20,
            uploads: 2,
            open_tables: 16,
            compute_rows: 100_000,
            compute_time: Duration::from_secs(30),
            fence: Fence::operator(),
        }
    }
}

impl Config {
    /// Reads the section `atom`.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            max_dataset: settings.bytes("atom.max_dataset")?,
            uploads: settings.integer("atom.uploads")?,
            open_tables: settings.integer("atom.open_tables")?,
            compute_rows: settings.integer("atom.compute_rows")?,
            compute_time: settings.duration("atom.compute_time")?,
            fence: Fence::operator(),
        })
    }
}
