//! A table held for a join, sorted by the columns it is looked up by: one structure answers equality
//! on several columns, a range on one more, and an order.

use std::cmp::Ordering;
use std::ops::Range;

use super::super::cell::{Cell, CellRef, ColumnArray};

/// The columns of a table held in memory, by their place in the table; those not needed are missing.
pub(super) struct Held {
    pub columns: Vec<Option<ColumnArray>>,
    pub rows: usize,
}

impl Held {
    pub(super) fn cell(&self, column: usize, row: usize) -> CellRef<'_> {
        match self.columns.get(column) {
            Some(Some(array)) => array.get(row),
            _ => CellRef::Null,
        }
    }
}

/// A bound of a range: a value, and whether it belongs to it.
pub(super) type Bound = Option<(Cell, bool)>;

/// Rows sorted by some columns.
pub(super) struct Index {
    keys: Vec<usize>,
    rows: Vec<u32>,
}

impl Index {
    /// Sorts the rows by `keys`; rows that are equal keep their order.
    pub(super) fn new(held: &Held, keys: Vec<usize>) -> Self {
        let count = u32::try_from(held.rows).unwrap_or(u32::MAX);
        let mut rows: Vec<u32> = (0..count).collect();
        rows.sort_by(|one, two| {
            keys.iter()
                .map(|key| held.cell(*key, at(*one)).order(held.cell(*key, at(*two))))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        Self { keys, rows }
    }

    /// The places of the rows whose first keys equal `equal` and whose next key lies within bounds.
    pub(super) fn find(
        &self,
        held: &Held,
        equal: &[Cell],
        from: &Bound,
        to: &Bound,
    ) -> Range<usize> {
        let prefix = |row: u32| {
            self.keys
                .iter()
                .zip(equal)
                .map(|(key, wanted)| held.cell(*key, at(row)).order(wanted.view()))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        let next = self.keys.get(equal.len()).copied();
        let value = |row: u32| next.map_or(CellRef::Null, |key| held.cell(key, at(row)));
        let before = |row: u32| {
            prefix(row).then_with(|| match from {
                Some((bound, inclusive)) => match value(row).order(bound.view()) {
                    Ordering::Equal if *inclusive => Ordering::Greater,
                    Ordering::Equal => Ordering::Less,
                    other => other,
                },
                // Null lies in no range.
                None if to.is_some() && value(row) == CellRef::Null => Ordering::Less,
                None => Ordering::Greater,
            })
        };
        let within = |row: u32| {
            prefix(row).then_with(|| match to {
                Some((bound, inclusive)) => match value(row).order(bound.view()) {
                    Ordering::Equal if *inclusive => Ordering::Less,
                    Ordering::Equal => Ordering::Greater,
                    other => other,
                },
                None => Ordering::Less,
            })
        };
        let start = self.rows.partition_point(|row| before(*row).is_lt());
        let end = self.rows.partition_point(|row| within(*row).is_lt());
        start..end.max(start)
    }

    pub(super) fn row(&self, place: usize) -> usize {
        self.rows.get(place).map_or(0, |row| at(*row))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn at(row: u32) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_lookup_finds_what_a_scan_finds(
            rows in proptest::collection::vec((0..4_i64, proptest::option::of(0..6_i64)), 0..60),
            wanted in 0..4_i64,
            from in proptest::option::of((0..6_i64, proptest::bool::ANY)),
            to in proptest::option::of((0..6_i64, proptest::bool::ANY)),
        ) {
            let first: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
            let second: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
            let held = Held {
                columns: [first, second].iter().map(|array| ColumnArray::of(array).ok()).collect(),
                rows: rows.len(),
            };
            let index = Index::new(&held, vec![0, 1]);
            let bound = |bound: Option<(i64, bool)>| bound.map(|(at, inclusive)| (Cell::Int(at), inclusive));
            let range = index.find(&held, &[Cell::Int(wanted)], &bound(from), &bound(to));
            let mut found: Vec<usize> = range.map(|place| index.row(place)).collect();
            found.sort_unstable();
            let expected: Vec<usize> = (0..rows.len()).filter(|at| {
                let (key, value) = rows[*at];
                let above = from.is_none_or(|(least, inclusive)| {
                    value.is_some_and(|value| value > least || (inclusive && value == least))
                });
                let below = to.is_none_or(|(most, inclusive)| {
                    value.is_some_and(|value| value < most || (inclusive && value == most))
                });
                key == wanted && above && below
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
