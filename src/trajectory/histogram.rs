//! How many records there are, by time and level.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error;
use super::model::Level;
use super::query::{Budget, Filter};
use super::shelf::Shelf;
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

/// Counts what a filter takes.
pub(super) fn run(
    shelf: &Shelf,
    filter: &Filter,
    buckets: usize,
    budget: Budget,
    clock: &dyn Clock,
) -> Result<Histogram> {
    let extents = filter.extents(shelf);
    let first = extents.iter().map(|(_, extent)| extent.tally.min).min();
    let last = extents.iter().map(|(_, extent)| extent.tally.max).max();
    let from = filter.from.map(|time| time.0).or(first);
    let to = filter.to.map(|time| time.0).or(last.map(|last| last.saturating_add(1)));
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(empty(filter));
    };
    let scale = Scale::new(from, to, buckets);
    let mut counts = vec![[0_u64; Level::ALL.len()]; scale.buckets];
    let deadline = clock.now().after(budget.time);
    let mut incomplete = filter.meets_damage(shelf);
    let mut rows = 0_u64;
    for (segment, extent) in extents {
        if rows >= budget.rows || clock.now() > deadline {
            incomplete = true;
            break;
        }
        let damage = segment.visit(&extent, |_, raw| {
            rows += 1;
            if filter.takes(raw)
                && let Some(bucket) = scale.bucket(raw.time.0).and_then(|at| counts.get_mut(at))
                && let Some(count) = bucket.get_mut(usize::from(raw.level.code()))
            {
                *count += 1;
            }
            true
        });
        let damage =
            damage.map_err(|source| error::io(format!("read {}", segment.name), source))?;
        incomplete |= !damage.is_empty();
        shelf.report(damage);
    }
    Ok(show(scale, &counts, incomplete))
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
