//! The answer of a query as a table. SQLite's values carry their types, its columns do not: a column
//! is what its values are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{Float64Type, Int64Type};
use rusqlite::Statement;
use rusqlite::types::ValueRef;

use super::error;
use super::fence::Fence;
use super::vtab::declared;
use crate::kernel::Result;
use crate::kernel::table::schema::{arrow_schema, batch_of};
use crate::kernel::table::{Column, ColumnType, Table, number, time_text};

/// Runs a query and gathers what it answers, up to the limits.
pub(super) fn gather(statement: &mut Statement<'_>, fence: &Fence) -> Result<Table> {
    let limits = &fence.limits;
    if statement.column_count() > limits.columns {
        return Err(error::too_large(&format!(
            "the answer has more than {} columns",
            limits.columns
        )));
    }
    let mut columns: Vec<Answer> = statement
        .columns()
        .map(|column| Answer::new(column.name(), column.decl_type().and_then(declared)))
        .collect();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(|why| error::explain(why, fence))? {
        count += 1;
        if count > limits.rows {
            return Err(error::too_large(&format!(
                "the answer has more than {} rows: add a LIMIT, or conditions",
                limits.rows
            )));
        }
        for (at, column) in columns.iter_mut().enumerate() {
            let value = row.get_ref(at).map_err(|why| error::explain(why, fence))?;
            bytes += column.push(value)?;
        }
        if bytes > limits.bytes {
            return Err(error::too_large(&format!(
                "the answer has more than {} bytes",
                limits.bytes
            )));
        }
    }
    table(columns, count)
}

fn table(answers: Vec<Answer>, rows: usize) -> Result<Table> {
    let mut columns: Vec<Column> = Vec::with_capacity(answers.len());
    let mut arrays = Vec::with_capacity(answers.len());
    for mut answer in answers {
        let (kind, array) = answer.finish();
        columns.push(Column::new(unique(&answer.name, &columns), kind));
        arrays.push(array);
    }
    let schema = arrow_schema(&columns);
    let batches = if rows == 0 { Vec::new() } else { vec![batch_of(&schema, arrays, rows)?] };
    Table::of_conforming(schema, batches)
}

/// A name that no column has yet: `t` a second time is `t_2`.
fn unique(name: &str, columns: &[Column]) -> String {
    let words: Vec<&str> = name
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let mut base: String = words.join(" ").chars().take(60).collect();
    if base.is_empty() {
        base.push_str("column");
    }
    let taken =
        |name: &str| columns.iter().any(|column| column.name.to_lowercase() == name.to_lowercase());
    let mut found = base.clone();
    let mut number = 2;
    while taken(&found) {
        found = format!("{base}_{number}");
        number += 1;
    }
    found
}

/// A column of the answer, as wide as its values have been so far.
struct Answer {
    name: String,
    declared: Option<ColumnType>,
    values: Values,
    /// Every text so far is a time in canonical form.
    times: bool,
    /// Every whole number so far is 0 or 1.
    truths: bool,
}

enum Values {
    Nothing(usize),
    Ints(Int64Builder),
    Floats(Float64Builder),
    Texts(StringBuilder),
}

impl Answer {
    fn new(name: &str, declared: Option<ColumnType>) -> Self {
        Self {
            name: name.to_owned(),
            declared,
            values: Values::Nothing(0),
            times: true,
            truths: true,
        }
    }

