//! Rows as documents: `{_id: key, revision, value}`. Texts sort by their bytes in MongoDB, so the
//! order of `_id` is the order of keys.

use mongodb::bson::{Binary, RawArrayBuf};
use mongodb::bson::{
    Bson, Document, RawDocument, RawDocumentBuf, doc, rawdoc, spec::BinarySubtype,
};

use super::plan::Write;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::records::{ChangeSet, Row, Scan, prefix_end};

/// The largest key and value together. A document may have 16 MiB, and a command that writes it
/// hardly more.
pub(super) const ROW_MAX: usize = 15 << 20;
/// How many rows, and how many bytes of them, one command reads or writes.
const STATEMENTS: usize = 2000;
const STATEMENT_BYTES: usize = 8 << 20;

/// The rows that a scan means, without its limit.
pub(super) fn filter(scan: &Scan) -> Document {
    let mut range = Document::new();
    // The empty text is the least text: without it, keys of other types would be meant, too.
    match scan.start() {
        std::ops::Bound::Excluded(after) => range.insert("$gt", after),
        _ => range.insert("$gte", scan.prefix.as_str()),
    };
    let end = prefix_end(&scan.prefix);
    match (&scan.after, scan.reverse) {
        (Some(before), true) if end.as_ref().is_none_or(|end| before < end) => {
            range.insert("$lt", before);
        }
        _ => {
            if let Some(end) = end {
                range.insert("$lt", end);
            }
        }
    }
    doc! { "_id": range }
}

/// The row that a document holds.
pub(super) fn row(document: &RawDocument) -> Result<Row> {
    let value = document.get_binary("value").map_err(damaged)?;
    Ok(Row {
        key: document.get_str("_id").map_err(damaged)?.to_owned(),
        revision: revision(document)?,
        value: value.bytes.to_vec(),
    })
}

/// The revision in a document.
pub(super) fn revision(document: &RawDocument) -> Result<u64> {
    let revision = document.get_i64("revision").map_err(damaged)?;
    u64::try_from(revision).map_err(damaged)
}

fn damaged(why: impl std::fmt::Display) -> Error {
    let detail = format!("a document of the record store is not a row: {why}");
    Error::new(Kind::Internal, "damaged_record", detail)
}

/// Refuses what MongoDB could not keep, before it stands in line with others.
pub(super) fn check_sizes(set: &ChangeSet) -> Result<()> {
    let value = |value: Option<&Vec<u8>>| value.map_or(0, Vec::len);
    let changes = set.changes.iter().map(|c| c.key.len() + value(c.value.as_ref()));
    let appends = set.appends.iter().map(|append| append.value.len());
    match changes.chain(appends).max() {
        Some(largest) if largest > ROW_MAX => Err(Error::new(
            Kind::TooLarge,
            "row_too_large",
            format!("a row of {largest} bytes is larger than MongoDB keeps: at most {ROW_MAX}"),
        )),
        _ => Ok(()),
    }
}

