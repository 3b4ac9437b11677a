//! Records as OpenTelemetry sends them (OTLP/HTTP, `ExportLogsServiceRequest`), in protobuf and in
//! JSON. The stream is the resource's `service.name`; its other attributes and the record's own are
//! fields.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::error;
use super::super::model::Level;
use super::super::scalar::Scalar;
use super::json::Take;
use super::line::{Field, Line, stream_like};
use super::outcome::Ingested;
use super::protobuf::{Wire, fields};
use super::time::time_from_nanos;
use crate::kernel::clock::Time;
use crate::kernel::error::Result;

/// Values inside values, at most.
const DEPTH_MAX: u32 = 32;

/// What stands above the records of a scope.
#[derive(Default, Clone)]
struct Above<'a> {
    stream: Cow<'a, str>,
    attributes: Vec<Field<'a>>,
    scope: Option<Cow<'a, str>>,
}

impl<'a> Above<'a> {
    /// Takes the attributes of a resource.
    fn of_resource(attributes: Vec<Field<'a>>) -> Self {
        let mut above = Self::default();
        for (name, value) in attributes {
            match value {
                Scalar::Text(text) if name == "service.name" => {
                    above.stream = stream_like(text.clone());
                    if above.stream != text {
                        above.attributes.push((name, Scalar::Text(text)));
                    }
                }
                value => above.attributes.push((name, value)),
            }
        }
        above
    }
}

/// A record's parts as they come.
#[derive(Default)]
struct Parts<'a> {
    time: u64,
    observed: u64,
    severity: u64,
    severity_text: Cow<'a, str>,
    body: Option<Scalar<'a>>,
    attributes: Vec<Field<'a>>,
    trace_id: String,
    span_id: String,
    event: Cow<'a, str>,
}

impl<'a> Parts<'a> {
    fn into_line(self, above: &Above<'a>, now: Time) -> Result<Line<'a>, String> {
        let nanos = if self.time > 0 { self.time } else { self.observed };
        let time = if nanos == 0 {
            now
        } else {
            time_from_nanos(nanos).ok_or("`timeUnixNano` lies beyond the year 9999")?
        };
        let message = match self.body {
            Some(Scalar::Text(text) | Scalar::Json(text)) => text,
            Some(other) => Cow::Owned(other.shown().into_owned()),
            None => self.event.clone(),
        };
        let level = level(self.severity, &self.severity_text);
        let mut line = Line::new(time, level, above.stream.clone(), message);
        if line.stream.is_empty() {
            line.stream = Cow::Borrowed(super::super::model::DEFAULT_STREAM);
        }
        line.module.clone_from(&above.scope);
        line.fields.clone_from(&above.attributes);
        for (name, value) in self.attributes {
            match (name.as_ref(), value) {
                ("run_id", Scalar::Text(run)) => line.run_id = Some(run),
                ("code.file.path" | "code.filepath", Scalar::Text(file)) => line.file = Some(file),
                ("code.line.number" | "code.lineno", Scalar::Int(number)) => {
                    line.line = u64::try_from(number).ok();
                }
                (_, value) => line.set(name, value),
            }
        }
        for (name, id) in [("trace_id", self.trace_id), ("span_id", self.span_id)] {
            if id.bytes().any(|digit| digit != b'0') {
                line.set(name, Scalar::Text(Cow::Owned(id)));
            }
        }
        if line.message != self.event && !self.event.is_empty() {
            line.set("event_name", Scalar::Text(self.event));
        }
        line.check_size()?;
        Ok(line)
    }
}

/// The level of a severity number, else of its text.
fn level(number: u64, text: &str) -> Level {
    match number {
        1..=8 => Level::Debug,
        9..=12 => Level::Info,
        13..=16 => Level::Warning,
        17..=20 => Level::Error,
        21..=24 => Level::Critical,
        _ => Level::parse(text).unwrap_or(Level::Info),
    }
}

/// Reads a request in protobuf.
pub(crate) fn read_protobuf(body: &[u8], now: Time, take: &mut Take<'_>) -> Result<Ingested> {
    let mut outcome = Ingested::default();
    let read = fields(body, |number, resource| match number {
        1 => of_resource(resource.bytes()?, now, &mut outcome, take),
        _ => Some(()),
    });
    read.map(|()| outcome).ok_or_else(|| error::not_of("an ExportLogsServiceRequest in protobuf"))
}

fn of_resource<'a>(
    message: &'a [u8],
    now: Time,
    outcome: &mut Ingested,
    take: &mut Take<'_>,
) -> Option<()> {
    let mut attributes = Vec::new();
    let mut scopes = Vec::new();
    fields(message, |number, value| {
        match number {
            1 => fields(value.bytes()?, |number, value| match number {
                1 => attribute(value, &mut attributes),
                _ => Some(()),
            })?,
            2 => scopes.push(value.bytes()?),
            _ => {}
        }
        Some(())
    })?;
    let mut above: Above<'a> = Above::of_resource(attributes);
    for scope in scopes {
        above.scope = None;
        let mut records = Vec::new();
        fields(scope, |number, value| {
            match number {
                1 => fields(value.bytes()?, |number, value| {
                    if number == 1 {
                        above.scope =
                            Some(Cow::Borrowed(value.text()?)).filter(|name| !name.is_empty());
                    }
                    Some(())
                })?,
                2 => records.push(value.bytes()?),
                _ => {}
            }
            Some(())
        })?;
        for record in records {
            let parsed = match of_record(record) {
                Some(parts) => parts.into_line(&above, now),
                None => Err("not a LogRecord".to_owned()),
            };
            outcome.note(parsed, take);
        }
    }
    Some(())
}

