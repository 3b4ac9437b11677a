//! Conflicts at the centre: what nodes pushed beside cards that stand otherwise here; listing and
//! resolving them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::content::here;
use super::decide::{Here, Reason};
use super::format::{ConflictV1, conflict_row};
use super::wire::{bad_side, conflict_moved_on, conflict_not_found};
use crate::fiche::draft::CardDraft;
use crate::fiche::format::CardV2;
use crate::fiche::model::{CardKey, CardKind};
use crate::fiche::plan::{Plan, Taken};
use crate::fiche::{Fiche, Replayed, Written, store};
use crate::kernel::access::Caller;
use crate::kernel::feed::Idempotency;
use crate::kernel::format::decode;
use crate::kernel::records::{ChangeSet, Expect, Row, Scan};
use crate::kernel::{Error, Name, Result, Time};

/// How many rows one step of a scan takes.
const STEP: usize = 100;
/// How many conflicts of a node are looked at, whether they are over, when it calls.
const SETTLE_MAX: usize = 1000;

/// What a node pushed beside the centre's card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The card's kind.
    pub kind: CardKind,
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Name,
    /// The node that pushed.
    pub node: String,
    /// Why it was not applied.
    pub reason: Reason,
    /// When it was pushed.
    pub at: Time,
    /// Who made the change at the node.
    pub by: String,
    /// The number of the change in the node's feed.
    pub number: u64,
    /// The revision of the node's card.
    pub revision: u64,
    /// The card as it stands here; null when it was deleted.
    #[serde(default)]
    pub mine: Value,
    /// The card as the node has it; null when it was deleted there.
    #[serde(default)]
    pub theirs: Value,
}

/// Which conflicts a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictFilter {
    /// Only those of this node.
    pub node: Option<String>,
    /// Only about cards of this kind.
    pub kind: Option<CardKind>,
    /// Only about cards of this name.
    pub name: Option<String>,
    /// Leave out the cards themselves.
    pub brief: bool,
}

/// Which side of a conflict stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The card as it stands here.
    Mine,
    /// The card as the node has it: it becomes a new revision here.
    Theirs,
}

impl std::str::FromStr for Keep {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "mine" => Ok(Self::Mine),
            "theirs" => Ok(Self::Theirs),
            other => Err(bad_side(other)),
        }
    }
}

impl Conflict {
    /// Where it stands in the list.
    pub fn place(&self) -> String {
        format!("{}/{}/{}/{}", self.node, self.kind, self.name, self.version)
    }
}

/// The node and the card that a row's key names.
fn named(row: &Row) -> Option<(String, CardKey)> {
    let (node, subject) = row.key.strip_prefix("conflict/")?.split_once('/')?;
    Some((node.to_owned(), CardKey::from_subject(subject)?))
}

fn damaged(row: &Row) -> Error {
    Error::internal(format!("the record `{}` names no card", row.key))
}

