#![cfg(test)]
//! Records against a map: whatever is done in whatever order, a store answers as the map does.

use std::collections::BTreeMap;

use drip::kernel::Kind;
use drip::kernel::records::{
    ChangeSet, Expect, MemoryRecords, Records, RedbRecords, Row, Scan, log_key,
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use crate::support::sim_disk::SimDisk;

/// What can be done to a store. Keys are few, so that they meet.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Apply(Vec<Edit>),
    Get(usize),
    Scan(ScanOf),
    Reopen,
}

#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put(usize, Expecting, Vec<u8>),
    Delete(usize, Expecting),
    Append(usize, Vec<u8>),
}

/// An expectation, before it is known what holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expecting {
    Any,
    Absent,
    Present,
    /// The revision that the row has before the set, plus this.
    Current(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct ScanOf {
    prefix: usize,
    after: Option<usize>,
    reverse: bool,
    limit: usize,
}

const KEYS: [&str; 8] = ["a", "a/1", "a/10", "a/2", "b", "b/风", "b/\u{10FFFF}", "feed"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "b/", "feed/"];
const LOGS: [&str; 2] = ["feed", "other"];

fn expecting() -> impl Strategy<Value = Expecting> {
    prop_oneof![
        4 => Just(Expecting::Any),
        1 => Just(Expecting::Absent),
        1 => Just(Expecting::Present),
        2 => (0..2_u64).prop_map(Expecting::Current),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let value = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (0..KEYS.len(), expecting(), value()).prop_map(|(k, e, v)| Edit::Put(k, e, v)),
        2 => (0..KEYS.len(), expecting()).prop_map(|(k, e)| Edit::Delete(k, e)),
        1 => (0..LOGS.len(), value()).prop_map(|(l, v)| Edit::Append(l, v)),
    ]
}

fn scan() -> impl Strategy<Value = ScanOf> {
    let after = proptest::option::of(0..KEYS.len());
    let parts = (0..PREFIXES.len(), after, any::<bool>(), 0..4_usize);
    parts.prop_map(|(prefix, after, reverse, limit)| ScanOf { prefix, after, reverse, limit })
}

pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        5 => proptest::collection::vec(edit(), 0..4).prop_map(Action::Apply),
        2 => (0..KEYS.len()).prop_map(Action::Get),
        2 => scan().prop_map(Action::Scan),
        1 => Just(Action::Reopen),
    ];
    proptest::collection::vec(action, 1..40)
}

#[derive(Debug, Clone, Default)]
struct Model {
    rows: BTreeMap<String, (u64, Vec<u8>)>,
    numbers: BTreeMap<&'static str, u64>,
}

impl Model {
    fn revision(&self, key: &str) -> Option<u64> {
        self.rows.get(key).map(|(revision, _)| *revision)
    }

    fn expect(&self, key: &str, expecting: Expecting) -> Expect {
        match expecting {
            Expecting::Any => Expect::Any,
            Expecting::Absent => Expect::Absent,
            Expecting::Present => Expect::Present,
            Expecting::Current(off) => Expect::Revision(self.revision(key).unwrap_or(0) + off),
        }
    }

    fn set(&self, edits: &[Edit]) -> ChangeSet {
        edits.iter().fold(ChangeSet::new(), |set, edit| match edit {
            Edit::Put(key, expecting, value) => {
                let key = KEYS[*key];
                set.put(key, self.expect(key, *expecting), value.clone())
            }
            Edit::Delete(key, expecting) => {
                let key = KEYS[*key];
                set.delete(key, self.expect(key, *expecting))
            }
            Edit::Append(log, value) => set.append(LOGS[*log], value.clone()),
        })
    }

