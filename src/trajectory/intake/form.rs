//! Records as Python's own `logging.handlers.HTTPHandler` posts them: one per request, the attributes
//! of a `LogRecord` as a form. The template and its arguments, which it sends apart, are put together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::error;
use super::super::model::Level;
use super::super::scalar::Scalar;
use super::json::Take;
use super::line::{Line, stream_like};
use super::outcome::Ingested;
use super::python;
use super::time::time_from_text;
use crate::kernel::clock::Time;
use crate::kernel::error::Result;

/// Attributes that say what others say already, or nothing to a reader.
const IDLE: [&str; 8] =
    ["args", "levelno", "pathname", "created", "msecs", "relativeCreated", "thread", "taskName"];

/// Reads a form; `stream` is where a record goes that names no logger.
pub(crate) fn read(
    body: &[u8],
    stream: Option<&str>,
    now: Time,
    take: &mut Take<'_>,
) -> Result<Ingested> {
    let pairs = form_urlencoded::parse(body);
    let form: BTreeMap<Cow<'_, str>, Cow<'_, str>> =
        pairs.filter(|(_, value)| value != "None" && !value.is_empty()).collect();
    if form.is_empty() {
        return Err(error::not_of("a form with the attributes of a log record"));
    }
    let mut outcome = Ingested::default();
    outcome.note(line_of(form, stream, now), take);
    Ok(outcome)
}

fn line_of<'a>(
    mut form: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    stream: Option<&'a str>,
    now: Time,
) -> Result<Line<'a>, String> {
    let time = match form.remove("created").or_else(|| form.remove("time")) {
        Some(text) => time_from_text(&text).ok_or("`created` is no time")?,
        None => now,
    };
    let level = match form.remove("levelname").or_else(|| form.remove("level")) {
        Some(text) => {
            Level::parse(&text).ok_or_else(|| format!("`levelname`: {text} is no level"))?
        }
        None => form.get("levelno").and_then(|text| Level::parse(text)).unwrap_or(Level::Info),
    };
    let message = form.remove("msg").or_else(|| form.remove("message"));
    let message = message.ok_or("a record has a `msg`")?;
    let logger = form.remove("name");
    let named = stream.map(Cow::Borrowed).or_else(|| form.remove("stream"));
    let named = named.or_else(|| logger.clone().filter(|name| name != "root"));
    let stream = stream_like(named.unwrap_or_default());
    let stream =
        if stream.is_empty() { super::super::model::DEFAULT_STREAM.into() } else { stream };
    let args = form.get("args").filter(|args| *args != "()");
    let (message, left) = match args {
        None => (message, None),
        Some(args) => match python::format(&message, args) {
            Some(text) => (Cow::Owned(text), None),
            None => (message, Some(args.clone())),
        },
    };
    let mut line = Line::new(time, level, stream, message);
    line.module = form.remove("module");
    line.file = form.remove("filename").or_else(|| form.remove("file"));
    line.line = form.remove("lineno").and_then(|text| text.parse().ok());
    line.run_id = form.remove("run_id");
    if let Some(args) = left {
        line.set("args", Scalar::Text(args));
    }
    if let Some(logger) = logger.filter(|logger| *logger != line.stream) {
        line.set("logger", Scalar::Text(logger));
    }
    for (name, value) in form {
        if !IDLE.contains(&name.as_ref()) {
            line.set(name, Scalar::Text(value));
        }
    }
    line.check_size()?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Record;
    use super::*;

    fn one(form: &str) -> Record {
        let mut all = Vec::new();
        let outcome =
            read(form.as_bytes(), None, Time(7), &mut |line| all.push(line.into_record())).unwrap();
        assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
        all.remove(0)
    }

    #[test]
    fn a_record_of_pythons_own_handler_is_read() {
        let record = one(
            "name=farm.pitch&msg=blade+%25s+at+%25.1f&args=%28%27A%27%2C+2.25%29&levelname=WARNING&levelno=30&pathname=%2Fa%2Fb.py&filename=b.py&module=b&exc_info=None&exc_text=None&stack_info=None&lineno=12&funcName=turn&created=1700000000.5&msecs=500.0&relativeCreated=1.0&thread=1&threadName=MainThread&processName=MainProcess&process=42&taskName=None",
        );
        assert_eq!(
            (record.stream.as_str(), record.message.as_str()),
            ("farm.pitch", "blade A at 2.2")
        );
        assert_eq!((record.level, record.time), (Level::Warning, Time(1_700_000_000_500_000)));
        assert_eq!((record.file.as_deref(), record.line), (Some("b.py"), Some(12)));
        let names: Vec<_> = record.fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["funcName", "process", "processName", "threadName"]);
    }

    #[test]
    fn what_cannot_be_put_together_is_kept_apart() {
        let record = one("name=root&msg=%25(a)s&args=%7B%27a%27%3A+1%7D");
        assert_eq!((record.stream.as_str(), record.message.as_str()), ("default", "%(a)s"));
        assert_eq!(record.fields["args"], "{'a': 1}");
        assert!(read(b"", None, Time(0), &mut |_| ()).is_err());
    }
}
