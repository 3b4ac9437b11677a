//! From a URL to a store.

use std::path::Path;
use std::sync::Arc;

use super::{MemoryRecords, SharedRecords};
use crate::kernel::error::{Error, Kind, Result};

/// Opens the store that `url` names: `memory:`, a path to a redb file (`redb:` may stand before it),
/// or `mongodb://…` and `mongodb+srv://…`. An engine that is known but not compiled in is named as
/// such.
pub fn open(url: &str) -> Result<SharedRecords> {
    open_for(url, "records")
}

/// The same for the rows of one module: several modules may share a MongoDB database.
pub fn open_for(url: &str, module: &str) -> Result<SharedRecords> {
    match url.split_once(':') {
        Some(("memory", _)) => Ok(Arc::new(MemoryRecords::new())),
        Some(("redb", path)) => open_redb(Path::new(path.trim_start_matches("//"))),
        Some(("mongodb" | "mongodb+srv", _)) => open_mongo(url, module),
        Some((scheme, rest)) if rest.starts_with("//") => Err(Error::new(
            Kind::Config,
            "unknown_records",
            format!("`{scheme}` is no record store: use `mongodb://…`, `memory:` or a path"),
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

#[cfg(feature = "mongo")]
fn open_mongo(url: &str, module: &str) -> Result<SharedRecords> {
    Ok(Arc::new(super::MongoRecords::open(url, module)?))
}

#[cfg(not(feature = "mongo"))]
fn open_mongo(_url: &str, module: &str) -> Result<SharedRecords> {
    Err(Error::new(
        Kind::Config,
        "mongo_not_built",
        format!(
            "{module}.records names MongoDB, which this build leaves out: it needs the feature `mongo`"
        ),
    ))
}
