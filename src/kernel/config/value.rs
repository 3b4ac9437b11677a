//! A typed value: how it is read from TOML and from text, what it may be, how it is shown.

use std::time::Duration;

use serde_json::json;

use super::key::KeyKind;
use super::secret::{MASK, Secret};
use crate::kernel::clock::{parse_duration, show_duration};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::nearest;

/// A setting's value, read and checked.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts.
    List(Vec<String>),
    /// A duration.
    Duration(Duration),
    /// A number of bytes.
    Bytes(u64),
    /// A table whose keys are free.
    Table(toml::Table),
    /// A secret.
    Secret(Secret),
}

impl Value {
    /// The value for programs: sizes in bytes, durations as text, secrets as dots.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Integer(number) => json!(number),
            Self::Float(number) => json!(number),
            Self::Bool(on) => json!(on),
            Self::List(items) => json!(items),
            Self::Duration(duration) => json!(show_duration(*duration)),
            Self::Bytes(bytes) => json!(bytes),
            Self::Table(table) => json!(table),
            Self::Secret(_) => json!(MASK),
        }
    }

    /// The value for people.
    pub fn show(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(on) => on.to_string(),
            Self::List(items) => items.join(", "),
            Self::Duration(duration) => show_duration(*duration),
            Self::Bytes(bytes) => show_bytes(*bytes),
            Self::Table(table) => json!(table).to_string(),
            Self::Secret(secret) => secret.to_string(),
        }
    }

    pub(super) fn hidden_if(self, secret: bool) -> Self {
        match self {
            Self::Text(text) if secret => Self::Secret(Secret::new(text)),
            other => other,
        }
    }

    pub(super) fn is_empty_text(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}

/// Reads `given` as `kind`. The error is a reason, or none where the type itself is wrong.
pub(super) fn read(kind: KeyKind, given: &toml::Value) -> Result<Value, Option<String>> {
    use toml::Value as Toml;
    let why = |error: Error| Some(error.detail().to_owned());
    match (kind, given) {
        (KeyKind::Text, Toml::String(text)) => Ok(Value::Text(text.clone())),
        (KeyKind::Integer, Toml::Integer(number)) => Ok(Value::Integer(*number)),
        (KeyKind::Float, Toml::Float(number)) if number.is_finite() => Ok(Value::Float(*number)),
        #[expect(clippy::cast_precision_loss, reason = "a number of that size is rounded anyway")]
        (KeyKind::Float, Toml::Integer(number)) => Ok(Value::Float(*number as f64)),
        (KeyKind::Bool, Toml::Boolean(on)) => Ok(Value::Bool(*on)),
        (KeyKind::List, Toml::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map(Value::List).ok_or_else(|| {
                let odd = items.iter().find(|item| !item.is_str());
                odd.map(|item| {
                    format!("it holds {}, and each item must be text", describe(item, false))
                })
            })
        }
        (KeyKind::Duration, Toml::String(text)) => {
            parse_duration(text).map(Value::Duration).map_err(why)
        }
        (KeyKind::Bytes, Toml::String(text)) => parse_bytes(text).map(Value::Bytes).map_err(why),
        (KeyKind::Bytes, Toml::Integer(number)) => u64::try_from(*number)
            .map(Value::Bytes)
            .map_err(|_negative| Some(format!("{number} is less than nothing"))),
        (KeyKind::Table, Toml::Table(table)) => Ok(Value::Table(table.clone())),
        _ => Err(None),
    }
}

/// What `text` from a variable or a flag would be in a file. What does not fit stays text, so that
/// [`read`] can say what was given.
pub(super) fn from_text(kind: KeyKind, text: &str) -> toml::Value {
    let trimmed = text.trim();
    let as_text = || toml::Value::String(text.to_owned());
    match kind {
        KeyKind::Text | KeyKind::Duration | KeyKind::Bytes => as_text(),
        KeyKind::Integer => trimmed.parse().map_or_else(|_not| as_text(), toml::Value::Integer),
        KeyKind::Float => trimmed.parse().map_or_else(|_not| as_text(), toml::Value::Float),
        KeyKind::Bool => trimmed.parse().map_or_else(|_not| as_text(), toml::Value::Boolean),
        KeyKind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect())
        }
        KeyKind::Table => trimmed.parse().unwrap_or_else(|_not| as_text()),
    }
}

