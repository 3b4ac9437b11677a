//! What a card is: its kind, its key, its stage, and the document itself.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::error;
use super::kinds::Kinds;
use crate::kernel::{Error, Name, Result, Time};

/// The fields that fiche itself writes; what a client sends in them is not read.
pub(super) const SYSTEM_FIELDS: [&str; 5] =
    ["revision", "created_at", "updated_at", "saved_by", "node"];

/// The longest word for a kind.
const KIND_MAX_BYTES: usize = 32;
/// How many kinds that nobody declared a program may hear of.
const HEARD_MAX: usize = 1000;

/// The words for kinds that are not built in, kept once for the whole program, so that a kind is as
/// light as a number. A word here says nothing of which kinds there are: each store has its own
/// [`Kinds`].
static WORDS: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);

/// What a card describes: one of five kinds, or one of those that `drip.toml` declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardKind(&'static str);

impl CardKind {
    /// A piece of code that computes something.
    pub const ALGORITHM: Self = Self("algorithm");
    /// What came out of a training.
    pub const MODEL: Self = Self("model");
    /// Settings and tables that something else needs.
    pub const PARAMETER: Self = Self("parameter");
    /// What people use.
    pub const APPLICATION: Self = Self("application");
    /// A table or a collection of files.
    pub const DATASET: Self = Self("dataset");
    /// Every kind that is always there.
    pub const ALL: [Self; 5] =
        [Self::ALGORITHM, Self::MODEL, Self::PARAMETER, Self::APPLICATION, Self::DATASET];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The kind that is always there and that this word stands for, if there is one.
    pub fn known(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.0 == word)
    }

    /// A kind that a setting or a record names; none where the word cannot be one.
    pub(super) fn stored(word: &str) -> Option<Self> {
        Self::heard(word, usize::MAX)
    }

    fn heard(word: &str, most: usize) -> Option<Self> {
        if let Some(kind) = Self::known(word) {
            return Some(kind);
        }
        // A word is added whole or not at all: a panic leaves nothing half-way.
        let known = WORDS.read().unwrap_or_else(PoisonError::into_inner).get(word).copied();
        if let Some(known) = known {
            return Some(Self(known));
        }
        let mut letters = word.bytes();
        let is_word = word.len() <= KIND_MAX_BYTES
            && letters.next().is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        let mut words = WORDS.write().unwrap_or_else(PoisonError::into_inner);
        if !is_word || words.len() >= most {
            return None;
        }
        let word: &'static str = Box::leak(word.to_owned().into_boxed_str());
        words.insert(word);
        Some(Self(word))
    }
}

/// Any word that can be a kind: whether there is such a kind, the store says that it is meant for.
impl FromStr for CardKind {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::heard(word, HEARD_MAX).ok_or_else(|| error::bad_kind(word, &Kinds::default()))
    }
}

impl fmt::Display for CardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for CardKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for CardKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// How far a card has come in its life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Being tried.
    #[default]
    Experiment,
    /// Being made.
    Development,
    /// Being tested.
    Testing,
    /// In use.
    Deployed,
    /// In use, and accepted by those who use it.
    Accepted,
    /// No longer to be used.
    Retired,
}

impl Stage {
    /// Every stage, from first to last.
    pub const ALL: [Self; 6] = [
        Self::Experiment,
        Self::Development,
        Self::Testing,
        Self::Deployed,
        Self::Accepted,
        Self::Retired,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::Development => "development",
            Self::Testing => "testing",
            Self::Deployed => "deployed",
            Self::Accepted => "accepted",
            Self::Retired => "retired",
        }
    }

    /// Where a card may go from here: any way forward; back to where work goes on; out of
    /// retirement only to begin anew.
    pub const fn next(self) -> &'static [Self] {
        use Stage::{Accepted, Deployed, Development, Experiment, Retired, Testing};
        match self {
            Experiment => &[Development, Testing, Deployed, Accepted, Retired],
            Development => &[Testing, Deployed, Accepted, Retired, Experiment],
            Testing => &[Deployed, Accepted, Retired, Experiment, Development],
            Deployed => &[Accepted, Retired, Development, Testing],
            Accepted => &[Retired, Development, Testing, Deployed],
            Retired => &[Experiment, Development],
        }
    }

    /// Whether a card may go from here to there.
    pub fn may_move_to(self, to: Self) -> bool {
        self.next().contains(&to)
    }

    pub(super) fn known(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::known(word).ok_or_else(|| error::bad_stage(word))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names a card.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardKey {
    /// Its kind.
    pub kind: CardKind,
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Name,
}

impl CardKey {
    /// Checks the parts of a key.
    pub fn new(kind: &str, name: &str, version: &str) -> Result<Self> {
        Ok(Self { kind: kind.parse()?, name: Name::new(name)?, version: Name::new(version)? })
    }

    /// How other cards refer to it: `model:wind-power@1.2.0`.
    pub fn reference(&self) -> String {
        format!("{}:{}@{}", self.kind, self.name, self.version)
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn from_subject(subject: &str) -> Option<Self> {
        let mut parts = subject.split('/');
        let kind = CardKind::stored(parts.next()?)?;
        let (name, version) = (Name::new(parts.next()?).ok()?, Name::new(parts.next()?).ok()?);
        parts.next().is_none().then_some(Self { kind, name, version })
    }
}

impl fmt::Display for CardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.name, self.version)
    }
}

