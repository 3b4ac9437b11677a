//! The sweeper: takes what nothing names, and never what someone is about to.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::{Blobs, REMOVING, chunk_digest, failed};
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Result};
use crate::kernel::name::Digest;

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
            if self.remove(digest, &meta.location, &named, (now, grace)).await? {
                swept.removed += 1;
                swept.bytes += meta.size;
            } else if self.marks.is_some() {
                swept.waiting += 1;
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
        (now, grace): (Time, Duration),
    ) -> Result<bool> {
        if let Some(marks) = &self.marks
            && !marks.doom(digest, now, grace)?
        {
            return Ok(false);
        }
        {
            let mut held = self.lock();
            // Whoever holds it by now waits for the mark to go.
            if held.contains_key(&digest) {
                drop(held);
                return self.settle(digest).map(|()| false);
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
        self.settle(digest)?;
        outcome
    }

    fn settle(&self, chunk: Digest) -> Result<()> {
        self.marks.as_ref().map_or(Ok(()), |marks| marks.settle(chunk))
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
}
