//! Writing: one call becomes one change set, in which the cards, their references, the events, the
//! audit and the memory of the retry key stand or fall together.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::config::Config;
use super::draft::CardDraft;
use super::error;
use super::format::{CardV2, card_row, read_card, reference_rows, revision_row};
use super::model::{Card, CardKey, Conditions, Outcome, Saved, Stage};
use crate::kernel::access::Caller;
use crate::kernel::feed::{self, Audit, Event};
use crate::kernel::format::encode;
use crate::kernel::name::Digest;
use crate::kernel::records::{ChangeSet, Expect, Records};
use crate::kernel::{Result, Time};

/// A revision was saved.
pub const CARD_SAVED: &str = "card.saved";
/// A card was deleted.
pub const CARD_DELETED: &str = "card.deleted";
/// A card was moved to another stage.
pub const CARD_STAGED: &str = "card.staged";
/// A node pushed a card that is another here: both are kept. See [`super::upstream`].
pub const CARD_CONFLICTED: &str = "card.conflicted";

/// What one call changes, as it comes together. Later parts see what earlier ones changed.
pub(super) struct Plan<'a> {
    records: &'a dyn Records,
    config: &'a Config,
    caller: &'a Caller,
    now: Time,
    heads: HashMap<CardKey, Option<Head>>,
    set: ChangeSet,
    events: Vec<Event>,
    /// The feeds that a change which was pushed here came through; none for one made here.
    through: Vec<String>,
}

/// A card as another node has it.
pub(super) struct Taken<'a> {
    pub(super) draft: &'a CardDraft,
    /// What that node says the digest of its content is.
    pub(super) content: Digest,
    pub(super) node: &'a str,
    pub(super) by: &'a str,
    pub(super) comment: &'a str,
    pub(super) through: &'a [String],
}

