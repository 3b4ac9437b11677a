//! A document of 0.1's handler as a record: `{filename, lineno, module, msg, levelname, time}`, with
//! `time` in local time.

use chrono::{Local, LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use serde_json::{Map, Value};

use super::super::super::Level;
use crate::kernel::clock::Time;
use crate::kernel::mongo::extended;

/// The fields by which an import knows its records again.
pub(super) const FROM: &str = "imported_from";
pub(super) const ID: &str = "imported_id";

/// The zone of times that name none.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone {
    Here,
    Named(Tz),
}

impl Zone {
    /// The point in time that a clock on the wall showed; the earlier one where it showed it twice,
    /// and where it showed it never, the one it would have been without the change.
    fn resolve(self, wall: NaiveDateTime) -> Option<Time> {
        fn of<Z: TimeZone>(zone: &Z, wall: NaiveDateTime) -> Option<Time> {
            match zone.from_local_datetime(&wall) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => {
                    Some(time.to_utc().into())
                }
                LocalResult::None => {
                    let before = zone.from_local_datetime(&(wall - chrono::Duration::hours(3)));
                    Some((before.earliest()?.to_utc() + chrono::Duration::hours(3)).into())
                }
            }
        }
        match self {
            Self::Here => of(&Local, wall),
            Self::Named(zone) => of(&zone, wall),
        }
    }

    fn time(self, value: &Value) -> Option<Time> {
        if let Value::String(text) = value {
            let text = text.trim().replacen('T', " ", 1);
            if let Ok(wall) = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f") {
                return self.resolve(wall);
            }
        }
        extended::time(value)
    }
}

/// Whether a document is a line of a log.
pub(super) fn is_line(document: &Value) -> bool {
    ["msg", "levelname", "time"].iter().all(|field| document.get(field).is_some())
}

/// A document on its way in.
#[derive(Debug, PartialEq)]
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) time: Time,
    pub(super) stream: String,
    /// As the daemon takes it.
    pub(super) record: Value,
}

/// Reads a document of `from`; `stream` where it names none of its own, or always when `only`.
pub(super) fn read(
    document: Value,
    from: &str,
    stream: (&str, bool),
    zone: Zone,
) -> Result<Taken, String> {
    let Value::Object(mut document) = document else {
        return Err("it is no object".to_owned());
    };
    let id = extended::id(document.remove("_id").as_ref());
    let time = document.remove("time").ok_or("it has no `time`")?;
    let time = zone.time(&time).ok_or_else(|| format!("its `time` is none: {time}"))?;
    let level = text(document.remove("levelname"));
    let level =
        Level::parse(&level).ok_or_else(|| format!("its `levelname` is none: `{level}`"))?;
    let message = document.remove("msg").ok_or("it has no `msg`")?;
    let own = text(document.remove("stream"));
    let stream = if stream.1 || own.is_empty() { stream.0.to_owned() } else { own };
    let mut record = Map::new();
    record.insert("time".into(), time.to_string().into());
    record.insert("level".into(), level.as_str().into());
    record.insert("stream".into(), stream.clone().into());
    record.insert("message".into(), text(Some(message)).into());
    for (old, new) in [("module", "module"), ("filename", "file"), ("run_id", "run_id")] {
        let value = text(document.remove(old));
        if !value.is_empty() {
            record.insert(new.into(), value.into());
        }
    }
    if let Some(line) = document.remove("lineno").and_then(|line| extended::plain(line).as_u64()) {
        record.insert("line".into(), line.into());
    }
    let mut fields = match document.remove("fields").map(extended::plain) {
        Some(Value::Object(fields)) => fields,
        Some(Value::Null) | None => Map::new(),
        Some(other) => Map::from_iter([("fields".to_owned(), other)]),
    };
    for (name, value) in document {
        fields.entry(name).or_insert(extended::plain(value));
    }
    fields.insert(FROM.into(), from.into());
    fields.insert(ID.into(), id.clone().into());
    record.insert("fields".into(), Value::Object(fields));
    Ok(Taken { id, time, stream, record: Value::Object(record) })
}

/// A value as text: what a handler may have put there instead of one.
fn text(value: Option<Value>) -> String {
    match value.map(extended::plain) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(zone: Zone, text: &str) -> String {
        zone.time(&json!(text)).unwrap().to_string()
    }

    #[test]
    fn times_are_of_their_zone_and_clock_changes_lose_none() {
        let shanghai = Zone::Named(Tz::Asia__Shanghai);
        assert_eq!(at(shanghai, "2022-05-30 16:00:00.123"), "2022-05-30T08:00:00.123000Z");
        let paris = Zone::Named(Tz::Europe__Paris);
        assert_eq!(at(paris, "2022-10-30 02:30:00.000"), "2022-10-30T00:30:00.000000Z");
        assert_eq!(at(paris, "2022-03-27 02:30:00.000"), "2022-03-27T01:30:00.000000Z");
        assert_eq!(at(paris, "2022-03-27T02:30:00+00:00"), "2022-03-27T02:30:00.000000Z");
        assert_eq!(paris.time(&json!("yesterday")), None);
    }

    #[test]
    fn a_document_becomes_a_record_and_nothing_of_it_is_lost() {
        let document = json!({
            "_id": {"$oid": "62942f000000000000000001"}, "filename": "train.py", "lineno": {"$numberLong": "7"},
            "module": "train", "msg": "转速 %s", "levelname": "WARNING", "time": "2022-05-30 16:00:00.123",
            "host": "edge-1",
        });
        let zone = Zone::Named(Tz::Asia__Shanghai);
        let taken = read(document, "drip.logs", ("logs", false), zone).unwrap();
        assert_eq!(
            (taken.id.as_str(), taken.stream.as_str()),
            ("62942f000000000000000001", "logs")
        );
        assert_eq!(
            taken.record,
            json!({
                "time": "2022-05-30T08:00:00.123000Z", "level": "WARNING", "stream": "logs", "message": "转速 %s",
                "module": "train", "file": "train.py", "line": 7,
                "fields": {"host": "edge-1", "imported_from": "drip.logs", "imported_id": "62942f000000000000000001"},
            })
        );
    }

    #[test]
    fn what_is_no_line_is_refused_with_its_reason() {
        let zone = Zone::Here;
        for (document, why) in [
            (json!([]), "object"),
            (json!({"msg": "x", "levelname": "INFO"}), "time"),
            (json!({"msg": "x", "levelname": "LOUD", "time": "2022-05-30 16:00:00.1"}), "LOUD"),
            (json!({"levelname": "INFO", "time": "2022-05-30 16:00:00.1"}), "msg"),
        ] {
            assert!(!is_line(&document) || why == "LOUD");
            let refused = read(document, "a", ("a", false), zone).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
