//! The collections of Drip 0.1 as it left them: one document for every save, no index, duplicates
//! and worse. Of each card the newest document counts; what is no card is told with its place.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{IMPORTED_TIME, fields, put};
use crate::fiche::draft::CardDraft;
use crate::fiche::model::{CardKey, CardKind};
use crate::fiche::refs;
use crate::kernel::mongo::extended;
use crate::kernel::{Error, Fault, Name, Result, Time};

/// How many refused documents are told one by one; beyond that they are counted.
const REJECTED_MAX: usize = 1000;
/// Fields that the original's drivers wrote for themselves.
const OF_DRIVERS: [&str; 3] = ["_id", "_cls", "__v"];

/// One of the original's collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Collection {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What its documents describe; none for observers.
    pub(crate) kind: Option<CardKind>,
}

impl Collection {
    pub(crate) const ALL: [Self; 6] = [
        Self { name: "algorithm_info", kind: Some(CardKind::ALGORITHM) },
        Self { name: "model_info", kind: Some(CardKind::MODEL) },
        Self { name: "parameter_info", kind: Some(CardKind::PARAMETER) },
        Self { name: "application_info", kind: Some(CardKind::APPLICATION) },
        Self { name: "dataset_info", kind: Some(CardKind::DATASET) },
        Self { name: "observer_info", kind: None },
    ];

    pub(crate) fn known(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.name == name)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A document that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rejected {
    pub(crate) collection: &'static str,
    /// Its `_id`, or where it stands.
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) errors: Vec<Fault>,
}

/// What was read of one collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) read: usize,
    /// Documents that a newer one of the same card takes the place of.
    pub(crate) merged: usize,
    pub(crate) rejected: usize,
}

/// What decides which document of a card is the newest: its time, then its id, then its place. One
/// that has no readable time is older than any that has.
type Age = (Option<Time>, String, usize);

/// The newest document of a card.
pub(crate) struct Newest {
    /// The card that it makes.
    pub(crate) draft: CardDraft,
    /// Its `_id`.
    pub(crate) id: String,
    age: Age,
}

/// Documents on their way to becoming cards.
#[derive(Default)]
pub(crate) struct Merge {
    cards: BTreeMap<CardKey, Newest>,
    observers: BTreeMap<(Name, Name), Age>,
    tallies: BTreeMap<Collection, Tally>,
    rejected: Vec<Rejected>,
    place: usize,
}

/// A document as a card or an observer.
enum Read {
    Card(Box<CardDraft>),
    Observer(Name, Name),
}

impl Merge {
    /// Takes in one document, as extended JSON; `at` says where it stands, for one without an id.
    pub(crate) fn take(&mut self, collection: Collection, at: &str, document: Result<Value>) {
        self.place += 1;
        let mut id = String::new();
        let read = document.and_then(|document| {
            let Value::Object(document) = document else {
                return Err(no_document());
            };
            id = extended::id(document.get("_id"));
            let time = document.get("time").and_then(extended::time);
            Ok((read(collection, document, time)?, time))
        });
        let tally = self.tallies.entry(collection).or_default();
        tally.read += 1;
        match read {
            Ok((read, time)) => {
                let age = (time, id.clone(), self.place);
                if !self.keep(read, id, age) {
                    return;
                }
                self.tallies.entry(collection).or_default().merged += 1;
            }
            Err(refused) => {
                let id = if id.is_empty() { at.to_owned() } else { id };
                self.reject(collection, id, &refused);
            }
        }
    }

    /// Keeps a document where it is the newest of its card; answers whether there was another.
    fn keep(&mut self, read: Read, id: String, age: Age) -> bool {
        match read {
            Read::Observer(name, version) => {
                let before = self.observers.get(&(name.clone(), version.clone()));
                let was_there = before.is_some();
                if before.is_none_or(|before| *before < age) {
                    self.observers.insert((name, version), age);
                }
                was_there
            }
            Read::Card(draft) => {
                let before = self.cards.get(draft.key());
                let was_there = before.is_some();
                if before.is_none_or(|before| before.age < age) {
                    let key = draft.key().clone();
                    self.cards.insert(key, Newest { draft: *draft, id, age });
                }
                was_there
            }
        }
    }

