//! What DaShare refuses, in the words of those who ask.

use std::time::Duration;

use super::model::QuotaState;
use crate::kernel::name::nearest;
use crate::kernel::{Error, Fault, Kind};

pub(super) fn no_such_word(what: &str, word: &str, known: &[&str]) -> Error {
    let shown: String = word.chars().take(40).collect();
    let hint = nearest(word, known.iter().copied())
        .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
    Error::new(
        Kind::Invalid,
        "bad_word",
        format!("`{shown}` is no {what}{hint}: use {}", known.join(", ")),
    )
}

pub(super) fn bad_rate(text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::new(
        Kind::Invalid,
        "bad_rate",
        format!(
            "`{shown}` is no rate: write a number from 1 to 1000000 and /s, /m, /h or /d, such as 10/s"
        ),
    )
}

pub(super) fn bad_channel_name(text: &str) -> Error {
    let shown: String = text.chars().take(60).collect();
    Error::new(
        Kind::Invalid,
        "bad_channel_name",
        format!("`{shown}` names no channel: write group/name, such as wind/scada"),
    )
}

pub(super) fn bad_quota(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_quota", "the quota is not right", faults)
}

pub(super) fn bad_channel(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_channel", "the channel is not right", faults)
}

pub(super) fn bad_grant(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_grant", "the grant is not right", faults)
}

pub(super) fn bad_data_query(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_query", "the request for data is not right", faults)
}

pub(super) fn bad_cursor() -> Error {
    Error::new(
        Kind::Malformed,
        "bad_cursor",
        "this cursor belongs to another request, or the data changed since: ask again without a cursor",
    )
}

pub(super) fn group_reserved() -> Error {
    Error::invalid(
        "group_reserved",
        "the group `user` is reserved: choose another one",
        vec![Fault::new("/group", "is reserved")],
    )
}

pub(super) fn no_channel(channel: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "channel_not_found",
        format!(
            "the channel `{channel}` does not exist: `dripctl dashare channel list` shows those that do"
        ),
    )
}

pub(super) fn channel_exists(channel: &str) -> Error {
    Error::new(Kind::Stale, "channel_exists", format!("the channel `{channel}` exists already"))
}

pub(super) fn stale(what: &str, wanted: u64, found: u64) -> Error {
    Error::new(
        Kind::Stale,
        "stale_revision",
        format!(
            "`{what}` is at revision {found}, not {wanted}: read it again before you change it"
        ),
    )
}

pub(super) fn no_grant(channel: &str, user: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "grant_not_found",
        format!("`{user}` has no grant for the channel `{channel}`"),
    )
}

/// The same for a channel that is not there: a consumer does not learn which exist.
pub(super) fn not_granted(channel: &str, user: &str) -> Error {
    Error::new(
        Kind::Denied,
        "not_granted",
        format!("`{user}` was not granted the channel `{channel}`: ask its publisher for a grant"),
    )
}

pub(super) fn not_yours(user: &str) -> Error {
    Error::new(
        Kind::Denied,
        "not_allowed",
        format!("you may read your own quota and usage, not those of `{user}`"),
    )
}

pub(super) fn no_user(user: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "user_not_found",
        format!("there is no account `{user}`: make it first"),
    )
}

pub(super) fn no_dataset(dataset: &str, names: &[String]) -> Error {
    let hint = nearest(dataset, names.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
    Error::invalid(
        "dataset_not_found",
        format!("there is no dataset `{dataset}`{hint}"),
        vec![Fault::new("/dataset", "does not exist")],
    )
}

pub(super) fn dataset_gone(channel: &str, dataset: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "dataset_not_found",
        format!(
            "the channel `{channel}` shares the dataset `{dataset}`, which is not there any more"
        ),
    )
}

pub(super) fn channel_broken(channel: &str, column: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "channel_broken",
        format!(
            "the channel `{channel}` shares the column `{column}`, which its data do not have any more"
        ),
    )
}

pub(super) fn too_large(what: &str, limit: impl std::fmt::Display) -> Error {
    Error::new(
        Kind::TooLarge,
        "answer_too_large",
        format!(
            "the answer has more than {limit} {what}: ask for a shorter range, fewer columns, or with `limit` and the cursor"
        ),
    )
}

#[cfg(feature = "http")]
pub(super) fn head_not_here() -> Error {
    Error::new(
        Kind::NoMethod,
        "method_not_allowed",
        "HEAD would be charged and bring nothing: use GET",
    )
}

pub(super) fn too_fast(channel: &str, rate: &str, wait: Duration) -> Error {
    Error::new(
        Kind::Limited,
        "rate_limited",
        format!("the channel `{channel}` may be asked {rate}: wait a little"),
    )
    .retry_after(wait)
}

pub(super) fn exhausted(quota: &QuotaState, cost: u64, wait: Option<Duration>) -> Error {
    let QuotaState { channel, unit, limit, period, remaining, .. } = quota;
    let error = Error::new(
        Kind::Limited,
        "quota_exhausted",
        format!(
            "this request needs {cost} {unit} of the channel `{channel}`; {remaining} of {limit} are left ({period})"
        ),
    );
    match wait {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

pub(super) fn contended(channel: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "quota_contended",
        format!("too many requests change the quota of `{channel}` at once: try again"),
    )
    .retry_after(Duration::from_secs(1))
}
