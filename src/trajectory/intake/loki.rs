//! Records as Loki's clients push them: protobuf in a Snappy block, or JSON. The stream is the label
//! `service_name`, else `job`; the other labels and a line's own metadata are fields.

use std::borrow::Cow;

use serde_json::Value;

use super::super::error::{self, BATCH_MAX};
use super::super::model::{DEFAULT_STREAM, Level};
use super::super::scalar::Scalar;
use super::json::Take;
use super::line::{Line, stream_like};
use super::outcome::Ingested;
use super::protobuf::{Wire, fields};
use super::time::{time_from_nanos, time_from_text};
use crate::kernel::clock::Time;
use crate::kernel::error::Result;

/// The labels that name a stream, the first that is there.
const NAMES: [&str; 4] = ["service_name", "job", "app", "application"];
/// The labels that tell a level.
const LEVELS: [&str; 4] = ["level", "detected_level", "severity", "levelname"];

type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A line as all of its labels make it.
fn line_of<'a>(
    time: Time,
    text: Cow<'a, str>,
    labels: &[Label<'a>],
    own: Vec<Label<'a>>,
) -> Result<Line<'a>, String> {
    let find = |names: &[&str]| {
        let all = || own.iter().chain(labels);
        names.iter().find_map(|name| all().find(|(label, _)| label == name)).cloned()
    };
    let named = find(&NAMES);
    let level = find(&LEVELS).and_then(|(name, text)| Some((name, Level::parse(&text)?)));
    let stream = named.as_ref().map_or(Cow::Borrowed(""), |(_, text)| stream_like(text.clone()));
    let stream = if stream.is_empty() { Cow::Borrowed(DEFAULT_STREAM) } else { stream };
    let found = level.as_ref().map_or(Level::Info, |(_, level)| *level);
    let mut line = Line::new(time, found, stream, text);
    for (name, value) in labels.iter().cloned().chain(own) {
        let is_stream =
            named.as_ref().is_some_and(|(label, text)| *label == name && line.stream == *text);
        let is_level = level.as_ref().is_some_and(|(label, _)| *label == name);
        match name.as_ref() {
            _ if is_stream || is_level => {}
            "filename" => line.file = Some(value),
            "run_id" => line.run_id = Some(value),
            _ => line.set(name, Scalar::Text(value)),
        }
    }
    line.check_size()?;
    Ok(line)
}

/// Reads a push in protobuf, as a Snappy block has it.
pub(crate) fn read_protobuf(body: &[u8], take: &mut Take<'_>) -> Result<Ingested> {
    let not = || error::not_of("a Loki push: protobuf in a Snappy block");
    let length = snap::raw::decompress_len(body).map_err(|_bad| not())?;
    if length > BATCH_MAX {
        return Err(error::batch_too_large());
    }
    let body = snap::raw::Decoder::new().decompress_vec(body).map_err(|_bad| not())?;
    let mut outcome = Ingested::default();
    let read = fields(&body, |number, stream| match number {
        1 => of_stream(stream.bytes()?, &mut outcome, take),
        _ => Some(()),
    });
    read.map(|()| outcome).ok_or_else(not)
}

fn of_stream(message: &[u8], outcome: &mut Ingested, take: &mut Take<'_>) -> Option<()> {
    let (mut labels, mut entries) = (Vec::new(), Vec::new());
    fields(message, |number, value| {
        match number {
            1 => labels = labels_of(value.text()?)?,
            2 => entries.push(value.bytes()?),
            _ => {}
        }
        Some(())
    })?;
    for entry in entries {
        let parsed = match of_entry(entry) {
            Some((Some(time), text, own)) => line_of(time, text, &labels, own),
            Some((None, ..)) => Err("the timestamp lies outside the years 1 to 9999".to_owned()),
            None => Err("not an entry".to_owned()),
        };
        outcome.note(parsed, take);
    }
    Some(())
}

type Entry<'a> = (Option<Time>, Cow<'a, str>, Vec<Label<'a>>);

fn of_entry(message: &[u8]) -> Option<Entry<'_>> {
    let (mut seconds, mut nanos, mut text, mut own) = (0_u64, 0_u64, "", Vec::new());
    fields(message, |number, value| {
        match number {
            1 => fields(value.bytes()?, |number, part| {
                match number {
                    1 => seconds = part.number()?,
                    2 => nanos = part.number()?,
                    _ => {}
                }
                Some(())
            })?,
            2 => text = value.text()?,
            3 => own.push(label(value)?),
            _ => {}
        }
        Some(())
    })?;
    let micros = seconds.cast_signed().checked_mul(1_000_000);
    let micros = micros.and_then(|whole| whole.checked_add(i64::try_from(nanos / 1000).ok()?));
    let time = micros.map(Time).filter(|time| super::time::is_possible(*time));
    Some((time, Cow::Borrowed(text), own))
}

fn label(pair: Wire<'_>) -> Option<Label<'_>> {
    let (mut name, mut value) = ("", "");
    fields(pair.bytes()?, |number, part| {
        match number {
            1 => name = part.text()?,
            2 => value = part.text()?,
            _ => {}
        }
        Some(())
    })?;
    Some((Cow::Borrowed(name), Cow::Borrowed(value)))
}

/// Labels as Prometheus writes them: `{job="wind", level="warn"}`.
fn labels_of(text: &str) -> Option<Vec<Label<'_>>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start().strip_prefix('"')?;
        let (value, behind) = quoted(behind)?;
        labels.push((Cow::Borrowed(name.trim()), value));
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    Some(labels)
}

