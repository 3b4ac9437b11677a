//! What the folder of a store needs: syncs of folders, a lock, and the mark of its format.

mod folder;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::error::{Error, Result};

pub use folder::{DataFolder, FORMAT, holder};

/// Makes a folder and its parents, each durable in its parent.
pub fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(Error::io(format!("make the folder {}", path.display()), error)),
    }
}

/// Makes a new name in a folder survive a power cut: syncs the folder that holds `path`.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// Syncs a folder: the names in it, not the files.
pub fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io(format!("sync the folder {}", path.display()), error))
}

/// Replaces a small file at once: written beside it, synced, renamed, its folder synced.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let staged = path.with_extension("staged");
    let what = || format!("write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&staged)
        .map_err(|error| Error::io(what(), error))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&staged, path))
        .map_err(|error| Error::io(what(), error))?;
    sync_parent(path)
}
