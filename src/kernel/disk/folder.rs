//! The data folder: held by one process, readable by its owner alone, of a format that this build
//! knows, with every store that it ever had.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{make_folder, replace_file, sync_parent};
use crate::kernel::error::{Error, Kind, Result};

/// The format of the data folder that this build writes.
pub const FORMAT: u32 = 1;

/// What stands in a folder before its format does: what a first start that was cut off left, and
/// what a file system puts into its root.
const BEFORE_FORMAT: [&str; 3] = ["LOCK", "FORMAT.staged", "lost+found"];

/// The list of the modules that have a store here.
const STORES: &str = "STORES";

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
        refuse_foreign(path)?;
        make_private(path)?;
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

    /// The path of a module's store of records, in the module's own part. One that the folder had
    /// and that is gone is refused: to begin anew in silence would be to lose it.
    pub fn store(&self, module: &str) -> Result<PathBuf> {
        self.part(module)?;
        let path = self.store_path(module);
        let is_whole = std::fs::metadata(&path).is_ok_and(|found| found.len() > 0);
        // A store has its name only once it is whole: an empty file was never one.
        if is_whole || (!path.exists() && !self.stores()?.contains(module)) {
            return Ok(path);
        }
        let what = if path.exists() { "is empty" } else { "is missing" };
        Err(Error::new(
            Kind::Unavailable,
            "store_lost",
            format!(
                "{} {what}, and this folder had it: bring it back from a backup; to begin without what it held, delete the line `{module}` from {} (and an empty file)",
                path.display(),
                self.path.join(STORES).display(),
            ),
        ))
    }

    /// Remembers which of these modules have a store by now, so that one that is lost is missed.
    pub fn note_stores<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut stores = self.stores()?;
        let known = stores.len();
        let has_store = |module: &&str| self.store_path(module).exists();
        stores.extend(modules.into_iter().filter(has_store).map(str::to_owned));
        if stores.len() == known {
            return Ok(());
        }
        let lines = stores.into_iter().collect::<Vec<_>>().join("\n") + "\n";
        replace_file(&self.path.join(STORES), lines.as_bytes(), 0o600)
    }

    fn store_path(&self, module: &str) -> PathBuf {
        self.path.join(module).join(format!("{module}.redb"))
    }

    fn stores(&self) -> Result<BTreeSet<String>> {
        let path = self.path.join(STORES);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(Error::io(format!("read {}", path.display()), error)),
        }
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

/// A folder of other things is no data folder: nothing is mixed in among them.
fn refuse_foreign(path: &Path) -> Result<()> {
    if path.join("FORMAT").exists() {
        return Ok(());
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let Some(other) = names.into_iter().find(|name| !BEFORE_FORMAT.contains(&name.as_str())) else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Config,
        "folder_foreign",
        format!(
            "{} is no data folder of Drip and is not empty (it holds `{other}`): name an empty or a new folder with --data",
            path.display()
        ),
    ))
}

/// Makes the folder, for its owner alone: the key that signs sign-ins lies in it. One that others
/// may look into is closed to them.
fn make_private(path: &Path) -> Result<()> {
    const OWNER: u32 = 0o700;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    let failed = |error| Error::io(format!("make the folder {}", path.display()), error);
    match std::fs::DirBuilder::new().mode(OWNER).create(path) {
        Ok(()) => return sync_parent(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(failed(error)),
    }
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    let folder = path.display();
    if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(OWNER)) {
        // Not ours to change: whoever gave it to us decided who may look.
        tracing::warn!(%folder, %error, "other accounts of this machine can read the data folder");
    } else if path.join("FORMAT").exists() {
        tracing::info!(%folder, "closed the data folder to other accounts of this machine");
    }
    Ok(())
}

fn refuse_newer(path: &Path) -> Result<()> {
    let file = path.join("FORMAT");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
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
    fn a_folder_is_its_owners_alone() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(DataFolder::hold(&path).unwrap());
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        drop(DataFolder::hold(&path).unwrap());
        assert_eq!(mode(), 0o700);
    }

    #[test]
    fn a_folder_of_other_things_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let before = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        let refused = DataFolder::hold(folder.path()).unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (Kind::Config, "folder_foreign"));
        assert!(refused.detail().contains("thesis.tex"), "{refused}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode(), before);
    }

    #[test]
    fn a_store_that_is_lost_is_missed() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataFolder::hold(&outer.path().join("data")).unwrap();
        let path = folder.store("fiche").unwrap();
        std::fs::write(&path, "rows").unwrap();
        folder.note_stores(["access", "fiche"]).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lost = folder.store("fiche").unwrap_err();
        assert_eq!(lost.code(), "store_lost");
        assert!(lost.detail().contains("is missing"), "{lost}");
        std::fs::write(&path, "").unwrap();
        assert!(folder.store("fiche").unwrap_err().detail().contains("is empty"));
        std::fs::write(&path, "rows").unwrap();
        assert_eq!(folder.store("fiche").unwrap(), path);
        assert!(folder.store("cask").is_ok(), "one that never was is not missed");
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
