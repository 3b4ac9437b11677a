//! Completing: the parts become one object in one commit, without being written again.

use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::uploads::Part;
use super::{PART_MIN, Upload};
use crate::cask::format::{Checksum, UploadRow};
use crate::cask::model::{Guard, Kept, ObjectInfo};
use crate::cask::objects::{Beside, Draft, Placed, info};
use crate::cask::store::{Books, object_key};
use crate::cask::{Cask, Inner, error};
use crate::kernel::access::Caller;
use crate::kernel::blobs::BlobRef;
use crate::kernel::name::hex;
use crate::kernel::{Result, off_thread_or_here};

/// A part as whoever completes an upload names it: its number, and the tag it was answered with.
pub(in crate::cask) type Named = (u16, Option<String>);

/// What checksum the object shall have, of the parts' checksums and of all bytes.
pub(in crate::cask) trait Sums: Send + 'static {
    /// Takes the next bytes of the object, where one of all bytes is asked for.
    fn update(&mut self, bytes: &Bytes);
    /// The checksums to keep, or that what was said is not so.
    fn end(self, upload: &UploadRow, parts: &[Option<Checksum>]) -> Result<Vec<Checksum>>;
}

/// None.
pub(in crate::cask) struct NoSums;

impl Sums for NoSums {
    fn update(&mut self, _bytes: &Bytes) {}

    fn end(self, _upload: &UploadRow, _parts: &[Option<Checksum>]) -> Result<Vec<Checksum>> {
        Ok(Vec::new())
    }
}

impl Cask {
    /// Makes the parts of an upload one object, in order of their numbers. Parts that are not named
    /// go. Asked again after the answer was lost, it answers the same.
    pub async fn complete(
        &self,
        caller: &Caller,
        upload: &Upload,
        parts: &[(u16, Option<String>)],
        guard: Guard,
    ) -> Result<Kept<ObjectInfo>> {
        let named = parts.to_vec();
        let placed = self.complete_with(caller, upload, named, guard, |_| Ok(NoSums)).await;
        placed.map(|placed| placed.kept)
    }

    /// [`Cask::complete`], where `sums` makes what adds up the object's checksums.
    pub(in crate::cask) async fn complete_with<S: Sums>(
        &self,
        caller: &Caller,
        upload: &Upload,
        named: Vec<Named>,
        guard: Guard,
        sums: impl FnOnce(&UploadRow) -> Result<S>,
    ) -> Result<Placed> {
        let begun = {
            let (inner, upload, named) = (self.inner.clone(), upload.clone(), named.clone());
            off_thread_or_here(move || inner.begin_to_complete(&upload, &named)).await??
        };
        let (row, chosen) = match begun {
            Begun::Over(placed) => return Ok(*placed),
            Begun::Here(row, chosen) => (row, chosen),
        };
        let blobs: Vec<BlobRef> = chosen.iter().map(|part| part.row.blob.clone()).collect();
        let (written, sums) = self.inner.blobs.join(&blobs, sums(&row)?, S::update).await?;
        let checksums: Vec<_> = chosen.iter().map(|part| part.row.checksum.clone()).collect();
        let mut face = row.face.clone();
        face.checksums = sums.end(&row, &checksums)?;
        face.etag = Some(joined_etag(chosen.iter().map(|part| part.row.md5)));
        face.parts = blobs.iter().map(|blob| blob.size).collect();
        let draft = Draft { blob: written.blob.clone(), face };
        let (cask, caller, upload) = (self.clone(), caller.clone(), upload.clone());
        off_thread_or_here(move || {
            let ended = Ended { inner: &cask.inner, upload: &upload, chosen: &chosen };
            let place = (upload.bucket.as_str(), upload.key.as_str());
            let outcome = cask.inner.place(&caller, place, &draft, &guard, &ended);
            cask.inner.park(written);
            outcome
        })
        .await?
    }
}