    /// Tells of a document that is none of ours to keep.
    pub(crate) fn reject(&mut self, collection: Collection, id: String, refused: &Error) {
        self.tallies.entry(collection).or_default().rejected += 1;
        if self.rejected.len() < REJECTED_MAX {
            self.rejected.push(Rejected {
                collection: collection.name,
                id,
                reason: refused.detail().to_owned(),
                errors: refused.faults().to_vec(),
            });
        }
    }

    /// Says that a collection is there, also when it is empty.
    pub(crate) fn begin(&mut self, collection: Collection) {
        self.tallies.entry(collection).or_default();
    }

    /// What was read of each collection.
    pub(crate) fn tallies(&self) -> &BTreeMap<Collection, Tally> {
        &self.tallies
    }

    /// The documents that were refused; the first thousand, where there are more.
    pub(crate) fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// The newest document of every card of a kind, in the order of their keys.
    pub(crate) fn cards(&self, kind: CardKind) -> impl Iterator<Item = &Newest> {
        let of_kind = move |(key, _): &(&CardKey, &Newest)| key.kind == kind;
        self.cards.iter().filter(of_kind).map(|(_, newest)| newest)
    }

    /// How many observers there are.
    pub(crate) fn observers(&self) -> usize {
        self.observers.len()
    }
}

fn no_document() -> Error {
    let faults = vec![Fault::new("", "a document is an object")];
    Error::invalid("bad_document", "this is no document", faults)
}

fn read(collection: Collection, document: Map<String, Value>, time: Option<Time>) -> Result<Read> {
    match collection.kind {
        Some(kind) => read_card(kind, document, time).map(|draft| Read::Card(Box::new(draft))),
        None => read_observer(&document),
    }
}

/// The card that a document makes. What 0.1 had no field for stays as a free field.
fn read_card(
    kind: CardKind,
    mut document: Map<String, Value>,
    time: Option<Time>,
) -> Result<CardDraft> {
    for field in OF_DRIVERS {
        document.remove(field);
    }
    let written = document.remove("time");
    let Value::Object(mut content) = extended::plain(Value::Object(document)) else {
        return Err(no_document());
    };
    for field in fields(kind).filter(|field| refs::kinds_meant(kind, field).is_some()) {
        if let Some(text) = references(content.get(field)) {
            put(&mut content, kind, field, &text);
        }
    }
    // A text that reads as no time is better than none.
    let written = written.as_ref().and_then(Value::as_str).map(str::to_owned);
    let time = time.map(Time::without_zone).or(written);
    if let Some(time) = time {
        content.insert(IMPORTED_TIME.to_owned(), time.into());
    }
    content.insert("kind".to_owned(), kind.as_str().into());
    CardDraft::parse(Value::Object(content))
}

/// References as the text that 0.1 had for them; none where it is no text and no list of texts.
fn references(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn read_observer(document: &Map<String, Value>) -> Result<Read> {
    let mut faults = Vec::new();
    let mut name = |field: &str| match document.get(field) {
        Some(Value::String(text)) => match Name::new(text) {
            Ok(name) => Some(name),
            Err(refused) => {
                let place = |fault: &Fault| Fault::new(format!("/{field}"), &fault.detail);
                faults.extend(refused.faults().iter().map(place));
                None
            }
        },
        other => {
            let why = if other.is_some() { "must be text" } else { "is missing" };
            faults.push(Fault::new(format!("/{field}"), why));
            None
        }
    };
    match (name("name"), name("version")) {
        (Some(name), Some(version)) => Ok(Read::Observer(name, version)),
        _ => Err(Error::invalid("bad_observer", "the observer is not valid", faults)),
    }
}

#[cfg(test)]
mod tests;
