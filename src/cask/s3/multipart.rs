//! Objects that come in parts.

use std::collections::BTreeMap;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{self, Joined, Sum, kind_name, known, said, show};
use super::objects::{md5_of, refuse_what_is_ignored, sent_headers, without_chunked};
use super::{Api, answer, caller, error, values};
use crate::cask::format::Checksum;
use crate::cask::model::PutOptions;
use crate::cask::multipart::{PartSeal, Upload};
use crate::cask::{PartInfo, UploadInfo};

type Answer<T> = S3Result<S3Response<T>>;

pub(super) fn upload_of(bucket: &str, key: &str, id: &str) -> Upload {
    Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.to_owned() }
}

pub(super) fn number(number: i32) -> S3Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=crate::cask::PART_NUMBER_MAX).contains(number))
        .ok_or_else(|| s3_error!(InvalidArgument, "a part's number lies between 1 and 10000"))
}

pub(super) async fn create(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    refuse_what_is_ignored!(request.input)?;
    let caller = caller(&request)?;
    let input = request.input;
    let algorithm = input.checksum_algorithm.as_ref().map(|a| known(a.as_str())).transpose()?;
    let whole = is_whole(algorithm.as_deref(), input.checksum_type.as_ref())?;
    let options = PutOptions {
        content_type: input.content_type.clone(),
        meta: values::meta_of(input.metadata.clone()),
        headers: without_chunked(sent_headers!(input)),
        tags: input.tagging.as_deref().map_or(Ok(BTreeMap::new()), values::tags_of_header)?,
        ..PutOptions::default()
    };
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let wanted = algorithm.clone();
    let upload =
        api.work(move |cask| cask.begin(&caller, &bucket, &key, &options, wanted, whole)).await?;
    let kind = algorithm.as_ref().map(|_| ChecksumType::from_static(kind_name(whole)));
    answer(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.id),
        checksum_algorithm: algorithm.map(ChecksumAlgorithm::from),
        checksum_type: kind,
        ..CreateMultipartUploadOutput::default()
    })
}

/// Whether an upload's checksum is one of all bytes: as it is said, else as S3 has it by default.
fn is_whole(algorithm: Option<&str>, kind: Option<&ChecksumType>) -> S3Result<bool> {
    let by_default = algorithm == Some(ChecksumAlgorithm::CRC64NVME);
    let whole = match kind.map(ChecksumType::as_str) {
        None => by_default,
        Some(ChecksumType::FULL_OBJECT) => true,
        Some(ChecksumType::COMPOSITE) => false,
        Some(_) => return Err(s3_error!(InvalidRequest, "COMPOSITE or FULL_OBJECT")),
    };
    let is_sha = algorithm.is_some_and(|algorithm| algorithm.starts_with("SHA"));
    if whole && is_sha || !whole && by_default {
        return Err(s3_error!(
            InvalidRequest,
            "SHA1 and SHA256 are COMPOSITE, CRC64NVME is FULL_OBJECT"
        ));
    }
    Ok(whole)
}

pub(super) async fn put(
    api: &Api,
    mut request: S3Request<UploadPartInput>,
) -> Answer<UploadPartOutput> {
    if request.input.sse_customer_key.is_some() || request.input.sse_customer_algorithm.is_some() {
        return Err(s3_error!(NotImplemented, "encryption by the server: Drip has none"));
    }
    let body = request.input.body.take();
    let input = &request.input;
    let upload = upload_of(&input.bucket, &input.key, &input.upload_id);
    let number = number(input.part_number)?;
    let begun = {
        let upload = upload.clone();
        api.work(move |cask| cask.inner.upload(&upload)).await?.row
    };
    let sum = Sum::of(&request, said!(input), begun.algorithm.as_deref())?;
    let options = PutOptions {
        md5: md5_of(input.content_md5.as_deref())?,
        length: input.content_length.and_then(|length| u64::try_from(length).ok()),
        ..PutOptions::default()
    };
    let bytes = sum.pass(body);
    let wanted = begun.algorithm.clone();
    let seal = move || {
        let sums = sum.end()?;
        // The upload's own, where it has one; else whatever came.
        let own = |sum: &&Checksum| wanted.as_ref().is_none_or(|wanted| sum.algorithm == *wanted);
        Ok(PartSeal { checksum: sums.iter().find(own).cloned() })
    };
    let part = api.cask.put_part_sealed(&upload, number, options, bytes, seal).await;
    let part = part.map_err(error::shown)?;
    let mut output =
        UploadPartOutput { e_tag: Some(values::etag(&part.etag)), ..UploadPartOutput::default() };
    show!(output, part.checksum.as_slice());
    answer(output)
}

