//! Asking for records: what is looked for, in which order, and from where on.
//!
//! Records are ordered by their time and, among equal times, by the order they came in. A page is
//! the best `limit` records beyond the cursor, so that a cursor stays right whatever comes in
//! meanwhile: nothing that was there when the first page was read is left out or comes twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::super::active::payload::Raw;
use super::super::active::segment::{Damage, Extent, Segment};
use super::super::error;
use super::super::model::Kept;
use super::super::sealed::Sealed;
use super::super::sealed::block::{Failed, Whole};
use super::super::sealed::layout::BlockV1;
use super::super::shelf::Shelf;
use super::chunk::{Chunk, block};
use super::filter::{Filter, short};
use super::select::{Selection, select};
use super::sweep::together;
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::{Error, Fault, Result};

/// The records of a page, unless told otherwise.
pub const LIMIT_DEFAULT: usize = 50;
/// The most records of a page.
pub const LIMIT_MAX: usize = 1000;
/// A page is ended early when its records weigh so much.
const PAGE_BYTES: usize = 32 << 20;
/// So many chunks are looked at before other threads help.
const ALONE: usize = 4;
/// So many threads search at most.
pub(crate) const THREADS_MAX: usize = 4;

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// Where a record stands in the order.
type Place = (i64, u64);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// What records.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
    after: Option<Place>,
}

impl Default for Query {
    fn default() -> Self {
        Self { filter: Filter::default(), order: Order::Newest, limit: LIMIT_DEFAULT, after: None }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Page {
    /// The records.
    pub items: Vec<Kept>,
    /// What to send as `cursor` for the next page; none at the end.
    pub next_cursor: Option<String>,
    /// Whether the search ended at its bound, or came upon damage, before it had seen everything.
    pub incomplete: bool,
}

/// How much one search may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) rows: u64,
    pub(crate) time: Duration,
}

impl Query {
    /// Reads a query from its parameters, as they stand behind the `?`. Every fault is named.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self> {
        let (filter, rest, mut faults) = Filter::split(pairs, &["cursor", "limit", "order"]);
        let mut query = Self { filter, ..Self::default() };
        match rest.get("limit").map(|text| (text, text.parse())) {
            None => {}
            Some((_, Ok(limit))) if (1..=LIMIT_MAX).contains(&limit) => query.limit = limit,
            Some((text, _)) => {
                let detail = format!("is a number from 1 to {LIMIT_MAX}, not `{}`", short(text));
                faults.push(Fault::new("limit", detail));
            }
        }
        match rest.get("order").copied() {
            None | Some("" | "desc" | "newest") => {}
            Some("asc" | "oldest") => query.order = Order::Oldest,
            Some(text) => {
                let detail = format!("is `desc` or `asc`, not `{}`", short(text));
                faults.push(Fault::new("order", detail));
            }
        }
        if !faults.is_empty() {
            return Err(error::bad_query(faults));
        }
        let cursor = rest.get("cursor").filter(|text| !text.is_empty());
        query.after = cursor.map(|text| open_cursor(text, query.order)).transpose()?;
        Ok(query)
    }
}

fn seal_cursor(order: Order, place: Place) -> String {
    let mut bytes = vec![u8::from(order == Order::Oldest)];
    bytes.extend_from_slice(&place.0.to_be_bytes());
    bytes.extend_from_slice(&place.1.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open_cursor(text: &str, order: Order) -> Result<Place> {
    let opened = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let (kind, place) = body.split_first()?;
        let (time, seq) = place.split_first_chunk::<8>()?;
        let sound = crc32c::crc32c(body) == u32::from_be_bytes(*crc)
            && *kind == u8::from(order == Order::Oldest);
        sound.then_some((i64::from_be_bytes(*time), u64::from_be_bytes(seq.try_into().ok()?)))
    });
    opened.ok_or_else(error::bad_cursor)
}

/// The best records so far, kept in order, never more than a page needs.
struct Best {
    order: Order,
    limit: usize,
    weight: usize,
    kept: BTreeMap<Place, (usize, Kept)>,
}

impl Best {
    /// The place of the last record of the page, once the page is full.
    fn worst(&self) -> Option<Place> {
        if self.kept.len() < self.limit {
            return None;
        }
        match self.order {
            Order::Newest => self.kept.first_key_value(),
            Order::Oldest => self.kept.last_key_value(),
        }
        .map(|(place, _)| *place)
    }

    fn wants(&self, place: Place) -> bool {
        self.worst().is_none_or(|worst| comes_before(self.order, place, worst))
    }

