//! A bucket of another S3 store, taken in: streamed through, compared on its way, and gone on with
//! where it was cut off.
//!
//! Each object remembers the tag that it had there; one that is here with the same tag and size is not
//! sent again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use md5::Md5;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Attribute, ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ImportArgs;
use crate::cask::client::{CaskClient, Sending};
use crate::cask::model::{BucketSettings, OCTETS};
use crate::cask::{error, lock};
use crate::kernel::blobs::S3Place;
use crate::kernel::cli::Output;
use crate::kernel::config::Secret;
use crate::kernel::name::hex;
use crate::kernel::{Digest, Error, Kind, Result};

/// What remembers the tag that an object had in the other store.
const SOURCE: &str = "source-etag";
/// So many objects are on their way at once.
const ABREAST: usize = 4;
/// How long one request to the other store may take, with all its bytes.
const TIMEOUT: Duration = Duration::from_mins(30);

/// What became of an object.
#[derive(Serialize)]
struct Refused {
    key: String,
    code: String,
    detail: String,
}

/// The two ends.
struct Import<'a> {
    cask: &'a CaskClient,
    source: AmazonS3,
    bucket: String,
    bar: ProgressBar,
}

pub(super) async fn run(cask: &CaskClient, args: ImportArgs, out: Output) -> Result<()> {
    let place = S3Place {
        url: args.source,
        endpoint: args.endpoint,
        region: args.region,
        access_key: Some(args.access_key),
        secret_key: Some(Secret::new(args.secret_key)),
        timeout: TIMEOUT,
    };
    let (bucket, prefix) = place.bucket_and_prefix()?;
    let source = place.open()?;
    let wanted = list(&source, prefix).await?;
    let target = args.to.unwrap_or_else(|| bucket.to_owned());
    let here = here(cask, &target).await?;
    let is_new = |meta: &ObjectMeta| {
        let tag = meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
        here.get(meta.location.as_ref()) != Some(&(meta.size, tag))
    };
    let count = wanted.len();
    let new: Vec<ObjectMeta> = wanted.into_iter().filter(is_new).collect();
    let skipped = count - new.len();
    let bytes: u64 = new.iter().map(|meta| meta.size).sum();
    if args.dry_run {
        let told = format!(
            "{} objects, {bytes} bytes would go into {target}; {skipped} are there already",
            new.len()
        );
        let value = json!({"objects": new.len(), "bytes": bytes, "skipped": skipped});
        return out.done(&told, &value);
    }
    make_bucket(cask, &target).await?;
    let bar = out.progress(&format!("import into {target}"), Some(bytes));
    let import = Import { cask, source, bucket: target.clone(), bar };
    let of = &import;
    let outcomes: Vec<_> = futures::stream::iter(&new)
        .map(|meta| async move { (meta, of.take(meta).await) })
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    import.bar.finish_and_clear();
    tell(&outcomes, &target, skipped, out)
}

fn tell(
    outcomes: &[(&ObjectMeta, Result<()>)],
    target: &str,
    skipped: usize,
    out: Output,
) -> Result<()> {
    let mut refused: Vec<Refused> = outcomes
        .iter()
        .filter_map(|(meta, outcome)| {
            let error = outcome.as_ref().err()?;
            let (code, detail) = (error.code().to_owned(), error.detail().to_owned());
            Some(Refused { key: meta.location.to_string(), code, detail })
        })
        .collect();
    refused.sort_by(|a, b| a.key.cmp(&b.key));
    let kept = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    let (mut count, mut bytes) = (0_usize, 0);
    for (meta, _) in kept {
        count += 1;
        bytes += meta.size;
    }
    out.done(
        &format!(
            "took {count} objects, {bytes} bytes into {target}; {skipped} were there already, {} were refused",
            refused.len()
        ),
        &json!({"objects": count, "bytes": bytes, "skipped": skipped, "refused": refused}),
    )?;
    if refused.is_empty() {
        return Ok(());
    }
    if !out.is_json() {
        out.rows(&refused, &["key", "code", "detail"], "")?;
    }
    Err(error::not_imported(refused.len()))
}

