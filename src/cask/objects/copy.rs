//! Objects copied and moved: the copy names the same chunks, so no byte is written again.

use super::{Beside, Draft, Nothing, Placed, expired};
use crate::cask::format::{Face, ObjectRow};
use crate::cask::model::{Guard, Kept, ObjectInfo, Place};
use crate::cask::store::{Books, Found, object_key};
use crate::cask::{Cask, Inner, error};
use crate::kernel::access::Caller;
use crate::kernel::{ObjectKey, Result};

/// How an object is copied.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// What must be true of the object that is copied.
    pub source: Guard,
    /// What must be true of the one that is there.
    pub target: Guard,
}

impl Cask {
    /// Copies an object, with all that is said of it.
    pub fn copy(
        &self,
        caller: &Caller,
        from: &Place,
        to: &Place,
        how: &CopyOptions,
    ) -> Result<Kept<ObjectInfo>> {
        self.copy_as(caller, from, to, how, Ok).map(|placed| placed.kept)
    }

    /// [`Cask::copy`], where `face` says what shall be said of the copy.
    pub(in crate::cask) fn copy_as(
        &self,
        caller: &Caller,
        from: &Place,
        to: &Place,
        how: &CopyOptions,
        face: impl FnOnce(Face) -> Result<Face>,
    ) -> Result<Placed> {
        let key = ObjectKey::new(&to.key)?;
        // Held until the copy names the chunks too.
        let (_held, row, _) = self.open_row(&from.bucket, &from.key, from.version.as_deref())?;
        how.source.check(Some(&row))?;
        let draft = Draft { blob: row.blob, face: face(row.face)? };
        let place = (to.bucket.as_str(), key.as_str());
        self.inner.place(caller, place, &draft, &how.target, &Nothing)
    }

    /// Moves an object: it is under its new key and no more under its old one in the same moment.
    pub fn relocate(
        &self,
        caller: &Caller,
        from: &Place,
        to: &Place,
        how: &CopyOptions,
    ) -> Result<Kept<ObjectInfo>> {
        let key = ObjectKey::new(&to.key)?;
        if (&from.bucket, &from.key) == (&to.bucket, &to.key) {
            return Err(error::onto_itself());
        }
        let (_held, row, _) = self.open_row(&from.bucket, &from.key, None)?;
        how.source.check(Some(&row))?;
        let same_bucket = from.bucket == to.bucket;
        let gone = Gone { inner: &self.inner, from, row: &row, same_bucket };
        let draft = Draft { blob: row.blob.clone(), face: row.face.clone() };
        let place = (to.bucket.as_str(), key.as_str());
        self.inner.place(caller, place, &draft, &how.target, &gone).map(|placed| placed.kept)
    }
}

/// The old place of an object that is moved.
struct Gone<'a> {
    inner: &'a Inner,
    from: &'a Place,
    row: &'a ObjectRow,
    same_bucket: bool,
}

impl Beside for Gone<'_> {
    fn frees(&self) -> u64 {
        if self.same_bucket { self.row.blob.size } else { 0 }
    }

    fn add<'a>(&self, books: Books<'a>) -> Result<Books<'a>> {
        let (bucket, key) = (self.from.bucket.as_str(), self.from.key.as_str());
        let settings = self.inner.bucket_row(bucket)?;
        let found: Option<Found<ObjectRow>> = self.inner.find(&object_key(bucket, key))?;
        let same = found
            .filter(|old| old.row.version == self.row.version)
            .filter(|old| !expired(&settings, &old.row, self.inner.now()))
            .ok_or_else(|| error::object_not_found(bucket, key))?;
        self.inner.leave(books, (bucket, key), &settings, &same)
    }
}