    fn put(&mut self, place: Place, raw: &Raw<'_>) {
        let weight = raw.weight();
        let kept = Kept { seq: place.1, record: raw.to_record() };
        self.weight += weight;
        self.kept.insert(place, (weight, kept));
        while self.kept.len() > self.limit || (self.weight > PAGE_BYTES && self.kept.len() > 1) {
            let dropped = match self.order {
                Order::Newest => self.kept.pop_first(),
                Order::Oldest => self.kept.pop_last(),
            };
            self.weight -= dropped.map_or(0, |(_, (weight, _))| weight);
            // A page that grew too heavy is shorter; the next one goes on from its end.
            self.limit = self.limit.min(self.kept.len());
        }
    }
}

fn comes_before(order: Order, left: Place, right: Place) -> bool {
    match order {
        Order::Newest => left > right,
        Order::Oldest => left < right,
    }
}

/// The place before which nothing of a chunk comes.
fn edge(order: Order, chunk: &Chunk) -> Place {
    match order {
        Order::Newest => (chunk.tally().max, u64::MAX),
        Order::Oldest => (chunk.tally().min, 0),
    }
}

/// What the threads that search share.
struct Search<'q> {
    shelf: &'q Shelf,
    query: &'q Query,
    budget: Budget,
    deadline: Time,
    clock: &'q dyn Clock,
    chunks: Vec<Chunk>,
    next: AtomicUsize,
    rows: AtomicU64,
    found: Mutex<Found>,
}

/// What they have found.
struct Found {
    best: Best,
    /// The number and the edge of the first chunk that was not looked at.
    stopped: Option<(usize, Place)>,
    incomplete: bool,
    failed: Option<Error>,
}

/// Answers a query.
pub(crate) fn run(shelf: &Shelf, query: &Query, budget: Budget, clock: &dyn Clock) -> Result<Page> {
    let order = query.order;
    // One more than asked for tells whether there are more.
    let best = Best { order, limit: query.limit + 1, weight: 0, kept: BTreeMap::new() };
    let incomplete = query.filter.meets_damage(shelf);
    let search = Search {
        shelf,
        query,
        budget,
        deadline: clock.now().after(budget.time),
        clock,
        chunks: in_order(query, shelf),
        next: AtomicUsize::new(0),
        rows: AtomicU64::new(0),
        found: Mutex::new(Found { best, stopped: None, incomplete, failed: None }),
    };
    // The newest records are mostly found at once, by whoever asks.
    while search.next.load(Ordering::Relaxed) < ALONE {
        if !search.step() {
            break;
        }
    }
    if search.is_going_on() {
        together(search.chunks.len(), &|| while search.step() {});
    }
    let found = search.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = found.failed {
        return Err(error);
    }
    let stopped = found.stopped.map(|(_, edge)| edge);
    Ok(page(query, found.best, stopped, found.incomplete))
}

