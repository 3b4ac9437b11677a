//! What a scan's comparisons ask for, once SQLite has given their values. It may ask for more rows
//! than the comparisons mean, never for fewer: SQLite looks again.

use rusqlite::Result;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::vtab::Filters;

use super::index::Bound;
use super::shape::{Op, Shape};
use crate::kernel::Time;
use crate::kernel::table::cell::Cell;
use crate::kernel::table::scan::Filter;
use crate::kernel::table::schema::{Column, ColumnType};
use crate::kernel::table::{number, time_text};

/// The value of a comparison in the type of its column.
enum Probe {
    /// No row can meet it.
    Never,
    /// SQLite must say: the types differ in a way that only it knows to compare.
    Unknown,
    Value(Cell),
}

fn probe(kind: ColumnType, op: Op, value: ValueRef<'_>) -> Probe {
    // Up to here every whole number is a float.
    const EXACT: u64 = 1 << 53;
    match (kind, value) {
        (_, ValueRef::Null) => Probe::Never,
        (ColumnType::Int, ValueRef::Integer(whole)) => Probe::Value(Cell::Int(whole)),
        (ColumnType::Int, ValueRef::Real(number)) if matches!(op, Op::Equal | Op::OneOf) => {
            number::to_int(number).map_or(Probe::Never, |whole| Probe::Value(Cell::Int(whole)))
        }
        (ColumnType::Int | ColumnType::Float, ValueRef::Real(number)) => {
            Probe::Value(Cell::Float(number))
        }
        (ColumnType::Float, ValueRef::Integer(whole)) if whole.unsigned_abs() <= EXACT => {
            Probe::Value(Cell::Float(number::to_float(whole)))
        }
        (ColumnType::Text, ValueRef::Text(text)) => std::str::from_utf8(text)
            .map_or(Probe::Unknown, |text| Probe::Value(Cell::Text(text.to_owned()))),
        (ColumnType::Time, ValueRef::Text(text)) => std::str::from_utf8(text)
            .ok()
            .and_then(time_text::parse_partial)
            .map_or(Probe::Unknown, |micros| Probe::Value(Cell::Time(Time(micros)))),
        _ => Probe::Unknown,
    }
}

/// What the values of a scan's comparisons ask for.
#[derive(Default)]
pub(super) struct Demand {
    pub equal: Vec<(usize, Cell)>,
    one_of: Vec<(usize, Vec<Cell>)>,
    /// The column, and its bounds.
    ranges: Vec<(usize, Bound, Bound)>,
    /// A comparison on these columns could not be used.
    pub open: Vec<usize>,
}

impl Demand {
    /// Reads the values; `None` when no row can meet them.
    pub(super) fn read(
        shape: &Shape,
        columns: &[Column],
        args: &Filters<'_>,
    ) -> Result<Option<Self>> {
        let mut demand = Self::default();
        let mut values = args.iter();
        for (at, (column, op)) in shape.terms.iter().enumerate() {
            let kind = columns.get(*column).map_or(ColumnType::Text, |column| column.kind);
            let value = values.next().unwrap_or(ValueRef::Null);
            if *op == Op::OneOf {
                demand.read_list(*column, kind, args, at)?;
                continue;
            }
            match probe(kind, *op, value) {
                Probe::Never => return Ok(None),
                Probe::Unknown => demand.open.push(*column),
                Probe::Value(cell) => demand.add(*column, *op, cell),
            }
        }
        Ok(Some(demand))
    }

    fn read_list(
        &mut self,
        column: usize,
        kind: ColumnType,
        args: &Filters<'_>,
        at: usize,
    ) -> Result<()> {
        let mut list = args.in_values(at)?;
        let mut cells = Vec::new();
        let mut known = true;
        while let Some(value) = list.next()? {
            match probe(kind, Op::OneOf, value) {
                Probe::Never => {}
                Probe::Unknown => known = false,
                Probe::Value(cell) => cells.push(cell),
            }
        }
        if known {
            self.one_of.push((column, cells));
        }
        Ok(())
    }

    fn add(&mut self, column: usize, op: Op, cell: Cell) {
        // A fraction against whole numbers is compared as floats, where the nearest float may equal
        // it: the bound stays in, and SQLite looks again.
        let inclusive = matches!(op, Op::From | Op::To) || matches!(cell, Cell::Float(_));
        match op {
            Op::Equal | Op::OneOf => self.equal.push((column, cell)),
            Op::Above | Op::From => self.ranges.push((column, Some((cell, inclusive)), None)),
            Op::Below | Op::To => self.ranges.push((column, None, Some((cell, inclusive)))),
        }
    }

    pub(super) fn filters(&self, columns: &[Column]) -> Vec<Filter> {
        let name =
            |at: &usize| columns.get(*at).map_or_else(String::new, |column| column.name.clone());
        let equal = self.equal.iter().map(|(column, cell)| Filter::OneOf {
            column: name(column),
            values: vec![cell.clone()],
        });
        let one_of = self
            .one_of
            .iter()
            .map(|(column, cells)| Filter::OneOf { column: name(column), values: cells.clone() });
        let ranges = self.ranges.iter().map(|(column, from, to)| Filter::Range {
            column: name(column),
            from: from.clone(),
            to: to.clone(),
        });
        equal.chain(one_of).chain(ranges).collect()
    }

    /// The bounds on one column, narrowed by every comparison.
    pub(super) fn bounds(&self, column: usize) -> (Bound, Bound) {
        let mut from: Bound = None;
        let mut to: Bound = None;
        for (_, least, most) in self.ranges.iter().filter(|(of, ..)| *of == column) {
            if let Some((cell, _)) = least
                && from.as_ref().is_none_or(|(known, _)| cell.view().order(known.view()).is_gt())
            {
                from.clone_from(least);
            }
            if let Some((cell, _)) = most
                && to.as_ref().is_none_or(|(known, _)| cell.view().order(known.view()).is_lt())
            {
                to.clone_from(most);
            }
        }
        (from, to)
    }
}
