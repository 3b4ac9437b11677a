//! Reading an archive that may be hostile, entry by entry, in bounded memory.
//!
//! The tar headers are read raw: extension headers are looked at here and nowhere else, so that a
//! long name cannot eat the memory and two readers cannot disagree about a size.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};

use super::path;
use crate::cask::error;
use crate::kernel::{Error, Result};

/// What an archive may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most entries, extension headers included.
    pub entries: usize,
    /// The most bytes of all files together.
    pub total: u64,
    /// How many times larger than its compressed bytes an archive may become, after [`Limits::free`].
    pub ratio: u64,
    /// So many unpacked bytes are not held against the ratio.
    pub free: u64,
    /// The most folders above a file.
    pub depth: usize,
    /// The most bytes of all paths together.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 100_000,
            total: 4 << 30,
            ratio: 200,
            free: 1 << 20,
            depth: 32,
            names: 16 << 20,
        }
    }
}

/// The most bytes of one extension header.
const EXTENSION_MAX: u64 = 64 << 10;

/// What a visitor is shown.
pub(super) enum Item<'a> {
    /// A folder, which may also be made by a file within.
    Folder(&'a str),
    /// A file and its bytes, all of which are read or skipped before the next one.
    File { path: &'a str, size: u64, bytes: &'a mut dyn Read },
}

/// Reads an archive to its very end, showing every entry.
pub(super) fn walk<R: Read>(
    reader: R,
    limits: &Limits,
    mut visit: impl FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let refusal = Refusal::default();
    let packed = Rc::new(Cell::new(0));
    let counted = BufReader::new(Counted { inner: reader, count: packed.clone() });
    let mut fenced = Fence {
        inner: GzDecoder::new(counted),
        packed,
        unpacked: 0,
        limits: *limits,
        refusal: refusal.clone(),
    };
    let told = |error: io::Error| refusal.take(error);
    let mut archive = Archive::new(&mut fenced);
    let mut seen = Seen::new(*limits);
    let mut pending = Extension::default();
    for entry in archive.entries().map_err(told)?.raw(true) {
        let mut entry = entry.map_err(told)?;
        seen.count()?;
        if let Some(extension) = read_extension(&mut entry, &refusal)? {
            pending.take(extension)?;
            continue;
        }
        let extension = std::mem::take(&mut pending);
        show(entry, &extension, &mut seen, &refusal, &mut visit)?;
    }
    if pending.any {
        return Err(error::refused("an extension header is followed by nothing"));
    }
    at_the_end(&mut fenced, &refusal)
}

/// Shows one entry that is no extension header.
fn show<R: Read>(
    mut entry: Entry<'_, R>,
    extension: &Extension,
    seen: &mut Seen,
    refusal: &Refusal,
    visit: &mut impl FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let header = entry.header();
    let name = match &extension.path {
        Some(path) => path.clone(),
        None => header.path_bytes().into_owned(),
    };
    let size = header.entry_size().map_err(|error| refusal.take(error))?;
    if extension.size.is_some_and(|said| said != size) {
        return Err(error::refused("two headers of one entry differ in its size"));
    }
    let shown = String::from_utf8_lossy(&name).into_owned();
    let refuse = |why: &str| error::refused(format!("the entry {shown:?} {why}"));
    let kind = header.entry_type();
    let is_folder = match kind {
        EntryType::Directory => true,
        // Before there was a type for folders, a slash at the end said it.
        EntryType::Regular => name.ends_with(b"/"),
        other => return Err(refuse(kind_of(other))),
    };
    let path = path::clean(&name, seen.limits.depth).map_err(|why| refuse(&why))?;
    if is_folder {
        if size != 0 {
            return Err(refuse("is a folder with bytes of its own"));
        }
        let Some(path) = path else { return Ok(()) };
        seen.folder(&path).map_err(refuse)?;
        return visit(Item::Folder(&path));
    }
    let path = path.ok_or_else(|| refuse("has no name"))?;
    seen.file(&path, size).map_err(refuse)?;
    let mut bytes = Exact { inner: &mut entry, left: size };
    let outcome = visit(Item::File { path: &path, size, bytes: &mut bytes });
    match refusal.told() {
        Some(refused) => Err(refused),
        None => outcome,
    }
}

