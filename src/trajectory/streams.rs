//! Streams: which records of a stream are kept, and how long.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error;
use super::forward::{Destination, Forwarded};
use super::intake::line::Line;
use super::model::{DEFAULT_STREAM, Level, OTHER_STREAM};
use super::scalar::Scalar;
use super::template;
use crate::kernel::clock::{Time, parse_duration};
use crate::kernel::error::{Fault, Result};
use crate::kernel::feed::{self, Audit};
use crate::kernel::format::{Nothing, Versioned, decode, encode};
use crate::kernel::name::Name;
use crate::kernel::records::{ChangeSet, Expect, Scan, SharedRecords};

/// What a stream keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Settings {
    /// Only records of these levels are kept; all when absent.
    #[cfg_attr(feature = "http", schema(value_type = Option<Vec<String>>))]
    pub levels: Option<Vec<Level>>,
    /// Only these fields are kept; all when absent.
    pub keep: Option<Vec<String>>,
    /// How a record is written out as a line, with `{time}`, `{level}`, `{message}` and the names of
    /// fields in braces.
    pub template: Option<String>,
    /// How long records are kept, such as `30d`; as the whole log when absent.
    pub retention: Option<String>,
    /// How many bytes they may take on the disk; the oldest go.
    pub max_bytes: Option<u64>,
    /// The MongoDB collection that they are forwarded to: `collection` or `database.collection`.
    pub forward: Option<String>,
}

/// A stream: its settings and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// What it keeps.
    #[serde(flatten)]
    pub settings: Settings,
    /// How many records it holds.
    pub records: u64,
    /// The time of its oldest record.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub first: Option<Time>,
    /// The time of its newest record.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub last: Option<Time>,
    /// How far it is forwarded, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
}

#[derive(Debug, Encode, Decode)]
struct SettingsV1 {
    levels: Option<Vec<u8>>,
    keep: Option<Vec<String>>,
    retention: Option<String>,
}

impl Versioned for SettingsV1 {
    const MARKER: &'static str = "stream.v1";
    type Previous = Nothing;
}

#[derive(Debug, Encode, Decode)]
struct SettingsV2 {
    levels: Option<Vec<u8>>,
    keep: Option<Vec<String>>,
    template: Option<String>,
    retention: Option<String>,
    max_bytes: Option<u64>,
}

impl Versioned for SettingsV2 {
    const MARKER: &'static str = "stream.v2";
    type Previous = SettingsV1;
}

impl From<SettingsV1> for SettingsV2 {
    fn from(old: SettingsV1) -> Self {
        let SettingsV1 { levels, keep, retention } = old;
        Self { levels, keep, template: None, retention, max_bytes: None }
    }
}

#[derive(Debug, Encode, Decode)]
struct SettingsV3 {
    levels: Option<Vec<u8>>,
    keep: Option<Vec<String>>,
    template: Option<String>,
    retention: Option<String>,
    max_bytes: Option<u64>,
    forward: Option<String>,
}

impl Versioned for SettingsV3 {
    const MARKER: &'static str = "stream.v3";
    type Previous = SettingsV2;
}

impl From<SettingsV2> for SettingsV3 {
    fn from(old: SettingsV2) -> Self {
        let SettingsV2 { levels, keep, template, retention, max_bytes } = old;
        Self { levels, keep, template, retention, max_bytes, forward: None }
    }
}

impl From<SettingsV3> for Settings {
    fn from(row: SettingsV3) -> Self {
        let levels = |codes: Vec<u8>| codes.into_iter().filter_map(Level::from_code).collect();
        Self {
            levels: row.levels.map(levels),
            keep: row.keep,
            template: row.template,
            retention: row.retention,
            max_bytes: row.max_bytes,
            forward: row.forward,
        }
    }
}

