//! Streams: which records of a stream are kept, and how long.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error;
use super::model::{DEFAULT_STREAM, Level, OTHER_STREAM, Record};
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
    /// How long records are kept, such as `30d`; as the whole log when absent.
    pub retention: Option<String>,
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
                "template" | "max_bytes" | "forward" => Err("is not available yet: leave it out"),
                // What a GET answers may be sent back.
                "name" | "records" | "first" | "last" => Ok(()),
                _ => Err("is no setting of a stream: levels, keep, retention"),
            };
            if let Err(why) = known {
                faults.push(Fault::new(pointer, why));
            }
        }
        if faults.is_empty() { Ok(settings) } else { Err(error::bad_stream(faults)) }
    }

    /// Whether a record is kept; takes from it the fields that are not.
    fn filter(&self, record: &mut Record) -> bool {
        if self.levels.as_ref().is_some_and(|levels| !levels.contains(&record.level)) {
            return false;
        }
        if let Some(keep) = &self.keep {
            record.fields.retain(|name, _| keep.contains(name));
        }
        true
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The settings of all streams, and which streams there are.
pub(super) struct Streams {
    records: SharedRecords,
    settings: RwLock<BTreeMap<String, Arc<Settings>>>,
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
            let kept: SettingsV1 = decode(&row.value)?;
            let levels =
                kept.levels.map(|codes| codes.into_iter().filter_map(Level::from_code).collect());
            settings.insert(
                name,
                Arc::new(Settings { levels, keep: kept.keep, retention: kept.retention }),
            );
        }
        Ok(Self { records, settings: RwLock::new(settings), known: Mutex::new(known), max })
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Settings>> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn all(&self) -> BTreeMap<String, Arc<Settings>> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps settings; answers whether the stream had none before.
    pub(super) fn put(&self, name: &Name, settings: Settings, audit: &Audit) -> Result<bool> {
        let row = SettingsV1 {
            levels: settings
                .levels
                .as_ref()
                .map(|levels| levels.iter().map(|level| level.code()).collect()),
            keep: settings.keep.clone(),
            retention: settings.retention.clone(),
        };
        let set = ChangeSet::new().put(format!("stream/{name}"), Expect::Any, encode(&row)?);
        self.records.apply(feed::audit(set, audit)?)?;
        let mut all = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        Ok(all.insert(name.to_string(), Arc::new(settings)).is_none())
    }

    /// Forgets settings; answers whether there were any.
    pub(super) fn delete(&self, name: &str, audit: &Audit) -> Result<bool> {
        if self.get(name).is_none() {
            return Ok(false);
        }
        let set = ChangeSet::new().delete(format!("stream/{name}"), Expect::Any);
        self.records.apply(feed::audit(set, audit)?)?;
        self.settings.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(true)
    }

    /// Prepares a record as its stream wants it; false when the stream does not keep it. Streams
    /// beyond the bound share one, and the record remembers which it was meant for.
    pub(super) fn admit(&self, record: &mut Record) -> bool {
        if let Some(settings) = self.get(&record.stream)
            && !settings.filter(record)
        {
            return false;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&record.stream) {
            return true;
        }
        let reserved = record.stream == DEFAULT_STREAM || record.stream == OTHER_STREAM;
        if reserved || known.len() < self.max {
            known.insert(record.stream.clone());
        } else {
            let meant = std::mem::replace(&mut record.stream, OTHER_STREAM.to_owned());
            record.fields.insert("stream".to_owned(), Value::String(meant));
        }
        true
    }

    /// Says anew which streams there are, when segments went.
    pub(super) fn know(&self, streams: HashSet<String>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = streams;
    }

    pub(super) fn health(&self) -> Result<()> {
        self.records.health()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::records::MemoryRecords;
    use serde_json::json;

    #[test]
    fn every_fault_of_settings_is_named() {
        let bad = json!({"levels": ["LOUD"], "keep": 1, "retention": "soon", "template": "x", "extra": 1, "max_bytes": null});
        let error = Settings::read(&bad).unwrap_err();
        let pointers: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/levels", "/keep", "/retention", "/template", "/extra"]);
        assert!(error.faults()[3].detail.contains("not available yet"));
    }

    #[test]
    fn streams_beyond_the_bound_share_one() {
        let streams = Streams::open(Arc::new(MemoryRecords::new()), HashSet::new(), 2).unwrap();
        let mut seen = Vec::new();
        for name in ["a", "b", "c", "a", "default"] {
            let mut record = Record::new(Time(0), Level::Info, name, "x");
            assert!(streams.admit(&mut record));
            seen.push(record.stream.clone());
            assert_eq!(record.fields.contains_key("stream"), name == "c");
        }
        assert_eq!(seen, ["a", "b", "_other", "a", "default"]);
    }
}
