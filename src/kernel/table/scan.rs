//! What to read of a table: which columns, which rows. Filters that a row group's statistics can
//! answer spare its reading; what is read is then filtered exactly.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch};
use arrow::datatypes::SchemaRef;

use super::cell::{Cell, CellRef, ColumnArray};
use super::schema::{Column, ColumnType, arrow_schema, batch_of};
use super::{Table, error};
use crate::kernel::{Error, Result, Time};

/// A condition on one column. A value that is null never meets it.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Between two bounds; each is a value and whether it belongs to the range.
    Range {
        /// The column.
        column: String,
        /// The lower bound.
        from: Option<(Cell, bool)>,
        /// The upper bound.
        to: Option<(Cell, bool)>,
    },
    /// One of some values.
    OneOf {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Cell>,
    },
}

/// What to read of a table; see [`Scan::all`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scan {
    /// The columns, in this order; every one when `None`.
    pub columns: Option<Vec<String>>,
    /// What every row must meet.
    pub filters: Vec<Filter>,
    /// At most so many rows.
    pub limit: Option<usize>,
    /// After skipping so many.
    pub offset: usize,
}

impl Scan {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only these columns, in this order.
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Only rows with `start <= time < end`; a bound that is `None` is open.
    pub fn time(self, column: impl Into<String>, start: Option<Time>, end: Option<Time>) -> Self {
        self.range(
            column,
            start.map(|time| (Cell::Time(time), true)),
            end.map(|time| (Cell::Time(time), false)),
        )
    }

    /// Only rows within bounds, each a value and whether it belongs to the range.
    pub fn range(
        mut self,
        column: impl Into<String>,
        from: Option<(Cell, bool)>,
        to: Option<(Cell, bool)>,
    ) -> Self {
        if from.is_some() || to.is_some() {
            self.filters.push(Filter::Range { column: column.into(), from, to });
        }
        self
    }

    /// Only rows where the column has one of these values.
    pub fn entity<C: Into<Cell>>(
        mut self,
        column: impl Into<String>,
        values: impl IntoIterator<Item = C>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.filters.push(Filter::OneOf { column: column.into(), values });
        self
    }

    /// At most `rows` rows.
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Without the first `rows` rows.
    pub fn offset(mut self, rows: usize) -> Self {
        self.offset = rows;
        self
    }
}

/// A filter whose values have the type of its column, which is found by its place.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub column: usize,
    condition: Condition,
}

#[derive(Debug, Clone)]
enum Condition {
    Range { from: Option<(Cell, bool)>, to: Option<(Cell, bool)> },
    Numbers(Vec<f64>),
    Keys(HashSet<i64>),
    Texts(HashSet<String>),
}

impl Test {
    fn new(filter: &Filter, columns: &[Column]) -> Result<Self> {
        let (name, at, kind) = match filter {
            Filter::Range { column, .. } | Filter::OneOf { column, .. } => {
                let at = place(column, columns)?;
                (column, at, columns.get(at).map_or(ColumnType::Text, |column| column.kind))
            }
        };
        let condition = match filter {
            Filter::Range { from, to, .. } => Condition::Range {
                from: bound(from.as_ref(), kind, name)?,
                to: bound(to.as_ref(), kind, name)?,
            },
            Filter::OneOf { values, .. } => one_of(values, kind),
        };
        Ok(Self { column: at, condition })
    }

    fn meets(&self, cell: CellRef<'_>) -> bool {
        match (&self.condition, cell) {
            (_, CellRef::Null) => false,
            (Condition::Range { from, to }, cell) => {
                above(cell, from.as_ref()) && below(cell, to.as_ref())
            }
            (Condition::Numbers(numbers), CellRef::Float(number)) => numbers
                .iter()
                .any(|wanted| CellRef::Float(*wanted).order(CellRef::Float(number)).is_eq()),
            (Condition::Keys(keys), CellRef::Int(key) | CellRef::Time(key)) => keys.contains(&key),
            (Condition::Keys(keys), CellRef::Bool(truth)) => keys.contains(&i64::from(truth)),
            (Condition::Texts(texts), CellRef::Text(text)) => texts.contains(text),
            _ => false,
        }
    }

