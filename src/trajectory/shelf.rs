//! What readers see: the segments, what was written last, and what is known to be damaged. Only what
//! is durable ever comes here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::active::payload::{Tally, merge};
use super::active::segment::{Damage, Segment};
use super::sealed::Sealed;

/// The newest payloads are kept in memory for those who follow, up to so many bytes.
const RECENT_BYTES: usize = 4 << 20;
/// Places of damage beyond this number are counted in the log only.
const DAMAGE_MAX: usize = 1000;

/// A part of the log: a file of frames, or one that is sealed.
#[derive(Clone)]
pub(crate) enum Part {
    Frames(Arc<Segment>),
    Sealed(Arc<Sealed>),
}

impl Part {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Frames(segment) => &segment.name,
            Self::Sealed(sealed) => &sealed.name,
        }
    }

    pub(crate) fn first_seq(&self) -> u64 {
        match self {
            Self::Frames(segment) => segment.header.first_seq,
            Self::Sealed(sealed) => sealed.first_seq,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Frames(segment) => segment.with(super::active::segment::Contents::count),
            Self::Sealed(sealed) => sealed.count(),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Frames(segment) => segment.with(|contents| contents.end),
            Self::Sealed(sealed) => sealed.bytes,
        }
    }

    fn add_streams(&self, sum: &mut BTreeMap<String, Tally>) {
        match self {
            Self::Frames(segment) => segment.with(|contents| merge(sum, &contents.streams)),
            Self::Sealed(sealed) => merge(sum, &sealed.streams),
        }
    }
}

/// The records of a frame that was just written.
pub(crate) struct Fresh {
    pub(crate) first_seq: u64,
    pub(crate) count: u64,
    /// The encoded records, without the ids.
    pub(crate) records: Vec<u8>,
}

/// See the module's first line.
pub(crate) struct Shelf {
    parts: RwLock<Vec<Part>>,
    fresh: Mutex<(usize, VecDeque<Arc<Fresh>>)>,
    damage: Mutex<BTreeSet<Damage>>,
    last_seq: watch::Sender<u64>,
}

impl Shelf {
    pub(crate) fn new(parts: Vec<Part>, damage: Vec<Damage>, last_seq: u64) -> Self {
        Self {
            parts: RwLock::new(parts),
            fresh: Mutex::default(),
            damage: Mutex::new(damage.into_iter().collect()),
            last_seq: watch::channel(last_seq).0,
        }
    }

    /// The parts as of now, by number.
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_parts(&self, change: impl FnOnce(&mut Vec<Part>)) {
        change(&mut self.parts.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The file of frames that is written to.
    pub(crate) fn active(&self) -> Option<Arc<Segment>> {
        match self.parts.read().unwrap_or_else(PoisonError::into_inner).last() {
            Some(Part::Frames(segment)) => Some(segment.clone()),
            _ => None,
        }
    }

    /// The files of frames that are written no more, the oldest first.
    pub(crate) fn closed(&self) -> Vec<Arc<Segment>> {
        let mut parts = self.parts();
        parts.pop();
        let frames = parts.into_iter().filter_map(|part| match part {
            Part::Frames(segment) => Some(segment),
            Part::Sealed(_) => None,
        });
        frames.collect()
    }

    /// Puts a segment in the place of others, at once for all who look.
    pub(crate) fn replace(&self, names: &[&str], by: Part) {
        self.change_parts(|parts| {
            let at = parts.iter().position(|part| names.contains(&part.name()));
            parts.retain(|part| !names.contains(&part.name()));
            parts.insert(at.unwrap_or(0).min(parts.len()), by);
        });
    }

    /// Keeps what was just written at hand, and wakes those who follow.
    pub(crate) fn publish(&self, fresh: Fresh) {
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
    pub(crate) fn fresh(&self, seq: u64) -> Option<Arc<Fresh>> {
        let kept = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.1.partition_point(|fresh| fresh.first_seq + fresh.count <= seq);
        kept.1.get(at).filter(|fresh| fresh.first_seq <= seq).cloned()
    }

    /// The number of the newest record; 0 when there never was one.
    pub(crate) fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    /// Tells of every new record.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.last_seq.subscribe()
    }

    /// Counts and times by stream.
    pub(crate) fn streams(&self) -> BTreeMap<String, Tally> {
        let mut sum = BTreeMap::new();
        self.parts().iter().for_each(|part| part.add_streams(&mut sum));
        sum
    }

    fn damage_set(&self) -> MutexGuard<'_, BTreeSet<Damage>> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps damage that someone came upon, and tells of it once.
    pub(crate) fn report(&self, found: Vec<Damage>) {
        for damage in found {
            let mut known = self.damage_set();
            if known.contains(&damage) {
                continue;
            }
            tracing::error!(segment = %damage.segment, offset = damage.offset, bytes = damage.bytes, "the log is damaged: {}", damage.what);
            if known.len() < DAMAGE_MAX {
                known.insert(damage);
            }
        }
    }

    /// Every place of damage that is known.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage_set().iter().cloned().collect()
    }

    /// Whether damage is known in a file.
    pub(crate) fn is_damaged(&self, name: &str) -> bool {
        self.damage_set().iter().any(|damage| damage.segment == name)
    }

    /// Forgets damage of files that are gone.
    pub(crate) fn forget_damage(&self, segment: &str) {
        self.damage_set().retain(|damage| damage.segment != segment);
    }
}
