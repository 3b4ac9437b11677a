//! Nodes that are processes: a program that the settings allow, in a folder of its own, fenced in, kept
//! by a [`keeper`](keep) that ends it with the run and with the daemon.
//!
//! A process is given its values as files in `inputs/`, a clean environment with `DRIP_URL`,
//! `DRIP_TOKEN`, `DRIP_RUN_ID`, `DRIP_NODE` and `DRIP_ATTEMPT`, and limits on time, memory, files,
//! output and processes. What it prints goes to the run's log line by line; what it leaves in
//! `outputs/` becomes the node's values. Of one node of one run never more than one attempt is alive.

mod attempt;
mod config;
mod files;
mod keeper;
mod sandbox;
mod spec;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::access::Caller;
use crate::kernel::disk::make_folder;
use crate::kernel::error::{Error, Result};

pub(super) use attempt::Task;
pub use config::{KEYS, Limits, Sandbox};
pub(super) use files::is_plain;
pub use keeper::keep;

/// The hidden word that makes `dripctl` a keeper.
pub const KEEPER: &str = "keep-process";

/// A token for one attempt of a node, and where to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunToken {
    /// The daemon's address, such as `http://127.0.0.1:22315`.
    pub url: String,
    /// The token.
    pub token: String,
    /// By which it is revoked.
    pub id: String,
}

/// Who makes tokens for processes.
pub trait RunTokens: Send + Sync {
    /// A token that can do what the caller can, for so long.
    fn make(&self, caller: &Caller, run_id: &str, lifetime: Duration) -> Result<RunToken>;
    /// Ends it.
    fn revoke(&self, caller: &Caller, id: &str) -> Result<()>;
}

/// How processes are started.
#[derive(Clone)]
pub struct Processes {
    /// The programs that may be started: as they are written, and where they are.
    programs: Vec<(String, PathBuf)>,
    limits: Limits,
    /// Where run directories are made.
    folder: PathBuf,
    /// The command that keeps a process: see [`keep`].
    keeper: Vec<OsString>,
    tokens: Option<Arc<dyn RunTokens>>,
}

impl std::fmt::Debug for Processes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processes").field("programs", &self.programs).finish_non_exhaustive()
    }
}

impl Processes {
    /// Finds the programs of `limits`, and makes `folder` for run directories, without those that an
    /// earlier daemon left.
    pub fn open(
        limits: Limits,
        folder: PathBuf,
        keeper: Vec<OsString>,
        tokens: Option<Arc<dyn RunTokens>>,
    ) -> Result<Self> {
        let programs = limits.allow.iter().map(|name| Ok((name.clone(), find(name)?)));
        let programs = programs.collect::<Result<_>>()?;
        make_folder(&folder)?;
        let failed = |source| Error::io("tidy the folder of processes", source);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir()
                && let Err(error) = std::fs::remove_dir_all(&path)
            {
                tracing::warn!(path = %path.display(), %error, "a run directory could not be removed");
            }
        }
        Ok(Self { programs, limits, folder, keeper, tokens })
    }

    /// Where a program is, if it may be started.
    fn program(&self, name: &str) -> Result<&Path> {
        let found = self.programs.iter().find(|(allowed, _)| allowed == name);
        found.map(|(_, path)| path.as_path()).ok_or_else(|| not_allowed(name, &self.limits.allow))
    }

    /// Why a command cannot be started; nothing when it can.
    pub(super) fn fault(&self, command: &[String]) -> Option<String> {
        let name = command.first().map(String::as_str).unwrap_or_default();
        self.program(name).err().map(|why| why.detail().to_owned())
    }
}

/// Why a program is not started where none may be.
pub(super) fn not_allowed(name: &str, allowed: &[String]) -> Error {
    let list = if allowed.is_empty() {
        "it names none".to_owned()
    } else {
        format!("it names {}", allowed.join(", "))
    };
    let detail =
        format!("the program `{name}` is not among `[liquid] allow_process` of drip.toml: {list}");
    Error::invalid("program_not_allowed", detail, Vec::new())
}

/// Where a program is: an absolute path, or the first in the usual folders.
fn find(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    let found = if path.is_absolute() {
        path.is_file().then(|| path.to_owned())
    } else if name.contains('/') {
        None
    } else {
        let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
        folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
    };
    found.ok_or_else(|| {
        let detail = format!(
            "`liquid.allow_process` names `{name}`, which is no program: write a name that is in /usr/local/bin, /usr/bin or /bin, or a whole path"
        );
        Error::new(crate::kernel::error::Kind::Config, "no_program", detail)
    })
}
