//! Artifacts and packages: buckets of objects, and versions of packages that never change.
//!
//! It is a store for what people and pipelines make: models, tables, configurations, and the
//! `.caskpkg` packages that carry an algorithm from one place to another. It is not a file system:
//! there are no folders, only keys, and an object changes as a whole or not at all.
//!
//! After a crash, an object or package that was acknowledged is there with its digest; one that was
//! not is wholly there or wholly absent. What a cut-off upload left behind is named by nothing, and
//! [`Cask::tidy`] takes it after a grace period.
//!
//! - [`Cask::put`], [`Cask::get`], [`Cask::delete`], [`Cask::list`]: objects
//! - [`Cask::copy`], [`Cask::relocate`]: the same bytes in another place, without writing them again
//! - [`Cask::versions`], [`Cask::delete_version`]: what the keys of a bucket held before
//! - [`Cask::begin_upload`], [`Cask::put_part`], [`Cask::complete`]: an object that comes in parts
//! - [`Cask::push`], [`Cask::package`], [`Cask::packages`]: packages
//! - [`Cask::save_bucket`], [`Cask::buckets`]: buckets, their quotas and ages
//! - [`Cask::tidy`], [`Cask::verify`]: care
//! - [`package`]: packages as files, without a store

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernel::access::Caller;
use crate::kernel::blobs::{Blobs, Written};
use crate::kernel::records::SharedRecords;
use crate::kernel::{Bus, Clock, Digest, Event, Result, feed};

mod buckets;
mod care;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod error;
mod format;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "s3")]
pub mod keys;
mod model;
mod multipart;
mod objects;
pub mod package;
mod packages;
mod reading;
mod recency;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "script")]
pub mod script;
mod seal;
mod sharing;
mod store;

pub use care::{Checked, Damage, Tidied, Verified};
pub use config::{Config, KEYS, Stores};
pub use model::{
    BUILT_IN, BucketInfo, BucketSettings, Guard, Kept, OCTETS, ObjectInfo, ObjectList, PackageInfo,
    PackageItem, Place, PutOptions, VERSIONS_MAX, VersionInfo, VersionList,
};
pub use multipart::{PART_MIN, PART_NUMBER_MAX, PartInfo, UploadInfo};
pub use objects::{CopyOptions, Listing};
pub use reading::{BlobReader, Opened};

/// The name of the event that tells of a pushed package; its payload is the [`PackageInfo`].
pub const PACKAGE_PUSHED: &str = "package.pushed";

/// Hears of a package before its sender is answered.
///
/// A crash may fall between the package and this call: whoever must not miss one also reads the
/// feed, see [`Cask::catch_up`]. So the same package may be heard of more than once.
pub trait PackageListener: Send + Sync + 'static {
    /// `package` is durable. An error here becomes the sender's answer; the package stays, and
    /// pushing it again calls this again.
    fn pushed(&self, caller: &Caller, package: &PackageInfo) -> Result<()>;
}

/// What a cask is opened over.
pub struct Parts {
    /// Where its rows are kept.
    pub records: SharedRecords,
    /// Where its bytes are kept.
    pub blobs: Blobs,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is woken when something changed.
    pub bus: Bus,
    /// Who hears of packages before their senders are answered.
    pub listener: Option<Arc<dyn PackageListener>>,
}

/// The artifacts and packages of one store. Cheap to clone.
#[derive(Clone)]
pub struct Cask {
    inner: Arc<Inner>,
}

/// Writers of one bucket are spread over so many rows of usage, so that they share commits.
const SHARDS: u32 = 32;

struct Inner {
    records: SharedRecords,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    bus: Bus,
    listener: Option<Arc<dyn PackageListener>>,
    /// Writers that would meet in one row take turns here instead of failing each other's commits.
    turns: Vec<Mutex<()>>,
    /// Bytes of commits under way, by bucket: a quota must see them.
    reserved: Mutex<HashMap<String, u64>>,
    /// One sweep at a time.
    sweeping: Mutex<()>,
    /// While a sweep runs, blobs that were named meanwhile stay held: the sweeper may have asked
    /// for their names just before.
    parked: Mutex<Option<Vec<Written>>>,
    reading: reading::Readers,
    recency: recency::Recency,
}

impl Cask {
    /// Opens a cask and makes the buckets that are there from the start.
    pub fn open(parts: Parts) -> Result<Self> {
        let blobs = if parts.records.is_shared() {
            let marks = sharing::Doomed { records: parts.records.clone() };
            parts.blobs.shared_by(Arc::new(marks))
        } else {
            parts.blobs
        };
        let inner = Inner {
            records: parts.records,
            blobs,
            clock: parts.clock,
            bus: parts.bus,
            listener: parts.listener,
            turns: (0..SHARDS * 2).map(|_| Mutex::new(())).collect(),
            reserved: Mutex::default(),
            sweeping: Mutex::default(),
            parked: Mutex::default(),
            reading: reading::Readers::default(),
            recency: recency::Recency::default(),
        };
        let cask = Self { inner: Arc::new(inner) };
        cask.make_built_in()?;
        Ok(cask)
    }

    /// Its rows: for whoever reads its feed, its audit and its health.
    pub fn records(&self) -> &SharedRecords {
        &self.inner.records
    }

    /// Calls `hear` for every event after the last one that `follower` has heard, in order, and
    /// remembers how far it came after each. Answers how many there were. An error of `hear` ends
    /// it; the event is heard again next time.
    pub fn catch_up(
        &self,
        follower: &str,
        mut hear: impl FnMut(&Event) -> Result<()>,
    ) -> Result<u64> {
        const PAGE: usize = 100;
        let records = self.inner.records.as_ref();
        let mut cursor = feed::cursor(records, follower)?;
        let mut heard = 0;
        loop {
            let events = feed::read(records, cursor, PAGE)?;
            for event in &events {
                hear(event)?;
                heard += 1;
                cursor = event.number;
            }
            if events.is_empty() {
                return Ok(heard);
            }
            let set = feed::advance(crate::kernel::records::ChangeSet::new(), follower, cursor);
            records.apply(set)?;
        }
    }
}

impl std::fmt::Debug for Cask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cask({:?})", self.inner.blobs)
    }
}

impl Inner {
    fn now(&self) -> crate::kernel::Time {
        self.clock.now()
    }

    /// The turn of whoever changes `owner`, a row of `bucket`.
    fn turn(&self, owner: &str) -> Option<MutexGuard<'_, ()>> {
        let at = store::spread(owner) as usize % self.turns.len();
        self.turns.get(at).map(lock)
    }

    fn park(&self, written: Written) {
        if let Some(parked) = lock(&self.parked).as_mut() {
            parked.push(written);
        }
    }

    fn is_named(&self, digest: Digest) -> Result<bool> {
        Ok(self.reading.reads(digest) || store::has_ref(self.records.as_ref(), digest)?)
    }
}

/// No data behind these locks is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
