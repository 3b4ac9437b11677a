//! Tables from JSON objects: values at hand, lines of NDJSON, or a document. As with CSV, the rows
//! are gone through twice: once for names and types, once for the columns.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Table;
use super::cell::CellRef;
use super::error::{Faults, short};
use super::read::Limits;
use super::read::infer::{self, Look, Tally, Verdict};
use super::rows::RowsBuilder;
use super::schema::{Column, ColumnType, name_faults};
use crate::kernel::{Error, Kind, Result};

type Row<'a> = Cow<'a, Map<String, Value>>;

/// What is done with each row: its place, and the row or what is wrong with it.
type Visit<'v> = dyn FnMut(String, Result<Row<'_>, String>) -> Result<()> + 'v;

/// Somewhere rows can be gone through more than once.
trait Rows {
    /// Calls `visit` with each row.
    fn each(&self, visit: &mut Visit<'_>) -> Result<()>;
}

struct Values<'a>(&'a [Value]);

impl Rows for Values<'_> {
    fn each(&self, visit: &mut Visit<'_>) -> Result<()> {
        for (at, value) in self.0.iter().enumerate() {
            let row = value.as_object().map(Cow::Borrowed);
            visit(format!("/{at}"), row.ok_or_else(|| "is not an object".to_owned()))?;
        }
        Ok(())
    }
}

struct Lines<'a>(&'a [u8]);

impl Rows for Lines<'_> {
    fn each(&self, visit: &mut Visit<'_>) -> Result<()> {
        let bytes = self.0.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(self.0);
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let row = serde_json::from_slice::<Value>(line)
                .map_err(|source| format!("is not JSON: {source}"))
                .and_then(|value| match value {
                    Value::Object(row) => Ok(Cow::Owned(row)),
                    _ => Err("is not a JSON object".to_owned()),
                });
            visit(format!("line {}", at + 1), row)?;
        }
        Ok(())
    }
}

pub(super) fn from_values(rows: &[Value]) -> Result<Table> {
    read(&Values(rows), "bad_rows", "the table", &Limits { rows: u64::MAX, ..Limits::default() })
}

pub(super) fn from_lines(bytes: &[u8], limits: &Limits) -> Result<Table> {
    read(&Lines(bytes), "bad_ndjson", "the NDJSON", limits)
}

pub(super) fn from_document(bytes: &[u8], limits: &Limits) -> Result<Table> {
    let malformed = |why: String| Error::new(Kind::Invalid, "bad_json", why);
    let document: Value = serde_json::from_slice(bytes).map_err(|source| {
        malformed(format!("the table is not JSON: {source}")).caused_by(source)
    })?;
    let rows = match &document {
        Value::Array(rows) => Some(rows),
        Value::Object(object) => object.get("items").and_then(Value::as_array),
        _ => None,
    };
    let rows = rows.ok_or_else(|| {
        malformed("a table in JSON is an array of objects, or {\"items\": [{…}, …]}".to_owned())
    })?;
    read(&Values(rows), "bad_json", "the table", limits)
}

fn read(rows: &dyn Rows, code: &'static str, what: &str, limits: &Limits) -> Result<Table> {
    let names = learn(rows, limits)?;
    let mut faults = Faults::default();
    for fault in name_faults(names.order.iter().map(|(name, _)| name.as_str())) {
        faults.add(fault.pointer, fault.detail);
    }
    let columns: Vec<(Column, Verdict)> = names
        .order
        .iter()
        .map(|(name, tally)| (tally.of_values(), name))
        .map(|(verdict, name)| (Column::new(name, verdict.kind), verdict))
        .collect();
    let table = build(rows, &columns, &mut faults)?;
    faults.refuse(code, what)?;
    table.finish()
}

/// The names of all rows, in the order in which they first stand there, and what was seen of them.
#[derive(Default)]
struct Names {
    order: Vec<(String, Tally)>,
    places: HashMap<String, usize>,
}

fn learn(rows: &dyn Rows, limits: &Limits) -> Result<Names> {
    let mut names = Names::default();
    let mut count = 0_u64;
    rows.each(&mut |_, row| {
        count += 1;
        limits.check_rows(count)?;
        let Ok(row) = row else { return Ok(()) };
        for (name, value) in row.iter() {
            let at = if let Some(at) = names.places.get(name) {
                *at
            } else {
                limits.check_columns(names.order.len() + 1)?;
                names.places.insert(name.clone(), names.order.len());
                names.order.push((name.clone(), Tally::default()));
                names.order.len() - 1
            };
            if let Some((_, tally)) = names.order.get_mut(at) {
                tally.add(look(value));
            }
        }
        Ok(())
    })?;
    Ok(names)
}

