//! Following the log as it grows. A follower keeps nothing but the number of the last record it saw
//! and reads what came since, from memory when it is fresh and from the segments when it is not: one
//! that reads slowly costs the writer nothing.
//!
//! One that falls too far behind while it is live is told how many records it is not shown, and goes
//! on with the newest. One that comes back with a number is given everything since.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::active::payload::{Raw, Records, Shape};
use super::active::segment::{Extent, Segment};
use super::error;
use super::model::Kept;
use super::sealed::Sealed;
use super::sealed::block::{Block, Failed, Whole};
use super::search::filter::Filter;
use super::search::select::select;
use super::shelf::{Part, Shelf};
use crate::kernel::error::Result;

/// A live follower that is so many records behind is brought to the front.
const BEHIND_MAX: u64 = 100_000;
/// A step looks at so many records.
const STEP_ROWS: u64 = 50_000;
/// So much of a sealed segment is looked at in one go.
const STRETCH: u64 = 20_000;
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
    /// Whether it is given everything, however far it falls behind.
    patient: bool,
    news: watch::Receiver<u64>,
}

impl Tail {
    /// Follows from the record after number `after`, or from now on.
    pub(super) fn new(shelf: Arc<Shelf>, filter: Filter, after: Option<u64>) -> Self {
        let news = shelf.follow();
        let last = shelf.last_seq();
        // A number from the future is of another log, or of a time before a disaster.
        let seen = after.map_or(last, |after| after.min(last));
        Self { shelf, filter, seen, live: seen == last, patient: false, news }
    }

    /// The same, but never brought to the front: for one that passes everything on.
    #[cfg(feature = "mongo")]
    pub(super) fn patient(self) -> Self {
        Self { patient: true, ..self }
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
        if self.live && !self.patient && last.saturating_sub(self.seen) > BEHIND_MAX {
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
        if let Some(fresh) = self.shelf.fresh(next) {
            let mut step = Step::new(&self.filter, self.seen, events, weight);
            for (seq, raw) in (fresh.first_seq..).zip(Records::new(&fresh.records, Shape::Typed)) {
                if !raw.is_some_and(|raw| step.take(seq, &raw)) {
                    break;
                }
            }
            self.seen = step.seen;
            return Ok(step.room);
        }
        match self.place_of(next) {
            Some(Place::Frames(segment, extent)) => {
                let mut step = Step::new(&self.filter, self.seen, events, weight);
                let damage = segment
                    .visit(&extent, |seq, raw| step.take(seq, raw))
                    .map_err(|source| error::io(format!("read {}", segment.name), source))?;
                self.seen = step.seen;
                let room = step.room;
                self.shelf.report(damage);
                Ok(room)
            }
            Some(Place::Sealed(sealed)) => self.look_at_sealed(&sealed, events),
            None => Ok(true),
        }
    }

    /// Reads the next stretch of a sealed segment: its rows stand by stream, and are put in order.
    fn look_at_sealed(&mut self, sealed: &Sealed, events: &mut Vec<Event>) -> Result<bool> {
        let next = self.seen + 1;
        let mut until = sealed.next_seq.min(next + STRETCH) - 1;
        let mut stretch = Stretch::default();
        for (number, info) in sealed.footer.blocks.iter().enumerate() {
            if info.last_seq >= next && info.first_seq <= until {
                let looked = stretch.look(sealed, number, &self.filter, next..=until);
                self.settle(looked, sealed, &mut stretch)?;
            }
        }
        stretch.rows.sort_unstable();
        let room = (STEP_ITEMS - events.len().min(STEP_ITEMS)).min(stretch.room());
        if stretch.rows.len() > room {
            stretch.rows.truncate(room.max(1));
            until = stretch.rows.last().map_or(until, |(seq, ..)| *seq);
        }
        let missing =
            (until + 1 - next) - stretch.there.iter().filter(|seq| **seq <= until).count() as u64;
        let kept = self.records(sealed, &stretch.rows)?;
        events.extend(kept.into_iter().map(|kept| Event::Record(Box::new(kept))));
        if sealed.has_holes() && missing > 0 {
            events.push(Event::Gap { skipped: missing, until });
        }
        self.seen = until;
        Ok(events.len() < STEP_ITEMS)
    }

    fn settle(
        &self,
        looked: std::result::Result<(), Failed>,
        sealed: &Sealed,
        stretch: &mut Stretch,
    ) -> Result<()> {
        let mut damage = std::mem::take(&mut stretch.damage);
        match looked {
            Ok(()) => {}
            Err(Failed::Damaged(found)) => damage.push(*found),
            Err(Failed::Io(source)) => {
                return Err(error::io(format!("read {}", sealed.name), source));
            }
        }
        self.shelf.report(damage);
        Ok(())
    }

    /// The records of some rows, in their order.
    fn records(&self, sealed: &Sealed, rows: &[(u64, usize, u32)]) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        let blocks: std::collections::BTreeSet<usize> =
            rows.iter().map(|(_, block, _)| *block).collect();
        let mut scratch = Vec::new();
        for number in blocks {
            let Some(info) = sealed.footer.blocks.get(number) else { continue };
            let read = || -> std::result::Result<(), Failed> {
                let block = Block::open(sealed, info)?;
                let whole = Whole::read(&block)?;
                for (seq, _, row) in rows.iter().filter(|(_, block, _)| *block == number) {
                    let record = whole.raw(*row as usize, &mut scratch).to_record();
                    kept.push(Kept { seq: *seq, record });
                }
                Ok(())
            };
            let mut read = read;
            self.settle(read(), sealed, &mut Stretch::default())?;
        }
        kept.sort_by_key(|kept| kept.seq);
        Ok(kept)
    }

