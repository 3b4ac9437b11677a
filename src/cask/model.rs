//! What callers of cask give and get.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::package::Metadata;
use crate::kernel::clock::{parse_duration, show_duration};
use crate::kernel::{Digest, Result, Time};

use super::error;

/// The buckets that are there from the start.
pub const BUILT_IN: [&str; 5] = ["models", "packages", "components", "cache", "datasets"];
/// The media type of an object whose sender named none.
pub const OCTETS: &str = "application/octet-stream";

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
    /// The bytes of its objects.
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
    /// What its sender said of it in `Drip-Meta-…` headers.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
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
    /// The digest that the bytes must have.
    pub sha256: Option<Digest>,
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
}

impl Guard {
    pub(super) fn check(&self, current: Option<Digest>) -> Result<()> {
        let holds = match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Digest(any) => current.is_some_and(|digest| any.contains(&digest)),
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
