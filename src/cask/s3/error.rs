//! What went wrong, in the words of S3.

use s3s::{S3Error, S3ErrorCode, StdError};

use crate::cask::error;
use crate::kernel::{Error, Kind};

/// An error as S3 clients know it.
pub(super) fn shown(error: Error) -> S3Error {
    let code = code_of(&error);
    let detail = match error.kind() {
        // The details are for the log.
        Kind::Internal => {
            tracing::error!(%error, "an S3 request failed");
            "an error of ours; the log of the daemon has the details".to_owned()
        }
        _ => error.detail().to_owned(),
    };
    let mut shown = S3Error::with_message(code, detail);
    if error.kind() == Kind::Full {
        shown.set_status_code(axum::http::StatusCode::INSUFFICIENT_STORAGE);
    }
    shown
}

fn code_of(error: &Error) -> S3ErrorCode {
    use S3ErrorCode as S3;
    match error.code() {
        "bucket_not_found" => S3::NoSuchBucket,
        "bucket_exists" => S3::BucketAlreadyOwnedByYou,
        "bucket_not_empty" => S3::BucketNotEmpty,
        "bucket_built_in" => S3::InvalidBucketState,
        "bad_name" => S3::InvalidBucketName,
        "object_not_found" => S3::NoSuchKey,
        "version_not_found" => S3::NoSuchVersion,
        "upload_not_found" => S3::NoSuchUpload,
        "bad_part" => S3::InvalidPart,
        "part_too_small" => S3::EntityTooSmall,
        "parts_out_of_order" => S3::InvalidPartOrder,
        "checksum_mismatch" | "digest_mismatch" => S3::BadDigest,
        "bad_md5" => S3::InvalidDigest,
        "body_cut_off" => S3::IncompleteBody,
        "condition_failed" => S3::PreconditionFailed,
        "range_outside" => S3::InvalidRange,
        "bad_signature" => S3::SignatureDoesNotMatch,
        "quota_reached" => custom("QuotaExceeded"),
        _ => by_kind(error.kind()),
    }
}

fn by_kind(kind: Kind) -> S3ErrorCode {
    use S3ErrorCode as S3;
    match kind {
        Kind::Invalid | Kind::Malformed => S3::InvalidArgument,
        Kind::Denied | Kind::Unauthenticated => S3::AccessDenied,
        Kind::NotFound => S3::NoSuchKey,
        Kind::Stale => S3::PreconditionFailed,
        Kind::Conflict => S3::OperationAborted,
        Kind::TooLarge => S3::EntityTooLarge,
        Kind::Stalled | Kind::TimedOut => S3::RequestTimeout,
        Kind::Unavailable | Kind::Held | Kind::Newer | Kind::Io => S3::ServiceUnavailable,
        Kind::Full => custom("InsufficientStorage"),
        _ => S3::InternalError,
    }
}

/// A code that `s3s` has no name for.
pub(super) fn custom(code: &'static str) -> S3ErrorCode {
    S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError)
}

/// Why a body broke off. The types of `s3s` are its own, so their words are what there is to go by.
pub(super) fn body_failed(source: StdError) -> Error {
    let said = source.to_string();
    if said.contains("Sha256Mismatch") {
        return error::checksum_mismatch("x-amz-content-sha256", "what was said", "another one");
    }
    if said.contains("SignatureMismatch") {
        return Error::new(
            Kind::Denied,
            "bad_signature",
            "the signature of a piece of the body is wrong",
        );
    }
    error::body_cut_off(said)
}
