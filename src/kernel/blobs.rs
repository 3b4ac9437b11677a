//! Bytes: content-addressed, immutable, durable before they are named.
//!
//! A blob is cut into chunks of 16 MiB, each kept under its SHA-256, so that memory stays flat and
//! equal chunks are kept once. Small blobs live inside the [`BlobRef`] itself, in the record that
//! names them. The order that must hold: chunk written and synced, *then* the record that names it,
//! *then* the answer. What a crash leaves between the first two is a chunk that nothing names; the
//! sweeper takes it after a grace period.
//!
//! User names never become file names here: a chunk lies under `ab/cdef…`.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sha2::{Digest as _, Sha256};

use super::clock::Time;
use super::disk;
use super::error::{Error, Kind, Result};
use super::name::Digest;
use super::spool::Spool;

/// The size of a chunk; the last one of a blob is shorter.
pub const CHUNK_BYTES: usize = 16 << 20;
/// Up to this size a blob lives inside the record that names it.
pub const INLINE_BYTES: usize = 32 << 10;

/// Where a blob's bytes are, and what they must be. Kept in the record that names the blob.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlobRef {
    /// The SHA-256 of all bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Where they are.
    pub body: Body,
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// Here.
    Inline(Vec<u8>),
    /// In chunks, in order; all but the last are [`CHUNK_BYTES`] long.
    Chunks(Vec<Digest>),
}

impl BlobRef {
    /// The chunks that this blob names.
    pub fn chunks(&self) -> &[Digest] {
        match &self.body {
            Body::Inline(_) => &[],
            Body::Chunks(chunks) => chunks,
        }
    }
}

/// A store of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder, where the store is one: a chunk found there is synced again before it is relied on.
    folder: Option<PathBuf>,
    held: Arc<Mutex<HashMap<Digest, usize>>>,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Chunks that nothing named and that were old enough to go.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks that nothing names yet, kept for their grace period.
    pub waiting: u64,
}

impl Blobs {
    /// Blobs in a folder, made if need be.
    pub fn folder(path: &Path) -> Result<Self> {
        disk::make_folder(path)?;
        let store = LocalFileSystem::new_with_prefix(path)
            .map_err(|source| failed("open the folder of chunks", source))?
            .with_fsync(true);
        let folder = path.canonicalize().map_err(|source| Error::io("find the folder", source))?;
        Ok(Self { folder: Some(folder), ..Self::over(Arc::new(store)) })
    }

