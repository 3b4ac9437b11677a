//! Lists: both forms of a bucket's objects, and their versions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, EncodingType, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Api, answer, values};
use crate::cask::Listing;
use crate::cask::model::{ObjectInfo, ObjectList, VersionInfo};

type Answer<T> = S3Result<S3Response<T>>;

/// Behind every key that starts with what stands before it.
const BEHIND: char = char::MAX;

/// A page of a list, and where it ended.
struct Page {
    list: ObjectList,
    end: Option<String>,
}

impl Api {
    async fn page(
        &self,
        bucket: &str,
        prefix: Option<&str>,
        delimiter: Option<&str>,
        after: Option<String>,
        limit: usize,
    ) -> S3Result<Page> {
        let bucket = bucket.to_owned();
        if limit == 0 {
            self.work(move |cask| cask.bucket(&bucket)).await?;
            let list = ObjectList { items: Vec::new(), prefixes: Vec::new(), next_cursor: None };
            return Ok(Page { list, end: None });
        }
        let listing = Listing {
            prefix: prefix.unwrap_or_default().to_owned(),
            delimiter: delimiter.map(str::to_owned),
            after,
            limit,
        };
        let (list, end) = self.work(move |cask| cask.list(&bucket, &listing)).await?;
        Ok(Page { list, end })
    }
}

/// Whether keys shall be encoded as in a URL.
fn is_encoded(encoding: Option<&EncodingType>) -> S3Result<bool> {
    match encoding.map(EncodingType::as_str) {
        None => Ok(false),
        Some(EncodingType::URL) => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "the one encoding is url")),
    }
}

fn object(item: ObjectInfo, encode: bool, with_owner: bool) -> Object {
    Object {
        e_tag: Some(values::etag(&item.etag.unwrap_or_else(|| item.sha256.to_hex()))),
        key: Some(values::encoded(&item.key, encode)),
        last_modified: Some(values::time(item.updated_at)),
        owner: with_owner.then(values::owner),
        size: Some(values::size(item.size)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    }
}

fn common(prefixes: Vec<String>, encode: bool) -> Option<Vec<CommonPrefix>> {
    let prefix = |prefix: String| CommonPrefix { prefix: Some(values::encoded(&prefix, encode)) };
    (!prefixes.is_empty()).then(|| prefixes.into_iter().map(prefix).collect())
}

/// Where a list goes on behind a key, or behind all keys of a prefix that was shown for them.
fn behind(marker: &str, delimiter: Option<&str>) -> String {
    let is_prefix =
        delimiter.is_some_and(|delimiter| !delimiter.is_empty() && marker.ends_with(delimiter));
    if is_prefix { format!("{marker}{BEHIND}") } else { marker.to_owned() }
}

pub(super) async fn v1(
    api: &Api,
    request: S3Request<ListObjectsInput>,
) -> Answer<ListObjectsOutput> {
    let input = request.input;
    let encode = is_encoded(input.encoding_type.as_ref())?;
    let limit = values::page(input.max_keys, "max-keys")?;
    let delimiter = input.delimiter.as_deref();
    let after = input.marker.as_deref().filter(|marker| !marker.is_empty());
    let after = after.map(|marker| behind(marker, delimiter));
    let page = api.page(&input.bucket, input.prefix.as_deref(), delimiter, after, limit).await?;
    let end = page.end.map(|end| end.trim_end_matches(BEHIND).to_owned());
    let shown = |text: &String| values::encoded(text, encode);
    answer(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(input.prefix.as_ref().map(shown).unwrap_or_default()),
        marker: Some(input.marker.as_ref().map(shown).unwrap_or_default()),
        max_keys: Some(values::count(limit)),
        is_truncated: Some(end.is_some()),
        contents: Some(page.list.items.into_iter().map(|o| object(o, encode, true)).collect()),
        common_prefixes: common(page.list.prefixes, encode),
        delimiter: input.delimiter.as_ref().map(shown),
        next_marker: end.as_ref().map(shown),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub(super) async fn v2(
    api: &Api,
    request: S3Request<ListObjectsV2Input>,
) -> Answer<ListObjectsV2Output> {
    let input = request.input;
    let encode = is_encoded(input.encoding_type.as_ref())?;
    let limit = values::page(input.max_keys, "max-keys")?;
    let delimiter = input.delimiter.as_deref();
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => Some(opened(token)?),
        (None, Some(start)) if !start.is_empty() => Some(behind(start, delimiter)),
        _ => None,
    };
    let page = api.page(&input.bucket, input.prefix.as_deref(), delimiter, after, limit).await?;
    let with_owner = input.fetch_owner == Some(true);
    let count = page.list.items.len() + page.list.prefixes.len();
    let shown = |text: &String| values::encoded(text, encode);
    let items = page.list.items.into_iter().map(|item| object(item, encode, with_owner));
    answer(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(input.prefix.as_ref().map(shown).unwrap_or_default()),
        max_keys: Some(values::count(limit)),
        key_count: Some(values::count(count)),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.end.is_some()),
        next_continuation_token: page.end.map(|end| URL_SAFE_NO_PAD.encode(end)),
        contents: Some(items.collect()),
        common_prefixes: common(page.list.prefixes, encode),
        delimiter: input.delimiter.as_ref().map(shown),
        encoding_type: input.encoding_type,
        start_after: input.start_after.as_ref().map(shown),
        request_charged: None,
    })
}

