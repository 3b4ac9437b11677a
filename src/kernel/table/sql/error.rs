//! What is wrong with a query, in SQLite's words where they are the best there are.

use rusqlite::ErrorCode;
use rusqlite::ffi;

use super::SqlLimits;
use super::fence::{Ended, Fence};
use crate::kernel::clock::show_duration;
use crate::kernel::name::nearest;
use crate::kernel::table::{TableCatalog, error};
use crate::kernel::{Error, Kind, Result};

pub(super) fn bad_sql(detail: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, "bad_sql", detail)
}

pub(super) fn empty() -> Error {
    bad_sql("the query is empty: write a SELECT")
}

pub(super) fn check_text(text: &str, limits: &SqlLimits) -> Result<()> {
    if text.len() > limits.text {
        return Err(too_large(&format!("the query is longer than {} bytes", limits.text)));
    }
    if text.contains('\0') {
        return Err(bad_sql("the query holds a zero byte"));
    }
    Ok(())
}

pub(super) fn too_large(detail: &str) -> Error {
    Error::new(Kind::TooLarge, "sql_too_large", detail)
}

pub(super) fn too_many_tables(limit: usize) -> Error {
    bad_sql(format!("the query mentions more than {limit} tables"))
}

pub(super) fn no_table(name: &str, catalog: &dyn TableCatalog) -> Error {
    let near = error::no_table(name, &catalog.names());
    Error::new(Kind::Invalid, "table_not_found", near.detail())
}

/// The table that SQLite did not find.
pub(super) fn missing_table(why: &rusqlite::Error) -> Option<&str> {
    message(why)?.strip_prefix("no such table: ")
}

fn message(why: &rusqlite::Error) -> Option<&str> {
    match why {
        rusqlite::Error::SqlInputError { msg, .. }
        | rusqlite::Error::SqliteFailure(_, Some(msg)) => Some(msg),
        _ => None,
    }
}

fn code(why: &rusqlite::Error) -> Option<&ffi::Error> {
    match why {
        rusqlite::Error::SqlInputError { error, .. } | rusqlite::Error::SqliteFailure(error, _) => {
            Some(error)
        }
        _ => None,
    }
}

/// Says what went wrong, from what SQLite says and from what the fence noted.
pub(super) fn explain(why: rusqlite::Error, fence: &Fence) -> Error {
    let mut notes = fence.notes();
    if let Some(failure) = notes.failure.take() {
        return failure;
    }
    if let Some(ended) = notes.ended.take() {
        return end(ended, &fence.limits).caused_by(why);
    }
    if let Some(denied) = notes.denied.take() {
        return Error::new(
            Kind::Invalid,
            "sql_not_allowed",
            format!("{denied} is not allowed: a query only reads the tables it is given"),
        )
        .caused_by(why);
    }
    let text = message(&why).map_or_else(|| why.to_string(), str::to_owned);
    match code(&why).map(|error| error.code) {
        Some(ErrorCode::TooBig) => {
            too_large(&format!("the query, or a value in it, is too long ({text})"))
        }
        Some(ErrorCode::OutOfMemory) => too_large("the query needs more memory than it may have"),
        _ => bad_sql(format!("{text}{}", hint(&text, &notes.columns))),
    }
    .caused_by(why)
}

fn end(ended: Ended, limits: &SqlLimits) -> Error {
    let detail = match ended {
        Ended::Late => format!("the query took longer than {}", show_duration(limits.time)),
        Ended::Steps => format!("the query took more than {} steps", limits.operations),
        Ended::Stopped => "the query was stopped".to_owned(),
    };
    Error::new(Kind::TimedOut, "sql_timeout", detail)
}

fn hint(text: &str, columns: &std::collections::HashSet<String>) -> String {
    let Some(column) = text.strip_prefix("no such column: ") else {
        return String::new();
    };
    let column = column.rsplit('.').next().unwrap_or(column);
    nearest(column, columns.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}