    fn place_of(&self, seq: u64) -> Option<Place> {
        self.shelf.parts().into_iter().rev().find_map(|part| match part {
            Part::Sealed(sealed) => {
                let holds = (sealed.first_seq..sealed.next_seq).contains(&seq);
                holds.then_some(Place::Sealed(sealed))
            }
            Part::Frames(segment) => {
                let extent = segment.with(|contents| {
                    let at = contents.extents.partition_point(|extent| extent.next_seq() <= seq);
                    contents.extents.get(at).filter(|extent| extent.first_seq <= seq).copied()
                });
                extent.map(|extent| Place::Frames(segment, extent))
            }
        })
    }

    /// The number of the first record at `seq` or later that some part holds.
    fn next_place(&self, seq: u64) -> Option<u64> {
        let firsts = self.shelf.parts().into_iter().filter_map(|part| match part {
            Part::Sealed(sealed) => (sealed.next_seq > seq).then_some(sealed.first_seq.max(seq)),
            Part::Frames(segment) => segment.with(|contents| {
                let at = contents.extents.partition_point(|extent| extent.first_seq < seq);
                contents.extents.get(at).map(|extent| extent.first_seq)
            }),
        });
        firsts.min()
    }
}

/// So many records on each side, unless told otherwise.
pub const CONTEXT_DEFAULT: usize = 10;
/// So many records on each side at most.
pub const CONTEXT_MAX: usize = 200;
/// So far on each side is looked.
const CONTEXT_SPAN: u64 = 200_000;

/// The records around one, in the order they came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Context {
    /// Those before it, itself, and those behind it.
    pub items: Vec<Kept>,
    /// Whether there may be more on a side than were looked for.
    pub incomplete: bool,
}

