//! A daemon's store: copies, versions, buckets, and whether its bytes are still those it was given.

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{BucketArgs, remote};
use crate::cask::client::CaskClient;
use crate::cask::error;
use crate::cask::model::{BucketSettings, Place};
use crate::kernel::cli::Output;
use crate::kernel::config::parse_bytes;
use crate::kernel::{Error, Kind, Result};

fn place(text: &str, version: Option<String>) -> Result<Place> {
    let (bucket, key) = remote::split(text)?;
    Ok(Place { version, ..Place::new(bucket, key) })
}

pub(super) async fn copy(
    cask: &CaskClient,
    from: &str,
    to: &str,
    version: Option<String>,
    out: Output,
) -> Result<()> {
    let copied = cask.copy(&place(from, version)?, &place(to, None)?).await?;
    out.done(&format!("copied {from} to {to} ({} bytes)", copied.size), &copied)
}

pub(super) async fn relocate(cask: &CaskClient, from: &str, to: &str, out: Output) -> Result<()> {
    let moved = cask.relocate(&place(from, None)?, &place(to, None)?).await?;
    out.done(&format!("moved {from} to {to} ({} bytes)", moved.size), &moved)
}

pub(super) async fn versions(cask: &CaskClient, place: &str, out: Output) -> Result<()> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let found = cask.versions(bucket, prefix).await?;
    let empty = format!(
        "nothing here: `dripctl cask bucket {bucket} --versions 10` keeps the last ten of each object"
    );
    out.rows(&found, &["key", "version", "is_latest", "size", "updated_at"], &empty)
}

pub(super) async fn bucket(cask: &CaskClient, args: BucketArgs, out: Output) -> Result<()> {
    let BucketArgs { bucket, max_bytes, ttl, versions, evict, delete } = args;
    if delete {
        cask.delete_bucket(&bucket).await?;
        return out.done(&format!("deleted the bucket {bucket}"), &json!({"deleted": bucket}));
    }
    let before = match cask.bucket(&bucket).await {
        Ok(found) => Some(found),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    let is_change = max_bytes.is_some() || ttl.is_some() || versions.is_some() || evict.is_some();
    if let (Some(found), false) = (&before, is_change) {
        return out.object(found);
    }
    // What is not said stays as it is.
    let limit = |given: Option<String>, before: Option<u64>| match given.as_deref() {
        None => Ok(before),
        Some("none") => Ok(None),
        Some(text) => bytes(text).map(Some),
    };
    let settings = BucketSettings {
        max_bytes: limit(max_bytes, before.as_ref().and_then(|bucket| bucket.max_bytes))?,
        ttl: match ttl.as_deref() {
            None => before.as_ref().and_then(|bucket| bucket.ttl.clone()),
            Some("none") => None,
            Some(text) => Some(text.to_owned()),
        },
        versions: versions.or_else(|| before.as_ref().map(|bucket| bucket.versions)),
        evict: evict.or_else(|| before.as_ref().map(|bucket| bucket.evict)),
    };
    let saved = cask.save_bucket(&bucket, &settings).await?;
    let did = if before.is_some() { "changed" } else { "made" };
    out.done(&format!("{did} the bucket {bucket}"), &saved)
}

fn bytes(text: &str) -> Result<u64> {
    parse_bytes(text).map_err(|_bad| {
        error::usage(format!("`{text}` is no size: write a number of bytes, or 10GiB"))
    })
}

/// Reads the lines of the daemon with a bar, and tells what is damaged.
pub(super) async fn verify(cask: &CaskClient, out: Output) -> Result<()> {
    let mut pieces = std::pin::pin!(cask.verify().await?);
    let bar = out.progress("verify", Some(0));
    let mut rest = Vec::new();
    let mut report = None;
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let said: Value = serde_json::from_slice(&line)
                .map_err(|source| Error::internal(format!("the daemon's line: {source}")))?;
            let number = |field: &str| said.get(field).and_then(Value::as_u64);
            if said.get("damaged").is_some() || said.get("error").is_some() {
                report = Some(said);
            } else if said.get("owner").is_some() {
                bar.inc(number("size").unwrap_or(0));
            } else {
                bar.set_length(number("bytes").unwrap_or(0));
            }
        }
    }
    bar.finish_and_clear();
    tell(&report.ok_or_else(|| error::connection_lost("the report is missing"))?, out)
}

fn tell(report: &Value, out: Output) -> Result<()> {
    if let Some(failed) = report.get("error").and_then(Value::as_str) {
        return Err(Error::new(Kind::Internal, "not_verified", failed));
    }
    let none = Vec::new();
    let damaged = report.get("damaged").and_then(Value::as_array).unwrap_or(&none);
    let number = |field: &str| report.get(field).and_then(Value::as_u64).unwrap_or(0);
    let (count, bytes) = (number("count"), number("bytes"));
    out.done(
        &format!("read {count} objects and packages, {bytes} bytes: {} damaged", damaged.len()),
        report,
    )?;
    if damaged.is_empty() {
        return Ok(());
    }
    if !out.is_json() {
        out.rows(damaged, &["owner", "code", "detail"], "")?;
    }
    Err(error::damage_found(damaged.len()))
}
