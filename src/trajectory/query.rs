//! Asking for records: what is looked for, in which order, and from where on.
//!
//! Records are ordered by their time and, among equal times, by the order they came in. A page is
//! the best `limit` records beyond the cursor, so that a cursor stays right whatever comes in
//! meanwhile: nothing that was there when the first page was read is left out or comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error;
use super::matcher::{self, Expr, Message};
use super::model::{Kept, Level};
use super::payload::Raw;
use super::segment::{Extent, Segment};
use super::shelf::Shelf;
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::{Fault, Result};

/// The records of a page, unless told otherwise.
pub const LIMIT_DEFAULT: usize = 50;
/// The most records of a page.
pub const LIMIT_MAX: usize = 1000;
/// A page is ended early when its records weigh so much.
const PAGE_BYTES: usize = 32 << 20;

/// What records are looked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this time on.
    pub from: Option<Time>,
    /// Before this time.
    pub to: Option<Time>,
    /// Of this level and above.
    pub level: Option<Level>,
    /// Of this stream.
    pub stream: Option<String>,
    /// Of this run.
    pub run_id: Option<String>,
    /// With these fields; a dot leads inwards.
    pub fields: Vec<(String, String)>,
    text: Option<Expr>,
}

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
pub(super) struct Budget {
    pub(super) rows: u64,
    pub(super) time: Duration,
}

impl Filter {
    /// Looks for this text: see the grammar in the interface's page.
    pub fn with_text(mut self, text: &str) -> Result<Self> {
        self.text = matcher::parse(text)?;
        Ok(self)
    }

    /// Whether a record is looked for.
    pub(super) fn takes(&self, raw: &Raw<'_>) -> bool {
        self.from.is_none_or(|from| raw.time >= from)
            && self.to.is_none_or(|to| raw.time < to)
            && self.level.is_none_or(|level| raw.level >= level)
            && self.stream.as_deref().is_none_or(|stream| raw.stream == stream)
            && self.run_id.as_deref().is_none_or(|run| raw.run_id == Some(run))
            && self.text.as_ref().is_none_or(|text| text.matches(&Message::new(raw.message)))
            && self.takes_fields(raw)
    }

    fn takes_fields(&self, raw: &Raw<'_>) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        if !raw.has_fields() {
            return false;
        }
        let fields = Value::Object(raw.fields());
        self.fields.iter().all(|(name, wanted)| {
            look(&fields, name).is_some_and(|found| match found {
                Value::String(text) => text == wanted,
                other => {
                    let shown = other.to_string();
                    shown == *wanted
                }
            })
        })
    }

    fn may_take(&self, extent: &Extent) -> bool {
        self.from.is_none_or(|from| extent.tally.max >= from.0)
            && self.to.is_none_or(|to| extent.tally.min < to.0)
            && self.level.is_none_or(|level| extent.levels & level.and_above() != 0)
    }

    /// Whether damage is known in a segment that may hold what is looked for.
    pub(super) fn meets_damage(&self, shelf: &Shelf) -> bool {
        shelf.segments().iter().any(|segment| {
            segment.with(|contents| {
                !contents.damage.is_empty()
                    && contents.extents.iter().any(|extent| self.may_take(extent))
            })
        })
    }

    /// The extents that may hold what is looked for.
    pub(super) fn extents(&self, shelf: &Shelf) -> Vec<(Arc<Segment>, Extent)> {
        let mut extents = Vec::new();
        for segment in shelf.segments() {
            segment.with(|contents| {
                let elsewhere = self
                    .stream
                    .as_ref()
                    .is_some_and(|stream| !contents.streams.contains_key(stream));
                if !elsewhere {
                    let may = contents.extents.iter().filter(|extent| self.may_take(extent));
                    extents.extend(may.map(|extent| (segment.clone(), *extent)));
                }
            });
        }
        extents
    }
}

/// A field by its name, or by its names with dots between.
fn look<'a>(fields: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = fields.get(name) {
        return Some(found);
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let (outer, inner) = (name.get(..dot)?, name.get(dot + 1..)?);
        look(fields.get(outer)?, inner)
    })
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

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

