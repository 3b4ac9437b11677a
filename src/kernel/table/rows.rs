//! The table in memory.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{Schema, SchemaRef};
use serde_json::{Map, Value};

use super::cell::ColumnArray;
use super::scan::{Batches, Plan, Scan, place};
use super::schema::{Column, ColumnType, arrow_schema, columns_of, conform};
use super::stats::{self, ColumnStats};
use super::{Cell, error, json, number};
use crate::kernel::{Error, Result, Time};

/// A table in memory: it never changes, and a clone shares its rows.
#[derive(Debug, Clone)]
pub struct Table(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    columns: Vec<Column>,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
}

/// One column to sort by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
}

impl Order {
    /// Smallest first; nothing before everything.
    pub fn by(column: impl Into<String>) -> Self {
        Self { column: column.into(), descending: false }
    }

    /// Largest first; nothing after everything.
    pub fn by_descending(column: impl Into<String>) -> Self {
        Self { column: column.into(), descending: true }
    }
}

impl Table {
    /// A table without rows.
    pub fn empty(columns: &[Column]) -> Result<Self> {
        Self::from_batches(&arrow_schema(columns), Vec::new())
    }

    /// A table of Arrow batches of any types that fit the five; others are refused by name.
    pub fn from_batches(schema: &Schema, batches: Vec<RecordBatch>) -> Result<Self> {
        let canonical = arrow_schema(&columns_of(schema)?);
        let batches = batches
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| conform(batch, &canonical))
            .collect::<Result<_>>()?;
        Self::of_conforming(canonical, batches)
    }

    /// A table of batches that have the five types already.
    pub(super) fn of_conforming(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        let columns = columns_of(&schema)?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Ok(Self(Arc::new(Inner { columns, schema, batches, rows })))
    }

    /// A table of JSON objects. A column is as they hold it; text that is a time in every row becomes
    /// one.
    pub fn from_rows(rows: &[Value]) -> Result<Self> {
        json::from_values(rows)
    }

    /// The rows as JSON objects, times as text; null where JSON has no number for it.
    pub fn to_rows(&self) -> Vec<Value> {
        let mut rows = Vec::with_capacity(self.rows());
        for batch in &self.0.batches {
            let columns = typed(batch);
            for row in 0..batch.num_rows() {
                let cells = self.0.columns.iter().zip(&columns);
                let object: Map<_, _> = cells
                    .map(|(column, array)| (column.name.clone(), array.get(row).to_json()))
                    .collect();
                rows.push(Value::Object(object));
            }
        }
        rows
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.0.rows
    }

    /// The columns.
    pub fn schema(&self) -> &[Column] {
        &self.0.columns
    }

    /// The columns as Arrow has them.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    /// The rows as Arrow batches.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.0.batches
    }

    /// How much memory the rows take, about.
    pub fn bytes(&self) -> usize {
        self.0.batches.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// The values of one column.
    pub fn column(&self, name: &str) -> Result<Vec<Cell>> {
        let at = place(name, self.schema())?;
        let mut cells = Vec::with_capacity(self.rows());
        for batch in &self.0.batches {
            let array = column_at(batch, at)?;
            cells.extend((0..batch.num_rows()).map(|row| array.get(row).to_cell()));
        }
        Ok(cells)
    }

    /// The table with a unit for one of its columns.
    pub fn with_unit(&self, column: &str, unit: &str) -> Result<Self> {
        let at = place(column, self.schema())?;
        let mut columns = self.0.columns.clone();
        if let Some(column) = columns.get_mut(at) {
            column.unit = (!unit.is_empty()).then(|| unit.to_owned());
        }
        let schema = arrow_schema(&columns);
        let batches =
            self.0.batches.iter().map(|batch| conform(batch, &schema)).collect::<Result<_>>()?;
        Self::of_conforming(schema, batches)
    }

    /// The rows and columns that a scan asks for.
    pub fn scan(&self, scan: &Scan) -> Result<Self> {
        self.batches_of(scan)?.collect_table()
    }

    /// As [`Table::scan`], batch by batch.
    pub fn batches_of(&self, scan: &Scan) -> Result<Batches> {
        let plan = Plan::new(scan, self.schema())?;
        let read = plan.read.clone();
        let table = self.clone();
        let count = self.0.batches.len();
        let batches =
            (0..count).filter_map(move |at| table.0.batches.get(at).cloned()).map(move |batch| {
                batch.project(&read).map_err(|source| error::arrow("choose columns", source))
            });
        Ok(plan.run(batches))
    }

    /// Only these columns, in this order.
    pub fn select<S: AsRef<str>>(&self, columns: &[S]) -> Result<Self> {
        self.scan(&Scan::all().columns(columns.iter().map(AsRef::as_ref)))
    }

    /// Only rows with `start <= time < end`.
    pub fn between(&self, column: &str, start: Option<Time>, end: Option<Time>) -> Result<Self> {
        self.scan(&Scan::all().time(column, start, end))
    }

    /// Only rows where the column has one of these values.
    pub fn having<C: Into<Cell>>(
        &self,
        column: &str,
        values: impl IntoIterator<Item = C>,
    ) -> Result<Self> {
        self.scan(&Scan::all().entity(column, values))
    }

    /// At most `limit` rows after the first `offset`.
    pub fn slice(&self, offset: usize, limit: usize) -> Result<Self> {
        self.scan(&Scan::all().offset(offset).limit(limit))
    }

    /// Sorted; rows that are equal keep their order.
    pub fn sort_by(&self, orders: &[Order]) -> Result<Self> {
        if orders.is_empty() || self.rows() < 2 {
            return Ok(self.clone());
        }
        let whole = self.as_batch()?;
        let mut keys = Vec::with_capacity(orders.len() + 1);
        for order in orders {
            let at = place(&order.column, self.schema())?;
            let options =
                SortOptions { descending: order.descending, nulls_first: !order.descending };
            let values =
                whole.columns().get(at).cloned().ok_or_else(|| Error::internal("no column"))?;
            keys.push(SortColumn { values, options: Some(options) });
        }
        let rows = u32::try_from(whole.num_rows())
            .map_err(|_many| error::too_large("the table to sort", format!("{} rows", u32::MAX)))?;
        // The sort is not stable: the place of the row is the last key.
        let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows));
        keys.push(SortColumn { values: places, options: None });
        let sorted = lexsort_to_indices(&keys, None)
            .and_then(|places| take_record_batch(&whole, &places))
            .map_err(|source| error::arrow("sort the table", source))?;
        Self::of_conforming(self.arrow_schema(), vec![sorted])
    }

    /// Tables of the same columns, one after the other. The first one's order of columns holds;
    /// whole numbers become floats where another table has floats, and a column of nothing fits all.
    pub fn concat(tables: &[Self]) -> Result<Self> {
        let Some(first) = tables.first() else {
            return Err(Error::new(
                crate::kernel::Kind::Invalid,
                "bad_table",
                "there is no table to put together",
            ));
        };
        let mut columns = first.0.columns.clone();
        let mut faults = Vec::new();
        for (at, table) in tables.iter().enumerate().skip(1) {
            faults.extend(join_columns(&mut columns, first, table, at + 1));
        }
        error::refuse_columns(faults)?;
        let schema = arrow_schema(&columns);
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let mut batches = Vec::new();
        for table in tables {
            for batch in table.select(&names)?.batches() {
                batches.push(conform_nulls(batch, &schema)?);
            }
        }
        Self::of_conforming(schema, batches)
    }

    /// Every row in one batch.
    pub(super) fn as_batch(&self) -> Result<RecordBatch> {
        match self.0.batches.as_slice() {
            [one] => Ok(one.clone()),
            many => concat_batches(&self.0.schema, many)
                .map_err(|source| error::arrow("put rows together", source)),
        }
    }

    /// Count, nulls, least, greatest and mean of every column.
    pub fn stats(&self) -> Result<Vec<ColumnStats>> {
        stats::of(self.schema(), self.0.batches.iter().cloned().map(Ok))
    }
}

