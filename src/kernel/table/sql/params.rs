//! Values from outside, bound to a query's parameters.

use rusqlite::Statement;
use rusqlite::types::Value as SqlValue;
use serde_json::Value;

use super::error;
use super::fence::Fence;
use crate::kernel::name::nearest;
use crate::kernel::{Error, Fault, Result};

/// Binds an array to `?`, an object to `:name`; each must be used, and each used must be there.
pub(super) fn bind(statement: &mut Statement<'_>, params: &Value, fence: &Fence) -> Result<()> {
    let names: Vec<Option<String>> = (1..=statement.parameter_count())
        .map(|at| statement.parameter_name(at).map(str::to_owned))
        .collect();
    let values = match params {
        Value::Null => by_place(&names, &[])?,
        Value::Array(values) => by_place(&names, values)?,
        Value::Object(values) => by_name(&names, values)?,
        _ => return Err(error::bad_sql("the parameters are an array or an object")),
    };
    for (at, value) in values.into_iter().enumerate() {
        statement.raw_bind_parameter(at + 1, value).map_err(|why| error::explain(why, fence))?;
    }
    Ok(())
}

fn by_place(names: &[Option<String>], values: &[Value]) -> Result<Vec<SqlValue>> {
    if names.len() == values.len() {
        return Ok(values.iter().map(sql_value).collect());
    }
    let named: Vec<_> = names.iter().flatten().map(String::as_str).collect();
    let hint = if named.is_empty() {
        String::new()
    } else {
        format!(": {}", super::super::error::listed(named.into_iter()))
    };
    Err(error::bad_sql(format!(
        "the query has {} parameters, and {} values were given{hint}",
        names.len(),
        values.len()
    )))
}

fn by_name(
    names: &[Option<String>],
    values: &serde_json::Map<String, Value>,
) -> Result<Vec<SqlValue>> {
    let mut faults = Vec::new();
    let bare: Vec<&str> = names
        .iter()
        .map(|name| name.as_deref().and_then(|name| name.get(1..)).unwrap_or("?"))
        .collect();
    for given in values.keys().filter(|given| !bare.contains(&given.as_str())) {
        let hint = nearest(given, bare.iter().copied())
            .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        faults.push(Fault::new(
            format!("/params/{given}"),
            format!("the query has no `:{given}`{hint}"),
        ));
    }
    let mut bound = Vec::with_capacity(bare.len());
    for name in bare {
        match values.get(name) {
            Some(value) => bound.push(sql_value(value)),
            None => faults.push(Fault::new(format!("/params/{name}"), "no value was given")),
        }
    }
    if faults.is_empty() {
        return Ok(bound);
    }
    Err(Error::invalid("bad_sql", "the parameters do not fit the query", faults))
}

/// Lists and objects become JSON text, for `json_each`.
fn sql_value(value: &Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Bool(truth) => SqlValue::Integer(i64::from(*truth)),
        Value::Number(number) => number
            .as_i64()
            .map(SqlValue::Integer)
            .or_else(|| number.as_f64().map(SqlValue::Real))
            .unwrap_or(SqlValue::Null),
        Value::String(text) => SqlValue::Text(text.clone()),
        nested => SqlValue::Text(nested.to_string()),
    }
}
