//! Packages: pushed once, verified before they are kept, never changed.

use bytes::Bytes;
use futures::Stream;
use semver::Version;
use serde_json::Value;

use super::format::{PackageRow, PushedRow};
use super::model::{Kept, PackageInfo, PackageItem, PutOptions};
use super::objects::Space;
use super::package::{self, Contents, Metadata};
use super::reading::{BlobReader, Opened};
use super::store::{Change, Found, TRIES, package_key, pushed_key, raced};
use super::{Cask, Inner, PACKAGE_PUSHED, error};
use crate::kernel::access::Caller;
use crate::kernel::blobs::{BlobRef, Written};
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Row, Scan};
use crate::kernel::{Error, Event, Fault, Name, Result, off_thread_or_here, wait_for};

/// The bucket whose quota packages count against.
const BUCKET: &str = "packages";
/// The version that stands for the highest.
const LATEST: &str = "latest";
/// So many rows are looked at in one go when a list is filtered.
const BATCH: usize = 200;

impl Cask {
    /// Keeps a package after its whole archive was read and found harmless, and tells the listener
    /// before this answers. The same bytes again are no change; other bytes are refused.
    ///
    /// Of `options` the digest and the length count.
    pub async fn push(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        options: PutOptions,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<Kept<PackageInfo>> {
        let (name, version) = checked(name, version)?;
        let inner = self.inner.clone();
        let room = off_thread_or_here(move || inner.packages_space()).await??;
        let writer = self.inner.blobs.writer();
        let written = self.receive(writer, BUCKET, &options, room, bytes).await?;
        let (cask, caller) = (self.clone(), caller.clone());
        off_thread_or_here(move || cask.keep_package(&caller, &name, &version, written)).await?
    }

    /// [`Cask::push`] of bytes in memory, from a thread that may block.
    pub fn push_now(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        bytes: Bytes,
    ) -> Result<Kept<PackageInfo>> {
        let (name, version) = checked(name, version)?;
        let options = PutOptions { length: Some(bytes.len() as u64), ..PutOptions::default() };
        let room = self.inner.packages_space()?;
        let once = futures::stream::iter([Ok(bytes)]);
        let writer = self.inner.blobs.writer();
        let written = wait_for(self.receive(writer, BUCKET, &options, room, once))?;
        self.keep_package(caller, &name, &version, written)
    }

    fn keep_package(
        &self,
        caller: &Caller,
        name: &Name,
        version: &Name,
        written: Written,
    ) -> Result<Kept<PackageInfo>> {
        let outcome = self.keep_blob(caller, name.as_str(), version.as_str(), &written.blob);
        self.inner.park(written);
        outcome
    }

    fn keep_blob(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        blob: &BlobRef,
    ) -> Result<Kept<PackageInfo>> {
        let inner = &self.inner;
        let owner = package_key(name, version);
        let _turn = inner.turn(&owner);
        // Before the archive is read: what was pushed before needs no second look.
        let mut kept = inner.pushed_before(name, version, blob)?;
        if kept.is_none() {
            let metadata = inner.look_into(name, version, blob)?;
            for _ in 0..TRIES {
                match inner.commit_package(caller, name, version, blob, &metadata) {
                    Ok(info) => {
                        self.tell_listener(caller, &info)?;
                        return Ok(Kept { item: info, created: true });
                    }
                    Err(error) if raced(&error) => {}
                    Err(error) => return Err(error),
                }
                kept = inner.pushed_before(name, version, blob)?;
                if kept.is_some() {
                    break;
                }
            }
        }
        let item = kept.ok_or_else(|| error::busy(&owner))?;
        self.tell_listener(caller, &item)?;
        Ok(Kept { item, created: false })
    }

    fn tell_listener(&self, caller: &Caller, info: &PackageInfo) -> Result<()> {
        match &self.inner.listener {
            Some(listener) => listener.pushed(caller, info),
            None => Ok(()),
        }
    }

    /// A package; `latest` is the highest version by semver, else the newest.
    pub fn package(&self, name: &str, version: &str) -> Result<PackageInfo> {
        let (info, _) = self.inner.package(name, version)?;
        Ok(info)
    }

    /// Finds a package to read its bytes.
    pub fn open_package(&self, name: &str, version: &str) -> Result<Opened<PackageInfo>> {
        let inner = &self.inner;
        loop {
            let (info, row) = inner.package(name, version)?;
            let hold = inner.reading.hold(&row.blob);
            // Looked at again now that its chunks are held: see `Readers::hold`.
            let again = inner.package(name, &info.item.version)?.1;
            if again.blob == row.blob {
                return Ok(Opened { info, blob: row.blob, blobs: inner.blobs.clone(), hold });
            }
        }
    }

    /// Packages in order of name and version whose name or summary contains `query`, after one, at
    /// most so many.
    pub fn packages(
        &self,
        query: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<PackageItem>> {
        let query = query.to_lowercase();
        let mut found = Vec::new();
        let mut after = after.map(|(name, version)| package_key(name, version));
        loop {
            let mut scan = Scan::prefix("package/").limit(BATCH);
            scan.after = after.take();
            let rows = self.inner.records.scan(&scan)?;
            let is_last = rows.len() < BATCH;
            after = rows.last().map(|row| row.key.clone());
            for row in &rows {
                let item = from_row(row)?.0.item;
                let text = format!("{}\n{}", item.name, item.summary).to_lowercase();
                if text.contains(&query) {
                    found.push(item);
                    if found.len() >= limit {
                        return Ok(found);
                    }
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Deletes a version of a package. It stays taken: only the same bytes may be pushed again.
    pub fn delete_package(&self, caller: &Caller, name: &str, version: &str) -> Result<()> {
        let inner = &self.inner;
        let owner = package_key(name, version);
        let _turn = inner.turn(&owner);
        for _ in 0..TRIES {
            let Some(old): Option<Found<PackageRow>> = inner.find(&owner)? else {
                return Err(error::package_not_found(name, version));
            };
            let books = inner.books(&owner).change(Change {
                bucket: BUCKET,
                owner: &owner,
                old: Some((old.revision, &old.row.blob)),
                new: None,
                is_object: true,
            });
            let subject = format!("{name}/{version}");
            let set = inner.audit(books.close()?, caller, "package.delete", &subject)?;
            let payload = serde_json::json!({
                "name": name, "version": version, "sha256": old.row.blob.digest, "by": caller.name,
            });
            let event = Event::new("package.deleted", subject, inner.now(), payload);
            match inner.commit(set, event) {
                Ok(_) => return Ok(()),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }
}

impl Inner {
    fn packages_space(&self) -> Result<Option<Space>> {
        let settings = self.bucket_row(BUCKET)?;
        self.space(BUCKET, &settings, 0)
    }

    /// The package as it is, if these bytes were pushed before and are still there. Other bytes
    /// than the first ones are refused for ever.
    fn pushed_before(
        &self,
        name: &str,
        version: &str,
        blob: &BlobRef,
    ) -> Result<Option<PackageInfo>> {
        let first: Option<Found<PushedRow>> = self.find(&pushed_key(name, version))?;
        if let Some(first) = first.filter(|first| first.row.digest != blob.digest) {
            return Err(error::package_exists(name, version, first.row.digest));
        }
        let there = self.records.get(&package_key(name, version))?;
        there.map(|row| Ok(from_row(&row)?.0)).transpose()
    }

    /// Reads the whole archive and answers what it says of itself.
    fn look_into(&self, name: &str, version: &str, blob: &BlobRef) -> Result<Metadata> {
        let reader = BlobReader::new(self.blobs.read(blob, 0..blob.size));
        let contents = package::inspect(reader)?;
        agree(name, version, contents)
    }

    fn commit_package(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        blob: &BlobRef,
        metadata: &Metadata,
    ) -> Result<PackageInfo> {
        let settings = self.bucket_row(BUCKET)?;
        let _room = self.reserve(BUCKET, settings.max_bytes, blob.size)?;
        let now = self.now();
        let row = PackageRow {
            blob: blob.clone(),
            metadata_json: to_json(metadata)?.to_string(),
            pushed_at: now,
            pushed_by: caller.name.clone(),
        };
        let owner = package_key(name, version);
        let pushed = encode(&PushedRow { digest: blob.digest })?;
        let books = self.books(&owner).change(Change {
            bucket: BUCKET,
            owner: &owner,
            old: None,
            new: Some((encode(&row)?, blob)),
            is_object: true,
        });
        let set = books
            .and(ChangeSet::new().put(pushed_key(name, version), Expect::Any, pushed))
            .close()?;
        let subject = format!("{name}/{version}");
        let set = self.audit(set, caller, "package.push", &subject)?;
        let info = info(name, version, &row)?;
        self.commit(set, Event::new(PACKAGE_PUSHED, subject, now, to_json(&info)?))?;
        Ok(info)
    }

    fn package(&self, name: &str, version: &str) -> Result<(PackageInfo, PackageRow)> {
        if version == LATEST {
            return self.latest(name);
        }
        let row = self.records.get(&package_key(name, version))?;
        let row = row.ok_or_else(|| error::package_not_found(name, version))?;
        from_row(&row)
    }

    fn latest(&self, name: &str) -> Result<(PackageInfo, PackageRow)> {
        let rows = self.records.scan(&Scan::prefix(package_key(name, "")))?;
        let all = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        let rank = |(info, _): &(PackageInfo, PackageRow)| {
            (Version::parse(&info.item.version).ok(), info.item.pushed_at)
        };
        all.into_iter()
            .max_by(|a, b| rank(a).cmp(&rank(b)))
            .ok_or_else(|| error::package_not_found(name, LATEST))
    }
}

fn checked(name: &str, version: &str) -> Result<(Name, Name)> {
    let (name, version) = (Name::new(name)?, Name::new(version)?);
    if version.as_str() == LATEST {
        return Err(error::latest_is_no_version());
    }
    Ok((name, version))
}

/// What the package says must be what the path says; one that says nothing takes the path's word.
fn agree(name: &str, version: &str, contents: Contents) -> Result<Metadata> {
    let Some(metadata) = contents.metadata else {
        return Ok(Metadata {
            name: name.to_owned(),
            version: version.to_owned(),
            ..Metadata::default()
        });
    };
    let faults: Vec<Fault> =
        [("/name", &metadata.name, name), ("/version", &metadata.version, version)]
            .into_iter()
            .filter(|(_, said, path)| Name::new(said).map_or(true, |said| said.as_str() != *path))
            .map(|(at, said, path)| {
                Fault::new(at, format!("the package says `{said}`, the path `{path}`"))
            })
            .collect();
    if faults.is_empty() { Ok(metadata) } else { Err(error::metadata_disagrees(faults)) }
}

fn from_row(row: &Row) -> Result<(PackageInfo, PackageRow)> {
    let kept: PackageRow = decode(&row.value)?;
    let mut parts = row.key.splitn(3, '/').skip(1);
    let (name, version) = (parts.next(), parts.next());
    let info = info(name.unwrap_or_default(), version.unwrap_or_default(), &kept)?;
    Ok((info, kept))
}

fn info(name: &str, version: &str, row: &PackageRow) -> Result<PackageInfo> {
    let metadata: Metadata = serde_json::from_str(&row.metadata_json)
        .map_err(|source| Error::internal(format!("the metadata of {name}: {source}")))?;
    Ok(PackageInfo {
        item: PackageItem {
            name: name.to_owned(),
            version: version.to_owned(),
            size: row.blob.size,
            sha256: row.blob.digest,
            summary: metadata.summary.clone(),
            pushed_at: row.pushed_at,
            pushed_by: row.pushed_by.clone(),
        },
        metadata,
    })
}

fn to_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|source| Error::internal(format!("show: {source}")))
}
