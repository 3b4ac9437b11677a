//! One value of a table: owned as [`Cell`], borrowed from a column as [`CellRef`]; and the typed
//! columns that values are read from and built into.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float64Array, Float64Builder,
    Int64Array, Int64Builder, StringArray, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::Value;

use super::schema::ColumnType;
use super::{number, time_text};
use crate::kernel::{Error, Result, Time};

/// A value of a table, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing is known.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// A point in time.
    Time(Time),
}

macro_rules! cell_from {
    ($($from:ty => $to:expr),*) => {$(
        impl From<$from> for Cell {
            fn from(value: $from) -> Self {
                $to(value)
            }
        }
    )*};
}
cell_from!(i64 => Self::Int, f64 => Self::Float, bool => Self::Bool, String => Self::Text, Time => Self::Time);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Cell {
    pub(super) fn view(&self) -> CellRef<'_> {
        match self {
            Self::Null => CellRef::Null,
            Self::Int(number) => CellRef::Int(*number),
            Self::Float(number) => CellRef::Float(*number),
            Self::Bool(truth) => CellRef::Bool(*truth),
            Self::Text(text) => CellRef::Text(text),
            Self::Time(time) => CellRef::Time(time.0),
        }
    }

    /// The value in the type of a column that it is compared with; `None` where no value of that
    /// type equals it.
    pub(super) fn coerce(&self, kind: ColumnType) -> Option<Self> {
        match (kind, self) {
            (ColumnType::Int, Self::Int(_))
            | (ColumnType::Float, Self::Float(_))
            | (ColumnType::Bool, Self::Bool(_))
            | (ColumnType::Text, Self::Text(_))
            | (ColumnType::Time, Self::Time(_)) => Some(self.clone()),
            (ColumnType::Int, Self::Float(number)) => number::to_int(*number).map(Self::Int),
            (ColumnType::Float, Self::Int(number)) => Some(Self::Float(number::to_float(*number))),
            (ColumnType::Int, Self::Text(text)) => text.trim().parse().ok().map(Self::Int),
            (ColumnType::Float, Self::Text(text)) => text.trim().parse().ok().map(Self::Float),
            (ColumnType::Bool, Self::Text(text)) => {
                text.trim().to_lowercase().parse().ok().map(Self::Bool)
            }
            (ColumnType::Time, Self::Text(text)) => {
                time_text::parse(text).map(|stamp| Self::Time(Time(stamp.micros)))
            }
            (ColumnType::Text, Self::Int(number)) => Some(Self::Text(number.to_string())),
            (ColumnType::Text, Self::Bool(truth)) => Some(Self::Text(truth.to_string())),
            (ColumnType::Text, Self::Time(time)) => Some(Self::Text(time_text::to_text(time.0))),
            _ => None,
        }
    }
}

/// A value, borrowed from its column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CellRef<'a> {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    Time(i64),
}

impl CellRef<'_> {
    pub(super) fn to_cell(self) -> Cell {
        match self {
            Self::Null => Cell::Null,
            Self::Int(number) => Cell::Int(number),
            Self::Float(number) => Cell::Float(number),
            Self::Bool(truth) => Cell::Bool(truth),
            Self::Text(text) => Cell::Text(text.to_owned()),
            Self::Time(micros) => Cell::Time(Time(micros)),
        }
    }

    /// As JSON has it: times as text, and null for numbers that JSON cannot write.
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => number.into(),
            Self::Float(number) => number.into(),
            Self::Bool(truth) => truth.into(),
            Self::Text(text) => text.into(),
            Self::Time(micros) => time_text::to_text(micros).into(),
        }
    }

    /// The number in it, if it is one and finite.
    pub(super) fn number(self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(number::to_float(number)),
            Self::Float(number) if number.is_finite() => Some(number),
            _ => None,
        }
    }

    /// One order for all values, as SQL has it: nothing, then false and true, numbers, times, text.
    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) | (Self::Time(a), Self::Time(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => {
                a.partial_cmp(&b).unwrap_or_else(|| a.total_cmp(&b))
            }
            (Self::Int(a), Self::Float(b)) => number::to_float(a).total_cmp(&b),
            (Self::Float(a), Self::Int(b)) => a.total_cmp(&number::to_float(b)),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(&b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 2,
            Self::Time(_) => 3,
            Self::Text(_) => 4,
        }
    }
}