impl Filter {
    /// Reads a filter from its parameters, and the values of the parameters that are `others`.
    pub fn from_pairs<'a>(
        pairs: &'a [(String, String)],
        others: &[&str],
    ) -> Result<(Self, BTreeMap<&'a str, &'a str>)> {
        let (filter, rest, faults) = Self::split(pairs, others);
        if faults.is_empty() { Ok((filter, rest)) } else { Err(error::bad_query(faults)) }
    }

    fn split<'a>(
        pairs: &'a [(String, String)],
        others: &[&str],
    ) -> (Self, BTreeMap<&'a str, &'a str>, Vec<Fault>) {
        let mut filter = Self::default();
        let mut faults = Vec::new();
        let mut rest = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (name, value) in pairs {
            if !name.starts_with("field.") && !seen.insert(name) {
                faults.push(Fault::new(short(name), "is given twice"));
            } else if others.contains(&name.as_str()) {
                rest.insert(name.as_str(), value.as_str());
            } else {
                filter.read(name, value, &mut faults);
            }
        }
        (filter, rest, faults)
    }

    fn read(&mut self, name: &str, text: &str, faults: &mut Vec<Fault>) {
        match name {
            // An empty parameter is what an empty box of a form sends: nothing is asked.
            "from" | "to" | "level" | "stream" | "run_id" | "q" if text.is_empty() => {}
            "from" => self.from = time("from", text, faults),
            "to" => self.to = time("to", text, faults),
            "level" => {
                self.level = Level::parse(text);
                if self.level.is_none() {
                    faults.push(Fault::new(
                        "level",
                        format!(
                            "is DEBUG, INFO, WARNING, ERROR or CRITICAL, not `{}`",
                            short(text)
                        ),
                    ));
                }
            }
            "stream" => self.stream = Some(text.to_owned()),
            "run_id" => self.run_id = Some(text.to_owned()),
            "q" => match matcher::parse(text) {
                Ok(expr) => self.text = expr,
                Err(error) => faults.extend(error.faults().iter().cloned()),
            },
            other => match other.strip_prefix("field.").filter(|field| !field.is_empty()) {
                Some(field) => self.fields.push((field.to_owned(), text.to_owned())),
                None => faults.push(Fault::new(
                    short(other),
                    "is no parameter of this call: from, to, level, stream, run_id, q, field.NAME",
                )),
            },
        }
    }
}

fn time(name: &str, text: &str, faults: &mut Vec<Fault>) -> Option<Time> {
    let parsed = super::ingest::time_from_text(text);
    if parsed.is_none() {
        faults.push(Fault::new(
            name,
            format!("is a time such as 2014-03-30T01:00:00Z, not `{}`", short(text)),
        ));
    }
    parsed
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

/// The place before which nothing of an extent comes.
fn edge(order: Order, extent: &Extent) -> Place {
    match order {
        Order::Newest => (extent.tally.max, u64::MAX),
        Order::Oldest => (extent.tally.min, 0),
    }
}

/// Answers a query.
pub(super) fn run(shelf: &Shelf, query: &Query, budget: Budget, clock: &dyn Clock) -> Result<Page> {
    let order = query.order;
    // One more than asked for tells whether there are more.
    let mut best = Best { order, limit: query.limit + 1, weight: 0, kept: BTreeMap::new() };
    let deadline = clock.now().after(budget.time);
    let mut incomplete = query.filter.meets_damage(shelf);
    let (mut rows, mut stopped) = (0_u64, None);
    for (segment, extent) in in_order(query, shelf) {
        let edge = edge(order, &extent);
        if !best.wants(edge) {
            break;
        }
        // Ending only beyond the cursor: the next page must come further than this one.
        let further = query.after.is_none_or(|after| comes_before(order, after, edge));
        if further && (rows >= budget.rows || clock.now() > deadline) {
            stopped = Some(edge);
            break;
        }
        let damage = segment.visit(&extent, |seq, raw| {
            rows += 1;
            let place = (raw.time.0, seq);
            let beyond = query.after.is_none_or(|after| comes_before(order, after, place));
            if beyond && best.wants(place) && query.filter.takes(raw) {
                best.put(place, raw);
            }
            true
        });
        let damage =
            damage.map_err(|source| error::io(format!("read {}", segment.name), source))?;
        incomplete |= !damage.is_empty();
        shelf.report(damage);
    }
    Ok(page(query, best, stopped, incomplete))
}

/// The extents that may hold something of the page, the one that may come first first.
fn in_order(query: &Query, shelf: &Shelf) -> Vec<(Arc<Segment>, Extent)> {
    let order = query.order;
    let mut extents = query.filter.extents(shelf);
    extents.retain(|(_, extent)| match (order, query.after) {
        (Order::Newest, Some(after)) => (extent.tally.min, 0) < after,
        (Order::Oldest, Some(after)) => (extent.tally.max, u64::MAX) > after,
        (_, None) => true,
    });
    extents.sort_by(|(_, left), (_, right)| match order {
        Order::Newest => {
            edge(order, right).cmp(&edge(order, left)).then(right.first_seq.cmp(&left.first_seq))
        }
        Order::Oldest => {
            edge(order, left).cmp(&edge(order, right)).then(left.first_seq.cmp(&right.first_seq))
        }
    });
    extents
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
