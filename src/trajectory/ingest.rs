//! From what a client sent to records: one by one, so that a bad line costs only itself.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{self, FIELDS_MAX, RECORD_MAX};
use super::model::{DEFAULT_STREAM, Level, Record};
use crate::kernel::clock::Time;
use crate::kernel::error::Result;
use crate::kernel::name::Name;

/// So many rejected records are listed; the others are counted.
const REJECTED_LISTED: usize = 1000;
/// The years 1 to 9999, in microseconds.
const TIMES: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// A record that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Rejected {
    /// Which one, counted from 0; blank lines do not count.
    pub index: u64,
    /// Why.
    pub reason: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Ingested {
    /// How many records were taken, those that their stream filters out included.
    pub accepted: u64,
    /// Those that were not.
    pub rejected: Vec<Rejected>,
    /// How many more were not, beyond those listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_rejected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Ingested {
    fn reject(&mut self, index: u64, reason: String) {
        if self.rejected.len() < REJECTED_LISTED {
            self.rejected.push(Rejected { index, reason });
        } else {
            self.more_rejected += 1;
        }
    }
}

/// Reads a batch, NDJSON or one JSON array, and hands each good record to `take`.
pub(super) fn read(body: &[u8], now: Time, mut take: impl FnMut(Record)) -> Result<Ingested> {
    let mut outcome = Ingested::default();
    let mut index = 0;
    let mut one = |parsed: Result<Record, String>| {
        match parsed {
            Ok(record) => {
                outcome.accepted += 1;
                take(record);
            }
            Err(reason) => outcome.reject(index, reason),
        }
        index += 1;
    };
    let body = body.trim_ascii();
    if body.first() == Some(&b'[') {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let each = Each(&mut |value: Value| one(read_value(value, now)));
        each.deserialize(&mut reader).and_then(|()| reader.end()).map_err(error::not_json)?;
    } else {
        for line in body.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if !line.is_empty() {
                one(read_line(line, now));
            }
        }
    }
    Ok(outcome)
}

/// Reads the items of an array one after the other: never more than one is in memory.
struct Each<'a>(&'a mut dyn FnMut(Value));

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of records")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(value) = items.next_element()? {
            (self.0)(value);
        }
        Ok(())
    }
}

fn read_line(line: &[u8], now: Time) -> Result<Record, String> {
    if line.len() > RECORD_MAX {
        return Err(too_large());
    }
    let value = serde_json::from_slice(line).map_err(|why| format!("not JSON: {why}"))?;
    from_value(value, now)
}

fn read_value(value: Value, now: Time) -> Result<Record, String> {
    let record = from_value(value, now)?;
    check_size(&record)?;
    Ok(record)
}

fn too_large() -> String {
    "a record has at most 256 KiB".to_owned()
}

/// Refuses a record that is too large.
pub(super) fn check_size(record: &Record) -> Result<(), String> {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let mut size = record.message.len()
        + record.stream.len()
        + text(&record.module)
        + text(&record.file)
        + text(&record.run_id);
    if record.fields.len() > FIELDS_MAX {
        return Err(too_many_fields(record.fields.len()));
    }
    for (name, value) in &record.fields {
        size += name.len()
            + if value.is_string() || value.is_array() || value.is_object() {
                value.to_string().len()
            } else {
                20
            };
    }
    if size > RECORD_MAX {
        return Err(too_large());
    }
    Ok(())
}

fn too_many_fields(count: usize) -> String {
    format!("a record has at most {FIELDS_MAX} fields, this one has {count}")
}