impl From<&Settings> for SettingsV3 {
    fn from(settings: &Settings) -> Self {
        let codes = |levels: &Vec<Level>| levels.iter().map(|level| level.code()).collect();
        Self {
            levels: settings.levels.as_ref().map(codes),
            keep: settings.keep.clone(),
            template: settings.template.clone(),
            retention: settings.retention.clone(),
            max_bytes: settings.max_bytes,
            forward: settings.forward.clone(),
        }
    }
}

impl Settings {
    /// Reads settings as a client sends them. Every fault is named, and so is what this build
    /// cannot do: nothing is taken and then not done.
    pub fn read(value: &Value) -> Result<Self> {
        let Value::Object(map) = value else {
            return Err(error::bad_stream(vec![Fault::new("/", "is a JSON object")]));
        };
        let mut settings = Self::default();
        let mut faults = Vec::new();
        for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            let pointer = format!("/{name}");
            let known = match name.as_str() {
                "levels" => texts(value)
                    .and_then(|texts| {
                        settings.levels = Some(
                            texts.iter().map(|text| Level::parse(text)).collect::<Option<_>>()?,
                        );
                        Some(())
                    })
                    .ok_or("is a list of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
                "keep" => texts(value)
                    .map(|texts| settings.keep = Some(texts))
                    .ok_or("is a list of field names"),
                "retention" => value
                    .as_str()
                    .filter(|text| parse_duration(text).is_ok_and(|kept| !kept.is_zero()))
                    .map(|text| settings.retention = Some(text.to_owned()))
                    .ok_or("is a duration such as \"30d\""),
                "max_bytes" => value
                    .as_u64()
                    .filter(|bytes| *bytes > 0)
                    .map(|bytes| settings.max_bytes = Some(bytes))
                    .ok_or("is a number of bytes"),
                "template" => value
                    .as_str()
                    .filter(|text| template::is_sound(text))
                    .map(|text| settings.template = Some(text.to_owned()))
                    .ok_or("is a text such as \"{time} {level} {message}\", with names in braces and `{{` for a brace"),
                "forward" => value
                    .as_str()
                    .filter(|text| Destination::parse(text).is_some())
                    .map(|text| settings.forward = Some(text.to_owned()))
                    .ok_or("is a collection of MongoDB, such as \"logs\" or \"drip.logs\""),
                // What a GET answers may be sent back.
                "name" | "records" | "first" | "last" | "forwarded" => Ok(()),
                _ => Err("is no setting of a stream: levels, keep, template, retention, max_bytes, forward"),
            };
            if let Err(why) = known {
                faults.push(Fault::new(pointer, why));
            }
        }
        if faults.is_empty() { Ok(settings) } else { Err(error::bad_stream(faults)) }
    }

