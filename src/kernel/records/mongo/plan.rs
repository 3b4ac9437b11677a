//! What a group of sets comes to, decided before anything is written: which rows, which numbers, and
//! the answer for each set. It asks nothing of the server and can be tested without one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::kernel::error::Result;
use crate::kernel::records::{ChangeSet, Receipt, check, log_key};

/// Revisions of rows as a transaction reads them; rows that are absent are left out.
pub(super) type Revisions = HashMap<String, u64>;
/// The last number that each log gave out.
pub(super) type Numbers = BTreeMap<String, u64>;

/// A row as the sets so far leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand<'a> {
    revision: Option<u64>,
    /// What must be written; none where the row is as it was read.
    write: Option<Write<'a>>,
}

/// One row's write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write<'a> {
    /// The row's new revision and value.
    Put(u64, &'a [u8]),
    /// The row goes.
    Delete,
}

/// What a group comes to.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    rows: HashMap<Cow<'a, str>, Stand<'a>>,
    numbers: Numbers,
    answers: Vec<Result<Receipt>>,
    read: &'a Revisions,
}

impl<'a> Plan<'a> {
    /// Decides about every set, in order; each sees what those before it did.
    pub(super) fn of(sets: &'a [ChangeSet], read: &'a Revisions, numbers: Numbers) -> Self {
        let mut plan = Self { rows: HashMap::new(), numbers, answers: Vec::new(), read };
        for set in sets {
            let answer = plan.apply(set);
            plan.answers.push(answer);
        }
        plan
    }

    /// The rows to write. In byte order: two writers that touch the same rows meet at the first.
    pub(super) fn writes(&self) -> Vec<(&str, Write<'a>)> {
        let written = self.rows.iter().filter_map(|(key, stand)| {
            // A row that came and went within the group was never there.
            let write = stand.write.filter(|write| {
                !matches!(write, Write::Delete) || self.read.contains_key(key.as_ref())
            });
            Some((key.as_ref(), write?))
        });
        let mut written: Vec<_> = written.collect();
        written.sort_unstable_by_key(|(key, _)| *key);
        written
    }

    /// The last number that each log has given out after the group.
    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The answer for each set.
    pub(super) fn into_answers(self) -> Vec<Result<Receipt>> {
        self.answers
    }

    fn apply(&mut self, set: &'a ChangeSet) -> Result<Receipt> {
        let mut receipt = Receipt::default();
        let mut undo = Vec::new();
        for change in &set.changes {
            let current = self.revision(&change.key);
            if let Err(refused) = check(change, current) {
                self.take_back(undo);
                return Err(refused);
            }
            let (revision, write) = match &change.value {
                Some(value) => {
                    let revision = current.unwrap_or(0) + 1;
                    (Some(revision), Some(Write::Put(revision, value)))
                }
                None => (None, Some(Write::Delete)),
            };
            receipt.revisions.push(revision.unwrap_or(0));
            let key = Cow::Borrowed(change.key.as_str());
            let old = self.rows.insert(key, Stand { revision, write });
            undo.push((change.key.as_str(), old));
        }
        for append in &set.appends {
            let number = self.numbers.entry(append.log.to_owned()).or_insert(0);
            *number += 1;
            receipt.numbers.push(*number);
            let key = Cow::Owned(log_key(append.log, *number));
            let write = Some(Write::Put(1, append.value.as_slice()));
            self.rows.insert(key, Stand { revision: Some(1), write });
        }
        Ok(receipt)
    }

    fn revision(&self, key: &str) -> Option<u64> {
        match self.rows.get(key) {
            Some(stand) => stand.revision,
            None => self.read.get(key).copied(),
        }
    }

    /// Undoes the first changes of a set whose later expectation failed: the others of its group stay.
    fn take_back(&mut self, undo: Vec<(&'a str, Option<Stand<'a>>)>) {
        for (key, old) in undo.into_iter().rev() {
            match old {
                Some(stand) => drop(self.rows.insert(Cow::Borrowed(key), stand)),
                None => drop(self.rows.remove(key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kind;
    use crate::kernel::records::Expect;

    fn put(key: &str, expect: Expect, value: &str) -> ChangeSet {
        ChangeSet::new().put(key, expect, value.as_bytes().to_vec())
    }

    fn read(rows: &[(&str, u64)]) -> Revisions {
        rows.iter().map(|(key, revision)| ((*key).to_owned(), *revision)).collect()
    }

    #[test]
    fn a_set_that_is_refused_leaves_no_trace_in_its_group() {
        let sets = [
            put("a", Expect::Revision(7), "1").append("feed", b"x".to_vec()),
            put("a", Expect::Any, "lost")
                .put("new", Expect::Absent, Vec::new())
                .append("feed", b"lost".to_vec())
                .put("a", Expect::Revision(7), b"stale".to_vec()),
            put("b", Expect::Absent, "2").append("feed", b"y".to_vec()),
        ];
        let rows = read(&[("a", 7)]);
        let plan = Plan::of(&sets, &rows, Numbers::from([("feed".to_owned(), 4)]));
        let expected = [
            ("a", Write::Put(8, b"1")),
            ("b", Write::Put(1, b"2")),
            ("feed/00000000000000000005", Write::Put(1, b"x")),
            ("feed/00000000000000000006", Write::Put(1, b"y")),
        ];
        assert_eq!(plan.writes(), expected);
        assert_eq!(plan.numbers()["feed"], 6);
        let answers = plan.into_answers();
        assert_eq!(answers[0].as_ref().unwrap().numbers, [5]);
        assert_eq!(answers[1].as_ref().unwrap_err().kind(), Kind::Stale);
        assert_eq!(answers[2].as_ref().unwrap().numbers, [6]);
    }

    #[test]
    fn sets_of_a_group_see_each_other() {
        let sets = [put("a", Expect::Absent, "1"), put("a", Expect::Absent, "2")];
        let rows = read(&[]);
        let answers = Plan::of(&sets, &rows, Numbers::new()).into_answers();
        assert_eq!(answers[0].as_ref().unwrap().revisions, [1]);
        assert_eq!(answers[1].as_ref().unwrap_err().kind(), Kind::Conflict);
    }

    #[test]
    fn only_rows_that_were_there_are_deleted() {
        let sets = [
            ChangeSet::new().delete("there", Expect::Present).delete("absent", Expect::Any),
            put("came", Expect::Absent, "1"),
            ChangeSet::new().delete("came", Expect::Revision(1)),
        ];
        let rows = read(&[("there", 2)]);
        let plan = Plan::of(&sets, &rows, Numbers::new());
        assert_eq!(plan.writes(), [("there", Write::Delete)]);
        assert!(plan.into_answers().iter().all(Result::is_ok));
    }
}