/// A column of one batch, its type known once for all its rows.
#[derive(Debug, Clone)]
pub(super) enum ColumnArray {
    Int(Int64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    Text(StringArray),
    Time(TimestampMicrosecondArray),
}

impl ColumnArray {
    /// The column in an array of one of the five types.
    pub(super) fn of(array: &ArrayRef) -> Result<Self> {
        let typed = if let Some(ints) = array.as_primitive_opt::<Int64Type>() {
            Some(Self::Int(ints.clone()))
        } else if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
            Some(Self::Float(floats.clone()))
        } else if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(Self::Time(times.clone()))
        } else if let Some(texts) = array.as_string_opt::<i32>() {
            Some(Self::Text(texts.clone()))
        } else {
            array.as_boolean_opt().map(|truths| Self::Bool(truths.clone()))
        };
        typed.ok_or_else(|| {
            Error::internal(format!("a table holds a column of {}", array.data_type()))
        })
    }

    /// The value in a row. A number that is not one (NaN) is nothing, as SQL and JSON have it.
    pub(super) fn get(&self, row: usize) -> CellRef<'_> {
        let array: &dyn Array = match self {
            Self::Int(array) => array,
            Self::Float(array) => array,
            Self::Bool(array) => array,
            Self::Text(array) => array,
            Self::Time(array) => array,
        };
        if row >= array.len() || array.is_null(row) {
            return CellRef::Null;
        }
        match self {
            Self::Int(array) => CellRef::Int(array.value(row)),
            Self::Float(array) if array.value(row).is_nan() => CellRef::Null,
            Self::Float(array) => CellRef::Float(array.value(row)),
            Self::Bool(array) => CellRef::Bool(array.value(row)),
            Self::Text(array) => CellRef::Text(array.value(row)),
            Self::Time(array) => CellRef::Time(array.value(row)),
        }
    }
}

/// Builds a column value by value.
#[derive(Debug)]
pub(super) enum ColumnBuilder {
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    pub(super) fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Int => Self::Int(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
        }
    }

    /// Appends a value; one of another type becomes nothing, except that integers become floats.
    pub(super) fn push(&mut self, cell: CellRef<'_>) {
        match (self, cell) {
            (Self::Int(to), CellRef::Int(number)) => to.append_value(number),
            (Self::Float(to), CellRef::Float(number)) => to.append_value(number),
            (Self::Float(to), CellRef::Int(number)) => to.append_value(number::to_float(number)),
            (Self::Bool(to), CellRef::Bool(truth)) => to.append_value(truth),
            (Self::Text(to), CellRef::Text(text)) => to.append_value(text),
            (Self::Time(to), CellRef::Time(micros)) => to.append_value(micros),
            (Self::Int(to), _) => to.append_null(),
            (Self::Float(to), _) => to.append_null(),
            (Self::Bool(to), _) => to.append_null(),
            (Self::Text(to), _) => to.append_null(),
            (Self::Time(to), _) => to.append_null(),
        }
    }

    /// The column built so far; the builder starts anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_in_the_type_of_the_column() {
        let text = |text: &str| Cell::from(text);
        assert_eq!(text("7").coerce(ColumnType::Int), Some(Cell::Int(7)));
        assert_eq!(text("7.5").coerce(ColumnType::Int), None);
        assert_eq!(Cell::Float(7.0).coerce(ColumnType::Int), Some(Cell::Int(7)));
        assert_eq!(Cell::Int(7).coerce(ColumnType::Text), Some(text("7")));
        assert_eq!(
            text("2014-01-01T01:00:00+01:00").coerce(ColumnType::Time),
            Some(Cell::Time(Time::parse("2014-01-01").unwrap()))
        );
        assert_eq!(text("noon").coerce(ColumnType::Time), None);
    }
}
