//! What must be fast on many rows and needs no SQL: sums and means by key, resampling by time, and
//! joins to the last value before a time.

mod asof;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::row::{RowConverter, SortField};
use serde::{Deserialize, Serialize};

pub use self::asof::{AsOf, asof_join};
use super::cell::{Cell, CellRef, ColumnArray, ColumnBuilder};
use super::scan::place;
use super::schema::{Column, ColumnType, arrow_schema, batch_of};
use super::{Order, Table, error, number};
use crate::kernel::clock::parse_duration;
use crate::kernel::name::nearest;
use crate::kernel::{Error, Kind, Result, Time};

/// How the values of a group become one. Nulls do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// How many there are.
    Count,
    /// The first one, in the order of the rows.
    First,
    /// The last one.
    Last,
}

impl Function {
    const ALL: [(&'static str, Self); 7] = [
        ("mean", Self::Mean),
        ("sum", Self::Sum),
        ("min", Self::Min),
        ("max", Self::Max),
        ("count", Self::Count),
        ("first", Self::First),
        ("last", Self::Last),
    ];

    /// The function of that name.
    pub fn from_name(name: &str) -> Result<Self> {
        let known =
            Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, function)| *function);
        known.ok_or_else(|| {
            let names = Self::ALL.iter().map(|(name, _)| *name);
            let hint = nearest(name, names.clone())
                .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            Error::new(
                Kind::Invalid,
                "bad_function",
                format!("`{}` is none of {}{hint}", error::short(name), error::listed(names)),
            )
        })
    }

    fn kind(self, of: ColumnType) -> ColumnType {
        match self {
            Self::Mean => ColumnType::Float,
            Self::Count => ColumnType::Int,
            Self::Sum | Self::Min | Self::Max | Self::First | Self::Last => of,
        }
    }
}

/// One column of an answer: a function of a column, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// The column that is aggregated.
    pub column: String,
    /// How.
    pub function: Function,
    /// The name in the answer.
    pub name: String,
}

impl Aggregate {
    /// A function of a column, under the column's name.
    pub fn new(column: impl Into<String>, function: Function) -> Self {
        let column = column.into();
        Self { name: column.clone(), column, function }
    }

    /// Under another name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// One row per combination of the keys, sorted by them.
pub fn group(table: &Table, keys: &[&str], aggregates: &[Aggregate]) -> Result<Table> {
    let whole = table.as_batch()?;
    let arrays = keys
        .iter()
        .map(|key| place(key, table.schema()).map(|at| whole.column(at).clone()))
        .collect::<Result<Vec<_>>>()?;
    let groups = Groups::of(&arrays, whole.num_rows())?;
    let first = UInt32Array::from(groups.first.clone());
    let mut columns = Vec::new();
    let mut answer: Vec<ArrayRef> = Vec::new();
    for (key, array) in keys.iter().zip(&arrays) {
        columns.extend(table.schema().get(place(key, table.schema())?).cloned());
        answer
            .push(take(array, &first, None).map_err(|source| error::arrow("group rows", source))?);
    }
    for aggregate in aggregates {
        let at = place(&aggregate.column, table.schema())?;
        let Some(column) = table.schema().get(at) else {
            continue;
        };
        let (kind, array) = reduce(column, aggregate.function, whole.column(at), &groups)?;
        let unit = column.unit.clone().filter(|_| aggregate.function != Function::Count);
        columns.push(Column { name: aggregate.name.clone(), kind, unit });
        answer.push(array);
    }
    error::refuse_columns(super::schema::name_faults(
        columns.iter().map(|column| column.name.as_str()),
    ))?;
    let schema = arrow_schema(&columns);
    let batch = batch_of(&schema, answer, groups.first.len())?;
    let orders: Vec<Order> = keys.iter().map(|key| Order::by(*key)).collect();
    Table::of_conforming(schema, vec![batch])?.sort_by(&orders)
}

/// Which group each row is in, and the first row of each.
struct Groups {
    of_row: Vec<usize>,
    first: Vec<u32>,
}

impl Groups {
    fn of(keys: &[ArrayRef], rows: usize) -> Result<Self> {
        let count = u32::try_from(rows).map_err(|_many| {
            error::too_large("the table to group", format!("{} rows", u32::MAX))
        })?;
        if keys.is_empty() {
            // No keys: everything is one group, even nothing.
            return Ok(Self { of_row: vec![0; rows], first: vec![0] });
        }
        let broken = |source| error::arrow("group rows", source);
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(broken)?;
        let encoded = converter.convert_columns(keys).map_err(broken)?;
        let mut numbers: HashMap<arrow::row::Row<'_>, usize> = HashMap::new();
        let mut first = Vec::new();
        let mut of_row = Vec::with_capacity(rows);
        for (at, row) in (0..count).zip(encoded.iter()) {
            let next = first.len();
            let group = *numbers.entry(row).or_insert(next);
            if group == next {
                first.push(at);
            }
            of_row.push(group);
        }
        Ok(Self { of_row, first })
    }
}

/// What a group has come to so far.
#[derive(Clone, Default)]
struct Running {
    count: i64,
    total: f64,
    whole: i64,
    overflow: bool,
    kept: Option<Cell>,
}

impl Running {
    fn add(&mut self, cell: CellRef<'_>, function: Function) {
        if cell == CellRef::Null {
            return;
        }
        self.count += 1;
        let keep = |kept: &Option<Cell>| match (function, kept) {
            (_, None) | (Function::Last, _) => true,
            (Function::Min, Some(kept)) => cell.order(kept.view()).is_lt(),
            (Function::Max, Some(kept)) => cell.order(kept.view()).is_gt(),
            _ => false,
        };
        match function {
            Function::Count => {}
            Function::Mean | Function::Sum => self.sum(cell),
            _ if keep(&self.kept) => self.kept = Some(cell.to_cell()),
            _ => {}
        }
    }

