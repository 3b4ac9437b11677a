//! Rows in one redb file: the default.
//!
//! Writers queue their sets; one thread takes what waits, applies it in one transaction, commits it
//! durably, and answers every waiter. A lone writer pays one sync; thirty-two writers share it.
//!
//! The file has two tables, both from text to bytes of our own, so that redb may change how it
//! writes its own types: `rows` holds `revision (8 bytes, little-endian) | value`, `logs` the last
//! number that each numbered log gave out.
//!
//! After a failed commit the store closes its door: what the disk holds is no longer known, and the
//! only honest answer is to be opened again.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    WriteTransaction,
};

use super::group::{Group, door_is_closed};
use super::{ChangeSet, Receipt, Records, Row, Scan, check, log_key, prefix_end};
use crate::kernel::disk::sync_parent;
use crate::kernel::error::{Error, Kind, Result};

const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
const LOGS: TableDefinition<'_, &str, u64> = TableDefinition::new("logs");

/// How a redb file is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of page cache.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20 }
    }
}

/// A store in a redb file.
pub struct RedbRecords {
    db: Arc<Database>,
    group: Group,
    closed: Arc<OnceLock<String>>,
}

impl RedbRecords {
    /// Opens `path`, or makes it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Options::default())
    }

    /// Opens `path`, or makes it, with a cache of one's own choice.
    pub fn open_with(path: &Path, options: Options) -> Result<Self> {
        if !path.exists() {
            make_file(path)?;
        }
        let db = Database::builder()
            .set_cache_size(options.cache_bytes)
            .create(path)
            .map_err(|source| opening(path, source))?;
        Self::start(db)
    }

    /// Opens a store over bytes that the caller keeps: how tests hold, lose and tear syncs.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self> {
        let db = Database::builder()
            .set_cache_size(Options::default().cache_bytes)
            .create_with_backend(backend)
            .map_err(|source| opening(Path::new("backend"), source))?;
        Self::start(db)
    }

    fn start(db: Database) -> Result<Self> {
        make_tables(&db)?;
        let db = Arc::new(db);
        let closed = Arc::new(OnceLock::new());
        let group = Group::start(usize::MAX, {
            let (db, closed) = (db.clone(), closed.clone());
            move |sets| write_or_close(&db, sets, &closed)
        })?;
        Ok(Self { db, group, closed })
    }
}

