#![cfg(test)]
//! Records in MongoDB, against a server that speaks its protocol, with user and password.

mod away;
mod daemons;
mod opening;
mod store;

use std::sync::Arc;

use drip::kernel::records::{ChangeSet, MongoRecords, Records, SharedRecords};

use crate::support::mongo::MongoServer;

/// The rows of a database.
fn open(server: &MongoServer, database: &str) -> SharedRecords {
    Arc::new(MongoRecords::open(&server.url(database), "cards").unwrap())
}

/// A row and an entry of the feed, in one set.
fn told(key: &str) -> ChangeSet {
    ChangeSet::new()
        .put(key, drip::kernel::records::Expect::Absent, b"value".to_vec())
        .append("feed", key.as_bytes().to_vec())
}

/// What the feed has, in order: the keys that it tells of. Fails where a number is left out.
fn feed(store: &dyn Records) -> Vec<String> {
    let rows = store.scan(&drip::kernel::records::Scan::prefix("feed/")).unwrap();
    let numbers: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let expected: Vec<_> =
        (1..=rows.len() as u64).map(|n| drip::kernel::records::log_key("feed", n)).collect();
    assert_eq!(numbers, expected, "each number once, none left out");
    rows.into_iter().map(|row| String::from_utf8(row.value).unwrap()).collect()
}
