//! The node's side without the network: what the next push says, and what is remembered of its answer.

use std::collections::{BTreeMap, HashMap};

use super::content::stand_of;
use super::decide::Stand;
use super::format::{FOLLOWER, HELD, HeldV1, StandV1, TROUBLES, TroubleV1, held_row, trouble_row};
use super::wire::{Outcome, PushedEvent, Verdict, event_document};
use crate::fiche::draft::CardDraft;
use crate::fiche::format::CardV2;
use crate::fiche::model::CardKey;
use crate::fiche::plan::{CARD_DELETED, CARD_SAVED, CARD_STAGED};
use crate::fiche::{Fiche, store};
use crate::kernel::feed::{self, Event};
use crate::kernel::format::{decode, encode};
use crate::kernel::name::{Digest, Name};
use crate::kernel::records::{ChangeSet, Expect, Records, Scan};
use crate::kernel::{Error, Result, Time};

/// How many events of the feed one push looks at.
pub(super) const STEP: usize = 200;
/// When a push is large enough to go; one card alone may be larger.
const BYTES: usize = 1 << 20;
/// How many conflicts a node remembers one by one.
const TROUBLES_MAX: usize = 10_000;

/// What the next push says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    pub(super) after: u64,
    pub(super) to: u64,
    pub(super) mark: Digest,
    pub(super) events: Vec<PushedEvent>,
    /// Cards that are put aside, and the rows that say so.
    pub(super) held: BTreeMap<String, HeldV1>,
}

/// What tells this event from one of the same number in a copy of the data folder.
pub(super) fn mark_of(event: &Event) -> Digest {
    let Event { number, event, subject, at, payload } = event;
    Digest::of(format!("{number}\n{event}\n{subject}\n{}\n{payload}", at.0).as_bytes())
}

impl Fiche {
    /// The mark of event `number`, if there is one.
    pub(super) fn mark_at(&self, number: u64) -> Result<Option<Digest>> {
        let found = feed::read(self.records().as_ref(), number.saturating_sub(1), 1)?;
        Ok(found.first().filter(|event| event.number == number).map(mark_of))
    }

    /// What happened after `after`, for the Drip whose feed is `upstream`; none when nothing did.
    pub(super) fn gather(&self, after: u64, upstream: &str) -> Result<Option<Batch>> {
        let records = self.records().as_ref();
        let mut held = self.held()?;
        let mut batch: Option<Batch> = None;
        let mut bytes = 0;
        for event in feed::read(records, after, STEP)? {
            let (number, mark) = (event.number, mark_of(&event));
            let pushed = match held.get_mut(&event.subject) {
                // Put aside: what is newest of it goes when it is tried again.
                Some(aside) if is_change(&event) => {
                    aside.number = number;
                    None
                }
                _ => read_event(records, event, upstream)?,
            };
            let size = pushed.as_ref().map_or(0, |event| event_document(event).to_string().len());
            if bytes > 0 && bytes + size > BYTES {
                break;
            }
            bytes += size;
            let batch = batch.get_or_insert_with(|| Batch {
                after,
                to: number,
                mark,
                events: Vec::new(),
                held: BTreeMap::new(),
            });
            (batch.to, batch.mark) = (number, mark);
            batch.events.extend(pushed);
        }
        Ok(batch.map(|batch| {
            let seen = |aside: &HeldV1| aside.number > after && aside.number <= batch.to;
            let held = held.into_iter().filter(|(_, aside)| seen(aside)).collect();
            Batch { held, ..batch }
        }))
    }