/// The records around one.
pub(super) fn context(shelf: &Arc<Shelf>, seq: u64, around: usize, alone: bool) -> Result<Context> {
    let gather = |filter: &Filter, after: u64, until: u64, enough: usize| -> Result<Vec<Kept>> {
        let mut tail = Tail::new(shelf.clone(), filter.clone(), Some(after));
        let mut found = Vec::new();
        while tail.seen() < until.min(shelf.last_seq()) && found.len() < enough {
            for event in tail.step()? {
                match event {
                    Event::Record(kept) if kept.seq <= until => found.push(*kept),
                    _ => {}
                }
            }
        }
        Ok(found)
    };
    let everything = Filter::default();
    let one = gather(&everything, seq.saturating_sub(1), seq, 1)?;
    let one = one.into_iter().find(|kept| kept.seq == seq).ok_or_else(|| error::no_record(seq))?;
    let stream = alone.then(|| one.record.stream.clone());
    let filter = Filter { stream, ..Filter::default() };
    // Backwards in stretches that grow, for nobody knows how far apart the records of a stream are.
    let mut span = around as u64 * 4;
    let mut before = loop {
        let from = seq.saturating_sub(span + 1);
        let before = gather(&filter, from, seq - 1, usize::MAX)?;
        if before.len() >= around || from == 0 || span >= CONTEXT_SPAN {
            break before;
        }
        span *= 8;
    };
    let incomplete = before.len() < around && seq.saturating_sub(span + 1) > 0;
    let mut items = before.split_off(before.len().saturating_sub(around));
    items.push(one);
    let mut behind = gather(&filter, seq, seq.saturating_add(CONTEXT_SPAN), around)?;
    behind.truncate(around);
    let incomplete = incomplete
        || (behind.len() < around && seq.saturating_add(CONTEXT_SPAN) < shelf.last_seq());
    items.extend(behind);
    Ok(Context { items, incomplete })
}

/// Where a record stands.
enum Place {
    Frames(Arc<Segment>, Extent),
    Sealed(Arc<Sealed>),
}

/// What one step takes, record by record, in order.
struct Step<'s> {
    filter: &'s Filter,
    seen: u64,
    room: bool,
    events: &'s mut Vec<Event>,
    weight: &'s mut usize,
}

impl<'s> Step<'s> {
    fn new(
        filter: &'s Filter,
        seen: u64,
        events: &'s mut Vec<Event>,
        weight: &'s mut usize,
    ) -> Self {
        Self { filter, seen, room: true, events, weight }
    }

    /// Takes a record; false when there is no room for the next one.
    fn take(&mut self, seq: u64, raw: &Raw<'_>) -> bool {
        if seq <= self.seen {
            return true;
        }
        if !self.room {
            return false;
        }
        self.seen = seq;
        if self.filter.takes(raw) {
            *self.weight += raw.weight();
            let kept = Kept { seq, record: raw.to_record() };
            self.events.push(Event::Record(Box::new(kept)));
            self.room = self.events.len() < STEP_ITEMS && *self.weight < STEP_BYTES;
        }
        self.room
    }
}

/// What a stretch of a sealed segment holds.
#[derive(Default)]
struct Stretch {
    /// The numbers that are there at all.
    there: Vec<u64>,
    /// The rows that are looked for: number, block, row.
    rows: Vec<(u64, usize, u32)>,
    damage: Vec<super::active::segment::Damage>,
    /// The bytes of a row of the heaviest block, on average.
    heaviest: usize,
}

impl Stretch {
    /// How many records weigh what a step may weigh, if they are like the heaviest block's.
    fn room(&self) -> usize {
        STEP_BYTES / self.heaviest.max(1)
    }

    fn look(
        &mut self,
        sealed: &Sealed,
        number: usize,
        filter: &Filter,
        stretch: std::ops::RangeInclusive<u64>,
    ) -> std::result::Result<(), Failed> {
        let Some(info) = sealed.footer.blocks.get(number) else { return Ok(()) };
        if sealed.has_holes() {
            let seqs = Block::open(sealed, info)?.seqs()?;
            self.there.extend(seqs.into_iter().filter(|seq| stretch.contains(seq)));
        }
        let elsewhere =
            filter.stream.as_ref().is_some_and(|stream| stream != sealed.stream_of(info));
        if elsewhere {
            return Ok(());
        }
        if let Some(selection) = select(sealed, info, filter, &mut self.damage)? {
            let row = usize::try_from(info.raw / info.tally.count.max(1)).unwrap_or(usize::MAX);
            self.heaviest = self.heaviest.max(row);
            let seqs = selection.block.seqs()?;
            for row in selection.rows {
                let seq = seqs.get(row as usize).copied().unwrap_or_default();
                if stretch.contains(&seq) {
                    self.rows.push((seq, number, row));
                }
            }
        }
        Ok(())
    }
}
