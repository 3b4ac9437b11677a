//! What readers see: the segments, what was written last, and what is known to be damaged. Only what
//! is durable ever comes here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::payload::{Tally, merge};
use super::segment::{Damage, Segment};

/// The newest payloads are kept in memory for those who follow, up to so many bytes.
const RECENT_BYTES: usize = 4 << 20;
/// Places of damage beyond this number are counted in the log only.
const DAMAGE_MAX: usize = 1000;

/// The records of a frame that was just written.
pub(super) struct Fresh {
    pub(super) first_seq: u64,
    pub(super) count: u64,
    /// The encoded records, without the ids.
    pub(super) records: Vec<u8>,
}

/// See the module's first line.
pub(super) struct Shelf {
    segments: RwLock<Vec<Arc<Segment>>>,
    fresh: Mutex<(usize, VecDeque<Arc<Fresh>>)>,
    damage: Mutex<BTreeSet<Damage>>,
    last_seq: watch::Sender<u64>,
}

impl Shelf {
    pub(super) fn new(segments: Vec<Arc<Segment>>, damage: Vec<Damage>, last_seq: u64) -> Self {
        Self {
            segments: RwLock::new(segments),
            fresh: Mutex::default(),
            damage: Mutex::new(damage.into_iter().collect()),
            last_seq: watch::channel(last_seq).0,
        }
    }

    /// The segments as of now, by number.
    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        change(&mut self.segments.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The segment that is written to.
    pub(super) fn active(&self) -> Option<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// Keeps what was just written at hand, and wakes those who follow.
    pub(super) fn publish(&self, fresh: Fresh) {
        let last = fresh.first_seq + fresh.count - 1;
        {
            let mut kept = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            kept.0 += fresh.records.len();
            kept.1.push_back(Arc::new(fresh));
            while kept.0 > RECENT_BYTES {
                let Some(old) = kept.1.pop_front() else { break };
                kept.0 -= old.records.len();
            }
        }
        self.last_seq.send_replace(last);
    }

    /// The fresh frame that holds record `seq`, if it is still at hand.
    pub(super) fn fresh(&self, seq: u64) -> Option<Arc<Fresh>> {
        let kept = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.1.partition_point(|fresh| fresh.first_seq + fresh.count <= seq);
        kept.1.get(at).filter(|fresh| fresh.first_seq <= seq).cloned()
    }

    /// The number of the newest record; 0 when there never was one.
    pub(super) fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    /// Tells of every new record.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.last_seq.subscribe()
    }

    /// Counts and times by stream.
    pub(super) fn streams(&self) -> BTreeMap<String, Tally> {
        let mut sum = BTreeMap::new();
        for segment in self.segments() {
            segment.with(|contents| merge(&mut sum, &contents.streams));
        }
        sum
    }

    fn damage_set(&self) -> MutexGuard<'_, BTreeSet<Damage>> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps damage that someone came upon.
    pub(super) fn report(&self, found: Vec<Damage>) {
        for damage in found {
            tracing::error!(segment = %damage.segment, offset = damage.offset, bytes = damage.bytes, "the log is damaged: {}", damage.what);
            let mut known = self.damage_set();
            if known.len() < DAMAGE_MAX {
                known.insert(damage);
            }
        }
    }

    /// Every place of damage that is known.
    pub(super) fn damage(&self) -> Vec<Damage> {
        self.damage_set().iter().cloned().collect()
    }

    /// Forgets damage of files that are gone.
    pub(super) fn forget_damage(&self, segment: &str) {
        self.damage_set().retain(|damage| damage.segment != segment);
    }
}
