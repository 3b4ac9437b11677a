#![cfg(test)]
//! The oracle: a journal of what was sent, acknowledged, refused and left unanswered, and the
//! judgement of what is there after a crash.
//!
//! A line is written and synced *before* a request goes out, and another *after* its answer came.
//! A request without an answer is unknown: it may have happened or not. After a restart
//! - what was acknowledged is there, equal;
//! - what was refused is not;
//! - what is unknown is wholly there or wholly absent, and stays what it was seen to be;
//! - nothing is there that was never sent.
//!
//! The journal outlives the process that writes it: [`Oracle::open`] goes on where another ended.
//! An operation gives a key a value, or takes it away; what keys and values are is the test's
//! business. At most one request at a time may be under way for one key.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is there, by key.
pub(crate) type Visible = BTreeMap<String, Value>;

/// One line of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// `key` was asked to become `value`, or to go.
    Invoke {
        id: u64,
        key: String,
        value: Option<Value>,
    },
    Ok {
        id: u64,
    },
    Fail {
        id: u64,
    },
    /// After a crash `key` was seen to be `value`: from now on it must be that.
    Saw {
        key: String,
        value: Option<Value>,
    },
}

/// A request that was sent. Dropped without an answer, it is unknown.
#[must_use = "a request ends in `ok` or `fail`, or is dropped as unknown on purpose"]
pub(crate) struct Sent(u64);

/// The journal, and what follows from it.
pub(crate) struct Oracle {
    inner: Mutex<Inner>,
}

struct Inner {
    journal: File,
    next_id: u64,
    open: BTreeMap<u64, (String, Option<Value>)>,
    /// What each key may be: one value when it is known, several while a request is unknown.
    may_be: BTreeMap<String, Vec<Option<Value>>>,
    counts: Counts,
}

/// How many requests ended how: a run that acknowledged nothing proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

impl Oracle {
    /// Opens a journal, or makes it.
    pub(crate) fn open(path: &Path) -> Self {
        let journal = OpenOptions::new().create(true).append(true).read(true).open(path).unwrap();
        let lines = BufReader::new(journal.try_clone().unwrap()).lines();
        let mut inner = Inner {
            journal,
            next_id: 1,
            open: BTreeMap::new(),
            may_be: BTreeMap::new(),
            counts: Counts::default(),
        };
        for line in lines.map_while(Result::ok) {
            // The last line may be torn: its request was never sent, or its answer is unknown.
            if let Ok(line) = serde_json::from_str(&line) {
                inner.apply(line);
            }
        }
        Self { inner: Mutex::new(inner) }
    }

    /// To be called before a request goes out that makes `key` become `value`, or go.
    pub(crate) fn invoke(&self, key: &str, value: Option<Value>) -> Sent {
        let mut inner = self.inner.lock().unwrap();
        let id = inner.next_id;
        inner.note(Line::Invoke { id, key: key.to_owned(), value });
        Sent(id)
    }

    /// The request was acknowledged.
    pub(crate) fn ok(&self, sent: Sent) {
        self.inner.lock().unwrap().note(Line::Ok { id: sent.0 });
    }

    /// The request was refused: nothing may have changed.
    pub(crate) fn fail(&self, sent: Sent) {
        self.inner.lock().unwrap().note(Line::Fail { id: sent.0 });
    }

    /// Ends a request by its HTTP status: 2xx is acknowledged, 4xx refused; a 5xx promises nothing,
    /// and no answer neither.
    pub(crate) fn answered(&self, sent: Sent, status: Option<u16>) {
        match status {
            Some(200..=299) => self.ok(sent),
            Some(400..=499) => self.fail(sent),
            _ => drop(sent),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inner.lock().unwrap().counts
    }

    /// Judges what is there after a crash, and answers every broken promise. What was unknown is
    /// what it was seen to be from now on. Only when no request is under way.
    pub(crate) fn judge(&self, visible: &Visible) -> Vec<String> {
        let mut inner = self.inner.lock().unwrap();
        let mut broken = Vec::new();
        let mut seen = Vec::new();
        for (key, may_be) in &inner.may_be {
            let found = visible.get(key).cloned();
            if !may_be.contains(&found) {
                broken.push(format!(
                    "`{key}` is {} and must be {}",
                    shown(found.as_ref()),
                    may_be
                        .iter()
                        .map(|value| shown(value.as_ref()))
                        .collect::<Vec<_>>()
                        .join(" or ")
                ));
            } else if may_be.len() > 1 {
                seen.push((key.clone(), found));
            }
        }
        let ghosts = visible.keys().filter(|key| !inner.may_be.contains_key(*key));
        broken.extend(ghosts.map(|key| format!("`{key}` is there and was never sent")));
        for (key, value) in seen {
            inner.note(Line::Saw { key, value });
        }
        broken
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), ToString::to_string)
}

