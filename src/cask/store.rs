//! Rows and commits: what an object and a package have in common, which is that they own a blob.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{BucketRow, STEP, UsageRow};
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

/// What the keys of all versions of one object start with.
pub(super) fn versions_of(bucket: &str, key: &str) -> String {
    format!("version/{bucket}/{key}{STEP}")
}

pub(super) fn version_key(bucket: &str, key: &str, version: &str) -> String {
    format!("version/{bucket}/{key}{STEP}{version}")
}

pub(super) fn upload_key(bucket: &str, key: &str, upload: &str) -> String {
    format!("upload/{bucket}/{key}{STEP}{upload}")
}

/// What the keys of all parts of one upload start with.
pub(super) fn parts_of(bucket: &str, upload: &str) -> String {
    format!("part/{bucket}/{upload}/")
}

pub(super) fn part_key(bucket: &str, upload: &str, number: u16) -> String {
    format!("part/{bucket}/{upload}/{number:05}")
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
    /// Whether it counts as an object, or only its bytes do.
    pub is_object: bool,
}

/// A commit in the making: rows, the names of their chunks, and what it does to each bucket's usage.
pub(super) struct Books<'a> {
    inner: &'a Inner,
    set: ChangeSet,
    /// Everything is counted in the shard of the owner whose turn it is: whoever holds that turn
    /// meets nobody there.
    shard: u32,
    usage: BTreeMap<String, UsageRow>,
    written_to: BTreeSet<String>,
}

impl Books<'_> {
    /// Everything that must hold together when an owner's blob changes: its row, the names of its
    /// chunks, what the bucket holds, and that the bucket is there.
    pub(super) fn change(mut self, change: Change<'_>) -> Self {
        let expect = change.old.map_or(Expect::Absent, |(revision, _)| Expect::Revision(revision));
        let old_chunks = chunks_of(change.old.map(|(_, blob)| blob));
        let new_chunks = chunks_of(change.new.as_ref().map(|(_, blob)| *blob));
        let old_size = change.old.map_or(0, |(_, blob)| blob.size);
        let new_size = change.new.as_ref().map_or(0, |(_, blob)| blob.size);
        let usage = self.usage.entry(change.bucket.to_owned()).or_default();
        usage.bytes += signed(new_size) - signed(old_size);
        if change.is_object {
            usage.objects += i64::from(change.new.is_some()) - i64::from(change.old.is_some());
        }
        if change.new.is_some() {
            self.written_to.insert(change.bucket.to_owned());
        }
        self.set = match change.new {
            Some((value, _)) => self.set.put(change.owner, expect, value),
            None => self.set.delete(change.owner, expect),
        };
        for chunk in new_chunks.difference(&old_chunks) {
            self.set = self.set.put(ref_key(*chunk, change.owner), Expect::Any, Vec::new());
        }
        for chunk in old_chunks.difference(&new_chunks) {
            self.set = self.set.delete(ref_key(*chunk, change.owner), Expect::Any);
        }
        self
    }

    /// Adds other rows.
    pub(super) fn and(mut self, set: ChangeSet) -> Self {
        self.set = self.set.and(set);
        self
    }

    /// The whole commit.
    pub(super) fn close(mut self) -> Result<ChangeSet> {
        for bucket in &self.written_to {
            // Fails when the bucket went meanwhile, and tells whoever deletes it that it is in use.
            self.set = self.set.put(live_key(bucket), Expect::Present, Vec::new());
        }
        for (bucket, delta) in std::mem::take(&mut self.usage) {
            if delta == UsageRow::default() {
                continue;
            }
            let key = usage_key(&bucket, self.shard);
            let found: Option<Found<UsageRow>> = self.inner.find(&key)?;
            let expect =
                found.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
            let before = found.map(|found| found.row).unwrap_or_default();
            let after = UsageRow {
                bytes: before.bytes + delta.bytes,
                objects: before.objects + delta.objects,
            };
            self.set = self.set.put(key, expect, encode(&after)?);
        }
        Ok(self.set)
    }
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

    /// A commit in the making, by whoever has the turn of `owner`.
    pub(super) fn books(&self, owner: &str) -> Books<'_> {
        Books {
            inner: self,
            set: ChangeSet::new(),
            shard: spread(owner) % SHARDS,
            usage: BTreeMap::new(),
            written_to: BTreeSet::new(),
        }
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
    blob.map(|blob| blob.chunks().collect()).unwrap_or_default()
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
