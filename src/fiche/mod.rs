//! Fiche: cards that describe algorithms, models, parameters, applications and datasets.
//!
//! It keeps every revision of every card, moves cards through the stages of their life, knows what
//! is made from what, finds cards by words in Chinese and English, and numbers every change. It is
//! not a store of files (a card refers to an artifact, it does not hold one), and it does not check
//! that what a card refers to exists: a missing end is shown as such.
//!
//! After a crash: a save, a deletion, a move or a batch that was answered is there, with its event,
//! its audit line and its retry key; one that was not answered is wholly there or wholly absent.
//! The search index is derived from the records: it catches up when fiche is opened, and is made
//! anew when it is missing or damaged, while cards are served.
//!
//! ```
//! use std::sync::Arc;
//! use drip::fiche::{CardDraft, CardKind, Conditions, Config, Fiche, Parts};
//! use drip::kernel::{Bus, SystemClock, access::Caller, records::MemoryRecords};
//!
//! # fn main() -> drip::kernel::Result<()> {
//! let fiche = Fiche::open(Parts {
//!     records: Arc::new(MemoryRecords::new()),
//!     clock: Arc::new(SystemClock),
//!     bus: Bus::new(),
//!     folder: None,
//!     config: Config::default(),
//! })?;
//! let draft = CardDraft::new(CardKind::MODEL, "wind-power", "1.0.0")?.with("summary", "风电功率预测")?;
//! let saved = fiche.save(&Caller::system(), &draft, Conditions::default())?;
//! assert_eq!(saved.card.revision, 1);
//! # Ok(())
//! # }
//! ```

mod bundle;
mod changes;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "http")]
pub mod compat;
mod config;
mod diff;
mod draft;
mod error;
mod format;
#[cfg(feature = "http")]
pub mod http;
mod impact;
mod kinds;
mod lineage;
mod lookout;
mod model;
mod moves;
#[cfg(feature = "client")]
mod observers;
#[cfg(any(feature = "http", feature = "cli"))]
mod old;
mod plan;
mod refs;
#[cfg(feature = "script")]
pub mod script;
mod search;
mod store;
pub mod upstream;
#[cfg(any(feature = "http", feature = "client"))]
mod which;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

pub use bundle::{BATCH_MAX, Batch, Imported, Rejected};
pub use changes::Change;
pub use config::{Config, KEYS, Upstream};
pub use diff::{Changed, Diff, between};
pub use draft::{CARD_MAX_BYTES, CARD_MAX_DEPTH, CardDraft, LABELS_MAX};
pub use impact::{Affected, Impact};
pub use kinds::Kinds;
pub use lineage::{Direction, Edge, Lineage, Node};
pub use model::{
    Card, CardKey, CardKind, Conditions, Deletion, Origin, Outcome, Revision, Saved, Stage,
};
pub use moves::Moves;
#[cfg(feature = "client")]
pub use observers::{
    Delivery, DeliveryState, OBSERVERS_MAX, Observer, ObserverDraft, Redelivery, SECRET_MAX_BYTES,
    Standing, Status,
};
pub use plan::{CARD_CONFLICTED, CARD_DELETED, CARD_SAVED, CARD_STAGED};
pub use search::{DEPTH_MAX, Found, Hit, QUERY_MAX_BYTES, Search, Sort};
pub use store::{Filter, Span};
#[cfg(any(feature = "http", feature = "client"))]
pub use which::Which;

use crate::kernel::access::Caller;
use crate::kernel::clock::Clock;
use crate::kernel::feed::{self, Idempotency};
use crate::kernel::records::{ChangeSet, SharedRecords};
use crate::kernel::{Bus, Error, Result, Time};
use plan::Plan;

/// How often a write is planned anew because someone else changed the same card meanwhile. Each
/// time, that other write went through, so this ends only under an extreme crowd.
const TRIES: usize = 1000;

/// What fiche is opened over.
pub struct Parts {
    /// Where cards, revisions and the feed are kept.
    pub records: SharedRecords,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where changes are told.
    pub bus: Bus,
    /// The folder for the search index; without one the index lives in memory.
    pub folder: Option<PathBuf>,
    /// The settings.
    pub config: Config,
}