async fn list(source: &AmazonS3, prefix: &str) -> Result<Vec<ObjectMeta>> {
    let prefix = Path::parse(prefix).map_err(error::source_failed)?;
    let prefix = Some(&prefix).filter(|prefix| !prefix.as_ref().is_empty());
    let mut found: Vec<ObjectMeta> =
        source.list(prefix).try_collect().await.map_err(error::source_failed)?;
    found.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(found)
}

/// The size and the remembered tag of everything that is here already.
async fn here(cask: &CaskClient, bucket: &str) -> Result<BTreeMap<String, (u64, Option<String>)>> {
    let listed = match cask.list(bucket, "").await {
        Err(error) if error.kind() == Kind::NotFound => Vec::new(),
        listed => listed?,
    };
    let of = |object: &Value| {
        let key = object.get("key")?.as_str()?.to_owned();
        let tag = object.get("meta").and_then(|meta| meta.get(SOURCE)).and_then(Value::as_str);
        Some((key, (object.get("size")?.as_u64()?, tag.map(str::to_owned))))
    };
    Ok(listed.iter().filter_map(of).collect())
}

async fn make_bucket(cask: &CaskClient, bucket: &str) -> Result<()> {
    match cask.bucket(bucket).await {
        Err(error) if error.kind() == Kind::NotFound => {
            cask.save_bucket(bucket, &BucketSettings::default()).await.map(drop)
        }
        found => found.map(drop),
    }
}

/// The hashes of what has passed.
#[derive(Default)]
struct Passed {
    sha256: Sha256,
    md5: Md5,
}

impl Import<'_> {
    /// Takes one object: its bytes stream from there to here, and are compared with what both say.
    async fn take(&self, meta: &ObjectMeta) -> Result<()> {
        let got = self.source.get(&meta.location).await.map_err(error::source_failed)?;
        let mut said = BTreeMap::new();
        let mut content_type = OCTETS.to_owned();
        for (attribute, value) in &got.attributes {
            match attribute {
                Attribute::ContentType => value.as_ref().clone_into(&mut content_type),
                Attribute::Metadata(name) => {
                    said.insert(name.to_lowercase(), value.as_ref().to_owned());
                }
                _ => {}
            }
        }
        let tag = got.meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
        said.extend(tag.clone().map(|tag| (SOURCE.to_owned(), tag)));
        let length = got.meta.size;
        let passed = Arc::new(Mutex::new(Passed::default()));
        let (passing, bar) = (passed.clone(), self.bar.clone());
        let pieces = got.into_stream().inspect_ok(move |piece| {
            let mut passed = lock(&passing);
            passed.sha256.update(piece);
            passed.md5.update(piece);
            bar.inc(piece.len() as u64);
        });
        let body = reqwest::Body::wrap_stream(pieces);
        let sending = Sending { body, length, sha256: None };
        let (bucket, key) = (self.bucket.as_str(), meta.location.as_ref());
        let kept = self.cask.put_with(bucket, key, &content_type, &said, sending).await?;
        let passed = std::mem::take(&mut *lock(&passed));
        let outcome = compare(passed, kept.sha256, tag.as_deref());
        if outcome.is_err() {
            // What is not what it was there is not kept.
            self.cask.delete(bucket, key, None).await?;
        }
        outcome
    }
}

/// The digest here must be that of what passed, and so must the tag there, where it is an MD5.
fn compare(passed: Passed, kept: Digest, tag: Option<&str>) -> Result<()> {
    let found = Digest(passed.sha256.finalize().into());
    if found != kept {
        return Err(error::digest_mismatch(found, kept));
    }
    let md5 = hex(&passed.md5.finalize());
    let is_md5 = |tag: &&str| tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    match tag.filter(is_md5) {
        Some(tag) if !tag.eq_ignore_ascii_case(&md5) => Err(Error::new(
            Kind::Invalid,
            "source_mismatch",
            format!("the other store said the MD5 {tag}, and {md5} came"),
        )),
        _ => Ok(()),
    }
}
