//! Objects: put, deleted, and what a commit of one holds together.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde_json::json;

mod copy;
mod headers;
mod list;
mod read;
mod tags;
mod versions;

use super::format::{BucketRow, Checksum, Face, ObjectRow};
use super::model::{Guard, Kept, OCTETS, ObjectInfo, PutOptions};
use super::seal::{self, Seal};
use super::store::{Books, Change, Found, Room, TRIES, object_key, raced};
use super::{Cask, Inner, error};
use crate::kernel::access::Caller;
use crate::kernel::blobs::{BlobRef, BlobWriter, Written};
use crate::kernel::format::encode;
use crate::kernel::name::new_id;
use crate::kernel::{Event, ObjectKey, Result, Time, off_thread_or_here, wait_for};

pub use copy::CopyOptions;
pub(super) use headers::{check_headers, check_tags};
pub use list::Listing;

/// So many rows are looked at in one go when a list is filtered.
const BATCH: usize = 256;

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
        let Some(said) = options.md5 else {
            return self
                .put_sealed(caller, bucket, key, options, bytes, || Ok(Seal::default()))
                .await
                .map(|placed| placed.kept);
        };
        let (bytes, md5) = seal::md5_of(bytes);
        self.put_sealed(caller, bucket, key, options, bytes, move || {
            seal::same_md5(said, md5.end())?;
            Ok(Seal::default())
        })
        .await
        .map(|placed| placed.kept)
    }

    /// [`Cask::put`] with a last word: `seal` is asked when all bytes have come and before they are
    /// named, and says what else is known of them, or refuses them.
    pub(super) async fn put_sealed(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: PutOptions,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
        seal: impl FnOnce() -> Result<Seal> + Send,
    ) -> Result<Placed> {
        let key = ObjectKey::new(key)?;
        check_headers(&options)?;
        let room = {
            let (inner, bucket, key) = (self.inner.clone(), bucket.to_owned(), key.clone());
            let guard = options.guard.clone();
            off_thread_or_here(move || inner.room(&bucket, key.as_str(), &guard)).await??
        };
        let writer = self.inner.blobs.writer();
        let written = self.receive(writer, bucket, &options, room, bytes).await?;
        let draft = Draft { blob: written.blob.clone(), face: face_of(&options, seal()?) };
        let (cask, caller) = (self.clone(), caller.clone());
        let bucket = bucket.to_owned();
        off_thread_or_here(move || {
            let place = (bucket.as_str(), key.as_str());
            let outcome = cask.inner.place(&caller, place, &draft, &options.guard, &Nothing);
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
        mut writer: BlobWriter,
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

    /// Deletes an object. Where the bucket keeps versions, its content becomes a previous one.
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
            guard.check(Some(&old.row))?;
            match inner.remove(caller, (bucket, key), &settings, &old) {
                Ok(()) => return Ok(()),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }
}

/// What an object shall become.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub blob: BlobRef,
    pub face: Face,
}

/// An object that was placed, and what S3 clients are told of it besides.
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "nobody else is told"))]
pub(super) struct Placed {
    pub kept: Kept<ObjectInfo>,
    pub checksums: Vec<Checksum>,
    keeps_versions: bool,
}

impl Placed {
    pub(super) fn of(kept: Kept<ObjectInfo>, row: &ObjectRow, settings: &BucketRow) -> Self {
        let keeps_versions = settings.versions > 0;
        Self { kept, checksums: row.face.checksums.clone(), keeps_versions }
    }

    /// The name of its version, where the bucket keeps some.
    #[cfg(feature = "s3")]
    pub(super) fn version(&self) -> Option<String> {
        self.keeps_versions.then(|| self.kept.item.version.clone())
    }
}

/// What else is done in the commit that makes a draft an object.
pub(super) trait Beside {
    /// How many bytes of the bucket it frees.
    fn frees(&self) -> u64 {
        0
    }

    /// Adds it to the commit; asked again for every try.
    fn add<'a>(&self, books: Books<'a>) -> Result<Books<'a>>;
}

/// Nothing else.
pub(super) struct Nothing;

impl Beside for Nothing {
    fn add<'a>(&self, books: Books<'a>) -> Result<Books<'a>> {
        Ok(books)
    }
}

pub(super) fn face_of(options: &PutOptions, seal: Seal) -> Face {
    Face {
        content_type: options.content_type.clone().unwrap_or_else(|| OCTETS.to_owned()),
        meta: options.meta.clone().into_iter().collect(),
        headers: options.headers.clone().into_iter().collect(),
        tags: options.tags.clone().into_iter().collect(),
        etag: seal.etag,
        checksums: seal.checksums,
        parts: seal.parts,
    }
}

