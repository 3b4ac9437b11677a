//! Rows and commits: what an object and a package have in common, which is that they own a blob.

use std::collections::BTreeSet;

use super::format::{BucketRow, UsageRow};
use super::{Inner, SHARDS, error, lock};
use crate::kernel::access::Caller;
use crate::kernel::blobs::BlobRef;
use crate::kernel::feed::{self, Audit};
use crate::kernel::format::{Versioned, decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Receipt, Records, Scan};
use crate::kernel::{Digest, Error, Event, Result};

/// How often a commit that met another one is tried again.
pub(super) const TRIES: usize = 100;

pub(super) fn bucket_key(bucket: &str) -> String {
    format!("bucket/{bucket}")
}

pub(super) fn live_key(bucket: &str) -> String {
    format!("live/{bucket}")
}

pub(super) fn object_key(bucket: &str, key: &str) -> String {
    format!("object/{bucket}/{key}")
}

pub(super) fn package_key(name: &str, version: &str) -> String {
    format!("package/{name}/{version}")
}

pub(super) fn pushed_key(name: &str, version: &str) -> String {
    format!("pushed/{name}/{version}")
}

fn usage_key(bucket: &str, shard: u32) -> String {
    format!("usage/{bucket}/{shard:02}")
}

fn ref_key(chunk: Digest, owner: &str) -> String {
    format!("ref/{chunk}/{owner}")
}