    /// The cards that were put aside, to be tried again: each as it stood at its newest event that
    /// the centre was told of.
    pub(super) fn gather_held(&self, cursor: u64) -> Result<Option<Batch>> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        for (_, aside) in self.held()? {
            let found = feed::read(self.records().as_ref(), aside.number.saturating_sub(1), 1)?;
            let Some(event) = found.into_iter().next() else { continue };
            let Some(mut pushed) = read_event(self.records().as_ref(), event, "")? else {
                continue;
            };
            pushed.base = aside.base.as_ref().map(StandV1::read).transpose()?;
            bytes += event_document(&pushed).to_string().len();
            if pushed.number <= cursor {
                events.push(pushed);
            }
            if bytes > BYTES || events.len() == STEP {
                break;
            }
        }
        events.sort_by_key(|event| event.number);
        let mark = self.mark_at(cursor)?.filter(|_| !events.is_empty());
        let held = BTreeMap::new();
        Ok(mark.map(|mark| Batch { after: cursor, to: cursor, mark, events, held }))
    }

    fn held(&self) -> Result<HashMap<String, HeldV1>> {
        let rows = self.records().scan(&Scan::prefix(HELD))?;
        rows.iter().map(|row| Ok((row.key.replace(HELD, ""), decode(&row.value)?))).collect()
    }

    /// Remembers that the centre has the feed up to where a batch goes, and what it said of each
    /// event.
    pub(super) fn note_pushed(&self, batch: &Batch, outcomes: &[Outcome]) -> Result<()> {
        let mut set = feed::advance(ChangeSet::new(), FOLLOWER, batch.to);
        for outcome in outcomes {
            set = set.delete(held_row(&outcome.card), Expect::Any);
            let at = trouble_row(&outcome.card);
            set = match (outcome.outcome, outcome.reason) {
                (Verdict::Conflict, Some(reason)) => {
                    let row = TroubleV1 {
                        number: outcome.number,
                        reason: reason.as_str().to_owned(),
                        at: self.now(),
                    };
                    set.put(at, Expect::Any, encode(&row)?)
                }
                _ => set.delete(at, Expect::Any),
            };
        }
        for (subject, aside) in &batch.held {
            set = set.put(held_row(subject), Expect::Any, encode(aside)?);
        }
        self.records().apply(set).map(drop)
    }

    /// Remembers how far the centre has the feed, as it says.
    pub(super) fn note_cursor(&self, number: u64) -> Result<()> {
        if feed::cursor(self.records().as_ref(), FOLLOWER)? == number {
            return Ok(());
        }
        self.records().apply(feed::advance(ChangeSet::new(), FOLLOWER, number)).map(drop)
    }

    /// How many conflicts are remembered.
    pub(super) fn troubles(&self) -> Result<u64> {
        self.records().count(TROUBLES)
    }

    /// Remembers these conflicts and no others: the centre told of all there are.
    pub(super) fn note_conflicts(&self, open: &[(String, TroubleV1)]) -> Result<()> {
        let mut set = ChangeSet::new();
        let mut wanted: BTreeMap<String, &TroubleV1> =
            open.iter().take(TROUBLES_MAX).map(|(card, row)| (trouble_row(card), row)).collect();
        for row in self.records().scan(&Scan::prefix(TROUBLES))? {
            let kept = decode::<TroubleV1>(&row.value)?;
            match wanted.get(&row.key) {
                Some(same) if same.number == kept.number => drop(wanted.remove(&row.key)),
                Some(_) => {}
                None => set = set.delete(row.key, Expect::Any),
            }
        }
        for (at, row) in wanted {
            set = set.put(at, Expect::Any, encode(row)?);
        }
        if set.changes.is_empty() {
            return Ok(());
        }
        self.records().apply(set).map(drop)
    }
}

impl Batch {
    /// Puts aside the cards of the events at these places, which the centre refused.
    pub(super) fn put_aside(&mut self, refused: &BTreeMap<usize, String>, at: Time) {
        let reasons: BTreeMap<String, &String> = self
            .events
            .iter()
            .enumerate()
            .filter_map(|(place, event)| Some((event.key.to_string(), refused.get(&place)?)))
            .collect();
        for event in std::mem::take(&mut self.events) {
            let subject = event.key.to_string();
            let Some(why) = reasons.get(&subject) else {
                self.events.push(event);
                continue;
            };
            let aside = self.held.entry(subject).or_insert_with(|| HeldV1 {
                number: 0,
                base: event.base.as_ref().map(StandV1::of),
                why: (*why).clone(),
                at,
            });
            aside.number = event.number;
        }
    }
}

fn is_change(event: &Event) -> bool {
    [CARD_SAVED, CARD_STAGED, CARD_DELETED].contains(&event.event.as_str())
}

/// An event as it is pushed; none for one that is no change of a card, or came from the upstream.
fn read_event(records: &dyn Records, event: Event, upstream: &str) -> Result<Option<PushedEvent>> {
    let texts = event.payload.get("through").and_then(serde_json::Value::as_array);
    let through: Vec<String> =
        texts.into_iter().flatten().filter_map(|feed| feed.as_str().map(str::to_owned)).collect();
    if !is_change(&event) || through.iter().any(|feed| feed == upstream) {
        return Ok(None);
    }
    let damaged = || Error::internal(format!("event {} of the feed names no card", event.number));
    let key = CardKey::from_subject(&event.subject).ok_or_else(damaged)?;
    let revision = event.payload.get("revision").and_then(serde_json::Value::as_u64);
    let revision = revision.ok_or_else(damaged)?;
    let row = store::row_of(records, &key, revision)?;
    let is_gone = event.event == CARD_DELETED;
    let base = if is_gone { Some(stand_of(&row)?) } else { before(records, &key, revision)? };
    let by = match &row.deleted {
        Some((_, by)) if is_gone => by.clone(),
        _ => row.saved_by.clone(),
    };
    Ok(Some(PushedEvent {
        number: event.number,
        event: event.event,
        revision,
        card: if is_gone { None } else { Some(content(&key, &row)?) },
        base,
        by,
        comment: if is_gone { String::new() } else { row.comment.clone() },
        origin: row.node.as_deref().map(Name::new).transpose()?,
        key,
        through,
    }))
}

/// How a card stood before a revision was made; none when it was not there.
fn before(records: &dyn Records, key: &CardKey, revision: u64) -> Result<Option<Stand>> {
    if revision <= 1 {
        return Ok(None);
    }
    let row = store::row_of(records, key, revision - 1)?;
    if row.is_alive() { stand_of(&row).map(Some) } else { Ok(None) }
}

fn content(key: &CardKey, row: &CardV2) -> Result<(CardDraft, Digest)> {
    let stand = stand_of(row)?;
    let fields = row.read()?.card.fields;
    let fields_json = row.fields_json.clone();
    let stage = Some(stand.stage);
    Ok((CardDraft { key: key.clone(), fields, fields_json, stage }, stand.digest))
}