fn opened(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        s3_error!(InvalidArgument, "the continuation token is not one that was given out")
    })
}

pub(super) async fn versions(
    api: &Api,
    request: S3Request<ListObjectVersionsInput>,
) -> Answer<ListObjectVersionsOutput> {
    let input = request.input;
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "versions are listed without a delimiter"));
    }
    let encode = is_encoded(input.encoding_type.as_ref())?;
    let limit = values::page(input.max_keys, "max-keys")?;
    let key = input.key_marker.clone().filter(|key| !key.is_empty());
    let after = key.map(|key| match input.version_id_marker.as_deref() {
        Some(version) if version != "null" => format!("{key}\u{1}{version}"),
        _ => key,
    });
    let listing =
        Listing { prefix: input.prefix.clone().unwrap_or_default(), delimiter: None, after, limit };
    let bucket = input.bucket.clone();
    let (settings, list, end) = api
        .work(move |cask| {
            let settings = cask.bucket(&bucket)?;
            let (list, end) = cask.versions(&bucket, &listing)?;
            Ok((settings, list, end))
        })
        .await?;
    let are_kept = settings.versions > 0;
    let items = list.items.into_iter().take(limit);
    let shown: Vec<_> = items.map(|item| version(item, encode, are_kept)).collect();
    let last = shown.last().filter(|_| end.is_some() && limit > 0);
    answer(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(values::encoded(input.prefix.as_deref().unwrap_or_default(), encode)),
        key_marker: Some(input.key_marker.unwrap_or_default()),
        version_id_marker: input.version_id_marker,
        max_keys: Some(values::count(limit)),
        is_truncated: Some(last.is_some()),
        next_key_marker: last.and_then(|last| last.key.clone()),
        next_version_id_marker: last.and_then(|last| last.version_id.clone()),
        encoding_type: input.encoding_type,
        versions: Some(shown),
        ..ListObjectVersionsOutput::default()
    })
}

fn version(item: VersionInfo, encode: bool, are_kept: bool) -> ObjectVersion {
    let VersionInfo { object, is_latest } = item;
    // Where none are kept now, the newest is called as S3 calls it before versions are turned on.
    let name = if are_kept || !is_latest { object.version } else { "null".to_owned() };
    ObjectVersion {
        checksum_algorithm: None::<Vec<ChecksumAlgorithm>>,
        e_tag: Some(values::etag(&object.etag.unwrap_or_else(|| object.sha256.to_hex()))),
        is_latest: Some(is_latest),
        key: Some(values::encoded(&object.key, encode)),
        last_modified: Some(values::time(object.updated_at)),
        owner: Some(values::owner()),
        size: Some(values::size(object.size)),
        storage_class: Some(ObjectVersionStorageClass::from_static(
            ObjectVersionStorageClass::STANDARD,
        )),
        version_id: Some(name),
        ..ObjectVersion::default()
    }
}
