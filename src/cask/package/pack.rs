//! Writing a package: the same content gives the same bytes. Entries are sorted, times are zero,
//! modes are fixed, the gzip header says nothing of the machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::read::FileInfo;
use super::workspace::files_of;
use super::{FOLDER, METADATA_PATH, Metadata, RECORD_PATH, Section, path, record};
use crate::cask::error;
use crate::kernel::{Digest, Error, Result};

/// A package being put together.
#[derive(Debug)]
pub struct Parcel {
    metadata: Metadata,
    files: BTreeMap<String, Source>,
}

#[derive(Debug)]
enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// Packs the workspace in `folder` (the content of its `.cask`), or any other folder as scripts.
pub fn pack(folder: &Path, metadata: Metadata) -> Result<Vec<u8>> {
    let mut parcel = Parcel::new(metadata);
    if folder.join(FOLDER).is_dir() {
        parcel.add_workspace(folder)?;
    } else {
        parcel.add_folder(Section::Scripts, folder)?;
    }
    parcel.to_bytes()
}

impl Parcel {
    /// An empty package that says `metadata` of itself.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, files: BTreeMap::new() }
    }

    /// Adds bytes as `section/path`.
    pub fn add_bytes(&mut self, section: Section, path: &str, bytes: Vec<u8>) -> Result<()> {
        self.add(section, path, Source::Bytes(bytes))
    }

    /// Adds a file as `section/path`. It is read when the package is written.
    pub fn add_file(&mut self, section: Section, path: &str, file: &Path) -> Result<()> {
        self.add(section, path, Source::File(file.to_owned()))
    }

    /// Adds every file under `folder` to a section; folders keep their structure. A link is
    /// refused: what it leads to may be anywhere.
    pub fn add_folder(&mut self, section: Section, folder: &Path) -> Result<()> {
        for (inside, file) in files_of(folder)? {
            self.add_file(section, &inside, &file)?;
        }
        Ok(())
    }

    /// Adds all sections of the workspace in `folder`.
    pub fn add_workspace(&mut self, folder: &Path) -> Result<()> {
        for section in Section::ALL {
            let path = folder.join(FOLDER).join(section.folder());
            if path.is_dir() {
                self.add_folder(section, &path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, section: Section, inside: &str, source: Source) -> Result<()> {
        let whole = format!("{FOLDER}/{}/{inside}", section.folder());
        let depth = super::Limits::default().depth;
        match path::clean(whole.as_bytes(), depth) {
            Ok(Some(same)) if same == whole => {}
            Ok(_) => return Err(error::bad_entry(inside, "is not a plain path")),
            Err(why) => return Err(error::bad_entry(inside, &why)),
        }
        if self.files.insert(whole, source).is_some() {
            return Err(error::bad_entry(inside, "was added twice"));
        }
        Ok(())
    }

    /// The package in memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.write(Vec::new())
    }

    /// Writes the package. Files are read twice: for RECORD and for their bytes; one that changes
    /// in between is refused.
    pub fn write<W: Write>(&self, out: W) -> Result<W> {
        self.metadata.check()?;
        let metadata = self.metadata.to_toml()?;
        let mut files = vec![FileInfo {
            path: METADATA_PATH.to_owned(),
            size: metadata.len() as u64,
            sha256: Digest::of(metadata.as_bytes()),
        }];
        for (path, source) in &self.files {
            files.push(source.info(path)?);
        }
        let record = record::write(&files);
        let gzip =
            GzBuilder::new().mtime(0).operating_system(255).write(out, Compression::default());
        let mut tar = Tar(Builder::new(gzip));
        tar.folder(FOLDER)?;
        tar.file(METADATA_PATH, metadata.len() as u64, metadata.as_bytes())?;
        tar.file(RECORD_PATH, record.len() as u64, record.as_bytes())?;
        for section in Section::ALL {
            let folder = format!("{FOLDER}/{}", section.folder());
            tar.folder(&folder)?;
            let within = format!("{folder}/");
            let inside = |path: &&FileInfo| path.path.starts_with(&within);
            for info in files.iter().filter(inside) {
                self.one(&mut tar, info)?;
            }
        }
        tar.0
            .into_inner()
            .and_then(flate2::write::GzEncoder::finish)
            .map_err(|source| Error::io("write the package", source))
    }

    fn one<W: Write>(&self, tar: &mut Tar<W>, info: &FileInfo) -> Result<()> {
        let Some(source) = self.files.get(&info.path) else {
            return Ok(());
        };
        let mut hashed = Hashed { inner: source.open()?.take(info.size), hash: Sha256::new() };
        tar.file(&info.path, info.size, &mut hashed)?;
        if Digest(hashed.hash.finalize().into()) == info.sha256 {
            Ok(())
        } else {
            Err(error::changed_meanwhile(&info.path))
        }
    }
}

impl Source {
    fn open(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(bytes.as_slice()),
            Self::File(path) => Box::new(open(path)?),
        })
    }

    fn info(&self, path: &str) -> Result<FileInfo> {
        let mut hash = Sha256::new();
        let mut reader = self.open()?;
        let size = io::copy(&mut reader, &mut HashInto(&mut hash))
            .map_err(|source| Error::io(format!("read {path}"), source))?;
        Ok(FileInfo { path: path.to_owned(), size, sha256: Digest(hash.finalize().into()) })
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::io(format!("read {}", path.display()), source))
}

/// A tar whose headers say nothing that differs from run to run.
struct Tar<W: Write>(Builder<W>);

impl<W: Write> Tar<W> {
    fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(&format!("{path}/"), EntryType::Directory, 0, io::empty())
    }

    fn file(&mut self, path: &str, size: u64, bytes: impl Read) -> Result<()> {
        self.entry(path, EntryType::Regular, size, bytes)
    }

    fn entry(
        &mut self,
        path: &str,
        kind: EntryType,
        size: u64,
        mut bytes: impl Read,
    ) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mtime(0);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        let mut exact = bytes.by_ref().take(size);
        self.0
            .append_data(&mut header, path, &mut exact)
            .map_err(|source| Error::io(format!("pack {path}"), source))?;
        // The tar writer believes the header; a shorter file would shift all that follows.
        if exact.limit() == 0 { Ok(()) } else { Err(error::changed_meanwhile(path)) }
    }
}

struct HashInto<'a>(&'a mut Sha256);

impl Write for HashInto<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}
