//! The settings of this slice.

use std::time::Duration;

use crate::kernel::config::{Key, KeyKind, Rule, Settings};
use crate::kernel::error::Result;

/// Section `liquid`.
pub const KEYS: &[Key] = &[
    Key::new("liquid.max_runs", KeyKind::Integer, "4", "Runs at the same time; others wait.")
        .must(Rule::Between(1, 1_000)),
    Key::new(
        "liquid.max_nodes",
        KeyKind::Integer,
        "0",
        "Nodes of one parallel run at the same time; 0 takes the number of cores.",
    )
    .must(Rule::Between(0, 1_000)),
    Key::new("liquid.max_queued", KeyKind::Integer, "10000", "Runs that may wait.")
        .must(Rule::Between(1, 1_000_000)),
    Key::optional(
        "liquid.retention",
        KeyKind::Duration,
        "How long runs are kept after their end, such as \"90d\". Without it they are kept for ever.",
    ),
];

/// How much runs at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Runs at the same time.
    pub max_runs: usize,
    /// Nodes of one parallel run at the same time; 0 takes the number of cores.
    pub max_nodes: usize,
    /// Runs that may wait.
    pub max_queued: usize,
    /// How long runs are kept after their end.
    pub retention: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_runs: 4, max_nodes: 0, max_queued: 10_000, retention: None }
    }
}

impl Config {
    /// Reads the section.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            max_runs: settings.integer("liquid.max_runs")?,
            max_nodes: settings.integer("liquid.max_nodes")?,
            max_queued: settings.integer("liquid.max_queued")?,
            retention: settings.given("liquid.retention", Settings::duration)?,
        })
    }

    /// How wide a parallel run is.
    pub(super) fn width(&self) -> usize {
        match self.max_nodes {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            set => set,
        }
    }
}
