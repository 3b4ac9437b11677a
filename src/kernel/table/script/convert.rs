//! Between Rhai's values and those of tables.

use rhai::{Array, Dynamic, EvalAltResult, FLOAT, INT, ImmutableString, Map, Position};
use serde_json::Value;

use super::{Answer, ScriptLimits};
use crate::kernel::Error;
use crate::kernel::name::nearest;
use crate::kernel::table::cell::CellRef;
use crate::kernel::table::rows::typed;
use crate::kernel::table::{Cell, Table, time_text};

/// An error of ours as one that a script may catch.
#[expect(clippy::unnecessary_box_returns, reason = "Rhai's errors are boxed")]
pub(super) fn refuse(error: Error) -> Box<EvalAltResult> {
    wrong(error.to_string())
}

#[expect(clippy::unnecessary_box_returns, reason = "Rhai's errors are boxed")]
pub(super) fn wrong(detail: impl Into<String>) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(detail.into().into(), Position::NONE))
}

/// Refuses options that nobody knows.
pub(super) fn options(given: &Map, known: &[&str]) -> Answer<()> {
    match given.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let hint = nearest(name, known.iter().copied())
                .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            Err(wrong(format!("there is no option `{name}`{hint}")))
        }
    }
}

pub(super) fn text(name: &str, value: &Dynamic) -> Answer<String> {
    let text = value.as_immutable_string_ref().map(|text| text.to_string());
    text.map_err(|kind| wrong(format!("`{name}` is a text, not {kind}")))
}

/// One text, or an array of them.
pub(super) fn texts(name: &str, value: &Dynamic) -> Answer<Vec<String>> {
    match value.as_array_ref() {
        Ok(values) => values.iter().map(|value| text(name, value)).collect(),
        Err(_) => text(name, value).map(|one| vec![one]),
    }
}

/// One value, or an array of them.
pub(super) fn cells(name: &str, value: &Dynamic) -> Answer<Vec<Cell>> {
    match value.as_array_ref() {
        Ok(values) => values.iter().map(|value| cell(name, value)).collect(),
        Err(_) => cell(name, value).map(|one| vec![one]),
    }
}

fn cell(name: &str, value: &Dynamic) -> Answer<Cell> {
    Ok(match json_scalar(value) {
        Some(Value::Null) => Cell::Null,
        Some(Value::Bool(truth)) => Cell::Bool(truth),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(whole) => Cell::Int(whole),
            None => Cell::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Some(Value::String(text)) => Cell::Text(text),
        _ => {
            return Err(wrong(format!("`{name}`: a table holds no {}", value.type_name())));
        }
    })
}

fn json_scalar(value: &Dynamic) -> Option<Value> {
    if value.is_unit() {
        return Some(Value::Null);
    }
    if let Ok(truth) = value.as_bool() {
        return Some(truth.into());
    }
    if let Ok(whole) = value.as_int() {
        return Some(whole.into());
    }
    if let Ok(number) = value.as_float() {
        return Some(number.into());
    }
    if let Ok(letter) = value.as_char() {
        return Some(letter.to_string().into());
    }
    value.as_immutable_string_ref().ok().map(|text| text.as_str().into())
}

/// A value as a query's parameter; an array of plain values becomes a list.
#[cfg(feature = "sql")]
pub(super) fn json_of(name: &str, value: &Dynamic) -> Answer<Value> {
    if let Ok(values) = value.as_array_ref() {
        return values.iter().map(|value| plain(name, value)).collect();
    }
    plain(name, value)
}

fn plain(name: &str, value: &Dynamic) -> Answer<Value> {
    json_scalar(value)
        .ok_or_else(|| wrong(format!("`{name}`: a table holds no {}", value.type_name())))
}

/// The table in a value: one as it is, or an array of maps.
#[cfg(feature = "sql")]
pub(super) fn table_of(value: &Dynamic) -> Answer<Option<Table>> {
    if let Some(table) = value.read_lock::<Table>() {
        return Ok(Some(table.clone()));
    }
    match value.as_array_ref() {
        Ok(rows) if rows.first().is_some_and(Dynamic::is_map) => from_array(&rows).map(Some),
        _ => Ok(None),
    }
}