fn of_record(message: &[u8]) -> Option<Parts<'_>> {
    let mut parts = Parts::default();
    fields(message, |number, wire| {
        match number {
            1 => parts.time = wire.number()?,
            11 => parts.observed = wire.number()?,
            2 => parts.severity = wire.number()?,
            3 => parts.severity_text = Cow::Borrowed(wire.text()?),
            5 => parts.body = any_value(wire.bytes()?)?.into_some(),
            6 => attribute(wire, &mut parts.attributes)?,
            9 => parts.trace_id = hex(wire.bytes()?),
            10 => parts.span_id = hex(wire.bytes()?),
            12 => parts.event = Cow::Borrowed(wire.text()?),
            _ => {}
        }
        Some(())
    })?;
    Some(parts)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

fn attribute<'a>(pair: Wire<'a>, to: &mut Vec<Field<'a>>) -> Option<()> {
    let (name, value) = key_value(pair.bytes()?)?;
    if let Held::Value(value) = value {
        to.push((Cow::Borrowed(name), value));
    }
    Some(())
}

/// What an `AnyValue` holds.
enum Held<'a> {
    Nothing,
    Value(Scalar<'a>),
}

impl<'a> Held<'a> {
    fn into_some(self) -> Option<Scalar<'a>> {
        match self {
            Self::Nothing => None,
            Self::Value(value) => Some(value),
        }
    }
}

fn key_value(message: &[u8]) -> Option<(&str, Held<'_>)> {
    let (mut name, mut found) = ("", Held::Nothing);
    fields(message, |number, value| {
        match number {
            1 => name = value.text()?,
            2 => found = any_value(value.bytes()?)?,
            _ => {}
        }
        Some(())
    })?;
    Some((name, found))
}

