//! Metadata: rows of bytes under text keys, changed in sets that hold together.
//!
//! One trait, its adapters, the opener and the suite that every adapter passes stand in this folder.
//! The trait has three verbs: [`Records::get`], [`Records::scan`] and [`Records::apply`]. It is
//! sync; an async caller goes through [`crate::kernel::off_thread`].
//!
//! A [`ChangeSet`] is wholly there or wholly absent. When `apply` answers, it is durable: it survives
//! `kill -9` and a power cut. Sets from many callers share one durable commit, and a set whose
//! expectation fails, fails alone.

use std::sync::Arc;

use super::error::{Error, Kind, Result};

#[expect(clippy::expect_used, reason = "the suite fails by panicking, with the promise's name")]
pub mod conformance;
#[cfg(any(feature = "redb", feature = "mongo"))]
mod group;
mod memory;
#[cfg(feature = "mongo")]
mod mongo;
mod open;
#[cfg(feature = "redb")]
mod redb;

#[cfg(feature = "redb")]
pub use self::redb::{Options, RedbRecords};
pub use memory::MemoryRecords;
#[cfg(feature = "mongo")]
pub use mongo::MongoRecords;
pub use open::{open, open_for};

/// A row as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The whole key.
    pub key: String,
    /// How often this row was written since it was last absent: 1 for a new row.
    pub revision: u64,
    /// What was written.
    pub value: Vec<u8>,
}

/// What must be true of a row for a change to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no such row.
    Absent,
    /// There is one, of any revision.
    Present,
    /// There is one, of this revision.
    Revision(u64),
}

/// One row's change: a new value, or none to delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row.
    pub key: String,
    /// What must be true of it before.
    pub expect: Expect,
    /// The new value; nothing deletes the row.
    pub value: Option<Vec<u8>>,
}

/// A value at the end of a numbered log, such as a slice's feed.
///
/// The number is given out inside the commit, so numbers have no gaps and later numbers are never
/// visible before earlier ones. The row's key is [`log_key`] of the log and the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The log's name.
    pub log: &'static str,
    /// What is kept.
    pub value: Vec<u8>,
}

/// Changes that hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Rows, in order; a later change of the same row sees the earlier one.
    pub changes: Vec<Change>,
    /// Values for numbered logs, in order.
    pub appends: Vec<Append>,
}

impl ChangeSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row, if `expect` holds.
    pub fn put(mut self, key: impl Into<String>, expect: Expect, value: Vec<u8>) -> Self {
        self.changes.push(Change { key: key.into(), expect, value: Some(value) });
        self
    }

    /// Deletes a row, if `expect` holds. Deleting an absent row is no change.
    pub fn delete(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.changes.push(Change { key: key.into(), expect, value: None });
        self
    }

    /// Puts a value at the end of a numbered log.
    pub fn append(mut self, log: &'static str, value: Vec<u8>) -> Self {
        self.appends.push(Append { log, value });
        self
    }

    /// The bytes of its keys and values.
    #[cfg(any(feature = "redb", feature = "mongo"))]
    fn bytes(&self) -> usize {
        let value = |value: Option<&Vec<u8>>| value.map_or(0, Vec::len);
        let changes = self.changes.iter().map(|c| c.key.len() + value(c.value.as_ref()));
        let appends = self.appends.iter().map(|append| append.value.len());
        changes.chain(appends).sum()
    }

    /// Takes over what another set would do, after what this one does.
    pub fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self.appends.extend(other.appends);
        self
    }
}

/// What a set left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// For each change the row's revision after it; 0 for a deleted row.
    pub revisions: Vec<u64>,
    /// For each append the number it got.
    pub numbers: Vec<u64>,
}

/// Which rows a [`Records::scan`] answers, in byte order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Only keys that start so.
    pub prefix: String,
    /// Only keys beyond this one (before it, when `reverse`).
    pub after: Option<String>,
    /// From the end to the beginning.
    pub reverse: bool,
    /// At most so many rows; 0 for all.
    pub limit: usize,
}

impl Scan {
    /// All rows under a prefix.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Only what lies beyond `key`.
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// At most so many rows.
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    /// From the end to the beginning.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Where a forward scan starts: the key, and whether it belongs to it.
    fn start(&self) -> std::ops::Bound<&str> {
        match &self.after {
            Some(after) if !self.reverse && after.as_str() >= self.prefix.as_str() => {
                std::ops::Bound::Excluded(after)
            }
            _ => std::ops::Bound::Included(&self.prefix),
        }
    }
}

/// A store of rows. See the module's page for what it promises.
pub trait Records: Send + Sync + 'static {
    /// One row.
    fn get(&self, key: &str) -> Result<Option<Row>>;
    /// Rows in byte order of their keys, as of one moment.
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>>;
    /// How many rows there are under a prefix.
    fn count(&self, prefix: &str) -> Result<u64> {
        Ok(self.scan(&Scan::prefix(prefix))?.len() as u64)
    }
    /// Applies a set, durably, or nothing of it.
    fn apply(&self, set: ChangeSet) -> Result<Receipt>;
    /// Whether the store still accepts writes, and why not.
    fn health(&self) -> Result<()> {
        Ok(())
    }
    /// Whether other programs write to the same rows: then what is new must be looked for.
    fn is_shared(&self) -> bool {
        false
    }
}

/// A store that several owners share.
pub type SharedRecords = Arc<dyn Records>;

/// The key of a log's entry: numbers are padded so that byte order is number order.
pub fn log_key(log: &str, number: u64) -> String {
    format!("{log}/{number:020}")
}

/// The number in a key that [`log_key`] made.
pub fn log_number(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

/// The first text that is greater than every text with this prefix; none when there is no such.
fn prefix_end(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The next scalar value; surrogates are not scalar values, so `char` steps over them.
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// Checks one expectation against the row's current revision.
fn check(change: &Change, current: Option<u64>) -> Result<()> {
    let key = &change.key;
    match (change.expect, current) {
        (Expect::Any, _) | (Expect::Absent, None) | (Expect::Present, Some(_)) => Ok(()),
        (Expect::Revision(expected), Some(found)) if expected == found => Ok(()),
        (Expect::Absent, Some(_)) => {
            Err(Error::new(Kind::Conflict, "row_exists", format!("`{key}` exists already")))
        }
        (Expect::Present, None) => {
            Err(Error::new(Kind::NotFound, "row_missing", format!("`{key}` does not exist")))
        }
        (Expect::Revision(expected), found) => Err(Error::new(
            Kind::Stale,
            "stale_revision",
            format!(
                "`{key}` was expected at revision {expected} and is at {}",
                found.map_or_else(|| "none".to_owned(), |revision| revision.to_string())
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_beyond_all_that_start_so() {
        assert_eq!(prefix_end("card/"), Some("card0".into()));
        assert_eq!(prefix_end(""), None);
        assert_eq!(prefix_end("a\u{10FFFF}"), Some("b".into()));
        assert_eq!(prefix_end("\u{D7FF}"), Some("\u{E000}".into()));
    }

    #[test]
    fn log_keys_sort_as_numbers() {
        assert!(log_key("feed", 9) < log_key("feed", 10));
        assert_eq!(log_number(&log_key("feed", 10)), Some(10));
    }
}
