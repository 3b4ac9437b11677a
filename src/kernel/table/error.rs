//! What can go wrong with tables, in the words of those who brought them.

use std::fmt;

use super::schema::Column;
use crate::kernel::name::nearest;
use crate::kernel::{Error, Fault, Kind, Result};

/// How many faults an answer lists; the rest is counted.
const SHOWN: usize = 50;

/// Faults found while reading on: the first ones are kept, all are counted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    shown: Vec<Fault>,
    total: usize,
}

impl Faults {
    pub(super) fn add(&mut self, place: impl Into<String>, detail: impl Into<String>) {
        self.total += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(Fault::new(place, detail));
        }
    }

    /// Refuses if anything was found; `what` is what was read, such as `the CSV`.
    pub(super) fn refuse(self, code: &'static str, what: &str) -> Result<()> {
        if self.total == 0 {
            return Ok(());
        }
        let detail = match self.total {
            1 => format!("{what} has one fault"),
            total if total > SHOWN => {
                format!("{what} has {total} faults; the first {SHOWN} are listed")
            }
            total => format!("{what} has {total} faults"),
        };
        Err(Error::invalid(code, detail, self.shown))
    }
}

/// The first characters of a text from outside, fit to be shown.
pub(super) fn short(text: &str) -> String {
    let mut shown: String =
        text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

pub(super) fn not_text(what: &str) -> Error {
    Error::new(Kind::Invalid, "bad_csv", what)
}

pub(super) fn too_large(what: impl fmt::Display, limit: impl fmt::Display) -> Error {
    Error::new(
        Kind::TooLarge,
        "table_too_large",
        format!("{what} is more than the limit of {limit}"),
    )
}

pub(super) fn arrow(what: &str, source: arrow::error::ArrowError) -> Error {
    Error::new(Kind::Invalid, "bad_table", format!("{what}: {source}")).caused_by(source)
}

pub(super) fn bad_parquet(why: impl fmt::Display) -> Error {
    Error::new(Kind::Invalid, "bad_parquet", format!("the Parquet file cannot be read: {why}"))
}

pub(super) fn bad_arrow(why: impl fmt::Display) -> Error {
    Error::new(Kind::Invalid, "bad_arrow", format!("the Arrow data cannot be read: {why}"))
}

pub(super) fn bad_column(name: &str, why: &str) -> Error {
    Error::new(Kind::Invalid, "bad_column", format!("column `{name}` {why}"))
}

pub(super) fn refuse_columns(faults: Vec<Fault>) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("bad_columns", "the columns do not make a table", faults))
}

pub(super) fn no_column(name: &str, columns: &[Column]) -> Error {
    let known = columns.iter().map(|column| column.name.as_str());
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", listed(known)),
    };
    Error::new(
        Kind::Invalid,
        "column_not_found",
        format!("the table has no column `{name}`: {hint}"),
    )
}

pub(super) fn no_table(name: &str, names: &[String]) -> Error {
    let hint = nearest(name, names.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
    Error::new(Kind::NotFound, "table_not_found", format!("there is no table `{name}`{hint}"))
}

pub(super) fn bad_format(name: &str) -> Error {
    let hint = nearest(name, ["json", "csv", "ndjson", "parquet", "arrow"])
        .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
    Error::new(
        Kind::Invalid,
        "bad_format",
        format!(
            "`{}` is not a format{hint}: json, csv, ndjson, parquet and arrow are",
            short(name)
        ),
    )
}

pub(super) fn not_numbers(column: &str, kind: &str, what: &str) -> Error {
    bad_column(column, &format!("holds {kind}: {what} needs numbers"))
}

pub(super) fn not_time(column: &Column) -> Error {
    bad_column(&column.name, &format!("holds {}, not times", column.kind.name()))
}

/// Names in backticks, the first twenty of them.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    let mut text = all.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > 20 {
        text.push_str(", …");
    }
    if all.is_empty() { "none".to_owned() } else { text }
}
