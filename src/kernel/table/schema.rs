//! The columns of a table: five types, and how those of Arrow and Parquet become them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::FormatOptions;
use serde::{Deserialize, Serialize};

use super::error;
use crate::kernel::{Fault, Result};

/// The key of a field's metadata under which its unit is kept, in Parquet and Arrow files too.
const UNIT: &str = "unit";

/// What a column holds. Every type may also hold nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Whole numbers of 64 bits.
    Int,
    /// Floating-point numbers of 64 bits.
    Float,
    /// True or false.
    Bool,
    /// Text in UTF-8.
    Text,
    /// A point in time: microseconds in UTC.
    Time,
}

impl ColumnType {
    /// The name, as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Time => "time",
        }
    }

    /// How Arrow holds it here.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// What an Arrow type becomes; `None` is refused (lists, structs, binary, intervals).
    pub(super) fn of(arrow: &DataType) -> Option<Self> {
        Some(match arrow {
            whole if whole.is_integer() => Self::Int,
            number if number.is_floating() || number.is_decimal() => Self::Float,
            DataType::Boolean => Self::Bool,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::Text
            }
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Self::Time,
            DataType::Dictionary(_, values) => Self::of(values)?,
            _ => return None,
        })
    }
}

/// One column: its name, its type, and its unit where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name, unique in its table whatever the case.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// What its numbers are measured in, such as `m/s`.
    #[serde(default)]
    pub unit: Option<String>,
}

impl Column {
    /// A column without a unit.
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Self { name: name.into(), kind, unit: None }
    }

    fn field(&self) -> Field {
        let metadata: HashMap<_, _> =
            self.unit.iter().map(|unit| (UNIT.to_owned(), unit.clone())).collect();
        Field::new(&self.name, self.kind.arrow(), true).with_metadata(metadata)
    }
}

/// The Arrow schema of some columns.
pub(super) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}

/// The columns that a schema from anywhere becomes, or every reason why it cannot.
pub(super) fn columns_of(schema: &Schema) -> Result<Vec<Column>> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    let mut faults = Vec::new();
    for field in schema.fields() {
        let Some(kind) = ColumnType::of(field.data_type()) else {
            faults.push(Fault::new(
                format!("column `{}`", field.name()),
                format!(
                    "holds {}, and a table holds int, float, bool, text and time",
                    field.data_type()
                ),
            ));
            continue;
        };
        let unit = field.metadata().get(UNIT).cloned();
        columns.push(Column { name: field.name().clone(), kind, unit });
    }
    faults.extend(name_faults(schema.fields().iter().map(|field| field.name().as_str())));
    error::refuse_columns(faults)?;
    Ok(columns)
}

/// What is wrong with the names of columns: empty, twice, or told apart by case alone.
pub(super) fn name_faults<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Fault> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut faults = Vec::new();
    for (at, name) in names.enumerate() {
        let place = || format!("column {}", at + 1);
        if name.trim().is_empty() {
            faults.push(Fault::new(place(), "has no name"));
            continue;
        }
        if name.len() > 255 || name.chars().any(char::is_control) {
            let shown = error::short(name);
            faults.push(Fault::new(
                place(),
                format!("the name `{shown}` is longer than 255 bytes or holds control characters"),
            ));
        }
        match seen.insert(name.to_lowercase(), name) {
            Some(first) if first == name => {
                faults.push(Fault::new(place(), format!("the name `{name}` stands there twice")));
            }
            Some(first) => faults.push(Fault::new(
                place(),
                format!("the names `{first}` and `{name}` differ only in case: SQL cannot tell them apart"),
            )),
            None => {}
        }
    }
    faults
}

/// Brings a batch into the types of `columns`, which [`columns_of`] made from its schema.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (array, field) in batch.columns().iter().zip(schema.fields()) {
        arrays.push(conform_array(array, field)?);
    }
    batch_of(schema, arrays, batch.num_rows())
}

/// A batch of arrays that fit the schema; it may have rows and no columns.
pub(super) fn batch_of(
    schema: &SchemaRef,
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|source| error::arrow("put columns together", source))
}

