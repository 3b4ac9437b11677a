//! Tags, access lists and attributes of objects.

use s3s::dto::{
    Checksum, DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectAclInput,
    GetObjectAclOutput, GetObjectAttributesInput, GetObjectAttributesOutput,
    GetObjectAttributesParts, GetObjectTaggingInput, GetObjectTaggingOutput, ObjectAttributes,
    ObjectPart, PutObjectTaggingInput, PutObjectTaggingOutput, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{self, show};
use super::{Api, answer, buckets, caller, values};
use crate::cask::format::ObjectRow;

type Answer<T> = S3Result<S3Response<T>>;

impl Api {
    async fn row(&self, bucket: &str, key: &str, version: Option<String>) -> S3Result<ObjectRow> {
        let place = (bucket.to_owned(), key.to_owned());
        let version = version.filter(|version| version != "null");
        self.work(move |cask| cask.inner.object(&place.0, &place.1, version.as_deref())).await
    }
}

pub(super) async fn tagging(
    api: &Api,
    request: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let input = request.input;
    let row = api.row(&input.bucket, &input.key, input.version_id).await?;
    let tags = row.face.tags.into_iter().collect();
    answer(GetObjectTaggingOutput { tag_set: values::tag_set(&tags), version_id: None })
}

pub(super) async fn tag(
    api: &Api,
    request: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let caller = caller(&request)?;
    let input = request.input;
    only_newest(input.version_id.as_deref())?;
    let tags = values::tags_of_set(input.tagging.tag_set)?;
    api.work(move |cask| cask.set_tags(&caller, &input.bucket, &input.key, &tags)).await?;
    answer(PutObjectTaggingOutput::default())
}

pub(super) async fn untag(
    api: &Api,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let caller = caller(&request)?;
    let input = request.input;
    only_newest(input.version_id.as_deref())?;
    let none = std::collections::BTreeMap::new();
    api.work(move |cask| cask.set_tags(&caller, &input.bucket, &input.key, &none)).await?;
    let mut response = S3Response::new(DeleteObjectTaggingOutput::default());
    response.status = Some(axum::http::StatusCode::NO_CONTENT);
    Ok(response)
}

fn only_newest(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "previous versions keep the tags they have")),
    }
}

pub(super) async fn acl(
    api: &Api,
    request: S3Request<GetObjectAclInput>,
) -> Answer<GetObjectAclOutput> {
    let input = request.input;
    api.row(&input.bucket, &input.key, input.version_id).await?;
    answer(GetObjectAclOutput {
        grants: Some(vec![buckets::full()]),
        owner: Some(values::owner()),
        request_charged: None,
    })
}

pub(super) async fn attributes(
    api: &Api,
    request: S3Request<GetObjectAttributesInput>,
) -> Answer<GetObjectAttributesOutput> {
    let input = request.input;
    // They come in one header, or in many.
    let asked = |name: &str| {
        let mut all = input.object_attributes.iter().flat_map(|some| some.as_str().split(','));
        all.any(|attribute| attribute.trim() == name)
    };
    let row = api.row(&input.bucket, &input.key, input.version_id.clone()).await?;
    let sums = &row.face.checksums;
    let checksum = (asked(ObjectAttributes::CHECKSUM) && !sums.is_empty()).then(|| {
        let mut shown = Checksum { checksum_type: checksums::kind(sums), ..Checksum::default() };
        show!(shown, sums);
        shown
    });
    let limit = values::page(input.max_parts, "max-parts")?;
    let after = usize::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
    let wants_parts = asked(ObjectAttributes::OBJECT_PARTS) && !row.face.parts.is_empty();
    let parts = wants_parts.then(|| parts_of(&row, after, limit));
    let standard = StorageClass::from_static(StorageClass::STANDARD);
    answer(GetObjectAttributesOutput {
        checksum,
        e_tag: asked(ObjectAttributes::ETAG).then(|| values::etag(&row.etag())),
        last_modified: Some(values::time(row.updated_at)),
        object_parts: parts,
        object_size: asked(ObjectAttributes::OBJECT_SIZE).then(|| values::size(row.blob.size)),
        storage_class: asked(ObjectAttributes::STORAGE_CLASS).then_some(standard),
        ..GetObjectAttributesOutput::default()
    })
}

/// The sizes of the parts that an object came in, behind one of them.
fn parts_of(row: &ObjectRow, after: usize, limit: usize) -> GetObjectAttributesParts {
    let count = row.face.parts.len();
    let numbered = row.face.parts.iter().enumerate().skip(after).take(limit);
    let shown: Vec<ObjectPart> = numbered
        .map(|(at, size)| ObjectPart {
            part_number: Some(values::count(at + 1)),
            size: Some(values::size(*size)),
            ..ObjectPart::default()
        })
        .collect();
    let last = after + shown.len();
    GetObjectAttributesParts {
        is_truncated: Some(last < count),
        max_parts: Some(values::count(limit)),
        next_part_number_marker: (last < count).then(|| values::count(last)),
        part_number_marker: Some(values::count(after)),
        parts: Some(shown),
        total_parts_count: Some(values::count(count)),
    }
}