impl Fiche {
    /// Up to `limit + 1` conflicts beyond `after`, by node, kind, name and version.
    pub fn conflicts(
        &self,
        filter: &ConflictFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Conflict>> {
        let node = filter.node.as_ref().map_or_else(String::new, |node| format!("{node}/"));
        let mut scan = Scan::prefix(format!("conflict/{node}")).limit(STEP);
        scan.after = after.map(|place| format!("conflict/{place}"));
        let mut found = Vec::new();
        loop {
            let rows = self.records().scan(&scan)?;
            for row in &rows {
                let (node, key) = named(row).ok_or_else(|| damaged(row))?;
                let is_meant = filter.kind.is_none_or(|kind| kind == key.kind)
                    && filter.name.as_deref().is_none_or(|name| name == key.name.as_str());
                if !is_meant {
                    continue;
                }
                found.extend(self.conflict(node, key, &decode(&row.value)?, filter.brief)?);
                if found.len() > limit {
                    return Ok(found);
                }
            }
            match rows.last() {
                Some(last) if rows.len() == STEP => scan.after = Some(last.key.clone()),
                _ => return Ok(found),
            }
        }
    }

    /// A conflict, if it still is one.
    fn conflict(
        &self,
        node: String,
        key: CardKey,
        row: &ConflictV1,
        brief: bool,
    ) -> Result<Option<Conflict>> {
        if self.is_over(&key, row)? {
            return Ok(None);
        }
        let (mine, theirs) = if brief {
            (Value::Null, Value::Null)
        } else {
            let mine = store::find(self.records().as_ref(), &key)?;
            (mine.map_or(Value::Null, |card| card.document()), theirs(&key, row)?)
        };
        let reason = Reason::known(&row.reason);
        Ok(Some(Conflict {
            kind: key.kind,
            name: key.name,
            version: key.version,
            node,
            reason: reason.ok_or_else(|| Error::internal("a conflict has no reason"))?,
            at: row.at,
            by: row.by.clone(),
            number: row.number,
            revision: row.revision,
            mine,
            theirs,
        }))
    }

    /// Whether the card stands here as it was pushed: someone took that side by hand.
    fn is_over(&self, key: &CardKey, row: &ConflictV1) -> Result<bool> {
        let pushed = row.pushed.as_ref().map(super::format::StandV1::read).transpose()?;
        let newest = match store::newest(self.records().as_ref(), key) {
            Ok(newest) => Some(newest),
            Err(error) if error.code() == "card_not_found" => None,
            Err(error) => return Err(error),
        };
        Ok(match here(newest.as_ref())? {
            Here::There(stand) => pushed == Some(stand),
            Here::Never | Here::Gone => pushed.is_none(),
        })
    }

    /// Forgets the conflicts of a node that are over.
    pub(super) fn settle_conflicts(&self, node: &Name) -> Result<()> {
        let scan = Scan::prefix(format!("conflict/{node}/")).limit(SETTLE_MAX);
        let mut set = ChangeSet::new();
        for row in self.records().scan(&scan)? {
            let (_, key) = named(&row).ok_or_else(|| damaged(&row))?;
            if self.is_over(&key, &decode(&row.value)?)? {
                set = set.delete(row.key, Expect::Revision(row.revision));
            }
        }
        if set.changes.is_empty() {
            return Ok(());
        }
        match self.records().apply(set) {
            // Someone else changed one of them: the next call looks again.
            Err(raced) if matches!(raced.code(), "stale_revision" | "row_missing") => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Ends a conflict: the card here stays, or becomes what the node has. With a `number`, only if
    /// the conflict is still about that change of the node.
    pub fn resolve_conflict(
        &self,
        caller: &Caller,
        key: &CardKey,
        node: &str,
        keep: Keep,
        number: Option<u64>,
        retry: Option<&Idempotency>,
    ) -> Result<Replayed> {
        self.write(caller, retry, |plan| {
            let at = conflict_row(node, key);
            let found = plan.records().get(&at)?.ok_or_else(|| conflict_not_found(key, node))?;
            let row: ConflictV1 = decode(&found.value)?;
            if number.is_some_and(|number| number != row.number) {
                return Err(conflict_moved_on(key, node));
            }
            if keep == Keep::Theirs {
                take_theirs(plan, key, &row)?;
            }
            plan.change(|set| set.delete(at, Expect::Revision(found.revision)));
            plan.audit("conflict.resolve", key.to_string())?;
            let card = plan.newest(key)?.filter(CardV2::is_alive);
            let card = card.map(|card| card.read()).transpose()?;
            Ok(json!({"kept": keep, "card": card.map(|revision| revision.card)}))
        })
        .and_then(Written::into_answer)
    }
}

fn take_theirs(plan: &mut Plan<'_>, key: &CardKey, row: &ConflictV1) -> Result<()> {
    let is_there = plan.newest(key)?.is_some_and(|card| card.is_alive());
    let Some(pushed) = &row.pushed else {
        return if is_there { plan.take_away(key, &row.by, &row.through) } else { Ok(()) };
    };
    let draft = draft(key, row)?;
    let taken = Taken {
        draft: &draft,
        content: pushed.digest,
        node: &row.origin,
        by: &row.by,
        comment: &row.comment,
        through: &row.through,
    };
    plan.take(&taken)
}

fn draft(key: &CardKey, row: &ConflictV1) -> Result<CardDraft> {
    let fields: Map<String, Value> = serde_json::from_str(&row.fields_json)
        .map_err(|source| Error::internal(format!("the conflict about {key}: {source}")))?;
    let stage = row.pushed.as_ref().map(super::format::StandV1::read).transpose()?;
    let (fields_json, stage) = (row.fields_json.clone(), stage.map(|stand| stand.stage));
    Ok(CardDraft { key: key.clone(), fields, fields_json, stage })
}

/// The card as the node has it.
fn theirs(key: &CardKey, row: &ConflictV1) -> Result<Value> {
    if row.pushed.is_none() {
        return Ok(Value::Null);
    }
    let mut document = draft(key, row)?.document();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("revision".to_owned(), row.revision.into());
        fields.insert("saved_by".to_owned(), row.by.as_str().into());
        fields.insert("node".to_owned(), row.origin.as_str().into());
    }
    Ok(document)
}
