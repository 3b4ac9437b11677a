//! How far every stream was forwarded, on the disk beside the segments: it belongs to this log, also
//! where several daemons share the settings of their streams.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::super::disk::Disk;
use super::super::error;
use super::document::Prefix;
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Kind, Result};

const FILE: &str = "forwarded.json";
const STAGED: &str = "forwarded.json.staged";

/// See the module's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    version: u32,
    /// What the ids begin with that this log gives.
    pub(super) prefix: Prefix,
    pub(super) streams: BTreeMap<String, Place>,
}

/// How far one stream is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Where it goes.
    pub(super) to: String,
    /// The number of the last record that is there.
    pub(super) seq: u64,
}

impl Ledger {
    /// Reads it, or begins one.
    pub(super) fn open(disk: &dyn Disk, now: Time) -> Result<Self> {
        let failed = |source| error::io(format!("read {FILE}"), source);
        let file = match disk.open(FILE, false) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Self::begin(now),
            opened => opened.map_err(failed)?,
        };
        let mut bytes = vec![0; usize::try_from(file.len().map_err(failed)?).unwrap_or(0)];
        let read = file.read_at(0, &mut bytes).map_err(failed)?;
        bytes.truncate(read);
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(ledger) if ledger.version == 1 => Ok(ledger),
            Ok(ledger) => Err(damaged(format!("it is of version {}", ledger.version))),
            Err(why) => Err(damaged(why)),
        }
    }

    fn begin(now: Time) -> Result<Self> {
        Ok(Self { version: 1, prefix: prefix(now)?, streams: BTreeMap::new() })
    }

    /// Gives other ids from now on.
    pub(super) fn renew(&mut self, now: Time) -> Result<()> {
        self.prefix = prefix(now)?;
        Ok(())
    }

    /// Keeps it, durably and whole.
    pub(super) fn keep(&self, disk: &dyn Disk) -> Result<()> {
        let bytes = serde_json::to_vec(self)
            .map_err(|why| Error::internal(format!("{FILE} cannot be written: {why}")))?;
        write(disk, &bytes).map_err(|source| error::io(format!("write {FILE}"), source))
    }
}

fn write(disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
    match disk.remove(STAGED) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(source),
        _ => {}
    }
    let file = disk.open(STAGED, true)?;
    file.append(bytes)?;
    file.sync()?;
    disk.rename(STAGED, FILE)?;
    disk.sync_folder()
}

/// When it began, and chance: no two logs have the same.
fn prefix(now: Time) -> Result<Prefix> {
    let mut prefix = [0; 7];
    let seconds = u32::try_from(now.0 / 1_000_000).unwrap_or(0);
    let (head, tail) = prefix.split_at_mut(4);
    head.copy_from_slice(&seconds.to_be_bytes());
    getrandom::fill(tail)
        .map_err(|why| Error::internal(format!("the machine gives no random bytes: {why}")))?;
    Ok(prefix)
}

fn damaged(why: impl std::fmt::Display) -> Error {
    let detail = format!(
        "{FILE}, which says how far streams were forwarded, cannot be read: {why}; move it away to forward everything again"
    );
    Error::new(Kind::Internal, "forwarded_damaged", detail)
}

#[cfg(test)]
mod tests {
    use super::super::super::disk::Folder;
    use super::*;

    #[test]
    fn it_is_kept_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let mut ledger = Ledger::open(&disk, Time(5_000_000)).unwrap();
        assert_eq!(ledger.prefix[..4], [0, 0, 0, 5]);
        ledger.streams.insert("wind".into(), Place { to: "logs".into(), seq: 7 });
        ledger.keep(&disk).unwrap();
        ledger.keep(&disk).unwrap();
        assert_eq!(Ledger::open(&disk, Time(0)).unwrap(), ledger);
        for damage in ["{", r#"{"version":2,"prefix":[0,0,0,0,0,0,0],"streams":{}}"#] {
            std::fs::write(folder.path().join(FILE), damage).unwrap();
            assert_eq!(Ledger::open(&disk, Time(0)).unwrap_err().code(), "forwarded_damaged");
        }
    }
}