/// The columns of a batch, typed. A table holds only the five types, so none is left out.
pub(super) fn typed(batch: &RecordBatch) -> Vec<ColumnArray> {
    batch.columns().iter().filter_map(|array| ColumnArray::of(array).ok()).collect()
}

/// One column of a batch, typed.
pub(super) fn column_at(batch: &RecordBatch, at: usize) -> Result<ColumnArray> {
    let array = batch.columns().get(at).ok_or_else(|| Error::internal("a batch lost a column"))?;
    ColumnArray::of(array)
}

fn join_columns(
    columns: &mut [Column],
    first: &Table,
    table: &Table,
    number: usize,
) -> Vec<crate::kernel::Fault> {
    let fault = |detail: String| crate::kernel::Fault::new(format!("table {number}"), detail);
    let mut faults = Vec::new();
    for column in columns.iter_mut() {
        let Ok(at) = place(&column.name, table.schema()) else {
            faults.push(fault(format!("has no column `{}`", column.name)));
            continue;
        };
        let Some(other) = table.schema().get(at) else {
            continue;
        };
        let kinds = (column.kind, other.kind);
        match kinds {
            (a, b) if a == b => {}
            (ColumnType::Int, ColumnType::Float) => column.kind = ColumnType::Float,
            (ColumnType::Float, ColumnType::Int) => {}
            _ if table.is_all_null(at) => {}
            _ if place(&column.name, first.schema()).is_ok_and(|at| first.is_all_null(at)) => {
                column.kind = other.kind;
            }
            (a, b) => faults.push(fault(format!(
                "column `{}` holds {}, and {} before",
                column.name,
                b.name(),
                a.name()
            ))),
        }
    }
    for other in table.schema() {
        if !columns.iter().any(|column| column.name == other.name) {
            faults
                .push(fault(format!("has a column `{}` that the first table has not", other.name)));
        }
    }
    faults
}