/// An `AnyValue`; none where it is none.
fn any_value(message: &[u8]) -> Option<Held<'_>> {
    let mut found = None;
    fields(message, |number, wire| {
        found = Some(match number {
            1 => Scalar::Text(Cow::Borrowed(wire.text()?)),
            2 => Scalar::Bool(wire.number()? != 0),
            3 => Scalar::Int(wire.number()?.cast_signed()),
            4 => float(f64::from_bits(wire.number()?)),
            _ => Scalar::Json(Cow::Owned(tree(message, 0)?.to_string())),
        });
        Some(())
    })?;
    // What was bytes is a text, as JSON has it.
    Some(match found {
        None => Held::Nothing,
        Some(Scalar::Json(text)) if text.starts_with('"') => {
            Held::Value(Scalar::Text(Cow::Owned(serde_json::from_str(&text).unwrap_or_default())))
        }
        Some(value) => Held::Value(value),
    })
}

/// JSON has no word for these: they are kept as texts.
fn float(number: f64) -> Scalar<'static> {
    if number.is_finite() { Scalar::Float(number) } else { Scalar::Text(number.to_string().into()) }
}

/// An `AnyValue` as JSON.
fn tree(message: &[u8], depth: u32) -> Option<Value> {
    use base64::Engine as _;
    if depth > DEPTH_MAX {
        return None;
    }
    let mut found = Value::Null;
    fields(message, |number, wire| {
        found = match number {
            1 => wire.text()?.into(),
            2 => (wire.number()? != 0).into(),
            3 => wire.number()?.cast_signed().into(),
            4 => float(f64::from_bits(wire.number()?)).into_value(),
            5 => {
                let mut items = Vec::new();
                fields(wire.bytes()?, |_, item| {
                    items.push(tree(item.bytes()?, depth + 1)?);
                    Some(())
                })?;
                items.into()
            }
            6 => {
                let mut members = Map::new();
                fields(wire.bytes()?, |_, pair| {
                    let (mut name, mut value) = (String::new(), Value::Null);
                    fields(pair.bytes()?, |number, part| {
                        match number {
                            1 => part.text()?.clone_into(&mut name),
                            2 => value = tree(part.bytes()?, depth + 1)?,
                            _ => {}
                        }
                        Some(())
                    })?;
                    members.insert(name, value);
                    Some(())
                })?;
                members.into()
            }
            7 => base64::engine::general_purpose::STANDARD.encode(wire.bytes()?).into(),
            _ => Value::Null,
        };
        Some(())
    })?;
    Some(found)
}

/// Reads a request in JSON.
pub(crate) fn read_json(body: &[u8], now: Time, take: &mut Take<'_>) -> Result<Ingested> {
    let whole: Value = serde_json::from_slice(body).map_err(error::not_json)?;
    let mut outcome = Ingested::default();
    for resource in list(&whole, "resourceLogs", "resource_logs") {
        let attributes = resource.get("resource").map_or(Vec::new(), attributes_of);
        let mut above = Above::of_resource(attributes);
        for scope in list(resource, "scopeLogs", "scope_logs") {
            let name = scope.get("scope").and_then(|scope| scope.get("name")?.as_str());
            above.scope = name.filter(|name| !name.is_empty()).map(Cow::Borrowed);
            for record in list(scope, "logRecords", "log_records") {
                outcome.note(parts_of(record).and_then(|parts| parts.into_line(&above, now)), take);
            }
        }
    }
    if whole.is_object() {
        Ok(outcome)
    } else {
        Err(error::not_of("an ExportLogsServiceRequest in JSON"))
    }
}

/// A list by its name, or by the one that the definition has.
fn list<'v>(value: &'v Value, name: &str, other: &str) -> &'v [Value] {
    let found = value.get(name).or_else(|| value.get(other)).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