/// Where an owner falls among the shards and turns: the same on every machine.
pub(super) fn spread(owner: &str) -> u32 {
    let digest = Digest::of(owner.as_bytes());
    digest.0.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether anything names a chunk.
pub(super) fn has_ref(records: &dyn Records, chunk: Digest) -> Result<bool> {
    let named = records.scan(&Scan::prefix(format!("ref/{chunk}/")).limit(1))?;
    Ok(!named.is_empty())
}

/// Whether a commit failed because another one came first.
pub(super) fn raced(error: &Error) -> bool {
    matches!(error.code(), "row_exists" | "row_missing" | "stale_revision")
}

/// A row as it was found: its revision and what it holds.
pub(super) struct Found<T> {
    pub revision: u64,
    pub row: T,
}

/// What a commit does to the row of one owner of a blob.
pub(super) struct Change<'a> {
    /// The bucket whose usage it counts for.
    pub bucket: &'a str,
    /// The owner's row.
    pub owner: &'a str,
    /// What is there: its revision and its blob.
    pub old: Option<(u64, &'a BlobRef)>,
    /// What shall be there: the row's bytes and the blob it names.
    pub new: Option<(Vec<u8>, &'a BlobRef)>,
}

impl Inner {
    pub(super) fn find<T: Versioned>(&self, key: &str) -> Result<Option<Found<T>>> {
        let Some(row) = self.records.get(key)? else {
            return Ok(None);
        };
        Ok(Some(Found { revision: row.revision, row: decode(&row.value)? }))
    }

    pub(super) fn bucket_row(&self, bucket: &str) -> Result<BucketRow> {
        self.find(&bucket_key(bucket))?
            .map(|found: Found<BucketRow>| found.row)
            .ok_or_else(|| error::bucket_not_found(bucket))
    }

    /// What a bucket holds, all shards together.
    pub(super) fn usage(&self, bucket: &str) -> Result<UsageRow> {
        let mut sum = UsageRow::default();
        for row in self.records.scan(&Scan::prefix(format!("usage/{bucket}/")))? {
            let shard: UsageRow = decode(&row.value)?;
            sum.bytes += shard.bytes;
            sum.objects += shard.objects;
        }
        Ok(sum)
    }

    /// Everything that must hold together when an owner's blob changes: its row, the names of its
    /// chunks, what the bucket holds, and that the bucket is there.
    pub(super) fn change(&self, change: Change<'_>) -> Result<ChangeSet> {
        let expect = change.old.map_or(Expect::Absent, |(revision, _)| Expect::Revision(revision));
        let old_chunks = chunks_of(change.old.map(|(_, blob)| blob));
        let new_chunks = chunks_of(change.new.as_ref().map(|(_, blob)| *blob));
        let old_size = change.old.map_or(0, |(_, blob)| blob.size);
        let new_size = change.new.as_ref().map_or(0, |(_, blob)| blob.size);
        let delta = UsageRow {
            bytes: signed(new_size) - signed(old_size),
            objects: i64::from(change.new.is_some()) - i64::from(change.old.is_some()),
        };
        let is_put = change.new.is_some();
        let mut set = match change.new {
            Some((value, _)) => ChangeSet::new().put(change.owner, expect, value),
            None => ChangeSet::new().delete(change.owner, expect),
        };
        for chunk in new_chunks.difference(&old_chunks) {
            set = set.put(ref_key(*chunk, change.owner), Expect::Any, Vec::new());
        }
        for chunk in old_chunks.difference(&new_chunks) {
            set = set.delete(ref_key(*chunk, change.owner), Expect::Any);
        }
        if is_put {
            // Fails when the bucket went meanwhile, and tells whoever deletes it that it is in use.
            set = set.put(live_key(change.bucket), Expect::Present, Vec::new());
        }
        self.count(set, change.bucket, change.owner, delta)
    }

    /// Adds what changed to the owner's shard of the bucket's usage.
    fn count(
        &self,
        set: ChangeSet,
        bucket: &str,
        owner: &str,
        delta: UsageRow,
    ) -> Result<ChangeSet> {
        if delta == UsageRow::default() {
            return Ok(set);
        }
        let key = usage_key(bucket, spread(owner) % SHARDS);
        let found: Option<Found<UsageRow>> = self.find(&key)?;
        let expect =
            found.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        let before = found.map(|found| found.row).unwrap_or_default();
        let after =
            UsageRow { bytes: before.bytes + delta.bytes, objects: before.objects + delta.objects };
        Ok(set.put(key, expect, encode(&after)?))
    }

    /// Makes room for `growth` more bytes in a bucket until the answer is dropped, or says that it
    /// is full. Commits under way count as done.
    pub(super) fn reserve(
        &self,
        bucket: &str,
        max_bytes: Option<u64>,
        growth: u64,
    ) -> Result<Option<Room<'_>>> {
        let Some(max_bytes) = max_bytes.filter(|_| growth > 0) else {
            return Ok(None);
        };
        let mut reserved = lock(&self.reserved);
        let used = u64::try_from(self.usage(bucket)?.bytes).unwrap_or(0);
        let waiting = reserved.entry(bucket.to_owned()).or_default();
        if used.saturating_add(*waiting).saturating_add(growth) > max_bytes {
            return Err(error::quota_reached(bucket, max_bytes));
        }
        *waiting += growth;
        Ok(Some(Room { inner: self, bucket: bucket.to_owned(), bytes: growth }))
    }

    /// Adds an audit line.
    pub(super) fn audit(
        &self,
        set: ChangeSet,
        caller: &Caller,
        action: &str,
        subject: &str,
    ) -> Result<ChangeSet> {
        let line = Audit {
            at: self.now(),
            who: caller.name.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: "done".to_owned(),
        };
        feed::audit(set, &line)
    }

    /// Commits a set that tells of `event`, and wakes whoever listens.
    pub(super) fn commit(&self, set: ChangeSet, mut event: Event) -> Result<Receipt> {
        let receipt = self.records.apply(feed::tell(set, &event)?)?;
        event.number = receipt.numbers.last().copied().unwrap_or(0);
        self.bus.publish(&event);
        Ok(receipt)
    }
}

/// Bytes that a commit under way will need.
pub(super) struct Room<'a> {
    inner: &'a Inner,
    bucket: String,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut reserved = lock(&self.inner.reserved);
        if let Some(waiting) = reserved.get_mut(&self.bucket) {
            *waiting = waiting.saturating_sub(self.bytes);
            if *waiting == 0 {
                reserved.remove(&self.bucket);
            }
        }
    }
}

fn chunks_of(blob: Option<&BlobRef>) -> BTreeSet<Digest> {
    blob.map(|blob| blob.chunks().iter().copied().collect()).unwrap_or_default()
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