/// The tag of an object that came in parts, as S3 has it.
fn joined_etag(parts: impl Iterator<Item = [u8; 16]>) -> String {
    let mut all = Md5::new();
    let mut count = 0;
    for md5 in parts {
        all.update(md5);
        count += 1;
    }
    format!("{}-{count}", hex(&all.finalize()))
}

enum Begun {
    /// It is under way, and these are the parts.
    Here(Box<UploadRow>, Vec<Part>),
    /// It was completed before, by the same words.
    Over(Box<Placed>),
}

impl Inner {
    fn begin_to_complete(&self, upload: &Upload, named: &[Named]) -> Result<Begun> {
        let row = match self.upload(upload) {
            Ok(found) => found.row,
            Err(gone) => {
                let before = self.completed_before(upload, named)?.ok_or(gone)?;
                return Ok(Begun::Over(Box::new(before)));
            }
        };
        Ok(Begun::Here(Box::new(row), self.choose(upload, named)?))
    }

    /// The parts that are named, in their order.
    fn choose(&self, upload: &Upload, named: &[Named]) -> Result<Vec<Part>> {
        if !named.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(error::parts_out_of_order());
        }
        let mut kept = self.all_parts(upload)?.into_iter().peekable();
        let mut chosen = Vec::with_capacity(named.len());
        for (number, etag) in named {
            while kept.next_if(|part| part.number < *number).is_some() {}
            let part = kept
                .next_if(|part| part.number == *number)
                .ok_or_else(|| error::bad_part(*number, "was not put"))?;
            if etag.as_ref().is_some_and(|etag| *etag != hex(&part.row.md5)) {
                return Err(error::bad_part(*number, "has another tag than was said"));
            }
            chosen.push(part);
        }
        let but_last = chosen.split_last().map_or(&[][..], |(_, before)| before);
        for part in but_last {
            if part.row.blob.size < PART_MIN {
                return Err(error::part_too_small(part.number, part.row.blob.size, PART_MIN));
            }
        }
        if chosen.is_empty() {
            return Err(error::bad_part(1, "is missing: an object needs at least one"));
        }
        Ok(chosen)
    }

    /// The object, where it is the one that these parts made.
    fn completed_before(&self, upload: &Upload, named: &[Named]) -> Result<Option<Placed>> {
        let mut md5s = Vec::with_capacity(named.len());
        for (_, etag) in named {
            let Some(md5) = etag.as_deref().and_then(from_hex) else {
                return Ok(None);
            };
            md5s.push(md5);
        }
        let Some(found) = self.find(&object_key(&upload.bucket, &upload.key))? else {
            return Ok(None);
        };
        let row: crate::cask::format::ObjectRow = found.row;
        let is_same = row.etag() == joined_etag(md5s.into_iter());
        if !is_same {
            return Ok(None);
        }
        let settings = self.bucket_row(&upload.bucket)?;
        let item = info(&upload.bucket, &upload.key, &row);
        Ok(Some(Placed::of(Kept { item, created: false }, &row, &settings)))
    }
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (at, byte) in md5.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(md5)
}

/// The end of an upload, in the commit that makes it an object.
struct Ended<'a> {
    inner: &'a Inner,
    upload: &'a Upload,
    chosen: &'a [Part],
}

impl Beside for Ended<'_> {
    fn frees(&self) -> u64 {
        self.chosen.iter().map(|part| part.row.blob.size).sum()
    }

    fn add<'a>(&self, books: Books<'a>) -> Result<Books<'a>> {
        let begun = self.inner.upload(self.upload)?;
        let now = self.inner.all_parts(self.upload)?;
        for part in self.chosen {
            // Put again since its bytes were read: then the tag that was named is not its any more.
            let still = now.iter().find(|at| at.number == part.number);
            if still.is_none_or(|at| at.row.blob != part.row.blob) {
                return Err(error::bad_part(part.number, "was put again meanwhile"));
            }
        }
        self.inner.end_upload(books, self.upload, begun.revision)
    }
}
