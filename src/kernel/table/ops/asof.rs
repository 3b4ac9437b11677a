//! Joins to the last row before a time.

use std::collections::HashMap;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;

use super::super::cell::{CellRef, ColumnArray};
use super::super::rows::column_at;
use super::super::scan::place;
use super::super::schema::{arrow_schema, batch_of};
use super::super::{Column, ColumnType, Table, error, number};
use crate::kernel::Result;

/// How to join to the last row before a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    /// The column of times in the left table.
    pub left_time: String,
    /// The column of times in the right table.
    pub right_time: String,
    /// Columns that must be equal, such as the turbine, left and right.
    pub by: Option<(String, String)>,
    /// How old a row on the right may be.
    pub tolerance: Option<Duration>,
}

/// Every row on the left, with the columns of the last row on the right whose time is not after its
/// own. Where there is none they are null. A column whose name the left table has too is named
/// `right_…`.
pub fn asof_join(left: &Table, right: &Table, how: &AsOf) -> Result<Table> {
    let (ours, theirs) = (left.as_batch()?, right.as_batch()?);
    let left_time = time_column(left, &how.left_time, &ours)?;
    let right_time = time_column(right, &how.right_time, &theirs)?;
    let mut sorted: Vec<usize> =
        (0..theirs.num_rows()).filter(|row| right_time.get(*row) != CellRef::Null).collect();
    sorted.sort_by(|one, two| right_time.get(*one).order(right_time.get(*two)));
    let (left_key, right_key) = match &how.by {
        Some((left_key, right_key)) => (
            Some(ColumnArray::of(ours.column(place(left_key, left.schema())?))?),
            Some(ColumnArray::of(theirs.column(place(right_key, right.schema())?))?),
        ),
        None => (None, None),
    };
    let mut by_key: HashMap<Key, Vec<usize>> = HashMap::new();
    for row in sorted {
        by_key.entry(Key::of(right_key.as_ref(), row)).or_default().push(row);
    }
    let tolerance = how.tolerance.map(|span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
    let find = |row: usize| -> Option<u32> {
        let CellRef::Time(time) = left_time.get(row) else {
            return None;
        };
        let rows = by_key
            .get(&Key::of(left_key.as_ref(), row))
            .filter(|_| !Key::is_null(left_key.as_ref(), row))?;
        let after =
            rows.partition_point(|at| right_time.get(*at).order(CellRef::Time(time)).is_le());
        let at = *rows.get(after.checked_sub(1)?)?;
        let CellRef::Time(found) = right_time.get(at) else {
            return None;
        };
        let near = tolerance.is_none_or(|tolerance| time.saturating_sub(found) <= tolerance);
        near.then(|| u32::try_from(at).ok()).flatten()
    };
    let matches: UInt32Array = (0..ours.num_rows()).map(find).collect();
    put_together(left, right, how, &matches)
}

fn put_together(left: &Table, right: &Table, how: &AsOf, matches: &UInt32Array) -> Result<Table> {
    let (ours, theirs) = (left.as_batch()?, right.as_batch()?);
    let mut columns = left.schema().to_vec();
    let mut arrays = ours.columns().to_vec();
    for (column, array) in right.schema().iter().zip(theirs.columns()) {
        let key = how.by.as_ref().is_some_and(|(_, key)| *key == column.name);
        if key {
            continue;
        }
        let taken = columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name));
        let name = if taken { format!("right_{}", column.name) } else { column.name.clone() };
        columns.push(Column { name, ..column.clone() });
        arrays.push(if theirs.num_rows() == 0 {
            new_null_array(array.data_type(), matches.len())
        } else {
            take(array, matches, None).map_err(|source| error::arrow("join rows", source))?
        });
    }
    let schema = arrow_schema(&columns);
    let batch = batch_of(&schema, arrays, ours.num_rows())?;
    Table::of_conforming(schema, vec![batch])
}

fn time_column(table: &Table, name: &str, batch: &RecordBatch) -> Result<ColumnArray> {
    let at = place(name, table.schema())?;
    match table.schema().get(at) {
        Some(column) if column.kind != ColumnType::Time => Err(error::not_time(column)),
        _ => column_at(batch, at),
    }
}

/// A value that rows are joined by.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    None,
    Number(i64),
    Float(u64),
    Text(String),
}

impl Key {
    fn of(column: Option<&ColumnArray>, row: usize) -> Self {
        match column.map(|column| column.get(row)) {
            None | Some(CellRef::Null) => Self::None,
            Some(CellRef::Int(number) | CellRef::Time(number)) => Self::Number(number),
            Some(CellRef::Bool(truth)) => Self::Number(i64::from(truth)),
            Some(CellRef::Float(number)) => match number::to_int(number) {
                Some(whole) => Self::Number(whole),
                None => Self::Float(number.to_bits()),
            },
            Some(CellRef::Text(text)) => Self::Text(text.to_owned()),
        }
    }

    fn is_null(column: Option<&ColumnArray>, row: usize) -> bool {
        column.is_some_and(|column| column.get(row) == CellRef::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{scada, table};
    use super::*;

    #[test]
    fn an_asof_join_looks_back_and_not_too_far() {
        let weather = table(&json!([
            {"t": "2014-01-01T00:30:00Z", "who": "A", "temp": 3.0},
            {"t": "2013-12-31T23:00:00Z", "who": "A", "temp": 1.0},
            {"t": "2014-01-01T00:00:00Z", "who": "B", "temp": 2.0},
        ]));
        let mut how =
            AsOf { left_time: "t".into(), right_time: "t".into(), by: None, tolerance: None };
        let joined = |how: &AsOf| {
            let table = asof_join(&scada(), &weather, how).unwrap();
            table
                .column("temp")
                .unwrap()
                .iter()
                .map(|cell| cell.view().number())
                .collect::<Vec<_>>()
        };
        assert_eq!(joined(&how), [Some(2.0), Some(2.0), Some(3.0), Some(3.0), None]);
        how.by = Some(("who".into(), "who".into()));
        assert_eq!(joined(&how), [Some(2.0), Some(1.0), Some(3.0), Some(3.0), None]);
        how.tolerance = Some(Duration::from_mins(30));
        assert_eq!(joined(&how), [Some(2.0), None, Some(3.0), Some(3.0), None]);
        let names: Vec<_> = asof_join(&scada(), &weather, &how)
            .unwrap()
            .schema()
            .iter()
            .map(|c| c.name.clone())
            .collect();
        assert_eq!(names, ["t", "who", "p", "n", "right_t", "temp"]);
        let empty = asof_join(&scada(), &weather.slice(0, 0).unwrap(), &how).unwrap();
        assert_eq!(empty.rows(), 5);
    }
}
