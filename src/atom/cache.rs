//! Datasets that are open for reading: the footer of a Parquet file is read once, and the bytes that
//! a reader still needs are kept from the sweeper.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::kernel::blobs::{BlobRef, Blobs};
use crate::kernel::table::{ByteSource, ParquetTable};
use crate::kernel::{Digest, Error, Result, wait_for};

type Held = Arc<Mutex<HashMap<Digest, usize>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a blob, for a reader that wants parts of them.
struct BlobSource {
    blobs: Blobs,
    blob: BlobRef,
    held: Held,
}

impl BlobSource {
    fn new(blobs: Blobs, blob: BlobRef, held: Held) -> Self {
        {
            let mut held = lock(&held);
            for chunk in blob.chunks() {
                *held.entry(chunk).or_insert(0) += 1;
            }
        }
        Self { blobs, blob, held }
    }
}

impl Drop for BlobSource {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        for chunk in self.blob.chunks() {
            if let Some(count) = held.get_mut(&chunk) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&chunk);
                }
            }
        }
    }
}

impl ByteSource for BlobSource {
    fn len(&self) -> u64 {
        self.blob.size
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let end = offset.saturating_add(len as u64);
        let bytes = wait_for(self.blobs.read_to_bytes(&self.blob, offset..end))?;
        if bytes.len() == len {
            return Ok(bytes);
        }
        Err(Error::internal(format!(
            "the dataset {} has {} bytes where {len} at {offset} were asked for",
            self.blob.digest, self.blob.size
        )))
    }
}

/// The tables that were read last.
pub(super) struct OpenTables {
    blobs: Blobs,
    held: Held,
    most: usize,
    open: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    tables: HashMap<Digest, (Arc<ParquetTable>, u64)>,
    turn: u64,
}

impl OpenTables {
    pub(super) fn new(blobs: Blobs, most: usize) -> Self {
        Self { blobs, held: Held::default(), most: most.max(1), open: Mutex::default() }
    }

    /// Whether a reader still needs a chunk.
    pub(super) fn holds(&self, chunk: Digest) -> bool {
        lock(&self.held).contains_key(&chunk)
    }

    /// The table in a blob, opened now or before.
    pub(super) fn get(&self, blob: &BlobRef) -> Result<Arc<ParquetTable>> {
        {
            let mut shelf = lock(&self.open);
            shelf.turn += 1;
            let turn = shelf.turn;
            if let Some((table, used)) = shelf.tables.get_mut(&blob.digest) {
                *used = turn;
                return Ok(table.clone());
            }
        }
        let source = BlobSource::new(self.blobs.clone(), blob.clone(), self.held.clone());
        let table = Arc::new(ParquetTable::open(Arc::new(source))?);
        let mut shelf = lock(&self.open);
        let turn = shelf.turn;
        shelf.tables.insert(blob.digest, (table.clone(), turn));
        while shelf.tables.len() > self.most {
            let oldest = shelf.tables.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else {
                break;
            };
            shelf.tables.remove(&oldest);
        }
        Ok(table)
    }

    /// Closes what nobody should read any more; who reads it already goes on.
    pub(super) fn forget(&self, digest: Digest) {
        lock(&self.open).tables.remove(&digest);
    }
}
