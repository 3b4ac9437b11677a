//! What can go wrong with logs, in the user's words.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::kernel::error::{Error, Fault, Kind};

/// The most bytes of one batch, before it is parsed and after it is decompressed.
pub const BATCH_MAX: usize = 16 << 20;
/// The most bytes of one record.
pub const RECORD_MAX: usize = 256 << 10;
/// The most fields of one record.
pub const FIELDS_MAX: usize = 64;

pub(super) fn closed(why: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "log_closed",
        format!(
            "the log takes no records any more: {why}. Restart the daemon: it then checks what is there"
        ),
    )
}

pub(super) fn ended() -> Error {
    Error::new(Kind::Unavailable, "log_ended", "the log is being shut down")
}

pub(super) fn busy() -> Error {
    Error::new(
        Kind::Limited,
        "log_queue_full",
        "more records wait to be written than the log takes at once: send this batch again a little later",
    )
    .retry_after(Duration::from_secs(1))
}

pub(super) fn disk_full(source: io::Error) -> Error {
    Error::new(
        Kind::Full,
        "disk_full",
        "there is no space for these records; nothing of the batch was kept",
    )
    .caused_by(source)
}

pub(super) fn io(what: impl fmt::Display, source: io::Error) -> Error {
    Error::io(format!("log: {what}"), source)
}

pub(super) fn batch_too_large() -> Error {
    Error::new(
        Kind::TooLarge,
        "batch_too_large",
        "a batch of records has at most 16 MiB: send it in parts",
    )
}

pub(super) fn bad_records(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_records", "records are wrong", faults)
}

pub(super) fn not_json(detail: impl fmt::Display) -> Error {
    Error::new(
        Kind::Malformed,
        "bad_json",
        format!("the body is no JSON array of records: {detail}"),
    )
}

#[cfg(feature = "http")]
pub(super) fn not_of(what: &str) -> Error {
    Error::new(Kind::Malformed, "bad_body", format!("the body is not {what}"))
}

pub(super) fn retry_differs() -> Error {
    Error::new(
        Kind::Conflict,
        "idempotency_key_reused",
        "this Idempotency-Key was used with another batch: choose a new one",
    )
}

pub(super) fn newer(name: &str, version: u16) -> Error {
    Error::new(
        Kind::Newer,
        "segment_newer",
        format!(
            "the log segment {name} has format {version}, which this build does not know: nothing was touched, use a newer dripctl"
        ),
    )
}

pub(super) fn bad_query(faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [fault] => format!("`{}`: {}", fault.pointer, fault.detail),
        _ => "the query is wrong".to_owned(),
    };
    Error::invalid("bad_log_query", detail, faults)
}

/// `position` counts characters from 1.
pub(super) fn bad_text(position: usize, what: impl fmt::Display) -> Error {
    let detail = format!("position {position}: {what}");
    Error::invalid("bad_log_query", format!("`q`, {detail}"), vec![Fault::new("q", detail)])
}

pub(super) fn bad_cursor() -> Error {
    Error::new(
        Kind::Malformed,
        "bad_cursor",
        "this cursor is none that was given out for this order: use `next_cursor` of the page before",
    )
}

pub(super) fn no_stream(name: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "stream_not_found",
        format!("the stream `{name}` has neither settings nor records"),
    )
}

pub(super) fn no_record(seq: u64) -> Error {
    Error::new(
        Kind::NotFound,
        "record_not_found",
        format!("there is no record with the number {seq}"),
    )
}

pub(super) fn bad_stream(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_stream", "the settings of the stream are wrong", faults)
}
