//! Which values a field has, and how often.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::super::active::payload::Raw;
use super::super::active::segment::Damage;
use super::super::scalar::Scalar;
use super::super::sealed::Sealed;
use super::super::sealed::block::Failed;
use super::super::sealed::layout::BlockV1;
use super::super::shelf::Shelf;
use super::condition::Condition;
use super::filter::Filter;
use super::query::Budget;
use super::select::{FieldReader, Selection, select};
use super::sweep::{Counting, sweep};
use crate::kernel::clock::Clock;
use crate::kernel::error::Result;

/// So many values are listed, unless told otherwise.
pub const VALUES_DEFAULT: usize = 20;
/// So many values are listed at most.
pub const VALUES_MAX: usize = 1000;
/// So many different values are counted; further ones are counted together.
const DISTINCT_MAX: usize = 100_000;

/// A value, and how many records have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ValueCount {
    /// A text as it is, anything else as JSON.
    pub value: String,
    /// How many records.
    pub count: u64,
}

/// The values of a field, the most frequent first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct TopValues {
    /// The field.
    pub field: String,
    /// The most frequent values.
    pub items: Vec<ValueCount>,
    /// How many different values there are; at least so many when `incomplete`.
    pub distinct: u64,
    /// How many records have the field.
    pub total: u64,
    /// How many records that are looked for do not have it.
    pub without: u64,
    /// Whether the count ended at its bound, or came upon damage, before it had seen everything.
    pub incomplete: bool,
}

#[derive(Default)]
struct Counts {
    values: HashMap<String, u64>,
    /// Of values beyond the bound.
    others: u64,
    without: u64,
}

impl Counts {
    fn note(&mut self, value: Option<&Scalar<'_>>) {
        match value {
            None => self.without += 1,
            Some(value) => self.add(&value.shown(), 1),
        }
    }

    fn add(&mut self, shown: &str, count: u64) {
        if let Some(sum) = self.values.get_mut(shown) {
            *sum += count;
        } else if self.values.len() < DISTINCT_MAX {
            self.values.insert(shown.to_owned(), count);
        } else {
            self.others += count;
        }
    }
}

struct Count<'q> {
    filter: &'q Filter,
    field: Condition,
}

/// Counts the values of a field in what a filter takes.
pub(crate) fn run(
    shelf: &Shelf,
    filter: &Filter,
    field: &str,
    limit: usize,
    budget: Budget,
    clock: &dyn Clock,
) -> Result<TopValues> {
    let count = Count { filter, field: Condition::plain(field) };
    let chunks = filter.chunks(shelf);
    let (counts, incomplete) = sweep(&count, filter, &chunks, shelf, budget, clock)?;
    let incomplete = incomplete || counts.others > 0;
    Ok(show(field, counts, limit, incomplete))
}

fn show(field: &str, counts: Counts, limit: usize, incomplete: bool) -> TopValues {
    let total = counts.values.values().sum::<u64>() + counts.others;
    let distinct = counts.values.len() as u64;
    let mut items: Vec<ValueCount> =
        counts.values.into_iter().map(|(value, count)| ValueCount { value, count }).collect();
    items.sort_by(|left, right| right.count.cmp(&left.count).then(left.value.cmp(&right.value)));
    items.truncate(limit);
    TopValues {
        field: field.to_owned(),
        items,
        distinct,
        total,
        without: counts.without,
        incomplete,
    }
}

impl Counting for Count<'_> {
    type Sum = Counts;

    fn count(&self, raw: &Raw<'_>, sum: &mut Counts) {
        let fields = raw.fields.to_map();
        let get = |name: &str| fields.get(name).map(Scalar::of);
        sum.note(self.field.value_of(&get).as_ref());
    }

    fn count_block(
        &self,
        sealed: &Sealed,
        info: &BlockV1,
        sum: &mut Counts,
        damage: &mut Vec<Damage>,
    ) -> Result<(), Failed> {
        if let Some(Selection { block, rows }) = select(sealed, info, self.filter, damage)? {
            let names = std::iter::once(self.field.name.as_str()).chain(self.field.outer_names());
            let reader = FieldReader::open(&block, names)?;
            for row in rows {
                sum.note(reader.value(&self.field, row as usize).as_ref());
            }
        }
        Ok(())
    }

    fn add(into: &mut Counts, other: Counts) {
        into.without += other.without;
        into.others += other.others;
        other.values.iter().for_each(|(value, count)| into.add(value, *count));
    }
}
