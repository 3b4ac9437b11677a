//! Care: taking what nothing names, what is too old, and looking whether all bytes are still those
//! that were kept.

use std::time::Duration;

use serde::Serialize;

use super::format::{BucketRow, ObjectRow, PackageRow};
use super::multipart::UPLOADS_KEPT;
use super::store::{Found, object_key, raced};
use super::{Cask, lock, objects};
use crate::kernel::access::Caller;
use crate::kernel::blobs::{BlobRef, Swept};
use crate::kernel::format::decode;
use crate::kernel::records::{Row, Scan};
use crate::kernel::{Result, feed, wait_for};

/// So many rows are looked at in one go.
const BATCH: usize = 256;

/// What [`Cask::tidy`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tidied {
    /// Objects and previous versions that were older than their bucket allows.
    pub expired: u64,
    /// Uploads in parts that nobody has gone on with for a week.
    pub abandoned: u64,
    /// Chunks that nothing names.
    pub swept: Swept,
    /// Retry keys that are too old to matter.
    pub forgotten: usize,
}

/// One thing that [`Cask::verify`] has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<'a> {
    /// The row: `object/models/a.bin`, `package/wind-power/1.0.0`.
    pub owner: &'a str,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What [`Cask::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many objects and packages were looked at.
    pub count: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is not as it was kept.
    pub damaged: Vec<Damage>,
}

/// One thing that is not as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The row.
    pub owner: String,
    /// The code word of what is wrong.
    pub code: String,
    /// What is wrong.
    pub detail: String,
}

impl Cask {
    /// Removes chunks that nothing names and that are older than `grace`. It may run beside any
    /// number of writers and readers; `grace` must be longer than the write of one chunk takes. For
    /// a thread that may block.
    pub fn sweep(&self, grace: Duration) -> Result<Swept> {
        let inner = &self.inner;
        let _one = lock(&inner.sweeping);
        inner.blobs.spare(&inner.reading.chunks())?;
        *lock(&inner.parked) = Some(Vec::new());
        let named = |digest| inner.is_named(digest);
        let outcome = wait_for(inner.blobs.sweep(named, inner.now(), grace));
        *lock(&inner.parked) = None;
        outcome
    }

    /// Deletes the objects that are older than their bucket allows.
    pub fn expire(&self) -> Result<u64> {
        let mut count = 0;
        for row in self.inner.records.scan(&Scan::prefix("bucket/"))? {
            let settings: BucketRow = decode(&row.value)?;
            if settings.ttl_ms.is_some() {
                let bucket = row.key.trim_start_matches("bucket/");
                count += self.expire_bucket(bucket, &settings)?;
                count += self.expire_versions(bucket, &settings)?;
            }
        }
        Ok(count)
    }

    fn expire_bucket(&self, bucket: &str, settings: &BucketRow) -> Result<u64> {
        let inner = &self.inner;
        let start = object_key(bucket, "");
        let mut count = 0;
        self.each(&start, |row| {
            let found = Found { revision: row.revision, row: decode::<ObjectRow>(&row.value)? };
            let now = inner.now();
            if !objects::expired(settings, &found.row, now) {
                return Ok(());
            }
            let key = row.key.get(start.len()..).unwrap_or_default();
            let _turn = inner.turn(&row.key);
            match inner.remove(&Caller::system(), (bucket, key), settings, &found) {
                Ok(()) => count += 1,
                // It was put again meanwhile, or someone else was quicker.
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// All care that a store needs from time to time. For a thread that may block.
    pub fn tidy(&self, grace: Duration) -> Result<Tidied> {
        Ok(Tidied {
            expired: self.expire()?,
            abandoned: self.abort_abandoned(UPLOADS_KEPT)?,
            swept: self.sweep(grace)?,
            forgotten: feed::forget_old(self.inner.records.as_ref(), self.inner.now())?,
        })
    }

    /// Reads every object and package and compares it with its digest. `seen` hears of each. For a
    /// thread that may block.
    pub fn verify(&self, mut seen: impl FnMut(&Checked<'_>)) -> Result<Verified> {
        self.verify_telling(|checked| {
            seen(checked);
            Ok(())
        })
    }

    /// [`Cask::verify`], which an error of `seen` ends.
    pub fn verify_telling(
        &self,
        mut seen: impl FnMut(&Checked<'_>) -> Result<()>,
    ) -> Result<Verified> {
        let mut report = Verified::default();
        self.each("object/", |row| {
            let kept: ObjectRow = decode(&row.value)?;
            self.check(&mut report, &mut seen, row, &kept.blob)
        })?;
        self.each("version/", |row| {
            let kept: ObjectRow = decode(&row.value)?;
            self.check(&mut report, &mut seen, row, &kept.blob)
        })?;
        self.each("package/", |row| {
            let kept: PackageRow = decode(&row.value)?;
            self.check(&mut report, &mut seen, row, &kept.blob)
        })?;
        Ok(report)
    }

    fn check(
        &self,
        report: &mut Verified,
        seen: &mut impl FnMut(&Checked<'_>) -> Result<()>,
        row: &Row,
        blob: &BlobRef,
    ) -> Result<()> {
        let inner = &self.inner;
        let _hold = inner.reading.hold(blob);
        if let Err(error) = wait_for(inner.blobs.verify(blob)) {
            // Deleted or replaced while it was read: not damage.
            let still = inner.records.get(&row.key)?;
            if still.is_some_and(|now| now.revision == row.revision) {
                report.damaged.push(Damage {
                    owner: row.key.clone(),
                    code: error.code().to_owned(),
                    detail: error.detail().to_owned(),
                });
            }
        }
        report.count += 1;
        report.bytes += blob.size;
        seen(&Checked { owner: &row.key, bytes: blob.size })
    }

    /// Every row under a prefix, in pages.
    pub(super) fn each(
        &self,
        prefix: &str,
        mut visit: impl FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let mut scan = Scan::prefix(prefix).limit(BATCH);
            scan.after = after;
            let rows = self.inner.records.scan(&scan)?;
            for row in &rows {
                visit(row)?;
            }
            after = rows.last().map(|row| row.key.clone());
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }
}
