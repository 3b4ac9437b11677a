//! Bytes: content-addressed, immutable, durable before they are named.
//!
//! A blob is cut into chunks of 16 MiB, each kept under its SHA-256, so that memory stays flat and
//! equal chunks are kept once. Small blobs live inside the [`BlobRef`] itself, in the record that
//! names them. The order that must hold: chunk written and synced, *then* the record that names it,
//! *then* the answer. What a crash leaves between the first two is a chunk that nothing names; the
//! sweeper takes it after a grace period.
//!
//! User names never become file names here: a chunk lies under `ab/cdef…`.
//!
//! Writing stands in `write.rs`, reading in `read.rs`, the sweeper in `sweep.rs`; stores of somebody
//! else's in `remote.rs`, stores that several programs share in `shared.rs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bincode::{Decode, Encode};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;

mod read;
#[cfg(feature = "s3-store")]
mod remote;
mod shared;
mod sweep;
#[cfg(test)]
mod tests;
mod write;

#[cfg(feature = "s3-store")]
pub use remote::S3Place;
pub use shared::Marks;
pub use sweep::Swept;
pub use write::{BlobWriter, Written};

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
    /// In chunks of any length, in order: blobs that were joined without writing them again.
    Joined(Vec<Piece>),
}

/// A chunk, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Piece {
    /// The chunk.
    pub chunk: Digest,
    /// Its bytes.
    pub size: u64,
}

impl BlobRef {
    /// The chunks that this blob names, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Digest> + '_ {
        self.pieces().map(|piece| piece.chunk)
    }

    /// The chunks with their lengths, in order.
    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let (chunks, joined): (&[Digest], &[Piece]) = match &self.body {
            Body::Inline(_) => (&[], &[]),
            Body::Chunks(chunks) => (chunks, &[]),
            Body::Joined(pieces) => (&[], pieces),
        };
        let chunk_bytes = CHUNK_BYTES as u64;
        let equal = chunks.iter().enumerate().map(move |(at, chunk)| Piece {
            chunk: *chunk,
            size: chunk_bytes.min(self.size.saturating_sub(at as u64 * chunk_bytes)),
        });
        equal.chain(joined.iter().copied())
    }
}

/// A store of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder, where the store is one: a chunk found there is synced again before it is relied on.
    folder: Option<PathBuf>,
    held: Arc<Mutex<HashMap<Digest, usize>>>,
    /// The chunks that were compared with their digest a short while ago.
    checked: read::Checked,
    /// Whether each call goes over a network.
    is_remote: bool,
    /// What keeps other programs' sweepers from what is written here.
    marks: Option<Arc<dyn Marks>>,
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
        Self {
            store,
            folder: None,
            held: Arc::default(),
            checked: read::Checked::default(),
            is_remote: false,
            marks: None,
        }
    }

    /// A place for bytes that are received before anyone knows whether they are kept.
    pub fn spool(&self) -> Spool {
        Spool::new(self.folder.clone().unwrap_or_else(std::env::temp_dir))
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

/// When to ask again where the store is away.
const AWAY: std::time::Duration = std::time::Duration::from_secs(2);
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

fn chunk_path(digest: Digest) -> StorePath {
    let hex = digest.to_hex();
    let (shard, rest) = hex.split_at(2);
    StorePath::from_iter([shard, rest])
}

fn chunk_digest(path: &StorePath) -> Option<Digest> {
    Digest::parse(&path.as_ref().replace('/', "")).ok()
}

fn damaged(digest: Digest) -> Error {
    Error::new(
        Kind::Internal,
        "damaged_blob",
        format!("the bytes kept under {digest} are not those: the medium is damaged"),
    )
}

fn failed(what: &str, source: object_store::Error) -> Error {
    // A network that fails is no disk that does.
    let is_remote = matches!(&source, object_store::Error::Generic { store: "S3", .. });
    let mut cause: Option<&(dyn std::error::Error + 'static)> =
        if is_remote { None } else { Some(&source) };
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
    let error = Error::new(kind, "blob_store", format!("{what}: {source}")).caused_by(source);
    if kind == Kind::Unavailable { error.retry_after(AWAY) } else { error }
}