fn conform_array(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let cast = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &options).map_err(|source| {
            error::bad_column(field.name(), &format!("cannot become {to}: {source}"))
                .caused_by(source)
        })
    };
    let values = match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, &values.as_ref().clone())?,
        _ => Arc::clone(array),
    };
    match (values.data_type(), field.data_type()) {
        // The number in a timestamp counts from 1970 in UTC, whatever zone it is shown in; where no
        // zone is named it is taken as UTC.
        (DataType::Timestamp(unit, _), DataType::Timestamp(..)) => {
            let numbers = cast(&values, &DataType::Int64)?;
            in_utc(&cast(&numbers, &DataType::Timestamp(*unit, None))?, cast)
        }
        (_, DataType::Timestamp(..)) => in_utc(&values, cast),
        (_, to) => cast(&values, to),
    }
}

fn in_utc(
    values: &ArrayRef,
    cast: impl Fn(&ArrayRef, &DataType) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let plain = cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let times = plain.as_primitive::<TimestampMicrosecondType>().clone();
    Ok(Arc::new(times.with_timezone("UTC")))
}

/// How many bytes a text array will take when every row has its own copy. Arrays that share their
/// values can promise far more rows of text than they have bytes.
pub(super) fn flat_text_bytes(array: &dyn Array) -> u64 {
    match array.data_type() {
        DataType::Utf8View => {
            let views = array.as_string_view();
            views.lengths().map(u64::from).sum()
        }
        DataType::Dictionary(_, values)
            if matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            let dictionary = array.as_any_dictionary();
            let longest = longest_text(dictionary.values().as_ref());
            longest.saturating_mul(super::number::size(array.len()))
        }
        _ => 0,
    }
}

fn longest_text(values: &dyn Array) -> u64 {
    let longest = match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().iter().flatten().map(str::len).max(),
        DataType::LargeUtf8 => values.as_string::<i64>().iter().flatten().map(str::len).max(),
        DataType::Utf8View => values.as_string_view().iter().flatten().map(str::len).max(),
        _ => None,
    };
    longest.map_or(0, super::number::size)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Decimal128Array, Float32Array, Int16Array, LargeStringArray, NullArray,
        StringDictionaryBuilder, StringViewArray, TimestampMillisecondArray, UInt64Array,
    };
    use arrow::datatypes::Int8Type;
    use serde_json::{Value, json};

    use super::super::Table;
    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> Result<Table> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Table::from_batches(&batch.schema(), vec![batch.clone()])
    }

    #[test]
    fn foreign_types_become_the_five() {
        let mut words = StringDictionaryBuilder::<Int8Type>::new();
        words.append_value("a");
        let day = TimestampMillisecondArray::from(vec![1_396_137_600_000_i64]);
        let money = Decimal128Array::from(vec![1_250]).with_precision_and_scale(9, 2).unwrap();
        let table = table(vec![
            ("i16", Arc::new(Int16Array::from(vec![-7]))),
            ("u64", Arc::new(UInt64Array::from(vec![7]))),
            ("f32", Arc::new(Float32Array::from(vec![0.5]))),
            ("money", Arc::new(money)),
            ("large", Arc::new(LargeStringArray::from(vec!["x"]))),
            ("view", Arc::new(StringViewArray::from(vec!["y"]))),
            ("word", Arc::new(words.finish())),
            ("nothing", Arc::new(NullArray::new(1))),
            ("date", Arc::new(Date32Array::from(vec![16_159]))),
            ("naive", Arc::new(day.clone())),
            ("zoned", Arc::new(day.with_timezone("+02:00"))),
        ])
        .unwrap();
        let midnight = "2014-03-30T00:00:00.000000Z";
        assert_eq!(
            Value::Array(table.to_rows()),
            json!([{
                "i16": -7, "u64": 7, "f32": 0.5, "money": 12.5, "large": "x", "view": "y", "word": "a",
                "nothing": null, "date": midnight, "naive": midnight, "zoned": midnight
            }])
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let binary: ArrayRef = Arc::new(arrow::array::BinaryArray::from(vec![b"x".as_slice()]));
        let twice: ArrayRef = Arc::new(Int16Array::from(vec![1]));
        let error =
            table(vec![("raw", binary), ("a", Arc::clone(&twice)), ("A", twice)]).unwrap_err();
        let places: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["column `raw`", "column 3"]);
        let error = table(vec![("big", Arc::new(UInt64Array::from(vec![u64::MAX])) as ArrayRef)])
            .unwrap_err();
        assert!(error.detail().contains("`big`"), "{}", error.detail());
    }
}