fn kind_of(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "is a hard link",
        EntryType::Symlink => "is a symbolic link",
        EntryType::Char | EntryType::Block => "is a device",
        EntryType::Fifo => "is a pipe",
        EntryType::GNUSparse => "is a sparse file",
        _ => "is neither a file nor a folder",
    }
}

/// Nothing may stand behind the archive: not in the tar stream, not behind the gzip member.
fn at_the_end<R: BufRead>(fenced: &mut Fence<GzDecoder<R>>, refusal: &Refusal) -> Result<()> {
    let mut block = [0_u8; 8192];
    loop {
        let read = fenced.read(&mut block).map_err(|error| refusal.take(error))?;
        if read == 0 {
            break;
        }
        if block.iter().take(read).any(|byte| *byte != 0) {
            return Err(error::refused("bytes stand behind the end of the archive"));
        }
    }
    let behind = fenced.inner.get_mut().fill_buf();
    if behind.map_err(|error| refusal.take(error))?.is_empty() {
        return Ok(());
    }
    Err(error::refused("bytes stand behind the compressed archive"))
}

/// What extension headers say of the next entry.
#[derive(Debug, Default)]
struct Extension {
    any: bool,
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    fn take(&mut self, other: Self) -> Result<()> {
        if (self.path.is_some() && other.path.is_some())
            || (self.size.is_some() && other.size.is_some())
        {
            return Err(error::refused("two extension headers describe one entry"));
        }
        self.any |= other.any;
        self.path = self.path.take().or(other.path);
        self.size = self.size.or(other.size);
        Ok(())
    }
}

/// Reads an entry that describes another one; none when it is an entry of its own.
fn read_extension<R: Read>(
    entry: &mut Entry<'_, R>,
    refusal: &Refusal,
) -> Result<Option<Extension>> {
    let kind = entry.header().entry_type();
    if kind.is_gnu_longlink() {
        return Err(error::refused("it holds a link"));
    }
    let is_pax = kind.is_pax_local_extensions() || kind.is_pax_global_extensions();
    if !is_pax && !kind.is_gnu_longname() {
        return Ok(None);
    }
    let size = entry.size();
    if size > EXTENSION_MAX {
        return Err(error::refused("an extension header is larger than 64 KiB"));
    }
    let mut bytes = Vec::new();
    entry.take(EXTENSION_MAX).read_to_end(&mut bytes).map_err(|error| refusal.take(error))?;
    if bytes.len() as u64 != size {
        return Err(error::refused("it is cut off"));
    }
    if kind.is_gnu_longname() {
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        return Ok(Some(Extension { any: true, path: Some(bytes), size: None }));
    }
    let said = read_pax(&bytes)?;
    if kind.is_pax_global_extensions() {
        if said.path.is_some() || said.size.is_some() {
            return Err(error::refused("a global header sets a path or a size"));
        }
        return Ok(Some(Extension::default()));
    }
    Ok(Some(said))
}

/// Keywords that say nothing about where bytes go.
const HARMLESS: &[&str] = &[
    "mtime",
    "atime",
    "ctime",
    "uid",
    "gid",
    "uname",
    "gname",
    "comment",
    "charset",
    "hdrcharset",
];

/// Reads `length keyword=value\n` records. Lengths are taken at their word, as the standard has it:
/// a reader that looks for line ends sees other records.
fn read_pax(bytes: &[u8]) -> Result<Extension> {
    let broken = || error::refused("an extension header cannot be read");
    let mut said = Extension { any: true, ..Extension::default() };
    let mut rest = bytes;
    while !rest.is_empty() {
        let blank = rest.iter().position(|b| *b == b' ').ok_or_else(broken)?;
        let digits = std::str::from_utf8(rest.get(..blank).unwrap_or_default());
        let length: usize = digits.ok().and_then(|d| d.parse().ok()).ok_or_else(broken)?;
        let (record, behind) = rest.split_at_checked(length).ok_or_else(broken)?;
        rest = behind;
        let record = record.get(blank + 1..).ok_or_else(broken)?;
        let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(broken)?;
        let (keyword, value) = record.split_at_checked(equals).ok_or_else(broken)?;
        let value = value.get(1..).unwrap_or_default();
        let keyword = std::str::from_utf8(keyword).map_err(|_bad| broken())?;
        match keyword {
            "path" if said.path.is_none() => said.path = Some(value.to_vec()),
            "size" if said.size.is_none() => {
                let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                said.size = Some(number.ok_or_else(broken)?);
            }
            known if HARMLESS.contains(&known) => {}
            "linkpath" => return Err(error::refused("it holds a link")),
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(error::refused(format!(
                    "an extension header says {shown:?}, which is unknown or said twice"
                )));
            }
        }
    }
    Ok(said)
}