/// The cards. Cheap to clone.
#[derive(Clone)]
pub struct Fiche {
    inner: Arc<Inner>,
}

struct Inner {
    records: SharedRecords,
    clock: Arc<dyn Clock>,
    bus: Bus,
    /// The number of the newest event; none when it is over. Streams wait for it.
    newest: watch::Sender<Option<u64>>,
    indexer: search::Indexer,
    config: Config,
    upstream: upstream::Live,
    #[cfg(feature = "client")]
    office: observers::Office,
    lookout: lookout::Lookout,
}

impl std::fmt::Debug for Fiche {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fiche")
    }
}

/// The answer of a call that may be a retry.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The answer as JSON.
    pub answer: Value,
    /// Whether it was given before, and nothing was done now.
    pub is_retry: bool,
}

/// What a call did now, or answered when it was made before.
enum Written<T> {
    Now(T),
    Before(Value),
}

impl<T: Serialize> Written<T> {
    fn into_answer(self) -> Result<Replayed> {
        Ok(match self {
            Self::Now(answer) => Replayed { answer: as_json(&answer)?, is_retry: false },
            Self::Before(answer) => Replayed { answer, is_retry: true },
        })
    }
}

fn as_json(answer: &impl Serialize) -> Result<Value> {
    serde_json::to_value(answer).map_err(|source| Error::internal(format!("an answer: {source}")))
}

impl Fiche {
    /// Opens the cards over what they are kept in.
    pub fn open(parts: Parts) -> Result<Self> {
        let newest = feed::last_number(parts.records.as_ref())?;
        let mut config = parts.config;
        config.kinds = config.kinds.with_former(store::kinds(parts.records.as_ref())?);
        let index = parts.folder.map(|folder| folder.join("index"));
        let indexer = search::Indexer::start(parts.records.clone(), index, newest)?;
        let newest = watch::channel(Some(newest)).0;
        let inner = Arc::new(Inner {
            #[cfg(feature = "client")]
            office: observers::Office::open(
                parts.records.clone(),
                parts.clock.clone(),
                newest.subscribe(),
                config.push,
            )?,
            records: parts.records,
            clock: parts.clock,
            bus: parts.bus,
            newest,
            indexer,
            upstream: upstream::Live::new(&config.upstream)?,
            config,
            lookout: lookout::Lookout::default(),
        });
        if inner.records.is_shared() {
            inner.lookout.start(Arc::downgrade(&inner))?;
        }
        Ok(Self { inner })
    }

    /// Ends the streams and the work in the background. Reading and writing still work; what is
    /// written is found when the cards are opened again.
    pub fn close(&self) {
        self.inner.lookout.stop();
        self.inner.newest.send_replace(None);
        #[cfg(feature = "client")]
        self.inner.office.close();
        self.inner.indexer.close();
    }

    /// What the cards are kept in, with their audit lines.
    pub fn store(&self) -> &SharedRecords {
        &self.inner.records
    }

    /// Forgets retry keys that are too old to matter; answers how many.
    pub fn forget_old(&self) -> Result<usize> {
        feed::forget_old(self.records().as_ref(), self.inner.clock.now())
    }

    /// Whether writes are accepted, and why not.
    pub fn health(&self) -> Result<()> {
        self.inner.records.health()
    }

    /// The kinds of cards.
    pub fn kinds(&self) -> &Kinds {
        &self.inner.config.kinds
    }

    /// Where a card may go from each stage.
    pub fn stages(&self) -> &Moves {
        &self.inner.config.stages
    }

    /// The kind of cards to be read that a word stands for.
    pub fn kind(&self, word: &str) -> Result<CardKind> {
        if let Some(kind) = self.kinds().known(word) {
            return Ok(kind);
        }
        // Another program on the same store may know kinds that this one has not heard of.
        if store::has_kind(self.records().as_ref(), word)? {
            return CardKind::stored(word).ok_or_else(|| error::no_such_kind(word, self.kinds()));
        }
        Err(error::no_such_kind(word, self.kinds()))
    }

