//! What every [`Records`] must do, as a suite that anyone with an adapter can run.
//!
//! ```
//! use std::sync::Arc;
//! use drip::kernel::records::{MemoryRecords, conformance};
//!
//! conformance::run(&|| Arc::new(MemoryRecords::new()));
//! ```
//!
//! `make` opens a new, empty store each time it is called. The suite panics with the name of the
//! promise that was broken.

use std::collections::HashSet;
use std::sync::Arc;

use super::{ChangeSet, Expect, Receipt, Records, Scan, SharedRecords, log_key};
use crate::kernel::error::Kind;

/// Opens a new, empty store.
pub type Make<'a> = &'a dyn Fn() -> SharedRecords;

/// Runs every check.
pub fn run(make: Make<'_>) {
    for (promise, check) in CHECKS {
        let store = make();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&store)));
        assert!(outcome.is_ok(), "the promise `{promise}` was broken; see the message above");
    }
}

type Check = fn(&SharedRecords);

const CHECKS: &[(&str, Check)] = &[
    ("an absent row is none", an_absent_row_is_none),
    ("a row is read as it was written", a_row_is_read_as_written),
    ("revisions count up and start anew after a delete", revisions_count_up),
    ("every expectation is checked", every_expectation_is_checked),
    ("a set is wholly there or wholly absent", a_set_is_whole),
    ("a later change of a set sees the earlier one", changes_see_each_other),
    ("a refused set takes no number", a_refused_set_takes_no_number),
    ("numbers have no gaps under many writers", numbers_have_no_gaps),
    ("one of many racing writers wins", one_racer_wins),
    ("scans answer in byte order, by prefix, in pages", scans_page),
    ("scans go backwards", scans_go_backwards),
    ("keys and values are any text and any bytes", any_text_and_bytes),
    ("an empty set is accepted", an_empty_set_is_accepted),
];

fn put(store: &SharedRecords, key: &str, expect: Expect, value: &[u8]) -> super::Result<Receipt> {
    store.apply(ChangeSet::new().put(key, expect, value.to_vec()))
}

fn value(store: &SharedRecords, key: &str) -> Option<Vec<u8>> {
    store.get(key).expect("get answers").map(|row| row.value)
}

fn keys(store: &SharedRecords, scan: &Scan) -> Vec<String> {
    store.scan(scan).expect("scan answers").into_iter().map(|row| row.key).collect()
}

fn an_absent_row_is_none(store: &SharedRecords) {
    assert_eq!(store.get("nothing").expect("get answers"), None);
    assert_eq!(keys(store, &Scan::prefix("")), Vec::<String>::new());
}

fn a_row_is_read_as_written(store: &SharedRecords) {
    put(store, "a/1", Expect::Any, b"one").expect("written");
    let row = store.get("a/1").expect("get answers").expect("there");
    assert_eq!((row.key.as_str(), row.revision, row.value.as_slice()), ("a/1", 1, &b"one"[..]));
}

fn revisions_count_up(store: &SharedRecords) {
    for expected in 1..=3 {
        let receipt = put(store, "a", Expect::Any, b"x").expect("written");
        assert_eq!(receipt.revisions, vec![expected]);
    }
    let gone = store.apply(ChangeSet::new().delete("a", Expect::Revision(3))).expect("deleted");
    assert_eq!(gone.revisions, vec![0]);
    assert_eq!(put(store, "a", Expect::Absent, b"x").expect("written").revisions, vec![1]);
}

fn every_expectation_is_checked(store: &SharedRecords) {
    let kind = |outcome: super::Result<Receipt>| outcome.expect_err("must be refused").kind();
    assert_eq!(kind(put(store, "a", Expect::Present, b"x")), Kind::NotFound);
    assert_eq!(kind(put(store, "a", Expect::Revision(1), b"x")), Kind::Stale);
    put(store, "a", Expect::Absent, b"1").expect("written");
    assert_eq!(kind(put(store, "a", Expect::Absent, b"x")), Kind::Conflict);
    assert_eq!(kind(put(store, "a", Expect::Revision(2), b"x")), Kind::Stale);
    let delete = ChangeSet::new().delete("a", Expect::Revision(9));
    assert_eq!(kind(store.apply(delete)), Kind::Stale);
    assert_eq!(value(store, "a"), Some(b"1".to_vec()));
    put(store, "a", Expect::Revision(1), b"2").expect("written");
    put(store, "a", Expect::Present, b"3").expect("written");
    store.apply(ChangeSet::new().delete("b", Expect::Any)).expect("nothing to delete");
}

fn a_set_is_whole(store: &SharedRecords) {
    put(store, "kept", Expect::Any, b"old").expect("written");
    put(store, "gone", Expect::Any, b"old").expect("written");
    let set = ChangeSet::new()
        .put("kept", Expect::Any, b"new".to_vec())
        .put("made", Expect::Absent, b"new".to_vec())
        .delete("gone", Expect::Any)
        .put("kept", Expect::Revision(99), b"newer".to_vec());
    store.apply(set).expect_err("the last expectation fails");
    assert_eq!(value(store, "kept"), Some(b"old".to_vec()));
    assert_eq!(value(store, "made"), None);
    assert_eq!(value(store, "gone"), Some(b"old".to_vec()));
}