    fn sum(&mut self, cell: CellRef<'_>) {
        match cell {
            CellRef::Int(number) => {
                match self.whole.checked_add(number) {
                    Some(sum) => self.whole = sum,
                    None => self.overflow = true,
                }
                self.total += number::to_float(number);
            }
            CellRef::Float(number) => self.total += number,
            _ => {}
        }
    }

    fn finish(&self, function: Function, kind: ColumnType) -> CellRef<'_> {
        match function {
            Function::Count => CellRef::Int(self.count),
            _ if self.count == 0 => CellRef::Null,
            Function::Mean => CellRef::Float(self.total / number::to_float(self.count)),
            Function::Sum if kind == ColumnType::Int => CellRef::Int(self.whole),
            Function::Sum => CellRef::Float(self.total),
            _ => self.kept.as_ref().map_or(CellRef::Null, Cell::view),
        }
    }
}

fn reduce(
    column: &Column,
    function: Function,
    array: &ArrayRef,
    groups: &Groups,
) -> Result<(ColumnType, ArrayRef)> {
    let numeric = matches!(column.kind, ColumnType::Int | ColumnType::Float);
    if matches!(function, Function::Mean | Function::Sum) && !numeric {
        let what = if function == Function::Mean { "a mean" } else { "a sum" };
        return Err(error::not_numbers(&column.name, column.kind.name(), what));
    }
    let values = ColumnArray::of(array)?;
    let mut running = vec![Running::default(); groups.first.len()];
    for (row, group) in groups.of_row.iter().enumerate() {
        if let Some(running) = running.get_mut(*group) {
            running.add(values.get(row), function);
        }
    }
    let mut kind = function.kind(column.kind);
    if function == Function::Sum && running.iter().any(|running| running.overflow) {
        kind = ColumnType::Float;
    }
    let mut builder = ColumnBuilder::new(kind);
    for running in &running {
        builder.push(running.finish(function, kind));
    }
    Ok((kind, builder.finish()))
}

/// How to resample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resample {
    /// The column of times; in the answer it has the starts of the buckets.
    pub time: String,
    /// How long a bucket is. Buckets start at whole multiples since 1970 in UTC, weeks on Mondays.
    pub every: Duration,
    /// Columns whose values are kept apart, such as the turbine.
    pub by: Vec<String>,
    /// What becomes of the other columns.
    pub aggregates: Vec<Aggregate>,
}

/// One row per bucket of time and combination of `by`, sorted by them. Buckets without rows are not
/// there; rows without a time are left out.
pub fn resample(table: &Table, how: &Resample) -> Result<Table> {
    let at = place(&how.time, table.schema())?;
    let column = table.schema().get(at).ok_or_else(|| Error::internal("no column"))?;
    if column.kind != ColumnType::Time {
        return Err(error::not_time(column));
    }
    let width =
        i64::try_from(how.every.as_micros()).ok().filter(|width| *width > 0).ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                "bad_duration",
                "a bucket is longer than nothing and shorter than 290 000 years",
            )
        })?;
    let timed = table.between(&how.time, Some(Time(i64::MIN)), None)?;
    let whole = timed.as_batch()?;
    let times = ColumnArray::of(whole.column(at))?;
    let mut builder = ColumnBuilder::new(ColumnType::Time);
    for row in 0..whole.num_rows() {
        builder.push(match times.get(row) {
            CellRef::Time(micros) => CellRef::Time(bucket_start(micros, width)),
            other => other,
        });
    }
    let mut arrays = whole.columns().to_vec();
    if let Some(place) = arrays.get_mut(at) {
        *place = builder.finish();
    }
    let schema = table.arrow_schema();
    let bucketed = Table::of_conforming(
        Arc::clone(&schema),
        vec![batch_of(&schema, arrays, whole.num_rows())?],
    )?;
    let mut keys: Vec<&str> = how.by.iter().map(String::as_str).collect();
    keys.push(&how.time);
    group(&bucketed, &keys, &how.aggregates)
}