    /// Reads a document that names its kind, its name and its version.
    pub fn draft(&self, document: Value) -> Result<CardDraft> {
        CardDraft::read(document, None, self.kinds())
    }

    /// Reads a document for the card that a path names; what it says of its own name is not read.
    pub fn draft_named(
        &self,
        document: Value,
        kind: &str,
        name: &str,
        version: &str,
    ) -> Result<CardDraft> {
        let declared = self.kinds().declared(kind);
        let kind = declared.ok_or_else(|| error::bad_kind(kind, self.kinds()))?;
        CardDraft::read(document, Some((kind, name, version)), self.kinds())
    }

    /// Saves a card: a new revision when the content differs, none when it does not.
    pub fn save(
        &self,
        caller: &Caller,
        draft: &CardDraft,
        conditions: Conditions,
    ) -> Result<Saved> {
        self.change(caller, |plan| plan.save(draft, conditions, false))
    }

    /// A card that is there. `latest` may stand for its version.
    pub fn get(&self, kind: CardKind, name: &str, version: &str) -> Result<Card> {
        let key = self.resolve(kind, name, version)?;
        store::get(self.records().as_ref(), &key)
    }

    /// The key that a name and a version mean, in which `latest` may stand for the version.
    pub fn resolve(&self, kind: CardKind, name: &str, version: &str) -> Result<CardKey> {
        store::resolve(self.records().as_ref(), kind, name, version)
    }

    /// One revision of a card, also of one that was deleted.
    pub fn revision(&self, key: &CardKey, revision: u64) -> Result<Revision> {
        store::revision(self.records().as_ref(), key, revision)
    }

    /// Up to `limit + 1` revisions after number `after`, oldest first, also of a deleted card.
    pub fn history(&self, key: &CardKey, after: u64, limit: usize) -> Result<Vec<Revision>> {
        store::history(self.records().as_ref(), key, after, limit)
    }

    /// What changed between two revisions: up to the newest and from the one before it, unless told.
    pub fn diff(&self, key: &CardKey, from: Option<u64>, to: Option<u64>) -> Result<Diff> {
        let to = match to {
            Some(to) => to,
            None => store::newest(self.records().as_ref(), key)?.revision,
        };
        let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
        let (old, new) = (self.revision(key, from)?, self.revision(key, to)?);
        Ok(Diff { from, to, changes: between(&old.card, &new.card) })
    }

    /// Deletes a card. Its history stays readable, and a later save goes on from its last revision.
    pub fn delete(&self, caller: &Caller, key: &CardKey, conditions: Conditions) -> Result<Card> {
        self.change(caller, |plan| plan.delete(key, conditions))
    }

    /// Moves a card to another stage.
    pub fn stage(&self, caller: &Caller, key: &CardKey, to: Stage, comment: &str) -> Result<Card> {
        self.change(caller, |plan| plan.stage(key, to, comment, Conditions::default()))
    }

    /// The same for a call that may be a retry.
    pub fn stage_once(
        &self,
        caller: &Caller,
        key: &CardKey,
        to: Stage,
        comment: &str,
        conditions: Conditions,
        retry: Option<&Idempotency>,
    ) -> Result<Replayed> {
        self.write(caller, retry, |plan| plan.stage(key, to, comment, conditions))?.into_answer()
    }

    /// Up to `limit + 1` cards beyond the key `after`, in order of kind, name and version.
    pub fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Result<Vec<Card>> {
        store::list(self.records().as_ref(), filter, after, limit)
    }

    /// What a card is made from and what is made from it, at most `depth` steps far.
    pub fn lineage(
        &self,
        key: &CardKey,
        direction: Direction,
        depth: Option<usize>,
    ) -> Result<Lineage> {
        lineage::walk(self.records().as_ref(), self.kinds(), key, direction, depth)
    }

    /// What breaks if a card is retired or deleted.
    pub fn impact(&self, key: &CardKey) -> Result<Impact> {
        impact::of(self.records().as_ref(), self.kinds(), key)
    }

    /// Up to `limit` changes after number `after`, in order.
    pub fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>> {
        changes::read(self.records().as_ref(), after, limit)
    }

