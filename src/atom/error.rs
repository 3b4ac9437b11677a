//! What Atom refuses, in the words of those who ask.

use crate::kernel::name::nearest;
use crate::kernel::{Error, Fault, Kind};

pub(super) fn bad_dataset(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_dataset", "the dataset is not right", faults)
}

pub(super) fn bad_operator(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_operator", "the operator is not right", faults)
}

pub(super) fn bad_inputs(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_inputs", "the inputs do not fit the operator", faults)
}

#[cfg(feature = "http")]
pub(super) fn bad_compute(detail: &str) -> Error {
    Error::invalid("bad_compute", detail, vec![Fault::new("/", detail)])
}

pub(super) fn too_many_rows(rows: usize, most: usize) -> Error {
    Error::invalid(
        "too_many_rows",
        format!("{rows} rows are more than the {most} that one call computes: send them in parts"),
        vec![Fault::new("/rows", format!("at most {most}"))],
    )
}

pub(super) fn latest_is_no_version() -> Error {
    Error::invalid(
        "bad_version",
        "`latest` stands for the latest version and cannot be one: name the version",
        vec![Fault::new("/version", "is reserved")],
    )
}

fn near(name: &str, known: &[String]) -> String {
    nearest(name, known.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!(": did you mean `{near}`?"))
}

pub(super) fn no_dataset(name: &str, version: &str, known: &[String]) -> Error {
    Error::new(
        Kind::NotFound,
        "dataset_not_found",
        format!("the dataset `{name}@{version}` does not exist{}", near(name, known)),
    )
}

pub(super) fn no_operator(name: &str, version: &str, known: &[String]) -> Error {
    Error::new(
        Kind::NotFound,
        "operator_not_found",
        format!("the operator `{name}@{version}` does not exist{}", near(name, known)),
    )
}

pub(super) fn no_grant(operator: &str, user: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "grant_not_found",
        format!("`{user}` has no grant for the operator `{operator}`"),
    )
}

/// The same for an operator that is not there: a consumer does not learn which exist.
pub(super) fn not_granted(operator: &str, user: &str) -> Error {
    Error::new(
        Kind::Denied,
        "not_granted",
        format!(
            "`{user}` was not granted the operator `{operator}`: ask its publisher for a grant"
        ),
    )
}

pub(super) fn exists(what: &str) -> Error {
    Error::new(Kind::Stale, "exists_already", format!("`{what}` exists already"))
}

pub(super) fn stale(what: &str, wanted: u64, found: Option<u64>) -> Error {
    let found =
        found.map_or_else(|| "is not there".to_owned(), |found| format!("is at revision {found}"));
    Error::new(
        Kind::Stale,
        "stale_revision",
        format!("`{what}` {found}, not at {wanted}: read it again before you change it"),
    )
}

pub(super) fn broken(operator: &str, why: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "operator_broken",
        format!("the operator `{operator}` is kept and cannot be served: {why}"),
    )
}

pub(super) fn no_such_unit(column: &str) -> Fault {
    Fault::new(format!("unit.{column}"), format!("there is no column `{column}`"))
}

#[cfg(feature = "http")]
pub(super) fn too_large(what: &str, most: u64, hint: &str) -> Error {
    Error::new(Kind::TooLarge, "body_too_large", format!("{what} may have {most} bytes: {hint}"))
}

#[cfg(feature = "http")]
pub(super) fn cut_off() -> Error {
    Error::new(Kind::Malformed, "body_cut_off", "the body ended before it was complete")
}

#[cfg(feature = "http")]
pub(super) fn no_media_type(found: Option<&str>) -> Error {
    let found: String = found.unwrap_or("nothing").chars().take(60).collect();
    Error::new(
        Kind::Unsupported,
        "unsupported_media_type",
        format!(
            "the Content-Type says `{found}`: send text/csv, application/x-ndjson, \
             application/vnd.apache.parquet or application/vnd.apache.arrow.stream"
        ),
    )
}