    /// Whether a value between `least` and `most` may meet it.
    pub(super) fn may_meet(&self, least: CellRef<'_>, most: CellRef<'_>) -> bool {
        let within = |cell: CellRef<'_>| cell.order(least).is_ge() && cell.order(most).is_le();
        match &self.condition {
            Condition::Range { from, to } => {
                above(most, from.as_ref()) && below(least, to.as_ref())
            }
            Condition::Numbers(numbers) => {
                numbers.iter().any(|number| within(CellRef::Float(*number)))
            }
            Condition::Keys(keys) => keys.iter().any(|key| match least {
                CellRef::Time(_) => within(CellRef::Time(*key)),
                CellRef::Bool(_) => within(CellRef::Bool(*key != 0)),
                _ => within(CellRef::Int(*key)),
            }),
            Condition::Texts(texts) => texts.iter().any(|text| within(CellRef::Text(text))),
        }
    }
}

fn above(cell: CellRef<'_>, from: Option<&(Cell, bool)>) -> bool {
    from.is_none_or(|(bound, inclusive)| {
        let order = cell.order(bound.view());
        order.is_gt() || (*inclusive && order.is_eq())
    })
}

fn below(cell: CellRef<'_>, to: Option<&(Cell, bool)>) -> bool {
    to.is_none_or(|(bound, inclusive)| {
        let order = cell.order(bound.view());
        order.is_lt() || (*inclusive && order.is_eq())
    })
}

fn bound(
    bound: Option<&(Cell, bool)>,
    kind: ColumnType,
    name: &str,
) -> Result<Option<(Cell, bool)>> {
    let Some((cell, inclusive)) = bound else {
        return Ok(None);
    };
    // A whole column may be bounded by a fraction: the two are compared as numbers.
    let fits = match (kind, cell) {
        (ColumnType::Int, Cell::Float(_)) => Some(cell.clone()),
        _ => cell.coerce(kind),
    };
    let cell = fits.ok_or_else(|| {
        let shown = error::short(&cell.view().to_json().to_string());
        error::bad_column(name, &format!("holds {}, and `{shown}` is none", kind.name()))
    })?;
    Ok(Some((cell, *inclusive)))
}

fn one_of(values: &[Cell], kind: ColumnType) -> Condition {
    let mut texts = HashSet::new();
    let mut keys = HashSet::new();
    let mut numbers = Vec::new();
    for value in values.iter().filter_map(|value| value.coerce(kind)) {
        match value {
            Cell::Text(text) => drop(texts.insert(text)),
            Cell::Int(key) => drop(keys.insert(key)),
            Cell::Bool(truth) => drop(keys.insert(i64::from(truth))),
            Cell::Time(time) => drop(keys.insert(time.0)),
            Cell::Float(number) => numbers.push(number),
            Cell::Null => {}
        }
    }
    match kind {
        ColumnType::Text => Condition::Texts(texts),
        ColumnType::Float => Condition::Numbers(numbers),
        ColumnType::Int | ColumnType::Bool | ColumnType::Time => Condition::Keys(keys),
    }
}

/// The place of a column, or an error that suggests another.
pub(super) fn place(name: &str, columns: &[Column]) -> Result<usize> {
    columns
        .iter()
        .position(|column| column.name == name)
        .ok_or_else(|| error::no_column(name, columns))
}

/// A [`Scan`] made for the columns of one table.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The columns to read: those asked for and those that filters need, in the table's order.
    pub read: Vec<usize>,
    /// What every row must meet.
    pub tests: Vec<Test>,
    /// The schema of the answer.
    pub schema: SchemaRef,
    /// Where each column of the answer stands among those read.
    output: Vec<usize>,
    offset: usize,
    limit: Option<usize>,
}

