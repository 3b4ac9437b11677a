//! What callers of cask give and get.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::package::Metadata;
use crate::kernel::clock::{parse_duration, show_duration};
use crate::kernel::{Digest, Result, Time};

use super::error;
use super::format::ObjectRow;

/// The buckets that are there from the start.
pub const BUILT_IN: [&str; 5] = ["models", "packages", "components", "cache", "datasets"];
/// The media type of an object whose sender named none.
pub const OCTETS: &str = "application/octet-stream";
/// The most previous versions that a bucket may keep of each object.
pub const VERSIONS_MAX: u32 = 1000;
/// The bucket that drops what was not used for longest, unless its settings say otherwise.
pub(super) const CACHE: &str = "cache";

/// What a bucket allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BucketSettings {
    /// The most bytes of all its objects; nothing for no limit.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// How old an object may become, such as `30d`; nothing for ever.
    #[serde(default)]
    pub ttl: Option<String>,
    /// How many previous versions of each object are kept; nothing for none.
    #[serde(default)]
    pub versions: Option<u32>,
    /// Whether the least recently used objects go when the bucket is full; nothing for what its name
    /// says, which is yes for `cache` alone.
    #[serde(default)]
    pub evict: Option<bool>,
}

impl BucketSettings {
    pub(super) fn age(&self) -> Result<Option<Duration>> {
        let Some(text) = &self.ttl else {
            return Ok(None);
        };
        match parse_duration(text) {
            Ok(age) if !age.is_zero() => Ok(Some(age)),
            _ => Err(error::bad_ttl(text)),
        }
    }

    pub(super) fn versions(&self) -> Result<u32> {
        let versions = self.versions.unwrap_or(0);
        if versions > VERSIONS_MAX { Err(error::bad_versions(versions)) } else { Ok(versions) }
    }

    pub(super) fn ttl_text(ttl_ms: Option<u64>) -> Option<String> {
        ttl_ms.map(|ms| show_duration(Duration::from_millis(ms)))
    }
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// The most bytes of all its objects.
    pub max_bytes: Option<u64>,
    /// How old an object may become.
    pub ttl: Option<String>,
    /// How many previous versions of each object are kept.
    pub versions: u32,
    /// Whether the least recently used objects go when it is full.
    pub evict: bool,
    /// The bytes of its objects, their previous versions and uploads under way.
    pub used_bytes: u64,
    /// How many objects it holds.
    pub objects: u64,
    /// Whether it belongs to cask and stays.
    pub built_in: bool,
    /// When it was made.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Time,
    /// When its settings last changed.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub updated_at: Time,
}

/// An object, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ObjectInfo {
    /// The bucket it lies in.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// What they are.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub sha256: Digest,
    /// Their media type.
    pub content_type: String,
    /// When it was last put.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub updated_at: Time,
    /// Names this content of the key among those before and after it; later ones sort behind.
    #[serde(default)]
    pub version: String,
    /// What its sender said of it in `Drip-Meta-…` headers.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// Headers that are sent with it, such as `cache-control`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its tags, as S3 clients set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The tag that S3 clients are shown, where it is not the SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// A content that an object had, or has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct VersionInfo {
    /// What it is.
    #[serde(flatten)]
    pub object: ObjectInfo,
    /// Whether it is what the key holds now.
    pub is_latest: bool,
}

/// A page of the versions of a bucket's objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct VersionList {
    /// Versions in order of their keys, the newest of a key first.
    pub items: Vec<VersionInfo>,
    /// What to send as `cursor` for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// An object, by where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// A version of it; the newest when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Place {
    /// The newest version under a key.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), version: None }
    }
}

/// A page of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ObjectList {
    /// Objects in order of their keys.
    pub items: Vec<ObjectInfo>,
    /// What stands before the delimiter in keys that hold one behind the prefix.
    pub prefixes: Vec<String>,
    /// What to send as `cursor` for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// How an object is put.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// The media type; [`OCTETS`] when none is named.
    pub content_type: Option<String>,
    /// What is kept beside the bytes.
    pub meta: BTreeMap<String, String>,
    /// Headers that are sent with it: `cache-control`, `content-disposition`, `content-encoding`,
    /// `content-language`, `expires`.
    pub headers: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The digest that the bytes must have.
    pub sha256: Option<Digest>,
    /// The MD5 that the bytes must have.
    pub md5: Option<[u8; 16]>,
    /// How many bytes must come.
    pub length: Option<u64>,
    /// What must be true of the object that is there.
    pub guard: Guard,
}

/// What must be true of the object that is there before it is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    #[default]
    None,
    /// There is none yet.
    Absent,
    /// There is one.
    Present,
    /// There is one with one of these digests.
    Digest(Vec<Digest>),
    /// There is one with one of these tags, as S3 clients are shown them.
    Tag(Vec<String>),
}

impl Guard {
    pub(super) fn check(&self, current: Option<&ObjectRow>) -> Result<()> {
        let holds = match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Digest(any) => current.is_some_and(|row| any.contains(&row.blob.digest)),
            Self::Tag(any) => current.is_some_and(|row| any.contains(&row.etag())),
        };
        if holds {
            return Ok(());
        }
        Err(error::condition_failed(match current {
            Some(_) if *self == Self::Absent => "the object exists already",
            Some(_) => "the object has other bytes by now",
            None => "the object does not exist",
        }))
    }
}

/// What became of something that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// What is there now.
    pub item: T,
    /// Whether nothing was there before.
    pub created: bool,
}

/// A package in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct PackageItem {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How many bytes it has.
    pub size: u64,
    /// What they are.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub sha256: Digest,
    /// One line of what it is.
    pub summary: String,
    /// When it was pushed.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub pushed_at: Time,
    /// By whom.
    pub pushed_by: String,
}

/// A package with all that it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct PackageInfo {
    /// As it stands in a list.
    #[serde(flatten)]
    pub item: PackageItem,
    /// What it says of itself; only name and version when an older tool wrote it.
    pub metadata: Metadata,
}