#[derive(Clone)]
struct Head {
    /// What the row's own revision will be when the next change of it is applied.
    row_revision: u64,
    row: CardV2,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        records: &'a dyn Records,
        config: &'a Config,
        caller: &'a Caller,
        now: Time,
    ) -> Self {
        Self {
            records,
            config,
            caller,
            now,
            heads: HashMap::new(),
            set: ChangeSet::new(),
            events: Vec::new(),
            through: Vec::new(),
        }
    }

    /// When it happens.
    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// What the rows are kept in, as they stood before.
    pub(super) fn records(&self) -> &'a dyn Records {
        self.records
    }

    /// The newest revision under a key, also of a deleted card, with what was planned so far.
    pub(super) fn newest(&mut self, key: &CardKey) -> Result<Option<CardV2>> {
        Ok(self.head(key)?.map(|head| head.row))
    }

    /// Lets the whole plan stand only if this card is still as it was looked at.
    pub(super) fn hold(&mut self, key: &CardKey) -> Result<()> {
        match self.head(key)? {
            Some(head) => self.put_head(key, Some(head.row_revision), head.row),
            None => Ok(()),
        }
    }

    /// What is to be written, and the events that tell of it.
    pub(super) fn finish(self) -> (ChangeSet, Vec<Event>) {
        (self.set, self.events)
    }

    /// Saves a card. Its stage stays as it is; only an import may bring one along.
    pub(super) fn save(
        &mut self,
        draft: &CardDraft,
        conditions: Conditions,
        brings_stage: bool,
    ) -> Result<Saved> {
        let kinds = &self.config.kinds;
        if kinds.declared(draft.key.kind.as_str()).is_none() {
            return Err(error::bad_kind(draft.key.kind.as_str(), kinds));
        }
        let head = self.head(&draft.key)?;
        let alive = head.as_ref().filter(|head| head.row.is_alive());
        check(&draft.key, conditions, alive.map(|head| head.row.revision))?;
        let old = alive.map(|head| head.row.read()).transpose()?;
        let has = old.as_ref().map_or(Stage::default(), |old| old.card.stage);
        let stage = match draft.stage {
            Some(wanted) if wanted != has && !brings_stage => {
                return Err(error::stage_is_moved_apart(&draft.key, has, wanted));
            }
            wanted => wanted.unwrap_or(has),
        };
        if let (Some(old), Some(head)) = (&old, alive) {
            // Equal text is equal content even where a number does not survive being read again.
            let same = head.row.fields_json == draft.fields_json || !draft.differs(&old.card);
            if same && stage == has {
                return Ok(Saved { card: old.card.clone(), outcome: Outcome::Unchanged });
            }
        }
        let outcome = if old.is_some() { Outcome::Updated } else { Outcome::Created };
        let row = CardV2 {
            kind: draft.key.kind.as_str().to_owned(),
            name: draft.key.name.to_string(),
            version: draft.key.version.to_string(),
            stage: stage.as_str().to_owned(),
            fields_json: draft.fields_json.clone(),
            revision: head.as_ref().map_or(0, |head| head.row.revision) + 1,
            created_at: head.as_ref().map_or(self.now, |head| head.row.created_at),
            updated_at: self.now,
            saved_by: self.caller.name.clone(),
            event: CARD_SAVED.to_owned(),
            comment: String::new(),
            from_stage: (old.is_some() && stage != has).then(|| has.as_str().to_owned()),
            deleted: None,
            node: None,
            content: None,
        };
        let card = Card {
            key: draft.key.clone(),
            stage,
            fields: draft.fields.clone(),
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
            saved_by: row.saved_by.clone(),
            node: None,
        };
        self.change_references(&draft.key, old.as_ref().map(|old| &old.card.fields), &card.fields)?;
        self.replace(&draft.key, head, row)?;
        Ok(Saved { card, outcome })
    }

    /// Takes a card over as another node has it, with its stage and its author.
    pub(super) fn take(&mut self, taken: &Taken<'_>) -> Result<()> {
        let key = &taken.draft.key;
        let head = self.head(key)?;
        let alive = head.as_ref().filter(|head| head.row.is_alive());
        let old = alive.map(|head| head.row.read()).transpose()?;
        let has = old.as_ref().map(|old| old.card.stage);
        let stage = taken.draft.stage.unwrap_or_default();
        let is_move = old.as_ref().is_some_and(|old| !taken.draft.differs(&old.card));
        let event = if is_move { CARD_STAGED } else { CARD_SAVED };
        let row = CardV2 {
            kind: key.kind.as_str().to_owned(),
            name: key.name.to_string(),
            version: key.version.to_string(),
            stage: stage.as_str().to_owned(),
            fields_json: taken.draft.fields_json.clone(),
            revision: head.as_ref().map_or(0, |head| head.row.revision) + 1,
            created_at: head.as_ref().map_or(self.now, |head| head.row.created_at),
            updated_at: self.now,
            saved_by: taken.by.to_owned(),
            event: event.to_owned(),
            comment: taken.comment.to_owned(),
            from_stage: has.filter(|has| *has != stage).map(|has| has.as_str().to_owned()),
            deleted: None,
            node: Some(taken.node.to_owned()),
            content: Some(taken.content),
        };
        let old = old.as_ref().map(|old| &old.card.fields);
        self.change_references(key, old, &taken.draft.fields)?;
        self.through = taken.through.to_vec();
        let done = self.replace(key, head, row);
        self.through = Vec::new();
        done
    }

    /// Deletes a card because it was deleted where it came from.
    pub(super) fn take_away(&mut self, key: &CardKey, by: &str, through: &[String]) -> Result<()> {
        let head = self.alive(key)?;
        self.through = through.to_vec();
        let gone = self.put_away(key, head, by);
        self.through = Vec::new();
        gone.map(drop)
    }

    /// Deletes a card. Its history stays.
    pub(super) fn delete(&mut self, key: &CardKey, conditions: Conditions) -> Result<Card> {
        let head = self.alive(key)?;
        check(key, conditions, Some(head.row.revision))?;
        let by = self.caller.name.clone();
        self.put_away(key, head, &by)
    }

    fn put_away(&mut self, key: &CardKey, head: Head, by: &str) -> Result<Card> {
        let mut row = head.row;
        row.deleted = Some((self.now, by.to_owned()));
        let card = row.read()?.card;
        for (reference, _) in reference_rows(&self.config.kinds, key, &card.fields)? {
            self.change(|set| set.delete(reference, Expect::Any));
        }
        self.put_head(key, Some(head.row_revision), row)?;
        self.tell(key, card.revision, CARD_DELETED)?;
        Ok(card)
    }

    /// Moves a card to another stage; answers it as it is when it is there already.
    pub(super) fn stage(
        &mut self,
        key: &CardKey,
        to: Stage,
        comment: &str,
        conditions: Conditions,
    ) -> Result<Card> {
        let head = self.alive(key)?;
        check(key, conditions, Some(head.row.revision))?;
        let card = head.row.read()?.card;
        if card.stage == to {
            return Ok(card);
        }
        let moves = &self.config.stages;
        if !moves.allow(card.stage, to) {
            return Err(error::move_not_allowed(key, card.stage, to, moves.next(card.stage)));
        }
        let row = CardV2 {
            stage: to.as_str().to_owned(),
            revision: head.row.revision + 1,
            updated_at: self.now,
            saved_by: self.caller.name.clone(),
            event: CARD_STAGED.to_owned(),
            comment: comment.to_owned(),
            from_stage: Some(card.stage.as_str().to_owned()),
            // A move keeps the content, and with it the node that it came from.
            ..head.row.clone()
        };
        let card = Card {
            stage: to,
            revision: row.revision,
            updated_at: row.updated_at,
            saved_by: row.saved_by.clone(),
            ..card
        };
        self.replace(key, Some(head), row)?;
        Ok(card)
    }

    /// The newest revision of a card that is there.
    fn alive(&mut self, key: &CardKey) -> Result<Head> {
        match self.head(key)? {
            Some(head) if head.row.is_alive() => Ok(head),
            Some(_) => Err(error::card_deleted(key)),
            None => Err(error::card_not_found(key)),
        }
    }

    fn head(&mut self, key: &CardKey) -> Result<Option<Head>> {
        if let Some(known) = self.heads.get(key) {
            return Ok(known.clone());
        }
        let found = self.records.get(&card_row(key))?;
        let head = found
            .map(|row| {
                Ok::<_, crate::kernel::Error>(Head {
                    row_revision: row.revision,
                    row: read_card(&row.value)?,
                })
            })
            .transpose()?;
        self.heads.insert(key.clone(), head.clone());
        Ok(head)
    }

    /// Makes the rows that lead back to a card those of its new content.
    fn change_references(
        &mut self,
        key: &CardKey,
        old: Option<&Map<String, Value>>,
        new: &Map<String, Value>,
    ) -> Result<()> {
        let mut gone = old
            .map(|old| reference_rows(&self.config.kinds, key, old))
            .transpose()?
            .unwrap_or_default();
        for (reference, value) in reference_rows(&self.config.kinds, key, new)? {
            if gone.remove(&reference).as_ref() != Some(&value) {
                self.change(|set| set.put(reference, Expect::Any, value));
            }
        }
        for (reference, _) in gone {
            self.change(|set| set.delete(reference, Expect::Any));
        }
        Ok(())
    }

    /// Puts a new revision in the place of the newest, which becomes an earlier one, and tells of it.
    fn replace(&mut self, key: &CardKey, head: Option<Head>, row: CardV2) -> Result<()> {
        if let Some(old) = &head {
            let value = encode(&old.row)?;
            let earlier = revision_row(key, old.row.revision);
            self.change(|set| set.put(earlier, Expect::Any, value));
        }
        let (revision, event) = (row.revision, row.event.clone());
        self.put_head(key, head.map(|head| head.row_revision), row)?;
        self.tell(key, revision, &event)
    }

    /// Writes a card's row, if it is still as it was read: the guard of the whole set.
    fn put_head(&mut self, key: &CardKey, read_at: Option<u64>, row: CardV2) -> Result<()> {
        let value = encode(&row)?;
        let expect = read_at.map_or(Expect::Absent, Expect::Revision);
        self.change(|set| set.put(card_row(key), expect, value));
        let row_revision = read_at.unwrap_or(0) + 1;
        self.heads.insert(key.clone(), Some(Head { row_revision, row }));
        Ok(())
    }

    /// Adds the event and the line of audit.
    fn tell(&mut self, key: &CardKey, revision: u64, name: &str) -> Result<()> {
        let mut payload = json!({ "revision": revision });
        if let (Some(fields), false) = (payload.as_object_mut(), self.through.is_empty()) {
            fields.insert("through".to_owned(), json!(self.through));
        }
        self.tell_more(key, name, payload)
    }

    /// The same with more to say.
    pub(super) fn tell_more(&mut self, key: &CardKey, name: &str, payload: Value) -> Result<()> {
        let event = Event::new(name, key.to_string(), self.now, payload);
        let set = std::mem::take(&mut self.set);
        self.set = feed::tell(set, &event)?;
        self.events.push(event);
        self.audit(name, key.to_string())
    }

    /// Adds a line of audit.
    pub(super) fn audit(&mut self, action: &str, subject: String) -> Result<()> {
        let line = Audit {
            at: self.now,
            who: self.caller.name.clone(),
            action: action.to_owned(),
            subject,
            outcome: "done".to_owned(),
        };
        let set = std::mem::take(&mut self.set);
        self.set = feed::audit(set, &line)?;
        Ok(())
    }

    /// Adds a change of a row that is no card's.
    pub(super) fn change(&mut self, change: impl FnOnce(ChangeSet) -> ChangeSet) {
        self.set = change(std::mem::take(&mut self.set));
    }
}

fn check(key: &CardKey, conditions: Conditions, found: Option<u64>) -> Result<()> {
    match (conditions.revision, found) {
        _ if conditions.create_only && found.is_some() => Err(error::exists(key)),
        (Some(expected), found) if found != Some(expected) => {
            Err(error::stale(key, expected, found))
        }
        _ => Ok(()),
    }
}