    /// Whether a record is kept; takes from it the fields that are not.
    fn filter(&self, line: &mut Line<'_>) -> bool {
        if self.levels.as_ref().is_some_and(|levels| !levels.contains(&line.level)) {
            return false;
        }
        if let Some(keep) = &self.keep {
            line.fields.retain(|(name, _)| keep.iter().any(|kept| kept == name));
        }
        true
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

type All = BTreeMap<String, Arc<Settings>>;

/// The settings of all streams, and which streams there are.
pub(super) struct Streams {
    records: SharedRecords,
    settings: RwLock<Arc<All>>,
    known: Mutex<HashSet<String>>,
    max: usize,
}

impl Streams {
    pub(super) fn records(&self) -> &SharedRecords {
        &self.records
    }

    pub(super) fn open(records: SharedRecords, known: HashSet<String>, max: usize) -> Result<Self> {
        let mut settings = BTreeMap::new();
        for row in records.scan(&Scan::prefix("stream/"))? {
            let name = row.key.trim_start_matches("stream/").to_owned();
            let kept: SettingsV3 = decode(&row.value)?;
            settings.insert(name, Arc::new(kept.into()));
        }
        let settings = RwLock::new(Arc::new(settings));
        Ok(Self { records, settings, known: Mutex::new(known), max })
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Settings>> {
        self.all().get(name).cloned()
    }

    /// The settings of all streams as of now.
    pub(super) fn all(&self) -> Arc<All> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut All) -> T) -> T {
        let mut place = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut place))
    }

    /// Keeps settings; answers whether the stream had none before.
    pub(super) fn put(&self, name: &Name, settings: Settings, audit: &Audit) -> Result<bool> {
        let row = SettingsV3::from(&settings);
        let set = ChangeSet::new().put(format!("stream/{name}"), Expect::Any, encode(&row)?);
        self.records.apply(feed::audit(set, audit)?)?;
        Ok(self.change(|all| all.insert(name.to_string(), Arc::new(settings)).is_none()))
    }

    /// Forgets settings; answers whether there were any.
    pub(super) fn delete(&self, name: &str, audit: &Audit) -> Result<bool> {
        if self.get(name).is_none() {
            return Ok(false);
        }
        let set = ChangeSet::new().delete(format!("stream/{name}"), Expect::Any);
        self.records.apply(feed::audit(set, audit)?)?;
        self.change(|all| all.remove(name));
        Ok(true)
    }

    /// What a batch passes through: the settings as of now.
    pub(super) fn gate(&self) -> Gate<'_> {
        Gate { streams: self, settings: self.all(), last: String::new() }
    }

    /// Whether a stream is there, or may be begun.
    fn may_be(&self, stream: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(stream) {
            return true;
        }
        let reserved = stream == DEFAULT_STREAM || stream == OTHER_STREAM;
        let may_be = reserved || known.len() < self.max;
        if may_be {
            known.insert(stream.to_owned());
        }
        may_be
    }

    /// Says anew which streams there are, when segments went.
    pub(super) fn know(&self, streams: HashSet<String>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = streams;
    }

    pub(super) fn health(&self) -> Result<()> {
        self.records.health()
    }
}

/// Prepares the records of one batch as their streams want them.
pub(super) struct Gate<'s> {
    streams: &'s Streams,
    settings: Arc<All>,
    /// The stream that was let through last: mostly the next one is the same.
    last: String,
}

impl Gate<'_> {
    /// Whether the stream of a record keeps it. Streams beyond the bound share one, and the record
    /// remembers which it was meant for.
    pub(super) fn admit(&mut self, line: &mut Line<'_>) -> bool {
        if !self.settings.is_empty()
            && let Some(settings) = self.settings.get(line.stream.as_ref())
            && !settings.filter(line)
        {
            return false;
        }
        if line.stream == self.last {
            return true;
        }
        if self.streams.may_be(&line.stream) {
            self.last.clear();
            self.last.push_str(&line.stream);
        } else {
            let meant = std::mem::replace(&mut line.stream, Cow::Borrowed(OTHER_STREAM));
            line.set("stream", Scalar::Text(meant));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::records::MemoryRecords;
    use serde_json::json;

    #[test]
    fn every_fault_of_settings_is_named() {
        let bad = json!({"levels": ["LOUD"], "keep": 1, "retention": "soon", "template": "{x", "extra": 1, "forward": 1, "max_bytes": null});
        let error = Settings::read(&bad).unwrap_err();
        let pointers: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/levels", "/keep", "/retention", "/template", "/extra", "/forward"]);
        let good = json!({"forward": "drip.logs", "forwarded": {"seq": 1}});
        assert_eq!(Settings::read(&good).unwrap().forward.as_deref(), Some("drip.logs"));
    }

    #[test]
    fn streams_beyond_the_bound_share_one() {
        let streams = Streams::open(Arc::new(MemoryRecords::new()), HashSet::new(), 2).unwrap();
        let mut seen = Vec::new();
        let mut gate = streams.gate();
        for name in ["a", "b", "c", "a", "default"] {
            let mut line = Line::new(Time(0), Level::Info, name, "x");
            assert!(gate.admit(&mut line));
            seen.push(line.stream.to_string());
            assert_eq!(!line.fields.is_empty(), name == "c");
        }
        assert_eq!(seen, ["a", "b", "_other", "a", "default"]);
    }
}