pub(super) async fn complete(
    api: &Api,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let caller = caller(&request)?;
    let input = request.input;
    let upload = upload_of(&input.bucket, &input.key, &input.upload_id);
    let guard = values::guard(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let said = said!(input);
    let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() {
        return Err(s3_error!(MalformedXML, "the parts are missing"));
    }
    check_sums(api, &upload, &parts).await?;
    let size = input.mpu_object_size.and_then(|size| u64::try_from(size).ok());
    let named = parts.into_iter().map(named).collect::<S3Result<Vec<_>>>()?;
    check_size(api, &upload, &named, size).await?;
    let make = move |row: &_| Ok(Joined::new(row, said));
    let kept = api.cask.complete_with(&caller, &upload, named, guard, make).await;
    let placed = kept.map_err(error::shown)?;
    let (version, sums, item) = (placed.version(), placed.checksums, placed.kept.item);
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", item.bucket, values::encoded(&item.key, true))),
        e_tag: item.etag.as_deref().map(values::etag),
        checksum_type: checksums::kind(&sums),
        bucket: Some(item.bucket),
        key: Some(item.key),
        version_id: version,
        ..CompleteMultipartUploadOutput::default()
    };
    show!(output, &sums);
    answer(output)
}

fn named(part: CompletedPart) -> S3Result<(u16, Option<String>)> {
    let number = number(part.part_number.unwrap_or(0))?;
    Ok((number, part.e_tag.map(|tag| tag.value().to_owned())))
}

/// The checksums that are said of the parts must be theirs.
async fn check_sums(api: &Api, upload: &Upload, parts: &[CompletedPart]) -> S3Result<()> {
    let is_said = |part: &CompletedPart| said!(part).iter().any(Option::is_some);
    if !parts.iter().any(is_said) {
        return Ok(());
    }
    let upload = upload.clone();
    let kept = match api.work(move |cask| cask.parts(&upload, 0, 0)).await {
        // Whether it was completed before is found out later.
        Err(gone) if gone.code().as_str() == "NoSuchUpload" => return Ok(()),
        kept => kept?,
    };
    let kept: BTreeMap<i32, PartInfo> =
        kept.into_iter().map(|part| (i32::from(part.number), part)).collect();
    for part in parts {
        let own = part.part_number.and_then(|number| kept.get(&number));
        let Some(own) = own.and_then(|part| part.checksum.as_ref()) else {
            continue;
        };
        let mut shown = UploadPartOutput::default();
        show!(shown, std::slice::from_ref(own));
        let pairs = said!(part).into_iter().zip(said!(shown));
        for (said, own) in pairs {
            if let (Some(said), Some(own)) = (said, own)
                && said != own
            {
                return Err(s3_error!(InvalidPart, "a part has another checksum than was said"));
            }
        }
    }
    Ok(())
}

/// The size that is said of the object must be that of its parts.
async fn check_size(
    api: &Api,
    upload: &Upload,
    named: &[(u16, Option<String>)],
    said: Option<u64>,
) -> S3Result<()> {
    let Some(said) = said else {
        return Ok(());
    };
    let (upload, numbers) = (upload.clone(), named.iter().map(|(n, _)| *n).collect::<Vec<_>>());
    let parts = api.work(move |cask| cask.parts(&upload, 0, 0)).await?;
    let chosen = parts.iter().filter(|part| numbers.contains(&part.number));
    let found: u64 = chosen.map(|part| part.size).sum();
    if found == said {
        return Ok(());
    }
    Err(s3_error!(InvalidRequest, "the parts have {found} bytes, and {said} were said"))
}