impl Table {
    fn is_all_null(&self, at: usize) -> bool {
        self.0.batches.iter().all(|batch| {
            batch.columns().get(at).is_some_and(|array| array.null_count() == array.len())
        })
    }
}

/// As [`conform`], with columns of nothing made anew: they have no values to bring along.
fn conform_nulls(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(array, field)| {
            if array.null_count() == array.len() {
                arrow::array::new_null_array(field.data_type(), array.len())
            } else {
                Arc::clone(array)
            }
        })
        .collect::<Vec<_>>();
    let fields: Vec<_> = arrays
        .iter()
        .zip(schema.fields())
        .map(|(array, field)| field.as_ref().clone().with_data_type(array.data_type().clone()))
        .collect();
    let loose = Arc::new(Schema::new(fields));
    conform(&super::schema::batch_of(&loose, arrays, batch.num_rows())?, schema)
}

impl PartialEq for Table {
    /// The same columns and the same rows, however they are cut into batches.
    fn eq(&self, other: &Self) -> bool {
        self.schema() == other.schema()
            && self.rows() == other.rows()
            && match (self.as_batch(), other.as_batch()) {
                (Ok(one), Ok(two)) => one == two,
                _ => false,
            }
    }
}

/// The rows per batch that builders aim at: large enough for Arrow, small enough to stream.
pub(super) const BATCH_ROWS: usize = 65_536;

/// Rows being built column by column, cut into batches.
pub(super) struct RowsBuilder {
    schema: SchemaRef,
    builders: Vec<super::cell::ColumnBuilder>,
    batches: Vec<RecordBatch>,
    pending: usize,
}

impl RowsBuilder {
    pub(super) fn new(columns: &[Column]) -> Self {
        let builders =
            columns.iter().map(|column| super::cell::ColumnBuilder::new(column.kind)).collect();
        Self { schema: arrow_schema(columns), builders, batches: Vec::new(), pending: 0 }
    }

    pub(super) fn push(&mut self, column: usize, cell: super::cell::CellRef<'_>) {
        if let Some(builder) = self.builders.get_mut(column) {
            builder.push(cell);
        }
    }