    /// Blobs in memory: for tests.
    pub fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// Blobs over any store that keeps what it acknowledged.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, folder: None, held: Arc::default() }
    }

    /// Starts a blob. Its chunks are safe from the sweeper until the [`Written`] is dropped.
    pub fn writer(&self) -> BlobWriter {
        BlobWriter {
            blobs: self.clone(),
            whole: Sha256::new(),
            size: 0,
            pending: BytesMut::new(),
            chunks: Vec::new(),
            holds: Vec::new(),
        }
    }

    /// A place for bytes that are received before anyone knows whether they are kept.
    pub fn spool(&self) -> Spool {
        Spool::new(self.folder.clone().unwrap_or_else(std::env::temp_dir))
    }

    /// Keeps bytes that are in memory already.
    pub async fn put(&self, bytes: Bytes) -> Result<Written> {
        let mut writer = self.writer();
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Reads a range of a blob as a stream of pieces. A whole read checks every chunk's digest.
    pub fn read(&self, blob: &BlobRef, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let range = range.start.min(blob.size)..range.end.min(blob.size);
        if range.is_empty() {
            return futures::stream::empty().boxed();
        }
        match &blob.body {
            Body::Inline(bytes) => {
                let piece = slice_of(&Bytes::copy_from_slice(bytes), range);
                futures::stream::once(async { piece }).boxed()
            }
            Body::Chunks(chunks) => {
                let chunk_bytes = CHUNK_BYTES as u64;
                let blobs = self.clone();
                let size = blob.size;
                let parts: Vec<_> = chunks
                    .iter()
                    .enumerate()
                    .filter_map(move |(at, digest)| {
                        let start = at as u64 * chunk_bytes;
                        let from = range.start.max(start);
                        let to = range.end.min(start + chunk_bytes);
                        let length = chunk_bytes.min(size - start);
                        (from < to).then(|| (*digest, from - start..to - start, length))
                    })
                    .collect();
                futures::stream::iter(parts)
                    .then(move |(digest, part, length)| {
                        let blobs = blobs.clone();
                        async move { blobs.read_chunk(digest, part, length).await }
                    })
                    .boxed()
            }
        }
    }

    /// Reads a range of a blob into memory.
    pub async fn read_to_bytes(&self, blob: &BlobRef, range: Range<u64>) -> Result<Bytes> {
        let mut pieces: Vec<Bytes> = self.read(blob, range).try_collect().await?;
        if pieces.len() == 1 {
            return Ok(pieces.swap_remove(0));
        }
        Ok(pieces.concat().into())
    }

    async fn read_chunk(&self, digest: Digest, part: Range<u64>, length: u64) -> Result<Bytes> {
        let path = chunk_path(digest);
        let whole = part == (0..length);
        let bytes = self
            .store
            .get_range(&path, part)
            .await
            .map_err(|source| failed(&format!("read the chunk {digest}"), source))?;
        if whole && Digest::of(&bytes) != digest {
            return Err(damaged(digest));
        }
        Ok(bytes)
    }

    /// Reads every chunk of a blob and compares it with its digest.
    pub async fn verify(&self, blob: &BlobRef) -> Result<()> {
        let mut whole = Sha256::new();
        let mut pieces = self.read(blob, 0..blob.size);
        while let Some(piece) = pieces.try_next().await? {
            whole.update(&piece);
        }
        if Digest(whole.finalize().into()) == blob.digest {
            Ok(())
        } else {
            Err(damaged(blob.digest))
        }
    }

    /// Keeps one chunk: present and durable when this answers.
    async fn keep_chunk(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        let path = chunk_path(digest);
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, bytes.into(), create).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => self.sync_found(digest),
            Err(source) => Err(failed("keep a chunk", source)),
        }
    }

    /// A chunk that was there already may be one whose writer died, or still waits, between the
    /// rename and the sync of the folder. It is relied on only after a sync of our own.
    fn sync_found(&self, digest: Digest) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let path = folder.join(chunk_path(digest).as_ref());
        std::fs::File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|source| Error::io("sync a chunk", source))?;
        disk::sync_parent(&path)?;
        disk::sync_folder(folder)
    }

    /// Removes the chunks that nothing names and that are older than `grace`. `named` is asked
    /// after the chunks were listed, so a chunk named in between is seen as such; chunks of blobs
    /// being written right now are held and stay.
    pub async fn sweep(
        &self,
        named: impl Fn(Digest) -> Result<bool>,
        now: Time,
        grace: Duration,
    ) -> Result<Swept> {
        let mut swept = Swept::default();
        let mut listing = self.store.list(None);
        let mut found = Vec::new();
        while let Some(meta) = listing.try_next().await.map_err(|e| failed("list chunks", e))? {
            found.push(meta);
        }
        for meta in found {
            let Some(digest) = chunk_digest(&meta.location) else {
                continue;
            };
            if named(digest)? {
                continue;
            }
            if now.since(meta.last_modified.into()) < grace || self.is_held(digest) {
                swept.waiting += 1;
                continue;
            }
            if self.remove(digest, &meta.location, &named).await? {
                swept.removed += 1;
                swept.bytes += meta.size;
            }
        }
        // A stage is young while its writer lives; a writer of one chunk lives less than a minute.
        self.remove_stages(now, grace.max(Duration::from_mins(1)))?;
        Ok(swept)
    }

    /// Removes one chunk unless someone began to rely on it meanwhile. It is marked first, so that
    /// nobody begins to; then `named` is asked once more, for who began and ended since.
    async fn remove(
        &self,
        digest: Digest,
        path: &StorePath,
        named: &impl Fn(Digest) -> Result<bool>,
    ) -> Result<bool> {
        {
            let mut held = self.lock();
            if held.contains_key(&digest) {
                return Ok(false);
            }
            held.insert(digest, REMOVING);
        }
        let outcome = match named(digest) {
            Ok(false) => match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(true),
                Err(source) => Err(failed("remove a chunk", source)),
            },
            Ok(true) => Ok(false),
            Err(error) => Err(error),
        };
        self.lock().remove(&digest);
        outcome
    }

    /// Removes what a crash left of chunks half-written: files that `list` hides.
    fn remove_stages(&self, now: Time, grace: Duration) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let read = |path: &Path| {
            std::fs::read_dir(path).map_err(|e| Error::io("list the folder of chunks", e))
        };
        for shard in read(folder)?.flatten().filter(|entry| entry.path().is_dir()) {
            for file in read(&shard.path())?.flatten() {
                let is_stage = file.file_name().to_string_lossy().contains('#');
                let age = file.metadata().and_then(|m| m.modified()).map(|modified| {
                    now.since(chrono::DateTime::<chrono::Utc>::from(modified).into())
                });
                if is_stage && age.is_ok_and(|age| age >= grace) {
                    // Another sweep may have been quicker; either way it is gone.
                    let _gone = std::fs::remove_file(file.path());
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_held(&self, digest: Digest) -> bool {
        self.lock().contains_key(&digest)
    }

    /// Holds a chunk against the sweeper, waiting while it is being removed.
    async fn hold(&self, digest: Digest) -> Hold {
        loop {
            {
                let mut held = self.lock();
                let count = held.entry(digest).or_insert(0);
                if *count != REMOVING {
                    *count += 1;
                    return Hold { digest, held: self.held.clone() };
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The count that marks a chunk as being removed.
const REMOVING: usize = usize::MAX;

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({})", self.store)
    }
}

/// Keeps the sweeper from one chunk.
struct Hold {
    digest: Digest,
    held: Arc<Mutex<HashMap<Digest, usize>>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.digest);
            }
        }
    }
}

/// A blob that is durable and waits to be named. Drop it after the record that names it is durable.
#[must_use = "the sweeper may take the chunks as soon as this is dropped"]
pub struct Written {
    /// What to keep in the record.
    pub blob: BlobRef,
    _holds: Vec<Hold>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.blob.fmt(f)
    }
}

