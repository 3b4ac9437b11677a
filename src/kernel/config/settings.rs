//! The settings as they hold: typed getters, and for each value the place it came from.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::error;
use super::key::Key;
use super::secret::Secret;
use super::value::Value;
use crate::kernel::error::Result;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave it.
    Default,
    /// A line of the file: `drip.toml:12`.
    File {
        /// File and line.
        place: String,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, without its dashes.
    Flag(String),
    /// A file that holds this one secret.
    SecretFile {
        /// What named the file.
        named_by: Box<Self>,
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { place } => f.write_str(place),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::SecretFile { named_by, path } => write!(f, "{named_by} ({})", path.display()),
        }
    }
}

/// A setting as it holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Option<Value>,
    pub(super) source: Source,
}

/// One line of `config show`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The setting.
    pub key: &'static str,
    /// Its value for programs: null when it has none, dots when it is a secret.
    pub value: serde_json::Value,
    /// Its value for people.
    #[serde(skip)]
    pub shown: String,
    /// Where it came from.
    pub source: String,
}

/// Every setting of the schema it was loaded with.
#[derive(Debug)]
pub struct Settings {
    entries: Vec<Entry>,
    index: HashMap<&'static str, usize>,
    file: Option<PathBuf>,
}

impl Settings {
    pub(super) fn new(entries: Vec<Entry>, file: Option<PathBuf>) -> Self {
        let index = entries.iter().enumerate().map(|(at, entry)| (entry.key.name, at)).collect();
        Self { entries, index, file }
    }

    /// The file that was read, as it was named.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The value of a setting, if it is declared and has one.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entry(key)?.value.as_ref()
    }

    /// Where a setting came from, if it is declared.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.entry(key).map(|entry| &entry.source)
    }

    /// Whether a setting has a value, by default or given.
    pub fn is_set(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A setting that may have no value: `settings.given("cask.s3.listen", Settings::text)`.
    pub fn given<'a, T>(
        &'a self,
        key: &str,
        read: impl FnOnce(&'a Self, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.entry(key) {
            Some(entry) if entry.value.is_none() => Ok(None),
            _ => read(self, key).map(Some),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<&str> {
        match self.value(key)? {
            Value::Text(text) => Ok(text),
            _ => Err(error::not_declared(key, "text")),
        }
    }

    /// A whole number, in the type that the caller needs.
    pub fn integer<T: TryFrom<i64>>(&self, key: &str) -> Result<T> {
        match self.value(key)? {
            Value::Integer(number) => {
                T::try_from(*number).map_err(|_range| error::out_of_range(key, *number))
            }
            _ => Err(error::not_declared(key, "a whole number")),
        }
    }

    /// A number.
    pub fn float(&self, key: &str) -> Result<f64> {
        match self.value(key)? {
            Value::Float(number) => Ok(*number),
            _ => Err(error::not_declared(key, "a number")),
        }
    }

    /// A switch.
    pub fn bool(&self, key: &str) -> Result<bool> {
        match self.value(key)? {
            Value::Bool(on) => Ok(*on),
            _ => Err(error::not_declared(key, "true or false")),
        }
    }

    /// A list of texts.
    pub fn list(&self, key: &str) -> Result<&[String]> {
        match self.value(key)? {
            Value::List(items) => Ok(items),
            _ => Err(error::not_declared(key, "a list")),
        }
    }

    /// A duration.
    pub fn duration(&self, key: &str) -> Result<Duration> {
        match self.value(key)? {
            Value::Duration(duration) => Ok(*duration),
            _ => Err(error::not_declared(key, "a duration")),
        }
    }

    /// A size in bytes.
    pub fn bytes(&self, key: &str) -> Result<u64> {
        match self.value(key)? {
            Value::Bytes(bytes) => Ok(*bytes),
            _ => Err(error::not_declared(key, "a size")),
        }
    }

    /// A table whose keys are free.
    pub fn table(&self, key: &str) -> Result<&toml::Table> {
        match self.value(key)? {
            Value::Table(table) => Ok(table),
            _ => Err(error::not_declared(key, "a table")),
        }
    }

    /// A secret.
    pub fn secret(&self, key: &str) -> Result<&Secret> {
        match self.value(key)? {
            Value::Secret(secret) => Ok(secret),
            _ => Err(error::not_declared(key, "a secret")),
        }
    }

    /// A path. From the file, and by default, it starts at the folder of the file; from a variable
    /// or a flag it starts where the program was started, as shells have it.
    pub fn path(&self, key: &str) -> Result<PathBuf> {
        let text = self.text(key)?;
        let from_here = self.source(key).is_some_and(Source::is_from_outside);
        let folder = self.file.as_deref().and_then(Path::parent).filter(|_| !from_here);
        Ok(folder.map_or_else(|| PathBuf::from(text), |folder| folder.join(text)))
    }

    /// The settings under `prefix`, asked for by the rest of their names.
    pub fn section<'a>(&'a self, prefix: &'a str) -> Section<'a> {
        Section { settings: self, prefix }
    }

    /// Every setting in the order of the schema, secrets as dots, each with where it came from.
    pub fn show(&self) -> Vec<Row> {
        let row = |entry: &Entry| Row {
            key: entry.key.name,
            value: entry.value.as_ref().map_or(serde_json::Value::Null, Value::to_json),
            shown: entry.value.as_ref().map_or_else(String::new, Value::show),
            source: entry.source.to_string(),
        };
        self.entries.iter().map(row).collect()
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|at| self.entries.get(*at))
    }

    fn value(&self, key: &str) -> Result<&Value> {
        let entry = self.entry(key).ok_or_else(|| error::not_declared(key, "a setting"))?;
        entry.value.as_ref().ok_or_else(|| error::no_value(key))
    }
}

impl Source {
    fn is_from_outside(&self) -> bool {
        match self {
            Self::Variable(_) | Self::Flag(_) => true,
            Self::Default | Self::File { .. } | Self::SecretFile { .. } => false,
        }
    }
}

/// The settings of one section: `settings.section("server").text("listen")`.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    settings: &'a Settings,
    prefix: &'a str,
}

macro_rules! same_as_settings {
    ($($(#[$doc:meta])* $getter:ident -> $answer:ty;)*) => {
        impl<'a> Section<'a> {
            $($(#[$doc])*
            pub fn $getter(&self, name: &str) -> Result<$answer> {
                self.settings.$getter(&self.full(name))
            })*
        }
    };
}

same_as_settings! {
    /// A text.
    text -> &'a str;
    /// A number.
    float -> f64;
    /// A switch.
    bool -> bool;
    /// A list of texts.
    list -> &'a [String];
    /// A duration.
    duration -> Duration;
    /// A size in bytes.
    bytes -> u64;
    /// A table whose keys are free.
    table -> &'a toml::Table;
    /// A secret.
    secret -> &'a Secret;
    /// A path, see [`Settings::path`].
    path -> PathBuf;
}

impl Section<'_> {
    /// A whole number, in the type that the caller needs.
    pub fn integer<T: TryFrom<i64>>(&self, name: &str) -> Result<T> {
        self.settings.integer(&self.full(name))
    }

    /// Whether a setting has a value, by default or given.
    pub fn is_set(&self, name: &str) -> bool {
        self.settings.is_set(&self.full(name))
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
