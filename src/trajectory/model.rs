//! Records and their levels.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::kernel::clock::Time;

/// The stream of a record that names none.
pub const DEFAULT_STREAM: &str = "default";
/// The stream that takes the records of streams beyond the bound.
pub const OTHER_STREAM: &str = "_other";

/// How grave a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// What should be looked at.
    Warning,
    /// Something failed.
    Error,
    /// The whole is in danger.
    Critical,
}

impl Level {
    /// All of them, from the least.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// Reads a name in any case, one of the usual other names, or a number as Python has it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let named = match text.to_ascii_uppercase().as_str() {
            "DEBUG" | "TRACE" => Some(Self::Debug),
            "INFO" | "INFORMATION" | "NOTICE" => Some(Self::Info),
            "WARNING" | "WARN" => Some(Self::Warning),
            "ERROR" | "ERR" => Some(Self::Error),
            "CRITICAL" | "CRIT" | "FATAL" => Some(Self::Critical),
            _ => None,
        };
        named.or_else(|| Self::from_number(text.parse().ok()?))
    }

    /// The level at or below a number as Python has them: 10, 20, 30, 40, 50.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1..20 => Some(Self::Debug),
            20..30 => Some(Self::Info),
            30..40 => Some(Self::Warning),
            40..50 => Some(Self::Error),
            50..=100 => Some(Self::Critical),
            _ => None,
        }
    }

    /// Its number on disk: 0 to 4.
    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Its bit in a set of levels.
    pub(super) const fn bit(self) -> u8 {
        1 << self.code()
    }

    /// The set of this level and those above.
    pub(super) const fn and_above(self) -> u8 {
        0b1_1111 & !(self.bit() - 1)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no level: DEBUG, INFO, WARNING, ERROR or CRITICAL"
            ))
        })
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Record {
    /// When it happened.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub time: Time,
    /// How grave it is.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub level: Level,
    /// Where it belongs.
    pub stream: String,
    /// What it says.
    pub message: String,
    /// The module that wrote it.
    pub module: Option<String>,
    /// The source file that wrote it.
    pub file: Option<String>,
    /// The line in that file.
    pub line: Option<u64>,
    /// The run it belongs to.
    pub run_id: Option<String>,
    /// What it says besides.
    #[serde(default)]
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub fields: Map<String, Value>,
}

impl Record {
    /// A record that says `message` and nothing besides.
    pub fn new(time: Time, level: Level, stream: &str, message: impl Into<String>) -> Self {
        Self {
            time,
            level,
            stream: stream.to_owned(),
            message: message.into(),
            module: None,
            file: None,
            line: None,
            run_id: None,
            fields: Map::new(),
        }
    }
}

/// A record that is kept, with its number: the order in which records came in, without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Kept {
    /// Its number.
    pub seq: u64,
    /// What it is.
    #[serde(flatten)]
    pub record: Record,
}

/// What an append answers once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the first record; 0 when none was kept.
    pub first_seq: u64,
    /// How many records were kept.
    pub count: u64,
    /// Whether this batch had been written before and nothing was added now.
    pub repeated: bool,
}
