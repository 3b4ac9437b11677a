//! What is kept of observers.
//!
//! | key | value |
//! | --- | --- |
//! | `observer/{name}` | an observer, with its secret |
//! | `observer-state/{id}` | how far it has come; its courier alone writes it |
//! | `observer-log/{id}/{entry}` | a message and how it fared |
//! | `observer-replay/{id}` | what it is to be told again, until its courier has seen that |
//!
//! The id is another one when an observer is deleted and made again, so that nothing of the old one
//! meets the new one.

use bincode::{Decode, Encode};
use serde_json::Value;

use super::model::{Delivery, DeliveryState};
use crate::fiche::model::CardKey;
use crate::fiche::which::Which;
use crate::kernel::Time;
use crate::kernel::config::Secret;
use crate::kernel::format::{Nothing, Versioned};

/// An observer, as it is kept. It holds a secret, so nothing prints it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct ObserverV1 {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) url: String,
    pub(super) kinds: Vec<String>,
    pub(super) events: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) stages: Vec<String>,
    pub(super) secret: Option<String>,
    pub(super) enabled: bool,
    pub(super) summary: String,
    pub(super) config_json: String,
    pub(super) remark: String,
    pub(super) revision: u64,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) saved_by: String,
}

impl Versioned for ObserverV1 {
    const MARKER: &'static str = "observer.v1";
    type Previous = Nothing;
}

impl ObserverV1 {
    pub(super) fn which(&self) -> Which {
        Which {
            kinds: self.kinds.clone(),
            events: self.events.clone(),
            names: self.names.clone(),
            stages: self.stages.clone(),
        }
    }

    pub(super) fn secret(&self) -> Option<Secret> {
        self.secret.as_deref().map(Secret::new)
    }

    pub(super) fn config(&self) -> Value {
        serde_json::from_str(&self.config_json).unwrap_or(Value::Null)
    }
}

/// How far an observer has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct ObserverStateV1 {
    /// The last change that was taken, or passed over.
    pub(super) cursor: u64,
    /// What is being told again: the last one told, and the last one to tell.
    pub(super) replay: Option<(u64, u64)>,
    /// The newest entry of the log.
    pub(super) last_entry: u64,
    /// The entry of the message that failed and will be tried again.
    pub(super) open_entry: Option<u64>,
    pub(super) delivered: u64,
    pub(super) failures: u32,
    pub(super) failing_since: Option<Time>,
    pub(super) last_error: Option<String>,
    pub(super) last_success_at: Option<Time>,
    pub(super) next_try_at: Option<Time>,
    /// Whether the receiver said that it is gone.
    pub(super) stopped: bool,
    /// Which daemon tells it, and until when no other does, where daemons share a store.
    pub(super) lease: Option<(String, Time)>,
}

impl Versioned for ObserverStateV1 {
    const MARKER: &'static str = "observer-state.v1";
    type Previous = Nothing;
}

/// A message, and how it fared.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct DeliveryV1 {
    pub(super) number: u64,
    pub(super) event: String,
    pub(super) subject: String,
    pub(super) delivered: bool,
    pub(super) again: bool,
    pub(super) tries: u32,
    pub(super) first_at: Time,
    pub(super) at: Time,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) duration_ms: u64,
    pub(super) next_try_at: Option<Time>,
}

impl Versioned for DeliveryV1 {
    const MARKER: &'static str = "delivery.v1";
    type Previous = Nothing;
}

impl DeliveryV1 {
    pub(super) fn read(self, entry: u64) -> Delivery {
        let state = if self.delivered { DeliveryState::Delivered } else { DeliveryState::Failed };
        Delivery {
            entry: Some(entry),
            number: self.number,
            event: self.event,
            card: reference(&self.subject),
            state,
            tries: self.tries,
            first_at: Some(self.first_at),
            at: Some(self.at),
            status: self.status,
            error: self.error,
            duration_ms: Some(self.duration_ms),
            next_try_at: self.next_try_at,
            again: self.again,
        }
    }
}

/// How a subject of the feed reads as a reference to a card.
pub(super) fn reference(subject: &str) -> String {
    CardKey::from_subject(subject).map_or_else(|| subject.to_owned(), |key| key.reference())
}

/// That changes are to be told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct ReplayV1 {
    /// After this number.
    pub(super) after: u64,
    /// Up to this one.
    pub(super) to: u64,
}

impl Versioned for ReplayV1 {
    const MARKER: &'static str = "observer-replay.v1";
    type Previous = Nothing;
}

/// Where all observers stand.
pub(super) const OBSERVERS: &str = "observer/";

pub(super) fn observer_row(name: &str) -> String {
    format!("{OBSERVERS}{name}")
}

pub(super) fn state_row(id: &str) -> String {
    format!("observer-state/{id}")
}

pub(super) fn replay_row(id: &str) -> String {
    format!("observer-replay/{id}")
}

/// Where the log of one observer stands.
pub(super) fn log_of(id: &str) -> String {
    format!("observer-log/{id}/")
}

/// Numbers are padded so that byte order is number order.
pub(super) fn log_row(id: &str, entry: u64) -> String {
    format!("observer-log/{id}/{entry:020}")
}
