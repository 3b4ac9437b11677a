//! The S3 protocol over a cask, for the clients that people already have. The `s3s` crate reads and
//! writes the wire: signatures, XML, chunked bodies. What it leaves to us stands here: what the
//! operations do, checksums, conditions, and who may.
//!
//! An operation that is not here answers `NotImplemented`, and so does a wish that would be ignored:
//! encryption with a client's key, object locks, public access lists.
//!
//! Source of the protocol: the Amazon S3 API Reference, and what boto3, aws-cli and minio-py send.

use std::sync::Arc;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

mod attributes;
mod auth;
mod buckets;
mod checksums;
mod copy;
mod delete;
mod error;
mod list;
mod multipart;
mod objects;
mod values;

pub use auth::Pair;

use super::Cask;
use crate::kernel::access::Caller;
use crate::kernel::{Name, Result, off_thread};

/// The largest XML document that a request may bring: a thousand keys to delete, or ten thousand
/// parts, and room to spare.
const XML_MAX: usize = 4 << 20;

/// The service over a cask. One pair of keys may come from the settings; the others are made by the
/// admin.
pub fn service(cask: Cask, pair: Option<Pair>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Api { cask: cask.clone() });
    builder.set_auth(auth::Keys::new(cask.clone(), pair.clone()));
    builder.set_access(auth::Keys::new(cask, pair));
    builder.set_validation(Names);
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_MAX;
    // Forms are refused before they come here: nothing of them may be gathered in memory.
    config.post_object_max_file_size = 0;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.build()
}

/// Buckets are named by the rules of the house.
struct Names;

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        Name::new(name).is_ok_and(|checked| checked.as_str() == name)
    }
}

/// A cask, asked in the words of S3.
struct Api {
    cask: Cask,
}

impl Api {
    /// Does blocking work on a thread for it.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cask) -> Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let cask = self.cask.clone();
        off_thread(move || work(&cask)).await.map_err(error::shown)
    }
}

/// Who signed a request.
fn caller<T>(request: &S3Request<T>) -> S3Result<Caller> {
    request.extensions.get::<Caller>().cloned().ok_or_else(|| s3_error!(AccessDenied))
}

#[expect(clippy::unnecessary_wraps, reason = "it ends every operation, and those answer a result")]
fn answer<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident: $place:path,)*) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(
                async fn $operation(
                    &self,
                    request: S3Request<dto::$input>,
                ) -> S3Result<S3Response<dto::$output>> {
                    $place(self, request).await
                }
            )*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput: buckets::list,
    create_bucket(CreateBucketInput) -> CreateBucketOutput: buckets::create,
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput: buckets::delete,
    head_bucket(HeadBucketInput) -> HeadBucketOutput: buckets::head,
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput: buckets::location,
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput: buckets::versioning,
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput: buckets::acl,
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput: buckets::tagging,
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput: buckets::policy,
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput: buckets::cors,
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput: buckets::lifecycle,
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput: buckets::encryption,
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput: buckets::locks,
    put_object(PutObjectInput) -> PutObjectOutput: objects::put,
    get_object(GetObjectInput) -> GetObjectOutput: objects::get,
    head_object(HeadObjectInput) -> HeadObjectOutput: objects::head,
    copy_object(CopyObjectInput) -> CopyObjectOutput: copy::copy,
    delete_object(DeleteObjectInput) -> DeleteObjectOutput: delete::one,
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput: delete::many,
    list_objects(ListObjectsInput) -> ListObjectsOutput: list::v1,
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output: list::v2,
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput: list::versions,
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput: attributes::tagging,
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput: attributes::tag,
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput: attributes::untag,
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput: attributes::acl,
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput: attributes::attributes,
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput: multipart::create,
    upload_part(UploadPartInput) -> UploadPartOutput: multipart::put,
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput: copy::part,
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput: multipart::complete,
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput: multipart::abort,
    list_parts(ListPartsInput) -> ListPartsOutput: multipart::parts,
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput: multipart::uploads,
}