fn parts_of(record: &Value) -> Result<Parts<'_>, String> {
    let whole = |name: &str| match record.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(Value::String(text)) => text.parse().map_err(|_bad| format!("`{name}` is a number")),
        Some(value) => value.as_u64().ok_or_else(|| format!("`{name}` is a number")),
    };
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    if !record.is_object() {
        return Err("a log record is a JSON object".to_owned());
    }
    Ok(Parts {
        time: whole("timeUnixNano")?,
        observed: whole("observedTimeUnixNano")?,
        severity: severity(record.get("severityNumber")),
        severity_text: Cow::Borrowed(text("severityText")),
        body: record.get("body").and_then(scalar_of),
        attributes: attributes_of(record),
        trace_id: text("traceId").to_ascii_lowercase(),
        span_id: text("spanId").to_ascii_lowercase(),
        event: Cow::Borrowed(text("eventName")),
    })
}

/// A number, or the name that the definition gives it: `SEVERITY_NUMBER_WARN2`.
fn severity(value: Option<&Value>) -> u64 {
    let Some(name) = value.and_then(Value::as_str) else {
        return value.and_then(Value::as_u64).unwrap_or(0);
    };
    let name = name.trim_start_matches("SEVERITY_NUMBER_");
    let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let place = names.iter().position(|known| name.starts_with(known));
    place.map_or(0, |place| place as u64 * 4 + 1)
}

fn attributes_of(of: &Value) -> Vec<Field<'_>> {
    let pairs = of.get("attributes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let pair = |pair: &'_ Value| -> Option<(String, Value)> {
        Some((pair.get("key")?.as_str()?.to_owned(), pair.get("value")?.clone()))
    };
    let named = pairs.iter().filter_map(pair);
    named
        .filter_map(|(name, value)| {
            let value = scalar_of(&value)?.into_owned();
            Some((Cow::Owned(name), value))
        })
        .collect()
}

fn scalar_of(value: &Value) -> Option<Scalar<'_>> {
    let (kind, inner) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "stringValue" | "bytesValue" => Scalar::Text(Cow::Borrowed(inner.as_str()?)),
        "boolValue" => Scalar::Bool(inner.as_bool()?),
        "intValue" => Scalar::Int(inner.as_i64().or_else(|| inner.as_str()?.parse().ok())?),
        "doubleValue" => match inner {
            Value::String(text) => Scalar::Text(Cow::Borrowed(text)),
            other => float(other.as_f64()?),
        },
        _ => Scalar::Json(Cow::Owned(plain_of(value).to_string())),
    })
}

