//! Uploads under way: listed, and given up.

use std::time::Duration;

use super::Upload;
use crate::cask::format::{Checksum, PartRow, STEP, UploadRow};
use crate::cask::store::{Books, Change, TRIES, parts_of, raced, upload_key};
use crate::cask::{Cask, Inner, error};
use crate::kernel::format::decode;
use crate::kernel::name::hex;
use crate::kernel::records::{ChangeSet, Expect, Row, Scan};
use crate::kernel::{Digest, Result, Time};

/// A part that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number.
    pub number: u16,
    /// How many bytes it has.
    pub size: u64,
    /// Their MD5 in hexadecimal digits: what S3 clients are shown as its tag.
    pub etag: String,
    /// Their SHA-256.
    pub sha256: Digest,
    /// When it came.
    pub written_at: Time,
    pub(in crate::cask) checksum: Option<Checksum>,
}

/// An upload that was begun and is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// The key.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun_at: Time,
    /// By whom.
    pub begun_by: String,
}

impl PartInfo {
    pub(super) fn of(number: u16, row: &PartRow) -> Self {
        Self {
            number,
            size: row.blob.size,
            etag: hex(&row.md5),
            sha256: row.blob.digest,
            written_at: row.written_at,
            checksum: row.checksum.clone(),
        }
    }
}

/// A part as it is kept.
pub(super) struct Part {
    pub number: u16,
    pub owner: String,
    pub revision: u64,
    pub row: PartRow,
}

impl Part {
    fn read(row: Row) -> Result<Self> {
        let number = row.key.rsplit('/').next().and_then(|digits| digits.parse().ok());
        Ok(Self {
            number: number.unwrap_or(0),
            row: decode(&row.value)?,
            owner: row.key,
            revision: row.revision,
        })
    }
}

impl Cask {
    /// The parts of an upload in order of their numbers, after one, at most so many.
    pub fn parts(&self, upload: &Upload, after: u16, limit: usize) -> Result<Vec<PartInfo>> {
        self.inner.upload(upload)?;
        let start = parts_of(&upload.bucket, &upload.id);
        let scan = Scan::prefix(&start).after(format!("{start}{after:05}")).limit(limit);
        let rows = self.inner.records.scan(&scan)?;
        rows.into_iter()
            .map(|row| Part::read(row).map(|part| PartInfo::of(part.number, &part.row)))
            .collect()
    }

    /// The uploads to a bucket that are under way, in order of their keys and then of their
    /// beginning, after one, at most so many.
    pub fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<UploadInfo>> {
        self.inner.bucket_row(bucket)?;
        let start = format!("upload/{bucket}/");
        let mut scan = Scan::prefix(format!("{start}{prefix}")).limit(limit);
        scan.after = after.map(|(key, id)| match id {
            "" => format!("{start}{key}{STEP}{}", char::MAX),
            id => upload_key(bucket, key, id),
        });
        let rows = self.inner.records.scan(&scan)?;
        rows.iter().map(|row| upload_of(row, &start)).collect()
    }

    /// Gives an upload up, with all its parts.
    pub fn abort(&self, upload: &Upload) -> Result<()> {
        let owner = upload_key(&upload.bucket, &upload.key, &upload.id);
        for _ in 0..TRIES {
            let begun = self.inner.upload(upload)?;
            let books = self.inner.books(&owner);
            let books = self.inner.end_upload(books, upload, begun.revision)?;
            match self.inner.records.apply(books.close()?) {
                Err(error) if raced(&error) => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(error::busy(&owner))
    }

    /// Gives up all uploads to a bucket.
    pub(in crate::cask) fn abort_uploads(&self, bucket: &str) -> Result<()> {
        for upload in self.uploads(bucket, "", None, 0)? {
            self.abort_if_there(bucket, upload)?;
        }
        Ok(())
    }

    /// Gives up the uploads whose newest part, or whose beginning, is older than that.
    pub(in crate::cask) fn abort_abandoned(&self, age: Duration) -> Result<u64> {
        let now = self.inner.now();
        let mut count = 0;
        let mut old = Vec::new();
        self.each("upload/", |row| {
            let rest = row.key.get("upload/".len()..).unwrap_or_default();
            let bucket = rest.split('/').next().unwrap_or_default().to_owned();
            let upload = upload_of(row, &format!("upload/{bucket}/"))?;
            if now.since(self.last_sign(&bucket, &upload)?) >= age {
                old.push((bucket, upload));
            }
            Ok(())
        })?;
        for (bucket, upload) in old {
            self.abort_if_there(&bucket, upload)?;
            count += 1;
        }
        Ok(count)
    }

    fn last_sign(&self, bucket: &str, upload: &UploadInfo) -> Result<Time> {
        let parts = self.inner.records.scan(&Scan::prefix(parts_of(bucket, &upload.id)))?;
        let mut newest = upload.begun_at;
        for row in parts {
            newest = newest.max(Part::read(row)?.row.written_at);
        }
        Ok(newest)
    }

    fn abort_if_there(&self, bucket: &str, upload: UploadInfo) -> Result<()> {
        let upload = Upload { bucket: bucket.to_owned(), key: upload.key, id: upload.id };
        match self.abort(&upload) {
            Err(error) if error.code() == "upload_not_found" => Ok(()),
            outcome => outcome,
        }
    }
}

fn upload_of(row: &Row, start: &str) -> Result<UploadInfo> {
    let kept: UploadRow = decode(&row.value)?;
    let rest = row.key.get(start.len()..).unwrap_or_default();
    let (key, id) = rest.rsplit_once(STEP).unwrap_or((rest, ""));
    Ok(UploadInfo {
        key: key.to_owned(),
        id: id.to_owned(),
        begun_at: kept.begun_at,
        begun_by: kept.begun_by,
    })
}

impl Inner {
    pub(super) fn all_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        let scan = Scan::prefix(parts_of(&upload.bucket, &upload.id));
        self.records.scan(&scan)?.into_iter().map(Part::read).collect()
    }

    /// Adds to a commit that an upload is over and its parts go.
    pub(super) fn end_upload<'a>(
        &self,
        mut books: Books<'a>,
        upload: &Upload,
        revision: u64,
    ) -> Result<Books<'a>> {
        for part in self.all_parts(upload)? {
            books = books.change(Change {
                bucket: &upload.bucket,
                owner: &part.owner,
                old: Some((part.revision, &part.row.blob)),
                new: None,
                is_object: false,
            });
        }
        let owner = upload_key(&upload.bucket, &upload.key, &upload.id);
        Ok(books.and(ChangeSet::new().delete(owner, Expect::Revision(revision))))
    }
}