/// A blob being written: hashed as it streams, at most one chunk in memory.
pub struct BlobWriter {
    blobs: Blobs,
    whole: Sha256,
    size: u64,
    pending: BytesMut,
    chunks: Vec<Digest>,
    holds: Vec<Hold>,
}

impl BlobWriter {
    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.whole.update(&bytes);
        self.size += bytes.len() as u64;
        let mut rest = bytes;
        while self.pending.len() + rest.len() >= CHUNK_BYTES {
            let piece = rest.split_to(CHUNK_BYTES - self.pending.len());
            let chunk = if self.pending.is_empty() {
                piece
            } else {
                self.pending.extend_from_slice(&piece);
                std::mem::take(&mut self.pending).freeze()
            };
            self.keep(chunk).await?;
        }
        self.pending.extend_from_slice(&rest);
        Ok(())
    }

    /// How many bytes were taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes what was written durable.
    pub async fn finish(mut self) -> Result<Written> {
        let last = std::mem::take(&mut self.pending).freeze();
        let inline = self.chunks.is_empty() && last.len() <= INLINE_BYTES;
        if !inline && !last.is_empty() {
            self.keep(last.clone()).await?;
        }
        let body = if inline { Body::Inline(last.to_vec()) } else { Body::Chunks(self.chunks) };
        let digest = Digest(self.whole.finalize().into());
        Ok(Written { blob: BlobRef { digest, size: self.size, body }, _holds: self.holds })
    }

    async fn keep(&mut self, chunk: Bytes) -> Result<()> {
        // A chunk of 16 MiB takes some 10 ms to hash: not on an async thread.
        let hashed = chunk.clone();
        let digest = super::off_thread_or_here(move || Digest::of(&hashed)).await?;
        // Held before it is looked for: between the look and the record no sweep may take it.
        self.holds.push(self.blobs.hold(digest).await);
        self.blobs.keep_chunk(digest, chunk).await?;
        self.chunks.push(digest);
        Ok(())
    }
}

fn chunk_path(digest: Digest) -> StorePath {
    let hex = digest.to_hex();
    let (shard, rest) = hex.split_at(2);
    StorePath::from_iter([shard, rest])
}

fn chunk_digest(path: &StorePath) -> Option<Digest> {
    Digest::parse(&path.as_ref().replace('/', "")).ok()
}