/// A value of OTLP's JSON as plain JSON. Its depth is bounded by the parser's.
fn plain_of(value: &Value) -> Value {
    let member = value.as_object().and_then(|members| members.iter().next());
    let Some((kind, inner)) = member else { return Value::Null };
    let items = || inner.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match kind.as_str() {
        "intValue" => match inner.as_str().map(str::parse::<i64>) {
            Some(Ok(number)) => number.into(),
            _ => inner.clone(),
        },
        "arrayValue" => items().iter().map(plain_of).collect(),
        "kvlistValue" => items()
            .iter()
            .filter_map(|pair| {
                Some((pair.get("key")?.as_str()?.to_owned(), plain_of(pair.get("value")?)))
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => inner.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Record;
    use super::*;
    use serde_json::json;

    fn put(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        to.push(number << 3 | 2);
        super::super::super::varint::put_varint(to, bytes.len() as u64);
        to.extend_from_slice(bytes);
    }

    fn message(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut to = Vec::new();
        for (number, bytes) in parts {
            put(&mut to, *number, bytes);
        }
        to
    }

    fn pair(name: &str, value: &[u8]) -> Vec<u8> {
        message(&[(1, name.as_bytes()), (2, value)])
    }

    fn records(read: impl Fn(&mut Take<'_>) -> Result<Ingested>) -> (Ingested, Vec<Record>) {
        let mut all = Vec::new();
        let outcome = read(&mut |line: Line<'_>| all.push(line.into_record())).unwrap();
        (outcome, all)
    }

    fn check(record: &Record) {
        assert_eq!((record.stream.as_str(), record.level), ("wind-farm", Level::Warning));
        assert_eq!((record.time, record.message.as_str()), (Time(1_700_000_000_123_456), "hot"));
        assert_eq!(record.module.as_deref(), Some("pitch"));
        assert_eq!((record.file.as_deref(), record.line), (Some("a.py"), Some(7)));
        assert_eq!(
            Value::Object(record.fields.clone()),
            json!({"host": "n1", "n": -3, "list": [1, "a", {"k": true}], "trace_id": "0af7"})
        );
    }

    #[test]
    fn protobuf_is_read() {
        let int = |number: i64| {
            let mut to = vec![3 << 3];
            super::super::super::varint::put_varint(&mut to, number.cast_unsigned());
            to
        };
        let text = |text: &str| message(&[(1, text.as_bytes())]);
        let list = message(&[(
            5,
            &message(&[
                (1, &int(1)),
                (1, &text("a")),
                (1, &message(&[(6, &message(&[(1, &pair("k", &[2 << 3, 1]))]))])),
            ]),
        )]);
        let mut record = vec![1 << 3 | 1];
        record.extend_from_slice(&1_700_000_000_123_456_789_u64.to_le_bytes());
        record.extend_from_slice(&[2 << 3, 13]);
        for (number, bytes) in [
            (5, text("hot")),
            (6, pair("code.file.path", &text("a.py"))),
            (6, pair("code.line.number", &int(7))),
            (6, pair("n", &int(-3))),
            (6, pair("list", &list)),
            (9, vec![0x0a, 0xf7]),
            (10, vec![0, 0]),
        ] {
            put(&mut record, number, &bytes);
        }
        let resource = message(&[
            (1, &pair("service.name", &text("wind-farm"))),
            (1, &pair("host", &text("n1"))),
        ]);
        let scope = message(&[(1, &message(&[(1, b"pitch")])), (2, &record), (2, &[0xff])]);
        let body = message(&[(1, &message(&[(1, &resource), (2, &scope)]))]);
        let (outcome, all) = records(|take| read_protobuf(&body, Time(0), take));
        assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 1));
        check(&all[0]);
        assert!(read_protobuf(b"\xff\xff", Time(0), &mut |_| ()).is_err());
    }

    #[test]
    fn json_is_read() {
        let body = json!({"resourceLogs": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "wind-farm"}}, {"key": "host", "value": {"stringValue": "n1"}}]},
            "scopeLogs": [{"scope": {"name": "pitch"}, "logRecords": [{
                "timeUnixNano": "1700000000123456789", "severityNumber": 13, "body": {"stringValue": "hot"}, "traceId": "0AF7", "spanId": "",
                "attributes": [
                    {"key": "code.file.path", "value": {"stringValue": "a.py"}}, {"key": "code.line.number", "value": {"intValue": "7"}},
                    {"key": "n", "value": {"intValue": -3}},
                    {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}, {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": true}}]}}]}}},
                ],
            }, 7, {"timeUnixNano": "x"}]}],
        }]});
        let (outcome, all) = records(|take| read_json(body.to_string().as_bytes(), Time(0), take));
        assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 2));
        check(&all[0]);
        assert!(read_json(b"[]", Time(0), &mut |_| ()).is_err());
        assert!(read_json(b"{", Time(0), &mut |_| ()).is_err());
        assert_eq!(severity(Some(&json!("SEVERITY_NUMBER_ERROR2"))), 17);
    }

    #[test]
    fn bytes_inside_bytes_inside_bytes_are_refused() {
        let mut value = message(&[(1, b"deep")]);
        for _ in 0..200 {
            value = message(&[(5, &message(&[(1, &value)]))]);
        }
        let record = message(&[(5, &value)]);
        let body = message(&[(1, &message(&[(2, &message(&[(2, &record)]))]))]);
        let (outcome, _) = records(|take| read_protobuf(&body, Time(0), take));
        assert_eq!((outcome.accepted, outcome.rejected.len()), (0, 1));
    }
}
