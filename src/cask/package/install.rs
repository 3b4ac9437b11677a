//! Unpacking a package into a folder. It is unpacked beside its target into a folder of its own,
//! and moved there only when all of it was read and its RECORD agreed.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::read::{Contents, Survey};
use super::walk::{Item, walk};
use super::{Limits, Metadata};
use crate::cask::error;
use crate::kernel::name::new_id;
use crate::kernel::{Error, Result, disk};

/// The script that may be run after a package was installed; never by itself.
pub const INSTALL_SCRIPT: &str = ".cask/scripts/install.sh";

/// What an install did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Installed {
    /// What the package says of itself.
    pub metadata: Option<Metadata>,
    /// Where it lies now.
    pub folder: PathBuf,
    /// How many files it has.
    pub files: usize,
    /// How large they are together.
    pub bytes: u64,
    /// Whether it has an install script. It was not run.
    pub has_script: bool,
}

/// Unpacks a package into `target`, which must not be there or must be empty. With `force`, what
/// the package brings takes the place of what has the same top-level name in `target`; the rest of
/// the folder stays.
///
/// # Errors
/// `target_not_empty`, and whatever [`super::inspect`] refuses; then `target` is as it was.
pub fn install(reader: impl Read, target: &Path, force: bool) -> Result<Installed> {
    let found = target.canonicalize();
    let is_new = found.is_err();
    let target = &found.unwrap_or_else(|_absent| target.to_owned());
    if !force && !is_free(target)? {
        return Err(error::target_not_empty(target));
    }
    let stage = Stage::beside(target)?;
    let contents = unpack(reader, &stage.path)?;
    stage.sync()?;
    let has_script = stage.path.join(INSTALL_SCRIPT).is_file();
    if is_new {
        move_over(&stage.path, target)?;
    } else {
        replace_parts(&stage, target)?;
    }
    Ok(Installed {
        metadata: contents.metadata,
        folder: target.to_owned(),
        files: contents.files.len(),
        bytes: contents.bytes,
        has_script,
    })
}

fn is_free(target: &Path) -> Result<bool> {
    match std::fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(Error::io(format!("look into {}", target.display()), source)),
    }
}

fn unpack(reader: impl Read, into: &Path) -> Result<Contents> {
    let mut survey = Survey::default();
    walk(reader, &Limits::default(), |item| match item {
        Item::Folder(path) => make(&into.join(path)),
        Item::File { path, size, bytes } => {
            let place = into.join(path);
            if let Some(parent) = place.parent() {
                make(parent)?;
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&place)
                .map_err(|source| Error::io(format!("make {path}"), source))?;
            survey.file(path, size, bytes, &mut file)
        }
    })?;
    survey.finish()
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|source| Error::io(format!("make {}", folder.display()), source))
}

/// Moves a whole folder to where nothing is.
fn move_over(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)
        .map_err(|source| Error::io(format!("move the package to {}", to.display()), source))?;
    disk::sync_parent(to)
}

/// Each top-level entry of the package takes the place of the one in `target`.
fn replace_parts(stage: &Stage, target: &Path) -> Result<()> {
    let failed = |source| Error::io(format!("replace in {}", target.display()), source);
    for entry in std::fs::read_dir(&stage.path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let place = target.join(entry.file_name());
        let aside = target.join(format!(".drip-{}.old", new_id()));
        let was_there = place.symlink_metadata().is_ok();
        if was_there {
            std::fs::rename(&place, &aside).map_err(failed)?;
        }
        std::fs::rename(entry.path(), &place).map_err(failed)?;
        if was_there {
            let is_folder = aside.symlink_metadata().map_err(failed)?.is_dir();
            if is_folder {
                std::fs::remove_dir_all(&aside).map_err(failed)?;
            } else {
                std::fs::remove_file(&aside).map_err(failed)?;
            }
        }
    }
    disk::sync_folder(target)
}

/// A folder of its own beside the target, gone again when it is dropped.
struct Stage {
    path: PathBuf,
}

impl Stage {
    fn beside(target: &Path) -> Result<Self> {
        let parent = target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        make(parent)?;
        let path = parent.join(format!(".drip-{}.staging", new_id()));
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(|source| Error::io(format!("make {}", path.display()), source))?;
        Ok(Self { path })
    }

    /// One sync for all files: the rename that follows must not come before their bytes.
    fn sync(&self) -> Result<()> {
        let folder = File::open(&self.path)
            .map_err(|source| Error::io(format!("open {}", self.path.display()), source))?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&folder)
            .map_err(|source| Error::io("sync the package", source.into()))?;
        #[cfg(not(target_os = "linux"))]
        folder.sync_all().map_err(|source| Error::io("sync the package", source))?;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a success it was renamed away; after a failure nothing of it may stay.
        let _gone = std::fs::remove_dir_all(&self.path);
    }
}
