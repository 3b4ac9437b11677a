//! What cask tells people when it refuses: each sentence and its code word once.

use std::fmt::Display;
use std::path::Path;

use crate::kernel::{Digest, Error, Fault, Kind};

pub(super) fn bucket_not_found(bucket: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "bucket_not_found",
        format!("there is no bucket `{bucket}`: make it with PUT /api/v1/buckets/{bucket}"),
    )
}

pub(super) fn bucket_exists(bucket: &str) -> Error {
    Error::new(Kind::Conflict, "bucket_exists", format!("there is a bucket `{bucket}` already"))
}

pub(super) fn bucket_not_empty(bucket: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "bucket_not_empty",
        format!(
            "the bucket `{bucket}` still holds objects or previous versions: delete them first"
        ),
    )
}

pub(super) fn bucket_built_in(bucket: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "bucket_built_in",
        format!("the bucket `{bucket}` belongs to cask and stays"),
    )
}

pub(super) fn bad_ttl(text: &str) -> Error {
    let why = "a duration such as `12h` or `30d`, longer than nothing";
    Error::invalid(
        "bad_ttl",
        format!("`{text}` is no age for objects: write {why}"),
        vec![Fault::new("/ttl", why)],
    )
}

pub(super) fn bad_versions(versions: u32) -> Error {
    let why = format!("a number up to {}", super::model::VERSIONS_MAX);
    Error::invalid(
        "bad_versions",
        format!("{versions} previous versions of each object are too many: write {why}"),
        vec![Fault::new("/versions", why)],
    )
}

pub(super) fn version_not_found(bucket: &str, key: &str, version: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "version_not_found",
        format!("there is no version `{version}` of the object `{key}` in the bucket `{bucket}`"),
    )
}

pub(super) fn upload_not_found(upload: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "upload_not_found",
        format!("there is no upload `{upload}`: it was completed, given up, or never begun"),
    )
}

pub(super) fn bad_part(number: u16, why: &str) -> Error {
    Error::invalid(
        "bad_part",
        format!("part {number} {why}"),
        vec![Fault::new(format!("/parts/{number}"), why)],
    )
}

pub(super) fn part_too_small(number: u16, size: u64, least: u64) -> Error {
    Error::invalid(
        "part_too_small",
        format!("part {number} has {size} bytes; every part but the last has {least} or more"),
        vec![Fault::new(format!("/parts/{number}"), format!("at least {least} bytes"))],
    )
}

pub(super) fn parts_out_of_order() -> Error {
    Error::invalid("parts_out_of_order", "the parts are not in the order of their numbers", vec![])
}

pub(super) fn checksum_mismatch(algorithm: &str, said: &str, found: &str) -> Error {
    Error::invalid(
        "checksum_mismatch",
        format!(
            "the bytes that came have the {algorithm} {found}, not {said}: nothing was kept, send them again"
        ),
        vec![Fault::new(algorithm, format!("the bytes have {found}"))],
    )
}

#[cfg(feature = "s3")]
pub(super) fn key_exists(access_key: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "key_exists",
        format!(
            "there is an access key `{access_key}` already: take it back first, or name another"
        ),
    )
}

#[cfg(feature = "s3")]
pub(super) fn key_not_found(access_key: &str) -> Error {
    Error::new(Kind::NotFound, "key_not_found", format!("there is no access key `{access_key}`"))
}

#[cfg(feature = "http")]
pub(super) fn bad_md5() -> Error {
    Error::new(
        Kind::Malformed,
        "bad_md5",
        "`Content-MD5` is the Base64 of the 16 bytes of an MD5, as RFC 1864 has it",
    )
}

pub(super) fn range_outside(size: u64) -> Error {
    Error::new(
        Kind::Range,
        "range_outside",
        format!("the range lies outside the {size} bytes that there are"),
    )
}

#[cfg(feature = "http")]
pub(super) fn nobody_listens() -> Error {
    Error::internal("whoever asked is gone")
}

pub(super) fn onto_itself() -> Error {
    Error::new(
        Kind::Conflict,
        "onto_itself",
        "an object cannot be moved onto itself: name another place",
    )
}

pub(super) fn object_not_found(bucket: &str, key: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "object_not_found",
        format!("there is no object `{key}` in the bucket `{bucket}`"),
    )
}

pub(super) fn quota_reached(bucket: &str, max_bytes: u64) -> Error {
    Error::new(
        Kind::Full,
        "quota_reached",
        format!(
            "the bucket `{bucket}` may hold {max_bytes} bytes and this would be more: delete something, or raise `max_bytes`"
        ),
    )
}

pub(super) fn digest_mismatch(said: Digest, found: Digest) -> Error {
    Error::invalid(
        "digest_mismatch",
        format!(
            "the bytes that came have the SHA-256 {found}, not {said}: nothing was kept, send them again"
        ),
        vec![Fault::new("Drip-Sha256", format!("the bytes have {found}"))],
    )
}

pub(super) fn body_cut_off(detail: impl Display) -> Error {
    Error::new(
        Kind::Malformed,
        "body_cut_off",
        format!("the body ended before it was complete, nothing was kept: {detail}"),
    )
}

pub(super) fn wrong_length(said: u64, found: u64) -> Error {
    body_cut_off(format!("{said} bytes were announced and {found} came"))
}

pub(super) fn condition_failed(why: &str) -> Error {
    Error::new(Kind::Stale, "condition_failed", format!("the condition does not hold: {why}"))
}

