//! Reading: a blob as a stream of pieces, every whole chunk compared with its digest.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use sha2::{Digest as _, Sha256};

use super::{BlobRef, Blobs, Body, chunk_path, damaged, failed};
use crate::kernel::error::{Error, Result};
use crate::kernel::name::Digest;
use crate::kernel::off_thread_or_here;

/// How long a chunk in a folder counts as sound after it was compared with its digest.
const SOUND_FOR: Duration = Duration::from_mins(10);
/// So many chunks are remembered as sound: 64 GiB of large ones.
const SOUND_MOST: usize = 4096;
/// How much of a chunk is read in one go when its digest need not be computed.
const PIECE_BYTES: u64 = 1 << 20;
/// What is hashed faster than another thread can be asked to.
const HASHED_HERE: usize = 256 << 10;

/// The chunks that were compared with their digest a short while ago. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Checked(Arc<Mutex<HashMap<Digest, Instant>>>);

impl Checked {
    fn is_sound(&self, chunk: Digest) -> bool {
        let when = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&chunk).copied();
        when.is_some_and(|when| when.elapsed() < SOUND_FOR)
    }

    fn note(&self, chunk: Digest) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SOUND_MOST {
            all.retain(|_, when| when.elapsed() < SOUND_FOR);
        }
        if all.len() < SOUND_MOST {
            all.insert(chunk, Instant::now());
        }
    }

    fn forget(&self, chunk: Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&chunk);
    }
}

/// What is wanted of one chunk.
#[derive(Debug, Clone)]
struct Part {
    chunk: Digest,
    range: Range<u64>,
    size: u64,
}

impl Blobs {
    /// Reads a range of a blob as a stream of pieces. A chunk that is read whole is compared with
    /// its digest; one in a folder that passed within the last ten minutes is sent on as it is read.
    pub fn read(&self, blob: &BlobRef, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let range = range.start.min(blob.size)..range.end.min(blob.size);
        if range.is_empty() {
            return stream::empty().boxed();
        }
        if let Body::Inline(bytes) = &blob.body {
            let piece = slice_of(&Bytes::copy_from_slice(bytes), range);
            return stream::once(async { piece }).boxed();
        }
        let blobs = self.clone();
        let parts = parts_of(blob, &range);
        stream::iter(parts).map(move |part| blobs.read_part(part)).flatten().boxed()
    }

    /// Reads a range of a blob into memory.
    pub async fn read_to_bytes(&self, blob: &BlobRef, range: Range<u64>) -> Result<Bytes> {
        let mut pieces: Vec<Bytes> = self.read(blob, range).try_collect().await?;
        if pieces.len() == 1 {
            return Ok(pieces.swap_remove(0));
        }
        Ok(pieces.concat().into())
    }

    fn read_part(&self, part: Part) -> BoxStream<'static, Result<Bytes>> {
        let is_whole = part.range == (0..part.size);
        let is_sound = self.folder.is_some() && self.checked.is_sound(part.chunk);
        let blobs = self.clone();
        if is_whole && !is_sound {
            return stream::once(async move { blobs.read_checked(part).await }).boxed();
        }
        if self.folder.is_none() {
            // Where each call goes over a network, one call fetches all.
            return stream::once(async move { blobs.read_raw(part.chunk, part.range).await })
                .boxed();
        }
        stream::iter(pieces_of(part.range))
            .then(move |range| {
                let (blobs, chunk) = (blobs.clone(), part.chunk);
                async move { blobs.read_raw(chunk, range).await }
            })
            .boxed()
    }

    async fn read_raw(&self, chunk: Digest, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end - range.start;
        let bytes = self
            .store
            .get_range(&chunk_path(chunk), range)
            .await
            .map_err(|source| failed(&format!("read the chunk {chunk}"), source))?;
        // A chunk that was cut short is answered as what is left of it.
        if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(damaged(chunk)) }
    }

    async fn read_checked(&self, part: Part) -> Result<Bytes> {
        let Part { chunk, range, .. } = part;
        let bytes = self.read_raw(chunk, range).await?;
        let found = if bytes.len() <= HASHED_HERE {
            Digest::of(&bytes)
        } else {
            let hashed = bytes.clone();
            off_thread_or_here(move || Digest::of(&hashed)).await?
        };
        if found != chunk {
            return Err(damaged(chunk));
        }
        self.checked.note(chunk);
        Ok(bytes)
    }

    /// Reads every chunk of a blob and compares it, and the whole, with its digest.
    pub async fn verify(&self, blob: &BlobRef) -> Result<()> {
        for chunk in blob.chunks() {
            self.checked.forget(chunk);
        }
        let pieces = self.read(blob, 0..blob.size);
        let (found, ()) = self.hash_all(pieces, (), |(), _| {}).await?;
        if found == blob.digest { Ok(()) } else { Err(damaged(blob.digest)) }
    }

    /// The digest of what a stream brings, hashed while the next piece is read.
    pub(super) async fn hash_all<T: Send + 'static>(
        &self,
        mut pieces: BoxStream<'static, Result<Bytes>>,
        mut seen: T,
        see: fn(&mut T, &Bytes),
    ) -> Result<(Digest, T)> {
        let mut whole = Sha256::new();
        let mut next = pieces.try_next().await?;
        while let Some(piece) = next {
            let hashing = off_thread_or_here(move || {
                whole.update(&piece);
                see(&mut seen, &piece);
                (whole, seen)
            });
            let (hashed, read) = futures::future::join(hashing, pieces.try_next()).await;
            ((whole, seen), next) = (hashed?, read?);
        }
        Ok((Digest(whole.finalize().into()), seen))
    }

    /// The bytes of a blob as they lie there, without comparing chunks: for who hashes them anyway.
    pub(super) fn read_unchecked(&self, blob: &BlobRef) -> BoxStream<'static, Result<Bytes>> {
        let blobs = self.clone();
        let pieces: Vec<_> = blob.pieces().collect();
        stream::iter(pieces)
            .then(move |piece| {
                let blobs = blobs.clone();
                async move { blobs.read_raw(piece.chunk, 0..piece.size).await }
            })
            .boxed()
    }
}

/// What a range of a blob wants of each chunk.
fn parts_of(blob: &BlobRef, range: &Range<u64>) -> Vec<Part> {
    let mut start = 0;
    let mut parts = Vec::new();
    for piece in blob.pieces() {
        let end = start + piece.size;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let range = from - start..to - start;
            parts.push(Part { chunk: piece.chunk, range, size: piece.size });
        }
        start = end;
    }
    parts
}

/// A range in steps of [`PIECE_BYTES`].
fn pieces_of(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    let starts = (range.start..end).step_by(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX));
    starts.map(move |start| start..(start + PIECE_BYTES).min(end))
}

fn slice_of(bytes: &Bytes, range: Range<u64>) -> Result<Bytes> {
    let at = |end: u64| usize::try_from(end).unwrap_or(usize::MAX);
    bytes
        .get(at(range.start)..at(range.end))
        .map(|part| bytes.slice_ref(part))
        .ok_or_else(|| Error::internal("a blob is shorter than its record says"))
}
