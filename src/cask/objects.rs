//! Objects: put, read, listed, deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde_json::json;

use super::format::{BucketRow, ObjectRow};
use super::model::{Guard, Kept, OCTETS, ObjectInfo, ObjectList, PutOptions};
use super::reading::Opened;
use super::store::{Change, Found, TRIES, object_key, raced};
use super::{Cask, Inner, error};
use crate::kernel::access::Caller;
use crate::kernel::blobs::Written;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::Scan;
use crate::kernel::{Event, Fault, ObjectKey, Result, Time, off_thread_or_here, wait_for};

/// The most bytes of an object's own headers.
const META_MAX: usize = 8 << 10;
/// The most headers of its own.
const META_COUNT: usize = 64;
/// So many rows are looked at in one go when a list is filtered.
const BATCH: usize = 256;
/// Behind every key that starts with what stands before it.
const BEHIND: char = char::MAX;

/// Which objects a list shows.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only keys that start so.
    pub prefix: String,
    /// Keys with this behind the prefix are shown as one prefix.
    pub delimiter: Option<String>,
    /// Only what comes after this: the `after` of the page before.
    pub after: Option<String>,
    /// At most so many entries.
    pub limit: usize,
}

impl Cask {
    /// Puts an object from a stream of bytes, durably. Nothing is kept when the stream fails, or
    /// when digest, length, quota or guard say no.
    pub async fn put(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: PutOptions,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<Kept<ObjectInfo>> {
        let key = ObjectKey::new(key)?;
        check_headers(&options)?;
        let room = {
            let (inner, bucket, key) = (self.inner.clone(), bucket.to_owned(), key.clone());
            let guard = options.guard.clone();
            off_thread_or_here(move || inner.room(&bucket, key.as_str(), &guard)).await??
        };
        let written = self.receive(bucket, &options, room, bytes).await?;
        let (cask, caller) = (self.clone(), caller.clone());
        let bucket = bucket.to_owned();
        off_thread_or_here(move || {
            let outcome = cask.keep(&caller, &bucket, key.as_str(), &options, &written);
            cask.inner.park(written);
            outcome
        })
        .await?
    }

    /// Puts an object whose bytes are in memory.
    pub async fn put_bytes(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: PutOptions,
        bytes: Bytes,
    ) -> Result<Kept<ObjectInfo>> {
        let once = futures::stream::iter([Ok(bytes)]);
        self.put(caller, bucket, key, options, once).await
    }

    /// [`Cask::put_bytes`] from a thread that may block.
    pub fn put_now(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: PutOptions,
        bytes: Bytes,
    ) -> Result<Kept<ObjectInfo>> {
        wait_for(self.put_bytes(caller, bucket, key, options, bytes))
    }

    /// Takes in a stream within what `options` say and `room` allows.
    pub(super) async fn receive(
        &self,
        bucket: &str,
        options: &PutOptions,
        room: Option<Space>,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<Written> {
        let check = |size: u64| match &room {
            Some(space) if size > space.free => Err(error::quota_reached(bucket, space.max_bytes)),
            _ => Ok(()),
        };
        check(options.length.unwrap_or(0))?;
        let mut writer = self.inner.blobs.writer();
        let mut bytes = std::pin::pin!(bytes);
        while let Some(piece) = bytes.next().await {
            let piece = piece?;
            check(writer.size().saturating_add(piece.len() as u64))?;
            writer.write(piece).await?;
        }
        if let Some(said) = options.length.filter(|said| *said != writer.size()) {
            return Err(error::wrong_length(said, writer.size()));
        }
        let written = writer.finish().await?;
        match options.sha256 {
            Some(said) if said != written.blob.digest => {
                Err(error::digest_mismatch(said, written.blob.digest))
            }
            _ => Ok(written),
        }
    }

    /// Names what was written.
    fn keep(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: &PutOptions,
        written: &Written,
    ) -> Result<Kept<ObjectInfo>> {
        let inner = &self.inner;
        let owner = object_key(bucket, key);
        let _turn = inner.turn(&owner);
        for _ in 0..TRIES {
            let settings = inner.bucket_row(bucket)?;
            let now = inner.now();
            let old: Option<Found<ObjectRow>> = inner.find(&owner)?;
            let there = old.as_ref().filter(|old| !expired(&settings, &old.row, now));
            options.guard.check(there.map(|old| old.row.blob.digest))?;
            let created = there.is_none();
            let old_size = old.as_ref().map_or(0, |old| old.row.blob.size);
            let growth = written.blob.size.saturating_sub(old_size);
            let _room = inner.reserve(bucket, settings.max_bytes, growth)?;
            let row = ObjectRow {
                blob: written.blob.clone(),
                content_type: options.content_type.clone().unwrap_or_else(|| OCTETS.to_owned()),
                meta: options.meta.clone().into_iter().collect(),
                updated_at: now,
                updated_by: caller.name.clone(),
            };
            let set = inner.change(Change {
                bucket,
                owner: &owner,
                old: old.as_ref().map(|old| (old.revision, &old.row.blob)),
                new: Some((encode(&row)?, &row.blob)),
            })?;
            let item = info(bucket, key, &row);
            let subject = format!("{bucket}/{key}");
            let set = inner.audit(set, caller, "artifact.put", &subject)?;
            match inner.commit(set, told("artifact.pushed", &subject, caller, &item, now)) {
                Ok(_) => return Ok(Kept { item, created }),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }

    /// Finds an object to read it.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Opened<ObjectInfo>> {
        let inner = &self.inner;
        loop {
            let row = inner.object(bucket, key)?;
            let hold = inner.reading.hold(&row.blob);
            // Looked at again now that its chunks are held: see `Readers::hold`.
            if row.blob.chunks().is_empty() || inner.object(bucket, key)?.blob == row.blob {
                return Ok(Opened {
                    info: info(bucket, key, &row),
                    blob: row.blob,
                    blobs: inner.blobs.clone(),
                    hold,
                });
            }
        }
    }

    /// Deletes an object.
    pub fn delete(&self, caller: &Caller, bucket: &str, key: &str, guard: &Guard) -> Result<()> {
        let inner = &self.inner;
        let owner = object_key(bucket, key);
        let _turn = inner.turn(&owner);
        for _ in 0..TRIES {
            let settings = inner.bucket_row(bucket)?;
            let now = inner.now();
            let found: Option<Found<ObjectRow>> = inner.find(&owner)?;
            let Some(old) = found.filter(|old| !expired(&settings, &old.row, now)) else {
                guard.check(None)?;
                return Err(error::object_not_found(bucket, key));
            };
            guard.check(Some(old.row.blob.digest))?;
            match inner.remove(caller, bucket, key, &old, now) {
                Ok(()) => return Ok(()),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }

    /// A page of a bucket in order of its keys.
    pub fn list(&self, bucket: &str, listing: &Listing) -> Result<(ObjectList, Option<String>)> {
        let settings = self.inner.bucket_row(bucket)?;
        let mut page = Page::new(listing);
        let start = object_key(bucket, "");
        let mut after = listing.after.as_ref().map(|key| format!("{start}{key}"));
        loop {
            let mut scan = Scan::prefix(format!("{start}{}", listing.prefix)).limit(BATCH);
            scan.after = after.take();
            let rows = self.inner.records.scan(&scan)?;
            let is_last = rows.len() < BATCH;
            let now = self.inner.now();
            for row in rows {
                let key = row.key.get(start.len()..).unwrap_or_default();
                let object: ObjectRow = decode(&row.value)?;
                if !expired(&settings, &object, now) {
                    if page.is_full() {
                        return Ok(page.finish(true));
                    }
                    if let Some(prefix) = page.show(bucket, key, &object) {
                        // Whatever else starts so is stepped over.
                        after = Some(format!("{start}{prefix}{BEHIND}"));
                        break;
                    }
                }
                after = Some(row.key);
            }
            if is_last && !page.stepped() {
                return Ok(page.finish(false));
            }
        }
    }
}

impl Inner {
    /// The object under a key, if it is there and not too old.
    fn object(&self, bucket: &str, key: &str) -> Result<ObjectRow> {
        let settings = self.bucket_row(bucket)?;
        let found: Option<Found<ObjectRow>> = self.find(&object_key(bucket, key))?;
        found
            .map(|found| found.row)
            .filter(|row| !expired(&settings, row, self.now()))
            .ok_or_else(|| error::object_not_found(bucket, key))
    }

    /// How much an object under `key` may have, as far as one can tell before its bytes come.
    fn room(&self, bucket: &str, key: &str, guard: &Guard) -> Result<Option<Space>> {
        let settings = self.bucket_row(bucket)?;
        let old: Option<Found<ObjectRow>> = self.find(&object_key(bucket, key))?;
        let now = self.now();
        let there = old.as_ref().filter(|old| !expired(&settings, &old.row, now));
        guard.check(there.map(|old| old.row.blob.digest))?;
        self.space(bucket, &settings, old.map_or(0, |old| old.row.blob.size))
    }

    /// What is free in a bucket when `freed` bytes of it go.
    pub(super) fn space(
        &self,
        bucket: &str,
        settings: &BucketRow,
        freed: u64,
    ) -> Result<Option<Space>> {
        let Some(max_bytes) = settings.max_bytes else {
            return Ok(None);
        };
        let used = u64::try_from(self.usage(bucket)?.bytes).unwrap_or(0);
        // What is no larger than before is let in, however full the bucket is.
        let free = max_bytes.saturating_sub(used.saturating_sub(freed)).max(freed);
        Ok(Some(Space { max_bytes, free }))
    }

    /// Deletes the object that was found, if it is still that one.
    pub(super) fn remove(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        old: &Found<ObjectRow>,
        now: Time,
    ) -> Result<()> {
        let set = self.change(Change {
            bucket,
            owner: &object_key(bucket, key),
            old: Some((old.revision, &old.row.blob)),
            new: None,
        })?;
        let subject = format!("{bucket}/{key}");
        let set = self.audit(set, caller, "artifact.delete", &subject)?;
        let item = info(bucket, key, &old.row);
        self.commit(set, told("artifact.deleted", &subject, caller, &item, now)).map(drop)
    }
}

/// How much may still come in.
pub(super) struct Space {
    max_bytes: u64,
    free: u64,
}

/// A page being filled.
struct Page<'a> {
    listing: &'a Listing,
    /// The prefix that the page before ended with, or that was shown last.
    last_prefix: Option<String>,
    stepped: bool,
    /// The last entry, and after what the next page starts.
    end: Option<String>,
    list: ObjectList,
}

impl<'a> Page<'a> {
    fn new(listing: &'a Listing) -> Self {
        let last_prefix = listing
            .after
            .as_deref()
            .and_then(|after| after.strip_suffix(BEHIND))
            .map(str::to_owned);
        Self {
            listing,
            last_prefix,
            stepped: false,
            end: None,
            list: ObjectList { items: Vec::new(), prefixes: Vec::new(), next_cursor: None },
        }
    }

    fn is_full(&self) -> bool {
        self.list.items.len() + self.list.prefixes.len() >= self.listing.limit.max(1)
    }

    /// Whether the last step went over a prefix; more may follow behind it.
    fn stepped(&mut self) -> bool {
        std::mem::take(&mut self.stepped)
    }

    /// Shows an object, or the prefix that stands for it, which is then answered.
    fn show(&mut self, bucket: &str, key: &str, row: &ObjectRow) -> Option<String> {
        let Some(prefix) = self.common(key) else {
            self.end = Some(key.to_owned());
            self.list.items.push(info(bucket, key, row));
            return None;
        };
        if self.last_prefix.as_ref() == Some(&prefix) {
            // A key beyond `BEHIND`: its prefix was shown already.
            return None;
        }
        self.stepped = true;
        self.end = Some(format!("{prefix}{BEHIND}"));
        self.last_prefix = Some(prefix.clone());
        self.list.prefixes.push(prefix.clone());
        Some(prefix)
    }

    fn common(&self, key: &str) -> Option<String> {
        let delimiter = self.listing.delimiter.as_deref().filter(|d| !d.is_empty())?;
        let rest = key.strip_prefix(self.listing.prefix.as_str())?;
        let at = rest.find(delimiter)?;
        let length = self.listing.prefix.len() + at + delimiter.len();
        key.get(..length).map(str::to_owned)
    }

    fn finish(self, more: bool) -> (ObjectList, Option<String>) {
        (self.list, self.end.filter(|_| more))
    }
}

pub(super) fn expired(settings: &BucketRow, row: &ObjectRow, now: Time) -> bool {
    settings.ttl_ms.is_some_and(|ms| now.since(row.updated_at) >= Duration::from_millis(ms))
}

fn info(bucket: &str, key: &str, row: &ObjectRow) -> ObjectInfo {
    ObjectInfo {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        size: row.blob.size,
        sha256: row.blob.digest,
        content_type: row.content_type.clone(),
        updated_at: row.updated_at,
        meta: row.meta.iter().cloned().collect::<BTreeMap<_, _>>(),
    }
}

fn told(event: &str, subject: &str, caller: &Caller, item: &ObjectInfo, now: Time) -> Event {
    let payload = json!({
        "bucket": item.bucket, "key": item.key, "size": item.size, "sha256": item.sha256,
        "content_type": item.content_type, "by": caller.name,
    });
    Event::new(event, subject, now, payload)
}

fn check_headers(options: &PutOptions) -> Result<()> {
    let mut faults = Vec::new();
    let bad = |text: &str| text.chars().any(char::is_control);
    if let Some(kind) = &options.content_type
        && (kind.len() > 255 || kind.is_empty() || !kind.is_ascii() || bad(kind))
    {
        faults.push(Fault::new("Content-Type", "1 to 255 printable ASCII characters"));
    }
    let size: usize = options.meta.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > META_MAX || options.meta.len() > META_COUNT {
        let most = format!("at most {META_COUNT} headers and {META_MAX} bytes together");
        faults.push(Fault::new("Drip-Meta", most));
    }
    for (name, value) in &options.meta {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            let shown: String = name.chars().take(60).collect();
            faults.push(Fault::new(
                format!("Drip-Meta-{shown:?}"),
                "a name has letters, digits, `-`, `_` and `.`",
            ));
        } else if bad(value) {
            faults.push(Fault::new(format!("Drip-Meta-{name}"), "contains a control character"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(error::bad_meta(faults)) }
}
