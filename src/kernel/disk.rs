//! What the folder of a store needs: syncs of folders, a lock, and the mark of its format.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::{Error, Kind, Result};

/// The format of the data folder that this build writes.
pub const FORMAT: u32 = 1;

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

/// A data folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: File,
}

impl DataFolder {
    /// Makes the folder if need be, takes its lock, and checks its format. A folder of a newer
    /// format is refused untouched; one that is held is refused with its holder's process id and
    /// address.
    pub fn hold(path: &Path) -> Result<Self> {
        refuse_newer(path)?;
        make_folder(path)?;
        let lock_path = path.join("LOCK");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| Error::io(format!("open {}", lock_path.display()), error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(held(path, &read_all(&mut lock)));
        }
        // Only the holder writes: the format may have changed while we waited for nothing.
        refuse_newer(path)?;
        let folder = Self { path: path.to_owned(), lock };
        folder.announce("")?;
        write_format(path)?;
        Ok(folder)
    }

    /// Tells whoever finds the folder held who holds it.
    pub fn announce(&self, address: &str) -> Result<()> {
        let text = format!("{} {address}\n", std::process::id());
        let mut lock = &self.lock;
        lock.rewind()
            .and_then(|()| lock.set_len(0))
            .and_then(|()| lock.write_all(text.as_bytes()))
            .map_err(|error| Error::io("write LOCK", error))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A part of it, made if need be.
    pub fn part(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        make_folder(&path)?;
        Ok(path)
    }
}

/// Who holds a folder, as it announced itself: its process id and its address, if it serves.
pub fn holder(path: &Path) -> Option<(u32, String)> {
    let mut lock = File::open(path.join("LOCK")).ok()?;
    if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let text = read_all(&mut lock);
    let (pid, address) = text.trim_end().split_once(' ')?;
    Some((pid.parse().ok()?, address.to_owned()))
}

fn read_all(file: &mut File) -> String {
    let mut text = String::new();
    // Who holds it is a courtesy: unreadable is as good as unknown.
    let _unreadable = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    text
}

fn held(path: &Path, who: &str) -> Error {
    let (pid, address) = who.trim_end().split_once(' ').unwrap_or((who.trim_end(), ""));
    let serving = if address.is_empty() { String::new() } else { format!(", serving {address}") };
    Error::new(
        Kind::Held,
        "folder_held",
        format!(
            "{} is held by another daemon: process {}{serving}. Stop it, or choose another folder with --data",
            path.display(),
            if pid.is_empty() { "unknown" } else { pid },
        ),
    )
}

fn refuse_newer(path: &Path) -> Result<()> {
    let file = path.join("FORMAT");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(format!("read {}", file.display()), error)),
    };
    let found = text.trim().strip_prefix("drip ").and_then(|number| number.parse::<u32>().ok());
    match found {
        Some(number) if number <= FORMAT => Ok(()),
        Some(number) => Err(Error::new(
            Kind::Newer,
            "folder_newer",
            format!(
                "{} has format {number} and this build reads up to {FORMAT}: nothing was touched, use a newer dripctl",
                path.display()
            ),
        )),
        None => Err(Error::new(
            Kind::Newer,
            "folder_format",
            format!(
                "{} does not say a format that this build knows; nothing was touched",
                file.display()
            ),
        )),
    }
}

fn write_format(path: &Path) -> Result<()> {
    let file = path.join("FORMAT");
    if file.exists() {
        return Ok(());
    }
    replace_file(&file, format!("drip {FORMAT}\n").as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_names_its_holder_and_is_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::hold(folder.path()).unwrap();
        first.announce("127.0.0.1:22315").unwrap();
        let second = DataFolder::hold(folder.path()).unwrap_err();
        assert_eq!(second.kind(), Kind::Held);
        assert!(second.detail().contains(&std::process::id().to_string()));
        assert!(second.detail().contains("127.0.0.1:22315"));
        assert_eq!(holder(folder.path()).unwrap().1, "127.0.0.1:22315");
        drop(first);
        assert!(DataFolder::hold(folder.path()).is_ok());
    }

    #[test]
    fn a_newer_folder_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("FORMAT"), "drip 99\n").unwrap();
        let refused = DataFolder::hold(folder.path()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Newer);
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "only FORMAT is there");
    }
}
