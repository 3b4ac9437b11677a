//! Writing: hashed as it streams, at most one chunk in memory, durable before it is named.

use bytes::{Bytes, BytesMut};
use futures::future::join;
use object_store::path::Path as StorePath;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions};
use sha2::{Digest as _, Sha256};

use super::{BlobRef, Blobs, Body, CHUNK_BYTES, Hold, INLINE_BYTES, Piece, chunk_path, failed};
use crate::kernel::disk;
use crate::kernel::error::{Error, Result};
use crate::kernel::name::Digest;
use crate::kernel::off_thread_or_here;

/// What is hashed faster than another thread can be asked to.
const HASHED_HERE: usize = 256 << 10;

impl Blobs {
    /// Starts a blob. Its chunks are safe from the sweeper until the [`Written`] is dropped.
    pub fn writer(&self) -> BlobWriter {
        BlobWriter {
            blobs: self.clone(),
            whole: Sha256::new(),
            size: 0,
            pending: BytesMut::new(),
            chunks: Vec::new(),
            holds: Vec::new(),
            inline: INLINE_BYTES,
        }
    }

    /// Starts a blob that goes into chunks even when it is small: one that will be joined to others.
    pub fn part_writer(&self) -> BlobWriter {
        BlobWriter { inline: 0, ..self.writer() }
    }

    /// Keeps bytes that are in memory already.
    pub async fn put(&self, bytes: Bytes) -> Result<Written> {
        let mut writer = self.writer();
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Puts blobs one behind the other. Nothing is written again; all is read once, for the digest of
    /// the whole; `see` shows every piece to `seen` in order.
    pub async fn join<T: Send + 'static>(
        &self,
        parts: &[BlobRef],
        seen: T,
        see: fn(&mut T, &Bytes),
    ) -> Result<(Written, T)> {
        let mut holds = Vec::new();
        let mut pieces = Vec::new();
        for part in parts {
            for piece in part.pieces() {
                holds.push(self.hold(piece.chunk).await);
                pieces.push(piece);
            }
            if let Body::Inline(bytes) = &part.body
                && !bytes.is_empty()
            {
                let (chunk, bytes) = (part.digest, Bytes::copy_from_slice(bytes));
                holds.push(self.hold(chunk).await);
                self.keep_chunk(chunk, bytes).await?;
                pieces.push(Piece { chunk, size: part.size });
            }
        }
        let size = pieces.iter().map(|piece| piece.size).sum();
        let blob = BlobRef { digest: Digest([0; 32]), size, body: Body::Joined(pieces) };
        let (digest, seen) = self.hash_all(self.read_unchecked(&blob), seen, see).await?;
        Ok((Written { blob: BlobRef { digest, ..blob }, _holds: holds }, seen))
    }

    /// Keeps one chunk: present and durable when this answers.
    async fn keep_chunk(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        let path = chunk_path(digest);
        if self.is_remote {
            return self.keep_remotely(&path, bytes).await;
        }
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, bytes.into(), create).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => self.sync_found(digest).await,
            Err(source) => Err(failed("keep a chunk", source)),
        }
    }

    /// A chunk that is there is not sent again. One that two writers send at once is the same twice.
    async fn keep_remotely(&self, path: &StorePath, bytes: Bytes) -> Result<()> {
        match self.store.head(path).await {
            Ok(found) if found.size == bytes.len() as u64 => return Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed("look for a chunk", source)),
        }
        let put = self.store.put_opts(path, bytes.into(), PutOptions::default()).await;
        put.map(drop).map_err(|source| failed("keep a chunk", source))
    }

    /// A chunk that was there already may be one whose writer died, or still waits, between the
    /// rename and the sync of the folder. It is relied on only after a sync of our own.
    async fn sync_found(&self, digest: Digest) -> Result<()> {
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let sync = move || {
            let path = folder.join(chunk_path(digest).as_ref());
            std::fs::File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|source| Error::io("sync a chunk", source))?;
            disk::sync_parent(&path)?;
            disk::sync_folder(&folder)
        };
        off_thread_or_here(sync).await?
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

/// A blob being written.
pub struct BlobWriter {
    blobs: Blobs,
    /// The hash of the chunks that were kept.
    whole: Sha256,
    size: u64,
    pending: BytesMut,
    chunks: Vec<Digest>,
    holds: Vec<Hold>,
    /// Up to this size it goes into the record.
    inline: usize,
}

impl BlobWriter {
    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
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
        if !rest.is_empty() && self.pending.is_empty() && !self.chunks.is_empty() {
            self.pending = BytesMut::with_capacity(CHUNK_BYTES);
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
        if self.chunks.is_empty() && (last.is_empty() || last.len() <= self.inline) {
            let blob = BlobRef {
                digest: Digest::of(&last),
                size: self.size,
                body: Body::Inline(last.to_vec()),
            };
            return Ok(Written { blob, _holds: self.holds });
        }
        if !last.is_empty() {
            self.keep(last).await?;
        }
        let digest = Digest(self.whole.finalize().into());
        let blob = BlobRef { digest, size: self.size, body: Body::Chunks(self.chunks) };
        Ok(Written { blob, _holds: self.holds })
    }

    async fn keep(&mut self, chunk: Bytes) -> Result<()> {
        let digest = self.hash(&chunk).await?;
        // Held before it is looked for: between the look and the record no sweep may take it.
        let hold = self.blobs.hold(digest).await;
        self.blobs.rely_on(&hold).await?;
        self.holds.push(hold);
        self.blobs.keep_chunk(digest, chunk).await?;
        self.chunks.push(digest);
        Ok(())
    }

    /// Hashes a chunk for itself and for the whole. The first chunk is the whole so far, so it is
    /// hashed once; the others are hashed for both at the same time.
    async fn hash(&mut self, chunk: &Bytes) -> Result<Digest> {
        if chunk.len() <= HASHED_HERE {
            self.whole.update(chunk);
            let is_first = self.chunks.is_empty();
            let so_far = || Digest(self.whole.clone().finalize().into());
            return Ok(if is_first { so_far() } else { Digest::of(chunk) });
        }
        let (mut whole, bytes) = (std::mem::take(&mut self.whole), chunk.clone());
        let whole = off_thread_or_here(move || {
            whole.update(&bytes);
            whole
        });
        if self.chunks.is_empty() {
            self.whole = whole.await?;
            return Ok(Digest(self.whole.clone().finalize().into()));
        }
        let bytes = chunk.clone();
        let (whole, own) = join(whole, off_thread_or_here(move || Digest::of(&bytes))).await;
        self.whole = whole?;
        own
    }
}