    /// Searches by words. See [`Search::q`] for what can be asked.
    pub fn search(&self, search: &Search) -> Result<Found> {
        search::search(self.records().as_ref(), &self.inner.indexer, search)
    }

    /// Waits until a search finds change `number`, for at most `time`; answers whether it does.
    pub fn wait_indexed(&self, number: u64, time: Duration) -> bool {
        self.inner.indexer.wait(number, time)
    }

    /// The number of the newest change.
    pub fn last_number(&self) -> Result<u64> {
        feed::last_number(self.records().as_ref())
    }

    /// Tells of every newer change, as a wake-up call: the number of the newest, none at the end.
    pub fn watch(&self) -> watch::Receiver<Option<u64>> {
        self.inner.newest.subscribe()
    }

    /// The store, for whoever follows the feed or reads the audit.
    pub fn records(&self) -> &SharedRecords {
        &self.inner.records
    }

    fn now(&self) -> Time {
        self.inner.clock.now()
    }

    fn answered(&self, retry: Option<&Idempotency>) -> Result<Option<Value>> {
        feed::answered(self.records().as_ref(), retry, self.inner.clock.now())
    }

    /// A change that may be a retry: the answer is remembered with it.
    fn write<T: Serialize>(
        &self,
        caller: &Caller,
        retry: Option<&Idempotency>,
        plan: impl Fn(&mut Plan<'_>) -> Result<T>,
    ) -> Result<Written<T>> {
        self.attempt(|| {
            if let Some(answer) = self.answered(retry)? {
                return Ok((Written::Before(answer), ChangeSet::new(), Vec::new()));
            }
            let now = self.inner.clock.now();
            let mut planned = Plan::new(self.records().as_ref(), &self.inner.config, caller, now);
            let answer = plan(&mut planned)?;
            let (mut set, events) = planned.finish();
            if retry.is_some() {
                set = feed::remember(set, retry, &as_json(&answer)?, now)?;
            }
            Ok((Written::Now(answer), set, events))
        })
    }

    fn change<T>(&self, caller: &Caller, plan: impl Fn(&mut Plan<'_>) -> Result<T>) -> Result<T> {
        self.attempt(|| {
            let now = self.inner.clock.now();
            let mut planned = Plan::new(self.records().as_ref(), &self.inner.config, caller, now);
            let answer = plan(&mut planned)?;
            let (set, events) = planned.finish();
            Ok((answer, set, events))
        })
    }

    /// Plans and applies, anew for as long as someone else was faster; then tells of it.
    fn attempt<T>(
        &self,
        mut plan: impl FnMut() -> Result<(T, ChangeSet, Vec<feed::Event>)>,
    ) -> Result<T> {
        let mut contended = String::new();
        for _ in 0..TRIES {
            let (answer, set, events) = plan()?;
            if set.changes.is_empty() && set.appends.is_empty() {
                return Ok(answer);
            }
            match self.inner.records.apply(set) {
                Ok(receipt) => {
                    self.tell(events, &receipt.numbers);
                    return Ok(answer);
                }
                Err(raced) if matches!(raced.code(), "stale_revision" | "row_exists") => {
                    contended = events.first().map(|e| e.subject.clone()).unwrap_or_default();
                }
                Err(failed) => return Err(failed),
            }
        }
        Err(error::too_busy(&contended))
    }

    fn tell(&self, events: Vec<feed::Event>, numbers: &[u64]) {
        for (mut event, number) in events.into_iter().zip(numbers) {
            event.number = *number;
            self.inner.bus.publish(&event);
        }
        if let Some(last) = numbers.last() {
            self.inner.heard(*last);
        }
    }
}

impl Inner {
    /// Wakes the indexer and the streams, when there is a newer change than they know of.
    fn heard(&self, number: u64) {
        if self.newest.borrow().is_some_and(|known| known >= number) {
            return;
        }
        self.indexer.wake(number);
        self.newest.send_if_modified(|newest| match newest {
            Some(known) if *known < number => {
                *known = number;
                true
            }
            _ => false,
        });
    }
}
