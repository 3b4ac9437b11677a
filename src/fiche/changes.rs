//! The change feed as clients see it. The feed keeps which revision a change made; the card itself
//! is read from the records, where every revision stays.

use serde::{Deserialize, Serialize};

use super::model::{Card, CardKey};
use super::store;
use crate::kernel::feed::{self, Event};
use crate::kernel::records::Records;
use crate::kernel::{Error, Result, Time};

/// One change of one card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its number: no gaps, no repeats.
    pub number: u64,
    /// `card.saved`, `card.deleted` or `card.staged`.
    pub event: String,
    /// The card as it stood after the change; before it, when it was deleted.
    pub card: Card,
    /// When.
    pub at: Time,
}

/// Up to `limit` changes after number `after`, in order.
pub(super) fn read(records: &dyn Records, after: u64, limit: usize) -> Result<Vec<Change>> {
    feed::read(records, after, limit)?.into_iter().map(|event| resolve(records, event)).collect()
}

/// The change that an event of the feed tells of.
pub(super) fn resolve(records: &dyn Records, event: Event) -> Result<Change> {
    let damaged = || Error::internal(format!("event {} of the feed names no card", event.number));
    let key = CardKey::from_subject(&event.subject).ok_or_else(damaged)?;
    let revision = event.payload.get("revision").and_then(serde_json::Value::as_u64);
    let card = store::revision(records, &key, revision.ok_or_else(damaged)?)?.card;
    Ok(Change { number: event.number, event: event.event, card, at: event.at })
}
