//! What fiche keeps on disk.
//!
//! | key | value |
//! | --- | --- |
//! | `card/{kind}/{name}/{version}` | the newest revision, also of a deleted card |
//! | `rev/{kind}/{name}/{version}/{revision}` | every earlier revision |
//! | `ref/{to kind or *}/{to name}/{kind}/{name}/{version}` | that the last three refer to the first two |
//! | `compat-observer/{name}/{version}` | an observer of 0.1, see `compat/observers.rs` |
//! | `upstream/…`, `pusher/…`, `conflict/…` | see `upstream/format.rs` |
//! | `feed/…`, `audit/…`, `idempotency/…` | as the kernel has them |
//!
//! A card's row is never removed, so its row revision only grows and guards every write.

use bincode::{Decode, Encode};
use serde_json::{Map, Value};

use super::kinds::Kinds;
use super::model::{Card, CardKey, CardKind, Deletion, Origin, Revision, Stage};
use super::refs;
use crate::kernel::format::{Nothing, Versioned, decode, encode};
use crate::kernel::name::Digest;
use crate::kernel::{Error, Name, Result, Time};

/// A revision of a card, as it was kept before cards came from other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct CardV1 {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) stage: String,
    pub(super) fields_json: String,
    pub(super) revision: u64,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) saved_by: String,
    pub(super) event: String,
    pub(super) comment: String,
    pub(super) from_stage: Option<String>,
    pub(super) deleted: Option<(Time, String)>,
}

impl Versioned for CardV1 {
    const MARKER: &'static str = "card.v1";
    type Previous = Nothing;
}

/// A revision of a card, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct CardV2 {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) stage: String,
    pub(super) fields_json: String,
    pub(super) revision: u64,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) saved_by: String,
    pub(super) event: String,
    pub(super) comment: String,
    pub(super) from_stage: Option<String>,
    pub(super) deleted: Option<(Time, String)>,
    /// The node that the content came from; none when it was written here.
    pub(super) node: Option<String>,
    /// What that node says its content's digest is: a number may lose its last digit on the way.
    pub(super) content: Option<Digest>,
}

impl Versioned for CardV2 {
    const MARKER: &'static str = "card.v2";
    type Previous = CardV1;
}

impl From<CardV1> for CardV2 {
    fn from(old: CardV1) -> Self {
        Self {
            kind: old.kind,
            name: old.name,
            version: old.version,
            stage: old.stage,
            fields_json: old.fields_json,
            revision: old.revision,
            created_at: old.created_at,
            updated_at: old.updated_at,
            saved_by: old.saved_by,
            event: old.event,
            comment: old.comment,
            from_stage: old.from_stage,
            deleted: old.deleted,
            node: None,
            content: None,
        }
    }
}

impl CardV2 {
    /// The revision that this row holds.
    pub(super) fn read(&self) -> Result<Revision> {
        let stage = |word: &str| Stage::known(word).ok_or_else(|| damaged(&self.subject(), word));
        let fields: Map<String, Value> = serde_json::from_str(&self.fields_json)
            .map_err(|source| damaged(&self.subject(), &source.to_string()))?;
        let card = Card {
            key: self.key()?,
            stage: stage(&self.stage)?,
            fields,
            revision: self.revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
            saved_by: self.saved_by.clone(),
            node: self.node.clone(),
        };
        let origin = Origin {
            event: self.event.clone(),
            at: self.updated_at,
            by: self.saved_by.clone(),
            comment: self.comment.clone(),
            from_stage: self.from_stage.as_deref().map(stage).transpose()?,
            deleted: self.deleted.clone().map(|(at, by)| Deletion { at, by }),
        };
        Ok(Revision { card, origin })
    }

    /// What names the card.
    pub(super) fn key(&self) -> Result<CardKey> {
        let kind =
            CardKind::stored(&self.kind).ok_or_else(|| damaged(&self.subject(), "its kind"))?;
        Ok(CardKey { kind, name: Name::new(&self.name)?, version: Name::new(&self.version)? })
    }

    /// Whether the card is there: not deleted in this revision.
    pub(super) fn is_alive(&self) -> bool {
        self.deleted.is_none()
    }

    fn subject(&self) -> String {
        format!("{}/{}/{}", self.kind, self.name, self.version)
    }
}

fn damaged(subject: &str, what: &str) -> Error {
    Error::internal(format!("the record of the card {subject} is damaged: {what}"))
}

/// Which references one card makes to one name: the field and the version of each.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct RefsV1 {
    pub(super) links: Vec<(String, Option<String>)>,
}

impl Versioned for RefsV1 {
    const MARKER: &'static str = "refs.v1";
    type Previous = Nothing;
}

/// The key of a card's row.
pub(super) fn card_row(key: &CardKey) -> String {
    format!("card/{key}")
}

/// The key of an earlier revision's row: numbers are padded so that byte order is number order.
pub(super) fn revision_row(key: &CardKey, revision: u64) -> String {
    format!("rev/{key}/{revision:020}")
}

/// The rows that a card's references make: the key of each, and its value.
pub(super) fn reference_rows(
    kinds: &Kinds,
    key: &CardKey,
    fields: &Map<String, Value>,
) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
    let mut rows = std::collections::BTreeMap::<String, RefsV1>::new();
    for (field, reference, meant) in refs::of_fields(kinds, key.kind, fields) {
        // Where several kinds may be meant, which one is decided by what exists when it is asked.
        let to_kind = match (reference.kind, meant) {
            (Some(kind), _) => kind.as_str(),
            (None, [only]) => only.as_str(),
            _ => "*",
        };
        let row = rows
            .entry(format!("ref/{to_kind}/{}/{key}", reference.name))
            .or_insert_with(|| RefsV1 { links: Vec::new() });
        let version = reference.version.map(|version| version.to_string());
        row.links.push((field.to_owned(), version));
    }
    rows.into_iter().map(|(row, links)| Ok((row, encode(&links)?))).collect()
}

/// Reads a row of a card, newest or earlier.
pub(super) fn read_card(bytes: &[u8]) -> Result<CardV2> {
    decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_the_first_format_is_read_as_one_that_was_written_here() {
        let old = CardV1 {
            kind: "model".into(),
            name: "a".into(),
            version: "1".into(),
            stage: "testing".into(),
            fields_json: "{}".into(),
            revision: 3,
            created_at: Time(1),
            updated_at: Time(2),
            saved_by: "ada".into(),
            event: "card.staged".into(),
            comment: "why".into(),
            from_stage: Some("experiment".into()),
            deleted: None,
        };
        let bytes = encode(&old).unwrap();
        assert_eq!(&bytes[..8], b"\x07card.v1");
        let new = read_card(&bytes).unwrap();
        assert_eq!((new.node.clone(), new.content), (None, None));
        let read = new.read().unwrap();
        assert_eq!((read.card.revision, read.card.stage), (3, Stage::Testing));
        assert_eq!((read.card.node, read.origin.comment.as_str()), (None, "why"));
        assert_eq!(&encode(&new).unwrap()[..8], b"\x07card.v2");
    }
}