impl Inner {
    /// Makes a draft the object of a bucket under a key, and does `beside` in the same commit.
    pub(super) fn place(
        &self,
        caller: &Caller,
        (bucket, key): (&str, &str),
        draft: &Draft,
        guard: &Guard,
        beside: &impl Beside,
    ) -> Result<Placed> {
        let owner = object_key(bucket, key);
        let _turn = self.turn(&owner);
        for _ in 0..TRIES {
            let settings = self.bucket_row(bucket)?;
            let now = self.now();
            let old: Option<Found<ObjectRow>> = self.find(&owner)?;
            let there = old.as_ref().filter(|old| !expired(&settings, &old.row, now));
            guard.check(there.map(|old| &old.row))?;
            let created = there.is_none();
            let freed = old.as_ref().map_or(0, |old| freed_by_replacing(&settings, &old.row));
            let growth = draft.blob.size.saturating_sub(freed + beside.frees());
            let _room = self.make_room(bucket, &settings, growth)?;
            let row = ObjectRow {
                blob: draft.blob.clone(),
                face: draft.face.clone(),
                updated_at: now,
                updated_by: caller.name.clone(),
                version: new_id(),
            };
            let books = self.books(&owner).change(Change {
                bucket,
                owner: &owner,
                old: old.as_ref().map(|old| (old.revision, &old.row.blob)),
                new: Some((encode(&row)?, &row.blob)),
                is_object: true,
            });
            let books = match &old {
                Some(old) => self.archive(books, (bucket, key), &settings, &old.row)?,
                None => books,
            };
            let set = beside.add(books)?.close()?;
            let item = info(bucket, key, &row);
            let subject = format!("{bucket}/{key}");
            let set = self.audit(set, caller, "artifact.put", &subject)?;
            match self.commit(set, told("artifact.pushed", &subject, caller, &item, now)) {
                Ok(_) => return Ok(Placed::of(Kept { item, created }, &row, &settings)),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }

    /// Room for so many more bytes. In a bucket that evicts, what was not used for longest makes it.
    pub(super) fn make_room(
        &self,
        bucket: &str,
        settings: &BucketRow,
        growth: u64,
    ) -> Result<Option<Room<'_>>> {
        match self.reserve(bucket, settings.max_bytes, growth) {
            Err(full) if full.code() == "quota_reached" && settings.evicts(bucket) => {
                self.evict(bucket, settings, growth)?;
                self.reserve(bucket, settings.max_bytes, growth)
            }
            outcome => outcome,
        }
    }

    /// How much an object under `key` may have, as far as one can tell before its bytes come.
    fn room(&self, bucket: &str, key: &str, guard: &Guard) -> Result<Option<Space>> {
        let settings = self.bucket_row(bucket)?;
        let old: Option<Found<ObjectRow>> = self.find(&object_key(bucket, key))?;
        let now = self.now();
        let there = old.as_ref().filter(|old| !expired(&settings, &old.row, now));
        guard.check(there.map(|old| &old.row))?;
        let freed = old.map_or(0, |old| freed_by_replacing(&settings, &old.row));
        self.space(bucket, &settings, freed)
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
        if settings.evicts(bucket) {
            return Ok(Some(Space { max_bytes, free: max_bytes }));
        }
        let used = u64::try_from(self.usage(bucket)?.bytes).unwrap_or(0);
        // What is no larger than before is let in, however full the bucket is.
        let free = max_bytes.saturating_sub(used.saturating_sub(freed)).max(freed);
        Ok(Some(Space { max_bytes, free }))
    }

    /// Deletes the object that was found, if it is still that one.
    pub(super) fn remove(
        &self,
        caller: &Caller,
        (bucket, key): (&str, &str),
        settings: &BucketRow,
        old: &Found<ObjectRow>,
    ) -> Result<()> {
        let owner = object_key(bucket, key);
        let books = self.leave(self.books(&owner), (bucket, key), settings, old)?;
        let subject = format!("{bucket}/{key}");
        let set = self.audit(books.close()?, caller, "artifact.delete", &subject)?;
        let item = info(bucket, key, &old.row);
        let event = told("artifact.deleted", &subject, caller, &item, self.now());
        self.commit(set, event).map(drop)
    }

    /// Adds to a commit that an object goes from its key.
    fn leave<'a>(
        &self,
        books: Books<'a>,
        (bucket, key): (&str, &str),
        settings: &BucketRow,
        old: &Found<ObjectRow>,
    ) -> Result<Books<'a>> {
        let books = books.change(Change {
            bucket,
            owner: &object_key(bucket, key),
            old: Some((old.revision, &old.row.blob)),
            new: None,
            is_object: true,
        });
        // What is too old is not kept as a version either.
        if expired(settings, &old.row, self.now()) {
            return Ok(books);
        }
        self.archive(books, (bucket, key), settings, &old.row)
    }
}

/// How many bytes go when an object is replaced: none where it becomes a previous version.
fn freed_by_replacing(settings: &BucketRow, old: &ObjectRow) -> u64 {
    if settings.versions > 0 { 0 } else { old.blob.size }
}

/// How much may still come in.
pub(super) struct Space {
    max_bytes: u64,
    free: u64,
}

pub(super) fn expired(settings: &BucketRow, row: &ObjectRow, now: Time) -> bool {
    settings.ttl_ms.is_some_and(|ms| now.since(row.updated_at) >= Duration::from_millis(ms))
}

pub(super) fn info(bucket: &str, key: &str, row: &ObjectRow) -> ObjectInfo {
    ObjectInfo {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        size: row.blob.size,
        sha256: row.blob.digest,
        content_type: row.face.content_type.clone(),
        updated_at: row.updated_at,
        version: row.version.clone(),
        meta: row.face.meta.iter().cloned().collect(),
        headers: row.face.headers.iter().cloned().collect(),
        tags: row.face.tags.iter().cloned().collect(),
        etag: row.face.etag.clone(),
    }
}

pub(super) fn told(
    event: &str,
    subject: &str,
    caller: &Caller,
    item: &ObjectInfo,
    now: Time,
) -> Event {
    let payload = json!({
        "bucket": item.bucket, "key": item.key, "size": item.size, "sha256": item.sha256,
        "content_type": item.content_type, "version": item.version, "by": caller.name,
    });
    Event::new(event, subject, now, payload)
}
