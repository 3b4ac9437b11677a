//! Datasets: put, described, listed, deleted, opened for reading.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::error;
use super::format::{ColumnRow, DatasetRow, chunk_key, dataset_key, named};
use super::model::{DatasetInfo, DatasetMeta, Guard};
use super::version::{LATEST, latest, split};
use super::{Atom, may_read, may_write};
use crate::kernel::access::Caller;
use crate::kernel::blobs::Written;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Row, Scan};
use crate::kernel::table::read::{self, Limits};
use crate::kernel::table::write::chunks;
use crate::kernel::table::{
    ColumnStats, Format, ParquetTable, Scan as TableScan, SqlTable, Table, TableCatalog,
};
use crate::kernel::{Digest, Kind, Name, Result, wait_for};

/// How often a change is tried again when another daemon changes the same row.
const TRIES: usize = 20;

/// Which datasets to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetFilter {
    /// Only of this name.
    pub name: Option<String>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only what belongs there.
    pub belong: Option<String>,
    /// Only with this object name.
    pub object_name: Option<String>,
}

impl DatasetFilter {
    fn meets(&self, info: &DatasetInfo) -> bool {
        let same =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.name.as_ref().is_none_or(|name| *name == info.name)
            && same(&self.tag, &info.label.tag)
            && same(&self.belong, &info.label.belong)
            && same(&self.object_name, &info.label.object_name)
    }
}

/// A dataset as it is kept.
struct Kept {
    version: String,
    revision: u64,
    row: DatasetRow,
}

/// What was sent.
struct Sent {
    format: Format,
    bytes: Bytes,
    digest: Digest,
}

impl Atom {
    /// Keeps a dataset; answers it and whether it is new. The same again changes nothing; other
    /// content under the version replaces it as a new revision.
    pub fn put_dataset(
        &self,
        caller: &Caller,
        (name, version): (&Name, &Name),
        meta: DatasetMeta,
        (format, bytes): (Format, Bytes),
        guard: Guard,
    ) -> Result<(DatasetInfo, bool)> {
        may_write(caller)?;
        if version.as_str() == LATEST {
            return Err(error::latest_is_no_version());
        }
        let (name, version) = (name.as_str(), version.as_str());
        let sent = Sent { digest: Digest::of(&bytes), format, bytes };
        let before = self.exact(name, version)?;
        guard.check(&format!("{name}@{version}"), before.as_ref().map(|kept| kept.revision))?;
        let known = before.filter(|kept| same_source(&kept.row, &sent, &meta));
        // What was sent before need not be read again.
        let (row, written) = if let Some(kept) = known {
            (kept.row, None)
        } else {
            let (row, written) = self.convert(&meta, &sent)?;
            (row, Some(written))
        };
        drop(sent);
        let (info, is_new) = self.keep(caller, (name, version), &meta, row, guard)?;
        // The chunks are safe from the sweeper until the record that names them is durable.
        drop(written);
        if let Some(listener) = &self.inner.parts.listener {
            listener.put(caller, &info)?;
        }
        Ok((info, is_new))
    }

    /// Reads what was sent and keeps it as Parquet.
    fn convert(&self, meta: &DatasetMeta, sent: &Sent) -> Result<(DatasetRow, Written)> {
        let limits = Limits { bytes: self.config().max_dataset, ..Limits::default() };
        let mut table = read::table(sent.format, sent.bytes.clone(), &limits)?;
        let known = |column: &str| table.schema().iter().any(|found| found.name == column);
        let faults: Vec<_> = meta
            .units
            .iter()
            .filter(|(column, _)| !known(column))
            .map(|(column, _)| error::no_such_unit(column))
            .collect();
        if !faults.is_empty() {
            return Err(error::bad_dataset(faults));
        }
        for (column, unit) in &meta.units {
            table = table.with_unit(column, unit)?;
        }
        let mut writer = self.inner.parts.blobs.writer();
        for piece in chunks(Format::Parquet, table.batches_of(&TableScan::all())?)? {
            wait_for(writer.write(piece?))?;
        }
        let written = wait_for(writer.finish())?;
        let now = self.clock().now();
        let row = DatasetRow {
            blob: written.blob.clone(),
            rows: table.rows() as u64,
            columns: table.schema().iter().map(ColumnRow::of).collect(),
            label: meta.label.clone().into(),
            source: sent.digest,
            source_format: sent.format.name().to_owned(),
            units: meta.units.clone(),
            created_at: now,
            updated_at: now,
            saved_by: String::new(),
        };
        Ok((row, written))
    }

