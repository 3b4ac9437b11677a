#![cfg(test)]
//! What every store must do, and what several on one database must do together.

use std::time::{Duration, Instant};

use drip::kernel::Kind;
use drip::kernel::records::{ChangeSet, Expect, MongoRecords, Scan, conformance};
use mongodb::bson::doc;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::{feed, open, told};
use crate::kernel::records_model::{actions, compare};
use crate::support::mongo::shared;
use crate::support::real_venv;

#[test]
fn mongodb_passes_the_suite() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    conformance::run(&|| open(server, &server.new_database()));
}

#[test]
fn mongodb_answers_as_a_map_does() {
    const CASES: usize = 12;
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let mut runner = TestRunner::default();
    for _ in 0..CASES {
        let actions = actions().new_tree(&mut runner).unwrap().current();
        let url = server.url(&server.new_database());
        compare(&actions, &mut |store| {
            drop(store);
            Box::new(MongoRecords::open(&url, "cards").unwrap())
        });
    }
}

#[test]
fn long_keys_and_odd_ones_keep_the_order_of_their_bytes() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let store = open(server, &server.new_database());
    let long = "风".repeat(10_000 / 3);
    let mut keys: Vec<String> = ["", "\0", "a", "a\0", "a\0b", "a\u{1}", "a.b", "a$b", "$a", "é"]
        .into_iter()
        .chain(["\u{7f}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10000}", "\u{10ffff}"])
        .map(str::to_owned)
        .chain([long.clone() + "a", long.clone() + "b", long])
        .map(|key| format!("k/{key}"))
        .collect();
    let set = keys.iter().rev().fold(ChangeSet::new(), |set, key| {
        set.put(key.as_str(), Expect::Absent, key.as_bytes().to_vec())
    });
    store.apply(set).unwrap();
    keys.sort();
    let found = store.scan(&Scan::prefix("k/")).unwrap();
    assert_eq!(
        found.iter().map(|row| &row.key).collect::<Vec<_>>(),
        keys.iter().collect::<Vec<_>>()
    );
    for key in &keys {
        assert_eq!(store.get(key).unwrap().unwrap().value, key.as_bytes());
        let next = store.scan(&Scan::prefix("k/").after(key.as_str()).limit(1)).unwrap();
        let expected = keys.iter().find(|other| *other > key);
        assert_eq!(next.first().map(|row| &row.key), expected, "after {key:.20?}");
    }
}

#[test]
fn a_row_that_mongodb_could_not_keep_is_refused_alone() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let store = open(server, &server.new_database());
    let put = |bytes| store.apply(ChangeSet::new().put("large", Expect::Any, vec![7; bytes]));
    let error = put(16 << 20).unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::TooLarge, "row_too_large"));
    put((15 << 20) - 100).unwrap();
    let many = (0..5_000).fold(ChangeSet::new(), |set, n| {
        set.put(format!("many/{n:05}"), Expect::Absent, vec![1; 200])
    });
    store.apply(many).unwrap();
    assert_eq!(store.count("many/").unwrap(), 5_000);
}

#[test]
fn a_scan_of_many_batches_shows_one_moment() {
    const ROWS: usize = 1_200;
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let database = server.new_database();
    let (store, other) = (open(server, &database), open(server, &database));
    let write = |value: u8| {
        let set = (0..ROWS).fold(ChangeSet::new(), |set, n| {
            set.put(format!("row/{n:05}"), Expect::Any, vec![value])
        });
        other.apply(set).unwrap();
    };
    write(0);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (1..=4).for_each(write));
        let mut scans = 0;
        while !writing.is_finished() || scans < 3 {
            let rows = store.scan(&Scan::prefix("row/")).unwrap();
            assert_eq!(rows.len(), ROWS);
            let first = (rows[0].revision, rows[0].value.clone());
            let is_same =
                |row: &drip::kernel::records::Row| (row.revision, row.value.clone()) == first;
            assert!(rows.iter().all(is_same), "scan {scans} shows two moments");
            scans += 1;
        }
    });
}

#[test]
fn two_stores_on_one_database_give_out_every_number_once() {
    const WRITERS: usize = 4;
    const EACH: usize = 20;
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let database = server.new_database();
    let stores = [open(server, &database), open(server, &database)];
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (at, store) in stores.iter().enumerate() {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    for n in 0..EACH {
                        store.apply(told(&format!("{at}/{writer}/{n}"))).unwrap();
                    }
                });
            }
        }
    });
    println!("{} sets of two stores in {:?}", 2 * WRITERS * EACH, start.elapsed());
    let mut keys = feed(stores[0].as_ref());
    assert_eq!(keys, feed(stores[1].as_ref()), "both show the same");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 2 * WRITERS * EACH);
    // A row that both change: one is told that it is stale.
    let change =
        |at: usize| stores[at].apply(ChangeSet::new().put("0/0/0", Expect::Revision(1), vec![1]));
    change(0).unwrap();
    assert_eq!(change(1).unwrap_err().kind(), Kind::Stale);
}

#[test]
fn a_writer_that_died_in_the_middle_holds_the_others_for_seconds_only() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let database = server.new_database();
    let store = open(server, &database);
    store.apply(told("before")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // What a daemon leaves that is killed between its first write and its commit.
    let dead = runtime.block_on(async {
        let client = mongodb::Client::with_uri_str(server.url(&database)).await.unwrap();
        let commits =
            client.database(&database).collection::<mongodb::bson::Document>("cards.commits");
        let mut session = client.start_session().await.unwrap();
        let id = session.id().get("id").cloned().unwrap();
        let mark = doc! { "_id": "writer/dead", "group": 0_i64, "session": id };
        commits.insert_one(mark).await.unwrap();
        session.start_transaction().await.unwrap();
        let moved = doc! { "$inc": { "commits": 1_i64 } };
        commits.update_one(doc! { "_id": "numbers" }, moved).session(&mut session).await.unwrap();
        session
    });
    let start = Instant::now();
    store.apply(told("after")).unwrap();
    // MongoDB itself would end the transaction after a minute.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(feed(store.as_ref()), ["before", "after"]);
    drop(dead);
    runtime.shutdown_background();
}
