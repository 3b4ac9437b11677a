//! Previous versions of objects, in buckets that keep them.

use super::{expired, info};
use crate::cask::format::{BucketRow, ObjectRow, STEP};
use crate::cask::model::{VersionInfo, VersionList};
use crate::cask::store::{
    Books, Change, Found, TRIES, object_key, raced, version_key, versions_of,
};
use crate::cask::{Cask, Inner, Listing, error};
use crate::kernel::access::Caller;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::Scan;
use crate::kernel::{Event, Result};

impl Inner {
    /// Adds to a commit that what a key held becomes a previous version, and that the oldest ones go,
    /// as far as the bucket says so.
    pub(super) fn archive<'a>(
        &self,
        books: Books<'a>,
        (bucket, key): (&str, &str),
        settings: &BucketRow,
        old: &ObjectRow,
    ) -> Result<Books<'a>> {
        if settings.versions == 0 {
            return Ok(books);
        }
        let mut books = books.change(Change {
            bucket,
            owner: &version_key(bucket, key, &old.version),
            old: None,
            new: Some((encode(old)?, &old.blob)),
            is_object: false,
        });
        let keep = usize::try_from(settings.versions).unwrap_or(usize::MAX) - 1;
        let kept = self.records.scan(&Scan::prefix(versions_of(bucket, key)).reverse())?;
        for row in kept.iter().skip(keep) {
            let version: ObjectRow = decode(&row.value)?;
            books = books.change(Change {
                bucket,
                owner: &row.key,
                old: Some((row.revision, &version.blob)),
                new: None,
                is_object: false,
            });
        }
        Ok(books)
    }

    /// Deletes the version that was found, if it is still there.
    pub(in crate::cask) fn remove_version(
        &self,
        caller: &Caller,
        (bucket, key): (&str, &str),
        old: &Found<ObjectRow>,
    ) -> Result<()> {
        let owner = version_key(bucket, key, &old.row.version);
        let books = self.books(&object_key(bucket, key)).change(Change {
            bucket,
            owner: &owner,
            old: Some((old.revision, &old.row.blob)),
            new: None,
            is_object: false,
        });
        let subject = format!("{bucket}/{key}");
        let set = self.audit(books.close()?, caller, "artifact.version.delete", &subject)?;
        let payload = serde_json::json!({
            "bucket": bucket, "key": key, "version": old.row.version, "by": caller.name,
        });
        let event = Event::new("artifact.version.deleted", subject, self.now(), payload);
        self.commit(set, event).map(drop)
    }
}

