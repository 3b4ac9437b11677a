//! The disk as the log engine sees it: two traits of five methods, so that a test can bring a disk
//! that loses, holds or refuses whatever was not synced.
//!
//! What the engine assumes of it: bytes that [`DiskFile::sync`] answered for survive a power cut;
//! names that [`Disk::sync_folder`] answered for do too; a rename is seen wholly or not at all; an
//! append that was not synced may be there in part, in any order of its pages.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::kernel::disk::make_folder;
use crate::kernel::error::Result;

/// A folder of files.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file for reading and appending; makes it when `create`, and then it must be new.
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Who has it open goes on reading it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names survive a power cut.
    fn sync_folder(&self) -> io::Result<()>;
}

#[expect(
    clippy::len_without_is_empty,
    reason = "a seam stays as small as it can be; nobody asks for emptiness"
)]
/// An open file. Readers and the one writer share it.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at the end. After a failure part of them may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Reads at `offset` as much as is there, at most as much as fits; 0 at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Makes the content survive a power cut.
    fn sync(&self) -> io::Result<()>;
    /// How long it is.
    fn len(&self) -> io::Result<u64>;
    /// Cuts it to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// A folder of the machine.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, made if need be.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        make_folder(&path)?;
        Ok(Self(path))
    }
}

impl Disk for Folder {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(create)
            .open(self.0.join(name))?;
        Ok(Arc::new(Plain(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

struct Plain(File);

impl DiskFile for Plain {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut &self.0, bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // The length is part of what fdatasync promises, as reading back needs it.
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// Fills `into` from `offset`, or as much of it as the file has.
pub(super) fn read_full(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + filled as u64, rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
