//! What a setting is called, what it may be, and why it exists.

use super::value::{self, Value};

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A list of texts; with commas in the environment.
    List,
    /// A duration such as `"15s"`.
    Duration,
    /// A size such as `"10MiB"`, or a number of bytes.
    Bytes,
    /// A table whose keys are free.
    Table,
}

/// What a value must also be, beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing more.
    Any,
    /// An address to listen on: a host or an IP address, a colon and a port.
    Address,
    /// Within these bounds, both allowed: whole numbers as they are, sizes in bytes, durations in
    /// milliseconds.
    Between(i64, i64),
    /// One of these words; for a list, each of its items.
    OneOf(&'static [&'static str]),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its full name: `server.listen`.
    pub name: &'static str,
    /// Its type.
    pub kind: KeyKind,
    /// Its default as a TOML literal; none when it has no value unless someone gives one.
    pub default: Option<&'static str>,
    /// One line that says what it is for.
    pub doc: &'static str,
    /// Whether it is never shown.
    pub secret: bool,
    /// What its value must also be.
    pub rule: Rule,
}

impl Key {
    /// A setting with a default, which is a TOML literal: `"10s"` with its quotes.
    pub const fn new(
        name: &'static str,
        kind: KeyKind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), doc, secret: false, rule: Rule::Any }
    }

    /// A setting that has no value unless someone gives one.
    pub const fn optional(name: &'static str, kind: KeyKind, doc: &'static str) -> Self {
        Self { name, kind, default: None, doc, secret: false, rule: Rule::Any }
    }

    /// A secret text: it has no default, is never shown, and may stand in a file (`…_file`).
    pub const fn secret(name: &'static str, doc: &'static str) -> Self {
        Self { name, kind: KeyKind::Text, default: None, doc, secret: true, rule: Rule::Any }
    }

    /// The same setting with a rule for its value.
    pub const fn must(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// The section it stands in and its name there: `server` and `listen`.
    pub fn split(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }

    /// The environment variable that sets it: `DRIP_SERVER__LISTEN`.
    pub fn variable(&self) -> String {
        format!("DRIP_{}", self.name.replace('.', "__").to_ascii_uppercase())
    }

    /// The default as a value. The error is a fault of whoever wrote the schema.
    pub(super) fn default_value(&self) -> Result<Option<Value>, String> {
        let Some(literal) = self.default else {
            return Ok(None);
        };
        let given = literal.parse::<toml::Value>().map_err(|source| {
            format!("the default of `{}` is not TOML: {}", self.name, source.message())
        })?;
        self.read(&given).map(Some)
    }

    /// Reads a value as it stands in a file. The error is a sentence for people; it never holds the
    /// value of a secret.
    pub(super) fn read(&self, given: &toml::Value) -> Result<Value, String> {
        let value = value::read(self.kind, given).map_err(|why| match why {
            None => self.wrong_type(given),
            Some(_) if self.secret => self.wrong_type(given),
            Some(why) => format!("`{}`: {why}", self.name),
        })?;
        self.check(&value)?;
        Ok(value.hidden_if(self.secret))
    }

    /// Reads a value as it stands in a variable or behind a flag.
    pub(super) fn read_text(&self, text: &str) -> Result<Value, String> {
        self.read(&value::from_text(self.kind, text))
    }

    fn wrong_type(&self, given: &toml::Value) -> String {
        let got = value::describe(given, self.secret);
        let expected = value::expected(self.kind);
        match (self.kind, self.default) {
            (KeyKind::Text, Some(example)) => {
                format!("`{}` must be {expected}, such as {example}, not {got}", self.name)
            }
            _ => format!("`{}` must be {expected}, not {got}", self.name),
        }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        if self.secret && value.is_empty_text() {
            return Err(format!("`{}` is empty: a secret is not", self.name));
        }
        let wrong = match self.rule {
            Rule::Any => None,
            Rule::Address => value::address_fault(value),
            Rule::Between(low, high) => value::range_fault(value, low, high),
            Rule::OneOf(words) => value::word_fault(value, words),
        };
        wrong.map_or(Ok(()), |why| Err(format!("`{}` {why}", self.name)))
    }
}