pub(super) async fn abort(
    api: &Api,
    request: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let input = request.input;
    let upload = upload_of(&input.bucket, &input.key, &input.upload_id);
    api.work(move |cask| cask.abort(&upload)).await?;
    answer(AbortMultipartUploadOutput::default())
}

pub(super) async fn parts(
    api: &Api,
    request: S3Request<ListPartsInput>,
) -> Answer<ListPartsOutput> {
    let input = request.input;
    let upload = upload_of(&input.bucket, &input.key, &input.upload_id);
    let limit = values::page(input.max_parts, "max-parts")?;
    let after = u16::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(u16::MAX);
    let (begun, found) = api
        .work(move |cask| {
            let begun = cask.inner.upload(&upload)?.row;
            Ok((begun, cask.parts(&upload, after, limit + 1)?))
        })
        .await?;
    let more = found.len() > limit;
    let shown: Vec<_> = found.into_iter().take(limit).map(part).collect();
    let initiator =
        Initiator { display_name: Some(begun.begun_by.clone()), id: Some(begun.begun_by.clone()) };
    answer(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        checksum_type: begun
            .algorithm
            .as_ref()
            .map(|_| ChecksumType::from_static(kind_name(begun.whole))),
        checksum_algorithm: begun.algorithm.map(ChecksumAlgorithm::from),
        initiator: Some(initiator),
        owner: Some(values::owner()),
        is_truncated: Some(more),
        max_parts: Some(values::count(limit)),
        part_number_marker: Some(i32::from(after)),
        next_part_number_marker: shown.last().and_then(|part: &Part| part.part_number),
        parts: Some(shown),
        ..ListPartsOutput::default()
    })
}

fn part(info: PartInfo) -> Part {
    let mut part = Part {
        e_tag: Some(values::etag(&info.etag)),
        last_modified: Some(values::time(info.written_at)),
        part_number: Some(i32::from(info.number)),
        size: Some(values::size(info.size)),
        ..Part::default()
    };
    show!(part, info.checksum.as_slice());
    part
}

pub(super) async fn uploads(
    api: &Api,
    request: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let input = request.input;
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "uploads are listed without a delimiter"));
    }
    let encode = input.encoding_type.is_some();
    let limit = values::page(input.max_uploads, "max-uploads")?;
    let key = input.key_marker.clone().filter(|key| !key.is_empty());
    let id = input.upload_id_marker.clone().unwrap_or_default();
    let (bucket, prefix) = (input.bucket.clone(), input.prefix.clone().unwrap_or_default());
    let found = api
        .work(move |cask| {
            let after = key.as_deref().map(|key| (key, id.as_str()));
            cask.uploads(&bucket, &prefix, after, limit + 1)
        })
        .await?;
    let more = found.len() > limit;
    let shown: Vec<_> = found.into_iter().take(limit).map(|u| under_way(u, encode)).collect();
    let last = shown.last().filter(|_| more);
    answer(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix,
        key_marker: Some(input.key_marker.unwrap_or_default()),
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(values::count(limit)),
        is_truncated: Some(more),
        next_key_marker: last.and_then(|last: &MultipartUpload| last.key.clone()),
        next_upload_id_marker: last.and_then(|last| last.upload_id.clone()),
        encoding_type: input.encoding_type,
        uploads: Some(shown),
        ..ListMultipartUploadsOutput::default()
    })
}

fn under_way(upload: UploadInfo, encode: bool) -> MultipartUpload {
    MultipartUpload {
        initiated: Some(values::time(upload.begun_at)),
        initiator: Some(Initiator {
            display_name: Some(upload.begun_by.clone()),
            id: Some(upload.begun_by),
        }),
        key: Some(values::encoded(&upload.key, encode)),
        owner: Some(values::owner()),
        upload_id: Some(upload.id),
        ..MultipartUpload::default()
    }
}