    /// Writes the record, unless it says what is there already.
    fn keep(
        &self,
        caller: &Caller,
        (name, version): (&str, &str),
        meta: &DatasetMeta,
        row: DatasetRow,
        guard: Guard,
    ) -> Result<(DatasetInfo, bool)> {
        let _alone = self.one_at_a_time();
        let subject = format!("{name}@{version}");
        let label = meta.label.clone().or_name(name).into();
        for _try in 0..TRIES {
            let found = self.exact(name, version)?;
            guard.check(&subject, found.as_ref().map(|kept| kept.revision))?;
            if let Some(kept) = &found
                && kept.row.blob.digest == row.blob.digest
                && kept.row.label == label
            {
                return Ok((kept.row.clone().shown(name, version, kept.revision), false));
            }
            let now = self.clock().now();
            let row = DatasetRow {
                label: label.clone(),
                created_at: found.as_ref().map_or(now, |kept| kept.row.created_at),
                updated_at: now,
                saved_by: caller.name.clone(),
                ..row.clone()
            };
            let revision = found.as_ref().map_or(0, |kept| kept.revision);
            let expect = if found.is_some() { Expect::Revision(revision) } else { Expect::Absent };
            let mut set = ChangeSet::new();
            for chunk in found.iter().flat_map(|kept| kept.row.blob.chunks()) {
                set = set.delete(chunk_key(chunk, name, version), Expect::Any);
            }
            for chunk in row.blob.chunks() {
                set = set.put(chunk_key(chunk, name, version), Expect::Any, Vec::new());
            }
            let set = set.put(dataset_key(name, version), expect, encode(&row)?);
            let info = row.shown(name, version, revision + 1);
            match self.commit(set, caller, super::DATASET_PUT, &subject, json!(info)) {
                Ok(()) => return Ok((info, found.is_none())),
                Err(error) if matches!(error.kind(), Kind::Stale | Kind::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::stale(&subject, 0, None))
    }

    /// A dataset; `latest` as a version is the highest by semver, else the newest.
    pub fn dataset(&self, caller: &Caller, name: &str, version: &str) -> Result<DatasetInfo> {
        may_read(caller)?;
        let kept = self.must_find(name, version)?;
        Ok(kept.row.shown(name, &kept.version, kept.revision))
    }

    /// Datasets by name and version, after a key `name/version`.
    pub fn datasets(
        &self,
        caller: &Caller,
        filter: &DatasetFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DatasetInfo>> {
        may_read(caller)?;
        let prefix = match &filter.name {
            Some(name) => format!("dataset/{name}/"),
            None => "dataset/".to_owned(),
        };
        let mut found = Vec::new();
        let mut after = after.map(|after| format!("dataset/{after}"));
        while found.len() < limit {
            let mut scan = Scan::prefix(prefix.clone()).limit(200);
            scan.after = after.take();
            let rows = self.records().scan(&scan)?;
            for row in &rows {
                let (name, version) = named(row);
                let info = decode::<DatasetRow>(&row.value)?.shown(name, version, row.revision);
                if filter.meets(&info) {
                    found.push(info);
                }
            }
            after = rows.last().map(|row| row.key.clone());
            if after.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Deletes a version of a dataset. Who reads it goes on; its bytes are swept later.
    pub fn delete_dataset(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        guard: Guard,
    ) -> Result<()> {
        may_write(caller)?;
        if version == LATEST {
            return Err(error::latest_is_no_version());
        }
        let _alone = self.one_at_a_time();
        let subject = format!("{name}@{version}");
        let kept = self.must_find(name, version)?;
        Guard { create_only: false, ..guard }.check(&subject, Some(kept.revision))?;
        let mut set =
            ChangeSet::new().delete(dataset_key(name, version), Expect::Revision(kept.revision));
        for chunk in kept.row.blob.chunks() {
            set = set.delete(chunk_key(chunk, name, version), Expect::Any);
        }
        let payload = json!({ "name": name, "version": version });
        self.commit(set, caller, "dataset.deleted", &subject, payload)?;
        self.inner.open.forget(kept.row.blob.digest);
        Ok(())
    }

    /// The first rows of a dataset.
    pub fn preview(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        rows: usize,
    ) -> Result<Table> {
        may_read(caller)?;
        self.inner.open.get(&self.must_find(name, version)?.row.blob)?.preview(rows)
    }

    /// Every column of a dataset at a glance.
    pub fn stats(&self, caller: &Caller, name: &str, version: &str) -> Result<Vec<ColumnStats>> {
        may_read(caller)?;
        self.inner.open.get(&self.must_find(name, version)?.row.blob)?.stats()
    }

    /// A dataset opened for reading: `scada@2014`, or `scada` for its latest version; none when there
    /// is no such dataset. It asks for no caller: who may see it was decided before.
    pub fn table(&self, name: &str) -> Result<Option<Arc<ParquetTable>>> {
        let (plain, version) = split(name);
        let kept = match self.find(plain, version)? {
            Some(kept) => Some(kept),
            // A name may hold an `@` itself.
            None if plain != name => self.find(name, LATEST)?,
            None => None,
        };
        kept.map(|kept| self.inner.open.get(&kept.row.blob)).transpose()
    }

    /// The names of all datasets.
    pub fn dataset_names(&self) -> Result<Vec<String>> {
        let rows = self.records().scan(&Scan::prefix("dataset/"))?;
        let mut names: Vec<String> = rows.iter().map(|row| named(row).0.to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    fn exact(&self, name: &str, version: &str) -> Result<Option<Kept>> {
        self.records().get(&dataset_key(name, version))?.map(kept).transpose()
    }

    fn find(&self, name: &str, version: &str) -> Result<Option<Kept>> {
        if version != LATEST {
            return self.exact(name, version);
        }
        let rows = self.records().scan(&Scan::prefix(format!("dataset/{name}/")))?;
        let mut all: Vec<Kept> = rows.into_iter().map(kept).collect::<Result<_>>()?;
        let versions = all.iter().map(|kept| (kept.version.as_str(), kept.row.created_at));
        let Some(version) = latest(versions).map(str::to_owned) else {
            return Ok(None);
        };
        let at = all.iter().position(|kept| kept.version == version);
        Ok(at.map(|at| all.swap_remove(at)))
    }

    fn must_find(&self, name: &str, version: &str) -> Result<Kept> {
        match self.find(name, version)? {
            Some(kept) => Ok(kept),
            None => Err(error::no_dataset(name, version, &self.dataset_names()?)),
        }
    }
}

impl TableCatalog for Atom {
    fn table(&self, name: &str) -> Result<Option<Arc<dyn SqlTable>>> {
        Ok(Self::table(self, name)?.map(|table| table as Arc<dyn SqlTable>))
    }

    fn names(&self) -> Vec<String> {
        // Only to suggest one: a store that cannot be read says so elsewhere.
        self.dataset_names().unwrap_or_default()
    }
}

fn kept(row: Row) -> Result<Kept> {
    let version = named(&row).1.to_owned();
    Ok(Kept { version, revision: row.revision, row: decode(&row.value)? })
}

fn same_source(row: &DatasetRow, sent: &Sent, meta: &DatasetMeta) -> bool {
    row.source == sent.digest && row.source_format == sent.format.name() && row.units == meta.units
}
