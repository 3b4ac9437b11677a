//! What cask keeps in its records. Free-form JSON is kept as text.
//!
//! | key | value |
//! | --- | --- |
//! | `bucket/<bucket>` | [`BucketRow`] |
//! | `live/<bucket>` | nothing; its revision counts the writes to the bucket |
//! | `usage/<bucket>/<shard>` | [`UsageRow`] |
//! | `object/<bucket>/<key>` | [`ObjectRow`] |
//! | `package/<name>/<version>` | [`PackageRow`] |
//! | `pushed/<name>/<version>` | the digest that the version was first pushed with, for ever |
//! | `ref/<chunk>/<owner>` | nothing: the owner names the chunk |

use bincode::{Decode, Encode};

use crate::kernel::blobs::BlobRef;
use crate::kernel::format::{Nothing, Versioned};
use crate::kernel::{Digest, Time};

#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct BucketRow {
    pub max_bytes: Option<u64>,
    pub ttl_ms: Option<u64>,
    pub created_at: Time,
    pub updated_at: Time,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct UsageRow {
    pub bytes: i64,
    pub objects: i64,
}

#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct ObjectRow {
    pub blob: BlobRef,
    pub content_type: String,
    pub meta: Vec<(String, String)>,
    pub updated_at: Time,
    pub updated_by: String,
}

#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct PackageRow {
    pub blob: BlobRef,
    pub metadata_json: String,
    pub pushed_at: Time,
    pub pushed_by: String,
}

#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct PushedRow {
    pub digest: Digest,
}

impl Versioned for BucketRow {
    const MARKER: &'static str = "bucket.v1";
    type Previous = Nothing;
}
impl Versioned for UsageRow {
    const MARKER: &'static str = "usage.v1";
    type Previous = Nothing;
}
impl Versioned for ObjectRow {
    const MARKER: &'static str = "object.v1";
    type Previous = Nothing;
}
impl Versioned for PackageRow {
    const MARKER: &'static str = "package.v1";
    type Previous = Nothing;
}
impl Versioned for PushedRow {
    const MARKER: &'static str = "pushed.v1";
    type Previous = Nothing;
}
