//! A workspace: a folder with a `.cask` in it, where a package is put together.

use std::path::{Path, PathBuf};

use super::{FOLDER, Metadata, Parcel, Section};
use crate::cask::error;
use crate::kernel::{Error, Result};

/// A folder where a package is put together.
#[derive(Debug, Clone)]
pub struct Workspace {
    folder: PathBuf,
}

/// The usual file name of a package.
pub fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}.caskpkg")
}

impl Workspace {
    /// Makes `.cask` and its sections in `folder`. What is there already stays.
    pub fn create(folder: &Path) -> Result<Self> {
        for section in Section::ALL {
            let path = folder.join(FOLDER).join(section.folder());
            std::fs::create_dir_all(&path)
                .map_err(|source| Error::io(format!("make {}", path.display()), source))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The workspace in `folder`, which must be there.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.join(FOLDER).is_dir() {
            return Err(error::no_workspace(folder));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Copies (or moves) a file or a folder into a section; a folder keeps its name and its
    /// structure. Answers how many files came in. What is there under the same name is refused.
    pub fn add(&self, section: Section, what: &Path, take_away: bool) -> Result<usize> {
        let name = what
            .canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(PathBuf::from))
            .ok_or_else(|| error::no_such_file(what))?;
        let target = self.folder.join(FOLDER).join(section.folder());
        let is_link = what.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        if is_link {
            return Err(error::bad_entry(&what.display().to_string(), "is a link"));
        }
        let files = if what.is_dir() {
            files_of(what)?.into_iter().map(|(inside, file)| (name.join(inside), file)).collect()
        } else {
            vec![(name, what.to_owned())]
        };
        for (inside, _) in &files {
            if target.join(inside).exists() {
                let shown = inside.display().to_string();
                return Err(error::bad_entry(&shown, "is in the workspace already"));
            }
        }
        for (inside, file) in &files {
            bring(file, &target.join(inside), take_away)?;
        }
        if take_away && what.is_dir() {
            std::fs::remove_dir_all(what)
                .map_err(|source| Error::io(format!("remove {}", what.display()), source))?;
        }
        Ok(files.len())
    }

    /// A package of all that is in the workspace.
    pub fn parcel(&self, metadata: Metadata) -> Result<Parcel> {
        let mut parcel = Parcel::new(metadata);
        parcel.add_workspace(&self.folder)?;
        Ok(parcel)
    }
}

fn bring(from: &Path, to: &Path, take_away: bool) -> Result<()> {
    let failed = |source| Error::io(format!("bring {} into the workspace", from.display()), source);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    if take_away && std::fs::rename(from, to).is_ok() {
        return Ok(());
    }
    // Another file system: a copy, and only then the original goes.
    std::fs::copy(from, to).map_err(failed)?;
    if take_away {
        std::fs::remove_file(from).map_err(failed)?;
    }
    Ok(())
}

/// Every file under `folder` with its path in it, in order. Links and devices are refused.
pub(super) fn files_of(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), folder.to_owned())];
    while let Some((inside, path)) = waiting.pop() {
        let failed = |source| Error::io(format!("read {}", path.display()), source);
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| error::bad_entry(&name.to_string_lossy(), "is not UTF-8"))?;
            let within = format!("{inside}{name}");
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                waiting.push((format!("{within}/"), entry.path()));
            } else if kind.is_file() {
                found.push((within, entry.path()));
            } else {
                return Err(error::bad_entry(&within, "is neither a file nor a folder"));
            }
        }
    }
    found.sort();
    Ok(found)
}