fn look(value: &Value) -> Look {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => Look::Empty,
        Value::Bool(_) => Look::Bool,
        Value::Number(number) if number.is_i64() => Look::Int,
        Value::Number(_) => Look::Float,
        // A text is a text, even if it looks like a number; only times have no other form in JSON.
        Value::String(text) => match infer::look(text) {
            time @ (Look::Zoned | Look::Zoneless) => time,
            _ => Look::Text,
        },
    }
}

fn build(
    rows: &dyn Rows,
    columns: &[(Column, Verdict)],
    faults: &mut Faults,
) -> Result<RowsBuilder> {
    let plain: Vec<Column> = columns.iter().map(|(column, _)| column.clone()).collect();
    let mut table = RowsBuilder::new(&plain);
    rows.each(&mut |place, row| {
        let row = match row {
            Ok(row) => row,
            Err(why) => {
                faults.add(place, why);
                return Ok(());
            }
        };
        for (at, (column, verdict)) in columns.iter().enumerate() {
            match row.get(&column.name).map_or(Ok(CellRef::Null), |value| cell(value, *verdict)) {
                Ok(cell) => table.push(at, cell),
                Err(why) => {
                    faults.add(&place, format!("column `{}`: {why}", short(&column.name)));
                    table.push(at, CellRef::Null);
                }
            }
        }
        table.end_row()
    })?;
    Ok(table)
}

fn cell(value: &Value, verdict: Verdict) -> Result<CellRef<'_>, String> {
    let cell = match (verdict.kind, value) {
        (_, Value::Null) => CellRef::Null,
        (ColumnType::Int, Value::Number(number)) => {
            number.as_i64().map_or(CellRef::Null, CellRef::Int)
        }
        (ColumnType::Float, Value::Number(number)) => {
            number.as_f64().map_or(CellRef::Null, CellRef::Float)
        }
        (ColumnType::Bool, Value::Bool(truth)) => CellRef::Bool(*truth),
        (ColumnType::Text, Value::String(text)) => CellRef::Text(text),
        (ColumnType::Time, Value::String(text)) if text.is_empty() => CellRef::Null,
        (ColumnType::Time, Value::String(text)) => infer::time(text, verdict.zoned)?,
        (kind, value) => {
            return Err(format!(
                "`{}` is {}, and the column holds {}",
                short(&value.to_string()),
                kind_of(value),
                kind.name()
            ));
        }
    };
    Ok(cell)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(text: &str) -> Result<Table> {
        from_lines(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn rows_go_both_ways() {
        let rows = vec![
            json!({"t": "2014-01-01T00:00:00.000000Z", "n": 1, "x": 1.0, "ok": true, "s": "7"}),
            json!({"t": "2014-01-01T00:10:00.000000Z", "n": null, "x": 2.5, "ok": false, "s": "é"}),
        ];
        let table = Table::from_rows(&rows).unwrap();
        let kinds: Vec<_> = table.schema().iter().map(|column| column.kind.name()).collect();
        assert_eq!(kinds, ["time", "int", "float", "bool", "text"]);
        assert_eq!(table.to_rows(), rows);
    }

    #[test]
    fn columns_come_in_the_order_they_are_first_seen_and_gaps_are_null() {
        let table = lines("{\"b\":1}\n\n{\"a\":\"x\",\"b\":2.5}\r\n").unwrap();
        assert_eq!(
            Value::Array(table.to_rows()),
            json!([{"b": 1.0, "a": null}, {"b": 2.5, "a": "x"}])
        );
    }

    #[test]
    fn every_bad_line_is_named() {
        let error =
            lines("{\"a\":1}\n{\"a\":\n[1]\n{\"a\":\"x\"}\n{\"a\":2}\n{\"a\":[1]}\n").unwrap_err();
        let places: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["line 2", "line 3", "line 4", "line 6"]);
        assert_eq!(
            error.faults()[2].detail,
            "column `a`: `\"x\"` is text, and the column holds int"
        );
        assert_eq!(error.code(), "bad_ndjson");
    }

    #[test]
    fn documents_are_arrays_or_items() {
        let limits = Limits::default();
        for text in ["[{\"a\":1}]", "{\"items\":[{\"a\":1}]}"] {
            assert_eq!(from_document(text.as_bytes(), &limits).unwrap().rows(), 1);
        }
        for text in ["{}", "7", "[1]", "{", ""] {
            assert_eq!(from_document(text.as_bytes(), &limits).unwrap_err().kind(), Kind::Invalid);
        }
        let few = Limits { columns: 1, ..Limits::default() };
        assert_eq!(from_lines(b"{\"a\":1,\"b\":2}", &few).unwrap_err().kind(), Kind::TooLarge);
    }
}
