//! A record as Drip 0.1's handler wrote it: `filename`, `lineno`, `module`, `msg`, `levelname` and
//! `time`, a text in local time to the millisecond. What a record has besides stands beside these.

use chrono::Local;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Number, Value};

use super::super::model::Kept;

/// The first bytes of every id that this log gives; its number makes up the rest.
pub(super) type Prefix = [u8; 7];

/// The document of a record. Its id is the same however often it is made.
pub(super) fn of(kept: &Kept, prefix: Prefix) -> Document {
    let record = &kept.record;
    let time = record.time.to_chrono().with_timezone(&Local);
    let line = record.line.map(|line| i64::try_from(line).unwrap_or(i64::MAX));
    let mut document = doc! {
        "_id": id(prefix, kept.seq),
        "filename": record.file.clone(),
        "lineno": line,
        "module": record.module.clone(),
        "msg": record.message.clone(),
        "levelname": record.level.as_str(),
        "time": time.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        "stream": record.stream.clone(),
    };
    if let Some(run_id) = &record.run_id {
        document.insert("run_id", run_id.clone());
    }
    if !record.fields.is_empty() {
        document.insert("fields", fields(&record.fields));
    }
    document
}

/// Ids sort as the records came in.
fn id(prefix: Prefix, seq: u64) -> ObjectId {
    let mut bytes = [0; 12];
    let (head, tail) = bytes.split_at_mut(prefix.len());
    head.copy_from_slice(&prefix);
    tail.copy_from_slice(seq.to_be_bytes().split_at(3).1);
    ObjectId::from_bytes(bytes)
}

fn fields(fields: &serde_json::Map<String, Value>) -> Document {
    fields.iter().map(|(name, value)| (plain(name), bson(value))).collect()
}

/// A name as MongoDB takes it everywhere: without the byte 0, and without a `$` at its front.
fn plain(name: &str) -> String {
    let name = name.replace('\0', "␀");
    if name.starts_with('$') { name.replacen('$', "＄", 1) } else { name }
}

fn bson(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(on) => Bson::Boolean(*on),
        Value::Number(number) => of_number(number),
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(items) => Bson::Array(items.iter().map(bson).collect()),
        Value::Object(inner) => Bson::Document(fields(inner)),
    }
}

/// Whole numbers stay whole; one that MongoDB has no number for is a text.
fn of_number(number: &Number) -> Bson {
    match (number.as_i64(), number.is_f64(), number.as_f64()) {
        (Some(whole), ..) => Bson::Int64(whole),
        (None, true, Some(double)) => Bson::Double(double),
        _ => Bson::String(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{Level, Record};
    use super::*;
    use crate::kernel::clock::Time;
    use serde_json::json;

    #[test]
    fn a_record_has_the_old_fields_and_what_it_has_besides() {
        let mut record = Record::new(Time(1_653_897_600_123_456), Level::Error, "wind", "转速过高");
        record.line = Some(7);
        record.fields = json!({"t": 1.5, "n": 3, "big": u64::MAX, "$set": {"a\0": [null, true]}})
            .as_object()
            .unwrap()
            .clone();
        let document = of(&Kept { seq: 258, record }, [9; 7]);
        assert_eq!(document.get_object_id("_id").unwrap().to_hex(), "090909090909090000000102");
        assert_eq!(document.get_str("msg").unwrap(), "转速过高");
        assert_eq!(document.get_str("levelname").unwrap(), "ERROR");
        assert_eq!(document.get("filename"), Some(&Bson::Null));
        assert_eq!(document.get_i64("lineno").unwrap(), 7);
        let time = document.get_str("time").unwrap();
        assert!(time.starts_with("2022-05-3") && time.ends_with(":00.123"), "{time}");
        let fields = document.get_document("fields").unwrap();
        let expected = doc! {
            "t": 1.5, "n": 3_i64, "big": u64::MAX.to_string(), "＄set": {"a␀": [Bson::Null, true]},
        };
        assert_eq!(fields, &expected);
        assert!(!document.contains_key("run_id"));
    }
}
