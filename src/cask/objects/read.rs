//! Objects, found to be read.

use super::{expired, info};
use crate::cask::format::{BucketRow, ObjectRow};
use crate::cask::model::ObjectInfo;
use crate::cask::reading::Opened;
use crate::cask::store::{Found, object_key, version_key};
use crate::cask::{Cask, Inner, error};
use crate::kernel::Result;

impl Cask {
    /// Finds an object to read it.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Opened<ObjectInfo>> {
        self.get_version(bucket, key, None)
    }

    /// Finds an object, or a version of it, to read it.
    pub fn get_version(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Opened<ObjectInfo>> {
        self.open_row(bucket, key, version).map(|(opened, _, _)| opened)
    }

    /// Finds an object to read it, all that is known of it, and whether its bucket keeps versions.
    pub(in crate::cask) fn open_row(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<(Opened<ObjectInfo>, ObjectRow, bool)> {
        let inner = &self.inner;
        loop {
            let (row, settings) = inner.look(bucket, key, version)?;
            let hold = inner.reading.hold(&row.blob);
            // Looked at again now that its chunks are held: see `Readers::hold`.
            let is_inline = row.blob.chunks().next().is_none();
            if is_inline || inner.object(bucket, key, version)?.blob == row.blob {
                inner.recency.note(bucket, key, inner.now());
                let (info, blob) = (info(bucket, key, &row), row.blob.clone());
                let opened = Opened { info, blob, blobs: inner.blobs.clone(), hold };
                return Ok((opened, row, settings.versions > 0));
            }
        }
    }
}

impl Inner {
    /// The object under a key, or a version of it, if it is there and not too old.
    pub(in crate::cask) fn object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<ObjectRow> {
        self.look(bucket, key, version).map(|(row, _)| row)
    }

    fn look(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<(ObjectRow, BucketRow)> {
        let settings = self.bucket_row(bucket)?;
        let now = self.now();
        let fresh =
            |found: Found<ObjectRow>| Some(found.row).filter(|row| !expired(&settings, row, now));
        let newest = self.find(&object_key(bucket, key))?.and_then(fresh);
        let Some(version) = version else {
            let row = newest.ok_or_else(|| error::object_not_found(bucket, key))?;
            return Ok((row, settings));
        };
        if let Some(newest) = newest.filter(|row| row.version == version) {
            return Ok((newest, settings));
        }
        let before = self.find(&version_key(bucket, key, version))?.and_then(fresh);
        let row = before.ok_or_else(|| error::version_not_found(bucket, key, version))?;
        Ok((row, settings))
    }
}