impl Cask {
    /// Deletes one version of an object for good; the newest one too, and then the key holds nothing.
    pub fn delete_version(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<()> {
        let inner = &self.inner;
        let owner = object_key(bucket, key);
        let _turn = inner.turn(&owner);
        for _ in 0..TRIES {
            let settings = inner.bucket_row(bucket)?;
            let newest: Option<Found<ObjectRow>> = inner.find(&owner)?;
            let outcome = if let Some(newest) = newest.filter(|at| at.row.version == version) {
                let for_good = BucketRow { versions: 0, ..settings };
                inner.remove(caller, (bucket, key), &for_good, &newest)
            } else {
                let found: Option<Found<ObjectRow>> =
                    inner.find(&version_key(bucket, key, version))?;
                let old = found.ok_or_else(|| error::version_not_found(bucket, key, version))?;
                inner.remove_version(caller, (bucket, key), &old)
            };
            match outcome {
                Err(error) if raced(&error) => {}
                outcome => return outcome,
            }
        }
        Err(error::busy(&owner))
    }

    /// A page of what the keys of a bucket hold and held: in order of the keys, the newest first.
    /// `after` is a cursor that the page before gave; of `listing` the prefix and the limit count.
    pub fn versions(
        &self,
        bucket: &str,
        listing: &Listing,
    ) -> Result<(VersionList, Option<String>)> {
        let settings = self.inner.bucket_row(bucket)?;
        let limit = listing.limit.max(1);
        let mut items: Vec<VersionInfo> = Vec::new();
        let mut after = listing.after.clone().map(Cursor::read);
        while let Some(key) = self.next_key(bucket, &listing.prefix, after.as_ref())? {
            let at = after.take().filter(|at| at.key == key).and_then(|at| at.version);
            for (row, is_latest) in self.of_key(bucket, &key)? {
                let is_seen = at.as_ref().is_some_and(|seen| row.version >= *seen);
                if is_seen || expired(&settings, &row, self.inner.now()) {
                    continue;
                }
                if items.len() >= limit {
                    let end = items.last().map(|item| Cursor::of(item).write());
                    return Ok((VersionList { items, next_cursor: None }, end));
                }
                items.push(VersionInfo { object: info(bucket, &key, &row), is_latest });
            }
            after = Some(Cursor { key, version: None });
        }
        Ok((VersionList { items, next_cursor: None }, None))
    }

    /// All that a key holds and held, the newest first.
    fn of_key(&self, bucket: &str, key: &str) -> Result<Vec<(ObjectRow, bool)>> {
        let newest: Option<Found<ObjectRow>> = self.inner.find(&object_key(bucket, key))?;
        let mut all: Vec<_> = newest.into_iter().map(|found| (found.row, true)).collect();
        let before = Scan::prefix(versions_of(bucket, key)).reverse();
        for row in self.inner.records.scan(&before)? {
            all.push((decode(&row.value)?, false));
        }
        Ok(all)
    }

    /// The first key behind a cursor that holds or held something; the cursor's own while it has more.
    fn next_key(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&Cursor>,
    ) -> Result<Option<String>> {
        if let Some(at) = after.filter(|at| at.version.is_some()) {
            return Ok(Some(at.key.clone()));
        }
        let first = |kind: &str| -> Result<Option<String>> {
            let start = format!("{kind}/{bucket}/");
            let mut scan = Scan::prefix(format!("{start}{prefix}")).limit(1);
            scan.after = after.map(|at| format!("{start}{}{STEP}{}", at.key, char::MAX));
            let rows = self.inner.records.scan(&scan)?;
            Ok(rows.first().map(|row| {
                let rest = row.key.get(start.len()..).unwrap_or_default();
                rest.split(STEP).next().unwrap_or_default().to_owned()
            }))
        };
        let (object, version) = (first("object")?, first("version")?);
        Ok(object.into_iter().chain(version).min())
    }

    /// Deletes the previous versions that are older than their bucket allows.
    pub(in crate::cask) fn expire_versions(
        &self,
        bucket: &str,
        settings: &BucketRow,
    ) -> Result<u64> {
        let start = format!("version/{bucket}/");
        let mut count = 0;
        self.each(&start, |row| {
            let found = Found { revision: row.revision, row: decode::<ObjectRow>(&row.value)? };
            if !expired(settings, &found.row, self.inner.now()) {
                return Ok(());
            }
            let rest = row.key.get(start.len()..).unwrap_or_default();
            let key = rest.split(STEP).next().unwrap_or_default();
            let _turn = self.inner.turn(&object_key(bucket, key));
            match self.inner.remove_version(&Caller::system(), (bucket, key), &found) {
                Ok(()) => count += 1,
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(count)
    }
}

/// Where a page of versions ended.
struct Cursor {
    key: String,
    /// The last version that was shown of it; none when all were.
    version: Option<String>,
}

impl Cursor {
    fn read(text: String) -> Self {
        match text.split_once(STEP) {
            Some((key, version)) => Self { key: key.to_owned(), version: Some(version.to_owned()) },
            None => Self { key: text, version: None },
        }
    }

    fn of(item: &VersionInfo) -> Self {
        Self { key: item.object.key.clone(), version: Some(item.object.version.clone()) }
    }

    fn write(&self) -> String {
        match &self.version {
            Some(version) => format!("{}{STEP}{version}", self.key),
            None => self.key.clone(),
        }
    }
}
