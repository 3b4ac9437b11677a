//! A record on its way in: what a client sent, borrowed from the bytes it sent, whatever it speaks.

use std::borrow::Cow;

use super::super::error::{FIELDS_MAX, RECORD_MAX};
use super::super::model::{DEFAULT_STREAM, Level, Record};
use super::super::scalar::Scalar;
use crate::kernel::clock::Time;
use crate::kernel::name::Name;

/// A field's name and value.
pub(crate) type Field<'a> = (Cow<'a, str>, Scalar<'a>);

/// See the module's first line.
#[expect(clippy::struct_field_names, reason = "a record's line in its source file has this name")]
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    pub(crate) time: Time,
    pub(crate) level: Level,
    pub(crate) stream: Cow<'a, str>,
    pub(crate) message: Cow<'a, str>,
    pub(crate) module: Option<Cow<'a, str>>,
    pub(crate) file: Option<Cow<'a, str>>,
    pub(crate) line: Option<u64>,
    pub(crate) run_id: Option<Cow<'a, str>>,
    pub(crate) fields: Vec<Field<'a>>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(
        time: Time,
        level: Level,
        stream: impl Into<Cow<'a, str>>,
        message: impl Into<Cow<'a, str>>,
    ) -> Self {
        Self {
            time,
            level,
            stream: stream.into(),
            message: message.into(),
            module: None,
            file: None,
            line: None,
            run_id: None,
            fields: Vec::new(),
        }
    }

    pub(crate) fn of(record: &'a Record) -> Self {
        let some = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        let field =
            |(name, value): (&'a String, _)| (Cow::Borrowed(name.as_str()), Scalar::of(value));
        Self {
            module: some(&record.module),
            file: some(&record.file),
            line: record.line,
            run_id: some(&record.run_id),
            fields: record.fields.iter().map(field).collect(),
            ..Self::new(record.time, record.level, record.stream.as_str(), record.message.as_str())
        }
    }

    /// Adds a field; one that has its name already goes. Of a record that has too many already nothing is
    /// compared any more: it will be refused.
    pub(crate) fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Scalar<'a>) {
        let name = name.into();
        if self.fields.len() > FIELDS_MAX {
            return self.fields.push((name, value));
        }
        match self.fields.iter_mut().find(|(other, _)| *other == name) {
            Some((_, place)) => *place = value,
            None => self.fields.push((name, value)),
        }
    }

    /// Refuses what is too large.
    pub(crate) fn check_size(&self) -> Result<(), String> {
        if self.fields.len() > FIELDS_MAX {
            return Err(too_many_fields(self.fields.len()));
        }
        let text = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.size()).sum();
        let size = self.message.len()
            + self.stream.len()
            + text(&self.module)
            + text(&self.file)
            + text(&self.run_id)
            + fields;
        if size > RECORD_MAX { Err(too_large()) } else { Ok(()) }
    }
}

pub(crate) fn too_large() -> String {
    "a record has at most 256 KiB".to_owned()
}

pub(crate) fn too_many_fields(count: usize) -> String {
    format!("a record has at most {FIELDS_MAX} fields, this one has {count}")
}

/// The name of a stream as it is kept; `default` where there is none.
pub(crate) fn stream_name(text: Cow<'_, str>) -> Result<Cow<'_, str>, String> {
    if text.is_empty() {
        return Ok(Cow::Borrowed(DEFAULT_STREAM));
    }
    // Names in use look like this; the full check is for the others.
    let plain = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain {
        return Ok(text);
    }
    Name::new(&text)
        .map(|name| Cow::Owned(name.as_str().to_owned()))
        .map_err(|why| format!("`stream`: {}", why.detail()))
}

#[cfg(test)]
impl Line<'_> {
    /// The record that this is.
    pub(crate) fn into_record(self) -> Record {
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let field = |(name, value): Field<'_>| (name.into_owned(), value.into_value());
        Record {
            module: text(self.module),
            file: text(self.file),
            line: self.line,
            run_id: text(self.run_id),
            fields: self.fields.into_iter().map(field).collect(),
            ..Record::new(self.time, self.level, &self.stream, self.message)
        }
    }
}

/// A stream's name made of what another system calls it: what no name may have becomes `-`.
pub(crate) fn stream_like(text: Cow<'_, str>) -> Cow<'_, str> {
    match stream_name(text.clone()) {
        Ok(_) if text.is_empty() => text,
        Ok(name) => Cow::Owned(name.into_owned()),
        Err(_) => {
            let plain: String = text
                .chars()
                .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
                .take(80)
                .collect();
            let plain = plain.trim_matches(['.', '-']).to_owned();
            stream_name(Cow::Owned(plain)).unwrap_or(Cow::Borrowed(DEFAULT_STREAM))
        }
    }
}