fn from_value(value: Value, now: Time) -> Result<Record, String> {
    let Value::Object(mut map) = value else {
        return Err("a record is a JSON object".to_owned());
    };
    let mut take = |names: &[&str]| {
        let mut found = None;
        for name in names {
            // All of them go: a synonym beside the name itself is no field.
            let value = map.shift_remove(*name).filter(|value| !value.is_null());
            found = found.or(value);
        }
        found
    };
    let time = take(&["time"]).map_or(Ok(now), |value| time_from(&value))?;
    let level =
        take(&["level", "levelname"]).map_or(Ok(Level::Info), |value| level_from(&value))?;
    let stream =
        take(&["stream"]).map_or(Ok(DEFAULT_STREAM.to_owned()), |value| stream_from(&value))?;
    let message = take(&["message", "msg"]).map(|value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    });
    let module = text_from("module", take(&["module"]))?;
    let file = text_from("file", take(&["file", "filename"]))?;
    let line = take(&["line", "lineno"]).map(|value| line_from(&value)).transpose()?;
    let run_id = text_from("run_id", take(&["run_id"]))?;
    let fields = fields_from(take(&["fields"]), map)?;
    if message.is_none() && fields.is_empty() {
        return Err("a record has a `message`".to_owned());
    }
    Ok(Record {
        time,
        level,
        stream,
        message: message.unwrap_or_default(),
        module,
        file,
        line,
        run_id,
        fields,
    })
}

/// What stands beside the known names is a field too.
fn fields_from(
    given: Option<Value>,
    rest: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut fields = match given {
        None => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err("`fields` is a JSON object".to_owned()),
    };
    for (name, value) in rest {
        fields.entry(name).or_insert(value);
    }
    if fields.len() > FIELDS_MAX {
        return Err(too_many_fields(fields.len()));
    }
    Ok(fields)
}

fn text_from(name: &str, value: Option<Value>) -> Result<Option<String>, String> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("`{name}` is a text")),
    }
}

fn line_from(value: &Value) -> Result<u64, String> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.trim().parse().ok())
        .ok_or_else(|| "`line` is a number".to_owned())
}

fn stream_from(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("`stream` is a text")?;
    // Names in use look like this; the full check is for the others.
    let plain = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain {
        return Ok(text.to_owned());
    }
    Name::new(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|why| format!("`stream`: {}", why.detail()))
}

fn level_from(value: &Value) -> Result<Level, String> {
    let level = match value {
        Value::String(text) => Level::parse(text),
        Value::Number(number) => number.as_u64().and_then(Level::from_number),
        _ => None,
    };
    level.ok_or_else(|| {
        let shown: String = value.to_string().chars().take(40).collect();
        format!(
            "`level` is DEBUG, INFO, WARNING, ERROR, CRITICAL or their number 10 to 50, not {shown}"
        )
    })
}

fn time_from(value: &Value) -> Result<Time, String> {
    let time = match value {
        Value::String(text) => time_from_text(text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => time_from_whole(whole),
            None => number.as_f64().and_then(time_from_float),
        },
        _ => None,
    };
    time.ok_or_else(|| {
        let shown: String = value.to_string().chars().take(40).collect();
        format!("`time` is RFC 3339, or a number of seconds, ms, µs or ns since 1970, in the years 1 to 9999, not {shown}")
    })
}