/// A card as it stands in one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// What names it.
    pub key: CardKey,
    /// How far it has come.
    pub stage: Stage,
    /// Its content: `summary`, `config`, `remark`, `labels`, the fields of its kind, and further ones
    /// as they came.
    pub fields: Map<String, Value>,
    /// Counted from 1; every change of content and every move is one.
    pub revision: u64,
    /// When its first revision was made.
    pub created_at: Time,
    /// When this revision was made.
    pub updated_at: Time,
    /// Who made this revision.
    pub saved_by: String,
    /// The node that pushed this content here; none when it was written here.
    pub node: Option<String>,
}

impl Card {
    /// A field that is text; empty when it is missing or something else.
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.fields.get("labels").and_then(Value::as_object);
        labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// Whether it carries a label: `key:value`, or `key` for any value.
    pub fn has_label(&self, wanted: &str) -> bool {
        self.labels().any(|(key, value)| {
            wanted == key
                || wanted
                    .strip_prefix(key)
                    .and_then(|rest| rest.strip_prefix(':'))
                    .is_some_and(|rest| rest == value)
        })
    }

    /// The whole document, as clients see it.
    pub fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Serialize for Card {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let length = self.fields.len() + 8 + usize::from(self.node.is_some());
        let mut document = to.serialize_map(Some(length))?;
        document.serialize_entry("kind", &self.key.kind)?;
        document.serialize_entry("name", &self.key.name)?;
        document.serialize_entry("version", &self.key.version)?;
        document.serialize_entry("stage", &self.stage)?;
        // None of these is named as one of the others: a draft does not take such in.
        for (field, value) in &self.fields {
            document.serialize_entry(field, value)?;
        }
        document.serialize_entry("revision", &self.revision)?;
        document.serialize_entry("created_at", &self.created_at)?;
        document.serialize_entry("updated_at", &self.updated_at)?;
        document.serialize_entry("saved_by", &self.saved_by)?;
        if let Some(node) = &self.node {
            document.serialize_entry("node", node)?;
        }
        document.end()
    }
}

impl<'de> Deserialize<'de> for Card {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Document {
            kind: CardKind,
            name: Name,
            version: Name,
            stage: Stage,
            revision: u64,
            created_at: Time,
            updated_at: Time,
            saved_by: String,
            #[serde(default)]
            node: Option<String>,
            #[serde(flatten)]
            fields: Map<String, Value>,
        }
        let found = Document::deserialize(from)?;
        Ok(Self {
            key: CardKey { kind: found.kind, name: found.name, version: found.version },
            stage: found.stage,
            fields: found.fields,
            revision: found.revision,
            created_at: found.created_at,
            updated_at: found.updated_at,
            saved_by: found.saved_by,
            node: found.node,
        })
    }
}

/// What must be true of a card for a write to take place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// It is at this revision.
    pub revision: Option<u64>,
    /// It does not exist.
    pub create_only: bool,
}

/// What a save did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There was no such card.
    Created,
    /// Its content differed.
    Updated,
    /// Its content is as it was: nothing was written.
    Unchanged,
}

/// A card after a save, and what the save did.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The card as it stands now.
    pub card: Card,
    /// What the save did.
    pub outcome: Outcome,
}

/// Where a revision came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// `card.saved` or `card.staged`.
    pub event: String,
    /// When.
    pub at: Time,
    /// Who.
    pub by: String,
    /// Why, where it was said.
    pub comment: String,
    /// The stage it was moved from, where it was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_stage: Option<Stage>,
    /// When and by whom the card was deleted in this revision, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
}

/// When and by whom a card was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// When.
    pub at: Time,
    /// Who.
    pub by: String,
}

/// One revision of a card, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The card as it stood.
    pub card: Card,
    /// Where the revision came from.
    pub origin: Origin,
}

impl Serialize for Revision {
    /// The card, with a field `change` beside its own that says where the revision came from.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut document = self.card.document();
        if let Some(fields) = document.as_object_mut() {
            let change = serde_json::to_value(&self.origin).map_err(serde::ser::Error::custom)?;
            fields.insert("change".to_owned(), change);
        }
        document.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_ways_between_stages_lead_forward_back_to_work_and_out_of_retirement() {
        for (at, from) in Stage::ALL.into_iter().enumerate() {
            for to in &Stage::ALL[at + 1..] {
                assert!(from.may_move_to(*to), "{from} to {to}");
            }
            assert!(!from.may_move_to(from));
        }
        assert!(Stage::Deployed.may_move_to(Stage::Testing));
        assert!(!Stage::Deployed.may_move_to(Stage::Experiment));
        assert!(Stage::Retired.may_move_to(Stage::Development));
        assert!(!Stage::Retired.may_move_to(Stage::Deployed));
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let card = Card {
            key: CardKey::new("model", "风电", "1.0.0").unwrap(),
            stage: Stage::Testing,
            fields: json!({"summary": "s", "labels": {"a:b": "c", "site": "x"}, "own": [1]})
                .as_object()
                .unwrap()
                .clone(),
            revision: 3,
            created_at: Time(1),
            updated_at: Time(2),
            saved_by: "ada".into(),
            node: Some("edge".into()),
        };
        let text = serde_json::to_string(&card).unwrap();
        assert_eq!(serde_json::from_str::<Card>(&text).unwrap(), card);
        assert!(card.has_label("a:b:c") && card.has_label("a:b") && card.has_label("site:x"));
        assert!(!card.has_label("site:y") && !card.has_label("a") && !card.has_label("site:"));
        let subject = card.key.to_string();
        assert_eq!(CardKey::from_subject(&subject), Some(card.key));
    }
}