fn slice_of(bytes: &Bytes, range: Range<u64>) -> Result<Bytes> {
    let at = |end: u64| usize::try_from(end).unwrap_or(usize::MAX);
    bytes
        .get(at(range.start)..at(range.end))
        .map(|part| bytes.slice_ref(part))
        .ok_or_else(|| Error::internal("a blob is shorter than its record says"))
}

fn damaged(digest: Digest) -> Error {
    Error::new(
        Kind::Internal,
        "damaged_blob",
        format!("the bytes kept under {digest} are not those: the medium is damaged"),
    )
}

fn failed(what: &str, source: object_store::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let same = io
                .raw_os_error()
                .map_or_else(|| io.kind().into(), std::io::Error::from_raw_os_error);
            return Error::io(what, same).caused_by(source);
        }
        cause = error.source();
    }
    let kind = match &source {
        object_store::Error::NotFound { .. } => {
            return Error::new(
                Kind::Internal,
                "blob_missing",
                format!("{what}: the bytes are gone from the store: {source}"),
            );
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => Kind::Config,
        _ => Kind::Unavailable,
    };
    Error::new(kind, "blob_store", format!("{what}: {source}")).caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(bytes: usize) -> Bytes {
        (0..bytes).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
    }

    async fn never_named(blobs: &Blobs, now: Time) -> Swept {
        blobs.sweep(|_| Ok(false), now, Duration::from_mins(1)).await.unwrap()
    }

    #[tokio::test]
    async fn bytes_come_back_whole_and_in_ranges_at_every_size() {
        let folder = tempfile::tempdir().unwrap();
        for blobs in [Blobs::memory(), Blobs::folder(folder.path()).unwrap()] {
            for size in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 5] {
                let bytes = pattern(size);
                let written = blobs.put(bytes.clone()).await.unwrap();
                let blob = &written.blob;
                assert_eq!((blob.size, blob.digest), (size as u64, Digest::of(&bytes)));
                assert_eq!(blobs.read_to_bytes(blob, 0..u64::MAX).await.unwrap(), bytes);
                let (from, to) = (size / 3, size / 2);
                let part = blobs.read_to_bytes(blob, from as u64..to as u64).await.unwrap();
                assert_eq!(part, bytes.slice(from..to));
                blobs.verify(blob).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn equal_chunks_are_kept_once_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(folder.path()).unwrap();
        let first = blobs.put(pattern(100_000)).await.unwrap();
        let second = blobs.put(pattern(100_000)).await.unwrap();
        assert_eq!(first.blob, second.blob);
        let digest = first.blob.chunks()[0];
        let path = folder.path().join(chunk_path(digest).as_ref());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[500] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(blobs.verify(&first.blob).await.unwrap_err().code(), "damaged_blob");
        // The last chunk is shorter than the others, and compared all the same.
        let long = blobs.put(pattern(CHUNK_BYTES + 100_000)).await.unwrap();
        let path = folder.path().join(chunk_path(long.blob.chunks()[1]).as_ref());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[99_999] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let read = blobs.read_to_bytes(&long.blob, 0..u64::MAX).await;
        assert_eq!(read.unwrap_err().code(), "damaged_blob");
    }

    #[tokio::test]
    async fn the_sweeper_takes_old_orphans_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(folder.path()).unwrap();
        let clock = crate::kernel::SystemClock;
        let now = crate::kernel::Clock::now(&clock);
        let later = now.after(Duration::from_mins(2));
        let held = blobs.put(pattern(100_000)).await.unwrap();
        let named = blobs.put(pattern(200_000)).await.unwrap().blob;
        drop(blobs.put(pattern(300_000)).await.unwrap());
        assert_eq!(never_named(&blobs, now).await.removed, 0, "all are young");
        let keep = named.chunks()[0];
        let swept = blobs.sweep(|d| Ok(d == keep), later, Duration::from_mins(1)).await.unwrap();
        assert_eq!((swept.removed, swept.bytes, swept.waiting), (1, 300_000, 1));
        blobs.verify(&held.blob).await.unwrap();
        blobs.verify(&named).await.unwrap();
        drop(held);
        assert_eq!(never_named(&blobs, later).await.removed, 2);
    }
}