/// What was seen so far.
struct Seen {
    limits: Limits,
    entries: usize,
    bytes: u64,
    names: usize,
    files: HashSet<String>,
    /// Folders, and whether an entry of their own named them.
    folders: HashMap<String, bool>,
}

impl Seen {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: 0,
            bytes: 0,
            names: 0,
            files: HashSet::new(),
            folders: HashMap::new(),
        }
    }

    fn count(&mut self) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(error::refused(format!(
                "it has more than {} entries",
                self.limits.entries
            )));
        }
        Ok(())
    }

    fn name(&mut self, path: &str) -> Result<String, &'static str> {
        self.names += path.len();
        if self.names > self.limits.names {
            return Err("and those before have names that are too long together");
        }
        Ok(path::identity(path))
    }

    fn file(&mut self, path: &str, size: u64) -> Result<(), &'static str> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.total {
            return Err("makes the package larger than 4 GiB unpacked");
        }
        let path = self.name(path)?;
        self.above(&path)?;
        if self.folders.contains_key(&path) {
            return Err("is both a file and a folder");
        }
        if self.files.insert(path) { Ok(()) } else { Err("is there twice") }
    }

    fn folder(&mut self, path: &str) -> Result<(), &'static str> {
        let path = self.name(path)?;
        self.above(&path)?;
        if self.files.contains(&path) {
            return Err("is both a file and a folder");
        }
        match self.folders.insert(path, true) {
            Some(true) => Err("is there twice"),
            _ => Ok(()),
        }
    }

    fn above(&mut self, path: &str) -> Result<(), &'static str> {
        for parent in path::parents(path) {
            if self.files.contains(parent) {
                return Err("lies inside a file");
            }
            if !self.folders.contains_key(parent) {
                self.names += parent.len();
                self.folders.insert(parent.to_owned(), false);
            }
        }
        Ok(())
    }
}

/// Counts the compressed bytes.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// Stops an archive that unpacks to more than it may.
struct Fence<R> {
    inner: R,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
    limits: Limits,
    refusal: Refusal,
}

impl<R: Read> Read for Fence<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.unpacked += read as u64;
        let fair = self.packed.get().saturating_mul(self.limits.ratio);
        if self.unpacked > self.limits.free && self.unpacked > fair {
            return Err(self
                .refusal
                .tell(format!("it unpacks to more than {} times its size", self.limits.ratio)));
        }
        // Headers come on top of the files; an eighth more is more than they need.
        if self.unpacked > self.limits.total.saturating_add(self.limits.total / 8 + (1 << 20)) {
            return Err(self.refusal.tell("it unpacks to more than it may".into()));
        }
        Ok(read)
    }
}

/// A file's bytes; fewer than its header said is an error, not an end.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 && !into.is_empty() && self.left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

/// Carries the reason of a refusal past readers that only know `io::Error`.
#[derive(Clone, Default)]
struct Refusal(Rc<RefCell<Option<String>>>);

impl Refusal {
    fn tell(&self, why: String) -> io::Error {
        *self.0.borrow_mut() = Some(why);
        io::Error::other("refused")
    }

    fn told(&self) -> Option<Error> {
        self.0.borrow().as_ref().map(error::refused)
    }

    fn take(&self, error: io::Error) -> Error {
        if let Some(refused) = self.told() {
            return refused;
        }
        from_reader(error)
    }
}

/// An error of the reader below the archive comes back as it was; all others are the archive's.
pub(super) fn from_reader(error: io::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(ours) = inner
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<Error>())
        {
            return Error::new(ours.kind(), ours.code(), ours.detail());
        }
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return Error::new(ours.kind(), ours.code(), ours.detail());
        }
        cause = inner.source();
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return error::refused("it is cut off");
    }
    error::refused(format!("it cannot be read: {error}"))
}
