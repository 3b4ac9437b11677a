//! Objects: put, got, looked at.

use std::collections::BTreeMap;
use std::ops::Range;

use s3s::dto::{
    ChecksumAlgorithm, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use sync_wrapper::SyncStream;

use super::checksums::{self, Sum, said, show};
use super::values::{self, Conditions};
use super::{Api, answer, caller, error};
use crate::cask::format::ObjectRow;
use crate::cask::model::{ObjectInfo, PutOptions};
use crate::cask::reading::Opened;
use crate::cask::seal::{self, Seal};
use crate::kernel::name::hex;

type Answer<T> = S3Result<S3Response<T>>;

/// Wishes that are refused rather than ignored.
macro_rules! refuse_what_is_ignored {
    ($input:expr) => {{
        let input = &$input;
        let is_plain = |acl: &s3s::dto::ObjectCannedACL| {
            ["private", "bucket-owner-full-control", "bucket-owner-read"].contains(&acl.as_str())
        };
        let encryption = input.server_side_encryption.is_some()
            || input.sse_customer_algorithm.is_some()
            || input.sse_customer_key.is_some()
            || input.ssekms_key_id.is_some();
        let lock = input.object_lock_mode.is_some()
            || input.object_lock_legal_hold_status.is_some()
            || input.object_lock_retain_until_date.is_some();
        let grants = input.grant_full_control.is_some()
            || input.grant_read.is_some()
            || input.grant_read_acp.is_some()
            || input.grant_write_acp.is_some();
        let wish = if encryption {
            Some("encryption by the server")
        } else if lock {
            Some("object locks")
        } else if grants || !input.acl.as_ref().is_none_or(is_plain) {
            Some("access lists")
        } else if input.website_redirect_location.is_some() {
            Some("redirects")
        } else {
            None
        };
        match wish {
            Some(wish) => Err(s3s::s3_error!(NotImplemented, "{wish}: Drip has none")),
            None => Ok(()),
        }
    }};
}
pub(super) use refuse_what_is_ignored;

/// The headers that are kept to be sent with an object.
macro_rules! sent_headers {
    ($input:expr) => {{
        let input = &$input;
        let mut headers = std::collections::BTreeMap::new();
        for (name, value) in [
            ("cache-control", &input.cache_control),
            ("content-disposition", &input.content_disposition),
            ("content-encoding", &input.content_encoding),
            ("content-language", &input.content_language),
        ] {
            if let Some(value) = value {
                headers.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(text) = input.expires.as_ref().and_then(crate::cask::s3::values::expires_text) {
            headers.insert("expires".to_owned(), text);
        }
        headers
    }};
}
pub(super) use sent_headers;

pub(super) async fn put(
    api: &Api,
    mut request: S3Request<PutObjectInput>,
) -> Answer<PutObjectOutput> {
    refuse_what_is_ignored!(request.input)?;
    if request.input.write_offset_bytes.is_some() {
        return Err(s3_error!(NotImplemented, "objects are written as a whole"));
    }
    let caller = caller(&request)?;
    let body = request.input.body.take();
    let input = &request.input;
    let wanted = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let sum = Sum::of(&request, said!(input), wanted)?;
    let options = PutOptions {
        content_type: input.content_type.clone(),
        meta: values::meta_of(input.metadata.clone()),
        headers: without_chunked(sent_headers!(input)),
        tags: input.tagging.as_deref().map_or(Ok(BTreeMap::new()), values::tags_of_header)?,
        sha256: None,
        md5: md5_of(input.content_md5.as_deref())?,
        length: input.content_length.and_then(|length| u64::try_from(length).ok()),
        guard: values::guard(input.if_match.as_ref(), input.if_none_match.as_ref())?,
    };
    let said_md5 = options.md5;
    let (bytes, md5) = seal::md5_of(sum.pass(body));
    let seal = move || {
        let md5 = md5.end();
        if let Some(said) = said_md5 {
            seal::same_md5(said, md5)?;
        }
        Ok(Seal { etag: Some(hex(&md5)), checksums: sum.end()?, parts: Vec::new() })
    };
    let (bucket, key) = (&input.bucket, &input.key);
    let kept = api.cask.put_sealed(&caller, bucket, key, options, bytes, seal).await;
    let placed = kept.map_err(error::shown)?;
    let mut output = PutObjectOutput {
        e_tag: placed.kept.item.etag.as_deref().map(values::etag),
        checksum_type: checksums::kind(&placed.checksums),
        version_id: placed.version(),
        ..PutObjectOutput::default()
    };
    show!(output, &placed.checksums);
    answer(output)
}

/// `aws-chunked` is how the body came, not what it is.
pub(super) fn without_chunked(mut headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if let Some(encoding) = headers.remove("content-encoding") {
        let rest: Vec<_> = encoding
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("aws-chunked"))
            .collect();
        if !rest.is_empty() {
            headers.insert("content-encoding".to_owned(), rest.join(", "));
        }
    }
    headers
}

pub(super) fn md5_of(text: Option<&str>) -> S3Result<Option<[u8; 16]>> {
    text.map(seal::parse_md5).transpose().map_err(error::shown)
}

impl Api {
    /// Finds an object, or a version of it; `null` is what it is called where none are kept. The name
    /// of its version comes with it where the bucket keeps some.
    async fn find(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<(Opened<ObjectInfo>, ObjectRow, Option<String>)> {
        let place = (bucket.to_owned(), key.to_owned());
        let version = version.filter(|version| *version != "null").map(str::to_owned);
        let (found, row, keeps_versions) =
            self.work(move |cask| cask.open_row(&place.0, &place.1, version.as_deref())).await?;
        let version = keeps_versions.then(|| row.version.clone());
        Ok((found, row, version))
    }
}

/// What is asked of an object's bytes.
#[derive(Debug, Default)]
struct Wish {
    range: Option<s3s::dto::Range>,
    part: Option<i32>,
}

/// What of an object is sent.
struct Sent {
    range: Range<u64>,
    content_range: Option<String>,
    parts: Option<i32>,
}

impl Wish {
    fn of(&self, row: &ObjectRow) -> S3Result<Sent> {
        let size = row.blob.size;
        let part = |range: Range<u64>| {
            let last = range.end.saturating_sub(1);
            Some(format!("bytes {}-{last}/{size}", range.start))
        };
        match (&self.range, self.part) {
            (Some(_), Some(_)) => {
                Err(s3_error!(InvalidRequest, "a range and a part cannot be asked for together"))
            }
            (Some(range), None) => {
                let range = range.check(size).map_err(|_outside| outside(size))?;
                let content_range = part(range.clone());
                Ok(Sent { range, content_range, parts: None })
            }
            (None, Some(number)) => {
                let range = part_range(row, number)?;
                let parts = Some(values::count(row.face.parts.len())).filter(|parts| *parts > 0);
                let content_range = if size == 0 { None } else { part(range.clone()) };
                Ok(Sent { range, content_range, parts })
            }
            (None, None) => Ok(Sent { range: 0..size, content_range: None, parts: None }),
        }
    }
}

fn outside(size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "the range lies outside the {size} bytes there are");
    let mut headers = axum::http::HeaderMap::new();
    if let Ok(value) = format!("bytes */{size}").parse() {
        headers.insert(axum::http::header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}

/// Where the bytes of a part lie in the object.
fn part_range(row: &ObjectRow, number: i32) -> S3Result<Range<u64>> {
    let wrong = || {
        let mut error = S3Error::with_message(
            error::custom("InvalidPartNumber"),
            "the object has no part of this number",
        );
        error.set_status_code(axum::http::StatusCode::RANGE_NOT_SATISFIABLE);
        error
    };
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let at = at.ok_or_else(wrong)?;
    if row.face.parts.is_empty() {
        return if at == 0 { Ok(0..row.blob.size) } else { Err(wrong()) };
    }
    let length = *row.face.parts.get(at).ok_or_else(wrong)?;
    let start: u64 = row.face.parts.iter().take(at).sum();
    Ok(start..start + length)
}

/// The fields that `GetObject` and `HeadObject` have in common.
macro_rules! describe {
    ($output:ident, $row:expr, $sent:expr, $version:expr, $with_checksums:expr) => {{
        let (row, sent): (&ObjectRow, &Sent) = ($row, $sent);
        let header = |name: &str| {
            let found = row.face.headers.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.clone())
        };
        let meta = &row.face.meta;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: header("cache-control"),
            content_disposition: header("content-disposition"),
            content_encoding: header("content-encoding"),
            content_language: header("content-language"),
            content_length: Some(values::size(sent.range.end - sent.range.start)),
            content_range: sent.content_range.clone(),
            content_type: Some(row.face.content_type.clone()),
            e_tag: Some(values::etag(&row.etag())),
            expires: header("expires").as_deref().and_then(values::parse_expires),
            last_modified: Some(values::time(row.updated_at)),
            metadata: (!meta.is_empty()).then(|| meta.iter().cloned().collect()),
            parts_count: sent.parts,
            version_id: $version,
            ..$output::default()
        };
        if $with_checksums && sent.content_range.is_none() {
            show!(output, &row.face.checksums);
            output.checksum_type = checksums::kind(&row.face.checksums);
        }
        output
    }};
}

pub(super) async fn get(api: &Api, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
    let input = request.input;
    let (found, row, version) =
        api.find(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let conditions = Conditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&row.etag(), row.updated_at, || s3_error!(NotModified))?;
    let sent = Wish { range: input.range, part: input.part_number }.of(&row)?;
    let checksums = input.checksum_mode.is_some();
    let mut output = describe!(GetObjectOutput, &row, &sent, version, checksums);
    output.tag_count = Some(values::count(row.face.tags.len())).filter(|count| *count > 0);
    let is_part = sent.content_range.is_some();
    output.body = Some(StreamingBlob::wrap(SyncStream::new(found.stream(sent.range))));
    let mut response = S3Response::new(output);
    if is_part {
        response.status = Some(axum::http::StatusCode::PARTIAL_CONTENT);
    }
    Ok(response)
}

pub(super) async fn head(
    api: &Api,
    request: S3Request<HeadObjectInput>,
) -> Answer<HeadObjectOutput> {
    let input = request.input;
    let (_, row, version) =
        api.find(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let conditions = Conditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&row.etag(), row.updated_at, || s3_error!(NotModified))?;
    let sent = Wish { range: input.range, part: input.part_number }.of(&row)?;
    let checksums = input.checksum_mode.is_some();
    let mut output = describe!(HeadObjectOutput, &row, &sent, version, checksums);
    overridden(
        &mut output,
        [
            input.response_cache_control,
            input.response_content_disposition,
            input.response_content_encoding,
            input.response_content_language,
            input.response_content_type,
        ],
    );
    let is_part = sent.content_range.is_some();
    let mut response = S3Response::new(output);
    if is_part {
        response.status = Some(axum::http::StatusCode::PARTIAL_CONTENT);
    }
    Ok(response)
}

/// `s3s` does this for `GetObject` by itself.
fn overridden(output: &mut HeadObjectOutput, said: [Option<String>; 5]) {
    let [cache_control, disposition, encoding, language, content_type] = said;
    for (field, said) in [
        (&mut output.cache_control, cache_control),
        (&mut output.content_disposition, disposition),
        (&mut output.content_encoding, encoding),
        (&mut output.content_language, language),
        (&mut output.content_type, content_type),
    ] {
        if said.is_some() {
            *field = said;
        }
    }
}