/// The start of the bucket that a time falls into.
pub(super) fn bucket_start(micros: i64, width: i64) -> i64 {
    const WEEK: i64 = 7 * 86_400_000_000;
    // 1970-01-05 was a Monday.
    let origin = if width % WEEK == 0 { 4 * 86_400_000_000 } else { 0 };
    micros.saturating_sub(micros.saturating_sub(origin).rem_euclid(width))
}

/// A width such as `10m`, `1 hour` or `15 minutes`, in microseconds.
pub(super) fn bucket_width(text: &str) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim();
    let short = match unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(unit) {
        "millisecond" | "m" if unit == "ms" || unit.starts_with("milli") => "ms",
        "sec" | "second" => "s",
        "min" | "minute" => "m",
        "hr" | "hour" => "h",
        "day" => "d",
        "week" => "w",
        other => other,
    };
    let width = parse_duration(&format!("{count}{short}")).ok()?;
    i64::try_from(width.as_micros()).ok().filter(|width| *width > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(super) fn table(rows: &Value) -> Table {
        Table::from_rows(rows.as_array().unwrap()).unwrap()
    }

    pub(super) fn scada() -> Table {
        table(&json!([
            {"t": "2014-01-01T00:00:00Z", "who": "B", "p": 1.0, "n": 1},
            {"t": "2014-01-01T00:10:00Z", "who": "A", "p": 2.0, "n": 2},
            {"t": "2014-01-01T00:50:00Z", "who": "A", "p": null, "n": 3},
            {"t": "2014-01-01T01:00:00Z", "who": "A", "p": 4.0, "n": null},
            {"t": null, "who": null, "p": 8.0, "n": 5},
        ]))
    }

    fn rows(table: &Table) -> Value {
        Value::Array(table.to_rows())
    }

    #[test]
    fn groups_are_sorted_and_nulls_do_not_count() {
        let all = [Function::Mean, Function::Sum, Function::Count, Function::Max, Function::Last];
        let aggregates: Vec<_> = all
            .iter()
            .map(|function| Aggregate::new("p", *function).named(format!("{function:?}")))
            .collect();
        assert_eq!(
            rows(&group(&scada(), &["who"], &aggregates).unwrap()),
            json!([
                {"who": null, "Mean": 8.0, "Sum": 8.0, "Count": 1, "Max": 8.0, "Last": 8.0},
                {"who": "A", "Mean": 3.0, "Sum": 6.0, "Count": 2, "Max": 4.0, "Last": 4.0},
                {"who": "B", "Mean": 1.0, "Sum": 1.0, "Count": 1, "Max": 1.0, "Last": 1.0},
            ])
        );
        let sums = [Aggregate::new("n", Function::Sum), Aggregate::new("t", Function::Min)];
        assert_eq!(
            rows(&group(&scada(), &[], &sums).unwrap()),
            json!([{"n": 11, "t": "2014-01-01T00:00:00.000000Z"}])
        );
        let error = group(&scada(), &["who"], &[Aggregate::new("t", Function::Mean)]).unwrap_err();
        assert!(error.detail().contains("`t` holds time"), "{}", error.detail());
        assert!(Function::from_name("men").unwrap_err().detail().contains("did you mean `mean`"));
    }

    #[test]
    fn sums_of_whole_numbers_become_floats_rather_than_wrong() {
        let table = table(&json!([{"n": i64::MAX}, {"n": 1}]));
        let sum = group(&table, &[], &[Aggregate::new("n", Function::Sum)]).unwrap();
        assert_eq!(sum.schema()[0].kind, ColumnType::Float);
    }

    #[test]
    fn resampling_keeps_entities_apart() {
        let how = Resample {
            time: "t".into(),
            every: Duration::from_hours(1),
            by: vec!["who".into()],
            aggregates: vec![
                Aggregate::new("p", Function::Mean),
                Aggregate::new("n", Function::Count),
            ],
        };
        assert_eq!(
            rows(&resample(&scada(), &how).unwrap()),
            json!([
                {"who": "A", "t": "2014-01-01T00:00:00.000000Z", "p": 2.0, "n": 2},
                {"who": "A", "t": "2014-01-01T01:00:00.000000Z", "p": 4.0, "n": 0},
                {"who": "B", "t": "2014-01-01T00:00:00.000000Z", "p": 1.0, "n": 1},
            ])
        );
        assert!(resample(&scada(), &Resample { time: "p".into(), ..how.clone() }).is_err());
        assert!(resample(&scada(), &Resample { every: Duration::ZERO, ..how }).is_err());
    }
}
