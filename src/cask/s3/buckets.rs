//! Buckets, and what may be set of them: what is not set is said to be so.

use s3s::dto::{
    Bucket, BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketAclInput, GetBucketAclOutput, GetBucketCorsInput,
    GetBucketCorsOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput,
    Grant, Grantee, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
    Permission, Type,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::{Api, answer, caller, values};
use crate::cask::model::BucketSettings;

type Answer<T> = S3Result<S3Response<T>>;

pub(super) async fn list(
    api: &Api,
    request: S3Request<ListBucketsInput>,
) -> Answer<ListBucketsOutput> {
    let input = request.input;
    let limit = values::page(input.max_buckets, "max-buckets")?.max(1);
    let after = input.continuation_token.clone();
    let found = api.work(move |cask| cask.buckets(after.as_deref(), limit + 1)).await?;
    let more = found.len() > limit;
    let prefix = input.prefix.clone().unwrap_or_default();
    let shown: Vec<_> = found.into_iter().take(limit).collect();
    let next = shown.last().map(|bucket| bucket.name.clone()).filter(|_| more);
    let bucket = |bucket: crate::cask::BucketInfo| Bucket {
        bucket_region: None,
        creation_date: Some(values::time(bucket.created_at)),
        name: Some(bucket.name),
    };
    let buckets = shown.into_iter().filter(|bucket| bucket.name.starts_with(&prefix)).map(bucket);
    answer(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: next,
        owner: Some(values::owner()),
        prefix: input.prefix,
    })
}

pub(super) async fn create(
    api: &Api,
    request: S3Request<CreateBucketInput>,
) -> Answer<CreateBucketOutput> {
    let caller = caller(&request)?;
    let input = request.input;
    let is_plain = input.acl.as_ref().is_none_or(|acl| acl.as_str() == "private");
    if !is_plain || input.object_lock_enabled_for_bucket == Some(true) {
        return Err(s3_error!(NotImplemented, "buckets have no access lists and no locks"));
    }
    let bucket = input.bucket;
    let location = format!("/{bucket}");
    api.work(move |cask| cask.make_bucket(&caller, &bucket, &BucketSettings::default())).await?;
    answer(CreateBucketOutput { location: Some(location) })
}

pub(super) async fn delete(
    api: &Api,
    request: S3Request<DeleteBucketInput>,
) -> Answer<DeleteBucketOutput> {
    let (caller, bucket) = (caller(&request)?, request.input.bucket);
    api.work(move |cask| cask.delete_bucket(&caller, &bucket)).await?;
    answer(DeleteBucketOutput {})
}

pub(super) async fn head(
    api: &Api,
    request: S3Request<HeadBucketInput>,
) -> Answer<HeadBucketOutput> {
    must_be(api, request.input.bucket).await?;
    let region = request.region.map(|region| region.as_str().to_owned());
    answer(HeadBucketOutput { bucket_region: region, ..HeadBucketOutput::default() })
}

pub(super) async fn location(
    api: &Api,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    must_be(api, request.input.bucket).await?;
    // None is us-east-1: what every client signs for unless it is told otherwise.
    answer(GetBucketLocationOutput::default())
}

pub(super) async fn versioning(
    api: &Api,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let bucket = request.input.bucket;
    let found = api.work(move |cask| cask.bucket(&bucket)).await?;
    let enabled = BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED);
    let status = (found.versions > 0).then_some(enabled);
    answer(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() })
}

pub(super) async fn acl(
    api: &Api,
    request: S3Request<GetBucketAclInput>,
) -> Answer<GetBucketAclOutput> {
    must_be(api, request.input.bucket).await?;
    answer(GetBucketAclOutput { grants: Some(vec![full()]), owner: Some(values::owner()) })
}

/// The one grant that there is: everything, to the owner.
pub(super) fn full() -> Grant {
    let owner = values::owner();
    Grant {
        grantee: Some(Grantee {
            display_name: owner.display_name,
            email_address: None,
            id: owner.id,
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }
}

async fn must_be(api: &Api, bucket: String) -> S3Result<()> {
    api.work(move |cask| cask.bucket(&bucket)).await.map(drop)
}

/// What cannot be set is not set, and S3 has a code of its own for each.
async fn not_set<T>(api: &Api, bucket: String, code: S3ErrorCode) -> Answer<T> {
    must_be(api, bucket).await?;
    Err(S3Error::with_message(code, "it is not set for this bucket"))
}

macro_rules! not_set {
    ($($name:ident($input:ident) -> $output:ident: $code:ident,)*) => {
        $(
            pub(super) async fn $name(api: &Api, request: S3Request<$input>) -> Answer<$output> {
                not_set(api, request.input.bucket, S3ErrorCode::$code).await
            }
        )*
    };
}

not_set! {
    tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput: NoSuchTagSet,
    policy(GetBucketPolicyInput) -> GetBucketPolicyOutput: NoSuchBucketPolicy,
    cors(GetBucketCorsInput) -> GetBucketCorsOutput: NoSuchCORSConfiguration,
    lifecycle(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput: NoSuchLifecycleConfiguration,
    encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput: ServerSideEncryptionConfigurationNotFoundError,
    locks(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput: ObjectLockConfigurationNotFoundError,
}