fn changes_see_each_other(store: &SharedRecords) {
    let set = ChangeSet::new()
        .put("a", Expect::Absent, b"1".to_vec())
        .put("a", Expect::Revision(1), b"2".to_vec())
        .delete("a", Expect::Revision(2))
        .put("a", Expect::Absent, b"3".to_vec());
    assert_eq!(store.apply(set).expect("applied").revisions, vec![1, 2, 0, 1]);
    assert_eq!(value(store, "a"), Some(b"3".to_vec()));
}

fn a_refused_set_takes_no_number(store: &SharedRecords) {
    let first = store.apply(ChangeSet::new().append("feed", b"1".to_vec())).expect("appended");
    let refused =
        ChangeSet::new().append("feed", b"lost".to_vec()).put("a", Expect::Present, b"x".to_vec());
    store.apply(refused).expect_err("`a` is absent");
    let second = ChangeSet::new().append("feed", b"2".to_vec()).append("other", b"1".to_vec());
    let second = store.apply(second).expect("appended");
    assert_eq!((first.numbers, second.numbers), (vec![1], vec![2, 1]));
    assert_eq!(value(store, &log_key("feed", 2)), Some(b"2".to_vec()));
}

fn numbers_have_no_gaps(store: &SharedRecords) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 12;
    let given: Vec<u64> = std::thread::scope(|scope| {
        let write = |writer: u64| {
            let store = store.clone();
            move || -> Vec<u64> {
                let one = |n| {
                    let set = ChangeSet::new()
                        .put(format!("row/{writer}/{n}"), Expect::Absent, Vec::new())
                        .append("feed", format!("{writer}/{n}").into_bytes());
                    store.apply(set).expect("appended").numbers
                };
                (0..EACH).flat_map(one).collect()
            }
        };
        let threads: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let distinct: HashSet<u64> = given.iter().copied().collect();
    assert_eq!(distinct, (1..=WRITERS * EACH).collect(), "each number once, none left out");
    let kept = keys(store, &Scan::prefix("feed/"));
    assert_eq!(kept, (1..=WRITERS * EACH).map(|n| log_key("feed", n)).collect::<Vec<_>>());
}

fn one_racer_wins(store: &SharedRecords) {
    put(store, "contested", Expect::Absent, b"start").expect("written");
    let wins: usize = std::thread::scope(|scope| {
        let race = |racer: u8| {
            let store: Arc<dyn Records> = store.clone();
            move || usize::from(put(&store, "contested", Expect::Revision(1), &[racer]).is_ok())
        };
        let threads: Vec<_> = (0..8).map(|racer| scope.spawn(race(racer))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(wins, 1);
}

fn scans_page(store: &SharedRecords) {
    for key in ["b/2", "a/1", "b/10", "b/1", "b", "c", "b0"] {
        put(store, key, Expect::Absent, key.as_bytes()).expect("written");
    }
    assert_eq!(keys(store, &Scan::prefix("b/")), ["b/1", "b/10", "b/2"]);
    assert_eq!(store.count("b/").expect("count answers"), 3);
    assert_eq!(keys(store, &Scan::prefix("b/").limit(2)), ["b/1", "b/10"]);
    assert_eq!(keys(store, &Scan::prefix("b/").after("b/10").limit(2)), ["b/2"]);
    assert_eq!(keys(store, &Scan::prefix("b/").after("a")), ["b/1", "b/10", "b/2"]);
    assert_eq!(keys(store, &Scan::prefix("b/").after("z")), Vec::<String>::new());
    assert_eq!(keys(store, &Scan::default()), ["a/1", "b", "b/1", "b/10", "b/2", "b0", "c"]);
}

fn scans_go_backwards(store: &SharedRecords) {
    for key in ["a", "b/1", "b/2", "b/3", "c"] {
        put(store, key, Expect::Absent, b"").expect("written");
    }
    assert_eq!(keys(store, &Scan::prefix("b/").reverse()), ["b/3", "b/2", "b/1"]);
    assert_eq!(keys(store, &Scan::prefix("b/").reverse().after("b/3").limit(1)), ["b/2"]);
    assert_eq!(keys(store, &Scan::prefix("b/").reverse().after("a")), Vec::<String>::new());
    assert_eq!(keys(store, &Scan::prefix("b/").reverse().after("z")), ["b/3", "b/2", "b/1"]);
}

fn any_text_and_bytes(store: &SharedRecords) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    for key in ["功率预测", "a b", "é", "\u{10FFFF}", "x'\"$%", "with\ttab"] {
        put(store, key, Expect::Absent, &all_bytes).expect("written");
        assert_eq!(value(store, key), Some(all_bytes.clone()), "{key:?}");
    }
    put(store, "empty", Expect::Absent, b"").expect("written");
    assert_eq!(value(store, "empty"), Some(Vec::new()));
    let large = vec![7_u8; 1 << 20];
    put(store, "large", Expect::Absent, &large).expect("written");
    assert_eq!(value(store, "large"), Some(large));
}

fn an_empty_set_is_accepted(store: &SharedRecords) {
    assert_eq!(store.apply(ChangeSet::new()).expect("accepted"), Receipt::default());
}
