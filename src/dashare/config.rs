//! The settings of DaShare.

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