/// A table of an array of maps.
pub(super) fn from_array(rows: &Array) -> Answer<Table> {
    let mut objects = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let row =
            row.as_map_ref().map_err(|kind| wrong(format!("row {at} is {kind}, not a map")))?;
        let object: Answer<serde_json::Map<_, _>> =
            row.iter().map(|(name, value)| Ok((name.to_string(), plain(name, value)?))).collect();
        objects.push(Value::Object(object?));
    }
    Table::from_rows(&objects).map_err(refuse)
}

fn dynamic(cell: CellRef<'_>) -> Dynamic {
    match cell {
        CellRef::Null => Dynamic::UNIT,
        CellRef::Int(whole) => Dynamic::from_int(whole),
        CellRef::Float(number) => Dynamic::from_float(number),
        CellRef::Bool(truth) => Dynamic::from_bool(truth),
        CellRef::Text(text) => ImmutableString::from(text).into(),
        CellRef::Time(micros) => ImmutableString::from(time_text::to_text(micros)).into(),
    }
}

fn check(table: &Table, columns: usize, limits: &ScriptLimits) -> Answer<()> {
    let rows = table.rows();
    if rows <= limits.rows && rows.saturating_mul(columns) <= limits.values {
        return Ok(());
    }
    Err(wrong(format!(
        "{rows} rows with {columns} columns are too many for an array (at most {} rows, {} values): \
         aggregate with table::sql, table::group or table::resample, or take a part with head, slice or select",
        limits.rows, limits.values
    )))
}

/// The rows as maps.
pub(super) fn row_maps(table: &Table, limits: &ScriptLimits) -> Answer<Array> {
    check(table, table.schema().len(), limits)?;
    let mut rows = Array::with_capacity(table.rows());
    for batch in table.batches() {
        let columns = typed(batch);
        for row in 0..batch.num_rows() {
            let cells = table.schema().iter().zip(&columns);
            let map: Map = cells
                .map(|(column, array)| (column.name.as_str().into(), dynamic(array.get(row))))
                .collect();
            rows.push(map.into());
        }
    }
    Ok(rows)
}

/// The values of one column.
pub(super) fn array_of(table: &Table, name: &str, limits: &ScriptLimits) -> Answer<Array> {
    check(table, 1, limits)?;
    let cells = table.column(name).map_err(refuse)?;
    Ok(cells.iter().map(|cell| dynamic(cell.view())).collect())
}

pub(super) fn columns_of(table: &Table) -> Array {
    table.schema().iter().map(|column| column.name.as_str().into()).collect()
}

pub(super) fn schema_maps(table: &Table) -> Array {
    let map = |column: &crate::kernel::table::Column| -> Dynamic {
        let mut map = Map::new();
        map.insert("name".into(), column.name.as_str().into());
        map.insert("type".into(), column.kind.name().into());
        map.insert("unit".into(), column.unit.as_deref().map_or(Dynamic::UNIT, Into::into));
        map.into()
    };
    table.schema().iter().map(map).collect()
}

/// Every column at a glance, by its name.
pub(super) fn stats_maps(table: &Table) -> Answer<Map> {
    let mut all = Map::new();
    for stats in table.stats().map_err(refuse)? {
        let mut map = Map::new();
        let whole = |count: u64| Dynamic::from_int(INT::try_from(count).unwrap_or(INT::MAX));
        map.insert("count".into(), whole(stats.count));
        map.insert("nulls".into(), whole(stats.nulls));
        map.insert("min".into(), scalar(&stats.min));
        map.insert("max".into(), scalar(&stats.max));
        map.insert("mean".into(), stats.mean.map_or(Dynamic::UNIT, Dynamic::from_float));
        all.insert(stats.name.into(), map.into());
    }
    Ok(all)
}

fn scalar(value: &Value) -> Dynamic {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Dynamic::from_int(whole),
            None => Dynamic::from_float(number.as_f64().unwrap_or(FLOAT::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Null | Value::Array(_) | Value::Object(_) => Dynamic::UNIT,
    }
}
