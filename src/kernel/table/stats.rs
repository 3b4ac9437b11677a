//! What a column holds at a glance.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cell::{Cell, CellRef};
use super::number;
use super::rows::column_at;
use super::schema::{Column, ColumnType};
use crate::kernel::Result;

/// One column at a glance. Values that are not finite numbers count as nulls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// The column.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// What it is measured in.
    pub unit: Option<String>,
    /// How many values it has, without nulls.
    pub count: u64,
    /// How many rows have none.
    pub nulls: u64,
    /// The least value.
    pub min: Value,
    /// The greatest value.
    pub max: Value,
    /// The mean of a column of numbers.
    pub mean: Option<f64>,
}

#[derive(Debug, Default)]
struct Running {
    count: u64,
    nulls: u64,
    least: Option<Cell>,
    most: Option<Cell>,
    mean: f64,
}

impl Running {
    fn add(&mut self, cell: CellRef<'_>) {
        let missing = match cell {
            CellRef::Null => true,
            CellRef::Float(number) => !number.is_finite(),
            _ => false,
        };
        if missing {
            self.nulls += 1;
            return;
        }
        self.count += 1;
        if self.least.as_ref().is_none_or(|least| cell.order(least.view()).is_lt()) {
            self.least = Some(cell.to_cell());
        }
        if self.most.as_ref().is_none_or(|most| cell.order(most.view()).is_gt()) {
            self.most = Some(cell.to_cell());
        }
        if let Some(number) = cell.number() {
            // A running mean does not overflow where a sum of large numbers would.
            self.mean += (number - self.mean) / number::count_to_float(number::index(self.count));
        }
    }

    fn finish(self, column: &Column) -> ColumnStats {
        let numeric = matches!(column.kind, ColumnType::Int | ColumnType::Float);
        let shown = |cell: Option<Cell>| cell.map_or(Value::Null, |cell| cell.view().to_json());
        ColumnStats {
            name: column.name.clone(),
            kind: column.kind,
            unit: column.unit.clone(),
            count: self.count,
            nulls: self.nulls,
            min: shown(self.least),
            max: shown(self.most),
            mean: (numeric && self.count > 0).then_some(self.mean),
        }
    }
}

/// The columns at a glance, in one pass over the rows.
pub(super) fn of(
    columns: &[Column],
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<Vec<ColumnStats>> {
    let mut running: Vec<Running> = columns.iter().map(|_| Running::default()).collect();
    for batch in batches {
        let batch = batch?;
        for (at, running) in running.iter_mut().enumerate() {
            let array = column_at(&batch, at)?;
            (0..batch.num_rows()).for_each(|row| running.add(array.get(row)));
        }
    }
    Ok(running.into_iter().zip(columns).map(|(running, column)| running.finish(column)).collect())
}