/// Filters for the rows that `sets` change, in as many steps as a command can hold.
pub(super) fn wanted(sets: &[ChangeSet]) -> Vec<Document> {
    let mut keys: Vec<&str> =
        sets.iter().flat_map(|set| &set.changes).map(|change| change.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let steps = in_steps(keys, |key| key.len());
    let list = |step: Vec<&str>| step.into_iter().map(Bson::from).collect::<Vec<_>>();
    steps.into_iter().map(|step| doc! { "_id": { "$in": list(step) } }).collect()
}

/// A command that writes rows, and how many it must say that it wrote.
pub(super) struct Command {
    pub(super) command: RawDocumentBuf,
    pub(super) count: i64,
}

/// The commands that make `writes`.
pub(super) fn commands(collection: &str, writes: Vec<(&str, Write<'_>)>) -> Vec<Command> {
    let steps = in_steps(writes, |(key, write)| match write {
        Write::Put(_, value) => key.len() + value.len(),
        Write::Delete => key.len(),
    });
    steps.into_iter().flat_map(|step| commands_of(collection, &step)).collect()
}

fn commands_of(collection: &str, step: &[(&str, Write<'_>)]) -> Vec<Command> {
    let (mut updates, mut deletes) = (RawArrayBuf::new(), RawArrayBuf::new());
    let (mut puts, mut gone) = (0, 0);
    for (key, write) in step {
        match write {
            Write::Put(revision, value) => {
                puts += 1;
                updates.push(put(key, *revision, value));
            }
            Write::Delete => {
                gone += 1;
                deletes.push(rawdoc! { "q": { "_id": *key }, "limit": 1_i32 });
            }
        }
    }
    let update = rawdoc! { "update": collection, "updates": updates };
    let delete = rawdoc! { "delete": collection, "deletes": deletes };
    [(update, puts), (delete, gone)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(command, count)| Command { command, count })
        .collect()
}

fn put(key: &str, revision: u64, value: &[u8]) -> RawDocumentBuf {
    let value = Binary { subtype: BinarySubtype::Generic, bytes: value.to_vec() };
    // A row that was written that often has other troubles.
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    rawdoc! { "q": { "_id": key }, "u": { "revision": revision, "value": value }, "upsert": true }
}

/// Cuts a list into steps that a command can hold.
fn in_steps<T>(all: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut steps: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for one in all {
        let more = size(&one);
        match steps.last_mut() {
            Some(step) if step.len() < STATEMENTS && bytes + more <= STATEMENT_BYTES => {
                step.push(one);
                bytes += more;
            }
            _ => {
                steps.push(vec![one]);
                bytes = more;
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_become_ranges_of_texts() {
        let range = |scan: Scan| filter(&scan).get_document("_id").unwrap().clone();
        assert_eq!(range(Scan::default()), doc! { "$gte": "" });
        assert_eq!(range(Scan::prefix("b/")), doc! { "$gte": "b/", "$lt": "b0" });
        assert_eq!(range(Scan::prefix("b/").after("b/1")), doc! { "$gt": "b/1", "$lt": "b0" });
        assert_eq!(range(Scan::prefix("b/").after("a")), doc! { "$gte": "b/", "$lt": "b0" });
        let back = Scan::prefix("b/").reverse();
        assert_eq!(range(back.clone().after("b/3")), doc! { "$gte": "b/", "$lt": "b/3" });
        assert_eq!(range(back.after("z")), doc! { "$gte": "b/", "$lt": "b0" });
    }

    #[test]
    fn steps_are_bounded_in_number_and_in_bytes() {
        let small = in_steps(vec![1_usize; 2 * STATEMENTS + 1], |size| *size);
        assert_eq!(small.iter().map(Vec::len).collect::<Vec<_>>(), [STATEMENTS, STATEMENTS, 1]);
        let third = STATEMENT_BYTES / 3 + 1;
        let large = in_steps(vec![third, third, third, STATEMENT_BYTES + 1, 1], |size| *size);
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 1]);
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_sent() {
        let set = |bytes| {
            let expect = crate::kernel::records::Expect::Any;
            ChangeSet::new().put("k", expect, vec![0; bytes])
        };
        assert_eq!(check_sizes(&set(ROW_MAX - 1)).ok(), Some(()));
        assert_eq!(check_sizes(&set(ROW_MAX)).unwrap_err().kind(), Kind::TooLarge);
    }

    #[test]
    fn a_document_that_is_no_row_is_named_damaged() {
        let whole = rawdoc! { "_id": "k", "revision": 3_i64, "value": Binary {
            subtype: BinarySubtype::Generic, bytes: vec![1, 2],
        }};
        let expected = Row { key: "k".into(), revision: 3, value: vec![1, 2] };
        assert_eq!(row(&whole).unwrap(), expected);
        for odd in [
            rawdoc! { "_id": "k", "revision": 3_i64 },
            rawdoc! { "_id": "k", "revision": -1_i64, "value": Binary {
                subtype: BinarySubtype::Generic, bytes: vec![],
            }},
            rawdoc! { "_id": 5_i32, "revision": 3_i64 },
        ] {
            assert_eq!(row(&odd).unwrap_err().code(), "damaged_record");
        }
    }
}
