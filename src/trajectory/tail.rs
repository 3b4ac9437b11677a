//! Following the log as it grows. A follower keeps nothing but the number of the last record it saw
//! and reads what came since, from memory when it is fresh and from the segments when it is not: one
//! that reads slowly costs the writer nothing.
//!
//! One that falls too far behind while it is live is told how many records it is not shown, and goes
//! on with the newest. One that comes back with a number is given everything since.

use std::sync::Arc;

use tokio::sync::watch;

use super::error;
use super::model::Kept;
use super::payload::Records;
use super::query::Filter;
use super::shelf::Shelf;
use crate::kernel::error::Result;

/// A live follower that is so many records behind is brought to the front.
const BEHIND_MAX: u64 = 100_000;
/// A step looks at so many records.
const STEP_ROWS: u64 = 50_000;
/// A step answers at most so many records.
const STEP_ITEMS: usize = 500;
/// A step ends when its records weigh so much.
const STEP_BYTES: usize = 4 << 20;

/// What happened since the last step.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A record came in.
    Record(Box<Kept>),
    /// So many records are not shown: they are gone, damaged, or were too many. The last of them has
    /// the number `until`.
    Gap {
        /// How many.
        skipped: u64,
        /// The last one's number.
        until: u64,
    },
}

/// A follower of the log.
pub struct Tail {
    shelf: Arc<Shelf>,
    filter: Filter,
    seen: u64,
    live: bool,
    news: watch::Receiver<u64>,
}

impl Tail {
    /// Follows from the record after number `after`, or from now on.
    pub(super) fn new(shelf: Arc<Shelf>, filter: Filter, after: Option<u64>) -> Self {
        let news = shelf.follow();
        let last = shelf.last_seq();
        // A number from the future is of another log, or of a time before a disaster.
        let seen = after.map_or(last, |after| after.min(last));
        Self { shelf, filter, seen, live: seen == last, news }
    }

    /// The number of the last record that was looked at.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Waits until there is something to look at; false when the log has ended.
    pub async fn wait(&mut self) -> bool {
        let seen = self.seen;
        self.news.wait_for(|last| *last > seen).await.is_ok()
    }

    /// Looks at what came since, a bounded part of it; nothing when there is nothing new. It reads
    /// files: an async caller goes off its thread.
    pub fn step(&mut self) -> Result<Vec<Event>> {
        let last = self.shelf.last_seq();
        let mut events = Vec::new();
        if self.live && last.saturating_sub(self.seen) > BEHIND_MAX {
            self.skip(last, &mut events);
        }
        let stop = self.seen.saturating_add(STEP_ROWS);
        let mut weight = 0;
        while self.seen < last && self.seen < stop {
            let before = self.seen;
            let room = self.look(&mut events, &mut weight)?;
            if !room {
                break;
            }
            if self.seen == before {
                // Nothing holds the next record: what comes after it is where to go on.
                let next = self.next_place(before + 1).unwrap_or(last + 1);
                self.skip(next.min(last + 1) - 1, &mut events);
            }
        }
        self.live |= self.seen >= last;
        Ok(events)
    }

    fn skip(&mut self, until: u64, events: &mut Vec<Event>) {
        if until > self.seen {
            let skipped = until - self.seen;
            events.push(Event::Gap { skipped, until });
            self.seen = until;
        }
    }

    /// Reads what stands together from the next record on; false when there is no more room.
    fn look(&mut self, events: &mut Vec<Event>, weight: &mut usize) -> Result<bool> {
        let next = self.seen + 1;
        let filter = &self.filter;
        let mut seen = self.seen;
        let mut room = true;
        let mut one = |seq: u64, raw: &super::payload::Raw<'_>| {
            if seq <= seen {
                return true;
            }
            if !room {
                return false;
            }
            seen = seq;
            if filter.takes(raw) {
                *weight += raw.weight();
                let kept = Kept { seq, record: raw.to_record() };
                events.push(Event::Record(Box::new(kept)));
                room = events.len() < STEP_ITEMS && *weight < STEP_BYTES;
            }
            room
        };
        if let Some(fresh) = self.shelf.fresh(next) {
            for (seq, raw) in (fresh.first_seq..).zip(Records::new(&fresh.records)) {
                if !raw.is_some_and(|raw| one(seq, &raw)) {
                    break;
                }
            }
        } else if let Some((segment, extent)) = self.place_of(next) {
            let damage = segment
                .visit(&extent, one)
                .map_err(|source| error::io(format!("read {}", segment.name), source))?;
            self.shelf.report(damage);
        }
        self.seen = seen;
        Ok(room)
    }

    fn place_of(&self, seq: u64) -> Option<(Arc<super::segment::Segment>, super::segment::Extent)> {
        self.shelf.segments().into_iter().rev().find_map(|segment| {
            let extent = segment.with(|contents| {
                let at = contents.extents.partition_point(|extent| extent.next_seq() <= seq);
                contents.extents.get(at).filter(|extent| extent.first_seq <= seq).copied()
            });
            extent.map(|extent| (segment, extent))
        })
    }

    /// The number of the first record at `seq` or later that some extent holds.
    fn next_place(&self, seq: u64) -> Option<u64> {
        let firsts = self.shelf.segments().into_iter().filter_map(|segment| {
            segment.with(|contents| {
                let at = contents.extents.partition_point(|extent| extent.first_seq < seq);
                contents.extents.get(at).map(|extent| extent.first_seq)
            })
        });
        firsts.min()
    }
}
