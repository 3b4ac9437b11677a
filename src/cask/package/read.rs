//! Reading a package to its end and telling what it holds.

use std::io::Read;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::metadata::METADATA_MAX;
use super::record::RECORD_MAX;
use super::walk::{Item, from_reader, walk};
use super::{Limits, METADATA_PATH, Metadata, RECORD_PATH, record};
use crate::cask::error;
use crate::kernel::{Digest, Error, Name, Result};

/// A file in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileInfo {
    /// Where it lies.
    pub path: String,
    /// How large it is.
    pub size: u64,
    /// What its bytes are.
    pub sha256: Digest,
}

/// What a package holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contents {
    /// What it says of itself; nothing when an older tool wrote it.
    pub metadata: Option<Metadata>,
    /// Whether it has a RECORD, which then agreed.
    pub recorded: bool,
    /// All files together, unpacked.
    pub bytes: u64,
    /// Its files in order of their paths, without METADATA and RECORD.
    pub files: Vec<FileInfo>,
}

/// Reads a package to its end: its archive must be harmless and its RECORD, if it has one, must
/// agree.
///
/// # Errors
/// `package_refused`, `record_differs`, `bad_metadata`.
pub fn inspect(reader: impl Read) -> Result<Contents> {
    inspect_within(reader, &Limits::default())
}

/// [`inspect`] within other limits.
pub fn inspect_within(reader: impl Read, limits: &Limits) -> Result<Contents> {
    let mut survey = Survey::default();
    walk(reader, limits, |item| match item {
        Item::Folder(_) => Ok(()),
        Item::File { path, size, bytes } => survey.file(path, size, bytes, &mut std::io::sink()),
    })?;
    survey.finish()
}

/// [`inspect`], and a package without METADATA or RECORD is refused: there is nothing to compare it
/// with.
pub fn verify(reader: impl Read) -> Result<Contents> {
    let contents = inspect(reader)?;
    if contents.metadata.is_none() || !contents.recorded {
        return Err(error::nothing_to_verify());
    }
    Ok(contents)
}

/// The name and version that a file name tells: `wind-power-1.2.0.caskpkg`. The version starts at
/// the first `-` with a digit behind it.
pub fn name_from_file(file: &str) -> Option<(String, String)> {
    let stem = file.strip_suffix(".caskpkg")?;
    let at = stem.match_indices('-').find_map(|(at, _)| {
        let behind = stem.get(at + 1..)?;
        let digit = behind.starts_with(|c: char| c.is_ascii_digit());
        (digit && at > 0).then_some(at)
    })?;
    let (name, version) = stem.split_at_checked(at)?;
    Name::new(name).ok()?;
    let version = version.strip_prefix('-')?;
    Name::new(version).ok()?;
    Some((name.to_owned(), version.to_owned()))
}

/// Gathers what a package holds while its files go by.
#[derive(Default)]
pub(super) struct Survey {
    metadata: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
    files: Vec<FileInfo>,
}

impl Survey {
    /// Reads one file, passes its bytes to `out`, and remembers its digest.
    pub(super) fn file(
        &mut self,
        path: &str,
        size: u64,
        bytes: &mut dyn Read,
        out: &mut dyn std::io::Write,
    ) -> Result<()> {
        let keep = match path {
            METADATA_PATH => Some((&mut self.metadata, METADATA_MAX)),
            RECORD_PATH => Some((&mut self.record, RECORD_MAX)),
            _ => None,
        };
        let sha256 = match keep {
            Some((_, most)) if size > most => {
                return Err(error::refused(format!("`{path}` is larger than {most} bytes")));
            }
            Some((slot, _)) => {
                let mut kept = Vec::new();
                bytes.read_to_end(&mut kept).map_err(from_reader)?;
                out.write_all(&kept)
                    .map_err(|source| Error::io(format!("write {path}"), source))?;
                let digest = Digest::of(&kept);
                *slot = Some(kept);
                digest
            }
            None => copy(path, bytes, out)?,
        };
        self.files.push(FileInfo { path: path.to_owned(), size, sha256 });
        Ok(())
    }

    /// Compares the RECORD and reads the METADATA.
    pub(super) fn finish(mut self) -> Result<Contents> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(record) = &self.record {
            record::compare(record, &self.files)?;
        }
        let metadata = self.metadata.as_deref().map(Metadata::parse).transpose()?;
        self.files.retain(|file| file.path != METADATA_PATH && file.path != RECORD_PATH);
        Ok(Contents {
            metadata,
            recorded: self.record.is_some(),
            bytes: self.files.iter().map(|file| file.size).sum(),
            files: self.files,
        })
    }
}

fn copy(path: &str, bytes: &mut dyn Read, out: &mut dyn std::io::Write) -> Result<Digest> {
    let mut hash = Sha256::new();
    let mut block = vec![0_u8; 64 << 10];
    loop {
        let read = bytes.read(&mut block).map_err(from_reader)?;
        let Some(piece) = block.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(Digest(hash.finalize().into()));
        };
        hash.update(piece);
        out.write_all(piece).map_err(|source| Error::io(format!("write {path}"), source))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_tells_name_and_version() {
        let told = |file| name_from_file(file);
        let pair = |n: &str, v: &str| Some((n.to_owned(), v.to_owned()));
        assert_eq!(told("wind-power-1.2.0.caskpkg"), pair("wind-power", "1.2.0"));
        assert_eq!(told("a-1.0.0-rc.1.caskpkg"), pair("a", "1.0.0-rc.1"));
        for none in ["a.caskpkg", "-1.caskpkg", "a-1.tar.gz", "a-b.caskpkg"] {
            assert_eq!(told(none), None, "{none}");
        }
    }
}
