//! Rows in memory: for tests, and for trying things. Nothing is durable here.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ChangeSet, Receipt, Records, Row, Scan, check, log_key, prefix_end};
use crate::kernel::error::Result;

/// A store that lives as long as its process.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    state: Mutex<State>,
}

/// A row without its key: the revision and the value.
type Kept = (u64, Vec<u8>);

#[derive(Debug, Default, Clone)]
struct State {
    rows: BTreeMap<String, Kept>,
    numbers: HashMap<&'static str, u64>,
}

impl MemoryRecords {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A set is applied to a copy and swapped in, so a panic half-way leaves nothing behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for MemoryRecords {
    fn get(&self, key: &str) -> Result<Option<Row>> {
        Ok(self.lock().rows.get(key).map(|(revision, value)| Row {
            key: key.to_owned(),
            revision: *revision,
            value: value.clone(),
        }))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>> {
        let state = self.lock();
        let end = prefix_end(&scan.prefix);
        let upper = match (&scan.after, scan.reverse) {
            (Some(before), true) if end.as_ref().is_none_or(|end| before < end) => {
                Bound::Excluded(before.as_str())
            }
            _ => end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        };
        if is_empty(scan.start(), upper) {
            return Ok(Vec::new());
        }
        let range = state.rows.range::<str, _>((scan.start(), upper));
        let row = |(key, (revision, value)): (&String, &(u64, Vec<u8>))| Row {
            key: key.clone(),
            revision: *revision,
            value: value.clone(),
        };
        let limit = if scan.limit == 0 { usize::MAX } else { scan.limit };
        Ok(if scan.reverse {
            range.rev().take(limit).map(row).collect()
        } else {
            range.take(limit).map(row).collect()
        })
    }

    fn apply(&self, set: ChangeSet) -> Result<Receipt> {
        let mut state = self.lock();
        let mut undo: Vec<(String, Option<Kept>)> = Vec::new();
        let mut receipt = Receipt::default();
        for change in set.changes {
            let current = state.rows.get(&change.key).map(|(revision, _)| *revision);
            if let Err(error) = check(&change, current) {
                for (key, old) in undo.into_iter().rev() {
                    match old {
                        Some(row) => state.rows.insert(key, row),
                        None => state.rows.remove(&key),
                    };
                }
                return Err(error);
            }
            let revision = if change.value.is_some() { current.unwrap_or(0) + 1 } else { 0 };
            let old = match change.value {
                Some(value) => state.rows.insert(change.key.clone(), (revision, value)),
                None => state.rows.remove(&change.key),
            };
            undo.push((change.key, old));
            receipt.revisions.push(revision);
        }
        for append in set.appends {
            let number = state.numbers.entry(append.log).or_insert(0);
            *number += 1;
            let number = *number;
            state.rows.insert(log_key(append.log, number), (1, append.value));
            receipt.numbers.push(number);
        }
        Ok(receipt)
    }
}

/// `BTreeMap::range` panics on a range that ends before it begins; an empty answer is meant.
fn is_empty(start: Bound<&str>, end: Bound<&str>) -> bool {
    match (start, end) {
        (Bound::Excluded(a) | Bound::Included(a), Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::records::conformance;

    #[test]
    fn memory_passes_the_suite() {
        conformance::run(&|| std::sync::Arc::new(MemoryRecords::new()));
    }
}
