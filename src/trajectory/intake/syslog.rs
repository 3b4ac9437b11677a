//! Lines of syslog, as RFC 5424 has them, and as RFC 3164 found them.

use std::borrow::Cow;

use super::super::model::Level;
use super::super::scalar::Scalar;
use super::line::{Line, stream_like};
use crate::kernel::clock::Time;

/// The stream of lines that name no program.
const STREAM: &str = "syslog";
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// The record of one datagram. Nothing is refused: what is not syslog is a message.
pub(crate) fn line_of(datagram: &[u8], now: Time) -> Line<'static> {
    let text = String::from_utf8_lossy(datagram);
    let text = text.trim_end_matches(['\n', '\r', '\0']);
    let priority = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let priority = priority.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
    let Some((priority, rest)) = priority.filter(|(priority, _)| *priority < 192) else {
        return Line::new(now, Level::Info, STREAM, text.to_owned());
    };
    let level = match priority % 8 {
        0..=2 => Level::Critical,
        3 => Level::Error,
        4 => Level::Warning,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    };
    let mut line = Line::new(now, level, STREAM, String::new());
    let facility = FACILITIES.get(priority / 8).copied().unwrap_or("user");
    match rest.strip_prefix("1 ") {
        Some(rest) if of_5424(&mut line, rest).is_some() => {}
        _ => of_3164(&mut line, rest),
    }
    line.set("facility", Scalar::Text(Cow::Borrowed(facility)));
    if line.check_size().is_err() {
        // More than a record has is kept as it came.
        return Line::new(now, level, STREAM, text.to_owned());
    }
    line
}

fn text(text: &str) -> Scalar<'static> {
    Scalar::Text(Cow::Owned(text.to_owned()))
}

/// `TIME HOST APP PROCID MSGID [id name="value"…] MESSAGE`, where `-` is nothing.
fn of_5424(line: &mut Line<'static>, rest: &str) -> Option<()> {
    let mut words = rest.splitn(6, ' ');
    let mut word = || words.next().map(|word| Some(word).filter(|word| *word != "-"));
    let (time, host, app, pid, id) = (word()?, word()?, word()?, word()?, word()?);
    let (data, message) = structured(words.next()?)?;
    if let Some(time) = time {
        line.time = Time::parse(time).ok()?;
    }
    if let Some(app) = app {
        line.stream = stream_like(Cow::Owned(app.to_owned()));
    }
    for (name, value) in [("host", host), ("pid", pid), ("msgid", id)] {
        if let Some(value) = value {
            line.set(name, text(value));
        }
    }
    for (name, value) in data {
        line.set(name, Scalar::Text(Cow::Owned(value)));
    }
    line.message = Cow::Owned(message.trim_start_matches('\u{FEFF}').to_owned());
    Some(())
}

type Pairs = Vec<(String, String)>;

/// The structured data in front of a message, by `id.name`, and the message.
fn structured(rest: &str) -> Option<(Pairs, &str)> {
    let mut pairs = Vec::new();
    if let Some(behind) = rest.strip_prefix('-') {
        return Some((pairs, behind.strip_prefix(' ').unwrap_or(behind)));
    }
    let mut rest = rest;
    while let Some(inner) = rest.strip_prefix('[') {
        let end = inner.find([' ', ']'])?;
        let (id, mut behind) = inner.split_at(end);
        while let Some(more) = behind.strip_prefix(' ') {
            let (name, value) = more.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            pairs.push((format!("{id}.{name}"), value));
            behind = after;
        }
        rest = behind.strip_prefix(']')?;
    }
    Some((pairs, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// What stands up to the quote, in which `\` takes the meaning of the next character away.
fn quoted(value: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, value.get(at + 1..)?)),
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

/// `Mmm dd hh:mm:ss host tag[pid]: message`, any of it missing. Its time has neither a year nor a zone, so
/// the time is when it came.
fn of_3164(line: &mut Line<'static>, rest: &str) {
    let is_time = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() == 15
            && [3, 6].iter().all(|at| bytes.get(*at) == Some(&b' '))
            && bytes.get(9) == Some(&b':')
    };
    let mut rest = rest;
    if let Some((time, behind)) = rest.split_at_checked(15)
        && is_time(time)
    {
        rest = behind.trim_start();
        // A host is followed by a tag; a tag ends with a colon.
        if let Some((host, behind)) = rest.split_once(' ').filter(|(word, _)| !word.ends_with(':'))
        {
            line.set("host", text(host));
            rest = behind;
        }
    }
    if let Some((tag, message)) = rest.split_once(": ").filter(|(tag, _)| !tag.contains(' ')) {
        let (name, pid) = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
            Some((name, pid)) => (name, Some(pid)),
            None => (tag, None),
        };
        line.stream = stream_like(Cow::Owned(name.to_owned()));
        if let Some(pid) = pid {
            line.set("pid", text(pid));
        }
        rest = message;
    }
    if line.stream.is_empty() {
        line.stream = Cow::Borrowed(STREAM);
    }
    line.message = Cow::Owned(rest.to_owned());
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Record;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn one(text: &str) -> Record {
        line_of(text.as_bytes(), Time(7)).into_record()
    }

    #[test]
    fn both_kinds_of_lines_are_read() {
        let new = one(
            "<165>1 2026-03-30T01:00:00.5Z mast1 pitch 42 ID47 [origin@1 ip=\"10.0.0.1\" q=\"a \\\"b\\\"\"][x] \u{FEFF}blade hot",
        );
        assert_eq!(
            (new.stream.as_str(), new.level, new.message.as_str()),
            ("pitch", Level::Info, "blade hot")
        );
        assert_eq!(new.time.to_string(), "2026-03-30T01:00:00.500000Z");
        assert_eq!(
            Value::Object(new.fields),
            json!({"host": "mast1", "pid": "42", "msgid": "ID47", "origin@1.ip": "10.0.0.1", "origin@1.q": "a \"b\"", "facility": "local4"})
        );
        let old = one("<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed\n");
        assert_eq!((old.stream.as_str(), old.level, old.time), ("su", Level::Critical, Time(7)));
        assert_eq!(old.message, "'su root' failed");
        assert_eq!(
            Value::Object(old.fields),
            json!({"host": "mymachine", "pid": "230", "facility": "auth"})
        );
        assert_eq!(one("<13>plain words: here").stream, "syslog");
        let many: Vec<String> = (0..100).map(|n| format!("n{n}=\"x\"")).collect();
        let many = one(&format!("<13>1 - - pitch - - [id {}] hot", many.join(" ")));
        assert!(many.fields.is_empty() && many.message.ends_with("] hot"), "{many:?}");
        assert_eq!(
            (one("nothing of the kind").message.as_str(), one("<999>x").message.as_str()),
            ("nothing of the kind", "<999>x")
        );
    }

    proptest! {
        #[test]
        fn any_datagram_is_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "<[0-9]{1,3}>1? ?[ -~]{0,80}") {
            let _record = line_of(&bytes, Time(0)).into_record();
            let _record = line_of(text.as_bytes(), Time(0)).into_record();
        }
    }
}