/// What stands up to the closing quote, and what stands behind it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let plain = text.find(['"', '\\'])?;
    if text.get(plain..)?.starts_with('"') {
        return Some((Cow::Borrowed(text.get(..plain)?), text.get(plain + 1..)?));
    }
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), text.get(at + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

/// Reads a push in JSON.
pub(crate) fn read_json(body: &[u8], take: &mut Take<'_>) -> Result<Ingested> {
    let whole: Value = serde_json::from_slice(body).map_err(error::not_json)?;
    let streams = whole.get("streams").and_then(Value::as_array);
    let streams = streams.ok_or_else(|| error::not_of("a Loki push: it has no `streams`"))?;
    let mut outcome = Ingested::default();
    for stream in streams {
        let labels = stream.get("stream").map_or(Vec::new(), pairs);
        for entry in stream.get("values").and_then(Value::as_array).into_iter().flatten() {
            outcome.note(of_values(entry, &labels), take);
        }
    }
    Ok(outcome)
}

fn pairs(of: &Value) -> Vec<Label<'_>> {
    let members = of.as_object().into_iter().flatten();
    members
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
            (Cow::Borrowed(name.as_str()), text)
        })
        .collect()
}

fn of_values<'a>(entry: &'a Value, labels: &[Label<'a>]) -> Result<Line<'a>, String> {
    let time = match entry.get(0) {
        Some(Value::String(text)) => match text.parse() {
            Ok(nanos) => time_from_nanos(nanos),
            Err(_) => time_from_text(text),
        },
        Some(value) => value.as_u64().and_then(time_from_nanos),
        None => None,
    };
    let time = time.ok_or("an entry is [\"nanoseconds since 1970\", \"line\"]")?;
    let text = entry.get(1).and_then(Value::as_str).ok_or("the line of an entry is a text")?;
    line_of(time, Cow::Borrowed(text), labels, entry.get(2).map_or(Vec::new(), pairs))
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Record;
    use super::super::super::varint::put_varint;
    use super::*;
    use serde_json::json;

    fn message(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut to = Vec::new();
        for (number, bytes) in parts {
            to.push(number << 3 | 2);
            put_varint(&mut to, bytes.len() as u64);
            to.extend_from_slice(bytes);
        }
        to
    }

    fn check(record: &Record) {
        assert_eq!((record.stream.as_str(), record.level), ("wind", Level::Warning));
        assert_eq!((record.time, record.message.as_str()), (Time(1_700_000_000_500_000), "hot"));
        assert_eq!(record.file.as_deref(), Some("/var/log/a"));
        assert_eq!(Value::Object(record.fields.clone()), json!({"site": "a \"b\"", "trace": "t1"}));
    }

    #[test]
    fn protobuf_is_read() {
        let mut time = vec![1 << 3];
        put_varint(&mut time, 1_700_000_000);
        time.push(2 << 3);
        put_varint(&mut time, 500_000_000);
        let entry =
            message(&[(1, &time), (2, b"hot"), (3, &message(&[(1, b"trace"), (2, b"t1")]))]);
        let labels = br#"{job="wind", level="warn",site="a \"b\"", filename="/var/log/a"}"#;
        let push = message(&[(1, &message(&[(1, labels), (2, &entry), (2, &[0xff])]))]);
        let packed = snap::raw::Encoder::new().compress_vec(&push).unwrap();
        let mut all = Vec::new();
        let outcome = read_protobuf(&packed, &mut |line| all.push(line.into_record())).unwrap();
        assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 1));
        check(&all[0]);
        assert!(read_protobuf(b"plain", &mut |_| ()).is_err());
        // A block that claims gibibytes is refused before anything is unpacked.
        let error = read_protobuf(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], &mut |_| ()).unwrap_err();
        assert_eq!(error.code(), "batch_too_large");
    }

    #[test]
    fn json_is_read() {
        let body = json!({"streams": [{
            "stream": {"service_name": "wind", "severity": "warning", "site": "a \"b\"", "filename": "/var/log/a"},
            "values": [["1700000000500000000", "hot", {"trace": "t1"}], ["x", "y"], ["1700000000500000000"], 3],
        }]});
        let mut all = Vec::new();
        let outcome =
            read_json(body.to_string().as_bytes(), &mut |line| all.push(line.into_record()))
                .unwrap();
        assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 3));
        check(&all[0]);
        assert!(read_json(b"{}", &mut |_| ()).is_err());
    }

    #[test]
    fn labels_are_read_or_refused() {
        assert_eq!(labels_of("{}"), Some(vec![]));
        assert_eq!(labels_of(r#"{a="b\\n\n",}"#).unwrap()[0].1, "b\\n\n");
        for wrong in ["", "{", "{a}", "{a=b}", r#"{a="b}"#, r#"{a="b" c="d"}"#] {
            assert_eq!(labels_of(wrong), None, "{wrong}");
        }
    }
}
