//! How many records there are, by time and level.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::active::payload::Raw;
use super::super::active::segment::Damage;
use super::super::model::Level;
use super::super::sealed::Sealed;
use super::super::sealed::block::Failed;
use super::super::sealed::layout::BlockV1;
use super::super::shelf::Shelf;
use super::filter::Filter;
use super::query::Budget;
use super::select::select;
use super::sweep::{Counting, sweep};
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::Result;

/// The buckets, unless told otherwise.
pub const BUCKETS_DEFAULT: usize = 60;
/// The most buckets.
pub const BUCKETS_MAX: usize = 1000;

/// Some records of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Bucket {
    /// Where the stretch begins; it ends where the next one begins.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub time: Time,
    /// How many records of each level; levels without any are left out.
    pub counts: BTreeMap<String, u64>,
    /// How many records in all.
    pub total: u64,
}

/// Counts by time and level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Histogram {
    /// Where the first bucket begins.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub from: Option<Time>,
    /// Where the last bucket ends.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub to: Option<Time>,
    /// How many microseconds each bucket spans.
    pub bucket_micros: u64,
    /// The buckets, the oldest first; those without records are there too.
    pub items: Vec<Bucket>,
    /// How many records in all.
    pub total: u64,
    /// Whether the count ended at its bound, or came upon damage, before it had seen everything.
    pub incomplete: bool,
}

/// The stretch that is divided, and into how much each.
#[derive(Clone, Copy)]
struct Scale {
    from: i64,
    step: i64,
    buckets: usize,
}

impl Scale {
    /// Divides `from..to` so that `buckets` are enough.
    fn new(from: i64, to: i64, buckets: usize) -> Self {
        let span = to.saturating_sub(from).max(1);
        let many = i64::try_from(buckets).unwrap_or(i64::MAX).max(1);
        let step = span / many + i64::from(span % many != 0);
        let needed = span / step + i64::from(span % step != 0);
        Self { from, step, buckets: usize::try_from(needed).unwrap_or(buckets) }
    }

    fn bucket(self, time: i64) -> Option<usize> {
        usize::try_from(time.checked_sub(self.from)? / self.step).ok()
    }

    fn begin(self, bucket: usize) -> Time {
        let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
        Time(self.from.saturating_add(self.step.saturating_mul(bucket)))
    }
}

/// Counts by bucket and level.
struct Count<'q> {
    filter: &'q Filter,
    scale: Scale,
}

/// What one thread has counted: by bucket and level.
#[derive(Default)]
struct Counts(Vec<[u64; Level::ALL.len()]>);

/// Counts what a filter takes.
pub(crate) fn run(
    shelf: &Shelf,
    filter: &Filter,
    buckets: usize,
    budget: Budget,
    clock: &dyn Clock,
) -> Result<Histogram> {
    let chunks = filter.chunks(shelf);
    let first = chunks.iter().map(|chunk| chunk.tally().min).min();
    let last = chunks.iter().map(|chunk| chunk.tally().max).max();
    let from = filter.from.map(|time| time.0).or(first);
    let to = filter.to.map(|time| time.0).or(last.map(|last| last.saturating_add(1)));
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(empty(filter));
    };
    let count = Count { filter, scale: Scale::new(from, to, buckets) };
    let (mut counts, incomplete) = sweep(&count, filter, &chunks, shelf, budget, clock)?;
    counts.0.resize(count.scale.buckets, [0; Level::ALL.len()]);
    Ok(show(count.scale, &counts.0, incomplete))
}

impl Counting for Count<'_> {
    type Sum = Counts;

    fn count(&self, raw: &Raw<'_>, sum: &mut Counts) {
        self.note(sum, raw.time.0, usize::from(raw.level.code()), 1);
    }

    fn count_block(
        &self,
        sealed: &Sealed,
        info: &BlockV1,
        sum: &mut Counts,
        damage: &mut Vec<Damage>,
    ) -> Result<(), Failed> {
        let (min, max) = (info.tally.min, info.tally.max);
        let is_within = self.filter.from.is_none_or(|from| min >= from.0)
            && self.filter.to.is_none_or(|to| max < to.0);
        if self.filter.is_plain() && is_within && self.scale.bucket(min) == self.scale.bucket(max) {
            // What the footer says of the block is all that is asked.
            let least = self.filter.level.map_or(0, |level| usize::from(level.code()));
            for (level, rows) in info.levels.iter().enumerate().skip(least) {
                self.note(sum, min, level, u64::from(*rows));
            }
            return Ok(());
        }
        if let Some(selection) = select(sealed, info, self.filter, damage)? {
            let (times, levels) = (selection.block.times()?, selection.block.levels()?);
            for row in selection.rows {
                let row = row as usize;
                let level = levels.get(row).copied().unwrap_or_default();
                self.note(sum, times.get(row).copied().unwrap_or_default(), usize::from(level), 1);
            }
        }
        Ok(())
    }

    fn add(into: &mut Counts, other: Counts) {
        if into.0.len() < other.0.len() {
            into.0.resize(other.0.len(), [0; Level::ALL.len()]);
        }
        for (sum, own) in into.0.iter_mut().flatten().zip(other.0.into_iter().flatten()) {
            *sum += own;
        }
    }
}

impl Count<'_> {
    fn note(&self, sum: &mut Counts, time: i64, level: usize, rows: u64) {
        let Some(bucket) = self.scale.bucket(time).filter(|bucket| *bucket < self.scale.buckets)
        else {
            return;
        };
        if sum.0.len() <= bucket {
            sum.0.resize(self.scale.buckets, [0; Level::ALL.len()]);
        }
        if let Some(count) = sum.0.get_mut(bucket).and_then(|bucket| bucket.get_mut(level)) {
            *count += rows;
        }
    }
}

fn empty(filter: &Filter) -> Histogram {
    Histogram {
        from: filter.from,
        to: filter.to,
        bucket_micros: 0,
        items: Vec::new(),
        total: 0,
        incomplete: false,
    }
}

fn show(scale: Scale, counts: &[[u64; Level::ALL.len()]], incomplete: bool) -> Histogram {
    let items: Vec<Bucket> = counts
        .iter()
        .enumerate()
        .map(|(at, counts)| Bucket {
            time: scale.begin(at),
            counts: Level::ALL
                .iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(|(level, count)| (level.to_string(), *count))
                .collect(),
            total: counts.iter().sum(),
        })
        .collect();
    Histogram {
        from: Some(Time(scale.from)),
        to: Some(scale.begin(scale.buckets)),
        bucket_micros: u64::try_from(scale.step).unwrap_or_default(),
        total: items.iter().map(|bucket| bucket.total).sum(),
        items,
        incomplete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_time_of_the_stretch_has_its_bucket(from in -1_000_000_i64..1_000_000, span in 1_i64..1_000_000, buckets in 1_usize..50, part in 0.0_f64..1.0) {
            let scale = Scale::new(from, from + span, buckets);
            prop_assert!(scale.buckets >= 1 && scale.buckets <= buckets);
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]
            let time = (from + (span as f64 * part) as i64).min(from + span - 1);
            let bucket = scale.bucket(time).unwrap();
            prop_assert!(bucket < scale.buckets);
            prop_assert!(scale.begin(bucket).0 <= time && time < scale.begin(bucket + 1).0);
        }
    }
}