impl Inner {
    fn note(&mut self, line: Line) {
        let mut text = serde_json::to_string(&line).unwrap();
        text.push('\n');
        self.journal.write_all(text.as_bytes()).unwrap();
        self.journal.sync_data().unwrap();
        self.apply(line);
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Invoke { id, key, value } => {
                self.next_id = id + 1;
                self.counts.sent += 1;
                let may_be = self.may_be.entry(key.clone()).or_insert(vec![None]);
                if !may_be.contains(&value) {
                    may_be.push(value.clone());
                }
                self.open.insert(id, (key, value));
            }
            Line::Ok { id } => {
                self.counts.ok += 1;
                if let Some((key, value)) = self.open.remove(&id) {
                    self.may_be.insert(key, vec![value]);
                }
            }
            Line::Fail { id } => {
                self.counts.failed += 1;
                if let Some((key, value)) = self.open.remove(&id) {
                    self.take_back(&key, value.as_ref());
                }
            }
            Line::Saw { key, value } => {
                self.open.retain(|_, (open, _)| *open != key);
                self.may_be.insert(key, vec![value]);
            }
        }
    }

    /// A refused value is none that the key may have, unless another request asked for it too: the
    /// first of the list is what it was before.
    fn take_back(&mut self, key: &str, value: Option<&Value>) {
        let is_open =
            self.open.values().any(|(other, wanted)| other == key && wanted.as_ref() == value);
        if is_open {
            return;
        }
        if let Some(may_be) = self.may_be.get_mut(key)
            && let Some(at) = may_be.iter().position(|one| one.as_ref() == value)
            && at > 0
        {
            may_be.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oracle() -> (Oracle, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        (Oracle::open(file.path()), file)
    }

    fn visible(rows: &[(&str, i32)]) -> Visible {
        rows.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
    }

    #[test]
    fn an_acknowledged_value_that_is_gone_or_other_is_found() {
        let (oracle, _file) = oracle();
        oracle.ok(oracle.invoke("a", Some(json!(1))));
        assert_eq!(oracle.judge(&visible(&[("a", 1)])), [""; 0]);
        assert_eq!(oracle.judge(&visible(&[])), ["`a` is absent and must be 1"]);
        assert_eq!(oracle.judge(&visible(&[("a", 2)])), ["`a` is 2 and must be 1"]);
        oracle.ok(oracle.invoke("a", None));
        assert_eq!(oracle.judge(&visible(&[("a", 1)])).len(), 1, "it came back");
    }

    #[test]
    fn a_refused_value_and_a_ghost_are_found() {
        let (oracle, _file) = oracle();
        oracle.ok(oracle.invoke("a", Some(json!(1))));
        oracle.fail(oracle.invoke("a", Some(json!(2))));
        oracle.fail(oracle.invoke("b", Some(json!(1))));
        assert_eq!(oracle.judge(&visible(&[("a", 1)])), [""; 0]);
        let broken = oracle.judge(&visible(&[("a", 2), ("b", 1), ("c", 1)]));
        assert_eq!(broken.len(), 3, "{broken:?}");
    }

    #[test]
    fn an_unknown_is_either_and_stays_what_it_was_seen_to_be() {
        for (first, second) in [(1, 2), (2, 1)] {
            let (oracle, file) = oracle();
            oracle.ok(oracle.invoke("a", Some(json!(1))));
            drop(oracle.invoke("a", Some(json!(2))));
            let third = oracle.judge(&visible(&[("a", 3)]));
            assert_eq!(third, ["`a` is 3 and must be 1 or 2"]);
            assert_eq!(oracle.judge(&visible(&[("a", first)])), [""; 0]);
            assert_eq!(oracle.judge(&visible(&[("a", second)])).len(), 1);
            drop(oracle);
            let again = Oracle::open(file.path());
            assert_eq!(again.judge(&visible(&[("a", second)])).len(), 1);
            assert_eq!(again.judge(&visible(&[("a", first)])), [""; 0]);
            let counts = again.counts();
            assert_eq!((counts.sent, counts.ok, counts.failed), (2, 1, 0));
        }
    }

    #[test]
    fn a_refusal_takes_back_its_own_value_and_no_other() {
        let (oracle, _file) = oracle();
        drop(oracle.invoke("a", Some(json!(1))));
        oracle.answered(oracle.invoke("a", Some(json!(1))), Some(409));
        oracle.answered(oracle.invoke("a", Some(json!(2))), Some(503));
        assert_eq!(oracle.judge(&visible(&[("a", 1)])), [""; 0]);
    }

    #[test]
    fn a_torn_last_line_is_no_request() {
        let (oracle, file) = oracle();
        oracle.ok(oracle.invoke("a", Some(json!(1))));
        drop(oracle);
        let mut journal = OpenOptions::new().append(true).open(file.path()).unwrap();
        journal.write_all(b"{\"invoke\":{\"id\":2,\"ke").unwrap();
        let again = Oracle::open(file.path());
        assert_eq!(again.judge(&visible(&[("a", 1)])), [""; 0]);
    }
}
