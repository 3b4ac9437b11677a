#![cfg(test)]
//! Faults in a real process, by `shim.c`: a kill or an error at the Nth sync, write, change of length
//! or change of name, and the counts of all of them while it runs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::NamedTempFile;

/// Calls that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// fsync and fdatasync, of files and folders.
    Sync,
    /// Writes to regular files.
    Write,
    /// Changes of length.
    Length,
    /// rename, link and unlink.
    Name,
}

impl Class {
    const fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Length => "length",
            Self::Name => "name",
        }
    }
}

/// What befalls the call that is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed before it.
    Kill,
    /// The medium fails, once.
    Eio,
    /// The medium fails from now on.
    EioForever,
    /// The disk is full from now on.
    EnospcForever,
}

/// The place of the watched class's count in the page, after those of the four classes.
const WATCHED: u64 = 4;
/// The place of the number that is hit.
const AT: u64 = 5;

/// A shim for one process. It is loaded by [`Shim::put_on`].
pub(crate) struct Shim {
    page: NamedTempFile,
    under: PathBuf,
    class: Class,
    fault: Fault,
}

impl Shim {
    /// Watches what happens to files under `folder`; nothing is hit until it is armed.
    pub(crate) fn new(folder: &Path, class: Class, fault: Fault) -> Self {
        let page = NamedTempFile::new().unwrap();
        page.as_file().set_len(4096).unwrap();
        Self { page, under: folder.canonicalize().unwrap(), class, fault }
    }

    /// Hits call number `at` of the class, counted from the start of the process, from 1.
    pub(crate) fn at(self, at: u64) -> Self {
        self.set(AT, at);
        self
    }

    /// Hits the `nth` call from now on, while the process runs.
    pub(crate) fn arm(&self, nth: u64) {
        self.set(AT, self.read(WATCHED) + nth);
    }

    /// How many calls of a class there were.
    pub(crate) fn count(&self, class: Class) -> u64 {
        self.read(class as u64)
    }

    /// Has `command` start under this shim.
    pub(crate) fn put_on(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("SHIM_PAGE", self.page.path())
            .env("SHIM_UNDER", &self.under)
            .env("SHIM_CLASS", self.class.word());
        match self.fault {
            Fault::Kill => command.env("SHIM_DO", "kill"),
            Fault::Eio => command.env("SHIM_DO", "EIO"),
            Fault::EioForever => command.env("SHIM_DO", "EIO").env("SHIM_FOREVER", "1"),
            Fault::EnospcForever => command.env("SHIM_DO", "ENOSPC").env("SHIM_FOREVER", "1"),
        };
    }

    fn file(&self) -> &File {
        self.page.as_file()
    }

    fn read(&self, slot: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file().read_exact_at(&mut bytes, slot * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn set(&self, slot: u64, number: u64) {
        self.file().write_all_at(&number.to_ne_bytes(), slot * 8).unwrap();
    }
}

/// The built shim: made once per run of the tests, with the C compiler that the build needs anyway.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = folder.join(format!("shim-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/shim.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(&compiler)
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&built)
            .args([source, "-ldl"])
            .output()
            .unwrap_or_else(|error| panic!("{compiler:?}, the C compiler: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{source}: {said}");
        // Runs side by side each build their own; the name for all is swapped in whole.
        let library = folder.join("shim.so");
        std::fs::rename(&built, &library).unwrap();
        library
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn shell(shim: &Shim, folder: &Path, script: &str) -> std::process::Output {
        let mut command = Command::new("sh");
        shim.put_on(&mut command);
        let command = command.current_dir(folder).args(["-c", script]);
        command.output().unwrap()
    }

    #[test]
    fn the_nth_call_is_hit_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let names = "for n in 1 2 3; do echo $n > $n; done; mv 1 a; mv 2 b; mv 3 c";
        let count = Shim::new(folder.path(), Class::Write, Fault::Kill);
        // The shell writes three times itself; each `mv` is a process that counts in the same page.
        assert!(shell(&count, folder.path(), names).status.success());
        let counts =
            [Class::Sync, Class::Write, Class::Length, Class::Name].map(|c| count.count(c));
        assert_eq!(counts, [0, 3, 0, 3]);

        let kill = Shim::new(folder.path(), Class::Write, Fault::Kill).at(2);
        let killed = shell(&kill, folder.path(), "echo 1 > k1; echo 2 > k2; echo 3 > k3");
        assert_eq!(killed.status.signal(), Some(9));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!((read("k1").as_deref(), read("k3")), (Some("1\n"), None));

        let full = Shim::new(folder.path(), Class::Write, Fault::EnospcForever).at(2);
        let refused = shell(&full, folder.path(), "echo 1 > f1; echo 2 > f2; echo 3 > f3");
        assert_eq!((read("f1").as_deref(), read("f3").as_deref()), (Some("1\n"), Some("")));
        assert!(!refused.status.success());
    }
}
