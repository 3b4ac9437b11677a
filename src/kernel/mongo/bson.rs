//! BSON as extended JSON, so that all sources say the same, and files of `mongodump`: documents one
//! after the other. Both come from elsewhere and are read with suspicion.

use std::io::{ErrorKind, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::{RawArray, RawBsonRef, RawDocument};
use serde_json::{Map, Value, json};

use super::damaged;
use crate::kernel::error::Result;

/// The largest document that MongoDB itself writes.
const DOCUMENT_MAX: usize = (16 << 20) + (16 << 10);
/// How deep documents may be nested.
const DEPTH_MAX: usize = 64;
/// The smallest: its length and its end.
const DOCUMENT_MIN: usize = 5;

/// Hands over every document of a file, with the place where it begins. A document that is damaged
/// is told as such; where its very length is, nothing after it can be found.
pub fn each(
    mut reader: impl Read,
    mut take: impl FnMut(u64, Result<Value>),
) -> std::io::Result<()> {
    let mut at = 0_u64;
    let mut bytes = Vec::new();
    loop {
        let mut length = [0_u8; 4];
        match read_some(&mut reader, &mut length)? {
            0 => return Ok(()),
            4 => {}
            _ => {
                take(at, Err(damaged("the file ends within it")));
                return Ok(());
            }
        }
        let size = usize::try_from(i32::from_le_bytes(length)).unwrap_or(0);
        if !(DOCUMENT_MIN..=DOCUMENT_MAX).contains(&size) {
            let why = "its length is none, so nothing after it in this file was read";
            take(at, Err(damaged(why)));
            return Ok(());
        }
        bytes.clear();
        bytes.extend_from_slice(&length);
        bytes.resize(size, 0);
        let rest = bytes.get_mut(4..).unwrap_or_default();
        if read_some(&mut reader, rest)? < size - 4 {
            take(at, Err(damaged("the file ends within it")));
            return Ok(());
        }
        let document = RawDocument::from_bytes(&bytes).map_err(damaged);
        take(at, document.and_then(extended));
        at += size as u64;
    }
}

/// Fills `buffer` as far as the file goes; answers how far that is.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A document as extended JSON.
pub fn extended(document: &RawDocument) -> Result<Value> {
    object(document, DEPTH_MAX)
}

fn object(document: &RawDocument, left: usize) -> Result<Value> {
    if left == 0 {
        return Err(damaged(format!("it is nested deeper than {DEPTH_MAX}")));
    }
    let mut fields = Map::new();
    for element in document {
        let (field, found) = element.map_err(damaged)?;
        fields.insert(field.as_str().to_owned(), value(found, left - 1)?);
    }
    Ok(Value::Object(fields))
}

fn array(items: &RawArray, left: usize) -> Result<Value> {
    if left == 0 {
        return Err(damaged(format!("it is nested deeper than {DEPTH_MAX}")));
    }
    let items = items.into_iter().map(|item| value(item.map_err(damaged)?, left - 1));
    items.collect::<Result<_>>().map(Value::Array)
}

fn value(found: RawBsonRef<'_>, left: usize) -> Result<Value> {
    Ok(match found {
        RawBsonRef::Document(document) => object(document, left)?,
        RawBsonRef::Array(items) => array(items, left)?,
        RawBsonRef::String(text) => text.into(),
        RawBsonRef::Boolean(on) => on.into(),
        RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
        RawBsonRef::Int32(number) => number.into(),
        RawBsonRef::Int64(number) => number.into(),
        RawBsonRef::Double(number) if number.is_finite() => number.into(),
        RawBsonRef::Double(number) => json!({"$numberDouble": number.to_string()}),
        RawBsonRef::Decimal128(number) => json!({"$numberDecimal": number.to_string()}),
        RawBsonRef::DateTime(time) => {
            json!({"$date": {"$numberLong": time.timestamp_millis().to_string()}})
        }
        RawBsonRef::ObjectId(id) => json!({"$oid": id.to_hex()}),
        RawBsonRef::Symbol(text) => json!({"$symbol": text}),
        RawBsonRef::Binary(binary) => {
            let kind = format!("{:02x}", u8::from(binary.subtype));
            json!({"$binary": {"base64": STANDARD.encode(binary.bytes), "subType": kind}})
        }
        RawBsonRef::Timestamp(stamp) => {
            json!({"$timestamp": {"t": stamp.time, "i": stamp.increment}})
        }
        // Code, patterns and the like: nothing that a card of 0.1 could hold.
        other => {
            return Err(damaged(format!("it holds a value of type {:?}", other.element_type())));
        }
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{Bson, DateTime, Document, doc};

    use super::*;

    fn bytes(document: &Document) -> Vec<u8> {
        document.to_vec().unwrap()
    }

    fn read(file: &[u8]) -> Vec<(u64, Result<Value, String>)> {
        let mut found = Vec::new();
        each(file, |at, document| {
            found.push((at, document.map_err(|error| error.detail().to_owned())));
        })
        .unwrap();
        found
    }

    #[test]
    fn documents_become_extended_json() {
        let id = ObjectId::parse_str("62942f000000000000000001").unwrap();
        let document = doc! {
            "_id": id, "name": "风电", "time": DateTime::from_millis(1000), "n": 1_i32, "m": 2_i64,
            "x": 2.5, "nan": f64::NAN, "none": Bson::Null, "deep": {"list": [true, "a"]},
        };
        let file = [bytes(&document), bytes(&doc! {})].concat();
        let found = read(&file);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].1,
            Ok(json!({
                "_id": {"$oid": "62942f000000000000000001"}, "name": "风电",
                "time": {"$date": {"$numberLong": "1000"}}, "n": 1, "m": 2, "x": 2.5,
                "nan": {"$numberDouble": "NaN"}, "none": null, "deep": {"list": [true, "a"]},
            }))
        );
        assert_eq!(found[1], (bytes(&document).len() as u64, Ok(json!({}))));
    }

    #[test]
    fn a_damaged_document_is_told_and_the_next_one_read() {
        let good = bytes(&doc! {"name": "a"});
        // Its text is not UTF-8: the last byte before the ends of the text and of the document.
        let mut bad = good.clone();
        let last = bad.len() - 3;
        bad[last] = 0xFF;
        let found = read(&[good.clone(), bad, good.clone()].concat());
        assert!(found[0].1.is_ok() && found[1].1.is_err() && found[2].1.is_ok(), "{found:?}");
    }

    #[test]
    fn a_file_that_is_cut_off_or_none_is_told_and_ends() {
        let good = bytes(&doc! {"name": "a"});
        for cut in 1..good.len() {
            let found = read(&[&good[..], &good[..cut]].concat());
            assert_eq!((found.len(), found[0].1.is_ok(), found[1].1.is_err()), (2, true, true));
        }
        for length in [0_i32, 4, -1, i32::MAX] {
            let found = read(&[&length.to_le_bytes()[..], &good[..]].concat());
            assert_eq!((found.len(), found[0].1.is_err()), (1, true), "{length}");
        }
        assert_eq!(read(b""), []);
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_without_going_there() {
        // Built from the inside out: documents within documents.
        let mut inner = vec![5, 0, 0, 0, 0];
        for _ in 0..200 {
            let size = i32::try_from(4 + 3 + inner.len() + 1).unwrap();
            inner = [&size.to_le_bytes()[..], &[3, b'a', 0], &inner, &[0]].concat();
        }
        let found = read(&inner);
        assert!(found[0].1.as_ref().is_err_and(|why| why.contains("nested")), "{found:?}");
    }
}