    /// Appends a value, and says how many bytes it has.
    fn push(&mut self, value: ValueRef<'_>) -> Result<usize> {
        match value {
            ValueRef::Null => match &mut self.values {
                Values::Nothing(count) => *count += 1,
                Values::Ints(builder) => builder.append_null(),
                Values::Floats(builder) => builder.append_null(),
                Values::Texts(builder) => builder.append_null(),
            },
            ValueRef::Integer(whole) => self.push_int(whole),
            ValueRef::Real(number) => self.push_float(number),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_bytes| {
                    error::bad_sql(format!("column `{}` is not UTF-8", self.name))
                })?;
                self.times = self.times && time_text::parse_canonical(text).is_some();
                self.widen_to_text();
                if let Values::Texts(builder) = &mut self.values {
                    builder.append_value(text);
                }
                return Ok(text.len() + 8);
            }
            ValueRef::Blob(_) => {
                return Err(error::bad_sql(format!(
                    "column `{}` holds bytes: convert it with hex() or CAST(… AS TEXT)",
                    self.name
                )));
            }
        }
        Ok(9)
    }

    fn push_int(&mut self, whole: i64) {
        self.truths = self.truths && matches!(whole, 0 | 1);
        match &mut self.values {
            Values::Nothing(count) => {
                let mut builder = Int64Builder::new();
                builder.append_nulls(*count);
                builder.append_value(whole);
                self.values = Values::Ints(builder);
            }
            Values::Ints(builder) => builder.append_value(whole),
            Values::Floats(builder) => builder.append_value(number::to_float(whole)),
            Values::Texts(builder) => {
                self.times = false;
                builder.append_value(whole.to_string());
            }
        }
    }

    fn push_float(&mut self, number: f64) {
        let mut widened = match &mut self.values {
            Values::Floats(builder) => return builder.append_value(number),
            Values::Texts(builder) => {
                self.times = false;
                return builder.append_value(format!("{number:?}"));
            }
            Values::Nothing(count) => {
                let mut builder = Float64Builder::new();
                builder.append_nulls(*count);
                builder
            }
            Values::Ints(ints) => {
                let mut builder = Float64Builder::new();
                ints.finish()
                    .iter()
                    .for_each(|whole| builder.append_option(whole.map(number::to_float)));
                builder
            }
        };
        widened.append_value(number);
        self.values = Values::Floats(widened);
    }

    fn widen_to_text(&mut self) {
        if !matches!(self.values, Values::Texts(_)) {
            let mut builder = StringBuilder::new();
            let array = self.take();
            for row in 0..array.len() {
                if array.is_null(row) {
                    builder.append_null();
                } else if let Some(ints) = array.as_primitive_opt::<Int64Type>() {
                    builder.append_value(ints.value(row).to_string());
                } else if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
                    builder.append_value(format!("{:?}", floats.value(row)));
                }
            }
            self.times = self.times && array.null_count() == array.len();
            self.values = Values::Texts(builder);
        }
    }

    /// The values as they are now.
    fn take(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Nothing(count) => new_null_array(&ColumnType::Text.arrow(), *count),
            Values::Ints(builder) => Arc::new(builder.finish()),
            Values::Floats(builder) => Arc::new(builder.finish()),
            Values::Texts(builder) => Arc::new(builder.finish()),
        }
    }

    fn finish(&mut self) -> (ColumnType, ArrayRef) {
        let array = self.take();
        match &self.values {
            Values::Nothing(count) => {
                let kind = self.declared.unwrap_or(ColumnType::Text);
                (kind, new_null_array(&kind.arrow(), *count))
            }
            Values::Ints(_) if self.truths && self.declared == Some(ColumnType::Bool) => {
                let ints = array.as_primitive::<Int64Type>();
                let truths: BooleanArray =
                    ints.iter().map(|whole| whole.map(|whole| whole == 1)).collect();
                (ColumnType::Bool, Arc::new(truths))
            }
            Values::Ints(_) => (ColumnType::Int, array),
            Values::Floats(_) => (ColumnType::Float, array),
            Values::Texts(_) if self.times => {
                let texts = array.as_string::<i32>();
                let times: TimestampMicrosecondArray =
                    texts.iter().map(|text| text.and_then(time_text::parse_canonical)).collect();
                (ColumnType::Time, Arc::new(times.with_timezone("UTC")))
            }
            Values::Texts(_) => (ColumnType::Text, array),
        }
    }
}