pub(super) fn bad_meta(faults: Vec<Fault>) -> Error {
    Error::invalid("bad_meta", "the object's headers cannot be kept", faults)
}

pub(super) fn busy(what: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "too_many_writers",
        format!("too many writers change `{what}` at once: try again"),
    )
    .retry_after(std::time::Duration::from_secs(1))
}

pub(super) fn package_not_found(name: &str, version: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "package_not_found",
        if version == "latest" {
            format!("there is no package `{name}`")
        } else {
            format!("there is no package `{name}` in version `{version}`")
        },
    )
}

pub(super) fn package_exists(name: &str, version: &str, kept: Digest) -> Error {
    Error::new(
        Kind::Conflict,
        "package_exists",
        format!(
            "`{name}` `{version}` was pushed with other bytes ({kept}) and never changes: push another version"
        ),
    )
}

pub(super) fn metadata_disagrees(faults: Vec<Fault>) -> Error {
    Error::invalid(
        "metadata_disagrees",
        "the package says another name or version of itself than the path it was sent to",
        faults,
    )
}

pub(super) fn latest_is_no_version() -> Error {
    Error::invalid(
        "bad_version",
        "`latest` stands for the highest version and cannot be one",
        vec![Fault::new("/version", "not `latest`")],
    )
}

pub(super) fn refused(why: impl Display) -> Error {
    Error::new(Kind::Invalid, "package_refused", format!("the package is refused: {why}"))
}

pub(super) fn record_differs(faults: Vec<Fault>) -> Error {
    Error::invalid("record_differs", "the package holds other files than its RECORD says", faults)
}

pub(super) fn bad_metadata(why: String) -> Error {
    Error::new(
        Kind::Invalid,
        "bad_metadata",
        format!("`.cask/METADATA.toml` cannot be used: {why}"),
    )
}

pub(super) fn nothing_to_verify() -> Error {
    Error::new(
        Kind::Invalid,
        "nothing_to_verify",
        "the package has no METADATA or no RECORD: its archive is whole, but there is nothing to compare its files with",
    )
}

pub(super) fn bad_entry(path: &str, why: &str) -> Error {
    Error::new(Kind::Invalid, "bad_entry", format!("`{path}` cannot go into a package: it {why}"))
}

pub(super) fn changed_meanwhile(path: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "changed_meanwhile",
        format!("`{path}` changed while it was packed: try again"),
    )
}

pub(super) fn no_such_file(path: &Path) -> Error {
    Error::new(Kind::NotFound, "file_not_found", format!("there is no `{}`", path.display()))
}

pub(super) fn no_workspace(folder: &Path) -> Error {
    Error::new(
        Kind::NotFound,
        "no_workspace",
        format!(
            "`{}` holds no `.cask`: make it with `dripctl cask create-workspace`",
            folder.display()
        ),
    )
}

pub(super) fn target_not_empty(target: &Path) -> Error {
    Error::new(
        Kind::Conflict,
        "target_not_empty",
        format!(
            "`{}` is not empty: choose another folder, or replace what the package brings with --force",
            target.display()
        ),
    )
}

#[cfg(feature = "cli")]
pub(super) fn usage(detail: impl Into<String>) -> Error {
    Error::new(Kind::Usage, "usage", detail)
}

#[cfg(feature = "cli")]
pub(super) fn bad_requirement(text: &str, why: impl Display) -> Error {
    usage(format!(
        "`{text}` names no package: write NAME, NAME@VERSION or a range such as 'NAME>=1.2,<2' ({why})"
    ))
}

#[cfg(feature = "cli")]
pub(super) fn no_version_within(name: &str, range: &str, versions: &[String]) -> Error {
    let there = match versions {
        [] => "there is no such package".to_owned(),
        some => format!("there are {}", some.join(", ")),
    };
    Error::new(
        Kind::NotFound,
        "package_not_found",
        format!("there is no version of `{name}` within {range}: {there}"),
    )
}

#[cfg(feature = "s3-store")]
pub(super) fn not_imported(count: usize) -> Error {
    Error::new(
        Kind::Invalid,
        "not_imported",
        format!("{count} objects were not taken in: see above; run it again for those"),
    )
}

#[cfg(feature = "s3-store")]
pub(super) fn source_failed(what: impl Display) -> Error {
    Error::new(Kind::Unavailable, "source_failed", format!("the other store: {what}"))
}

#[cfg(feature = "cli")]
pub(super) fn damage_found(count: usize) -> Error {
    Error::new(
        Kind::Internal,
        "damage_found",
        format!("{count} objects are damaged: put them again, or take them from a backup"),
    )
}

#[cfg(feature = "cli")]
pub(super) fn script_failed(how: &str) -> Error {
    Error::new(
        Kind::Invalid,
        "script_failed",
        format!("the package was installed, but its install script {how}"),
    )
}

#[cfg(feature = "script")]
pub(super) fn too_large_for_script(size: u64, most: u64) -> Error {
    Error::new(
        Kind::TooLarge,
        "object_too_large",
        format!("the object has {size} bytes; a script takes at most {most} into its memory"),
    )
}

#[cfg(feature = "script")]
pub(super) fn too_many_for_script(most: usize) -> Error {
    Error::new(
        Kind::TooLarge,
        "list_too_long",
        format!("more than {most} objects: give a longer prefix"),
    )
}

#[cfg(feature = "client")]
pub(super) fn connection_lost(source: impl Display) -> Error {
    Error::new(
        Kind::Unavailable,
        "connection_lost",
        format!("the transfer broke off, nothing was written: {source}"),
    )
}
