//! Reading: whoever reads an object finishes, even when it is deleted meanwhile.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::lock;
use crate::kernel::blobs::{BlobRef, Blobs};
use crate::kernel::{Digest, Result, wait_for};

/// The chunks that are being read; the sweeper leaves them.
#[derive(Clone, Default)]
pub(super) struct Readers {
    chunks: Arc<Mutex<HashMap<Digest, usize>>>,
}

impl Readers {
    pub(super) fn reads(&self, chunk: Digest) -> bool {
        lock(&self.chunks).contains_key(&chunk)
    }

    /// All of them.
    pub(super) fn chunks(&self) -> Vec<Digest> {
        lock(&self.chunks).keys().copied().collect()
    }

    /// Holds the chunks of a blob. Whoever holds must look afterwards whether the blob is still
    /// named: the sweeper may have been quicker.
    pub(super) fn hold(&self, blob: &BlobRef) -> Hold {
        let chunks: Vec<Digest> = blob.chunks().collect();
        let mut all = lock(&self.chunks);
        for chunk in &chunks {
            *all.entry(*chunk).or_default() += 1;
        }
        Hold { readers: self.clone(), chunks }
    }
}

/// Keeps the sweeper from chunks that are being read.
pub(super) struct Hold {
    readers: Readers,
    chunks: Vec<Digest>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = lock(&self.readers.chunks);
        for chunk in &self.chunks {
            if let Some(count) = all.get_mut(chunk) {
                *count -= 1;
                if *count == 0 {
                    all.remove(chunk);
                }
            }
        }
    }
}

/// Something that was found and whose bytes can be read.
pub struct Opened<T> {
    /// What it is.
    pub info: T,
    pub(super) blob: BlobRef,
    pub(super) blobs: Blobs,
    pub(super) hold: Hold,
}

impl<T> Opened<T> {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.blob.size
    }

    /// What the bytes are.
    pub fn sha256(&self) -> Digest {
        self.blob.digest
    }

    /// A range of the bytes, piece by piece. A whole read checks every chunk's digest.
    pub fn stream(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let hold = self.hold;
        self.blobs
            .read(&self.blob, range)
            .map(move |piece| {
                let _until_the_end = &hold;
                piece
            })
            .boxed()
    }

    /// All bytes in memory.
    pub async fn bytes(self) -> Result<Bytes> {
        self.blobs.read_to_bytes(&self.blob, 0..self.blob.size).await
    }
}

/// Reads a blob where a plain [`Read`] is asked for, on a thread that may block.
pub struct BlobReader {
    pieces: BoxStream<'static, Result<Bytes>>,
    current: Bytes,
}

impl BlobReader {
    /// Reads these pieces one after the other.
    pub fn new(pieces: BoxStream<'static, Result<Bytes>>) -> Self {
        Self { pieces, current: Bytes::new() }
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobReader")
    }
}

impl Read for BlobReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match wait_for(self.pieces.next()) {
                None => return Ok(0),
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let count = self.current.len().min(into.len());
        if let Some(place) = into.get_mut(..count) {
            self.current.copy_to_slice(place);
        }
        Ok(count)
    }
}
