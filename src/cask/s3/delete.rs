//! Deleting: one object, or up to a thousand.

use futures::StreamExt as _;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::{Api, answer, caller, values};
use crate::cask::Cask;
use crate::cask::model::Guard;
use crate::kernel::access::Caller;
use crate::kernel::{Kind, Result};

type Answer<T> = S3Result<S3Response<T>>;

/// The most keys of one request, as S3 has it.
const TOGETHER: usize = 1000;
/// So many are deleted at the same time, so that they share commits.
const ABREAST: usize = 32;

pub(super) async fn one(
    api: &Api,
    request: S3Request<DeleteObjectInput>,
) -> Answer<DeleteObjectOutput> {
    let caller = caller(&request)?;
    let input = request.input;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(s3_error!(NotImplemented, "a delete takes If-Match alone"));
    }
    let guard = values::guard(input.if_match.as_ref(), None)?;
    let version = input.version_id.clone().filter(|version| version != "null");
    api.work(move |cask| {
        remove(cask, &caller, &input.bucket, &input.key, version.as_deref(), &guard)
    })
    .await?;
    answer(DeleteObjectOutput::default())
}

/// What is not there is gone, as S3 has it; a bucket must be there.
fn remove(
    cask: &Cask,
    caller: &Caller,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    guard: &Guard,
) -> Result<()> {
    let outcome = match version {
        Some(version) => cask.delete_version(caller, bucket, key, version),
        None => cask.delete(caller, bucket, key, guard),
    };
    match outcome {
        Err(error) if error.kind() == Kind::NotFound && error.code() != "bucket_not_found" => {
            Ok(())
        }
        outcome => outcome,
    }
}

pub(super) async fn many(
    api: &Api,
    request: S3Request<DeleteObjectsInput>,
) -> Answer<DeleteObjectsOutput> {
    let caller = caller(&request)?;
    let input = request.input;
    let wanted = input.delete.objects;
    if wanted.is_empty() || wanted.len() > TOGETHER {
        return Err(s3_error!(MalformedXML, "between 1 and {TOGETHER} keys"));
    }
    let bucket = input.bucket.clone();
    api.work(move |cask| cask.bucket(&bucket)).await?;
    let delete = |object: ObjectIdentifier| {
        let (caller, bucket) = (caller.clone(), input.bucket.clone());
        async move {
            let outcome = delete_one(api, caller, bucket, object.clone()).await;
            (object, outcome)
        }
    };
    let outcomes: Vec<_> =
        futures::stream::iter(wanted).map(delete).buffered(ABREAST).collect().await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        match outcome {
            Ok(()) => deleted.push(DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                ..DeletedObject::default()
            }),
            Err(error) => errors.push(told(object, &error)),
        }
    }
    let is_quiet = input.delete.quiet == Some(true);
    answer(DeleteObjectsOutput {
        deleted: (!is_quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    })
}

async fn delete_one(
    api: &Api,
    caller: Caller,
    bucket: String,
    object: ObjectIdentifier,
) -> S3Result<()> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "a delete takes a tag alone as its condition"));
    }
    let tag = object.e_tag.map(|tag| vec![tag.value().to_owned()]);
    let guard = tag.map_or(Guard::None, Guard::Tag);
    let version = object.version_id.filter(|version| version != "null");
    let key = object.key;
    api.work(move |cask| remove(cask, &caller, &bucket, &key, version.as_deref(), &guard)).await
}

fn told(object: ObjectIdentifier, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(object.key),
        message: error.message().map(str::to_owned),
        version_id: object.version_id,
    }
}
