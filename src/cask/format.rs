//! What cask keeps in its records. Free-form JSON is kept as text. No key of an object holds a control
//! character, so [`STEP`] stands between a key and what follows it.
//!
//! | key | value |
//! | --- | --- |
//! | `bucket/<bucket>` | [`BucketRow`] |
//! | `live/<bucket>` | nothing; its revision counts the writes to the bucket |
//! | `usage/<bucket>/<shard>` | [`UsageRow`] |
//! | `object/<bucket>/<key>` | [`ObjectRow`] |
//! | `version/<bucket>/<key>␁<version>` | [`ObjectRow`], as it was |
//! | `upload/<bucket>/<key>␁<upload>` | [`UploadRow`] |
//! | `part/<bucket>/<upload>/<number>` | [`PartRow`] |
//! | `package/<name>/<version>` | [`PackageRow`] |
//! | `pushed/<name>/<version>` | the digest that the version was first pushed with, for ever |
//! | `ref/<chunk>/<owner>` | nothing: the owner names the chunk |
//! | `doomed/<chunk>` | [`DoomRow`], where several daemons share the store |
//! | `key/<access key>` | `KeyRow`: the keys of S3 clients |

use bincode::{Decode, Encode};

use crate::kernel::blobs::BlobRef;
use crate::kernel::format::{Nothing, Versioned};
use crate::kernel::{Digest, Time};

/// What stands between a key and what follows it.
pub(super) const STEP: char = '\u{1}';

#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct BucketRow {
    pub max_bytes: Option<u64>,
    pub ttl_ms: Option<u64>,
    /// How many previous versions of an object are kept.
    pub versions: u32,
    /// Whether the least recently used objects go when it is full; by its name unless said.
    pub evict: Option<bool>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// As 0.2 wrote it first.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct BucketRowV1 {
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

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct ObjectRow {
    pub blob: BlobRef,
    pub face: Face,
    pub updated_at: Time,
    pub updated_by: String,
    /// Names this content of the key among those before and after it; later ones sort behind.
    pub version: String,
}

/// What is said of an object beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Face {
    pub content_type: String,
    /// What its sender said of it.
    pub meta: Vec<(String, String)>,
    /// Headers that are sent with it, such as `cache-control`.
    pub headers: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
    /// The tag that S3 clients are shown; its SHA-256 when there is none.
    pub etag: Option<String>,
    pub checksums: Vec<Checksum>,
    /// The sizes of the parts that it was sent in.
    pub parts: Vec<u64>,
}

/// A checksum that an S3 client sent, or asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    pub algorithm: String,
    /// In Base64; `-<parts>` behind it when it is one of the parts' checksums.
    pub value: String,
    /// Whether it is one of all bytes.
    pub whole: bool,
}

/// As 0.2 wrote it first.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct ObjectRowV1 {
    pub blob: BlobRef,
    pub content_type: String,
    pub meta: Vec<(String, String)>,
    pub updated_at: Time,
    pub updated_by: String,
}

/// An upload in parts, under way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct UploadRow {
    pub face: Face,
    /// The checksum that every part brings.
    pub algorithm: Option<String>,
    /// Whether the object's own is one of all bytes rather than one of the parts' checksums.
    pub whole: bool,
    pub begun_at: Time,
    pub begun_by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct PartRow {
    pub blob: BlobRef,
    /// Its MD5.
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
    pub written_at: Time,
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

/// A chunk that nothing names, in a store that several daemons share.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct DoomRow {
    /// Whether it is being removed.
    pub is_going: bool,
    pub at: Time,
}

/// A pair of keys that an S3 client signs with. A signature cannot be checked against a digest, so
/// the secret itself is kept.
#[cfg(feature = "s3")]
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct KeyRow {
    pub secret: String,
    pub note: String,
    pub writes: bool,
    pub created_at: Time,
    pub created_by: String,
}

impl Versioned for BucketRowV1 {
    const MARKER: &'static str = "bucket.v1";
    type Previous = Nothing;
}
impl Versioned for BucketRow {
    const MARKER: &'static str = "bucket.v2";
    type Previous = BucketRowV1;
}
impl Versioned for UsageRow {
    const MARKER: &'static str = "usage.v1";
    type Previous = Nothing;
}
impl Versioned for ObjectRowV1 {
    const MARKER: &'static str = "object.v1";
    type Previous = Nothing;
}
impl Versioned for ObjectRow {
    const MARKER: &'static str = "object.v2";
    type Previous = ObjectRowV1;
}
impl Versioned for UploadRow {
    const MARKER: &'static str = "upload.v1";
    type Previous = Nothing;
}
impl Versioned for PartRow {
    const MARKER: &'static str = "part.v1";
    type Previous = Nothing;
}
impl Versioned for PackageRow {
    const MARKER: &'static str = "package.v1";
    type Previous = Nothing;
}
impl Versioned for DoomRow {
    const MARKER: &'static str = "doom.v1";
    type Previous = Nothing;
}
impl Versioned for PushedRow {
    const MARKER: &'static str = "pushed.v1";
    type Previous = Nothing;
}
#[cfg(feature = "s3")]
impl Versioned for KeyRow {
    const MARKER: &'static str = "key.v1";
    type Previous = Nothing;
}

impl From<BucketRowV1> for BucketRow {
    fn from(old: BucketRowV1) -> Self {
        Self {
            max_bytes: old.max_bytes,
            ttl_ms: old.ttl_ms,
            versions: 0,
            evict: None,
            created_at: old.created_at,
            updated_at: old.updated_at,
        }
    }
}

impl From<ObjectRowV1> for ObjectRow {
    fn from(old: ObjectRowV1) -> Self {
        Self {
            blob: old.blob,
            face: Face { content_type: old.content_type, meta: old.meta, ..Face::default() },
            updated_at: old.updated_at,
            updated_by: old.updated_by,
            // Before every version that was given a name.
            version: "0".to_owned(),
        }
    }
}

impl ObjectRow {
    /// The tag that S3 clients are shown.
    pub(super) fn etag(&self) -> String {
        self.face.etag.clone().unwrap_or_else(|| self.blob.digest.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::blobs::Body;
    use crate::kernel::format::{decode, encode};

    #[test]
    fn what_earlier_builds_wrote_is_read() {
        let blob = BlobRef { digest: Digest::of(b"x"), size: 1, body: Body::Inline(b"x".to_vec()) };
        let old = ObjectRowV1 {
            blob: blob.clone(),
            content_type: "text/plain".into(),
            meta: vec![("site".into(), "XJJX".into())],
            updated_at: Time(5),
            updated_by: "ada".into(),
        };
        let new: ObjectRow = decode(&encode(&old).unwrap()).unwrap();
        assert_eq!((&new.blob, new.updated_at, new.version.as_str()), (&blob, Time(5), "0"));
        assert_eq!((new.face.content_type.as_str(), new.face.meta.len()), ("text/plain", 1));
        assert_eq!(new.etag(), blob.digest.to_hex());
        let old = BucketRowV1 {
            max_bytes: Some(7),
            ttl_ms: None,
            created_at: Time(1),
            updated_at: Time(2),
        };
        let new: BucketRow = decode(&encode(&old).unwrap()).unwrap();
        assert_eq!((new.max_bytes, new.versions, new.evict), (Some(7), 0, None));
    }
}
