//! Buckets: made, set, listed, deleted.

use std::time::Duration;

use super::format::{BucketRow, UsageRow};
use super::model::{BUILT_IN, BucketInfo, BucketSettings, CACHE, Kept};
use super::store::{Found, TRIES, bucket_key, live_key, raced};
use super::{Cask, Inner, error};
use crate::kernel::access::Caller;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Scan};
use crate::kernel::{Name, Result};

impl Cask {
    pub(super) fn make_built_in(&self) -> Result<()> {
        for bucket in BUILT_IN {
            if self.inner.records.get(&bucket_key(bucket))?.is_some() {
                continue;
            }
            let now = self.inner.now();
            let row = BucketRow {
                max_bytes: None,
                ttl_ms: None,
                versions: 0,
                evict: None,
                created_at: now,
                updated_at: now,
            };
            match self.inner.records.apply(new_bucket(bucket, &row)?) {
                // Another daemon over the same rows was quicker.
                Err(error) if !raced(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a bucket that is not there yet.
    pub fn make_bucket(
        &self,
        caller: &Caller,
        bucket: &str,
        settings: &BucketSettings,
    ) -> Result<BucketInfo> {
        let bucket = Name::new(bucket)?;
        let now = self.inner.now();
        let row = BucketRow {
            max_bytes: settings.max_bytes,
            ttl_ms: settings.age()?.map(millis),
            versions: settings.versions()?,
            evict: settings.evict,
            created_at: now,
            updated_at: now,
        };
        let set = new_bucket(bucket.as_str(), &row)?;
        let set = self.inner.audit(set, caller, "bucket.save", bucket.as_str())?;
        match self.inner.records.apply(set) {
            Ok(_) => self.info(bucket.as_str(), &row),
            Err(error) if raced(&error) => Err(error::bucket_exists(bucket.as_str())),
            Err(error) => Err(error),
        }
    }

    /// Makes a bucket or changes what it allows. What it holds already stays, even beyond a new
    /// quota.
    pub fn save_bucket(
        &self,
        caller: &Caller,
        bucket: &str,
        settings: &BucketSettings,
    ) -> Result<Kept<BucketInfo>> {
        let bucket = Name::new(bucket)?;
        let ttl_ms = settings.age()?.map(millis);
        let versions = settings.versions()?;
        let key = bucket_key(bucket.as_str());
        for _ in 0..TRIES {
            let now = self.inner.now();
            let found: Option<Found<BucketRow>> = self.inner.find(&key)?;
            let created = found.is_none();
            let row = BucketRow {
                max_bytes: settings.max_bytes,
                ttl_ms,
                versions,
                evict: settings.evict,
                created_at: found.as_ref().map_or(now, |found| found.row.created_at),
                updated_at: now,
            };
            let set = match found {
                None => new_bucket(bucket.as_str(), &row)?,
                Some(found) => {
                    ChangeSet::new().put(&key, Expect::Revision(found.revision), encode(&row)?)
                }
            };
            let set = self.inner.audit(set, caller, "bucket.save", bucket.as_str())?;
            match self.inner.records.apply(set) {
                Ok(_) => {
                    let item = self.info(bucket.as_str(), &row)?;
                    return Ok(Kept { item, created });
                }
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(bucket.as_str()))
    }

    /// One bucket.
    pub fn bucket(&self, bucket: &str) -> Result<BucketInfo> {
        let row = self.inner.bucket_row(bucket)?;
        self.info(bucket, &row)
    }

    /// Buckets in order of their names, after one, at most so many.
    pub fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Vec<BucketInfo>> {
        let mut scan = Scan::prefix("bucket/").limit(limit);
        scan.after = after.map(bucket_key);
        self.inner
            .records
            .scan(&scan)?
            .iter()
            .map(|row| {
                let name = row.key.trim_start_matches("bucket/");
                self.info(name, &decode(&row.value)?)
            })
            .collect()
    }

    /// Deletes an empty bucket of someone's own.
    pub fn delete_bucket(&self, caller: &Caller, bucket: &str) -> Result<()> {
        if BUILT_IN.contains(&bucket) {
            return Err(error::bucket_built_in(bucket));
        }
        for _ in 0..TRIES {
            self.inner.bucket_row(bucket)?;
            self.inner.must_be_empty(bucket)?;
            self.abort_uploads(bucket)?;
            // Read before the look: whoever puts an object meanwhile changes this revision.
            let Some(live) = self.inner.records.get(&live_key(bucket))? else {
                return Err(error::bucket_not_found(bucket));
            };
            self.inner.must_be_empty(bucket)?;
            let mut set = ChangeSet::new()
                .delete(live_key(bucket), Expect::Revision(live.revision))
                .delete(bucket_key(bucket), Expect::Present);
            let usage = Scan::prefix(format!("usage/{bucket}/"));
            for row in self.inner.records.scan(&usage)? {
                set = set.delete(row.key, Expect::Any);
            }
            let set = self.inner.audit(set, caller, "bucket.delete", bucket)?;
            match self.inner.records.apply(set) {
                Ok(_) => return Ok(()),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(bucket))
    }

    fn info(&self, bucket: &str, row: &BucketRow) -> Result<BucketInfo> {
        let UsageRow { bytes, objects } = self.inner.usage(bucket)?;
        Ok(BucketInfo {
            name: bucket.to_owned(),
            max_bytes: row.max_bytes,
            ttl: BucketSettings::ttl_text(row.ttl_ms),
            versions: row.versions,
            evict: row.evicts(bucket),
            used_bytes: u64::try_from(bytes).unwrap_or(0),
            objects: u64::try_from(objects).unwrap_or(0),
            built_in: BUILT_IN.contains(&bucket),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl Inner {
    fn must_be_empty(&self, bucket: &str) -> Result<()> {
        for kind in ["object", "version"] {
            let any = Scan::prefix(format!("{kind}/{bucket}/")).limit(1);
            if !self.records.scan(&any)?.is_empty() {
                return Err(error::bucket_not_empty(bucket));
            }
        }
        Ok(())
    }
}

impl BucketRow {
    /// Whether the least recently used objects go when the bucket is full.
    pub(super) fn evicts(&self, bucket: &str) -> bool {
        self.evict.unwrap_or(bucket == CACHE)
    }
}

fn new_bucket(bucket: &str, row: &BucketRow) -> Result<ChangeSet> {
    Ok(ChangeSet::new().put(bucket_key(bucket), Expect::Absent, encode(row)?).put(
        live_key(bucket),
        Expect::Absent,
        Vec::new(),
    ))
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
