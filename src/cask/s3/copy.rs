//! Copies: an object, or a part of an upload, from an object that is there.

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    MetadataDirective, TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{self, show};
use super::multipart::{number, upload_of};
use super::objects::{refuse_what_is_ignored, sent_headers, without_chunked};
use super::values::{self, Conditions};
use super::{Api, answer, caller, error};
use crate::cask::format::{Face, ObjectRow};
use crate::cask::model::{OCTETS, Place, PutOptions};
use crate::cask::objects::{CopyOptions, check_headers};

type Answer<T> = S3Result<S3Response<T>>;

/// The conditions that stand in `x-amz-copy-source-if-…`.
macro_rules! source_conditions {
    ($input:expr) => {
        Conditions {
            if_match: $input.copy_source_if_match.clone(),
            if_none_match: $input.copy_source_if_none_match.clone(),
            if_modified_since: $input.copy_source_if_modified_since.clone(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.clone(),
        }
    };
}

fn source_of(source: &CopySource) -> S3Result<Place> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "a source is named by its bucket and key"));
    };
    let version = version_id.as_deref().filter(|version| *version != "null");
    Ok(Place {
        bucket: bucket.to_string(),
        key: key.to_string(),
        version: version.map(str::to_owned),
    })
}

/// What replaces what is said of the source, where the request says so.
struct Said {
    face: Option<PutOptions>,
    tags: Option<PutOptions>,
}

impl Said {
    fn of(input: &CopyObjectInput) -> S3Result<Self> {
        let replaces = |directive: Option<&str>| match directive {
            None | Some(MetadataDirective::COPY) => Ok(false),
            Some(MetadataDirective::REPLACE) => Ok(true),
            Some(_) => Err(s3_error!(InvalidArgument, "a directive is COPY or REPLACE")),
        };
        let metadata = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
        let tagging = input.tagging_directive.as_ref().map(TaggingDirective::as_str);
        let face = PutOptions {
            content_type: input.content_type.clone(),
            meta: values::meta_of(input.metadata.clone()),
            headers: without_chunked(sent_headers!(input)),
            ..PutOptions::default()
        };
        let tags = PutOptions {
            tags: values::tags_of_header(input.tagging.as_deref().unwrap_or_default())?,
            ..PutOptions::default()
        };
        for options in [&face, &tags] {
            check_headers(options).map_err(error::shown)?;
        }
        Ok(Self {
            face: replaces(metadata)?.then_some(face),
            tags: replaces(tagging)?.then_some(tags),
        })
    }

    fn apply(self, mut face: Face) -> Face {
        if let Some(said) = self.face {
            face.content_type = said.content_type.unwrap_or_else(|| OCTETS.to_owned());
            face.meta = said.meta.into_iter().collect();
            face.headers = said.headers.into_iter().collect();
        }
        if let Some(said) = self.tags {
            face.tags = said.tags.into_iter().collect();
        }
        face
    }
}

pub(super) async fn copy(
    api: &Api,
    request: S3Request<CopyObjectInput>,
) -> Answer<CopyObjectOutput> {
    refuse_what_is_ignored!(request.input)?;
    let caller = caller(&request)?;
    let input = request.input;
    let from = source_of(&input.copy_source)?;
    let to = Place::new(input.bucket.clone(), input.key.clone());
    let said = Said::of(&input)?;
    let onto_itself = (&from.bucket, &from.key) == (&to.bucket, &to.key);
    if onto_itself && from.version.is_none() && said.face.is_none() && said.tags.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "copying an object onto itself changes nothing: replace its metadata or its tags"
        ));
    }
    let conditions = source_conditions!(input);
    check_source(api, &from, conditions).await?;
    let copied = api
        .work(move |cask| {
            let how = CopyOptions::default();
            cask.copy_as(&caller, &from, &to, &how, |face| Ok(said.apply(face)))
        })
        .await?;
    let (version, sums, item) = (copied.version(), copied.checksums, copied.kept.item);
    let mut result = CopyObjectResult {
        e_tag: Some(values::etag(&item.etag.unwrap_or_else(|| item.sha256.to_hex()))),
        last_modified: Some(values::time(item.updated_at)),
        checksum_type: checksums::kind(&sums),
        ..CopyObjectResult::default()
    };
    show!(result, &sums);
    answer(CopyObjectOutput {
        copy_object_result: Some(result),
        version_id: version,
        ..CopyObjectOutput::default()
    })
}

async fn check_source(api: &Api, from: &Place, conditions: Conditions) -> S3Result<()> {
    let from = from.clone();
    let row = api
        .work(move |cask| cask.inner.object(&from.bucket, &from.key, from.version.as_deref()))
        .await?;
    check_row(&row, &conditions)
}

fn check_row(row: &ObjectRow, conditions: &Conditions) -> S3Result<()> {
    conditions.check(&row.etag(), row.updated_at, || s3_error!(PreconditionFailed))
}

pub(super) async fn part(
    api: &Api,
    request: S3Request<UploadPartCopyInput>,
) -> Answer<UploadPartCopyOutput> {
    let input = request.input;
    let from = source_of(&input.copy_source)?;
    let upload = upload_of(&input.bucket, &input.key, &input.upload_id);
    let range = input.copy_source_range.as_deref().map(parse_range).transpose()?;
    check_source(api, &from, source_conditions!(input)).await?;
    let number = number(input.part_number)?;
    let part = api.cask.copy_part(&upload, number, &from, range).await;
    let part = part.map_err(error::shown)?;
    answer(UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(values::etag(&part.etag)),
            last_modified: Some(values::time(part.written_at)),
            ..CopyPartResult::default()
        }),
        ..UploadPartCopyOutput::default()
    })
}

/// `bytes=0-99`: both ends must be said.
fn parse_range(text: &str) -> S3Result<std::ops::Range<u64>> {
    let read = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| first..last.saturating_add(1))
    };
    read().ok_or_else(|| s3_error!(InvalidArgument, "a source's range is written bytes=0-99"))
}
