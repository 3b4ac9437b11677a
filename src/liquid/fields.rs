//! Reads a JSON object field by field, and names every fault instead of the first.

use std::time::Duration;

use serde_json::{Map, Value};

use super::error;
#[cfg(feature = "http")]
use crate::kernel::clock::Time;
use crate::kernel::clock::parse_duration;
use crate::kernel::error::{Fault, Result};
use crate::kernel::name::nearest;

/// An object that is being read.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// Starts; a field that is none of `known` is a fault.
    pub(super) fn of(map: &'a Map<String, Value>, known: &[&str]) -> Self {
        let mut faults = Vec::new();
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let near = nearest(name, known.iter().copied());
            let hint = near.map_or_else(
                || format!("it may be {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            faults.push(Fault::new(format!("/{name}"), format!("is no field here: {hint}")));
        }
        Self { map, faults }
    }

    /// Something is wrong with a field.
    pub(super) fn wrong(&mut self, name: &str, why: impl Into<String>) {
        self.faults.push(Fault::new(format!("/{name}"), why));
    }

    /// More faults.
    pub(super) fn add(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// The value of a field; `null` is as good as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &mut self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let read = read(value);
        if read.is_none() {
            self.wrong(name, format!("must be {what}"));
        }
        read
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A list of texts; a single text is a list of one.
    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let read = |value: &Value| match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        self.read(name, "a list of texts", read).unwrap_or_default()
    }

    /// An object.
    pub(super) fn object(&mut self, name: &str) -> Map<String, Value> {
        self.read(name, "an object", |value| value.as_object().cloned()).unwrap_or_default()
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A duration.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.read(name, "a duration such as \"15s\"", |value| parse_duration(value.as_str()?).ok())
    }

    /// A time.
    #[cfg(feature = "http")]
    pub(super) fn time(&mut self, name: &str) -> Option<Time> {
        self.read(name, "a time such as 2014-03-30T01:00:00Z", |value| {
            Time::parse(value.as_str()?).ok()
        })
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, name: &str, low: u64, high: u64) -> Option<u64> {
        let what = format!("a whole number from {low} to {high}");
        self.read(name, &what, |value| value.as_u64().filter(|n| (low..=high).contains(n)))
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let what = format!("one of {}", list.join(", "));
        self.read(name, &what, |value| {
            let given = value.as_str()?;
            words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value)
        })
    }

    /// Ends; every fault is told.
    pub(super) fn finish(self, code: &'static str, what: &str) -> Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(error::bad_body(code, what, self.faults))
    }
}
