//! Records as JSON, one per line or as one array: each is read on its own, so that a bad one costs
//! only itself, and straight from the bytes that came, without a tree of values in between.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::super::error::{self, FIELDS_MAX, RECORD_MAX};
use super::super::model::Level;
use super::super::scalar::Scalar;
use super::line::{self, Field, Line};
use super::outcome::Ingested;
use super::time::time_from;
use crate::kernel::clock::Time;
use crate::kernel::error::Result;

/// What readers do with each record, good or bad.
pub(crate) type Take<'t> = dyn FnMut(Line<'_>) + 't;

/// Reads a batch, NDJSON or one JSON array, and hands each good record to `take`.
pub(crate) fn read(body: &[u8], now: Time, take: &mut Take<'_>) -> Result<Ingested> {
    let mut outcome = Ingested::default();
    let body = body.trim_ascii();
    if body.first() == Some(&b'[') {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let each = Each { now, one: &mut |parsed| outcome.note(parsed, take) };
        each.deserialize(&mut reader).and_then(|()| reader.end()).map_err(error::not_json)?;
        return Ok(outcome);
    }
    let mut from = 0;
    while let Some(rest) = body.get(from..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            outcome.note(read_line(line, now), take);
        }
        from += end + 1;
    }
    Ok(outcome)
}

fn read_line(line: &[u8], now: Time) -> Result<Line<'_>, String> {
    if line.len() > RECORD_MAX {
        return Err(line::too_large());
    }
    let mut reader = serde_json::Deserializer::from_slice(line);
    let parsed =
        One { now }.deserialize(&mut reader).and_then(|parsed| reader.end().map(|()| parsed));
    parsed.map_err(|why| format!("not JSON: {why}"))?
}

/// Reads the items of an array one after the other: never more than one is in memory.
struct Each<'a> {
    now: Time,
    one: &'a mut dyn FnMut(Result<Line<'_>, String>),
}

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(parsed) = items.next_element_seed(One { now: self.now })? {
            let sized = parsed.and_then(|line| line.check_size().map(|()| line));
            (self.one)(sized);
        }
        Ok(())
    }
}

/// One record, or why it is none.
#[derive(Clone, Copy)]
struct One {
    now: Time,
}

impl<'de> DeserializeSeed<'de> for One {
    type Value = Result<Line<'de>, String>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

fn no_object<T>() -> Result<T, String> {
    Err("a record is a JSON object".to_owned())
}

impl<'de> Visitor<'de> for One {
    type Value = Result<Line<'de>, String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(no_object())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Parts::default();
        while let Some(Key(name)) = map.next_key()? {
            if name == "fields" {
                parts.given = map.next_value()?;
            } else {
                parts.put(name, map.next_value::<Scalar<'de>>()?);
            }
        }
        Ok(parts.into_line(self.now))
    }
}

/// A record's members as they came.
#[derive(Default)]
struct Parts<'a> {
    time: Option<Scalar<'a>>,
    /// The name itself, then its synonym.
    level: [Option<Scalar<'a>>; 2],
    stream: Option<Scalar<'a>>,
    message: [Option<Scalar<'a>>; 2],
    module: Option<Scalar<'a>>,
    file: [Option<Scalar<'a>>; 2],
    line: [Option<Scalar<'a>>; 2],
    run_id: Option<Scalar<'a>>,
    given: Given<'a>,
    rest: Members<'a>,
}

impl<'a> Parts<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: Scalar<'a>) {
        let [level, levelname] = &mut self.level;
        let [message, msg] = &mut self.message;
        let [file, filename] = &mut self.file;
        let [line, lineno] = &mut self.line;
        let place = match name.as_ref() {
            "time" => &mut self.time,
            "level" => level,
            "levelname" => levelname,
            "stream" => &mut self.stream,
            "message" => message,
            "msg" => msg,
            "module" => &mut self.module,
            "file" => file,
            "filename" => filename,
            "line" => line,
            "lineno" => lineno,
            "run_id" => &mut self.run_id,
            _ => return self.rest.put(name, value),
        };
        *place = Some(value).filter(|value| *value != Scalar::Null);
    }

    fn into_line(self, now: Time) -> Result<Line<'a>, String> {
        let first = |[name, synonym]: [Option<Scalar<'a>>; 2]| name.or(synonym);
        let time = self.time.map_or(Ok(now), |value| time_from(&value))?;
        let level = first(self.level).map_or(Ok(Level::Info), |value| level_from(&value))?;
        let stream = self.stream.map_or(Ok(Cow::Borrowed("")), stream_from)?;
        let message = first(self.message).map(message_from);
        let module = text_from("module", self.module)?;
        let file = text_from("file", first(self.file))?;
        let line = first(self.line).map(|value| line_from(&value)).transpose()?;
        let run_id = text_from("run_id", self.run_id)?;
        let fields = fields_from(self.given, self.rest)?;
        if message.is_none() && fields.is_empty() {
            return Err("a record has a `message`".to_owned());
        }
        Ok(Line {
            module,
            file,
            line,
            run_id,
            fields,
            ..Line::new(time, level, line::stream_name(stream)?, message.unwrap_or_default())
        })
    }
}

/// The members of an object, each name once: the last one counts, in the place of the first.
#[derive(Default)]
struct Members<'a> {
    kept: Vec<Field<'a>>,
    /// How many more there were than a record may have.
    more: usize,
}

impl<'a> Members<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: Scalar<'a>) {
        if let Some((_, place)) = self.kept.iter_mut().find(|(other, _)| *other == name) {
            *place = value;
        } else if self.kept.len() <= FIELDS_MAX {
            self.kept.push((name, value));
        } else {
            self.more += 1;
        }
    }
}

