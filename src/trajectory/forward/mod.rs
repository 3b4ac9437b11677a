//! Forwarding: what a stream holds and what comes goes to a MongoDB collection, as the handler of Drip
//! 0.1 wrote it there: in order, at least once, each stream with a cursor of its own. The records
//! stay here as long as their stream keeps them; what retention takes before it was forwarded is
//! told as skipped.

#[cfg(feature = "mongo")]
mod courier;
#[cfg(feature = "mongo")]
mod document;
#[cfg(feature = "mongo")]
mod ledger;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::kernel::error::Fault;

#[cfg(feature = "mongo")]
pub use courier::Forwarder;

/// How far a stream is forwarded, since the daemon began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Forwarded {
    /// The number of the last record that is there, or was looked at.
    pub seq: u64,
    /// How many records were written there.
    pub records: u64,
    /// How many were gone or damaged before they could be.
    pub skipped: u64,
    /// Why it does not go on; it is tried again.
    pub error: Option<String>,
}

/// How far each stream is.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<BTreeMap<String, Forwarded>>);

impl Progress {
    pub(super) fn of(&self, stream: &str) -> Option<Forwarded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }

    #[cfg(feature = "mongo")]
    fn set(&self, all: BTreeMap<String, Forwarded>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Where a stream goes: a collection, with its database where the URL's is not meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination<'t> {
    pub(super) database: Option<&'t str>,
    pub(super) collection: &'t str,
}

impl<'t> Destination<'t> {
    /// Reads `collection` or `database.collection`.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (database, collection) = match text.split_once('.') {
            Some((database, collection)) => (Some(database), collection),
            None => (None, text),
        };
        let is_name = |name: &str, bad: &[char]| {
            !name.is_empty() && name.len() <= 63 && !name.contains(bad) && !name.contains('\0')
        };
        let is_sound = is_name(collection, &['$'])
            && !collection.starts_with("system.")
            && database.is_none_or(|name| is_name(name, &['/', '\\', ' ', '"', '$']));
        is_sound.then_some(Self { database, collection })
    }
}

/// What speaks against forwarding a stream, where this log has nowhere to.
pub(super) fn fault(forward: Option<&str>, has_url: bool) -> Option<Fault> {
    forward?;
    let why = if cfg!(not(feature = "mongo")) {
        "this build leaves MongoDB out: there is nowhere to forward to"
    } else if has_url {
        return None;
    } else {
        "drip.toml names no MongoDB: give its URL as `forward` under `[trajectory]` first"
    };
    Some(Fault::new("/forward", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_collection_with_or_without_its_database() {
        let read = |text| Destination::parse(text).map(|to| (to.database, to.collection));
        assert_eq!(read("logs"), Some((None, "logs")));
        assert_eq!(read("drip.wind.logs"), Some((Some("drip"), "wind.logs")));
        assert_eq!(read("风电"), Some((None, "风电")));
        for wrong in ["", ".", "a.", ".a", "a$b", "a b.c", "a.system.users", "a\0", &"x".repeat(64)]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
