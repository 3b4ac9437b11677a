//! The settings of DaShare.

use crate::kernel::Result;
use crate::kernel::config::{Key, KeyKind, Rule, Settings};

/// The section `dashare`.
pub const KEYS: &[Key] = &[
    Key::new(
        "dashare.max_answer",
        KeyKind::Bytes,
        r#""256MiB""#,
        "The most bytes of one answer; larger ones are refused before anything is charged.",
    )
    .must(Rule::Between(1 << 10, 4 << 30)),
    Key::new(
        "dashare.max_rows",
        KeyKind::Integer,
        "5000000",
        "The most rows of one answer and of one SQL query.",
    )
    .must(Rule::Between(1, 1_000_000_000)),
    Key::new(
        "dashare.answers",
        KeyKind::Integer,
        "4",
        "How many answers with data are built at once; further requests wait.",
    )
    .must(Rule::Between(1, 256)),
];

/// How much one answer may be, and how many are built at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most bytes of one answer. Larger ones are refused before anything is charged.
    pub max_answer: u64,
    /// The most rows of one answer, and of one SQL query.
    pub max_rows: usize,
    /// How many answers are built at once; further requests wait.
    pub answers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_answer: 256 << 20, max_rows: 5_000_000, answers: 4 }
    }
}

impl Config {
    /// Reads the section `dashare`.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            max_answer: settings.bytes("dashare.max_answer")?,
            max_rows: settings.integer("dashare.max_rows")?,
            answers: settings.integer("dashare.answers")?,
        })
    }
}
