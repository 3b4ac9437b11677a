//! What fiche says when it cannot do what was asked. Programs match on the code words.

use super::kinds::Kinds;
use super::model::{CardKey, CardKind, Stage};
use crate::kernel::{Error, Fault, Kind};

/// A kind that there is not, where one is looked for.
pub(super) fn no_such_kind(given: &str, kinds: &Kinds) -> Error {
    let shown: String = given.chars().take(60).collect();
    Error::new(
        Kind::NotFound,
        "unknown_kind",
        format!("`{shown}` is no kind of card: use one of {}", kinds.list()),
    )
}

/// A kind that there is not, in what was sent.
pub(super) fn bad_kind(given: &str, kinds: &Kinds) -> Error {
    let detail = no_such_kind(given, kinds).detail().to_owned();
    Error::invalid("unknown_kind", detail, vec![Fault::new("/kind", kinds.list())])
}

/// The sentence for a stage that there is not.
pub(super) fn unknown_stage(given: &str) -> String {
    let shown: String = given.chars().take(60).collect();
    let words: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
    format!("`{shown}` is no stage: use one of {}", words.join(", "))
}

pub(super) fn bad_stage(given: &str) -> Error {
    let detail = unknown_stage(given);
    Error::invalid("unknown_stage", detail.clone(), vec![Fault::new("/stage", detail)])
}

pub(super) fn card_not_found(key: &CardKey) -> Error {
    Error::new(
        Kind::NotFound,
        "card_not_found",
        format!("there is no card `{key}`: `GET /api/v1/cards/{}` lists those there are", key.kind),
    )
}

pub(super) fn card_deleted(key: &CardKey) -> Error {
    Error::new(
        Kind::NotFound,
        "card_not_found",
        format!(
            "the card `{key}` was deleted; its history can still be read, and saving it again goes on from there"
        ),
    )
}

pub(super) fn no_versions(kind: CardKind, name: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "card_not_found",
        format!("there is no card `{kind}/{name}` of any version"),
    )
}

pub(super) fn revision_not_found(key: &CardKey, revision: u64, last: u64) -> Error {
    Error::new(
        Kind::NotFound,
        "revision_not_found",
        format!("the card `{key}` never had a revision {revision}: the last one is {last}"),
    )
}

/// Everything that is wrong with a card.
pub(super) fn bad_card(faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [only] => format!("the card is not valid: `{}`: {}", only.pointer, only.detail),
        many => format!("the card is not valid in {} places", many.len()),
    };
    Error::invalid("bad_card", detail, faults)
}

pub(super) fn card_too_large(bytes: usize, limit: usize) -> Error {
    Error::new(
        Kind::TooLarge,
        "card_too_large",
        format!(
            "the card has {bytes} bytes and may have {limit}: keep what is large in an artifact and refer to it"
        ),
    )
}

pub(super) fn too_deep(limit: usize) -> Error {
    let detail = format!("JSON may be nested {limit} deep here");
    Error::invalid(
        "json_too_deep",
        format!("the body is nested too deep: {detail}"),
        vec![Fault::new("", detail)],
    )
}

pub(super) fn latest_is_no_version(pointer: &str) -> Error {
    let detail = "`latest` stands for the highest version there is: name the version itself";
    Error::invalid("latest_is_no_version", detail, vec![Fault::new(pointer, detail)])
}

pub(super) fn stage_is_moved_apart(key: &CardKey, has: Stage, wanted: Stage) -> Error {
    let detail = format!(
        "saving never moves a card: `{key}` is in `{has}`; to move it to `{wanted}`, POST to its /stage (`dripctl fiche stage`)"
    );
    Error::invalid("stage_not_moved_by_save", detail.clone(), vec![Fault::new("/stage", detail)])
}

pub(super) fn move_not_allowed(key: &CardKey, from: Stage, to: Stage, next: &[Stage]) -> Error {
    let words: Vec<_> = next.iter().map(|stage| stage.as_str()).collect();
    let allowed = if words.is_empty() { "nowhere".to_owned() } else { words.join(", ") };
    Error::new(
        Kind::Conflict,
        "stage_move_not_allowed",
        format!("`{key}` cannot move from `{from}` to `{to}`: from there it may go to {allowed}"),
    )
}

pub(super) fn stale(key: &CardKey, expected: u64, found: Option<u64>) -> Error {
    let found = found.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
    Error::new(
        Kind::Stale,
        "stale_revision",
        format!(
            "the card `{key}` was expected at revision {expected} and is at {found}: read it again"
        ),
    )
}

pub(super) fn exists(key: &CardKey) -> Error {
    Error::new(
        Kind::Stale,
        "card_exists",
        format!("the card `{key}` exists, and it was to be made new (`If-None-Match: *`)"),
    )
}

pub(super) fn too_busy(key: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "card_contended",
        format!("`{key}` is being changed by too many at once: try again"),
    )
    .retry_after(std::time::Duration::from_secs(1))
}

/// One parameter of a call that is wrong.
pub(super) fn bad_parameter(code: &'static str, name: &str, why: impl Into<String>) -> Error {
    let why = why.into();
    Error::invalid(code, format!("`{name}`: {why}"), vec![Fault::new(name, why)])
}

#[cfg(feature = "client")]
pub(super) fn observer_not_found(name: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "observer_not_found",
        format!("there is no observer `{name}`: `GET /api/v1/observers` lists those there are"),
    )
}

#[cfg(feature = "client")]
pub(super) fn observer_exists(name: &str) -> Error {
    Error::new(
        Kind::Stale,
        "observer_exists",
        format!("the observer `{name}` exists, and it was to be made new (`If-None-Match: *`)"),
    )
}

#[cfg(feature = "client")]
pub(super) fn stale_observer(name: &str, expected: u64, found: Option<u64>) -> Error {
    let found = found.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
    Error::new(
        Kind::Stale,
        "stale_revision",
        format!(
            "the observer `{name}` was expected at revision {expected} and is at {found}: read it again"
        ),
    )
}

#[cfg(feature = "client")]
pub(super) fn too_many_observers(most: u64) -> Error {
    Error::new(
        Kind::Conflict,
        "too_many_observers",
        format!(
            "there are {most} observers, and no more may be: delete one, or let one tell others"
        ),
    )
}

pub(super) fn index_unavailable(why: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "index_unavailable",
        format!("the search index cannot be used right now and is being rebuilt: {why}"),
    )
    .retry_after(std::time::Duration::from_secs(1))
}