/// What a value of `kind` looks like.
pub(super) const fn expected(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Text => "text in quotes",
        KeyKind::Integer => "a whole number, such as 5",
        KeyKind::Float => "a number, such as 0.5",
        KeyKind::Bool => "true or false",
        KeyKind::List => "a list of texts, such as [\"a\", \"b\"] (`a,b` in the environment)",
        KeyKind::Duration => "a duration, such as \"15s\"",
        KeyKind::Bytes => "a size, such as \"10MiB\" or a number of bytes",
        KeyKind::Table => "a table, such as { a = 1 }",
    }
}

/// What was given, in a few words; only its type when it is a secret.
pub(super) fn describe(given: &toml::Value, secret: bool) -> String {
    let (kind, shown) = match given {
        toml::Value::String(text) => ("text", Some(format!("\"{}\"", short(text)))),
        toml::Value::Integer(number) => ("the whole number", Some(number.to_string())),
        toml::Value::Float(number) => ("the number", Some(number.to_string())),
        toml::Value::Boolean(on) => ("the switch", Some(on.to_string())),
        toml::Value::Datetime(time) => ("the date", Some(time.to_string())),
        toml::Value::Array(_) => ("a list", None),
        toml::Value::Table(_) => ("a section", None),
    };
    match shown.filter(|_| !secret) {
        Some(shown) => format!("{} {shown}", if kind == "text" { "the text" } else { kind }),
        None => kind.to_owned(),
    }
}

/// `text`, printable and not longer than a line.
pub(super) fn short(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(80) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            other => shown.extend(other.escape_debug()),
        }
    }
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

/// Why `value` is not an address to listen on.
pub(super) fn address_fault(value: &Value) -> Option<String> {
    let Value::Text(text) = value else {
        return None;
    };
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let clean = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        clean && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    });
    (!good).then(|| {
        format!(
            "must be an address and a port, such as \"127.0.0.1:22315\" or \"[::1]:22315\", not \"{}\"",
            short(text)
        )
    })
}

/// Why `value` lies outside `low` to `high`.
pub(super) fn range_fault(value: &Value, low: i64, high: i64) -> Option<String> {
    let number = match value {
        Value::Integer(number) => i128::from(*number),
        Value::Bytes(bytes) => i128::from(*bytes),
        Value::Duration(duration) => i128::try_from(duration.as_millis()).unwrap_or(i128::MAX),
        _ => return None,
    };
    let shown = |bound: i64| match value {
        Value::Bytes(_) => show_bytes(bound.unsigned_abs()),
        Value::Duration(_) => show_duration(Duration::from_millis(bound.unsigned_abs())),
        _ => bound.to_string(),
    };
    if number < i128::from(low) {
        Some(format!("must be at least {}, not {}", shown(low), value.show()))
    } else if number > i128::from(high) {
        Some(format!("must be at most {}, not {}", shown(high), value.show()))
    } else {
        None
    }
}

/// Why a word of `value` is not one of `words`.
pub(super) fn word_fault(value: &Value, words: &[&'static str]) -> Option<String> {
    let given = match value {
        Value::Text(text) => std::slice::from_ref(text),
        Value::List(items) => items.as_slice(),
        _ => return None,
    };
    let odd: Vec<String> = given
        .iter()
        .filter(|word| !words.contains(&word.as_str()))
        .take(8)
        .map(|word| {
            let hint = nearest_word(word, words.iter().copied());
            let hint = hint.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            format!("`{}`{hint}", short(word))
        })
        .collect();
    (!odd.is_empty())
        .then(|| format!("does not know {}: it may be {}", odd.join(" and "), words.join(", ")))
}

/// [`nearest`], for words of a sane length: comparing is quadratic in it.
pub(super) fn nearest_word<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > 128 { None } else { nearest(word, known) }
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a size as people write it: `10MiB`, `2GB`, `512 KiB`, or a bare number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim_start();
    let scale = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, scale)| *scale)
        .or_else(|| unit.is_empty().then_some(1));
    number.parse::<u64>().ok().zip(scale).and_then(|(n, s)| n.checked_mul(s)).ok_or_else(|| {
        Error::new(
            Kind::Malformed,
            "bad_size",
            format!(
                "`{}` is not a size: write a whole number and B, KiB, MiB, GiB, TiB (or kB, MB, GB, TB), such as 10MiB",
                short(text)
            ),
        )
    })
}

/// Writes a size the way [`parse_bytes`] reads it, in the largest unit that keeps it exact.
pub fn show_bytes(bytes: u64) -> String {
    UNITS
        .iter()
        .filter(|(name, _)| name.ends_with("iB"))
        .chain(&UNITS)
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale))
        .map_or_else(|| format!("{bytes}B"), |(unit, scale)| format!("{}{unit}", bytes / scale))
}