    /// Ends the row: every column has been pushed once.
    pub(super) fn end_row(&mut self) -> Result<()> {
        self.pending += 1;
        if self.pending >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<Table> {
        if self.pending > 0 {
            self.flush()?;
        }
        Table::of_conforming(self.schema, self.batches)
    }

    fn flush(&mut self) -> Result<()> {
        let arrays = self.builders.iter_mut().map(super::cell::ColumnBuilder::finish).collect();
        self.batches.push(super::schema::batch_of(&self.schema, arrays, self.pending)?);
        self.pending = 0;
        Ok(())
    }
}

/// Rows as far as `u64` counts them.
pub(super) fn count(batches: &[RecordBatch]) -> u64 {
    number::size(batches.iter().map(RecordBatch::num_rows).sum())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wind() -> Table {
        Table::from_rows(&[
            json!({"t": "2014-01-01T00:20:00Z", "who": "A", "p": 3.0, "n": 1}),
            json!({"t": "2014-01-01T00:00:00Z", "who": "B", "p": null, "n": 2}),
            json!({"t": "2014-01-01T00:10:00Z", "who": "A", "p": 1.0, "n": 3}),
            json!({"t": null, "who": null, "p": 2.0, "n": 4}),
        ])
        .unwrap()
    }

    fn order(table: &Table) -> Vec<i64> {
        table
            .column("n")
            .unwrap()
            .iter()
            .map(|cell| match cell {
                Cell::Int(number) => *number,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn rows_are_cut_by_time_entity_place_and_column() {
        let at = |text: &str| Some(Time::parse(text).unwrap());
        let cut =
            wind().between("t", at("2014-01-01T00:00:00Z"), at("2014-01-01T00:20:00Z")).unwrap();
        assert_eq!(order(&cut), [2, 3]);
        assert_eq!(order(&wind().between("t", None, at("2014-01-01T00:10:00Z")).unwrap()), [2]);
        assert_eq!(order(&wind().having("who", ["A", "C"]).unwrap()), [1, 3]);
        assert_eq!(order(&wind().having("p", [2_i64, 3]).unwrap()), [1, 4]);
        assert_eq!(order(&wind().slice(1, 2).unwrap()), [2, 3]);
        assert_eq!(order(&wind().slice(9, 2).unwrap()), Vec::<i64>::new());
        let both = Scan::all().columns(["n"]).entity("who", ["A"]).limit(1).offset(1);
        assert_eq!(wind().scan(&both).unwrap().to_rows(), [json!({"n": 3})]);
        let error = wind().select(&["n", "pp"]).unwrap_err();
        assert!(error.detail().contains("did you mean `p`"), "{}", error.detail());
        assert!(wind().select(&["n", "n"]).is_err());
        assert!(wind().scan(&Scan::all().range("p", Some((Cell::from("x"), true)), None)).is_err());
    }

    #[test]
    fn sorting_is_stable_and_knows_where_nothing_goes() {
        assert_eq!(order(&wind().sort_by(&[Order::by("t")]).unwrap()), [4, 2, 3, 1]);
        assert_eq!(order(&wind().sort_by(&[Order::by_descending("p")]).unwrap()), [1, 4, 3, 2]);
        assert_eq!(
            order(&wind().sort_by(&[Order::by("who"), Order::by_descending("n")]).unwrap()),
            [4, 3, 1, 2]
        );
        let many: Vec<_> = (0..5_000).map(|at| json!({"k": at % 3, "n": at})).collect();
        let sorted = Table::from_rows(&many).unwrap().sort_by(&[Order::by("k")]).unwrap();
        let first: Vec<i64> = order(&sorted).into_iter().take(1_667).collect();
        assert!(first.is_sorted() && first.iter().all(|at| at % 3 == 0));
    }

    #[test]
    fn tables_are_put_together_when_their_columns_agree() {
        let whole = Table::from_rows(&[json!({"n": 1, "x": null})]).unwrap();
        let part = Table::from_rows(&[json!({"x": 2.5, "n": 0.5})]).unwrap();
        assert_eq!(
            Table::concat(&[whole.clone(), part.clone(), whole]).unwrap().to_rows(),
            [
                json!({"n": 1.0, "x": null}),
                json!({"n": 0.5, "x": 2.5}),
                json!({"n": 1.0, "x": null})
            ]
        );
        let other = Table::from_rows(&[json!({"n": "text", "y": 1})]).unwrap();
        let error = Table::concat(&[part, other]).unwrap_err();
        let details: Vec<_> = error.faults().iter().map(|fault| fault.detail.as_str()).collect();
        assert_eq!(
            details,
            [
                "has no column `x`",
                "column `n` holds text, and float before",
                "has a column `y` that the first table has not",
            ]
        );
        assert!(Table::concat(&[]).is_err());
    }

    #[test]
    fn columns_at_a_glance() {
        let stats = wind().stats().unwrap();
        let p = stats.iter().find(|stats| stats.name == "p").unwrap();
        assert_eq!((p.count, p.nulls, p.mean), (3, 1, Some(2.0)));
        assert_eq!((p.min.clone(), p.max.clone()), (json!(1.0), json!(3.0)));
        let t = stats.iter().find(|stats| stats.name == "t").unwrap();
        assert_eq!(
            (t.count, t.mean, t.max.clone()),
            (3, None, json!("2014-01-01T00:20:00.000000Z"))
        );
        let empty = wind().slice(0, 0).unwrap().stats().unwrap();
        assert_eq!((empty[0].count, empty[0].min.clone()), (0, Value::Null));
    }
}
