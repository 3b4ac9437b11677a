//! Functions of one row that SQLite does not have as it is built here: mathematics, and times.

use std::f64::consts::PI;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result};

use crate::kernel::table::ops::{bucket_start, bucket_width};
use crate::kernel::table::{number, time_text};

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

type One = (&'static str, fn(f64) -> f64);

/// As SQLite's own mathematics have them, where they are built in.
const ONE: [One; 23] = [
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("degrees", f64::to_degrees),
    ("exp", f64::exp),
    ("ln", ln),
    ("log", log10),
    ("log10", log10),
    ("log2", log2),
    ("radians", f64::to_radians),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("cbrt", f64::cbrt),
    ("sq", square),
    ("cube", cube),
];

const WHOLE: [One; 4] =
    [("ceil", f64::ceil), ("ceiling", f64::ceil), ("floor", f64::floor), ("trunc", f64::trunc)];

type Two = (&'static str, fn(f64, f64) -> f64);

const TWO: [Two; 5] = [
    ("atan2", f64::atan2),
    ("pow", f64::powf),
    ("power", f64::powf),
    ("mod", remainder),
    ("log", log),
];

fn square(x: f64) -> f64 {
    x * x
}

fn cube(x: f64) -> f64 {
    x * x * x
}

fn remainder(x: f64, y: f64) -> f64 {
    x % y
}

fn log(base: f64, x: f64) -> f64 {
    ln(x) / ln(base)
}

fn ln(x: f64) -> f64 {
    if x > 0.0 { x.ln() } else { f64::NAN }
}

fn log10(x: f64) -> f64 {
    if x > 0.0 { x.log10() } else { f64::NAN }
}

fn log2(x: f64) -> f64 {
    if x > 0.0 { x.log2() } else { f64::NAN }
}

pub(super) fn register(database: &Connection) -> Result<()> {
    for (name, compute) in ONE {
        database.create_scalar_function(name, 1, FLAGS, move |context| {
            Ok(number_at(context, 0).map(compute))
        })?;
    }
    for (name, compute) in TWO {
        database.create_scalar_function(name, 2, FLAGS, move |context| {
            let numbers = number_at(context, 0).zip(number_at(context, 1));
            Ok(numbers.map(|(x, y)| compute(x, y)))
        })?;
    }
    for (name, round) in WHOLE {
        database.create_scalar_function(name, 1, FLAGS, move |context| {
            Ok(match context.get_raw(0) {
                ValueRef::Integer(whole) => Value::Integer(whole),
                _ => number_at(context, 0).map_or(Value::Null, |x| Value::Real(round(x))),
            })
        })?;
    }
    database.create_scalar_function("pi", 0, FLAGS, |_| Ok(PI))?;
    database.create_scalar_function("time_bucket", 2, FLAGS, time_bucket)?;
    database.create_scalar_function("to_time", 1, FLAGS, to_time)
}

/// The number in an argument; a text that is one counts, anything else is none.
pub(super) fn number_at(context: &Context<'_>, at: usize) -> Option<f64> {
    match context.get_raw(at) {
        ValueRef::Integer(whole) => Some(number::to_float(whole)),
        ValueRef::Real(number) => Some(number),
        ValueRef::Text(_) => context.get_raw(at).as_str().ok()?.trim().parse().ok(),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn wrong(what: String) -> Error {
    Error::UserFunctionError(what.into())
}

/// The time in an argument, or nothing for null.
fn time_at(context: &Context<'_>, at: usize, name: &str) -> Result<Option<i64>> {
    let value = context.get_raw(at);
    if value == ValueRef::Null {
        return Ok(None);
    }
    let micros = value.as_str().ok().and_then(time_text::parse_partial);
    micros.map(Some).ok_or_else(|| {
        let shown = value.as_str().map_or("a number", |text| text);
        wrong(format!("{name}: `{}` is not a time", crate::kernel::table::error::short(shown)))
    })
}

/// `time_bucket('10m', t)`: the start of the ten minutes that `t` falls into, in UTC. Weeks start on
/// Mondays.
fn time_bucket(context: &mut Context<'_>) -> Result<ToSqlOutput<'static>> {
    let Some(micros) = time_at(context, 1, "time_bucket")? else {
        return Ok(ToSqlOutput::Owned(Value::Null));
    };
    let width = context.get_or_create_aux(0, |width| -> Result<i64> {
        let text = width
            .as_str()
            .map_err(|_kind| wrong("time_bucket: the width is a text such as '10m'".into()))?;
        bucket_width(text).ok_or_else(|| {
            let shown = crate::kernel::table::error::short(text);
            wrong(format!("time_bucket: `{shown}` is not a width: write '10m', '1 hour' or '1d'"))
        })
    })?;
    let text = time_text::to_text(bucket_start(micros, *width));
    Ok(ToSqlOutput::Owned(Value::Text(text)))
}

/// Any way of writing a time, in the canonical one.
fn to_time(context: &mut Context<'_>) -> Result<ToSqlOutput<'static>> {
    let text = time_at(context, 0, "to_time")?.map(time_text::to_text);
    Ok(ToSqlOutput::Owned(text.map_or(Value::Null, Value::Text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read_as_people_write_them() {
        let minute = 60_000_000;
        for (text, micros) in [
            ("10m", 10 * minute),
            ("1 hour", 60 * minute),
            ("2 hours", 120 * minute),
            ("15 min", 15 * minute),
            ("1d", 1_440 * minute),
            ("1 week", 7 * 1_440 * minute),
            ("30 s", minute / 2),
            ("5 seconds", minute / 12),
            ("250ms", 250_000),
            ("250 milliseconds", 250_000),
        ] {
            assert_eq!(bucket_width(text), Some(micros), "{text}");
        }
        for wrong in ["", "m", "0m", "1 month", "-1h", "1.5h", "99999999999999999d"] {
            assert_eq!(bucket_width(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn buckets_before_1970_and_weeks_start_where_they_should() {
        let text = |text: &str, width: &str| {
            let micros = time_text::parse(text).unwrap().micros;
            time_text::to_text(bucket_start(micros, bucket_width(width).unwrap()))
        };
        assert_eq!(text("1969-12-31T23:59:00Z", "10m"), "1969-12-31T23:50:00.000000Z");
        assert_eq!(text("2014-03-30T01:00:00Z", "1w"), "2014-03-24T00:00:00.000000Z");
        assert_eq!(text("2014-03-31T01:00:00Z", "1w"), "2014-03-31T00:00:00.000000Z");
    }
}
