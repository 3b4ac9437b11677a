//! Several daemons on one store: the marks of chunks that are to go, in the records that they share.
//! See `kernel/blobs/shared.rs`.

use std::time::Duration;

use super::format::DoomRow;
use super::store::{Found, raced};
use crate::kernel::blobs::Marks;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, SharedRecords};
use crate::kernel::{Digest, Result, Time};

/// How long a sweeper may take between saying that a chunk goes and its going; then another takes over.
const GOING: Duration = Duration::from_mins(5);

/// The marks, as rows.
pub(super) struct Doomed {
    pub records: SharedRecords,
}

fn key(chunk: Digest) -> String {
    format!("doomed/{chunk}")
}

impl Doomed {
    fn find(&self, chunk: Digest) -> Result<Option<Found<DoomRow>>> {
        let Some(row) = self.records.get(&key(chunk))? else {
            return Ok(None);
        };
        Ok(Some(Found { revision: row.revision, row: decode(&row.value)? }))
    }

    /// Applies a change of one mark; no when another came first.
    fn change(&self, set: ChangeSet) -> Result<bool> {
        match self.records.apply(set) {
            Ok(_) => Ok(true),
            Err(error) if raced(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Marks for Doomed {
    fn spare(&self, chunk: Digest) -> Result<bool> {
        match self.find(chunk)? {
            None => Ok(true),
            Some(found) if found.row.is_going => Ok(false),
            Some(found) => {
                let expect = Expect::Revision(found.revision);
                self.change(ChangeSet::new().delete(key(chunk), expect))
            }
        }
    }

    fn doom(&self, chunk: Digest, now: Time, grace: Duration) -> Result<bool> {
        let mark = |is_going, expect| -> Result<bool> {
            let row = encode(&DoomRow { is_going, at: now })?;
            self.change(ChangeSet::new().put(key(chunk), expect, row))
        };
        match self.find(chunk)? {
            None => mark(false, Expect::Absent).map(|_marked| false),
            Some(found) => {
                let patience = if found.row.is_going { GOING } else { grace };
                if now.since(found.row.at) < patience {
                    return Ok(false);
                }
                mark(true, Expect::Revision(found.revision))
            }
        }
    }

    fn settle(&self, chunk: Digest) -> Result<()> {
        self.records.apply(ChangeSet::new().delete(key(chunk), Expect::Any)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::records::MemoryRecords;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_chunk_goes_after_its_grace_and_not_when_someone_wants_it() {
        let marks = Doomed { records: Arc::new(MemoryRecords::new()) };
        let chunk = Digest::of(b"x");
        let at = |hours: u32| Time(0).after(HOUR * hours);
        assert!(marks.spare(chunk).unwrap(), "there is no mark");
        assert!(!marks.doom(chunk, at(0), HOUR).unwrap(), "it is marked");
        assert!(!marks.doom(chunk, at(0), HOUR).unwrap(), "its grace is not over");
        assert!(marks.spare(chunk).unwrap(), "someone wants it");
        assert!(!marks.doom(chunk, at(1), HOUR).unwrap(), "so it begins anew");
        assert!(marks.doom(chunk, at(2), HOUR).unwrap(), "it goes");
        assert!(!marks.spare(chunk).unwrap(), "nobody relies on it now");
        assert!(!marks.doom(chunk, at(2), HOUR).unwrap(), "and nobody else removes it");
        // Whoever removed it died: another takes over.
        assert!(marks.doom(chunk, at(3), HOUR).unwrap());
        marks.settle(chunk).unwrap();
        assert!(marks.spare(chunk).unwrap());
    }
}
