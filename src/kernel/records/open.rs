//! From a URL to a store.

use std::path::Path;
use std::sync::Arc;

use super::{MemoryRecords, SharedRecords};
use crate::kernel::error::{Error, Kind, Result};

/// Opens the store that `url` names: `memory:`, or a path to a redb file (`redb:` may stand before
/// it). An engine that is known but not compiled in is named as such.
pub fn open(url: &str) -> Result<SharedRecords> {
    match url.split_once(':') {
        Some(("memory", _)) => Ok(Arc::new(MemoryRecords::new())),
        Some(("redb", path)) => open_redb(Path::new(path.trim_start_matches("//"))),
        Some((scheme, rest)) if rest.starts_with("//") => Err(Error::new(
            Kind::Config,
            "unknown_records",
            format!("`{scheme}` is no record store of this build: use `memory:` or a path"),
        )),
        _ => open_redb(Path::new(url)),
    }
}

#[cfg(feature = "redb")]
fn open_redb(path: &Path) -> Result<SharedRecords> {
    Ok(Arc::new(super::RedbRecords::open(path)?))
}

#[cfg(not(feature = "redb"))]
fn open_redb(path: &Path) -> Result<SharedRecords> {
    Err(Error::new(
        Kind::Config,
        "redb_not_built",
        format!("{} needs the feature `redb`, which this build leaves out", path.display()),
    ))
}