    /// What a set does, said anew: revisions and numbers, or the kind of the refusal.
    fn apply(&mut self, set: &ChangeSet) -> Result<(Vec<u64>, Vec<u64>), Kind> {
        let mut next = self.clone();
        let mut revisions = Vec::new();
        for change in &set.changes {
            let current = next.revision(&change.key);
            match (change.expect, current) {
                (Expect::Absent, Some(_)) => return Err(Kind::Conflict),
                (Expect::Present, None) => return Err(Kind::NotFound),
                (Expect::Revision(wanted), found) if found != Some(wanted) => {
                    return Err(Kind::Stale);
                }
                _ => {}
            }
            let revision = if let Some(value) = &change.value {
                let revision = current.unwrap_or(0) + 1;
                let row = (revision, value.clone());
                next.rows.insert(change.key.clone(), row);
                revision
            } else {
                next.rows.remove(&change.key);
                0
            };
            revisions.push(revision);
        }
        let mut numbers = Vec::new();
        for append in &set.appends {
            let number = next.numbers.entry(append.log).or_default();
            *number += 1;
            numbers.push(*number);
            let key = log_key(append.log, *number);
            next.rows.insert(key, (1, append.value.clone()));
        }
        *self = next;
        Ok((revisions, numbers))
    }

    fn row(&self, key: &str) -> Option<Row> {
        self.rows.get(key).map(|(revision, value)| Row {
            key: key.to_owned(),
            revision: *revision,
            value: value.clone(),
        })
    }

    fn scan(&self, scan: &Scan) -> Vec<Row> {
        let beyond = |key: &String| match &scan.after {
            None => true,
            Some(after) if scan.reverse => key < after,
            Some(after) => key > after,
        };
        let mut keys: Vec<_> =
            self.rows.keys().filter(|key| key.starts_with(&scan.prefix) && beyond(key)).collect();
        if scan.reverse {
            keys.reverse();
        }
        if scan.limit > 0 {
            keys.truncate(scan.limit);
        }
        keys.into_iter().filter_map(|key| self.row(key)).collect()
    }
}

/// Does the actions to a store and to the map; `reopen` closes a store and opens what it left.
pub(crate) fn compare(
    actions: &[Action],
    open: &mut dyn FnMut(Option<Box<dyn Records>>) -> Box<dyn Records>,
) {
    let mut store = open(None);
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Apply(edits) => {
                let set = model.set(edits);
                let expected = model.apply(&set);
                let found = store.apply(set);
                let found = found
                    .map(|receipt| (receipt.revisions, receipt.numbers))
                    .map_err(|error| error.kind());
                assert_eq!(found, expected);
            }
            Action::Get(key) => {
                assert_eq!(store.get(KEYS[*key]).unwrap(), model.row(KEYS[*key]));
            }
            Action::Scan(of) => {
                let scan = Scan {
                    prefix: PREFIXES[of.prefix].to_owned(),
                    after: of.after.map(|key| KEYS[key].to_owned()),
                    reverse: of.reverse,
                    limit: of.limit,
                };
                assert_eq!(store.scan(&scan).unwrap(), model.scan(&scan), "{scan:?}");
            }
            Action::Reopen => store = open(Some(store)),
        }
    }
    let all = Scan::default();
    assert_eq!(store.scan(&all).unwrap(), model.scan(&all));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_answers_as_a_map_does(actions in actions()) {
        compare(&actions, &mut |store| {
            // Memory is not kept: what is there is what was opened.
            store.unwrap_or_else(|| Box::new(MemoryRecords::new()))
        });
    }

    #[test]
    fn redb_answers_as_a_map_does(actions in actions()) {
        let disk = SimDisk::new();
        compare(&actions, &mut |store| {
            drop(store);
            Box::new(RedbRecords::with_backend(disk.open("rows.redb")).unwrap())
        });
    }
}

proptest! {
    // Real syncs are slow; what differs from the disk in memory is only the file.
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_redb_file_answers_as_a_map_does(actions in actions()) {
        let folder = tempfile::tempdir().unwrap();
        compare(&actions, &mut |store| {
            drop(store);
            Box::new(RedbRecords::open(&folder.path().join("rows.redb")).unwrap())
        });
    }
}
