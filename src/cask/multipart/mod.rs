//! Objects that come in parts: begun, their parts put in any order and again, then completed or given
//! up. A part counts for the bucket's bytes as soon as it is there; what nobody goes on with for a
//! week is given up.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

mod complete;
mod uploads;

#[cfg(feature = "s3")]
pub(super) use complete::Sums;
pub use uploads::{PartInfo, UploadInfo};

use super::format::{Checksum, PartRow, UploadRow};
use super::model::{Place, PutOptions};
use super::objects::{check_headers, face_of};
use super::seal::{self, Seal};
use super::store::{Change, Found, TRIES, part_key, raced, upload_key};
use super::{Cask, Inner, error};
use crate::kernel::access::Caller;
use crate::kernel::blobs::Written;
use crate::kernel::format::encode;
use crate::kernel::name::new_id;
use crate::kernel::records::{ChangeSet, Expect};
use crate::kernel::{ObjectKey, Result, off_thread_or_here};

/// The least bytes of every part but the last, as S3 has it.
pub const PART_MIN: u64 = 5 << 20;
/// The highest number of a part, as S3 has it.
pub const PART_NUMBER_MAX: u16 = 10_000;
/// How long an upload is kept that nobody goes on with.
pub(super) const UPLOADS_KEPT: Duration = Duration::from_hours(7 * 24);

/// Which upload: the bucket, the key, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// What [`Cask::begin_upload`] answered.
    pub id: String,
}

/// What is known of a part when its bytes have come.
pub(super) struct PartSeal {
    pub checksum: Option<Checksum>,
}

impl Cask {
    /// Begins an object that comes in parts. Of `options` all count that speak of the whole object
    /// and not of its bytes.
    pub fn begin_upload(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: &PutOptions,
    ) -> Result<Upload> {
        self.begin(caller, bucket, key, options, None, false)
    }

    /// [`Cask::begin_upload`] where every part brings a checksum.
    pub(super) fn begin(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        options: &PutOptions,
        algorithm: Option<String>,
        whole: bool,
    ) -> Result<Upload> {
        let key = ObjectKey::new(key)?;
        check_headers(options)?;
        let inner = &self.inner;
        inner.bucket_row(bucket)?;
        let id = new_id();
        let row = UploadRow {
            face: face_of(options, Seal::default()),
            algorithm,
            whole,
            begun_at: inner.now(),
            begun_by: caller.name.clone(),
        };
        let owner = upload_key(bucket, key.as_str(), &id);
        let set = ChangeSet::new().put(owner, Expect::Absent, encode(&row)?).put(
            super::store::live_key(bucket),
            Expect::Present,
            Vec::new(),
        );
        inner
            .records
            .apply(set)
            .map_err(|error| if raced(&error) { error::bucket_not_found(bucket) } else { error })?;
        Ok(Upload { bucket: bucket.to_owned(), key: key.as_str().to_owned(), id })
    }

    /// Puts a part from a stream of bytes, durably; one with the same number is replaced. Of
    /// `options` the length and the digests count.
    pub async fn put_part(
        &self,
        upload: &Upload,
        number: u16,
        options: PutOptions,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<PartInfo> {
        self.put_part_sealed(upload, number, options, bytes, || Ok(PartSeal { checksum: None }))
            .await
    }

    /// [`Cask::put_part`] with a last word: see [`Cask::put_sealed`].
    pub(super) async fn put_part_sealed(
        &self,
        upload: &Upload,
        number: u16,
        options: PutOptions,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
        seal: impl FnOnce() -> Result<PartSeal> + Send,
    ) -> Result<PartInfo> {
        check_number(number)?;
        let room = {
            let (inner, upload) = (self.inner.clone(), upload.clone());
            off_thread_or_here(move || {
                inner.upload(&upload)?;
                let settings = inner.bucket_row(&upload.bucket)?;
                inner.space(&upload.bucket, &settings, 0)
            })
            .await??
        };
        let (bytes, md5) = seal::md5_of(bytes);
        let writer = self.inner.blobs.part_writer();
        let written = self.receive(writer, &upload.bucket, &options, room, bytes).await?;
        let md5 = md5.end();
        if let Some(said) = options.md5 {
            seal::same_md5(said, md5)?;
        }
        let checksum = seal()?.checksum;
        let (cask, upload) = (self.clone(), upload.clone());
        off_thread_or_here(move || {
            let outcome = cask.inner.keep_part(&upload, number, &written, md5, checksum);
            cask.inner.park(written);
            outcome
        })
        .await?
    }

    /// Makes an object, or a range of its bytes, a part.
    pub async fn copy_part(
        &self,
        upload: &Upload,
        number: u16,
        from: &Place,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<PartInfo> {
        let (cask, from) = (self.clone(), from.clone());
        let open = move || cask.get_version(&from.bucket, &from.key, from.version.as_deref());
        let opened = off_thread_or_here(open).await??;
        let size = opened.size();
        let range = range.unwrap_or(0..size);
        if range.end > size || range.is_empty() && size > 0 {
            return Err(error::range_outside(size));
        }
        let options = PutOptions { length: Some(range.end - range.start), ..PutOptions::default() };
        self.put_part(upload, number, options, opened.stream(range)).await
    }
}

fn check_number(number: u16) -> Result<()> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    Err(error::bad_part(number, "is not between 1 and 10000"))
}

impl Inner {
    /// An upload that was begun and is not over.
    pub(super) fn upload(&self, upload: &Upload) -> Result<Found<UploadRow>> {
        self.find(&upload_key(&upload.bucket, &upload.key, &upload.id))?
            .ok_or_else(|| error::upload_not_found(&upload.id))
    }

    fn keep_part(
        &self,
        upload: &Upload,
        number: u16,
        written: &Written,
        md5: [u8; 16],
        checksum: Option<Checksum>,
    ) -> Result<PartInfo> {
        let Upload { bucket, key, id } = upload;
        let owner = part_key(bucket, id, number);
        let _turn = self.turn(&owner);
        for _ in 0..TRIES {
            let begun = self.upload(upload)?;
            let settings = self.bucket_row(bucket)?;
            let old: Option<Found<PartRow>> = self.find(&owner)?;
            let old_size = old.as_ref().map_or(0, |old| old.row.blob.size);
            let growth = written.blob.size.saturating_sub(old_size);
            let _room = self.make_room(bucket, &settings, growth)?;
            let row = PartRow {
                blob: written.blob.clone(),
                md5,
                checksum: checksum.clone(),
                written_at: self.now(),
            };
            // Written as it is: whoever completes or gives up the upload meanwhile is told.
            let upload_row = ChangeSet::new().put(
                upload_key(bucket, key, id),
                Expect::Present,
                encode(&begun.row)?,
            );
            let books = self.books(&owner).and(upload_row).change(Change {
                bucket,
                owner: &owner,
                old: old.as_ref().map(|old| (old.revision, &old.row.blob)),
                new: Some((encode(&row)?, &row.blob)),
                is_object: false,
            });
            match self.records.apply(books.close()?) {
                Ok(_) => return Ok(PartInfo::of(number, &row)),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }
}