impl Plan {
    pub(super) fn new(scan: &Scan, columns: &[Column]) -> Result<Self> {
        let wanted: Vec<usize> = match &scan.columns {
            Some(names) => names.iter().map(|name| place(name, columns)).collect::<Result<_>>()?,
            None => (0..columns.len()).collect(),
        };
        let tests: Vec<Test> =
            scan.filters.iter().map(|filter| Test::new(filter, columns)).collect::<Result<_>>()?;
        let mut read: Vec<usize> =
            wanted.iter().copied().chain(tests.iter().map(|test| test.column)).collect();
        read.sort_unstable();
        read.dedup();
        let at = |column: &usize| read.binary_search(column).unwrap_or_default();
        let output = wanted.iter().map(at).collect();
        let chosen: Vec<Column> =
            wanted.iter().filter_map(|column| columns.get(*column).cloned()).collect();
        let faults = super::schema::name_faults(chosen.iter().map(|column| column.name.as_str()));
        error::refuse_columns(faults)?;
        Ok(Self {
            read,
            tests,
            schema: arrow_schema(&chosen),
            output,
            offset: scan.offset,
            limit: scan.limit,
        })
    }

    /// The rows of a batch that meet every test, in the columns of the answer. The batch has the
    /// columns to read.
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut mask: Option<BooleanArray> = None;
        for test in &self.tests {
            let at = self.read.binary_search(&test.column).unwrap_or_default();
            let array =
                batch.columns().get(at).ok_or_else(|| Error::internal("a scan lost a column"))?;
            let column = ColumnArray::of(array)?;
            let met = (0..array.len()).map(|row| Some(test.meets(column.get(row)))).collect();
            mask = Some(match mask {
                Some(mask) => {
                    and(&mask, &met).map_err(|source| error::arrow("filter rows", source))?
                }
                None => met,
            });
        }
        let kept = match mask {
            Some(mask) => filter_record_batch(batch, &mask)
                .map_err(|source| error::arrow("filter rows", source))?,
            None => batch.clone(),
        };
        let arrays = self.output.iter().filter_map(|at| kept.columns().get(*at).cloned()).collect();
        batch_of(&self.schema, arrays, kept.num_rows())
    }

    /// Applies this plan to batches that have the columns to read.
    pub(super) fn run(
        self,
        source: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Batches {
        Batches {
            schema: Arc::clone(&self.schema),
            skip: self.offset,
            left: self.limit.unwrap_or(usize::MAX),
            plan: self,
            source: Box::new(source),
        }
    }
}

/// The batches of a scan, read as they are asked for.
pub struct Batches {
    schema: SchemaRef,
    plan: Plan,
    source: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    skip: usize,
    left: usize,
}

impl Batches {
    /// The Arrow schema that every batch has.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Everything that is left, as a table.
    pub fn collect_table(self) -> Result<Table> {
        self.collect_within(usize::MAX)
    }

    /// Everything that is left, unless it is more than `rows` rows.
    pub fn collect_within(mut self, rows: usize) -> Result<Table> {
        let mut batches = Vec::new();
        let mut count = 0;
        for batch in &mut self {
            let batch = batch?;
            count += batch.num_rows();
            if count > rows {
                return Err(error::too_large("the table", format!("{rows} rows")));
            }
            batches.push(batch);
        }
        Table::of_conforming(self.schema, batches)
    }

    fn cut(&mut self, batch: &RecordBatch) -> RecordBatch {
        let skipped = self.skip.min(batch.num_rows());
        self.skip -= skipped;
        let kept = self.left.min(batch.num_rows() - skipped);
        self.left -= kept;
        batch.slice(skipped, kept)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let batch = match self.source.next()? {
                Ok(batch) => batch,
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            };
            let kept = match self.plan.apply(&batch) {
                Ok(kept) => self.cut(&kept),
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            };
            if kept.num_rows() > 0 {
                return Some(Ok(kept));
            }
        }
        None
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("plan", &self.plan).finish_non_exhaustive()
    }
}