/// What stands under `fields`.
#[derive(Default)]
enum Given<'a> {
    #[default]
    Nothing,
    Fields(Members<'a>),
    Other,
}

/// What stands beside the known names is a field too.
fn fields_from<'a>(given: Given<'a>, rest: Members<'a>) -> Result<Vec<Field<'a>>, String> {
    let mut fields = match given {
        Given::Nothing => Members::default(),
        Given::Fields(fields) => fields,
        Given::Other => return Err("`fields` is a JSON object".to_owned()),
    };
    if fields.kept.is_empty() && fields.more == 0 {
        fields = rest;
    } else {
        for (name, value) in rest.kept {
            if !fields.kept.iter().any(|(other, _)| *other == name) {
                fields.put(name, value);
            }
        }
        fields.more += rest.more;
    }
    let count = fields.kept.len() + fields.more;
    if count > FIELDS_MAX { Err(line::too_many_fields(count)) } else { Ok(fields.kept) }
}

fn message_from(value: Scalar<'_>) -> Cow<'_, str> {
    match value {
        Scalar::Text(text) | Scalar::Json(text) => text,
        other => Cow::Owned(other.shown().into_owned()),
    }
}

fn text_from<'a>(name: &str, value: Option<Scalar<'a>>) -> Result<Option<Cow<'a, str>>, String> {
    match value {
        None => Ok(None),
        Some(Scalar::Text(text)) => Ok(Some(text)),
        Some(number @ (Scalar::Int(_) | Scalar::Uint(_) | Scalar::Float(_))) => {
            Ok(Some(Cow::Owned(number.shown().into_owned())))
        }
        Some(_) => Err(format!("`{name}` is a text")),
    }
}