/// A time as RFC 3339 or as a number.
pub(super) fn time_from_text(text: &str) -> Option<Time> {
    let text = text.trim();
    if let Ok(whole) = text.parse() {
        return time_from_whole(whole);
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && let Ok(number) = text.parse()
    {
        return time_from_float(number);
    }
    Time::parse(text).ok().filter(|time| TIMES.contains(&time.0))
}

/// The size tells the unit: seconds up to the year 5138, milliseconds and microseconds as far.
fn time_from_whole(number: i64) -> Option<Time> {
    let micros = match number.unsigned_abs() {
        0..100_000_000_000 => number.checked_mul(1_000_000),
        100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000),
        100_000_000_000_000..100_000_000_000_000_000 => Some(number),
        _ => Some(number.div_euclid(1_000)),
    };
    micros.filter(|micros| TIMES.contains(micros)).map(Time)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn time_from_float(number: f64) -> Option<Time> {
    let size = number.abs();
    let micros = if size < 1e11 {
        number * 1e6
    } else if size < 1e14 {
        number * 1e3
    } else if size < 1e17 {
        number
    } else {
        number / 1e3
    };
    (micros.abs() < 1e18)
        .then(|| Time(micros.round() as i64))
        .filter(|time| TIMES.contains(&time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingest(body: &str) -> (Ingested, Vec<Record>) {
        let mut records = Vec::new();
        let outcome = read(body.as_bytes(), Time(77), |record| records.push(record)).unwrap();
        (outcome, records)
    }

    fn one(value: Value) -> Result<Record, String> {
        from_value(value, Time(77))
    }

    #[test]
    fn a_record_is_read_with_its_synonyms_and_defaults() {
        let record = one(json!({
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
    fn times_are_read_in_every_unit() {
        let want = Some(Time(1_400_000_000_000_000));
        for text in [
            "1400000000",
            "1400000000000",
            "1400000000000000",
            "1400000000000000000",
            "1400000000.0",
            "2014-05-13T16:53:20Z",
        ] {
            assert_eq!(time_from_text(text), want, "{text}");
            if let Ok(number) = text.parse::<i64>() {
                assert_eq!(time_from(&json!(number)).ok(), want);
            }
        }
        assert!(time_from(&json!("0001-01-01T00:00:00Z")).is_ok());
        assert!(time_from(&json!("9999-12-31T23:59:59Z")).is_ok());
        for wrong in [
            json!("yesterday"),
            json!(true),
            json!(1e300),
            json!([1]),
            json!(-9_000_000_000_000_i64 * 10_000),
        ] {
            assert!(time_from(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn levels_are_read_by_name_and_number() {
        for (given, level) in [
            (json!("debug"), Level::Debug),
            (json!("FATAL"), Level::Critical),
            (json!(25), Level::Info),
            (json!("40"), Level::Error),
            (json!(50), Level::Critical),
        ] {
            assert_eq!(level_from(&given), Ok(level));
        }
        for wrong in [json!("loud"), json!(-1), json!(0), json!(1.5), json!(1000), json!({})] {
            assert!(level_from(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bad_lines_are_rejected_one_by_one() {
        let (outcome, records) = ingest(
            "{\"msg\":\"a\"}\n\nnonsense\n[1]\n{\"level\":\"INFO\"}\r\n{\"msg\":\"b\",\"fields\":3}\n{\"msg\":\"c\"}",
        );
        assert_eq!((outcome.accepted, records.len()), (2, 2));
        assert_eq!(outcome.rejected.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let (outcome, _) = ingest("[{\"msg\":\"a\"}, 3, {\"msg\":\"b\",\"time\":\"x\"}]");
        assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 2));
        assert!(read(b"[{\"msg\":\"a\"}", Time(0), |_| ()).is_err());
        assert!(read(b"[] x", Time(0), |_| ()).is_err());
        assert_eq!(ingest("").0, Ingested::default());
    }

    #[test]
    fn what_is_too_large_is_rejected() {
        let many: Map<String, Value> = (0..65).map(|n| (n.to_string(), json!(n))).collect();
        assert!(one(json!({"msg": "a", "fields": many})).unwrap_err().contains("64 fields"));
        let long = "x".repeat(RECORD_MAX + 1);
        for body in [format!("{{\"msg\":\"{long}\"}}"), format!("[{{\"msg\":\"{long}\"}}]")] {
            assert_eq!(ingest(&body).0.rejected[0].reason, too_large());
        }
        let lines = "x\n".repeat(REJECTED_LISTED + 5);
        let outcome = ingest(&lines).0;
        assert_eq!((outcome.rejected.len(), outcome.more_rejected), (REJECTED_LISTED, 5));
        let mut invalid = b"{\"msg\":\"".to_vec();
        invalid.extend_from_slice(b"\xff\xfe\"}\n{\"msg\":\"ok\"}");
        assert_eq!(read(&invalid, Time(0), |_| ()).unwrap().accepted, 1);
    }
}