/// Makes a new file that has its name only once it is whole: redb gives a file its length before
/// its mark, and one that a crash left in between could never be opened again.
fn make_file(path: &Path) -> Result<()> {
    let staged = path.with_extension("staged");
    let failed = |source| Error::io(format!("make {}", path.display()), source);
    let db = match Database::create(&staged) {
        Ok(db) => db,
        Err(held @ redb::DatabaseError::DatabaseAlreadyOpen) => return Err(opening(path, held)),
        // What a crash left of an earlier try: nothing was ever promised of it.
        Err(_leftover) => {
            remove_if_there(&staged).map_err(failed)?;
            Database::create(&staged).map_err(|source| opening(path, source))?
        }
    };
    make_tables(&db)?;
    drop(db);
    File::open(&staged).and_then(|file| file.sync_all()).map_err(failed)?;
    // A link, not a rename: where another was quicker, its file stays.
    match std::fs::hard_link(&staged, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    sync_parent(path)?;
    remove_if_there(&staged).map_err(failed)
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens both tables once, so that a read of a new store finds them.
fn make_tables(db: &Database) -> Result<()> {
    let reading = db.begin_read().map_err(storage)?;
    if reading.open_table(ROWS).is_ok() && reading.open_table(LOGS).is_ok() {
        return Ok(());
    }
    drop(reading);
    let writing = db.begin_write().map_err(storage)?;
    writing.open_table(ROWS).map_err(storage)?;
    writing.open_table(LOGS).map_err(storage)?;
    writing.commit().map_err(storage)
}

/// What the writer thread does with a group.
fn write_or_close(
    db: &Database,
    sets: &[ChangeSet],
    closed: &OnceLock<String>,
) -> Vec<Result<Receipt>> {
    if let Some(why) = closed.get() {
        return sets.iter().map(|_| Err(door_is_closed(why))).collect();
    }
    write_group(db, sets).unwrap_or_else(|error| {
        // Which of the two kinds of failure it was decides who may go on: a full disk
        // refused to grow before anything was promised, anything else is not known.
        let (kind, why) = (error.kind(), error.to_string());
        if kind != Kind::Full {
            let _first_reason_stays = closed.set(why.clone());
        }
        sets.iter().map(|_| Err(not_written(kind, &why))).collect()
    })
}

/// Applies every set of a group in one durable transaction.
fn write_group(db: &Database, sets: &[ChangeSet]) -> Result<Vec<Result<Receipt>>> {
    let mut writing = db.begin_write().map_err(storage)?;
    writing.set_durability(Durability::Immediate).map_err(storage)?;
    let answers = apply_group(&writing, sets)?;
    if answers.iter().any(Result::is_ok) {
        writing.commit().map_err(storage)?;
    } else {
        writing.abort().map_err(storage)?;
    }
    Ok(answers)
}

fn apply_group(writing: &WriteTransaction, sets: &[ChangeSet]) -> Result<Vec<Result<Receipt>>> {
    let mut rows = writing.open_table(ROWS).map_err(storage)?;
    let mut logs = writing.open_table(LOGS).map_err(storage)?;
    sets.iter().map(|set| apply_one(&mut rows, &mut logs, set)).collect()
}

/// The outer result is the store's, the inner one the set's own.
fn apply_one(
    rows: &mut Table<'_, &str, &[u8]>,
    logs: &mut Table<'_, &str, u64>,
    set: &ChangeSet,
) -> Result<Result<Receipt>> {
    let mut receipt = Receipt::default();
    let mut undo: Vec<(&str, Option<Vec<u8>>)> = Vec::new();
    for change in &set.changes {
        let old = rows.get(change.key.as_str()).map_err(storage)?.map(|v| v.value().to_vec());
        let current = old.as_deref().map(split).transpose()?.map(|(revision, _)| revision);
        if let Err(refused) = check(change, current) {
            take_back(rows, undo)?;
            return Ok(Err(refused));
        }
        let revision = if let Some(value) = &change.value {
            let revision = current.unwrap_or(0) + 1;
            let bytes = [&revision.to_le_bytes(), value.as_slice()].concat();
            rows.insert(change.key.as_str(), bytes.as_slice()).map_err(storage)?;
            revision
        } else {
            rows.remove(change.key.as_str()).map_err(storage)?;
            0
        };
        undo.push((&change.key, old));
        receipt.revisions.push(revision);
    }
    for append in &set.appends {
        let number = logs.get(append.log).map_err(storage)?.map_or(0, |last| last.value()) + 1;
        logs.insert(append.log, number).map_err(storage)?;
        let bytes = [&1_u64.to_le_bytes(), append.value.as_slice()].concat();
        rows.insert(log_key(append.log, number).as_str(), bytes.as_slice()).map_err(storage)?;
        receipt.numbers.push(number);
    }
    Ok(Ok(receipt))
}

/// Undoes the first changes of a set whose later expectation failed: the others of its group stay.
fn take_back(rows: &mut Table<'_, &str, &[u8]>, undo: Vec<(&str, Option<Vec<u8>>)>) -> Result<()> {
    for (key, old) in undo.into_iter().rev() {
        match old {
            Some(bytes) => drop(rows.insert(key, bytes.as_slice()).map_err(storage)?),
            None => drop(rows.remove(key).map_err(storage)?),
        }
    }
    Ok(())
}

fn split(bytes: &[u8]) -> Result<(u64, &[u8])> {
    bytes
        .split_first_chunk::<8>()
        .map(|(revision, value)| (u64::from_le_bytes(*revision), value))
        .ok_or_else(|| Error::internal("a row is shorter than its revision"))
}

fn row(key: &str, bytes: &[u8]) -> Result<Row> {
    let (revision, value) = split(bytes)?;
    Ok(Row { key: key.to_owned(), revision, value: value.to_vec() })
}

impl Records for RedbRecords {
    fn get(&self, key: &str) -> Result<Option<Row>> {
        let reading = self.db.begin_read().map_err(storage)?;
        let rows = reading.open_table(ROWS).map_err(storage)?;
        let found = rows.get(key).map_err(storage)?;
        found.map(|bytes| row(key, bytes.value())).transpose()
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>> {
        let reading = self.db.begin_read().map_err(storage)?;
        let rows = reading.open_table(ROWS).map_err(storage)?;
        let end = prefix_end(&scan.prefix);
        let upper = match (&scan.after, scan.reverse) {
            (Some(before), true) if end.as_ref().is_none_or(|end| before < end) => {
                Bound::Excluded(before.as_str())
            }
            _ => end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        };
        let mut range = rows.range::<&str>((scan.start(), upper)).map_err(storage)?;
        let limit = if scan.limit == 0 { usize::MAX } else { scan.limit };
        let mut found = Vec::new();
        while found.len() < limit {
            let next = if scan.reverse { range.next_back() } else { range.next() };
            let Some(entry) = next else { break };
            let (key, bytes) = entry.map_err(storage)?;
            found.push(row(key.value(), bytes.value())?);
        }
        Ok(found)
    }

    fn count(&self, prefix: &str) -> Result<u64> {
        let reading = self.db.begin_read().map_err(storage)?;
        let rows = reading.open_table(ROWS).map_err(storage)?;
        let end = prefix_end(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = rows.range::<&str>((Bound::Included(prefix), upper)).map_err(storage)?;
        let mut count = 0;
        for entry in range {
            entry.map_err(storage)?;
            count += 1;
        }
        Ok(count)
    }

    fn apply(&self, set: ChangeSet) -> Result<Receipt> {
        self.health()?;
        self.group.apply(set)
    }

    fn health(&self) -> Result<()> {
        self.closed.get().map_or(Ok(()), |why| Err(door_is_closed(why)))
    }
}

fn not_written(kind: Kind, why: &str) -> Error {
    let code = if kind == Kind::Full { "disk_full" } else { "store_failed" };
    let kind = if kind == Kind::Full { kind } else { Kind::Unavailable };
    Error::new(kind, code, format!("nothing was written: {why}"))
}

fn opening(path: &Path, source: redb::DatabaseError) -> Error {
    let shown = path.display();
    match source {
        redb::DatabaseError::DatabaseAlreadyOpen => {
            Error::new(Kind::Held, "store_held", format!("{shown} is open in another process"))
        }
        redb::DatabaseError::UpgradeRequired(version) => Error::new(
            Kind::Newer,
            "store_format",
            format!("{shown} has file format {version}, which this build cannot read"),
        ),
        other => storage(other).context(format!("open {shown}")),
    }
}

fn storage(source: impl Into<redb::Error>) -> Error {
    match source.into() {
        redb::Error::Io(source) => Error::io("the record store", source),
        other => {
            Error::new(Kind::Unavailable, "store_failed", format!("the record store: {other}"))
                .caused_by(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::records::{Expect, conformance};

    #[test]
    fn redb_passes_the_suite() {
        let folder = tempfile::tempdir().unwrap();
        let count = std::sync::atomic::AtomicUsize::new(0);
        conformance::run(&|| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let path = folder.path().join(format!("{number}.redb"));
            Arc::new(RedbRecords::open(&path).unwrap())
        });
    }

    #[test]
    fn what_was_acknowledged_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.redb");
        let store = RedbRecords::open(&path).unwrap();
        store.apply(ChangeSet::new().put("a", Expect::Absent, b"1".to_vec())).unwrap();
        drop(store);
        let again = RedbRecords::open(&path).unwrap();
        assert_eq!(again.get("a").unwrap().unwrap().value, b"1");
    }

    #[test]
    fn what_a_crash_left_of_a_file_being_made_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.redb");
        std::fs::write(path.with_extension("staged"), vec![0; 4096]).unwrap();
        drop(RedbRecords::open(&path).unwrap());
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["records.redb"]);
    }

    #[test]
    fn a_file_that_is_open_elsewhere_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.redb");
        let _first = RedbRecords::open(&path).unwrap();
        let second = RedbRecords::open(&path).err().unwrap();
        assert_eq!((second.kind(), second.code()), (Kind::Held, "store_held"));
    }
}