fn stream_from(value: Scalar<'_>) -> Result<Cow<'_, str>, String> {
    match value {
        Scalar::Text(text) if text.is_empty() => Err("`stream`: a name is not empty".to_owned()),
        Scalar::Text(text) => Ok(text),
        _ => Err("`stream` is a text".to_owned()),
    }
}

fn line_from(value: &Scalar<'_>) -> Result<u64, String> {
    let number = match value {
        Scalar::Int(number) => u64::try_from(*number).ok(),
        Scalar::Uint(number) => Some(*number),
        Scalar::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| "`line` is a number".to_owned())
}

fn level_from(value: &Scalar<'_>) -> Result<Level, String> {
    let level = match value {
        Scalar::Text(text) => Level::parse(text),
        Scalar::Int(number) => u64::try_from(*number).ok().and_then(Level::from_number),
        _ => None,
    };
    level.ok_or_else(|| {
        let shown: String = value.clone().into_value().to_string().chars().take(40).collect();
        format!(
            "`level` is DEBUG, INFO, WARNING, ERROR, CRITICAL or their number 10 to 50, not {shown}"
        )
    })
}

/// A name, borrowed where nothing in it is escaped.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Name)
    }
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Given::Nothing)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Key(name)) = map.next_key()? {
            members.put(name, map.next_value()?);
        }
        Ok(Given::Fields(members))
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, is: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(is))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Scalar::Uint(number), Scalar::Int))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(number))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let value = Value::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(Scalar::Json(Cow::Owned(value.to_string())))
    }
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        let value = Value::deserialize(MapAccessDeserializer::new(members))?;
        Ok(Scalar::Json(Cow::Owned(value.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Record;
    use super::super::outcome::REJECTED_LISTED;
    use super::*;
    use serde_json::{Map, json};

    fn ingest(body: &str) -> (Ingested, Vec<Record>) {
        let mut records = Vec::new();
        let outcome =
            read(body.as_bytes(), Time(77), &mut |line| records.push(line.into_record())).unwrap();
        (outcome, records)
    }

    fn one(value: &Value) -> Result<Record, String> {
        let text = value.to_string();
        read_line(text.as_bytes(), Time(77)).map(Line::into_record)
    }

    #[test]
    fn a_record_is_read_with_its_synonyms_and_defaults() {
        let record = one(&json!({
            "msg": "hot", "levelname": "warn", "filename": "a.py", "lineno": "12", "module": "m",
            "run_id": 7, "turbine": "R80711", "fields": {"deep": {"x": 1}}
        }))
        .unwrap();
        assert_eq!(
            (record.level, record.stream.as_str(), record.time),
            (Level::Warning, "default", Time(77))
        );
        assert_eq!(
            (record.file.as_deref(), record.line, record.run_id.as_deref()),
            (Some("a.py"), Some(12), Some("7"))
        );
        assert_eq!(Value::Object(record.fields), json!({"deep": {"x": 1}, "turbine": "R80711"}));
    }

    #[test]
    fn the_name_itself_counts_before_its_synonym_and_the_last_of_two_before_the_first() {
        let (_, records) = ingest(
            r#"{"msg":"b","message":"a","level":null,"levelname":"ERROR","x":1,"y":2,"x":3,"fields":{"y":4}}"#,
        );
        assert_eq!((records[0].message.as_str(), records[0].level), ("a", Level::Error));
        assert_eq!(Value::Object(records[0].fields.clone()), json!({"y": 4, "x": 3}));
    }

    #[test]
    fn levels_are_read_by_name_and_number() {
        let level = |value: &Value| level_from(&Scalar::of(value));
        for (given, expected) in [
            (json!("debug"), Level::Debug),
            (json!("FATAL"), Level::Critical),
            (json!(25), Level::Info),
            (json!("40"), Level::Error),
            (json!(50), Level::Critical),
        ] {
            assert_eq!(level(&given), Ok(expected));
        }
        for wrong in [json!("loud"), json!(-1), json!(0), json!(1.5), json!(1000), json!({})] {
            assert!(level(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bad_lines_are_rejected_one_by_one() {
        let (outcome, records) = ingest(
            "{\"msg\":\"a\"}\n\nnonsense\n[1]\n{\"level\":\"INFO\"}\r\n{\"msg\":\"b\",\"fields\":3}\n{\"msg\":\"c\"}",
        );
        assert_eq!((outcome.accepted, records.len()), (2, 2));
        assert_eq!(outcome.rejected.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let (outcome, _) =
            ingest("[{\"msg\":\"a\"}, 3, [4, {}], \"x\", null, {\"msg\":\"b\",\"time\":\"x\"}]");
        assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 5));
        let bad = |body: &[u8]| read(body, Time(0), &mut |_| ()).is_err();
        assert!(bad(b"[{\"msg\":\"a\"}") && bad(b"[] x"));
        assert_eq!(ingest("").0, Ingested::default());
        assert_eq!(ingest("{\"msg\":\"a\"} {\"msg\":\"b\"}").0.rejected.len(), 1);
    }

    #[test]
    fn what_is_too_large_is_rejected() {
        let many = |count: usize| -> Map<String, Value> {
            (0..count).map(|n| (n.to_string(), json!(n))).collect()
        };
        assert!(one(&json!({"msg": "a", "fields": many(64)})).is_ok());
        for (fields, beside, told) in [(65, 0, 65), (0, 10_000, 10_000), (40, 100, 100)] {
            let mut record = many(beside);
            record.insert("msg".into(), json!("a"));
            record.insert("fields".into(), Value::Object(many(fields)));
            let why = one(&Value::Object(record)).unwrap_err();
            assert!(why.contains("64 fields"), "{why}");
            assert!(why.ends_with(&told.to_string()), "{why}");
        }
        let long = "x".repeat(RECORD_MAX + 1);
        for body in [format!("{{\"msg\":\"{long}\"}}"), format!("[{{\"msg\":\"{long}\"}}]")] {
            assert_eq!(ingest(&body).0.rejected[0].reason, line::too_large());
        }
        let lines = "x\n".repeat(REJECTED_LISTED + 5);
        let outcome = ingest(&lines).0;
        assert_eq!((outcome.rejected.len(), outcome.more_rejected), (REJECTED_LISTED, 5));
        let mut invalid = b"{\"msg\":\"".to_vec();
        invalid.extend_from_slice(b"\xff\xfe\"}\n{\"msg\":\"ok\"}");
        assert_eq!(read(&invalid, Time(0), &mut |_| ()).unwrap().accepted, 1);
    }
}