impl Search<'_> {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_going_on(&self) -> bool {
        let found = self.found();
        let next = self.chunks.get(self.next.load(Ordering::Relaxed));
        let wanted = next.is_some_and(|chunk| found.best.wants(edge(self.query.order, chunk)));
        wanted && found.stopped.is_none() && found.failed.is_none()
    }

    /// Looks at the next chunk; false when there is nothing more to do.
    fn step(&self) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(chunk) = self.chunks.get(number) else { return false };
        let edge = edge(self.query.order, chunk);
        {
            let mut found = self.found();
            let stopped_before = found.stopped.is_some_and(|(before, _)| before < number);
            if found.failed.is_some() || stopped_before || !found.best.wants(edge) {
                return false;
            }
            // Ending only beyond the cursor: the next page must come further than this one.
            let further =
                self.query.after.is_none_or(|after| comes_before(self.query.order, after, edge));
            let spent = found.stopped.is_some()
                || self.rows.load(Ordering::Relaxed) >= self.budget.rows
                || self.clock.now() > self.deadline;
            if further && spent {
                // Chunks before this one are being looked at, those behind it are not.
                found.stopped = Some((number, edge));
                return false;
            }
        }
        let looked = match chunk {
            Chunk::Frames(segment, extent) => self.look_at_frames(segment, extent),
            Chunk::Block(sealed, number) => self.look_at_block(sealed, block(sealed, *number)),
        };
        let mut found = self.found();
        match looked {
            Ok(damage) => {
                found.incomplete |= !damage.is_empty();
                drop(found);
                self.shelf.report(damage);
                true
            }
            Err(error) => {
                found.failed.get_or_insert(error);
                false
            }
        }
    }

    fn is_beyond(&self, place: Place) -> bool {
        self.query.after.is_none_or(|after| comes_before(self.query.order, after, place))
    }

    fn look_at_frames(&self, segment: &Segment, extent: &Extent) -> Result<Vec<Damage>> {
        let may_be_in = |payload: &[u8]| self.query.filter.may_be_in(payload);
        let damage = segment.visit_where(extent, may_be_in, |seq, raw| {
            let place = (raw.time.0, seq);
            if self.is_beyond(place) && self.query.filter.takes(raw) {
                let mut found = self.found();
                if found.best.wants(place) {
                    found.best.put(place, raw);
                }
            }
            true
        });
        self.rows.fetch_add(extent.tally.count, Ordering::Relaxed);
        damage.map_err(|source| error::io(format!("read {}", segment.name), source))
    }

    fn look_at_block(&self, sealed: &Sealed, info: &BlockV1) -> Result<Vec<Damage>> {
        let mut damage = Vec::new();
        match self.look_inside(sealed, info, &mut damage) {
            Ok(()) => {}
            Err(Failed::Damaged(found)) => damage.push(*found),
            Err(Failed::Io(source)) => {
                return Err(error::io(format!("read {}", sealed.name), source));
            }
        }
        Ok(damage)
    }

    fn look_inside(
        &self,
        sealed: &Sealed,
        info: &BlockV1,
        damage: &mut Vec<Damage>,
    ) -> Result<(), Failed> {
        let Some(selection) = select(sealed, info, &self.query.filter, damage)? else {
            return Ok(());
        };
        self.rows.fetch_add(info.tally.count, Ordering::Relaxed);
        let wanted = self.best_of(&selection)?;
        if wanted.is_empty() {
            return Ok(());
        }
        let whole = Whole::read(&selection.block)?;
        let mut scratch = Vec::new();
        for (place, row) in wanted {
            let mut found = self.found();
            if !found.best.wants(place) {
                break;
            }
            found.best.put(place, &whole.raw(row as usize, &mut scratch));
        }
        Ok(())
    }

    /// The rows of a block that may be among the best, the best first, no more than a page has.
    fn best_of(&self, selection: &Selection<'_>) -> Result<Vec<(Place, u32)>, Failed> {
        let (times, seqs) = (selection.block.times()?, selection.block.seqs()?);
        let worst = self.found().best.worst();
        let order = self.query.order;
        let mut wanted: Vec<(Place, u32)> = selection
            .rows
            .iter()
            .filter_map(|row| {
                let place = (*times.get(*row as usize)?, *seqs.get(*row as usize)?);
                let wanted = self.is_beyond(place)
                    && worst.is_none_or(|worst| comes_before(order, place, worst));
                wanted.then_some((place, *row))
            })
            .collect();
        let first = |left: &(Place, u32), right: &(Place, u32)| match order {
            Order::Newest => right.0.cmp(&left.0),
            Order::Oldest => left.0.cmp(&right.0),
        };
        let limit = self.query.limit + 1;
        if wanted.len() > limit {
            wanted.select_nth_unstable_by(limit, first);
            wanted.truncate(limit);
        }
        wanted.sort_unstable_by(first);
        Ok(wanted)
    }
}

/// The chunks that may hold something of the page, the one that may come first first.
fn in_order(query: &Query, shelf: &Shelf) -> Vec<Chunk> {
    let order = query.order;
    let mut chunks = query.filter.chunks(shelf);
    chunks.retain(|chunk| match (order, query.after) {
        (Order::Newest, Some(after)) => (chunk.tally().min, 0) < after,
        (Order::Oldest, Some(after)) => (chunk.tally().max, u64::MAX) > after,
        (_, None) => true,
    });
    chunks.sort_by(|left, right| {
        let (near, far) = match order {
            Order::Newest => (right, left),
            Order::Oldest => (left, right),
        };
        edge(order, near).cmp(&edge(order, far)).then(near.first_seq().cmp(&far.first_seq()))
    });
    chunks
}

fn page(query: &Query, mut best: Best, stopped: Option<Place>, incomplete: bool) -> Page {
    let order = query.order;
    if let Some(stop) = stopped {
        // What comes behind the place where the search stopped may not be the best of its kind.
        best.kept.retain(|place, _| comes_before(order, *place, stop));
    }
    let full = best.limit;
    let mut kept: Vec<(Place, Kept)> =
        best.kept.into_iter().map(|(place, (_, kept))| (place, kept)).collect();
    if order == Order::Newest {
        kept.reverse();
    }
    // `full` is shorter than asked for when the records are heavy; then all of them are shown.
    let heavy = full <= query.limit;
    let more = kept.len() > query.limit || (heavy && kept.len() == full);
    kept.truncate(query.limit);
    let last = kept.last().map(|(place, _)| *place);
    let resume = match (more, stopped) {
        (true, _) => last,
        // No record stands at an edge itself: going on from it leaves nothing out.
        (false, Some(stop)) => Some(stop),
        (false, None) => None,
    };
    Page {
        items: kept.into_iter().map(|(_, kept)| kept).collect(),
        next_cursor: resume.map(|place| seal_cursor(order, place)),
        incomplete: incomplete || (stopped.is_some() && !more),
    }
}
